"""First things first: what a member that was away should have before the bulk.

A journal is read from its old end and a walk goes by the places of rows in the fingerprint, so what was written last
would come at some time before the end. A member that answers while it catches up wants it first. So the first answer
to a pull that takes several parts, or that ends in a walk, holds the newest rows of all that the puller lacks, which
the journal's tails tell.

They run ahead of the puller's context and claim nothing: in a pull the journal is read from its beginning afterwards,
and a walk compares what is held. What is written while the transfer lasts is sent ahead of it in the same way, with
each offer to pull. All this comes twice, so it is bounded.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace

from gossipkv.core import pull
from gossipkv.core.causality import Context, ReplicaId
from gossipkv.core.clock import timestamp_at
from gossipkv.core.messages import Cursor, Delta, Pull, RowCopy, TooFar
from gossipkv.core.parcel import WHOLE_ROW_BYTES_MAX, Parcel
from gossipkv.core.shard import Shard
from gossipkv.core.storage import Reader

SHARE = 4
"""One part in so many is what the newest rows may take: they come once more with the bulk."""


def serve(
    reader: Reader, shard: Shard, asked: Pull, part_bytes: int, whole_row_bytes_max: int = WHOLE_ROW_BYTES_MAX
) -> tuple[Delta | TooFar, ...]:
    """The answers to a pull, the newest rows first where one message does not hold what is lacking."""
    part = pull.serve(reader, shard, asked, part_bytes, whole_row_bytes_max)
    if asked.cursor is not None or (isinstance(part, Delta) and part.cursor is None):
        return (part,)
    rows = newest(reader, shard, asked.context, part_bytes // SHARE, whole_row_bytes_max)
    if isinstance(part, TooFar):
        return (part, rows) if rows is not None else (part,)
    origin = min(part.ranges)
    large = rows.large if rows is not None else ()
    first = rows.rows if rows is not None else ()
    return (replace(part, rows=first, large=large, cursor=Cursor(origin, part.ranges[origin].after)),)


def newest(
    reader: Reader, shard: Shard, base: Context, bytes_max: int, whole_row_bytes_max: int = WHOLE_ROW_BYTES_MAX
) -> Delta | None:
    """Of the rows written above this context the latest, in that order; a single one may exceed the limit. None if
    there are none."""
    settled = shard.base.settled
    # Replicas that have been gone for long wrote nothing of late.
    origins = [o for o in shard.context.missing_from(base) if shard.context[o] > settled.get(o, 0)]
    tails = [_tail(reader, shard, origin, base.get(origin, 0)) for origin in origins]
    parcel = Parcel(bytes_max, whole_row_bytes_max)
    # Each origin's clock only rises, so the greatest of the tails' heads is the newest of all that is left.
    for address, row in heapq.merge(*tails, key=_written, reverse=True):
        if address not in parcel.rows and not parcel.add(address, row):
            break
    return Delta(shard.name, {}, parcel.copies(), None, parcel.large()) if parcel.rows else None


def _tail(reader: Reader, shard: Shard, origin: ReplicaId, after: int) -> Iterator[RowCopy]:
    for _, address in reader.journal(shard.name, origin, after, reverse=True):
        row = reader.row(shard.name, address)
        assert row is not None, "a journal entry names a row that is not there"
        yield RowCopy(address, row)


def _written(copy: RowCopy) -> int:
    """When the row was last written; the tombstone of an expiry is stamped just above what had expired."""
    winner = copy.row.winner
    if winner.is_tombstone and winner.expires_ms is not None:
        return max(winner.timestamp, timestamp_at(winner.expires_ms))
    return winner.timestamp
