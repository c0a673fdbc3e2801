"""What peers, or rows that they spread, may not do to a replica, whatever they say."""

from __future__ import annotations

import pytest

from gossipkv.core.address import MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.causality import Context
from gossipkv.core.inputs import Answered, Received, Write
from gossipkv.core.member import MemberRecord
from gossipkv.core.messages import Envelope, Offer, Position, Pull, WalkFetch, WalkFetchRows, WalkRows
from gossipkv.core.storage import StorageFullError
from gossipkv.core.store import Intake
from gossipkv.core.walk import WalkFaultError
from gossipkv.core.write import Operation
from tests.core.cluster import Cluster, sent
from tests.core.disks import at
from tests.core.test_replica import overwrite_record, own_record, settle_after_a_tick, settled
from tests.core.test_walk import asking

INFINITE = b'{"replica":"1","incarnation":1e999,"protocols":[],"status":"alive"}'
HUGE = b'{"replica":"1","incarnation":1180591620717411303424,"protocols":[],"status":"alive"}'


def test_the_last_part_of_a_pull_that_was_given_up_does_not_end_the_next_one() -> None:
    cluster = settled(Cluster(), "a", "b", "c", part_bytes=100, audit_interval_ms=10**9)
    a, b = cluster.members["a"], cluster.members["b"]
    for number in range(20):
        cluster.write("a", Operation(at(f"row{number:02}"), b"old"))
    cluster.settle()
    cluster.write("a", Operation(at("row00"), b"new"))
    cluster.drop("a", "b")
    cluster.write("c", Operation(at("row01"), b"new"))
    cluster.drop("c", "b")
    cluster.deliver("c", "a")
    while not (send := cluster.waiting("b", "a")):
        cluster.now_ms += 1_000
        cluster.tick("b")
        if cluster.waiting("b", "c"):
            cluster.drop("b", "c")
    while not any(isinstance(message, Pull) and message.cursor for message in send.envelope.messages):
        cluster.deliver("b", "a")
        send = cluster.waiting("b", "a")
        assert send is not None
    # The last part is under way. Origin a has been read to its end; now a writes again.
    cluster.write("a", Operation(at("row05"), b"newer"))
    b.outbox.remove(send)
    last = cluster.answer_to("a", Received(sent(send.envelope)))
    assert isinstance(last, Envelope)
    # A batch of b fails, so its pull is given up; an offer starts another one before the answer arrives.
    b.storage.fail_next_commit(StorageFullError("no room"))
    cluster.run("b", Write(USER, (Operation(at("x"), b""),)))
    offer = Envelope("test", "a", 1, own_record(a).incarnation, cluster.now_ms, (Offer(USER),))
    cluster.answer_to("b", Received(offer))
    cluster.answer_to("b", Answered(send.exchange, sent(last)))
    for address, row in a.rows().items():
        if Context(b.context()).covers(row.winner.dot):
            assert b.rows()[address].winner.rank >= row.winner.rank, (address, b.context())


@pytest.mark.parametrize("garbage", [INFINITE, b"[" * 100_000, HUGE])
def test_garbage_is_a_value_error(garbage: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        MemberRecord.from_json(garbage)


def test_a_poisonous_member_record_does_not_end_replication() -> None:
    cluster = settled(Cluster(), "a", "b")
    cluster.answer_to("b", Write(SYSTEM, (Operation(address_of(MEMBERS_TABLE, b"c"), INFINITE),)))
    cluster.settle()


def test_a_member_does_not_outdo_a_record_into_an_incarnation_that_no_frame_holds() -> None:
    cluster = settled(Cluster(), "a", "b")
    overwrite_record(cluster, "b", "a", MemberRecord(77, 2**63 - 1, {"gossip": "memory://elsewhere"}))
    settle_after_a_tick(cluster, "a")


def test_the_answer_to_a_fetch_counts_once() -> None:
    _, walk = asking(WalkFetch)
    walk.take_rows(WalkRows(USER, (), None), Intake())
    with pytest.raises(WalkFaultError):
        walk.take_rows(WalkRows(USER, (), None), Intake())


def test_an_answer_cannot_serve_more_rows_than_were_asked_for() -> None:
    _, walk = asking(WalkFetchRows)
    with pytest.raises(WalkFaultError):
        walk.take_rows(WalkRows(USER, (), Position(10**6, b"")), Intake())
