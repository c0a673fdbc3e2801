"""What a replica remembers of the tombstones that it has collected, and what follows for one that has not heard of
them.

Whoever was listed when a tombstone went covers it. A replica that does not, though it was brought up to date once with
some who did, was not waited for: its disk was lost for the others and has come back, or was set back to an old copy. It
may hold what was deleted, so it sets its data aside and joins as a new one. A newcomer lacks as much and holds nothing
of the kind: what counts is what was covered when the process began, by a replica that had been ready before.
"""

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

    has_been_ready: bool
    """Whether the replica has ever been brought up to date."""

    def joined(self, other: Collected) -> Collected:
        return self._replace(marks=self.marks.joined(other.marks), timestamp=max(self.timestamp, other.timestamp))


NOTHING_COLLECTED = Collected(Context(), 0, has_been_ready=False)
