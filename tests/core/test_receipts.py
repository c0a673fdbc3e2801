"""Copies at a member that is behind, and waits whose batch fails."""

from __future__ import annotations

from typing import Unpack

from gossipkv.core.inputs import Await, Tick
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.write import Operation, Written
from gossipkv.core.protocol.messages import Delta, WalkFetchRows
from gossipkv.core.waits.answers import Coverage, Receipt
from tests.core.cluster import Cluster, endpoint_of
from tests.core.replica_settings import ReplicaSettings

ADDRESS = address_of("t", b"row")


def joined(**settings: Unpack[ReplicaSettings]) -> Cluster:
    cluster = Cluster()
    for name in ("a", "b"):
        cluster.start(name, **settings)
    cluster.introduce("a", "b")
    cluster.settle()
    return cluster


def all_written(cluster: Cluster, *operations: Operation) -> list[Written]:
    results = cluster.results("a", *operations, copies=2)
    written = [result for result in results if isinstance(result, Written)]
    assert written == results
    return written


def written(cluster: Cluster) -> Written:
    [result] = all_written(cluster, Operation(ADDRESS, b"v"))
    return result


def test_a_member_that_is_merely_behind_gets_the_row_beside_its_transfer() -> None:
    cluster = joined()
    a = cluster.members["a"]
    [peer] = a.driver.replica.peers
    peer.conversation.offered.add(USER)  # It catches up, and pushes are held back.
    dot = written(cluster).dot
    batch = cluster.run("a", Await(1, 2, Receipt(USER, dot), {ADDRESS: dot}))
    [direct] = [send for send in batch.effects.sends if isinstance(send.envelope.messages[0], Delta)]
    assert [type(message) for message in direct.envelope.messages] == [Delta, WalkFetchRows]
    delta = direct.envelope.messages[0]
    assert isinstance(delta, Delta)
    assert delta.ranges == {}
    a.outbox.remove(direct)
    a.outbox.insert(0, direct)
    cluster.deliver("a", "b")
    assert cluster.members["b"].rows()[ADDRESS].winner.value == b"v"
    assert not cluster.members["b"].context().get(dot.replica), "a row without ranges claims nothing"
    assert a.driver.replica.withdraw(1) is None, "the wait is over"


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
    assert a.driver.replica.withdraw(1) is None, "the wait is over"


def test_copies_come_by_ordinary_pushes_where_no_one_is_behind() -> None:
    cluster = joined()
    dot = written(cluster).dot
    batch = cluster.run("a", Await(1, None, Receipt(USER, dot), {ADDRESS: dot}))
    assert batch.effects.sends == []
    cluster.deliver("a", "b")
    assert cluster.members["a"].driver.replica.withdraw(1) is None


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
