"""Watches of nodes, resumed on others."""

from __future__ import annotations

import asyncio
import tracemalloc
from contextlib import AsyncExitStack

import pytest

from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.protocol.base import Abridged
from gossipkv.core.watch.watch_position import WatchPosition
from gossipkv.core.watch.watching import WatchEvent
from gossipkv.member.feed import FeedOptions, Watcher
from gossipkv.member.node import MemberNode, NodeOptions
from gossipkv.member.watches import ControlEvent, Signal

from .conftest import DEADLINE_SECONDS, LocalCluster, eventually, fingerprints, put

TABLE = address_of("t", b"")


async def until(watcher: Watcher, *rows: bytes) -> list[tuple[bytes, bytes | None, str]]:
    """What a watcher is told, until all these rows have been told."""
    told: list[tuple[bytes, bytes | None, str]] = []
    missing = {TABLE + row for row in rows}
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for items in watcher.items():
            told += [(i.address, i.row.winner.value, i.event_id) for i in items if isinstance(i, WatchEvent)]
            missing -= {address for address, _, _ in told}
            if not missing:
                return told
    raise AssertionError("the watch has ended")


async def signals(watcher: Watcher, count: int) -> list[Signal]:
    found: list[Signal] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for items in watcher.items():
            found += [item.signal for item in items if isinstance(item, ControlEvent)]
            if len(found) >= count:
                break
    return found


async def test_a_watch_goes_on_at_another_member_with_each_row_once(cluster: LocalCluster) -> None:
    first = await cluster.start("a", ("b",))
    second = await cluster.start("b", ("a",))

    async def are_equal() -> bool:
        return len(await fingerprints(first, second)) == 1

    async with first.watched(USER, TABLE, None, snapshot=False) as watcher:
        for number in range(20):
            await put((first, second)[number % 2], f"k{number}", b"1")
        await put(first, "k3", b"2")
        await put(first, "last", b"")
        told = await until(watcher, b"last", *(b"k%d" % number for number in range(20)))
    last_id = told[-1][2]
    await eventually(are_equal)
    for number in range(20, 30):
        await put((first, second)[number % 2], f"k{number}", b"1")
    await put(second, "k3", b"3")
    await put(second, "over", b"")
    async with second.watched(USER, TABLE, WatchPosition.of_event(last_id), snapshot=False) as watcher:
        told += await until(watcher, b"over", b"k3", *(b"k%d" % number for number in range(20, 30)))
    final = {address: value for address, value, _ in told}
    assert final[TABLE + b"k3"] == b"3"
    pairs = [(address, value) for address, value, _ in told]
    assert len(pairs) == len(set(pairs)), "nothing is told twice"


async def test_an_id_that_is_never_covered_resets_the_watch(cluster: LocalCluster) -> None:
    node = await start_with(cluster, FeedOptions(resume_timeout_seconds=0.01))
    await put(node, "k", b"v")
    for unknown in (WatchPosition(Context({12345: 1})), WatchPosition(dots=[Dot(12345, 2)])):
        async with node.watched(USER, TABLE, unknown, snapshot=False) as watcher:
            assert await signals(watcher, 2) == [Signal.RESET, Signal.CURRENT]


async def test_a_watcher_that_takes_nothing_off_is_dropped(cluster: LocalCluster) -> None:
    node = await start_with(cluster, FeedOptions(buffer_bytes_max=1000))
    async with node.watched(USER, TABLE, None, snapshot=False) as watcher:
        items = watcher.items()
        await put(node, "first", b"")
        first = asyncio.create_task(anext(items))
        await put(node, "second", b"")
        await first
        for number in range(10):
            await put(node, f"k{number}", bytes(200))
        assert await anext(items) == [
            ControlEvent(Signal.OVERFLOW, reason="events were not taken off in time; go on from the last id")
        ]


async def test_an_idle_watch_hears_heartbeats(cluster: LocalCluster) -> None:
    node = await start_with(cluster, FeedOptions(heartbeat_seconds=0.01))
    async with node.watched(USER, TABLE, None, snapshot=False) as watcher:
        assert await signals(watcher, 2) == [Signal.HEARTBEAT] * 2


async def test_a_thousand_idle_watchers_hear_heartbeats_and_cost_little(cluster: LocalCluster) -> None:
    node = await start_with(cluster, FeedOptions(heartbeat_seconds=0.05))
    async with AsyncExitStack() as stack, node.watched(USER, TABLE, None, snapshot=False) as first:
        await signals(first, 1)
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        watchers = [
            await stack.enter_async_context(node.watched(USER, TABLE, None, snapshot=False)) for _ in range(1000)
        ]
        # Each is at the tail, and takes nothing off for a while: no more than one sign of life waits for it.
        hearing = [asyncio.create_task(signals(watcher, 2)) for watcher in watchers]
        assert await asyncio.gather(*hearing) == [[Signal.HEARTBEAT] * 2] * 1000
        for _ in range(3):
            await signals(first, 1)
        assert {len(watcher._buffer) for watcher in watchers} <= {0, 1}
        hearing.clear()
        after, _ = tracemalloc.get_traced_memory()
        assert (after - before) / 1000 < 8 * 1024, "bytes for each"


async def start_with(cluster: LocalCluster, options: FeedOptions) -> MemberNode:
    return await cluster.start("a", node_options=NodeOptions(feed=options))


@pytest.mark.parametrize("kind", ["unknown origins", "the end of a sequence", "an unknown base", "unknown dots"])
async def test_a_forged_position_is_reset_and_disturbs_nothing_else(cluster: LocalCluster, kind: str) -> None:
    node = await start_with(cluster, FeedOptions(resume_timeout_seconds=0.2))
    await put(node, "before", b"1")
    own = node.identity.replica
    position = {
        "unknown origins": WatchPosition(Context(dict.fromkeys(range(1, 300), 1))),
        "the end of a sequence": WatchPosition(Context({own: SEQUENCE_MAX})),
        "an unknown base": WatchPosition(Abridged(Context({own: 1}), 12345)),
        "unknown dots": WatchPosition(Context(), [Dot(own, number) for number in range(2, 258)]),
    }[kind]
    assert WatchPosition.of_event(position.event_id()) is not None
    async with (
        node.watched(USER, TABLE, None, snapshot=False) as other,
        node.watched(USER, TABLE, position, snapshot=False) as watcher,
    ):
        forged = asyncio.create_task(signals(watcher, 2))
        await put(node, "meanwhile", b"2")
        assert [value for _, value, _ in await until(other, b"meanwhile")] == [b"2"]
        assert await forged == [Signal.RESET, Signal.CURRENT]
        await put(node, "after", b"3")
        assert [value for _, value, _ in await until(other, b"after")] == [b"3"]
    with node.view() as view:
        record = view.shard_record(USER)
    assert record is not None
    assert record.context == {own: 3}
