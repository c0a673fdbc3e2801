"""The event loop sees what is durable: never a batch that is not committed, never a replica that is being reloaded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any, Unpack
from unittest.mock import patch

import pytest

from gossipkv.core.effects import Effects
from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.write import Operation
from gossipkv.core.replica import Replica
from gossipkv.core.store.storage import StorageError, StorageFullError
from gossipkv.core.store.store import Store
from gossipkv.core.store.tables import TableSettings, settings_address
from gossipkv.member.batches import Published
from gossipkv.member.group_commit import GroupCommit
from gossipkv.member.node import MemberNode
from gossipkv.member.storage_thread import StorageThread
from gossipkv.storage.memory import MemoryTransaction
from tests.core.replica_settings import ReplicaSettings
from tests.node.commanded_storage import CommandedStorage, Gate
from tests.node.conftest import DEADLINE_SECONDS, LocalCluster, put, replica_of


async def started(cluster: LocalCluster, /, **options: Unpack[ReplicaSettings]) -> tuple[MemberNode, CommandedStorage]:
    storage = CommandedStorage()
    cluster.storages["a"] = storage
    return await cluster.start("a", **options), storage


async def reached(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.reached.wait, DEADLINE_SECONDS), "the storage thread comes to the gate"


async def configure(node: MemberNode, table: str, copies: int) -> None:
    settings = TableSettings(w=copies, r=copies)
    await node.write(SYSTEM, [Operation(settings_address(table), settings.to_json())])


async def test_settings_of_a_table_count_once_they_are_durable(cluster: LocalCluster) -> None:
    node, storage = await started(cluster)
    # The replica knows of the settings in the middle of the batch already.
    storage.commit.shut(lambda: "t" in replica_of(node)._store.tables.settings)
    configuring = asyncio.create_task(configure(node, "t", 2))
    await reached(storage.commit)
    try:
        assert node.defaults_of(USER, "t") == (1, 1)
    finally:
        storage.commit.open()
    await configuring
    assert node.defaults_of(USER, "t") == (2, 2)


async def test_settings_stand_while_a_batch_that_failed_is_taken_back(cluster: LocalCluster) -> None:
    node, storage = await started(cluster)
    await configure(node, "t", 3)
    identity = node.identity
    storage.reload.shut()
    # For want of room the batch would be divided, and the write might find room without the tick beside it.
    storage.fail_next_commit(StorageError("a bad day"), table="t")
    writing = asyncio.create_task(put(node, "row", b"lost"))
    await reached(storage.reload)
    try:
        assert node.defaults_of(USER, "t") == (3, 3)
        assert node.identity == identity
    finally:
        storage.reload.open()
    with pytest.raises(StorageError):
        await writing
    assert node.defaults_of(USER, "t") == (3, 3)


async def test_settings_whose_commit_fails_never_count(cluster: LocalCluster) -> None:
    node, _ = await started(cluster)
    # Were one commit to fail, it might be that of a tick.
    with patch.object(MemoryTransaction, "put_row", side_effect=StorageFullError("no room")):
        with pytest.raises(StorageFullError):
            await configure(node, "t", 2)
        assert node.defaults_of(USER, "t") == (1, 1)
    await put(node, "row", b"value")
    assert node.defaults_of(USER, "t") == (1, 1)


async def test_a_member_is_ready_once_the_batch_that_says_so_is_durable(cluster: LocalCluster) -> None:
    node, storage = await started(cluster, bootstrap_timeout_ms=500)
    storage.commit.shut(lambda: replica_of(node).is_ready)
    await reached(storage.commit)
    try:
        # Other batches become known to the loop meanwhile; none of them says that the member is ready.
        node._carry_out(Published([], [], [], Effects()))
        assert not node.is_ready
        assert not node.snapshot.is_ready
    finally:
        storage.commit.open()
    await asyncio.wait_for(node.wait_ready(), DEADLINE_SECONDS)


async def test_nothing_in_a_snapshot_can_be_changed(cluster: LocalCluster) -> None:
    node, _ = await started(cluster)
    await configure(node, "t", 2)
    settings, conflicts = node.snapshot.settings, node.snapshot.conflicts
    with pytest.raises(TypeError):
        settings["t"] = TableSettings()  # type: ignore[index]
    with pytest.raises(TypeError):
        conflicts[USER, "t"] = 1  # type: ignore[index]
    await put(node, "row", b"value")
    assert node.snapshot.settings is settings, "a batch that changes no settings copies none"


def held_by(owner: object) -> Iterator[object]:
    """What an object holds and a reader could go on from."""
    match owner:
        case dict():
            yield from owner.keys()
            yield from owner.values()
        case list() | tuple() | set() | frozenset():
            yield from owner
        case partial():
            yield from (owner.func, owner.args, owner.keywords)
        case _:
            yield from getattr(owner, "__dict__", {}).values()
            yield from (getattr(owner, slot) for slot in getattr(type(owner), "__slots__", ()) if hasattr(owner, slot))
            yield getattr(owner, "__self__", None)
            yield from (cell.cell_contents for cell in getattr(owner, "__closure__", None) or ())


async def test_no_way_leads_from_a_node_to_its_replica_but_through_the_storage_thread(cluster: LocalCluster) -> None:
    node, _ = await started(cluster)
    await put(node, "row", b"value")
    seen: dict[int, object] = {}
    found: list[object] = [node]
    while found:
        one: Any = found.pop()
        # The committer owns the replica, and whatever else knows of the replica belongs to the committer.
        if id(one) in seen or isinstance(one, StorageThread | type | threading.Thread | asyncio.AbstractEventLoop):
            continue
        seen[id(one)] = one
        found += held_by(one)
    assert len(seen) > 100, "the walk has come further than the node itself"
    assert [one for one in seen.values() if isinstance(one, Replica | Store | GroupCommit)] == []
