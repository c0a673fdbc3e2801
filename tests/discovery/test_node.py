"""What a node makes of what is found: it goes on for ever, and says each thing once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from gossipkv.core.options import ReplicaOptions
from gossipkv.core.store.storage import StorageFullError
from gossipkv.discovery.base import Discovery, DiscoveryError, FoundMembers
from gossipkv.member import node as node_module
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode
from gossipkv.storage.memory import MemoryStorage
from gossipkv.transport.memory import MemoryNetwork, MemoryTransport
from tests.discovery.conftest import DEADLINE_SECONDS

OWN = "memory://a"
OTHER = "memory://b"


class ToldDiscovery(Discovery):
    """Finds what it is told, and then waits to be told more."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[FoundMembers | Exception] = asyncio.Queue()
        self.is_closed = False
        self._is_dealt_with = True

    async def find(self) -> FoundMembers:
        if not self._is_dealt_with:
            self._is_dealt_with = True
            self.told.task_done()
        found = await self.told.get()
        self._is_dealt_with = False
        if isinstance(found, Exception):
            raise found
        return found

    async def tell(self, *found: FoundMembers | Exception) -> None:
        """Returns when the node has dealt with all of it and asks for more."""
        for one in found:
            self.told.put_nowait(one)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.told.join()

    async def close(self) -> None:
        self.is_closed = True


class Watched:
    def __init__(self) -> None:
        self.discovery = ToldDiscovery()
        self.metrics = Metrics()
        self.storage = MemoryStorage()
        transport = MemoryTransport(MemoryNetwork(), OWN)
        options = ReplicaOptions(member="a", endpoints={"gossip": OWN})
        self.node = MemberNode(options, self.storage, transport, self.discovery, self.metrics)

    def sample(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"gossipkv_{name}")


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    monkeypatch.setattr(node_module, "RESTART_PAUSE_SECONDS", 0.001)
    watched = Watched()
    await watched.node.start()
    yield watched
    await watched.node.stop()


def said(entries: list[Any], *events: str) -> list[tuple[str, str]]:
    return [(entry["event"], entry.get("reason", "")) for entry in entries if entry["event"] in events]


async def test_a_failure_is_said_once_per_reason_and_so_is_its_end(watched: Watched) -> None:
    with structlog.testing.capture_logs() as entries:
        await watched.discovery.tell(
            DiscoveryError("no such name"),
            DiscoveryError("no such name"),
            FoundMembers((OTHER,), failure="403"),
            FoundMembers((OTHER,), failure="403"),
            FoundMembers((OTHER,)),
            FoundMembers((OTHER,)),
        )
    assert said(entries, "discovery_failed", "discovery_recovered") == [
        ("discovery_failed", "no such name"),
        ("discovery_failed", "403"),
        ("discovery_recovered", ""),
    ]
    assert watched.sample("discovery_failures_total") == 4


async def test_that_no_one_else_is_found_is_a_warning_once_and_a_metric(watched: Watched) -> None:
    with structlog.testing.capture_logs() as entries:
        await watched.discovery.tell(FoundMembers((OWN,)), FoundMembers(()))
        assert watched.sample("discovered_endpoints") == 0
        await watched.discovery.tell(FoundMembers((OWN, OTHER)))
        assert watched.sample("discovered_endpoints") == 1
        await watched.discovery.tell(FoundMembers((OWN,)))
    assert said(entries, "no_members_found") == [("no_members_found", "")] * 2
    assert {entry["log_level"] for entry in entries if entry["event"] == "no_members_found"} == {"warning"}


async def test_a_discovery_that_fails_in_an_unforeseen_way_is_asked_again(watched: Watched) -> None:
    with structlog.testing.capture_logs() as entries:
        await watched.discovery.tell(RuntimeError("a fault of our own"), FoundMembers((OTHER,)))
    assert said(entries, "loop_died") == [("loop_died", "")]
    assert watched.sample("discovered_endpoints") == 1


async def test_the_zone_found_reaches_the_own_record(watched: Watched) -> None:
    await watched.discovery.tell(FoundMembers((), frozenset({"a"}), "north"))
    [own] = (await watched.node.status()).members
    assert own.zone == "north"


async def test_what_was_found_is_not_lost_with_a_commit_that_failed(watched: Watched) -> None:
    watched.storage.fail_next_commit(StorageFullError("no room"))
    await watched.discovery.tell(FoundMembers((OTHER,), None, "north"))
    [own] = (await watched.node.status()).members
    assert own.zone == "north"


async def test_a_node_that_stops_closes_its_discovery() -> None:
    watched = Watched()
    await watched.node.start()
    assert not watched.discovery.is_closed
    await watched.node.stop()
    assert watched.discovery.is_closed
