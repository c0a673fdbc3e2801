"""Waits of clients end at their deadline, whenever the next tick is."""

from __future__ import annotations

import asyncio
import time

import pytest

from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.write import Operation, StoredWrite
from gossipkv.core.waits.answers import Receipt
from gossipkv.member.node import MemberNode, NodeOptions
from gossipkv.member.waits import AnswersMissingError, CopiesMissingError, TooManyAskedError
from tests.node.conftest import LocalCluster, eventually, put, replica_of

ADDRESS = address_of("t", b"row")
SOON_SECONDS = 0.05
LATE_SECONDS = 3.0
"""Less than after what time a node ends a wait that its core has not ended."""


async def started(cluster: LocalCluster) -> MemberNode:
    """A member that no longer ticks, and that is cut off from the only other one."""
    a = await cluster.start("a", node_options=NodeOptions(read_wait_seconds=SOON_SECONDS))
    await cluster.start("b", ("a",))

    async def know_each_other() -> bool:
        return any(peer.is_answering for peer in replica_of(a).peers)

    await eventually(know_each_other)
    cluster.network.exchange_timeout_ms = 60_000
    cluster.network.faults.partition(["memory://a"], ["memory://b"])
    for loop in a._loops:
        loop.cancel()
    return a


async def test_a_wait_ends_at_its_deadline_without_a_tick(cluster: LocalCluster) -> None:
    a = await started(cluster)
    began = time.monotonic()
    with pytest.raises(CopiesMissingError):
        await a.write(USER, [Operation(ADDRESS, b"x")], 2, SOON_SECONDS)
    with pytest.raises(AnswersMissingError):
        await a.read(USER, ADDRESS, 2)
    written = await put(a, "other", b"y")
    assert isinstance(written, StoredWrite)
    coverage = await a.receipt(Receipt(USER, written.dot), 2, SOON_SECONDS)
    assert coverage.copies == 1
    assert 3 * SOON_SECONDS <= time.monotonic() - began < LATE_SECONDS


async def test_a_deadline_is_kept_though_an_earlier_wait_has_a_later_one(cluster: LocalCluster) -> None:
    a = await started(cluster)
    patient = asyncio.create_task(a.write(USER, [Operation(ADDRESS, b"x")], 2, 3_600.0))
    await asyncio.sleep(SOON_SECONDS)
    began = time.monotonic()
    with pytest.raises(CopiesMissingError):
        await a.write(USER, [Operation(ADDRESS, b"y")], 2, SOON_SECONDS)
    assert time.monotonic() - began < LATE_SECONDS
    assert not patient.done()
    patient.cancel()


async def test_nothing_is_tracked_for_a_client_that_has_gone(cluster: LocalCluster) -> None:
    a = await started(cluster)
    writing = asyncio.create_task(a.write(USER, [Operation(ADDRESS, b"x")], 2, 3_600.0))

    async def waits() -> bool:
        return len(replica_of(a)._receipts._waiting) == 1

    await eventually(waits)
    writing.cancel()

    async def waits_no_longer() -> bool:
        return not replica_of(a)._receipts._waiting

    await eventually(waits_no_longer)


async def test_a_wait_that_the_core_refuses_is_refused_though_the_member_ends_its_waits_first(
    cluster: LocalCluster,
) -> None:
    a = await started(cluster)
    reading = asyncio.create_task(a.read(USER, ADDRESS, 9))
    await asyncio.sleep(0)
    a._consistency.end()
    with pytest.raises(TooManyAskedError):
        await reading
