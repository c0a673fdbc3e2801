"""A fixed list of gossip URLs."""

from __future__ import annotations

from collections.abc import Sequence

from gossipkv.discovery.base import Discovery, FoundMembers
from gossipkv.discovery.interval import Interval


class StaticDiscovery(Discovery):
    """A discovery that returns a fixed list."""

    def __init__(self, endpoints: Sequence[str], interval_seconds: float = 60.0) -> None:
        self._endpoints = tuple(endpoints)
        self._interval = Interval(interval_seconds)

    async def find(self) -> FoundMembers:
        """Return the list, after the interval except the first time."""
        await self._interval.wait()
        return FoundMembers(self._endpoints)
