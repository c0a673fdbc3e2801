"""Rows that a replica knows to exist and could not take in.

A row that is refused, for whatever reason, holds back itself and no other row. The replica covers the ranges that the
row came with, and notes that it lacks the row. So I2 becomes: take a write `(o, s)` with `s <= context[o]` to a row
that is not lacking. The replica holds the write or something that supersedes it.

- What others conclude from the context, they conclude together with the rows that are lacking. A receiver that covers a
  range on a sender's word also notes the rows that the sender lacks. Counterexample: a has a row and b lacks it. c
  pulls from b and covers what b covers. c would never ask anyone for the row.
- A write that may be missing counts for no receipt. A member that lacks anything vouches for nothing new, so no
  tombstone is collected meanwhile.
- Per origin, the writes that may be missing lie above what the replica covered before (`after`). So a replica never
  comes to lack what it was once known to hold, and a watcher's position stays below.
- Each round asks for the rows again, at a peer that covers all that may be missing and does not lack the row. Once its
  copy has been taken in, nothing is missing any longer. If there is no such peer, all listed members are asked one
  after the other. A member that holds the write keeps holding it, or what superseded it. So once all members and every
  discovered address have answered, nothing is missing that any disk still holds.

A row on disk that cannot be read is lacking as well, from the moment it is quarantined (`core/store/quarantine.py`).
Everything that it covered, according to the journal, may be missing. It differs in three ways from a row that was
refused:

- The replica has held the row, and has said so. Others may believe that until it next tells them what it lacks.
- A transfer under way may have claimed the row. Counterexample: the first part of a pull claims a range. The row of a
  later part is quarantined, and the puller covers the range without it. So an answer to a transfer says what the sender
  may lack. A receiver covers nothing that may be missing from rows the sender did not name at the beginning
  (`unnamed`).
- The range is covered already, so nothing holds it back, and the number of unreadable rows has no limit. A message
  names `LACKING_ROWS_MAX` of them. By the rule above, a receiver covers no range in which unnamed rows may be missing.
  The rest are named as the first ones come back or are given up.

Rows that are stamped too far ahead of the clock are not lacking: they come by themselves when the clock gets there, and
hold back their origins until then. A row that cannot be named also holds back its origins, and so does every further
row when too many are lacking.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gossipkv.core.model.causality import Context

LACKING_ROWS_MAX = 200
"""Maximum number of lacking rows of one shard that a message names. A refused row beyond it is not noted, and holds
back its origins."""

LACKING_ORIGINS_MAX = 14_000
"""Maximum number of origins whose writes may be missing: messages name them all. A row beyond it is not noted."""

RECALLS_PER_ROUND = 8
"""Maximum number of lacking rows that each round asks for again."""

CLOCK_SKEW = "clock_skew"
TOO_MANY_ORIGINS = "too_many_origins"
"""The row's context names more replicas than a context may."""
ELSEWHERE = "lacking_elsewhere"
"""The peer that the range came from lacks the row itself."""
UNREADABLE = "unreadable"
"""The replica's own copy cannot be read."""


class Lack(NamedTuple):
    """The part of one row that may be missing."""

    through: Context
    """The upper bound: writes to the row up to here may be missing."""
    after: Context
    """The lower bound: writes up to here are not missing."""
    reason: str

    def joined(self, other: Lack) -> Lack:
        """Return a lack that covers both, with this one's reason. Per origin, `after` is the lower of the two."""
        after = self.after.met(other.after)
        for one, another in ((self, other), (other, self)):
            after.advance(Context({o: s for o, s in one.after.items() if o not in another.through}))
        return Lack(self.through.joined(other.through), after, self.reason)


Lacking = dict[bytes, Lack]
"""The lack of each row, by address."""


class LackedRow(NamedTuple):
    """A row that a sender lacks, as it tells a receiver."""

    address: bytes
    through: Context


def lack_of(through: Iterable[tuple[int, int]], covered: Context, reason: str) -> Lack | None:
    """Return what a replica that covers `covered` lacks of a row; None if it lacks nothing."""
    above = Context({origin: sequence for origin, sequence in through if sequence > covered.get(origin, 0)})
    if not above:
        return None
    return Lack(above, Context({origin: covered[origin] for origin in above if origin in covered}), reason)


def through_of(lacking: Lacking) -> Context:
    """Return the context up to which writes may be missing."""
    through = Context()
    for lack in lacking.values():
        through.advance(lack.through)
    return through


def unnamed(lacking: Context, named: Iterable[LackedRow]) -> Context:
    """Return the part of `lacking` that the named rows do not explain. `lacking` is the context up to which a sender
    may lack writes."""
    through = Context()
    for row in named:
        through.advance(row.through)
    return Context({origin: sequence for origin, sequence in lacking.items() if sequence > through.get(origin, 0)})


def held_below(context: Context, lacking: Lacking) -> Context:
    """Return the part of a context that lies below everything that may be missing."""
    held = Context(context)
    for lack in lacking.values():
        for origin in lack.through:
            least = min(held.get(origin, 0), lack.after.get(origin, 0))
            if least:
                held[origin] = least
            else:
                held.pop(origin, None)
    return held
