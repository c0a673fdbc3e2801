"""The newest rows first: what a member that was away gets before the bulk of a transfer.

A pull reads the journal from its old end, and a walk follows the order of the fingerprint. So the latest writes would
arrive late or at a random time. A member that serves clients while it catches up needs them first. If a pull takes
several parts, or leads to a walk, its first answer holds the newest rows that the puller lacks. They are taken from the
tails of the journal.

These rows run ahead of the puller's context and claim nothing. A pull still reads the journal from its beginning, and a
walk compares what is held. Writes made during the transfer are sent ahead in the same way, with each offer to pull. All
these rows are sent twice, so their number is bounded.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace

from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.clock import timestamp_at
from gossipkv.core.protocol.messages import Cursor, Delta, Pull, RowCopy, TooFar
from gossipkv.core.protocol.parcel import WHOLE_ROW_BYTES_MAX, Parcel
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Reader
from gossipkv.core.transfer import pull

SHARE = 4
"""The newest rows may take one part in this many of a message: they are sent again with the bulk."""


def serve(
    reader: Reader, shard: Shard, asked: Pull, part_bytes: int, whole_row_bytes_max: int = WHOLE_ROW_BYTES_MAX
) -> tuple[Delta | TooFar, ...]:
    """Return the answers to a pull. The newest rows come first if the missing rows do not fit into one message."""
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
    """Return the latest rows written above this context, newest first, up to the limit; None if there are none. A
    single row may exceed the limit."""
    settled = shard.base.settled
    # Retired replicas have no recent writes.
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
    """Return the time of the last write as a timestamp. The tombstone of an expiry is stamped just above the expired
    version, so its time of expiry counts."""
    winner = copy.row.winner
    if winner.is_tombstone and winner.expires_ms is not None:
        return max(winner.timestamp, timestamp_at(winner.expires_ms))
    return winner.timestamp
