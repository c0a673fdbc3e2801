from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from gossipkv.discovery.base import FoundMembers
from gossipkv.discovery.kubernetes import KubernetesDiscovery, WatchPace
from tests.discovery.api_server import ApiServer

DEADLINE_SECONDS = 20.0


class Clock:
    """Seconds that pass only while someone sleeps, or when told to."""

    def __init__(self) -> None:
        self.now_seconds = 1_000.0
        self.pauses: list[float] = []

    def read(self) -> float:
        return self.now_seconds

    async def sleep(self, seconds: float) -> None:
        if seconds:
            self.pauses.append(seconds)
        self.now_seconds += seconds
        await asyncio.sleep(0)


class Discoverer:
    """A discovery that is asked again and again, as a node does."""

    def __init__(self, server: ApiServer, clock: Clock) -> None:
        self.server = server
        self.clock = clock
        self.found: list[FoundMembers] = []
        self._discoveries: list[KubernetesDiscovery] = []

    def start(
        self,
        fallback: Callable[[], Awaitable[tuple[str, ...]]] | None = None,
        **pace: Any,
    ) -> KubernetesDiscovery:
        url = self.server.url
        discovery = KubernetesDiscovery(
            "kv-headless",
            "shop",
            "kv-0",
            9_999,
            fallback,
            WatchPace(**pace),
            connect=lambda: ApiClient(Configuration(host=url)),
            clock=self.clock.read,
            sleep=self.clock.sleep,
        )
        self._discoveries.append(discovery)
        return discovery

    async def close(self) -> None:
        for discovery in self._discoveries:
            await discovery.close()


async def find(discovery: KubernetesDiscovery) -> FoundMembers:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await discovery.find()


async def find_until(discovery: KubernetesDiscovery, condition: Callable[[FoundMembers], bool]) -> list[FoundMembers]:
    """All that is found, up to the first for which the condition holds."""
    found: list[FoundMembers] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not found or not condition(found[-1]):
            found.append(await discovery.find())
    return found


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def discoverer(server: ApiServer, clock: Clock) -> AsyncIterator[Discoverer]:
    discoverer = Discoverer(server, clock)
    yield discoverer
    await discoverer.close()
