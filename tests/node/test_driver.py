"""What the driver does with inputs, batches and exchanges, without an event loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gossipkv.codec import DecodeError, Limits, decode, encode
from gossipkv.core.effects import Effects, Send
from gossipkv.core.inputs import Answered, Await, Failed, Input, Tick
from gossipkv.core.model.address import SYSTEM, USER, address_of
from gossipkv.core.model.causality import Dot
from gossipkv.core.model.write import Operation, StoredWrite
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.store.storage import StorageFullError
from gossipkv.core.store.tables import TableSettings, settings_address
from gossipkv.core.waits.answers import Receipt, Resolved
from gossipkv.intake.bound import Bound
from gossipkv.member.batches import Frame, Job, Published, StoppedError, decoded, encoded, published
from gossipkv.member.driver import Driver, Inbox, InboxFullError
from gossipkv.member.group_commit import Batch, StepFailedError
from gossipkv.member.watches import Watches
from gossipkv.simulation.world.conclusion import Conclusion
from gossipkv.simulation.world.unlogged import UnloggedRefusals
from tests.core.cluster import Cluster

LIMITS = Limits()


def bound(limit: int) -> Bound:
    return Bound("bound", limit, "", UnloggedRefusals())


class Member:
    """A member whose batches run when the test says so. It has an exchange to begin: another member was found."""

    def __init__(self, operations_max: int = 100, values_max: int = 1000, frames_max: int = 100_000) -> None:
        self.cluster = Cluster()
        for name in ("a", "b"):
            self.cluster.start(name)
        self.core = self.cluster.members["a"]
        self.jobs: list[Job] = []
        self.told: dict[str, list[Any]] = {}
        snapshot = self.cluster.run("a", Tick()).effects.snapshot
        assert snapshot is not None
        watches = Watches(
            self.core.disk.view, lambda: self.cluster.now_ms, bound(1000), 1000, lambda: None, lambda: None
        )
        inbox = Inbox(bound(operations_max), bound(values_max), bound(frames_max))
        self.driver = Driver(snapshot, self.jobs.append, inbox, watches)
        self.cluster.introduce("a", "b")
        [self.exchange] = [send.exchange for send in self.core.outbox]

    def waiter(self, name: str) -> Conclusion:
        return Conclusion(self.told.setdefault(name, []).append)

    def write(self, name: str, value: bytes = b"v") -> None:
        self.driver.write(USER, [Operation(address_of("t", name.encode()), value)], 1, self.waiter(name))

    def taken(self) -> list[Input | Frame]:
        """The inputs that wait, taken away."""
        payloads = [job.payload for job in self.jobs]
        self.jobs.clear()
        return payloads

    def run(self, error: Exception | None = None) -> Published:
        """Run what waits as one batch; let its inputs fail if there is an error."""
        jobs, self.jobs[:] = list(self.jobs), []
        taken = decoded(jobs, lambda frame: decode(frame, LIMITS))
        batch = self.cluster.run("a", *taken.inputs) if error is None else Batch([error] * len(taken.inputs), Effects())
        return published(taken, batch, encode)

    def used(self) -> tuple[int, int, int]:
        inbox = self.driver.inbox
        return inbox.operations.used, inbox.values.used, inbox.frames.used

    def begin(self) -> None:
        """Begin the exchange that a batch has brought."""
        sends = published(decoded([], lambda frame: decode(frame, LIMITS)), self.batch_of_sends(), encode).sends
        assert [send.exchange for send in self.driver.begin(sends)] == [self.exchange]

    def batch_of_sends(self) -> Batch:
        return Batch([], Effects(sends=list(self.core.outbox)))

    def envelope(self, name: str = "b") -> Envelope:
        """What another member says, an answer without messages."""
        sent = self.core.outbox[0].content
        return replace(sent, member=name, replica=self.cluster.members[name].replica_id, messages=())


# Outcomes


def test_each_outcome_goes_to_the_waiter_of_its_input() -> None:
    member = Member()
    for name in ("x", "y"):
        member.write(name)
    member.driver.post(Tick())
    member.driver.serve(b"no frame", member.waiter("peer"))
    assert member.driver.publish(member.run()) == []
    dots = {}
    for name in ("x", "y"):
        [[written]] = member.told[name]
        assert isinstance(written, StoredWrite)
        dots[name] = written.dot
    rows = member.core.rows()
    assert {name: rows[address_of("t", name.encode())].winner.dot for name in dots} == dots
    [refused] = member.told["peer"]
    assert isinstance(refused, DecodeError)


def test_a_fault_of_the_core_is_reported_if_no_waiter_is_told_of_it() -> None:
    member = Member()
    member.driver.post(Tick())
    member.write("row")
    fault = StepFailedError("a bug")
    assert member.driver.publish(member.run(fault)) == [fault]
    assert member.told["row"] == [fault]


def test_the_snapshot_of_a_batch_stands_before_its_outcomes_are_known() -> None:
    member = Member()
    seen: list[int] = []
    settings = Operation(settings_address("t"), TableSettings(w=2).to_json())
    copies = Conclusion(lambda _: seen.append(member.driver.snapshot.settings_of("t").w))
    member.driver.write(SYSTEM, [settings], 1, copies)
    batch = member.run()
    assert member.driver.snapshot.settings_of("t").w == 1
    member.driver.publish(batch)
    assert seen == [2]


def test_what_a_write_takes_of_the_inbox_is_given_back_with_its_batch_and_not_with_its_client() -> None:
    member = Member(operations_max=2, values_max=10)
    member.write("gone", b"12345")
    member.jobs[0].waiter.set_result("its client has gone")  # type: ignore[union-attr]
    member.write("row", b"12345")
    assert member.used() == (2, 10, 0)
    with pytest.raises(InboxFullError):
        member.write("more")
    member.driver.publish(member.run(StorageFullError("the volume is full")))
    assert member.used() == (0, 0, 0)
    with pytest.raises(InboxFullError):
        member.write("long", bytes(11))
    assert member.used() == (0, 0, 0), "a refused write takes nothing"


# Exchanges


def test_a_send_keeps_its_number_endpoint_and_timeout_when_it_is_encoded() -> None:
    envelope = Member().envelope()
    sends, unsent = encoded([Send(7, "memory://b", envelope, 250), Send(-1, "memory://c", envelope)], encode)
    assert sends == [Send(7, "memory://b", encode(envelope), 250), Send(-1, "memory://c", encode(envelope), None)]
    assert unsent == []


def test_an_exchange_ends_once() -> None:
    member = Member()
    member.begin()
    member.driver.failed(member.exchange, "no answer in time")
    member.driver.answered(member.exchange, b"late")
    member.driver.failed(member.exchange, "again")
    assert member.taken() == [Failed(member.exchange, "no answer in time")]


def test_an_answer_counts_in_the_inbox_until_its_batch_is_over() -> None:
    member = Member()
    member.begin()
    answer = encode(member.envelope())
    member.driver.answered(member.exchange, answer)
    assert member.used() == (0, 0, len(answer))
    taken = decoded(member.jobs, lambda frame: decode(frame, LIMITS))
    assert [type(one) for one in taken.inputs] == [Answered]
    member.driver.publish(member.run())
    assert member.used() == (0, 0, 0)


def test_an_answer_without_room_ends_its_exchange_all_the_same() -> None:
    member = Member(frames_max=20)
    member.begin()
    assert member.driver.serve(b"0123456789", member.waiter("peer"))
    member.driver.answered(member.exchange, bytes(15))
    frame, failed = member.taken()
    assert isinstance(frame, Frame)
    assert failed == Failed(member.exchange, "too many frames wait for the storage")


def test_an_answer_that_cannot_be_read_ends_its_exchange() -> None:
    cut_short = encode(Member().envelope())[:-1]
    jobs = [Job(Frame(content, exchange), None) for exchange, content in ((7, cut_short), (8, b"other protocol"))]
    taken = decoded(jobs, lambda frame: decode(frame, LIMITS))
    assert taken.refused == []
    failed = [one for one in taken.inputs if isinstance(one, Failed)]
    assert [(one.exchange, one.was_answered) for one in failed] == [(7, True), (8, False)]


def test_an_envelope_that_cannot_be_encoded_ends_its_exchange() -> None:
    member = Member()

    def fail(_: Envelope) -> bytes:
        raise ValueError("too long")

    batch = published(decoded([], lambda frame: decode(frame, LIMITS)), member.batch_of_sends(), fail)
    assert batch.sends == []
    member.driver.publish(batch)
    assert member.taken() == [Failed(member.exchange, "the envelope could not be encoded: too long")]


# Fences and the end


def test_a_batch_that_fences_acknowledges_nothing_and_begins_nothing() -> None:
    member = Member()
    member.write("row")
    member.driver.serve(encode(member.envelope()), member.waiter("peer"))
    batch = member.run()
    assert {type(outcome) for _, outcome in batch.outcomes} == {list, bytes}
    member.driver.publish(replace(batch, effects=replace(batch.effects, is_fenced=True)))
    for name in ("row", "peer"):
        [told] = member.told[name]
        assert isinstance(told, StoppedError)
        assert "told to forget" in str(told)
    assert member.driver.begin(batch.sends) == ()
    with pytest.raises(StoppedError, match="told to forget"):
        member.driver.serve(b"frame", member.waiter("late"))
    with pytest.raises(StoppedError, match="told to forget"):
        member.write("late")


def test_a_member_that_stops_takes_no_writes_and_goes_on_serving() -> None:
    member = Member()
    member.driver.stop()
    with pytest.raises(StoppedError, match="stopping"):
        member.write("late")
    assert member.driver.serve(encode(member.envelope()), member.waiter("peer"))
    member.driver.publish(member.run())
    assert isinstance(member.told["peer"][0], bytes)
    member.driver.has_ended = True
    assert member.driver.begin([]) == ()


def test_a_wait_ends_once_with_what_the_core_or_the_end_of_the_member_says() -> None:
    member = Member()
    receipt = Receipt(USER, Dot(9, 9))
    for ticket in (1, 2):
        member.driver.wait(Await(ticket, 1, receipt), member.waiter(f"begun {ticket}"), member.waiter(f"over {ticket}"))
    member.driver.publish(member.run())
    assert [member.told[f"over {ticket}"] for ticket in (1, 2)] == [[], []]
    resolved = Resolved(1, member.core.driver.replica.coverage(receipt))
    for _ in range(2):
        member.driver.publish(Published([], [], [], Effects(resolved=[resolved])))
    member.driver.end_waits()
    member.driver.end_waits()
    assert [member.told[f"over {ticket}"] for ticket in (1, 2)] == [[resolved], [None]]
