"""Pulls: how a replica is brought up to date from a peer's journal.

1. The puller sends the context that it covers.
2. The server answers with the current copies of all rows whose journal entries lie above that. If they do not fit into
   one bounded message, they come in parts, each from a cursor in the journal.
3. The puller keeps the ranges that the *first* part claimed. It covers them only when the last part has been taken in.

The server keeps no state.

A prefix of the journal would not be safe. A row written at 2 and again at 5 is in the journal only at 5. So "through 4"
would claim the write at 2 without what superseded it.

Parts may be read at different times. A row's entry only moves to greater sequences, and each origin is read to its end
in the transaction of its last part. So a row that moves ahead of the cursor is met further on. Writes of an origin
after the first part lie above the claimed range.

A large row of a part is fetched before the next part is requested. Nothing is covered before it has been merged.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.lacking import LackedRow
from gossipkv.core.protocol.messages import Cursor, Delta, FetchValue, Pull, Range, TooFar
from gossipkv.core.protocol.parcel import WHOLE_ROW_BYTES_MAX, Parcel
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Reader
from gossipkv.core.store.store import Intake
from gossipkv.core.transfer.fetch import Fetching

WALK_SHARE = 4
"""A peer that lacks writes for more than one row in this many is told to walk: an interruption does not undo a walk."""


@dataclass(slots=True)
class Pulling:
    """The puller's side of one pull."""

    base: Context
    """What the puller covered when it began."""
    ranges: dict[ReplicaId, Range] | None = None
    cursor: Cursor | None = None
    intake: Intake = field(default_factory=Intake)
    """The refused rows of all parts."""
    fetching: Fetching = field(default_factory=Fetching)
    """The large row of the last part."""
    lacking: tuple[LackedRow, ...] = ()
    """Rows that the server lacked when it claimed the ranges, as far as it named them."""
    claim: dict[ReplicaId, Range] | None = None
    """The ranges to cover, once the last part has come; None before that."""

    @property
    def is_finished(self) -> bool:
        """Whether the last part has come and no large row is being fetched."""
        return self.claim is not None and self.fetching.is_finished

    def request(self, shard: str, lacking: Context | None = None) -> Pull | FetchValue:
        """Return the next question. `lacking` is what the puller may lack of what it covers."""
        return self.fetching.asked or Pull(shard, self.base, self.cursor, lacking or Context())

    def take(self, part: Delta, intake: Intake) -> dict[ReplicaId, Range] | None:
        """Note a part whose rows have been taken in; return the ranges to cover if it was the last one, otherwise
        None."""
        if self.ranges is None:
            self.ranges = part.ranges
            self.lacking = part.lacking
        self.intake.refused += intake.refused
        self.cursor = part.cursor
        return self.ranges if part.cursor is None else None


def serve(
    reader: Reader, shard: Shard, pull: Pull, part_bytes: int, whole_row_bytes_max: int = WHOLE_ROW_BYTES_MAX
) -> Delta | TooFar:
    """Return the part of a pull that begins at its cursor, or TooFar if the journal cannot serve it or a walk is
    cheaper."""
    base = pull.context
    origins = shard.context.missing_from(base)
    if any(base.get(origin, 0) < shard.floors.get(origin, 0) for origin in origins):
        return TooFar(shard.name)
    ranges = {origin: Range(base.get(origin, 0), shard.context[origin]) for origin in origins}
    parcel = Parcel(part_bytes, whole_row_bytes_max)
    stopped_at = _fill(reader, shard, parcel, ranges, pull.cursor)
    if stopped_at is not None and pull.cursor is None and is_walk_cheaper(shard, base):
        return TooFar(shard.name)
    return Delta(shard.name, ranges, parcel.copies(), stopped_at, parcel.large(), shard.lacked_rows())


def is_walk_cheaper(shard: Shard, base: Context) -> bool:
    """Return whether a peer that covers `base` lacks more than one write for every `WALK_SHARE` rows."""
    totals = shard.totals
    return WALK_SHARE * shard.context.excess_over(base) > totals.rows + totals.tombstones


def push(
    reader: Reader,
    shard: Shard,
    known: Context,
    origins: list[ReplicaId],
    part_bytes: int,
    whole_row_bytes_max: int = WHOLE_ROW_BYTES_MAX,
) -> Delta | None:
    """Return what a peer that covers `known` lacks of these origins; None if it does not fit into one message."""
    if any(known.get(origin, 0) < shard.floors.get(origin, 0) for origin in origins):
        return None
    ranges = {origin: Range(known.get(origin, 0), shard.context[origin]) for origin in origins}
    parcel = Parcel(part_bytes, whole_row_bytes_max)
    if _fill(reader, shard, parcel, ranges, None) is not None or parcel.large():
        return None
    unnamed = shard.unnamed
    if unnamed:
        ranges = {origin: claimed for origin, claimed in ranges.items() if claimed.after >= unnamed.get(origin, 0)}
    return Delta(shard.name, ranges, parcel.copies(), lacking=shard.lacked_rows())


def _fill(
    reader: Reader, shard: Shard, parcel: Parcel, ranges: dict[ReplicaId, Range], cursor: Cursor | None
) -> Cursor | None:
    """Add the rows of the ranges, those above `through` included; return where the parcel was full, or None."""
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
