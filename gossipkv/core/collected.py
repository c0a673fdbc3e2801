"""What a replica remembers of the tombstones that it has collected."""

from __future__ import annotations

from typing import NamedTuple

from gossipkv.core.causality import Context


class Collected(NamedTuple):
    """Of one shard of one replica."""

    marks: Context
    """Covers the contexts of all rows collected; every member covered it then. A version up to the marks that is not
    here has been superseded here, and is not taken in again."""
    timestamp: int
    """The greatest of all tombstones collected. What is written where nothing is left must outrank what was there, for
    others may still hold its tombstone."""

    def joined(self, other: Collected) -> Collected:
        return Collected(self.marks.joined(other.marks), max(self.timestamp, other.timestamp))


NOTHING_COLLECTED = Collected(Context(), 0)
