"""Copies at a member that is behind, and the end of waits."""

from __future__ import annotations

from typing import Unpack

import pytest

from gossipkv.core.inputs import Await, Failed, Input, Read, Tick, Wake, Withdraw, Write
from gossipkv.core.model.address import SYSTEM, USER, address_of
from gossipkv.core.model.causality import SEQUENCE_MAX, Dot
from gossipkv.core.model.member import ALIVE, LEFT
from gossipkv.core.model.write import Operation, StoredWrite
from gossipkv.core.protocol.messages import Delta, WalkFetchRows
from gossipkv.core.store.storage import StorageFailedError
from gossipkv.core.waits.answers import Coverage, Found, Holder, Reach, Receipt, Resolved
from tests.core.cluster import Cluster, endpoint_of
from tests.core.replica_settings import ReplicaSettings
from tests.core.transfer.test_large_rows import deliver, directs

ADDRESS = address_of("t", b"row")


def joined(**settings: Unpack[ReplicaSettings]) -> Cluster:
    cluster = Cluster()
    for name in ("a", "b"):
        cluster.start(name, **settings)
    cluster.introduce("a", "b")
    cluster.settle()
    return cluster


def all_written(cluster: Cluster, *operations: Operation) -> list[StoredWrite]:
    results = cluster.results("a", *operations, copies=2)
    written = [result for result in results if isinstance(result, StoredWrite)]
    assert written == results
    return written


def written(cluster: Cluster) -> StoredWrite:
    [result] = all_written(cluster, Operation(ADDRESS, b"v"))
    return result


def test_a_member_that_is_merely_behind_gets_the_row_beside_its_transfer() -> None:
    cluster = joined()
    a = cluster.members["a"]
    [peer] = a.driver.replica.peers
    peer.conversation.offered.add(USER)  # It catches up, and pushes are held back.
    dot = written(cluster).dot
    batch = cluster.run("a", Await(1, 2, Receipt(USER, dot), {ADDRESS: dot}))
    [direct] = [send for send in batch.effects.sends if isinstance(send.content.messages[0], Delta)]
    assert [type(message) for message in direct.content.messages] == [Delta, WalkFetchRows]
    delta = direct.content.messages[0]
    assert isinstance(delta, Delta)
    assert delta.ranges == {}
    a.outbox.remove(direct)
    a.outbox.insert(0, direct)
    cluster.deliver("a", "b")
    assert cluster.members["b"].rows()[ADDRESS].winner.value == b"v"
    assert not cluster.members["b"].context().get(dot.replica), "a row without ranges claims nothing"
    assert [one.ticket for one in a.resolved] == [1], "the wait is over"


def test_a_batch_that_one_message_does_not_hold_is_handed_over_in_several() -> None:
    cluster = joined(part_bytes=1_000)
    a, b = cluster.members["a"], cluster.members["b"]
    [peer] = a.driver.replica.peers
    peer.conversation.offered.add(USER)
    operations = [Operation(address_of("t", b"row%02d" % number), bytes(300)) for number in range(7)]
    results = all_written(cluster, *operations)
    dots = {one.address: result.dot for one, result in zip(operations, results, strict=True)}
    a.outbox.clear()
    last = dots[operations[-1].address]
    cluster.run("a", Await(1, 2, Receipt(USER, last), dots))
    held = []
    while a.outbox and len(b.rows()) < len(dots):
        assert a.driver.replica.coverage(Receipt(USER, last)).copies == 1
        cluster.deliver("a", "b")
        held.append(len(b.rows()))
    assert held == [2, 4, 6, 7]
    assert not b.context().get(last.replica)
    assert [one.ticket for one in a.resolved] == [1], "the wait is over"


def test_copies_come_by_ordinary_pushes_where_no_one_is_behind() -> None:
    cluster = joined()
    dot = written(cluster).dot
    batch = cluster.run("a", Await(1, None, Receipt(USER, dot), {ADDRESS: dot}))
    assert batch.effects.sends == []
    cluster.deliver("a", "b")
    assert [one.ticket for one in cluster.members["a"].resolved] == [1]


def test_no_copy_is_counted_that_a_lost_disk_has_taken() -> None:
    cluster = joined()
    dot = written(cluster).dot
    cluster.deliver("a", "b")
    replica = cluster.members["a"].driver.replica
    assert replica.coverage(Receipt(USER, dot)).copies == 2
    cluster.crash("b")
    cluster.start("b")
    cluster.introduce("b", "a")
    cluster.run("b", Tick())
    while cluster.waiting("b", "a"):
        cluster.deliver("b", "a")
    coverage = replica.coverage(Receipt(USER, dot))
    assert isinstance(coverage, Coverage)
    assert {holder.member: holder.has_it for holder in coverage.holders}["a"]
    assert endpoint_of("b") == replica.peers[0].endpoint
    assert replica.peers[0].replica == cluster.members["b"].replica_id


# Deadlines


def waits(cluster: Cluster, deadline_ms: int) -> None:
    """Wait for a copy, and for a read of two members, both in vain."""
    dot = written(cluster).dot
    deadline_ms += cluster.now_ms
    cluster.run(
        "a",
        Await(1, 2, Receipt(USER, dot), deadline_ms=deadline_ms),
        Read(2, USER, ADDRESS, 2, deadline_ms),
    )


def ends(cluster: Cluster) -> dict[int, Resolved]:
    """The waits that have ended at the first member."""
    return {one.ticket: one for one in cluster.members["a"].resolved}


@pytest.mark.parametrize("happened", [Tick(), Wake(), Await(9, 1)], ids=lambda one: type(one).__name__)
def test_a_wait_ends_with_its_state_in_the_first_batch_from_its_deadline_on(happened: Input) -> None:
    cluster = joined()
    waits(cluster, 50)
    cluster.now_ms += 49
    batch = cluster.run("a", happened)
    assert not ends(cluster).keys() & {1, 2}
    assert batch.effects.deadline_ms == cluster.now_ms + 1
    cluster.now_ms += 1
    cluster.run("a", happened)
    copies, read = ends(cluster)[1], ends(cluster)[2]
    assert isinstance(copies.outcome, Coverage)
    assert copies.outcome.copies == 1
    assert isinstance(read.outcome, Found)
    assert (read.outcome.row, read.outcome.copies) == (None, 1)
    assert [(one.is_late, one.is_cut) for one in (copies, read)] == [(True, False)] * 2


def test_a_wait_whose_deadline_has_passed_ends_in_its_own_batch() -> None:
    cluster = joined()
    waits(cluster, 0)
    assert [(one.ticket, one.is_late) for one in cluster.members["a"].resolved] == [(1, True), (2, True)]
    assert cluster.run("a", Wake()).effects.deadline_ms is None


def test_a_wait_for_members_ends_with_how_many_are_alive() -> None:
    cluster = Cluster()
    cluster.start("a")
    cluster.start("b")
    cluster.introduce("a", "b")
    cluster.settle()
    [peer] = cluster.members["a"].driver.replica.peers
    peer.has_answered = False
    cluster.run("a", Await(1, 2, deadline_ms=cluster.now_ms + 10))
    assert ends(cluster) == {}
    cluster.now_ms += 10
    cluster.run("a", Wake())
    assert ends(cluster) == {1: Resolved(1, Reach(2, 1), is_late=True)}


def test_a_clock_that_is_set_back_delays_no_deadline() -> None:
    cluster = joined()
    waits(cluster, 50)
    cluster.now_ms -= 3_600_000
    batch = cluster.run("a", Await(4, 1, Receipt(USER, Dot(9, 1)), deadline_ms=cluster.now_ms + 60))
    assert batch.effects.deadline_ms == cluster.now_ms + 50
    cluster.now_ms += 50
    cluster.run("a", Wake())
    assert sorted(ends(cluster)) == [1, 2]
    cluster.now_ms += 10
    cluster.run("a", Wake())
    assert 4 in ends(cluster), "a wait that begins after the clock was set back has its deadline by the new time"


def test_a_wait_ends_at_its_deadline_although_the_storage_fails() -> None:
    cluster = joined()
    waits(cluster, 50)
    cluster.now_ms += 50
    for _ in range(2):
        cluster.members["a"].storage.fail_next_commit(StorageFailedError("EIO"))
        cluster.run("a", Tick(), Write(USER, (Operation(ADDRESS, b"lost"),)))
    assert sorted(one.ticket for one in cluster.members["a"].resolved) == [1, 2], "and only once"
    cluster.run("a", Wake())
    assert sorted(ends(cluster)) == [1, 2]


def test_a_client_that_has_gone_is_told_nothing() -> None:
    cluster = joined()
    waits(cluster, 50)
    cluster.run("a", *map(Withdraw, (1, 2, 3)))
    cluster.now_ms += 5_000
    assert cluster.run("a", Wake()).effects.resolved == []


def test_a_receipt_is_read_back_as_it_was_written() -> None:
    for receipt in (Receipt(USER, Dot(0xA1, 7)), Receipt(SYSTEM, Dot(2**64 - 1, SEQUENCE_MAX))):
        assert Receipt.parsed(str(receipt)) == receipt


@pytest.mark.parametrize(
    "text", ["", "usr", "usr.00000000000000a1", "usr.a1.7", "tbl.00000000000000a1.7", f"usr.00000000000000a1.{2**64}"]
)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a receipt is"):
        Receipt.parsed(text)


def test_members_that_have_left_count_for_no_copies() -> None:
    holders = (Holder("a", ALIVE, True, 1, has_it=True), Holder("b", LEFT, False, 2, has_it=True))
    coverage = Coverage(Receipt(USER, Dot(1, 1)), holders)
    assert (coverage.copies, coverage.members) == (1, 1)


def test_rows_are_handed_to_those_that_lack_them_alone_and_not_twice_at_once() -> None:
    cluster = Cluster()
    for name in ("a", "b", "c"):
        cluster.start(name)
    cluster.introduce("a", "b", "c")
    cluster.settle()
    a = cluster.members["a"]
    dot = written(cluster).dot
    cluster.deliver("a", "b")
    for peer in a.driver.replica.peers:
        peer.conversation.offered.add(USER)  # They catch up, and pushes are held back.
    a.outbox.clear()
    cluster.run("a", Await(1, 3, Receipt(USER, dot), {ADDRESS: dot}))
    assert [send.endpoint for send in directs(a)] == [endpoint_of("c")]
    for _ in range(3):
        cluster.tick("a")
    assert [send.endpoint for send in directs(a)] == [endpoint_of("c")]
    [direct] = directs(a)
    a.outbox.remove(direct)
    cluster.run("a", Failed(direct.exchange, "lost"))
    cluster.tick("a")
    assert [send.endpoint for send in directs(a)] == [endpoint_of("c")], "it is handed over again"
    deliver(cluster, "a", directs(a)[0])
    assert sorted(ends(cluster)) == [1], "the wait is over"


def test_rows_are_handed_to_all_that_lack_them_at_once() -> None:
    cluster = Cluster()
    for name in ("a", "b", "c"):
        cluster.start(name)
    cluster.introduce("a", "b", "c")
    cluster.settle()
    a = cluster.members["a"]
    dot = written(cluster).dot
    for peer in a.driver.replica.peers:
        peer.conversation.offered.add(USER)  # They catch up, and pushes are held back.
    a.outbox.clear()
    cluster.run("a", Await(1, 3, Receipt(USER, dot), {ADDRESS: dot}))
    assert sorted(send.endpoint for send in directs(a)) == [endpoint_of("b"), endpoint_of("c")]
    another = all_written(cluster, Operation(address_of("t", b"another"), b"v"))[0].dot
    cluster.run("a", Await(2, 2, Receipt(USER, another), {address_of("t", b"another"): another}))
    assert len(directs(a)) == 4, "those of one write do not wait for those of another"


def test_nothing_is_handed_to_a_member_that_does_not_answer_nor_for_a_write_made_elsewhere() -> None:
    cluster = joined()
    a = cluster.members["a"]
    dot = written(cluster).dot
    [peer] = a.driver.replica.peers
    peer.conversation.offered.add(USER)
    a.outbox.clear()
    for failures, handovers in ((1, {ADDRESS: dot}), (0, {})):
        peer.failures = failures
        peer.exchange = None
        cluster.run("a", Await(1, 2, Receipt(USER, dot), handovers))
        for _ in range(2):
            cluster.tick("a")
        assert directs(a) == []
        assert ends(cluster) == {}
        cluster.run("a", Withdraw(1))


def test_a_wait_is_cut_by_the_end_of_its_member_unless_it_was_over() -> None:
    cluster = joined()
    written(cluster)
    waits(cluster, 10_000)
    cluster.answer_to("a", Await(3, 1))
    assert (ends(cluster)[3].is_cut, ends(cluster)[3].is_late) == (False, False), "one member is alive"
    receipts = cluster.members["a"].driver.replica._receipts
    [cut] = receipts.resolve(cluster.now_ms, is_ending=True)
    assert (cut.ticket, cut.is_cut, cut.is_late) == (1, True, False)
    assert receipts.resolve(cluster.now_ms, is_ending=True) == []
