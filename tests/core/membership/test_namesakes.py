"""Two processes under one member's name: on copies of one volume, or with a directory each."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
import xxhash

from gossipkv.codec import Limits, decode, encode
from gossipkv.core.effects import Send
from gossipkv.core.inputs import Answer, Answered, Discovered, Failed, Input, Inspect, Received, Tick, Write
from gossipkv.core.membership.namesakes import PROCESSES_MAX, QUIET_INTERVALS, Namesakes, ProcessIdentity
from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.clock import timestamp_at
from gossipkv.core.model.member import MemberRecord
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.tally import Notice
from gossipkv.core.model.write import Operation
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Delta, Envelope, FetchValue, LargeRow, Outline, ValuePart
from gossipkv.core.status import ReplicaStatus
from gossipkv.member.group_commit import GroupCommit
from gossipkv.storage.memory import MemoryStorage
from tests.core.replica_settings import ReplicaSettings

START_MS = 1_700_000_000_000
LIMITS = Limits()
NOTICED_WITHIN = 10
"""Gossip intervals."""


@dataclass
class Host:
    """A process at an address."""

    member: str
    address: str
    storage: MemoryStorage
    started_ms: int
    reaches: frozenset[str] | None = None
    """None: everyone."""
    sizes: ReplicaSettings = field(default_factory=ReplicaSettings)
    """How much goes into one message, where that is not as usual."""
    sends: list[Send[Envelope]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def __post_init__(self) -> None:
        options = ReplicaOptions(member=self.member, endpoints={"gossip": f"memory://{self.address}"}, **self.sizes)
        rng = random.Random(f"{self.address}{self.started_ms}")
        self.driver, effects = GroupCommit.open(self.storage, options, rng, self.started_ms)
        self.sends += effects.sends
        self.notices += effects.notices

    @property
    def replica(self) -> int:
        return self.driver.replica.identity.replica

    def take(self, happened: Input, now_ms: int) -> Answer | Exception:
        batch = self.driver.run([happened], now_ms)
        self.sends += batch.effects.sends
        self.notices += batch.effects.notices
        return batch.outcomes[0]

    def events(self, event: str) -> list[dict[str, object]]:
        return [notice.fields for notice in self.notices if notice.event == event]

    def rows(self) -> dict[bytes, bytes | None]:
        with self.storage.view() as view:
            return {address[2:]: row.winner.value for address, row in view.rows(USER, b"", b"\x7f")}


class Hosts:
    """Processes by address, on one clock."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.running: dict[str, Host] = {}
        self._put = 0
        self.sizes: ReplicaSettings = {}
        """Of those that start from now on."""

    def start(
        self, member: str, address: str, storage: MemoryStorage | None = None, reaches: frozenset[str] | None = None
    ) -> Host:
        self.now_ms += 1
        host = Host(member, address, storage or MemoryStorage(), self.now_ms, reaches, self.sizes)
        self.running[address] = host
        for other in self.running.values():
            other.take(
                Discovered(tuple(f"memory://{a}" for a in self.running if self.reach(other.address, a))), self.now_ms
            )
        return host

    def reach(self, source: str, target: str) -> bool:
        one, other = self.running[source], self.running[target]
        return (one.reaches is None or target in one.reaches) and (other.reaches is None or source in other.reaches)

    def put(self, host: Host, key: bytes) -> bytes:
        self._put += 1
        value = b"%d" % self._put
        self.now_ms += 1
        host.take(Write(USER, (Operation(address_of("t", key), value),)), self.now_ms)
        return value

    def talk(self, intervals: int) -> None:
        for _ in range(4 * intervals):
            self.now_ms += 250
            for host in list(self.running.values()):
                host.take(Tick(), self.now_ms)
            for _ in range(3):
                self._carry_all()

    def _carry_all(self) -> None:
        for host in list(self.running.values()):
            sends, host.sends = host.sends, []
            for send in sends:
                self._carry(host, send)

    def settle(self) -> None:
        """Go on until no exchange is under way."""
        while any(host.sends for host in self.running.values()):
            self._carry_all()

    def ticked(self, host: Host) -> list[Send[Envelope]]:
        """What it sends within some time, with no answer to come."""
        for _ in range(8):
            self.now_ms += 250
            host.take(Tick(), self.now_ms)
        return host.sends

    def _carry(self, host: Host, send: Send[Envelope]) -> None:
        address = send.endpoint.removeprefix("memory://")
        target = self.running.get(address)
        answer: object = "not reached"
        if target is not None and self.reach(host.address, address):
            answer = target.take(Received(decode(encode(send.content), LIMITS)), self.now_ms)
        if isinstance(answer, Envelope):
            host.take(Answered(send.exchange, decode(encode(answer), LIMITS)), self.now_ms)
        else:
            host.take(Failed(send.exchange, str(answer)), self.now_ms)

    def status(self, host: Host) -> ReplicaStatus:
        status = host.take(Inspect(), self.now_ms)
        assert isinstance(status, ReplicaStatus)
        return status

    def processes(self, host: Host, member: str) -> int:
        """How many run as the member, as this one has it."""
        [found] = [each for each in self.status(host).members if each.member == member]
        return 1 if found.sighting is None else 2


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.mark.parametrize("reaches", [None, frozenset(["x", "y", "twin"])], ids=["all reached", "apart from its twin"])
def test_twins_are_noticed_by_all_and_one_keeps_the_replica_id_and_no_write_is_lost(
    hosts: Hosts, reaches: frozenset[str] | None
) -> None:
    a, x, y = hosts.start("a", "a"), hosts.start("x", "x"), hosts.start("y", "y")
    hosts.put(a, b"common")
    hosts.talk(5)
    twin = hosts.start("a", "twin", a.storage.snapshot(), reaches)
    assert twin.replica == a.replica
    expected = {}
    for number in range(20):
        for host in (a, twin):
            key = b"%s%d" % (host.address.encode(), number)
            expected[key] = hosts.put(host, key)
        hosts.talk(1 if number % 5 == 0 else 0)
    hosts.talk(NOTICED_WITHIN)
    assert a.replica != twin.replica
    for host in (a, twin, x, y):
        [said] = host.events("member_runs_twice")
        assert "on copies of one volume" in str(said["reason"])
        assert " at memory://a, replica " in str(said["reason"])
        assert " at memory://twin; stop one" in str(said["reason"])
        assert hosts.processes(host, "a") == 2
    del hosts.running["twin"]
    hosts.talk(20)
    for host in (a, x, y):
        assert host.rows() == {b"common": b"1"} | expected
    hosts.talk(80)
    for host in (a, x, y):
        assert hosts.processes(host, "a") == 1
        assert len(host.events("member_runs_once_again")) == len(host.events("member_runs_twice")) == 1


@pytest.mark.parametrize("is_copy", [True, False], ids=["twins", "namesakes"])
def test_both_processes_of_a_name_are_brought_up_to_date_where_their_records_fit_into_no_message(
    hosts: Hosts, *, is_copy: bool
) -> None:
    hosts.sizes = {"whole_row_bytes_max": 100, "part_bytes": 100}
    a, x, y = hosts.start("a", "a"), hosts.start("x", "x"), hosts.start("y", "y")
    expected = {b"common": hosts.put(a, b"common")}
    hosts.talk(10)
    second = hosts.start("a", "second", a.storage.snapshot() if is_copy else None)
    for host in (a, second, x):
        key = host.address.encode()
        expected[key] = hosts.put(host, key)
    for _ in range(20):
        hosts.talk(10)
        if all(host.rows() == expected for host in (a, second, x, y)):
            break
    for host in (a, second, x, y):
        assert host.rows() == expected


def test_a_record_that_is_fetched_in_fragments_may_end_all_that_is_under_way_with_its_member(hosts: Hosts) -> None:
    """It tells of another replica under the name of the member that has named it."""
    a, x = hosts.start("a", "a"), hosts.start("x", "x")
    hosts.talk(5)
    hosts.settle()
    incarnation = hosts.now_ms + 100_000
    record = MemberRecord(7, incarnation, {"gossip": "memory://a"}).to_json()
    assert record is not None
    dot = Dot(a.replica, 1_000)
    outline = Outline(dot, timestamp_at(hosts.now_ms + 1), len(record), xxhash.xxh3_64_intdigest(record), None, None)
    large = LargeRow(address_of(MEMBERS_TABLE, b"a"), (outline,), Context({dot.replica: dot.sequence}))
    sent = hosts.ticked(a)[0]
    named = replace(sent.content, messages=(Delta(SYSTEM, {}, (), large=(large,)),))
    assert isinstance(x.take(Received(named), hosts.now_ms), Envelope)
    asking = [
        send for send in hosts.ticked(x) if any(isinstance(message, FetchValue) for message in send.content.messages)
    ]
    part = ValuePart(SYSTEM, large.address, dot, 0, record)
    answer = replace(sent.content, messages=(part,))
    outcome = x.take(Answered(asking[-1].exchange, answer), hosts.now_ms)
    assert not isinstance(outcome, Exception)
    [found] = [member for member in hosts.status(x).members if member.member == "a"]
    assert found.replica == 7


def test_a_namesake_with_a_directory_of_its_own_is_named_by_all_and_loses_nothing(hosts: Hosts) -> None:
    a, x, y = hosts.start("a", "a"), hosts.start("x", "x"), hosts.start("y", "y")
    hosts.talk(5)
    other = hosts.start("a", "other")
    replicas = a.replica, other.replica
    expected = {key: hosts.put(host, key) for host, key in ((a, b"1"), (other, b"2"))}
    hosts.talk(3 * NOTICED_WITHIN)
    for host in (a, other, x, y):
        [said] = host.events("member_runs_twice")
        assert "with a directory each" in str(said["reason"])
        assert hosts.processes(host, "a") == 2
    assert (a.replica, other.replica) == replicas
    assert x.rows() == y.rows() == expected
    assert len(a.events("own_record_outdone")) <= 1
    assert len(other.events("own_record_outdone")) <= 1


def test_a_member_that_starts_again_at_another_address_is_not_taken_for_two(hosts: Hosts) -> None:
    a, x = hosts.start("a", "a"), hosts.start("x", "x")
    hosts.talk(5)
    for address in ("b", "c", "a"):
        del hosts.running[next(each for each, host in hosts.running.items() if host.member == "a")]
        a.storage.crash()
        hosts.start("a", address, a.storage)
        hosts.talk(8)
    assert x.events("member_runs_twice") == []
    assert all(host.events("member_runs_twice") == [] for host in hosts.running.values())


# What is evidence


def process(started: int, replica: int = 7) -> ProcessIdentity:
    return ProcessIdentity(started, 100 + started, replica, f"http://{started}", replica)


@pytest.fixture
def seen() -> Namesakes:
    found = Namesakes(ReplicaOptions(member="self"), process(50), Outbox(), 0)
    found.advance(1)
    return found


def test_a_message_from_before_a_restart_is_no_evidence(seen: Namesakes) -> None:
    seen.answered("x", process(1), exchange=1, last_exchange=1)
    seen.asked("x", process(2), last_exchange=3)
    seen.answered("x", process(1), exchange=3, last_exchange=3)
    seen.asked("x", process(1), last_exchange=9)
    seen.answered("x", process(2), exchange=9, last_exchange=9)
    assert not seen.sightings


def test_an_answer_that_was_asked_for_after_another_process_had_spoken_is_evidence(seen: Namesakes) -> None:
    seen.answered("x", process(1), exchange=1, last_exchange=1)
    seen.asked("x", process(2), last_exchange=3)
    seen.answered("x", process(1), exchange=4, last_exchange=4)
    sighting = seen.sightings["x"]
    assert (sighting.older, sighting.younger, sighting.are_twins) == (process(1), process(2), True)


def test_who_begins_exchanges_is_believed_once_no_message_from_before_can_be_under_way(seen: Namesakes) -> None:
    seen.asked("x", process(1), 0)
    seen.asked("x", process(2), 0)
    for second in range(62):
        seen.advance(1_000 * second)
    seen.asked("x", process(1, replica=8), 0)
    assert not seen.sightings["x"].are_twins


def test_a_disk_lost_while_the_clock_was_set_back_is_one_process_after_another(seen: Namesakes) -> None:
    seen.answered("x", process(9), exchange=1, last_exchange=1)
    seen.answered("x", process(2, replica=8), exchange=2, last_exchange=2)
    seen.answered("x", process(2, replica=8), exchange=3, last_exchange=3)
    assert not seen.sightings


def test_the_word_is_said_again_if_its_batch_was_not_committed(seen: Namesakes) -> None:
    seen.read(process(60))
    assert [notice.event for notice in seen.outbox.take()] == ["member_runs_twice"]
    seen.outbox.forget_batch()
    assert [notice.is_warning for notice in seen.outbox.take()] == [True]
    seen.outbox.note_told()
    assert seen.outbox.take() == []


def test_a_member_is_said_to_run_twice_until_it_has_not_shown_for_some_time() -> None:
    options = ReplicaOptions(member="self", gossip_interval_ms=1_000)
    seen = Namesakes(options, process(50), Outbox(), 0)
    seen.read(process(60))
    quiet_ms = QUIET_INTERVALS * 1_000
    for now_ms in range(0, quiet_ms + 1, 100):
        seen.advance(now_ms)
    assert seen.run_as("self")
    seen.outdone(process(60))
    for now_ms in range(quiet_ms, 2 * quiet_ms + 1, 100):
        seen.advance(now_ms)
    assert seen.run_as("self"), "it has shown since"
    seen.advance(0)
    assert seen.run_as("self"), "a clock that is set back lets no time pass"
    seen.advance(10 * quiet_ms)
    assert not seen.run_as("self")
    assert [notice.event for notice in seen.outbox.take()] == ["member_runs_twice", "member_runs_once_again"]


def test_a_clock_that_jumps_ahead_lets_a_bounded_time_pass() -> None:
    seen = Namesakes(ReplicaOptions(member="self", gossip_interval_ms=1_000), process(50), Outbox(), 0)
    seen.read(process(60))
    seen.advance(10**9)
    assert seen.run_as("self")


def test_a_bounded_number_of_processes_is_remembered_and_those_known_are_still_followed(seen: Namesakes) -> None:
    for number in range(PROCESSES_MAX + 5):
        seen.answered(f"m{number}", process(1), exchange=1, last_exchange=1)
    assert len(seen._speakers) == PROCESSES_MAX
    seen.asked("m0", process(2), last_exchange=3)
    seen.answered("m0", process(1), exchange=4, last_exchange=4)
    assert list(seen.sightings) == ["m0"]


def test_the_status_says_for_how_long_a_member_has_been_known_to_run_twice() -> None:
    replica = Host("a", "a", MemoryStorage(), START_MS).driver.replica
    replica._namesakes.advance(START_MS + 1_000)
    replica._namesakes.read(process(2 * START_MS))
    for now_ms, known_ms in ((START_MS + 4_000, 3_000), (START_MS, 0)):
        [own] = [each for each in replica.status(now_ms).members if each.is_self]
        assert own.sighting is not None
        assert own.sighting.known_ms == known_ms


@pytest.mark.parametrize(("interval_ms", "step_ms"), [(100, 1_000), (1_000, 1_000), (3_000, 3_000)])
def test_a_step_of_the_clock_counts_up_to_a_second_or_an_interval(interval_ms: int, step_ms: int) -> None:
    seen = Namesakes(ReplicaOptions(member="self", gossip_interval_ms=interval_ms), process(50), Outbox(), 0)
    seen.advance(step_ms)
    assert seen._time_ms == step_ms
    seen.advance(step_ms + 10**6)
    assert seen._time_ms == 2 * step_ms
    seen.advance(0)
    assert seen._time_ms == 2 * step_ms


def test_evidence_of_a_namesake_of_this_member_is_a_later_start_an_answer_or_a_message_too_late_to_be_old() -> None:
    def sees(heard: ProcessIdentity, time_ms: int, answers: int | None) -> bool:
        seen = Namesakes(ReplicaOptions(member="self", message_life_ms=60_000), process(50), Outbox(), 0)
        seen._time_ms = time_ms
        seen._heard("self", heard, 0, answers=answers)
        return seen.run_as("self")

    assert sees(process(51), 0, None)
    assert not sees(process(49), 0, None), "it may be from before this one started"
    assert sees(process(49), 0, 1), "it answers this process"
    assert not sees(process(49), 60_000, None)
    assert sees(process(49), 60_001, None)
    assert not sees(process(50), 60_001, 1), "it is this process itself"
    assert not sees(process(51)._replace(token=0), 0, 1), "version 0.1.0 does not say which process it is"


def test_a_record_of_a_process_that_started_later_is_evidence_and_so_is_one_that_is_outdone_again() -> None:
    def after(act: str, other: ProcessIdentity) -> bool:
        seen = Namesakes(ReplicaOptions(member="self"), process(50), Outbox(), 0)
        getattr(seen, act)(other)
        return seen.run_as("self")

    assert after("read", process(51))
    assert not after("read", process(49))
    assert not after("read", process(50))
    assert not after("read", process(51)._replace(token=0))
    assert after("outdone", process(49))
    assert after("outdone", process(51))
    assert not after("outdone", process(50))
    assert not after("outdone", process(49)._replace(token=0))


def test_a_twin_is_another_process_with_the_same_replica_id(seen: Namesakes) -> None:
    own = seen.own
    assert not seen.is_twin(own)
    assert seen.is_twin(own._replace(token=own.token + 1))
    assert not seen.is_twin(own._replace(token=0))
    assert not seen.is_twin(own._replace(token=own.token + 1, replica=own.replica + 1))
    seen.be_renewed(own.replica + 1)
    assert seen.is_twin(own._replace(token=own.token + 1, replica=own.replica + 1))
