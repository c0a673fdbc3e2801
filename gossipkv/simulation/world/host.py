"""A simulated machine: a name, an endpoint, a clock, a disk, and at times a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossipkv.simulation.world.disk import Disk
from gossipkv.simulation.world.timeline import Timeline

if TYPE_CHECKING:
    from gossipkv.simulation.world.process import Process

EPOCH_MS = 1_700_000_000_000


class Host:
    """A machine of the simulated cluster. Its name and disk stay when its process ends."""

    def __init__(self, place: int, endpoint: str, disk: Disk, timeline: Timeline, skew_ms: int) -> None:
        self.place = place
        """The place among all hosts that ever joined, in order of joining."""
        self.name = disk.member
        self.endpoint = endpoint
        self.disk = disk
        self.skew_ms = skew_ms
        """The time by which the clock is ahead of virtual time; negative if it is behind."""
        self.process: Process | None = None
        self.refuses: frozenset[bytes] = frozenset()
        """The addresses of rows that this host's decoder refuses, from any sender."""
        self._timeline = timeline

    def now_ms(self) -> int:
        """Return the time by the host's own clock, since the Unix epoch."""
        return EPOCH_MS + self._timeline.now_ms + self.skew_ms

    @property
    def is_up(self) -> bool:
        """Whether a process runs."""
        return self.process is not None
