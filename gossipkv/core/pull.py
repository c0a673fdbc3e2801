"""Pulls: bringing a replica up to date out of a peer's journal.

The puller says what it covers, the server answers with the current copies of all rows whose journal entries lie above
that. What does not fit into one bounded message comes in parts, each from a cursor in the journal. The server keeps no
state; the puller keeps the ranges that the *first* part claimed and covers them only when the last part has been
taken in, because a prefix of the journal is not safe: a row written at 2 and again at 5 stands in the journal at 5
alone, and "through 4" would claim the write at 2 without what superseded it.

Parts may be read at different times. A row's entry only ever moves to a greater sequence, and each origin is read to
its end in the transaction of its last part, so a row that moves ahead of the cursor is met further on. What an origin
writes after the first part lies above the claimed range.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gossipkv.core.causality import Context, ReplicaId
from gossipkv.core.messages import Cursor, Delta, Pull, Range, RowCopy, TooFar
from gossipkv.core.row import Row
from gossipkv.core.shard import Shard
from gossipkv.core.storage import Reader
from gossipkv.core.store import Intake

WALK_SHARE = 4
"""A peer that lacks writes for more than one row in four is sent on a walk, which an interruption does not undo."""


def row_bytes(copy: RowCopy) -> int:
    """About the size of a row in a message."""
    address, row = copy
    return len(address) + 20 * len(row.context) + sum(40 + len(version.value or b"") for version in row.versions)


class Parcel:
    """Rows for one message, up to a number of bytes; a single row may exceed it."""

    def __init__(self, bytes_max: int) -> None:
        self.rows: dict[bytes, Row] = {}
        self._room = bytes_max

    def add(self, address: bytes, row: Row) -> bool:
        """Whether the row fitted."""
        size = row_bytes(RowCopy(address, row))
        if self.rows and size > self._room:
            return False
        self._room -= size
        self.rows[address] = row
        return True

    def copies(self) -> tuple[RowCopy, ...]:
        return tuple(RowCopy(address, row) for address, row in self.rows.items())


@dataclass(slots=True)
class Pulling:
    """The puller's side of one pull."""

    base: Context
    """What the puller covered when it began."""
    ranges: dict[ReplicaId, Range] | None = None
    cursor: Cursor | None = None
    intake: Intake = field(default_factory=Intake)
    """The refused rows of all parts."""

    def request(self, shard: str) -> Pull:
        return Pull(shard, self.base, self.cursor)

    def take(self, part: Delta, intake: Intake) -> dict[ReplicaId, Range] | None:
        """Note a part whose rows have been taken in; returns the ranges to cover once it was the last."""
        if self.ranges is None:
            self.ranges = part.ranges
        self.intake.refused += intake.refused
        self.cursor = part.cursor
        return self.ranges if part.cursor is None else None


def serve(reader: Reader, shard: Shard, pull: Pull, part_bytes: int) -> Delta | TooFar:
    """The part of a pull that begins at its cursor."""
    base = pull.context
    origins = shard.context.missing_from(base)
    if any(base.get(origin, 0) < shard.floors.get(origin, 0) for origin in origins):
        return TooFar(shard.name)
    ranges = {origin: Range(base.get(origin, 0), shard.context[origin]) for origin in origins}
    parcel = Parcel(part_bytes)
    stopped_at = _fill(reader, shard, parcel, ranges, pull.cursor)
    if stopped_at is not None and pull.cursor is None and is_walk_cheaper(shard, base):
        return TooFar(shard.name)
    return Delta(shard.name, ranges, parcel.copies(), stopped_at)


def is_walk_cheaper(shard: Shard, base: Context) -> bool:
    totals = shard.totals
    return WALK_SHARE * shard.context.excess_over(base) > totals.rows + totals.tombstones


def push(reader: Reader, shard: Shard, known: Context, origins: list[ReplicaId], part_bytes: int) -> Delta | None:
    """What a peer that covers `known` lacks of these origins, or None where one message does not hold it."""
    if any(known.get(origin, 0) < shard.floors.get(origin, 0) for origin in origins):
        return None
    ranges = {origin: Range(known.get(origin, 0), shard.context[origin]) for origin in origins}
    parcel = Parcel(part_bytes)
    if _fill(reader, shard, parcel, ranges, None) is not None:
        return None
    return Delta(shard.name, ranges, parcel.copies())


def _fill(
    reader: Reader, shard: Shard, parcel: Parcel, ranges: dict[ReplicaId, Range], cursor: Cursor | None
) -> Cursor | None:
    """Add the rows of the ranges, those above `through` included; returns where the parcel was full."""
    for origin in sorted(ranges):
        reached = ranges[origin].after
        if cursor is not None and origin <= cursor.origin:
            if origin < cursor.origin:
                continue
            reached = cursor.sequence
        for sequence, address in reader.journal(shard.name, origin, reached):
            if address not in parcel.rows:
                row = reader.row(shard.name, address)
                assert row is not None, "a journal entry names a row that is not there"
                if not parcel.add(address, row):
                    return Cursor(origin, reached)
            reached = sequence
    return None
