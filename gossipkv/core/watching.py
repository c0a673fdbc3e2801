"""What watchers of a shard are told, and in what order.

A row is told as it stands, once for each time that it has a version that was not told before, and only when the
replica's context covers all its versions. So an id is a context but for moments, whoever covers it can go on from it,
and a row never goes back: a context covers a write only where it, or what superseded it, is held (I2). Rows that run
ahead of the context are held back until it has caught up. A row that changes several times in one commit, or while a
watcher is behind, is told as it stands in the end.

Watchers that are up to date are told by the `Tail`, one for all of them, from the changes of each commit. Those that
are behind read on their own: by `CatchUp` from the journal, which has an entry for each live version whatever its
floors, or by `Snapshot` from the rows. All three end at a context, and go on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gossipkv.core.causality import Context, Dot, ReplicaId
from gossipkv.core.row import Row
from gossipkv.core.seen import Seen
from gossipkv.core.storage import Reader

HELD_ROWS_MAX = 256
"""Held back by a tail. Where more run ahead, as during a walk, watchers read the journal when the context has come."""

EXAMINED_PER_PAGE = 1_000
BYTES_PER_PAGE = 256 * 1024


class Changes(NamedTuple):
    """What one batch changed in a shard, as it is when the batch is durable."""

    shard: str
    rows: dict[bytes, Row]
    context: Context


@dataclass(slots=True, eq=False)
class Told:
    """A row for a watcher. Shared by all that are told it."""

    address: bytes
    row: Row
    event_id: str
    """What a watcher has seen when it has seen this; empty in a snapshot, which only counts as a whole."""
    text: bytes = b""
    """For whoever passes it on to keep the form in."""

    @property
    def size_bytes(self) -> int:
        return 200 + len(self.address) + sum(len(version.value or b"") for version in self.row.versions)


class ContextWentBackError(Exception):
    """The replica has renounced writes: their names stand for others. Watchers must begin anew."""


class Tail:
    """The end of a shard's history, at which the watchers are that are up to date."""

    def __init__(self, reader: Reader, shard: str) -> None:
        self.context = context_of(reader, shard)
        self._shard = shard
        self._held: dict[bytes, Row] | None = None
        """Rows ahead of the context; None where there may be more than are held."""
        self.recover(reader)

    @property
    def is_complete(self) -> bool:
        """Whether all rows that run ahead of the context are held."""
        return self._held is not None

    def recover(self, reader: Reader) -> None:
        """Hold the rows that run ahead of the context, if they are few."""
        held: dict[bytes, Row] = {}
        self._held = None
        for origin in sorted(reader.journal_heads(self._shard)):
            for entry in reader.journal(self._shard, origin, self.context.get(origin, 0)):
                row = reader.row(self._shard, entry.address)
                assert row is not None, "a journal entry names a row that is not there"
                held[entry.address] = row
                if len(held) > HELD_ROWS_MAX:
                    return
        self._held = held

    def take(self, changes: Changes) -> list[Told] | None:
        """Move on over a batch; returns what to tell, or None where watchers must read the journal from the context
        that the tail was at. Raises ContextWentBackError, having moved all the same."""
        before, self.context = self.context, Context(changes.context)
        if not self.context.covers_all(before):
            raise ContextWentBackError
        if self._held is None:
            return None
        due: list[tuple[Dot, bytes, Row]] = []
        candidates = changes.rows if self.context == before else {**self._held, **changes.rows}
        for address, row in candidates.items():
            if not _is_covered(row, self.context):
                self._held[address] = row
                continue
            self._held.pop(address, None)
            fresh = [version.dot for version in row.versions if not before.covers(version.dot)]
            if fresh:
                due.append((min(fresh), address, row))
        if len(self._held) > HELD_ROWS_MAX:
            self._held = None
        return _in_order(before, self.context, due)


def _in_order(before: Context, after: Context, due: list[tuple[Dot, bytes, Row]]) -> list[Told]:
    """By origin and sequence, so that what has been told at any moment is a context, but for siblings."""
    due.sort(key=lambda one: one[0])
    running = Seen(before)
    origins = after.missing_from(before)
    place = 0
    told = []
    for dot, address, row in due:
        while place < len(origins) and origins[place] < dot.replica:
            running.reach(origins[place], after[origins[place]])
            place += 1
        running.reach(dot.replica, dot.sequence)
        running.add(row)
        told.append(Told(address, row, running.encoded()))
    if told:
        told[-1].event_id = Seen(after).encoded()
    return told


class CatchUp:
    """Reads the journal from what a watcher has seen, which the replica must cover, through a context."""

    def __init__(self, seen: Seen, through: Context, prefix: bytes) -> None:
        self.seen = seen
        """Moves on with what is told."""
        self._through = Context(through)
        self._origins = self._through.missing_from(seen.context)
        self._prefix = prefix

    @property
    def is_finished(self) -> bool:
        return not self._origins

    def page(self, reader: Reader, shard: str) -> list[Told]:
        """What comes next; to be called until finished. Between two pages rows may move: to greater sequences, that is
        to places that are still to be read, or to be read through a later context."""
        told: list[Told] = []
        room = BYTES_PER_PAGE
        examined = 0
        while self._origins:
            origin = self._origins[0]
            for entry in reader.journal(shard, origin, self.seen.context.get(origin, 0)):
                if entry.sequence > self._through[origin]:
                    break
                if examined >= EXAMINED_PER_PAGE or room <= 0:
                    return told
                examined += 1
                row = self._due(reader, shard, origin, entry.address)
                self.seen.reach(origin, entry.sequence)
                if row is not None:
                    self.seen.add(row)
                    told.append(Told(entry.address, row, self.seen.encoded()))
                    room -= told[-1].size_bytes
            self.seen.reach(origin, self._through[origin])
            del self._origins[0]
        return told

    def _due(self, reader: Reader, shard: str, origin: ReplicaId, address: bytes) -> Row | None:
        """The row, if it is to be told at this entry: a version from elsewhere is told at its own."""
        if not address.startswith(self._prefix):
            return None
        row = reader.row(shard, address)
        assert row is not None, "a journal entry names a row that is not there"
        dots = [version.dot for version in row.versions]
        is_fresh = any(dot.replica == origin and not self.seen.covers(dot) for dot in dots)
        return row if is_fresh and _is_covered(row, self._through) else None


class Snapshot:
    """Reads the visible rows, for a watcher that has seen nothing or nothing that can be gone on from. Rows that run
    ahead of the context are left to what follows."""

    def __init__(self, through: Context, prefix: bytes) -> None:
        self.seen = Seen(through)
        """When it is finished."""
        self.is_finished = False
        self._prefix = prefix
        self._next = prefix

    def page(self, reader: Reader, shard: str) -> list[Told]:
        told: list[Told] = []
        room = BYTES_PER_PAGE
        rows = reader.rows(shard, self._next, end_of_prefix(self._prefix))
        for examined, (address, row) in enumerate(rows):
            if examined >= EXAMINED_PER_PAGE or room <= 0:
                self._next = address
                return told
            if row.is_visible and _is_covered(row, self.seen.context):
                told.append(Told(address, row, ""))
                room -= told[-1].size_bytes
        self.is_finished = True
        return told


def context_of(reader: Reader, shard: str) -> Context:
    record = reader.shard_record(shard)
    return Context() if record is None else Context(record.context)


def end_of_prefix(prefix: bytes) -> bytes:
    """The least address above all that begin with a prefix; neither UTF-8 nor the zero behind a table is byte 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _is_covered(row: Row, context: Context) -> bool:
    return all(context.covers(version.dot) for version in row.versions)
