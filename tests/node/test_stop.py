"""Stopping a member while someone waits: every wait ends with an answer, and the member ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Unpack

import pytest

from gossipkv.core.inputs import Tick
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.member import DEAD
from gossipkv.core.model.write import Operation, Result, StoredWrite
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.store.storage import StorageError, StorageFailedError
from gossipkv.core.waits.answers import Receipt
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.member.batches import StoppedError
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode, NodeOptions
from gossipkv.member.waits import CopiesMissingError
from gossipkv.storage.lmdb import LmdbStorage
from gossipkv.storage.memory import MemoryStorage
from gossipkv.transport.base import Serve
from gossipkv.transport.memory import MemoryNetwork, MemoryTransport
from tests.core.replica_settings import ReplicaSettings
from tests.node.commanded_storage import CommandedStorage
from tests.node.conftest import DEADLINE_SECONDS, LocalCluster, eventually, get, put, replica_of

ADDRESS = address_of("t", b"row")
FOR_EVER = 3_600.0
IMPATIENT = NodeOptions(read_wait_seconds=FOR_EVER, leave_timeout_seconds=0.5, storage_stop_seconds=0.1)
"""Reads wait for ever, and the member itself for nothing."""


async def pair(
    cluster: LocalCluster, /, *, is_cut: bool = True, **options: Unpack[ReplicaSettings]
) -> tuple[MemberNode, MemberNode]:
    """Two members that know each other, and do not reach each other any more if the network `is_cut`."""
    a = await cluster.start("a", node_options=IMPATIENT, **options)
    b = await cluster.start("b", ("a",))

    async def know_each_other() -> bool:
        peers = [*replica_of(a).peers, *replica_of(b).peers]
        return len(peers) == 2 and all(peer.is_answering and len(peer.conversation.contexts) == 2 for peer in peers)

    await eventually(know_each_other)
    if is_cut:
        cluster.network.exchange_timeout_ms = 100
        cluster.network.faults.partition(["memory://a"], ["memory://b"])
    return a, b


def write(node: MemberNode, value: bytes, copies: int = 2) -> asyncio.Task[list[Result]]:
    return asyncio.create_task(node.write(USER, [Operation(ADDRESS, value)], copies, FOR_EVER))


async def is_waited(node: MemberNode, waits: int) -> None:
    """Return once so many wait in the node's core."""

    async def are_there() -> bool:
        replica = replica_of(node)
        return len(replica._receipts._waiting) + len(replica._direct._readings) == waits

    await eventually(are_there)


async def stopped(node: MemberNode) -> bool:
    return await asyncio.wait_for(node.stop(), DEADLINE_SECONDS)


async def test_all_who_wait_are_told_how_it_stands(cluster: LocalCluster) -> None:
    a, _ = await pair(cluster)
    writing = write(a, b"stored")
    reading = asyncio.create_task(a.read(USER, ADDRESS, 2))
    await is_waited(a, 2)
    with a.view() as view:
        row = view.row(USER, ADDRESS)
    assert row is not None
    asking = asyncio.create_task(a.receipt(Receipt(USER, row.winner.dot), None, FOR_EVER))
    await is_waited(a, 3)

    assert await stopped(a)

    with pytest.raises(CopiesMissingError) as failure:
        await writing
    assert (failure.value.coverage.copies, failure.value.coverage.receipt.dot) == (1, row.winner.dot)
    with pytest.raises(StoppedError, match="stopping"):
        await reading
    coverage = await asking
    assert [(holder.member, holder.has_it) for holder in coverage.holders] == [("a", True), ("b", False)]


async def test_a_write_that_waits_for_members_stores_nothing(cluster: LocalCluster) -> None:
    a, _ = await pair(cluster, protocol_period_ms=100, probe_timeout_ms=50)

    async def is_missed() -> bool:
        return all(member.is_self or member.status == DEAD for member in (await a.status()).members)

    await eventually(is_missed)
    writing = write(a, b"refused")
    await is_waited(a, 1)
    assert await stopped(a)
    with pytest.raises(StoppedError, match="stopping"):
        await writing
    with cluster.storages["a"].view() as view:
        assert view.row(USER, ADDRESS) is None


async def test_what_is_about_to_be_copied_is(cluster: LocalCluster) -> None:
    a, b = await pair(cluster, is_cut=False)
    writing = write(a, b"value")
    await asyncio.sleep(0)
    assert await stopped(a)
    assert isinstance((await writing)[0], StoredWrite)
    assert get(b, "row") == b"value"


async def test_nothing_waits_at_a_member_that_has_stopped(cluster: LocalCluster) -> None:
    node = await cluster.start("a")
    written = await put(node, "row", b"value")
    assert isinstance(written, StoredWrite)
    async with node.watched(USER, address_of("t", b""), None, snapshot=True):
        # The end of the watch comes after that of the member.
        assert await stopped(node)
    async with asyncio.timeout(DEADLINE_SECONDS):
        for asking in (
            put(node, "row", b"late"),
            node.write(USER, [Operation(ADDRESS, b"late")], 2, FOR_EVER),
            node.read(USER, ADDRESS, 2),
            node.receipt(Receipt(USER, written.dot), None, FOR_EVER),
            node.forget("b"),
            node.status(),
        ):
            with pytest.raises(StoppedError):
                await asking
        with pytest.raises(StoppedError):
            async with node.watched(USER, address_of("t", b""), None, snapshot=True):
                pass
        assert isinstance(await node._committer.ask(Tick()), StoppedError)


async def test_whoever_stops_a_member_that_is_stopping_waits_for_its_end(cluster: LocalCluster) -> None:
    a, _ = await pair(cluster)
    writing = write(a, b"stored")
    await is_waited(a, 1)
    first, second = asyncio.create_task(a.stop()), asyncio.create_task(a.stop())
    first.cancel()
    assert await second
    assert not a._committer._thread.is_alive()
    with pytest.raises(CopiesMissingError):
        await writing


async def test_a_member_that_stops_before_it_is_ready_says_so_to_those_who_wait_for_that(cluster: LocalCluster) -> None:
    node = await cluster.start("a", ("nobody",), bootstrap_timeout_ms=3_600_000)
    waiting = [asyncio.create_task(node.wait_ready()), asyncio.create_task(node.wait_fenced())]
    await asyncio.sleep(0)
    assert await stopped(node)
    for wait in waiting:
        with pytest.raises(StoppedError):
            await wait


# Storages that fail or are stuck


async def test_a_write_that_waits_stands_although_the_volume_has_failed_since(cluster: LocalCluster) -> None:
    a, _ = await pair(cluster)
    writing = asyncio.create_task(a.write(USER, [Operation(ADDRESS, b"stored")], 2, 0.3))
    stopping = write(a, b"stored, too")
    await is_waited(a, 2)
    cluster.storages["a"].fail_next_commit(StorageFailedError("EIO"))
    with pytest.raises(StorageFailedError):
        await put(a, "other", b"lost")

    with pytest.raises(CopiesMissingError) as in_time:
        await writing
    assert await stopped(a)
    with pytest.raises(CopiesMissingError) as at_the_end:
        await stopping

    for failure in (in_time.value, at_the_end.value):
        assert failure.coverage.copies == 1
        assert isinstance(failure.results[0], StoredWrite)


async def test_a_stuck_storage_holds_up_neither_those_who_wait_nor_the_stop(cluster: LocalCluster) -> None:
    storage = cluster.storages["a"] = CommandedStorage()
    a, _ = await pair(cluster)
    stored = write(a, b"stored")
    reading = asyncio.create_task(a.read(USER, ADDRESS, 2))
    await is_waited(a, 2)
    other = address_of("t", b"other")
    storage.commit.shut(lambda: storage.is_writing(other))
    under_way = asyncio.create_task(put(a, "other", b"may stand"))
    assert await asyncio.to_thread(storage.commit.reached.wait, DEADLINE_SECONDS)
    queued = asyncio.create_task(put(a, "another", b"does not stand"))
    await asyncio.sleep(0)
    try:
        assert not await stopped(a), "it says that the storage is not closed"
        with pytest.raises(CopiesMissingError) as failure:
            await stored
        assert failure.value.coverage.copies == 1
        with pytest.raises((StoppedError, TimeoutError)):
            await reading
        with pytest.raises(TimeoutError):
            await under_way
        with pytest.raises(StoppedError):
            await queued
        assert storage.closed == 0
    finally:
        storage.commit.open()

    async def is_closed() -> bool:
        return storage.closed == 1

    await eventually(is_closed)
    with storage.view() as view:
        assert view.row(USER, address_of("t", b"other")) is not None
        assert view.row(USER, address_of("t", b"another")) is None


async def test_a_storage_thread_that_dies_leaves_no_one_waiting(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = await pair(cluster)
    waiting = write(a, b"stored")
    await is_waited(a, 1)

    def die(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(a._committer, "_process", die)
    with pytest.raises((StoppedError, TimeoutError)):
        await put(a, "row", b"lost")

    async def is_noticed() -> bool:
        return not a.is_live

    await eventually(is_noticed)
    with pytest.raises(StoppedError):
        await put(a, "row", b"lost")
    assert await stopped(a)
    with pytest.raises(CopiesMissingError):
        await waiting


# Fences


async def test_a_member_that_is_fenced_tells_those_who_wait_that_its_copy_does_not_count(cluster: LocalCluster) -> None:
    b, a = await pair(cluster, protocol_period_ms=100, probe_timeout_ms=50)
    writing = write(b, b"stored")
    reading = asyncio.create_task(b.read(USER, ADDRESS, 2))
    await is_waited(b, 2)

    async def is_forgotten() -> bool:
        return (await a.forget("a", is_forced=True)).name == "DONE"

    await eventually(is_forgotten)
    # It hears that it was forgotten, and gives nothing to anyone any more.
    cluster.network.faults.heal()
    await asyncio.wait_for(b.fenced.wait(), DEADLINE_SECONDS)
    with pytest.raises(CopiesMissingError) as failure:
        await asyncio.wait_for(writing, DEADLINE_SECONDS)
    assert [h.has_it for h in failure.value.coverage.holders if h.is_self] == [False]
    with pytest.raises(StoppedError, match="told to forget"):
        await asyncio.wait_for(reading, DEADLINE_SECONDS)
    with pytest.raises(StoppedError, match="told to forget"):
        await b.read(USER, ADDRESS, 2)


# Starts that come to nothing


class _Transport(MemoryTransport):
    """Its start fails, or never comes to an end."""

    def __init__(self, error: OSError | None) -> None:
        super().__init__(MemoryNetwork(), "memory://a")
        self._error = error
        self.begun = asyncio.Event()

    async def start(self, serve: Serve) -> None:
        self.begun.set()
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()


def unstarted(storage: MemoryStorage | LmdbStorage, transport: MemoryTransport, member: str = "a") -> MemberNode:
    options = ReplicaOptions(member=member, endpoints={"gossip": "memory://a"})
    return MemberNode(options, storage, transport, StaticDiscovery(()), Metrics())


async def test_a_start_that_fails_gives_the_data_directory_back(tmp_path: Path) -> None:
    node = unstarted(LmdbStorage(tmp_path, 2**24), _Transport(OSError("the port is in use")))
    with pytest.raises(OSError, match="in use"):
        await node.start()
    other = unstarted(LmdbStorage(tmp_path, 2**24), _Transport(None), member="b")
    with pytest.raises(StorageError, match="belongs to member"):
        await other.start()
    LmdbStorage(tmp_path, 2**24).close()


async def test_a_start_that_is_cancelled_gives_the_data_directory_back(tmp_path: Path) -> None:
    transport = _Transport(None)
    starting = asyncio.create_task(unstarted(LmdbStorage(tmp_path, 2**24), transport).start())
    await transport.begun.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    LmdbStorage(tmp_path, 2**24).close()
