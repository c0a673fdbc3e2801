"""A pause that doubles with each failure of one kind, and that only a success of the same kind ends.

It is separate from the pause of a peer that does not answer, which ends with its next answer: a peer answers pings and
comparisons even while its rows do not fit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """The pause after failures of one kind. Times are wall clock."""

    failures: int = 0
    """Number of failures since the last success."""
    until_ms: int = 0
    """The end of the pause; meaningless while there are no failures."""

    def is_waiting(self, now_ms: int) -> bool:
        """Return whether the pause is still running."""
        return now_ms < self.until_ms

    def failed(self, now_ms: int, first_ms: int, max_ms: int, rng: random.Random) -> None:
        """Begin a pause, twice as long as the last one, from `first_ms` up to `max_ms`. Its length varies by 25 % at
        random."""
        self.failures += 1
        pause_ms = min(first_ms * 2 ** min(self.failures - 1, 16), max_ms)
        self.until_ms = now_ms + round(pause_ms * rng.uniform(0.75, 1.25))

    def succeeded(self) -> None:
        """End the pause, and reset its length."""
        self.failures, self.until_ms = 0, 0

    def clock_set_back(self, by_ms: int) -> None:
        """Move the end of the pause by the step that the clock was set back."""
        self.until_ms -= by_ms
