"""What the watchers of a shard are sent, and in what order.

A watcher is sent the current state of a row when the row has a version that was not sent before. If a row changes
several times in one commit, or while a watcher is behind, only its last state is sent. A context covers a write only if
the replica holds the write or something that superseded it (I2). So a watcher that has been sent everything is at a
known position: the replica's context, plus the versions that rows hold ahead of it.

- The `Tail` is the position of all watchers that are up to date. It advances by the changes of each commit.
- `CatchUp` reads the journal from a watcher's position to the position that the tail had at the start. The journal has
  an entry for each live version, even below its floors.
- `Snapshot` reads the rows, up to the same position.
- `standing` says whether a watch may resume at a member. Everything that the watcher has been sent must be held or
  superseded there. Otherwise a row could go back to an older state.

While a watcher is sent many rows, its position must be short, and still correct if the watch breaks off. It names the
last few rows by their dots, and those before by a context, in the order of the journal. Such a context may cover a
write whose superseding write is sent later, as the ranges of a pull may. Once all rows are sent, the context is exact
again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.lacking import held_below
from gossipkv.core.model.row import StoredRow
from gossipkv.core.store.changes import Changes
from gossipkv.core.store.retired import stored_base
from gossipkv.core.store.storage import Reader
from gossipkv.core.watch.watch_position import WatchPosition

AHEAD_ROWS_MAX = 10_000
"""Maximum number of rows ahead of the context that a tail tracks. There may be more when a transfer begins with many
rows. Watchers then start again, and are sent such rows when the context covers them."""
RECOVERY_BATCHES = 16
"""The number of batches after which a tail that has lost track checks whether there are fewer rows again."""
LOOSE_ROWS_MAX = 32
"""Maximum number of rows that a position names by their dots."""

EXAMINED_PER_PAGE = 1_000
"""Maximum number of journal entries or rows that one page examines."""
BYTES_PER_PAGE = 256 * 1024
"""Bytes of rows after which a page ends; the last row may exceed it."""


@dataclass(slots=True, eq=False)
class WatchEvent:
    """A row for watchers; shared by all that are sent it."""

    address: bytes
    row: StoredRow
    event_id: str
    """The position of a watcher after this row. Empty within a snapshot, which counts only as a whole."""
    text: bytes = b""
    """A cache in which the caller may keep the formatted event."""

    @property
    def size_bytes(self) -> int:
        """The approximate size of the event in memory."""
        return 200 + len(self.address) + sum(len(version.value or b"") for version in self.row.versions)


class WatchResetError(Exception):
    """The error of watchers that cannot resume from their position; the message says why."""


class ResumeState(Enum):
    """The relation of a watcher's position to what a replica holds."""

    HELD = "held"
    """Everything that was sent is held here or superseded."""
    AHEAD = "ahead"
    """Some of it is not held here yet."""
    FORGOTTEN = "forgotten"
    """The position can never be reached here: later deletions may have been collected."""


def _everything(_: bytes) -> bool:
    return True


class Tail:
    """The position of all watchers of a shard that are up to date."""

    def __init__(self, reader: Reader, shard: str, ahead_rows_max: int = AHEAD_ROWS_MAX) -> None:
        self._shard = shard
        self.ahead_rows_max = ahead_rows_max
        self.recover(reader)

    def recover(self, reader: Reader) -> None:
        """Start from the current state. Raises StorageError; then nothing has changed."""
        context = _context_of(reader, self._shard)
        ahead = _rows_ahead(reader, self._shard, context, self.ahead_rows_max)
        self._revision = reader.revision()
        self._batches = 0
        self.base = stored_base(reader, self._shard)
        self._ahead = ahead
        """The versions that run ahead of the context, by row; None if there are too many."""
        self.position = self._position_at(context)
        """The present position; a new object after each change."""

    @property
    def is_complete(self) -> bool:
        """Whether it knows all versions that run ahead of the context."""
        return self._ahead is not None

    @property
    def is_recovery_due(self) -> bool:
        """Whether to call `recover`: it has lost track, and enough batches have passed."""
        return self._ahead is None and self._batches >= RECOVERY_BATCHES

    def take(self, changes: Changes, is_watched: Callable[[bytes], bool] = _everything) -> list[WatchEvent] | None:
        """Advance over a batch. Return the rows to send for the watched addresses; None if watchers must read the
        journal up to the new position.

        Raises WatchResetError if watchers must start again. The tail must recover then if the replica holds less than
        before.
        """
        before, context = self.position, changes.context
        self._batches += 1
        self.base = changes.base
        if changes.revision <= self._revision:
            return []
        is_less = changes.has_dropped or not context.covers_all(before.context) or self._has_ahead(changes.unreadable)
        if not (is_less or changes.rows) and context == before.context:
            return []
        if is_less:
            self._ahead = None
            self._batches = RECOVERY_BATCHES
            raise WatchResetError("this member has given up rows that it had sent, or can no longer read one")
        if self._ahead is None:
            self.position = WatchPosition(context, base=self.base)
            return None
        self._move_ahead(self._ahead, changes, before)
        if len(self._ahead) > self.ahead_rows_max:
            self._ahead, self._batches = None, 0
            self.position = WatchPosition(context, base=self.base)
            raise WatchResetError("too many rows run ahead of what this member covers")
        self.position = self._position_at(Context(context))
        return _in_order(before, self.position, {a: row for a, row in changes.rows.items() if is_watched(a)})

    def _has_ahead(self, unreadable: frozenset[bytes]) -> bool:
        """Return whether the position names a row that can no longer be read. A watcher that began after that was not
        sent the row. When the row comes back, the position would say that the watcher was."""
        return bool(unreadable) and self._ahead is not None and not unreadable.isdisjoint(self._ahead)

    def _move_ahead(self, ahead: dict[bytes, list[Dot]], changes: Changes, before: WatchPosition) -> None:
        advanced = set(changes.context.missing_from(before.context))
        if before.dots and any(dot.replica in advanced for dot in before.dots):
            for address in list(ahead):
                _note(ahead, address, [dot for dot in ahead[address] if not changes.context.covers(dot)])
        for address, row in changes.rows.items():
            _note(ahead, address, _dots_above(row, changes.context))

    def _position_at(self, context: Context) -> WatchPosition:
        ahead = self._ahead or {}
        return WatchPosition(context, [dot for dots in ahead.values() for dot in dots], self.base)


def _note(ahead: dict[bytes, list[Dot]], address: bytes, dots: list[Dot]) -> None:
    if dots:
        ahead[address] = dots
    else:
        ahead.pop(address, None)


def _dots_above(row: StoredRow, context: Context) -> list[Dot]:
    return [version.dot for version in row.versions if not context.covers(version.dot)]


def _rows_ahead(reader: Reader, shard: str, context: Context, rows_max: int) -> dict[bytes, list[Dot]] | None:
    ahead: dict[bytes, list[Dot]] = {}
    for origin in sorted(reader.journal_heads(shard)):
        for entry in reader.journal(shard, origin, context.get(origin, 0)):
            _note(ahead, entry.address, _dots_above(_row_of(reader, shard, entry.address), context))
            if len(ahead) > rows_max:
                return None
    return ahead


def _in_order(before: WatchPosition, after: WatchPosition, rows: dict[bytes, StoredRow]) -> list[WatchEvent]:
    """Return the rows in the order in which they are sent. The first of a row's writes that the context newly covers
    decides; rows ahead of the context come last."""
    due: list[tuple[tuple[bool, Dot], bytes, StoredRow]] = []
    for address, row in rows.items():
        if before.covers_row(row):
            continue
        covered = [
            Dot(*entry)
            for entry in row.context.items()
            if before.context.get(entry[0], 0) < entry[1] <= after.context.get(entry[0], 0)
        ]
        dot = min(covered, default=row.winner.dot)
        due.append(((not covered, dot), address, row))
    due.sort(key=lambda one: one[:2])
    running = _Running(before, after)
    told = []
    for (is_ahead, dot), address, row in due:
        running.tell(row, None if is_ahead else dot)
        told.append(WatchEvent(address, row, running.position.event_id()))
    if told:
        told[-1].event_id = after.event_id()
    return told


class _Running:
    """The position of a watcher in the middle of a catch-up, in the order of the journal."""

    def __init__(self, position: WatchPosition, through: WatchPosition) -> None:
        self.position = WatchPosition(position.context, position.dots, through.base)
        self._through = through.context
        self._origins = self._through.missing_from(position.context)
        self._loose_rows = 0

    def tell(self, row: StoredRow, place: Dot | None) -> None:
        """Note that a row is sent at this place in the journal; None is after everything that is covered."""
        self.position.add(row)
        self._loose_rows += 1
        if self._loose_rows > LOOSE_ROWS_MAX:
            self._reach(place)

    def _reach(self, place: Dot | None) -> None:
        self._loose_rows = 0
        reached = Context()
        while self._origins and (place is None or self._origins[0] < place.replica):
            origin = self._origins.pop(0)
            reached[origin] = self._through[origin]
        if place is not None and place.replica in self._through:
            reached[place.replica] = min(place.sequence, self._through[place.replica])
        self.position.reach(reached)


class CatchUp:
    """A reader of the journal from a watcher's position, which must be held here, to a tail's."""

    def __init__(self, position: WatchPosition, target: WatchPosition, prefix: bytes) -> None:
        self.is_finished = False
        self._target = target
        self._running = _Running(position, target)
        self._prefix = prefix
        self._ends: list[Dot] | None = None
        """The last journal entry of each origin to read, as of the start."""
        self._after: dict[ReplicaId, int] = dict(position.context)

    @property
    def position(self) -> WatchPosition:
        """The position after the rows sent so far."""
        return self._target if self.is_finished else self._running.position

    def page(self, reader: Reader, shard: str) -> list[WatchEvent]:
        """Return the next rows; call it until finished. Rows that have changed again beyond the target are left to the
        events that follow."""
        if self._ends is None:
            heads = sorted(reader.journal_heads(shard).items())
            self._ends = [Dot(*head) for head in heads if head[1] > self._after.get(head[0], 0)]
        told: list[WatchEvent] = []
        room = BYTES_PER_PAGE
        examined = 0
        while self._ends:
            origin, end = self._ends[0]
            for entry in reader.journal(shard, origin, self._after.get(origin, 0)):
                if entry.sequence > end:
                    break
                if examined >= EXAMINED_PER_PAGE or room <= 0:
                    return told
                examined += 1
                self._after[origin] = entry.sequence
                if entry.address.startswith(self._prefix):
                    row = _row_of(reader, shard, entry.address)
                    if self._is_due(row, origin):
                        self._running.tell(row, Dot(origin, entry.sequence))
                        told.append(WatchEvent(entry.address, row, self._running.position.event_id()))
                        room -= told[-1].size_bytes
            del self._ends[0]
        self.is_finished = True
        return told

    def _is_due(self, row: StoredRow, origin: ReplicaId) -> bool:
        """Return whether the row is sent at an entry of this origin. A version of another origin is sent at its own
        entry."""
        position = self._running.position
        return any(
            version.dot.replica == origin and not position.covers(version.dot) for version in row.versions
        ) and self._target.covers_row(row)


class Snapshot:
    """A reader of the visible rows, for a watcher that is new or cannot resume. Rows that have changed again beyond the
    target are left to the events that follow."""

    def __init__(self, target: WatchPosition, prefix: bytes, now_ms: int) -> None:
        self.position = target
        """The position once it is finished."""
        self.is_finished = False
        self._prefix = prefix
        self._next = prefix
        self._now_ms = now_ms

    def page(self, reader: Reader, shard: str) -> list[WatchEvent]:
        """Return the next rows, by address; call it until finished."""
        told: list[WatchEvent] = []
        room = BYTES_PER_PAGE
        rows = reader.rows(shard, self._next, end_of_prefix(self._prefix))
        for examined, (address, row) in enumerate(rows):
            if examined >= EXAMINED_PER_PAGE or room <= 0:
                self._next = address
                return told
            if row.is_visible_at(self._now_ms) and self.position.covers_row(row):
                told.append(WatchEvent(address, row, ""))
                room -= told[-1].size_bytes
        self.is_finished = True
        return told


def standing(reader: Reader, shard: str, position: WatchPosition, tail: Tail) -> ResumeState:
    """Return whether a watch can resume here from a position, after putting the entries of retired replicas back into
    it.

    FORGOTTEN means that tombstones have been collected that the position does not cover. The watcher is then sent all
    current rows, and must drop all others.
    """
    if not position.complete(tail.base):
        return ResumeState.AHEAD
    collected = reader.collected(shard)
    if collected is not None and not position.context.covers_all(collected.marks):
        return ResumeState.FORGOTTEN
    if not tail.position.context.covers_all(position.context):
        return ResumeState.AHEAD
    unknown = [dot for dot in sorted(position.dots) if not tail.position.covers(dot)]
    is_held = tail.is_complete and all(_is_superseded(reader, shard, dot) for dot in unknown)
    return ResumeState.HELD if is_held or not unknown else ResumeState.AHEAD


def _is_superseded(reader: Reader, shard: str, dot: Dot) -> bool:
    """Return whether the journal names the write, and its row holds something later instead."""
    entry = next(reader.journal(shard, dot.replica, dot.sequence - 1), None)
    if entry is None or entry.sequence != dot.sequence:
        return False
    return all(version.dot != dot for version in _row_of(reader, shard, entry.address).versions)


def _context_of(reader: Reader, shard: str) -> Context:
    record = reader.shard_record(shard)
    return Context() if record is None else held_below(record.context, reader.lacking(shard))


def _row_of(reader: Reader, shard: str, address: bytes) -> StoredRow:
    row = reader.row(shard, address)
    assert row is not None, "a journal entry names a row that is not there"
    return row


def end_of_prefix(prefix: bytes) -> bytes:
    """Return the least address above all that begin with a prefix. Byte 255 does not occur in UTF-8 or behind a table's
    name."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
