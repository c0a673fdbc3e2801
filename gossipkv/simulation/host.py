"""A simulated machine: a name, an endpoint, a clock, a disk, and at times a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossipkv.simulation.disk import Disk
from gossipkv.simulation.timeline import Timeline

if TYPE_CHECKING:
    from gossipkv.simulation.process import Process

EPOCH_MS = 1_700_000_000_000


class Host:
    def __init__(self, place: int, endpoint: str, disk: Disk, timeline: Timeline, skew_ms: int) -> None:
        self.place = place
        """The place among all hosts, in order of joining."""
        self.name = disk.member
        self.endpoint = endpoint
        self.disk = disk
        self.skew_ms = skew_ms
        """How far the clock is ahead of virtual time."""
        self.process: Process | None = None
        self.refuses: frozenset[bytes] = frozenset()
        """Addresses of rows that its decoder refuses, from any sender."""
        self._timeline = timeline

    def now_ms(self) -> int:
        return EPOCH_MS + self._timeline.now_ms + self.skew_ms

    @property
    def is_up(self) -> bool:
        return self.process is not None
