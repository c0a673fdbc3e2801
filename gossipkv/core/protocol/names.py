"""Which names (dots) of its own writes a replica may rely on.

A dot must name one write. A volume that was copied, or set back to an old copy, breaks this rule: other members hold
writes of its replica id under names that it is about to give out again. Two numbers per shard detect this:

- `told`: the last of its own writes that others may have heard of from this replica. A peer that mentions a later write
  has heard of it from another process. Counterexample to comparing with the replica's *last write* instead: a copy has
  written 40 rows alone. These 40 names stand for other writes elsewhere, and the peer may know no later ones.
- `certain`: the last of its own writes whose name is certainly unique. When two members find that they hold the same,
  all names given out up to then are certain with respect to that peer. The minimum over all listed members counts.
  Nothing is certain while an address that discovery found has not answered. A renewal gives up the names above it
  (`Store.renew`). A row that arrives with one of these names, unknown to the row here, counts like a later name
  (`Store.misnames`).

Both are stored with the shard: a copy may write, start again, and only then meet the others. Until a process has
compared with at least one member, it sends nothing about writes above `told`. So the first comparison shows whether
others know more. A new replica id is random: all its names are certain, and it may send them at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.collected import Collected
from gossipkv.core.protocol.messages import (
    Covered,
    Delta,
    Envelope,
    LargeRow,
    Pull,
    RowCopy,
    State,
    ValuePart,
    WalkEntries,
    WalkRoot,
    WalkRows,
)


class Names(NamedTuple):
    """The two numbers of one shard."""

    told: int
    """The last own write that others may have heard of from this replica."""
    certain: int
    """The last own write whose name is certainly unique."""


def latest_names(envelope: Envelope, replica: ReplicaId) -> dict[str, int]:
    """Return, per shard, the greatest sequence of the replica that any message of an envelope mentions."""
    latest: dict[str, int] = {}
    for message in envelope.messages:
        match message:
            case State(context=context, proofs=proofs) | WalkRoot(context=context, collected=Collected(proofs=proofs)):
                found = max([context.get(replica, 0), *(proof.marks.get(replica, 0) for proof in proofs)])
            case Covered(context=context) | Pull(context=context):
                found = context.get(replica, 0)
            case Delta(ranges=ranges, rows=rows, large=large):
                found = _latest(replica, rows, large)
                if replica in ranges:
                    found = max(found, ranges[replica].through)
            case WalkRows(rows=rows, large=large) | ValuePart(rows=rows, large=large):
                found = _latest(replica, rows, large)
            case WalkEntries(entries=entries):
                dots = (version.dot for entry in entries for version in entry.versions)
                found = max([dot.sequence for dot in dots if dot.replica == replica], default=0)
            case _:
                continue
        latest[message.shard] = max(found, latest.get(message.shard, 0))
    return latest


def _latest(replica: ReplicaId, rows: Iterable[RowCopy], large: Iterable[LargeRow]) -> int:
    contexts = [*(copy.row.context for copy in rows), *(row.context for row in large)]
    return max([context.get(replica, 0) for context in contexts], default=0)
