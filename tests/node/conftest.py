from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Unpack

import pytest

from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.replica import Replica
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode, NodeOptions
from gossipkv.storage.memory import MemoryStorage
from gossipkv.transport.memory import MemoryNetwork, MemoryTransport
from tests.core.replica_settings import ReplicaSettings

DEADLINE_SECONDS = 20.0


class LocalCluster:
    """Nodes on one event loop, joined by a network in memory."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.network = MemoryNetwork()
        self.storages: dict[str, MemoryStorage] = {}
        self.metrics: dict[str, Metrics] = {}
        self._stack = stack
        self._starts = itertools.count(1)

    def transport(self, name: str) -> MemoryTransport:
        return MemoryTransport(self.network, f"memory://{name}")

    async def start(
        self,
        name: str,
        seeds: tuple[str, ...] = (),
        node_options: NodeOptions = NodeOptions(),
        **options: Unpack[ReplicaSettings],
    ) -> MemberNode:
        """Start a member on the storage that the name had before, or on an empty one."""
        transport = self.transport(name)
        self.metrics[name] = Metrics()
        defaults: ReplicaSettings = {"gossip_interval_ms": 50, "bootstrap_timeout_ms": 200, "retry_ms_max": 100}
        node = MemberNode(
            ReplicaOptions(member=name, endpoints={"gossip": transport.endpoint}, **(defaults | options)),
            self.storages.setdefault(name, MemoryStorage()),
            transport,
            StaticDiscovery([f"memory://{seed}" for seed in seeds]),
            self.metrics[name],
            node_options,
            rng=random.Random(f"{name}, start {next(self._starts)}"),
        )
        await node.start()
        self._stack.push_async_callback(node.stop)
        return node


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    async with AsyncExitStack() as stack:
        yield LocalCluster(stack)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds; fail at the deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.01)


async def put(node: MemberNode, row: str, value: bytes, table: str = "t") -> Result:
    [result] = await node.write(USER, [Operation(address_of(table, row.encode()), value)])
    return result


def get(node: MemberNode, row: str, table: str = "t") -> bytes | None:
    with node.view() as view:
        found = view.row(USER, address_of(table, row.encode()))
    return None if found is None else found.winner.value


def replica_of(node: MemberNode) -> Replica:
    """The replica that belongs to the node's storage thread: for conditions that are asked again and again."""
    return node._committer._group_commit.replica


async def fingerprints(*nodes: MemberNode) -> set[tuple[int, int]]:
    """The distinct fingerprints among the nodes, both shards."""
    found = set()
    for node in nodes:
        own = next(member for member in (await node.status()).members if member.is_self)
        found.add((own.shards["usr"].fingerprint, own.shards["sys"].fingerprint))
    return found
