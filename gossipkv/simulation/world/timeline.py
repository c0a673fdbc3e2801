"""Virtual time: a heap of events, in milliseconds since the simulation began.

Events of the same millisecond run in the order in which they were added, so a run depends only on its seed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Timeline:
    """A clock that jumps from one event to the next."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.events = 0
        """The number of events that have run."""
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._entered = 0

    def after(self, delay_ms: int, event: Callable[[], None]) -> None:
        """Run an event after this time. An event after 0 ms runs later than those already due."""
        self._entered += 1
        heapq.heappush(self._heap, (self.now_ms + delay_ms, self._entered, event))

    def run_until(self, until_ms: int) -> None:
        """Run all events that are due before `until_ms`, and set the time to `until_ms`."""
        heap = self._heap
        while heap and heap[0][0] < until_ms:
            self.now_ms, _, event = heapq.heappop(heap)
            self.events += 1
            event()
        self.now_ms = until_ms
