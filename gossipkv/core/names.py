"""Which names of its own writes a replica may rely on.

A dot must name one write. A volume that was set back to an old copy, or copied, breaks this: its replica id has writes
elsewhere under names that it is about to give out again. Two numbers per shard tell what to make of that:

- `told`: the last of its own writes that others may have heard of from this replica. Whoever speaks of a later one
  has heard of it from another process. Comparing with the replica's *last write* instead would not do: a copy that has
  written 40 rows alone has reached 40 names that stand for other writes elsewhere, and none beyond them.
- `certain`: the last of its own writes whose name is in no doubt. For each listed member, names up to where this
  replica was when the two last found that they hold the same are certain; the least of these counts, and none while an
  address that was found has not answered. Names above it are given up in a renewal (`Store.renew`). A row that arrives
  and speaks of one of them, of which the row here knows nothing, is as good as a later name (`Store.misnames`).

Both are stored with the shard: a copy may write, start again, and only then meet the others. From the start of a
process until it has compared with some one member it tells no one of writes above `told`, so that the first comparison
shows whether others know more. A new replica id is random, so all its names are certain and it may tell them at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gossipkv.core.causality import ReplicaId
from gossipkv.core.collected import Collected
from gossipkv.core.messages import (
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
    """Of one shard."""

    told: int
    certain: int


def latest_names(envelope: Envelope, replica: ReplicaId) -> dict[str, int]:
    """The greatest sequence of the replica that an envelope speaks of, per shard, in whatever message."""
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
