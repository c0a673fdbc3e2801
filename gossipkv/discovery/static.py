"""A fixed list of gossip URLs."""

from __future__ import annotations

from collections.abc import Sequence


class StaticDiscovery:
    def __init__(self, endpoints: Sequence[str], interval_seconds: float = 60.0) -> None:
        self._endpoints = tuple(endpoints)
        self.interval_seconds = interval_seconds

    async def find(self) -> tuple[str, ...]:
        return self._endpoints
