"""Writes that ask for copies, reads of several members, and receipts, on nodes that are cut off from each other."""

from __future__ import annotations

import asyncio
from typing import Unpack

import pytest

from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.member import DEAD
from gossipkv.core.model.write import Operation, StoredWrite
from gossipkv.core.waits.answers import Receipt
from gossipkv.member.node import MemberNode
from gossipkv.member.waits import AnswersMissingError, CopiesMissingError, MembersMissingError, TooManyAskedError
from tests.core.replica_settings import ReplicaSettings
from tests.node.conftest import LocalCluster, eventually, get, replica_of

ADDRESS = address_of("t", b"row")
LONG = 20.0


async def started(
    cluster: LocalCluster, /, **options: Unpack[ReplicaSettings]
) -> tuple[MemberNode, MemberNode, MemberNode]:
    cluster.network.exchange_timeout_ms = 200
    a = await cluster.start("a", **options)
    b = await cluster.start("b", ("a",), **options)
    c = await cluster.start("c", ("a", "b"), **options)

    async def all_answer() -> bool:
        return all(
            len(node.peers) == 2
            and all(peer.is_answering and len(peer.conversation.contexts) == 2 for peer in node.peers)
            for node in (replica_of(a), replica_of(b), replica_of(c))
        )

    await eventually(all_answer)
    return a, b, c


def isolate_a(cluster: LocalCluster) -> None:
    cluster.network.faults.partition(["memory://a"], ["memory://b", "memory://c"])


async def put(node: MemberNode, value: bytes, copies: int, wait_seconds: float = LONG) -> StoredWrite:
    [result] = await node.write(USER, [Operation(ADDRESS, value)], copies, wait_seconds)
    assert isinstance(result, StoredWrite)
    return result


async def test_a_write_returns_with_as_many_durable_copies_as_it_asked_for(cluster: LocalCluster) -> None:
    a, b, c = await started(cluster)
    await put(a, b"all", 3)
    assert [get(node, "row") for node in (a, b, c)] == [b"all"] * 3


async def test_more_copies_or_answers_than_members_are_refused_before_anything_is_stored(cluster: LocalCluster) -> None:
    a, _, _ = await started(cluster)
    with pytest.raises(TooManyAskedError):
        await put(a, b"x", 4)
    with pytest.raises(TooManyAskedError):
        await a.read(USER, ADDRESS, 4)
    assert get(a, "row") is None


async def test_with_too_few_members_that_are_alive_nothing_is_stored(cluster: LocalCluster) -> None:
    a, _, _ = await started(cluster, protocol_period_ms=100, probe_timeout_ms=50)
    isolate_a(cluster)

    async def is_alone() -> bool:
        return all(m.is_self or m.status == DEAD for m in (await a.status()).members)

    await eventually(is_alone)
    with pytest.raises(MembersMissingError):
        await put(a, b"x", 2, 0.05)
    assert get(a, "row") is None
    waiting = asyncio.create_task(put(a, b"y", 2))
    cluster.network.faults.heal()
    await waiting
    assert get(a, "row") == b"y"


async def test_a_write_whose_copies_do_not_come_in_time_stands_and_has_a_receipt(cluster: LocalCluster) -> None:
    a, b, c = await started(cluster, gossip_interval_ms=3_600_000)
    isolate_a(cluster)
    with pytest.raises(CopiesMissingError) as failure:
        await put(a, b"x", 2, 0.05)
    assert failure.value.coverage.copies == 1
    assert get(a, "row") == b"x"
    assert get(b, "row") is None
    assert get(c, "row") is None


async def test_a_read_of_two_members_finds_what_one_has_missed_and_repairs_it(cluster: LocalCluster) -> None:
    a, _, c = await started(cluster, gossip_interval_ms=3_600_000, retry_ms_max=3_600_000)
    cluster.network.faults.partition(["memory://a"], ["memory://c"])
    await put(a, b"new", 2)
    assert get(c, "row") is None
    row = await c.read(USER, ADDRESS, 2)
    assert row is not None
    assert row.winner.value == b"new"
    assert get(c, "row") == b"new", "the member that asked has it, too"

    # The other way round: the one that asks has it, and the one that is asked gets it at once.
    cluster.network.faults.partition(["memory://a", "memory://b"], ["memory://c"])
    await put(a, b"newer", 2)
    cluster.network.faults.heal()
    await a.read(USER, ADDRESS, 3)

    async def is_repaired() -> bool:
        return get(c, "row") == b"newer"

    await eventually(is_repaired)
    assert (await a.status()).tally.reads_repaired >= 1


async def test_a_read_of_more_members_than_answer_fails_in_time(cluster: LocalCluster) -> None:
    a, _, _ = await started(cluster)
    isolate_a(cluster)
    with pytest.raises(AnswersMissingError):
        await a._consistency.read(USER, ADDRESS, 2, 0.05)


async def test_any_member_says_who_has_a_write_and_waits_for_the_rest(cluster: LocalCluster) -> None:
    a, b, c = await started(cluster)
    written = await put(a, b"x", 1)
    receipt = Receipt.parsed(str(Receipt(USER, written.dot)))
    for node in (a, b, c):
        coverage = await node.receipt(receipt, None, LONG)
        assert (coverage.copies, coverage.members) == (3, 3)
        assert [holder.has_it for holder in coverage.holders] == [True] * 3
    with pytest.raises(TooManyAskedError):
        await a.receipt(receipt, 4, LONG)
