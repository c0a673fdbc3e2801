"""Storage in memory, with the semantics of a crash: for simulation, tests and stores that need not outlive a
process.

Committed data survive a crash. A transaction that is aborted, fails or is open at a crash leaves nothing. Rows
are held without encoding, because they are immutable.

Every reader is the committed state under a layer of differences. A transaction's layer holds what it wrote. A
view's layer holds what was there before: each commit puts it there while the view is open. A commit therefore
costs what its transaction changed, for each open view, and never what the store holds.

Threads: one may write while others read, as with storage on a volume. A commit saves the old state in the
views before it changes the committed state. A reader looks at the committed state before it looks at its
layer. In either order of events the reader finds the state that it began with. Scans and the opening of views take
the storage's lock, because they touch several things.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gossipkv.core.model.causality import SEQUENCE_MAX, Context, ReplicaId
from gossipkv.core.model.collected import Collected
from gossipkv.core.model.lacking import Lacking
from gossipkv.core.model.room import Usage
from gossipkv.core.model.row import StoredRow
from gossipkv.core.store.storage import (
    Counts,
    Deadline,
    Identity,
    JournalEntry,
    Quarantined,
    ShardRecord,
    StorageError,
    StorageFailedError,
    UnreadableRowError,
)

_META = "meta"
_COUNTS = "counts"
_ROWS = "rows"
_JOURNAL = "journal"
_LEAVES = "leaves"
_PAGES = "pages"
_QUARANTINE = "quarantine"

_MapName = tuple[str, str]
"""The name of a map: its kind and its shard."""

_STORE = ""
"""The shard in the names of maps that hold data of the whole store."""

_SCAN_KEYS_MIN = 4
_SCAN_KEYS_MAX = 64


@dataclass(frozen=True, slots=True)
class _Damaged:
    """A placeholder for an unreadable row."""

    reason: str


class _Map:
    """The committed values by key, with the keys in order."""

    __slots__ = ("keys", "values")

    def __init__(self) -> None:
        self.values: dict[Any, Any] = {}
        self.keys: list[Any] = []

    def put(self, key: Any, value: Any) -> None:
        """Set a value; None removes the key."""
        if value is None:
            if self.values.pop(key, None) is not None:
                del self.keys[bisect_left(self.keys, key)]
            return
        if key not in self.values:
            insort(self.keys, key)
        self.values[key] = value

    def copy(self) -> _Map:
        """Return a copy that shares the values, which are immutable."""
        copied = _Map()
        copied.values = self.values.copy()
        copied.keys = self.keys.copy()
        return copied


class _LayeredMap:
    """A committed map under a layer of differences, in which None stands for an absent key."""

    __slots__ = ("_committed", "_layer_keys", "_lock", "layer")

    def __init__(self, committed: _Map, lock: threading.Lock) -> None:
        self._committed = committed
        self._lock = lock
        self.layer: dict[Any, Any] = {}
        self._layer_keys: list[Any] = []

    def get(self, key: Any) -> Any:
        """Return the value of a key; None if it is absent."""
        committed = self._committed.values.get(key)
        return self.layer.get(key, committed)

    def scan(self, start: Any, end: Any = None, *, reverse: bool = False) -> Iterator[tuple[Any, Any]]:
        """Iterate over the items with `start <= key < end`, a few keys at a time. An end of None lies beyond every
        key."""
        limit = _SCAN_KEYS_MIN
        while True:
            keys = self._keys(start, end, limit, reverse)
            for key in keys:
                value = self.get(key)
                if value is not None:
                    yield key, value
            if len(keys) < limit:
                return
            if reverse:
                end = keys[-1]
            else:
                start = _after(keys[-1])
            limit = min(2 * limit, _SCAN_KEYS_MAX)

    def heads(self) -> dict[Any, Any]:
        """Return the greatest second part for each first part, in order, of keys that are pairs."""
        with self._lock:
            keys, layered = self._committed.keys, self._ordered_layer()
            gone = {key for key in layered if self.layer[key] is None}
            # The keys are in order, so the last one of each first part is kept.
            heads = dict([key for key in keys if key not in gone] if gone else keys)
            added = dict([key for key in layered if key not in gone])
        for first, second in added.items():
            heads[first] = max(second, heads.get(first, second))
        return dict(sorted(heads.items())) if added else heads

    def _ordered_layer(self) -> list[Any]:
        # The layer never loses a key, so its size shows whether its keys have changed.
        if len(self._layer_keys) != len(self.layer):
            self._layer_keys = sorted(self.layer)
        return self._layer_keys

    def _keys(self, start: Any, end: Any, limit: int, reverse: bool) -> list[Any]:
        """Return the first keys of a range in either map, at most `limit`. Fewer are returned only if the range has no
        more."""
        with self._lock:
            found = _bounded(self._committed.keys, start, end, limit, reverse)
            layered = _bounded(self._ordered_layer(), start, end, limit, reverse)
        if layered:
            return sorted({*found, *layered}, reverse=reverse)[:limit]
        return found


def _after(key: Any) -> Any:
    """Return the least key that is greater than this one."""
    match key:
        case bytes():
            return key + b"\0"
        case str():
            return key + "\0"
        case int():
            return key + 1
        case (first, last):
            return first, _after(last)
        case _:
            raise AssertionError(f"no map has keys like {key!r}")


def _bounded(keys: list[Any], start: Any, end: Any, limit: int, reverse: bool) -> list[Any]:
    first = bisect_left(keys, start)
    last = len(keys) if end is None else bisect_left(keys, end)
    if reverse:
        return keys[max(first, last - limit) : last][::-1] if first < last else []
    return keys[first : min(last, first + limit)]


class _MemoryReader:
    """The reads that views and transactions share."""

    __slots__ = ("_maps", "_revision", "_storage", "is_open")

    def __init__(self, storage: MemoryStorage, revision: int) -> None:
        self._storage = storage
        self._revision = revision
        self._maps: dict[_MapName, _LayeredMap] = {}
        self.is_open = True

    def layered(self, name: _MapName) -> _LayeredMap:
        """Return a map as this reader sees it."""
        found = self._maps.get(name)
        if found is None:
            assert self.is_open, "read or write after the end of a transaction or view"
            # The reader's thread and a committing thread may both come here. The first to store its map wins.
            found = self._maps.setdefault(name, _LayeredMap(self._storage.committed(name), self._storage.lock))
        return found

    def end(self) -> None:
        """End the reader; each later read raises AssertionError."""
        # Without its maps, the reader runs into the assertion in `layered` at the next call.
        self.is_open = False
        self._maps = {}

    def revision(self) -> int:
        """Return the number of commits that this reader sees; for a transaction, its own included."""
        return self._revision

    def identity(self) -> Identity | None:
        """Return the identity of the store; None before it is first put."""
        found: Identity | None = self.layered((_META, _STORE)).get("identity")
        return found

    def shard_record(self, shard: str) -> ShardRecord | None:
        """Return a copy of the record, joined with the settled entries; None before it is first put."""
        found: ShardRecord | None = self.layered((_META, shard)).get("record")
        if found is None:
            return None
        # The owner of a context advances it in place. The committed context must not change with it.
        copied = found._replace(context=Context(found.context), floors=Context(found.floors))
        return copied.resting_on(self.settled(shard))

    def settled(self, shard: str) -> Context:
        """Return a copy of the settled entries; empty if none were put."""
        return Context(self.layered((_META, shard)).get("settled") or ())

    def collected(self, shard: str) -> Collected | None:
        """Return what was put; None if nothing was."""
        found: Collected | None = self.layered((_META, shard)).get("collected")
        return found

    def lacking(self, shard: str) -> Lacking:
        """Return a copy of what was put; empty if nothing was."""
        found: Lacking = self.layered((_META, shard)).get("lacking") or {}
        return dict(found)

    def table_counts(self, shard: str) -> dict[str, Counts]:
        """Return the counts by table."""
        return dict(self.layered((_COUNTS, shard)).scan(""))

    def pages(self, shard: str) -> Iterator[tuple[int, bytes]]:
        """Iterate over the fingerprint pages, in order of their numbers."""
        return self.layered((_PAGES, shard)).scan(0)

    def row(self, shard: str, address: bytes) -> StoredRow | None:
        """Return the row; None if there is none. A damaged row is noted in `unreadable`. Raises UnreadableRowError."""
        found: StoredRow | _Damaged | None = self.layered((_ROWS, shard)).get(address)
        if isinstance(found, _Damaged):
            self._storage.unreadable[shard, address] = found.reason
            raise UnreadableRowError(shard, address, found.reason)
        return found

    def rows(self, shard: str, start: bytes, end: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, StoredRow]]:
        """Iterate over rows with `start <= address < end`. Damaged rows are left out and noted in `unreadable`."""
        for address, found in self.layered((_ROWS, shard)).scan(start, end, reverse=reverse):
            if isinstance(found, _Damaged):
                self._storage.unreadable[shard, address] = found.reason
            else:
                yield address, found

    def quarantined_row(self, shard: str, address: bytes) -> Quarantined | None:
        """Return what is known of a quarantined row; None if the row is not quarantined."""
        found: Quarantined | None = self.layered((_QUARANTINE, shard)).get(address)
        return found

    def quarantined(self, shard: str, start: bytes = b"", end: bytes = b"\xff") -> Iterator[tuple[bytes, Quarantined]]:
        """Iterate over quarantined rows with `start <= address < end`; by default, over all of the shard."""
        return self.layered((_QUARANTINE, shard)).scan(start, end)

    def journal(self, shard: str, origin: ReplicaId, after: int, *, reverse: bool = False) -> Iterator[JournalEntry]:
        """Iterate over the entries of an origin with `sequence > after`."""
        entries = self.layered((_JOURNAL, shard)).scan((origin, after + 1), (origin + 1, 0), reverse=reverse)
        for (_, sequence), address in entries:
            yield JournalEntry(sequence, address)

    def journal_heads(self, shard: str) -> dict[ReplicaId, int]:
        """Return the greatest sequence of each origin."""
        return self.layered((_JOURNAL, shard)).heads()

    def deadlines(self, shard: str, index: str, after: Deadline, until_ms: int) -> Iterator[Deadline]:
        """Iterate over the entries of the index that are greater than `after` and not later than `until_ms`."""
        entries = self.layered((index, shard)).scan(_after(tuple(after)), (until_ms + 1, b""))
        for (at_ms, address), _ in entries:
            yield Deadline(at_ms, address)

    def leaf(self, shard: str, leaf: int, after: bytes = b"") -> Iterator[bytes]:
        """Iterate over the addresses of a leaf that are greater than `after`."""
        for (_, address), _ in self.layered((_LEAVES, shard)).scan((leaf, _after(after)), (leaf + 1, b"")):
            yield address


class MemoryView(_MemoryReader):
    """The committed state at the time when the view was opened."""

    __slots__ = ()

    def __enter__(self) -> MemoryView:
        return self

    def __exit__(self, *_: object) -> None:
        self._storage.forget_view(self)
        self.end()


class MemoryTransaction(_MemoryReader):
    """The one open write transaction. Once it has ended, only `abort` may be called, and does nothing."""

    __slots__ = ()

    def _put(self, name: _MapName, key: Any, value: Any) -> None:
        self.layered(name).layer[key] = value

    def put_identity(self, identity: Identity) -> None:
        """Store the identity, which belongs to no shard."""
        self._put((_META, _STORE), "identity", identity)

    def put_shard_record(self, shard: str, record: ShardRecord) -> None:
        """Store a copy of the record, because the owner of its contexts advances them in place."""
        copied = record._replace(context=Context(record.context), floors=Context(record.floors))
        self._put((_META, shard), "record", copied)

    def put_settled(self, shard: str, settled: Context) -> None:
        """Store a copy of the settled entries in place of earlier ones."""
        self._put((_META, shard), "settled", Context(settled))

    def put_collected(self, shard: str, collected: Collected) -> None:
        """Store the record of collected tombstones in place of the earlier one."""
        self._put((_META, shard), "collected", collected)

    def put_lacking(self, shard: str, lacking: Lacking) -> None:
        """Store a copy of all lacking rows of the shard in place of the earlier ones."""
        self._put((_META, shard), "lacking", dict(lacking))

    def put_table_counts(self, shard: str, table: str, counts: Counts) -> None:
        """Store the counts of a table; delete them if all are zero."""
        self._put((_COUNTS, shard), table, counts if any(counts) else None)

    def put_page(self, shard: str, page: int, content: bytes) -> None:
        """Store a page of the fingerprint."""
        self._put((_PAGES, shard), page, content)

    def put_row(self, shard: str, address: bytes, row: StoredRow, leaf: int, *, is_new: bool) -> None:
        """Store a row, and list a new row in its leaf."""
        self._put((_ROWS, shard), address, row)
        if is_new:
            self._put((_LEAVES, shard), (leaf, address), True)

    def delete_row(self, shard: str, address: bytes, leaf: int) -> None:
        """Delete a row, and take it out of its leaf."""
        self._put((_ROWS, shard), address, None)
        self._put((_LEAVES, shard), (leaf, address), None)

    def quarantine(self, shard: str, address: bytes, leaf: int, held: Quarantined) -> None:
        """Put a row into the quarantine, and take it out of its leaf. No bytes are kept, because rows are not
        encoded."""
        self._put((_QUARANTINE, shard), address, held)
        self._put((_ROWS, shard), address, None)
        self._put((_LEAVES, shard), (leaf, address), None)

    def release(self, shard: str, address: bytes) -> None:
        """Take a row out of the quarantine."""
        self._put((_QUARANTINE, shard), address, None)

    def put_journal(self, shard: str, origin: ReplicaId, sequence: int, address: bytes) -> bytes | None:
        """Set an entry. Returns the other address that it named before, if any."""
        assert 0 < sequence <= SEQUENCE_MAX, sequence
        named: bytes | None = self.layered((_JOURNAL, shard)).get((origin, sequence))
        self._put((_JOURNAL, shard), (origin, sequence), address)
        return None if named == address else named

    def delete_journal(self, shard: str, origin: ReplicaId, sequence: int, address: bytes) -> None:
        """Delete the entry if it names this row."""
        if self.layered((_JOURNAL, shard)).get((origin, sequence)) == address:
            self._put((_JOURNAL, shard), (origin, sequence), None)

    def put_deadline(self, shard: str, index: str, deadline: Deadline) -> None:
        """Add an entry to an index by time."""
        self._put((index, shard), tuple(deadline), True)

    def delete_deadline(self, shard: str, index: str, deadline: Deadline) -> None:
        """Delete an entry of an index by time; succeeds if there is none."""
        self._put((index, shard), tuple(deadline), None)

    def commit(self) -> None:
        """Make the changes visible to new readers, or raise the error that the storage was told to raise and change
        nothing."""
        assert self.is_open, "commit after the end of the transaction"
        differences = {name: layered.layer for name, layered in self._maps.items() if layered.layer}
        self.end()
        self._storage.forget_transaction()
        if differences:
            self._storage.apply(differences)

    def abort(self) -> None:
        """Undo everything. Does nothing after the end of the transaction."""
        if self.is_open:
            self.end()
            self._storage.forget_transaction()


class MemoryStorage:
    """A store that lives as long as this object. `crash` simulates the death of the process that uses it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.usage = Usage(0, 2**40)
        """The room in use; see the protocol. Set it to simulate a store that fills up."""
        self.revision = 0
        """The number of commits that changed something."""
        self._maps: dict[_MapName, _Map] = {}
        self._views: list[MemoryView] = []
        self._transaction: MemoryTransaction | None = None
        self._next_commit_error: StorageError | None = None
        self._failing_table = b""
        self._has_failed = False
        self.unreadable: dict[tuple[str, bytes], str] = {}

    def view(self) -> MemoryView:
        """Open a view of the committed state. Commits that follow cost more as long as it is open."""
        with self.lock:
            view = MemoryView(self, self.revision)
            self._views.append(view)
        return view

    def begin(self) -> MemoryTransaction:
        """Start the write transaction. Raises StorageFailedError after a commit that failed with that error, until a
        crash."""
        if self._has_failed:
            raise StorageFailedError("the storage has failed and takes no more writes")
        assert self._transaction is None, "a transaction is open"
        self._transaction = MemoryTransaction(self, self.revision + 1)
        return self._transaction

    def close(self) -> None:
        """Close the store. Committed data stay for the next user of this object."""
        self.crash()

    def crash(self) -> None:
        """Simulate a death and restart of the process: open transactions and views are lost, committed data stay."""
        if self._transaction is not None:
            self._transaction.end()
            self._transaction = None
        for view in self._views:
            view.end()
        self._views.clear()
        self._has_failed = False

    def damage(self, shard: str, address: bytes, reason: str) -> None:
        """Make a committed row unreadable from now on."""
        self.committed((_ROWS, shard)).put(address, _Damaged(reason))

    def fail_next_commit(self, error: StorageError, table: str = "") -> None:
        """Let the next commit raise `error` and leave nothing; if a table is named, the next commit that changes rows
        of it. A StorageFailedError stays until the next crash."""
        self._next_commit_error, self._failing_table = error, table.encode()

    def snapshot(self) -> MemoryStorage:
        """Return a copy of the committed data as another store, like a backup of the volume."""
        copied = MemoryStorage()
        with self.lock:
            copied._maps = {name: committed.copy() for name, committed in self._maps.items()}
        return copied

    def restore(self, backup: MemoryStorage) -> None:
        """Simulate a death of the process and a start on a copy of `backup`, which may be restored many times."""
        self.crash()
        self._maps = backup.snapshot()._maps

    def committed(self, name: _MapName) -> _Map:
        """Return the committed map of this name, created if absent. Only readers of this storage call this."""
        found = self._maps.get(name)
        return self._maps.setdefault(name, _Map()) if found is None else found

    def forget_view(self, view: MemoryView) -> None:
        """Stop saving old values for a view that has ended. Only views of this storage call this."""
        with self.lock:
            if view in self._views:
                self._views.remove(view)

    def forget_transaction(self) -> None:
        """Note that the transaction has ended. Only the transaction of this storage calls this."""
        self._transaction = None

    def _is_to_fail(self, differences: dict[_MapName, dict[Any, Any]]) -> bool:
        prefix = self._failing_table + b"\0"
        changed = [a for (kind, _), layer in differences.items() if kind == _ROWS for a in layer]
        return not self._failing_table or any(address.startswith(prefix) for address in changed)

    def apply(self, differences: dict[_MapName, dict[Any, Any]]) -> None:
        """Commit the differences of the transaction of this storage, which has ended. Raises StorageError."""
        if self._next_commit_error is not None and self._is_to_fail(differences):
            error, self._next_commit_error = self._next_commit_error, None
            self._has_failed = isinstance(error, StorageFailedError)
            raise error
        with self.lock:
            self.revision += 1
            for name, layer in differences.items():
                committed = self.committed(name)
                for view in self._views:
                    saved = view.layered(name).layer
                    for key in layer:
                        saved.setdefault(key, committed.values.get(key))
                for key, value in layer.items():
                    committed.put(key, value)
