"""Rows that a replica knows to exist and could not take in.

A row that is refused, for whatever reason, holds back itself and no other: the replica covers the ranges that the row
came with, and notes that it lacks the row. I2 becomes: `context[o] >= s` implies that for every write `(o, <= s)` to a
row that is not lacking, the replica holds it or something that supersedes it.

- What others conclude from the context they conclude with the rows that are lacking. A receiver that covers a range by
  the word of a sender notes the sender's lacking rows too. Counterexample: a has a row, b lacks it, c pulls from b and
  covers what b does; c would never ask anyone for the row.
- A write that may be missing counts for no receipt, and a member that lacks anything vouches for nothing new, so no
  tombstone is collected meanwhile.
- Of each origin, the writes that may be missing lie above what the replica covered before (`after`). So what a replica
  has once been known to hold it never comes to lack, and a watcher's position stays below them.
- Each round the rows are asked for again, of a peer that covers all that may be missing and does not lack it. Once
  its copy has been taken in nothing is missing any more. If there is no such peer, all listed members are asked one
  after the other. A holder stays one, or holds what superseded the write; so nothing is missing that any disk still
  holds, once all of them have answered and every address that discovery found.

A row on disk that cannot be read is lacking as well, from the moment it is quarantined (`core/quarantine.py`): all that
it covered, as the journal tells, may be missing. It differs in three ways from a row that was refused:

- The replica has held the row, and has said so. Others may believe it until it next tells them what it lacks.
- A transfer that is under way may have claimed the row. Counterexample: the first part of a pull claims a range, the
  row of a later part is quarantined, and the puller covers the range without it. So an answer to a transfer says what
  the sender may lack, and a receiver covers nothing that is missing beyond the rows that the sender named at its
  beginning (`unnamed`).
- Nothing holds back the range, for it is covered: so there is no limit to the unreadable rows that are lacking. A
  message names `LACKING_ROWS_MAX` of them. By the rule above a receiver covers no range of which others may be missing.
  They are named as the first ones come back or are given up.

Rows that are stamped too far ahead of the clock are no such rows: they come by themselves when the clock gets there,
and hold back their origins until then. So does a row that cannot be named, and every row when too many are lacking.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gossipkv.core.model.causality import Context

LACKING_ROWS_MAX = 200
"""The lacking rows of one shard that a message names. Beyond them a row that is refused is not noted, and holds back
its origins."""

LACKING_ORIGINS_MAX = 14_000
"""Maximum number of origins of which writes may be missing: messages name them all. A row beyond it is not noted."""

RECALLS_PER_ROUND = 8
"""Lacking rows that are asked for again in each round."""

CLOCK_SKEW = "clock_skew"
TOO_MANY_ORIGINS = "too_many_origins"
"""The row's context names more replicas than a context may."""
ELSEWHERE = "lacking_elsewhere"
"""The peer that the range came from lacks the row itself."""
UNREADABLE = "unreadable"
"""The replica's own copy cannot be read."""


class Lack(NamedTuple):
    """What is missing of one row."""

    through: Context
    """Writes to the row up to here may be missing."""
    after: Context
    """Those up to here are not."""
    reason: str

    def joined(self, other: Lack) -> Lack:
        after = self.after.met(other.after)
        for one, another in ((self, other), (other, self)):
            after.advance(Context({o: s for o, s in one.after.items() if o not in another.through}))
        return Lack(self.through.joined(other.through), after, self.reason)


Lacking = dict[bytes, Lack]
"""By address."""


class LackedRow(NamedTuple):
    """A row that a sender lacks, as it tells a receiver."""

    address: bytes
    through: Context


def lack_of(through: Iterable[tuple[int, int]], covered: Context, reason: str) -> Lack | None:
    """What a replica that covers this lacks of a row; None: nothing."""
    above = Context({origin: sequence for origin, sequence in through if sequence > covered.get(origin, 0)})
    if not above:
        return None
    return Lack(above, Context({origin: covered[origin] for origin in above if origin in covered}), reason)


def through_of(lacking: Lacking) -> Context:
    """All writes that may be missing lie up to here."""
    through = Context()
    for lack in lacking.values():
        through.advance(lack.through)
    return through


def unnamed(lacking: Context, named: Iterable[LackedRow]) -> Context:
    """Of the writes that a sender may lack, up to where those go that are of none of the rows it has named."""
    through = Context()
    for row in named:
        through.advance(row.through)
    return Context({origin: sequence for origin, sequence in lacking.items() if sequence > through.get(origin, 0)})


def held_below(context: Context, lacking: Lacking) -> Context:
    """Of what a replica covers, that which lies below all that may be missing."""
    held = Context(context)
    for lack in lacking.values():
        for origin in lack.through:
            least = min(held.get(origin, 0), lack.after.get(origin, 0))
            if least:
                held[origin] = least
            else:
                held.pop(origin, None)
    return held
