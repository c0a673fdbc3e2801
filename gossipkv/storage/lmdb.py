"""Storage on a volume, with LMDB.

Rules:

- Durable means fsync: LMDB runs with its default flags, the only ones that survive a power loss at any
  moment. For speed, many writes share a commit instead.
- One process uses a data directory, by an exclusive lock on its `lock` file. The environment must not be used
  after a fork: run children by exec.
- One thread uses the write transaction from `begin` to its end. Any one thread uses a view. Reads never wait.
- Iterators walk LMDB's pages as they are asked. Use them before their view ends, and write nothing in a
  transaction while an iterator of it is in use.
- A full map or volume fails only the transaction. Any other failure of a write stops all writing
  until the process starts again. After a failed fsync the kernel forgets which pages it did not write, so
  a second fsync succeeds without having written them.

Every key begins with its shard and a zero byte, then:

    meta      "record"                  the shard's record; without a shard: "format", "identity"
              "settled"                 the part of the context that the record leaves out: replicas that are gone
              "collected"               the record of collected tombstones
              "lacking"                 the rows that are covered and not held
    counts    table                     Counts
    rows      address                   Row
    journal   origin, sequence          address; both as 8 bytes, big-endian
    leaves    leaf, address             nothing; the leaf as 2 bytes, big-endian
    expiries  expires_ms, address       nothing; the time as 8 bytes, big-endian
    tombstones  deleted_ms, address     nothing; likewise
    pages     page                      the fingerprint page; its number as 2 bytes, big-endian
    quarantine  address                 why the row of this address could not be read, and its bytes
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import lmdb
import structlog

from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.collected import Collected
from gossipkv.core.model.lacking import Lacking
from gossipkv.core.model.room import Usage
from gossipkv.core.model.row import StoredRow
from gossipkv.core.store.storage import (
    DAMAGE_REMEDY,
    Counts,
    Deadline,
    Identity,
    JournalEntry,
    Quarantined,
    ShardRecord,
    StorageError,
    StorageFailedError,
    StorageFullError,
    UnreadableRowError,
)
from gossipkv.rows.arguments.names import is_address
from gossipkv.storage import encoding
from gossipkv.storage.directory import DATA_FILE, FILE_MODE, DataDirectory
from gossipkv.storage.upgrade import rebuild_fingerprints

log = structlog.get_logger(__name__)

MAP_SIZE_BYTES_DEFAULT = 64 * 2**30
"""The default size of the map. This is address space, neither memory nor disk, and costs nothing until it is used."""

_READERS_MAX = 512
"""The maximum number of open views."""

UNREADABLE_NOTED_MAX = 1_000
"""The maximum number of unreadable rows that scans note. Later scans meet the others, once these are quarantined."""

_SPARE_TRANSACTIONS = 8
"""The maximum number of read transactions kept for reuse, which makes opening a view cheap."""

_VOLUME_FREE_BYTES_MIN = 2**20
"""If there is less free space than this, a failed write is attributed to a full volume."""

_FORMAT_KEY = b"format"
_IDENTITY_KEY = b"identity"

_pack_pair = struct.Struct(">QQ").pack
_unpack_pair = struct.Struct(">QQ").unpack_from
_pack_long = struct.Struct(">Q").pack
_unpack_long = struct.Struct(">Q").unpack_from
_pack_short = struct.Struct(">H").pack
_unpack_short = struct.Struct(">H").unpack_from


class _Databases(NamedTuple):
    """The handles of the named databases."""

    meta: Any
    counts: Any
    rows: Any
    journal: Any
    leaves: Any
    pages: Any
    expiries: Any
    tombstones: Any
    quarantine: Any


@cache
def _prefix(shard: str) -> bytes:
    assert "\0" not in shard, shard
    return shard.encode() + b"\0"


def _prefix_end(prefix: bytes) -> bytes:
    """Return the least key that is greater than all that begin with a prefix of `_prefix`."""
    return prefix[:-1] + b"\1"


class _LmdbReader:
    """The reads that views and transactions share."""

    __slots__ = ("_databases", "_get", "_rows", "_transaction", "_unreadable")

    def __init__(self, transaction: Any, databases: _Databases, unreadable: dict[tuple[str, bytes], str]) -> None:
        self._unreadable = unreadable
        self._transaction = transaction
        self._databases = databases
        self._get = transaction.get
        self._rows = databases.rows

    def _found(self, key: bytes, database: Any) -> bytes | None:
        try:
            found: bytes | None = self._get(key, None, database)
        except lmdb.Error as error:
            raise StorageError(f"a record cannot be read: {error}") from error
        return found

    def _items(
        self, database: Any, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the items with `start <= key < end`, ascending unless reversed; lazily."""
        try:
            cursor = self._transaction.cursor(database)
            if not reverse:
                if cursor.set_range(start):
                    for item in cursor.iternext():
                        if item[0] >= end:
                            return
                        yield item
            # `set_range` puts the cursor on the first key that is not wanted, and fails if there is none.
            elif cursor.prev() if cursor.set_range(end) else cursor.last():
                for item in cursor.iterprev():
                    if item[0] < start:
                        return
                    yield item
        except lmdb.Error as error:
            raise StorageError(f"records cannot be read: {error}") from error

    def revision(self) -> int:
        """Return the number of LMDB's transaction."""
        revision: int = self._transaction.id()
        return revision

    def format_version(self) -> int:
        """Return the number of the format that the data have."""
        stored = self._found(_FORMAT_KEY, self._databases.meta)
        assert stored is not None, "a store that is open has a format"
        return int(stored)

    def identity(self) -> Identity | None:
        """Return the identity of the store; None before it is first put."""
        stored = self._found(_IDENTITY_KEY, self._databases.meta)
        return None if stored is None else encoding.decode_identity(stored)

    def shard_record(self, shard: str) -> ShardRecord | None:
        """Return the record, joined with the settled entries; None before it is first put."""
        stored = self._found(_prefix(shard) + b"record", self._databases.meta)
        return None if stored is None else encoding.decode_shard_record(stored).resting_on(self.settled(shard))

    def settled(self, shard: str) -> Context:
        """Return the settled entries; empty if none were put."""
        stored = self._found(_prefix(shard) + b"settled", self._databases.meta)
        return Context() if stored is None else encoding.decode_context(stored)

    def collected(self, shard: str) -> Collected | None:
        """Return what was put; None if nothing was."""
        stored = self._found(_prefix(shard) + b"collected", self._databases.meta)
        return None if stored is None else encoding.decode_collected(stored)

    def lacking(self, shard: str) -> Lacking:
        """Return what was put; empty if nothing was."""
        stored = self._found(_prefix(shard) + b"lacking", self._databases.meta)
        return {} if stored is None else encoding.decode_lacking(stored)

    def table_counts(self, shard: str) -> dict[str, Counts]:
        """Return the counts by table. Raises UndecodableRecordError."""
        prefix = _prefix(shard)
        items = self._items(self._databases.counts, prefix, _prefix_end(prefix))
        try:
            return {key[len(prefix) :].decode(): encoding.decode_counts(stored) for key, stored in items}
        except UnicodeDecodeError as error:
            raise encoding.UndecodableRecordError(
                f"the name of a table with counts cannot be decoded{DAMAGE_REMEDY}"
            ) from error

    def pages(self, shard: str) -> Iterator[tuple[int, bytes]]:
        """Iterate over the fingerprint pages, in order of their numbers. Raises UndecodableRecordError."""
        prefix = _prefix(shard)
        for key, content in self._items(self._databases.pages, prefix, _prefix_end(prefix)):
            if len(key) != len(prefix) + 2:
                raise encoding.UndecodableRecordError(f"a page of the fingerprint cannot be decoded{DAMAGE_REMEDY}")
            yield _unpack_short(key, len(prefix))[0], content

    def row(self, shard: str, address: bytes) -> StoredRow | None:
        """Return the row; None if there is none. A row that cannot be decoded is noted in `unreadable`. Raises
        UnreadableRowError."""
        stored = self._found(_prefix(shard) + address, self._rows)
        if stored is None:
            return None
        try:
            return encoding.decode_row(stored)
        except encoding.UndecodableRecordError as error:
            raise self._found_unreadable(shard, address, str(error)) from error

    def _found_unreadable(self, shard: str, address: bytes, reason: str) -> UnreadableRowError:
        self._unreadable[shard, address] = reason
        return UnreadableRowError(shard, address, reason)

    def quarantined_row(self, shard: str, address: bytes) -> Quarantined | None:
        """Return what is known of a quarantined row; None if the row is not quarantined."""
        stored = self._found(_prefix(shard) + address, self._databases.quarantine)
        return None if stored is None else encoding.decode_quarantined(stored)

    def quarantined(self, shard: str, start: bytes = b"", end: bytes = b"\xff") -> Iterator[tuple[bytes, Quarantined]]:
        """Iterate over quarantined rows with `start <= address < end`; by default, over all of the shard."""
        prefix = _prefix(shard)
        last = _prefix_end(prefix) if end == b"\xff" else prefix + end
        for key, stored in self._items(self._databases.quarantine, prefix + start, last):
            yield key[len(prefix) :], encoding.decode_quarantined(stored)

    def rows(self, shard: str, start: bytes, end: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, StoredRow]]:
        """Iterate over rows with `start <= address < end`. Rows that cannot be decoded are left out and noted in
        `unreadable`."""
        prefix = _prefix(shard)
        skipped = len(prefix)
        for key, stored in self._items(self._rows, prefix + start, prefix + end, reverse=reverse):
            address = key[skipped:]
            try:
                row = encoding.decode_row(stored)
            except encoding.UndecodableRecordError as error:
                self._note_unreadable(shard, address, str(error))
                continue
            if not is_address(address):
                self._note_unreadable(shard, address, "its key is not a table name, a zero byte and a row key")
                continue
            yield address, row

    def _note_unreadable(self, shard: str, address: bytes, reason: str) -> None:
        if len(self._unreadable) < UNREADABLE_NOTED_MAX:
            self._unreadable[shard, address] = reason

    def journal(self, shard: str, origin: ReplicaId, after: int, *, reverse: bool = False) -> Iterator[JournalEntry]:
        """Iterate over the entries of an origin with `sequence > after`."""
        prefix = _prefix(shard)
        sequence_at = len(prefix) + 8
        start = prefix + _pack_pair(origin, after + 1)
        end = _journal_end(prefix, origin)
        for key, address in self._items(self._databases.journal, start, end, reverse=reverse):
            yield JournalEntry(int.from_bytes(key[sequence_at:], "big"), address)

    def journal_heads(self, shard: str) -> dict[ReplicaId, int]:
        """Return the greatest sequence of each origin, by two seeks per origin."""
        prefix = _prefix(shard)
        journal = self._databases.journal
        heads: dict[ReplicaId, int] = {}
        start = prefix
        while first := next(self._items(journal, start, _prefix_end(prefix)), None):
            origin, _ = _unpack_pair(first[0], len(prefix))
            start = _journal_end(prefix, origin)
            last, _ = next(self._items(journal, first[0], start, reverse=True))
            heads[origin] = _unpack_pair(last, len(prefix))[1]
        return heads

    def deadlines(self, shard: str, index: str, after: Deadline, until_ms: int) -> Iterator[Deadline]:
        """Iterate over the entries of the index that are greater than `after` and not later than `until_ms`."""
        prefix = _prefix(shard)
        at = len(prefix) + 8
        start = prefix + _pack_long(after.at_ms) + after.address + b"\0"
        for key, _ in self._items(getattr(self._databases, index), start, prefix + _pack_long(until_ms + 1)):
            yield Deadline(_unpack_long(key, len(prefix))[0], key[at:])

    def leaf(self, shard: str, leaf: int, after: bytes = b"") -> Iterator[bytes]:
        """Iterate over the addresses of a leaf that are greater than `after`."""
        prefix = _prefix(shard) + _pack_short(leaf)
        skipped = len(prefix)
        # The least key above `after` is one zero byte longer. Addresses begin with a table's name, which is ASCII.
        start, end = prefix + after + b"\0", prefix + b"\xff"
        for key, _ in self._items(self._databases.leaves, start, end):
            yield key[skipped:]


def _journal_end(prefix: bytes, origin: ReplicaId) -> bytes:
    """Return the least key that is greater than those of an origin: sequences end at 2^63 - 1."""
    return prefix + _pack_pair(origin, 2**64 - 1)


class LmdbView(_LmdbReader):
    """The committed state at the time when the view was opened. Hold a view for milliseconds: no page that it can see
    is reused before it ends."""

    __slots__ = ()

    def __enter__(self) -> LmdbView:
        return self

    def __exit__(self, *_: object) -> None:
        self._transaction.abort()
        # An ended read transaction keeps its slot among the readers as long as anything refers to it. The traceback of
        # an exception may refer to this view for a long time.
        del self._transaction, self._get


class LmdbTransaction(_LmdbReader):
    """The one open write transaction. A write that raises ends it; afterwards only `abort` may be called, and does
    nothing."""

    __slots__ = ("_is_open", "_put", "_storage")

    def __init__(self, transaction: Any, databases: _Databases, storage: LmdbStorage) -> None:
        super().__init__(transaction, databases, storage.unreadable)
        self._storage = storage
        self._is_open = True
        self._put = transaction.put

    def _write(self, key: bytes, value: bytes, database: Any, *, overwrite: bool = True) -> bool:
        """Put an item. Returns False if the key exists and must not be overwritten."""
        assert self._is_open, "write after the end of the transaction"
        try:
            return bool(self._put(key, value, True, overwrite, False, database))
        except lmdb.Error as error:
            self._fail(error)

    def _delete(self, key: bytes, database: Any) -> None:
        assert self._is_open, "write after the end of the transaction"
        try:
            self._transaction.delete(key, b"", database)
        except lmdb.Error as error:
            self._fail(error)

    def _fail(self, error: lmdb.Error) -> NoReturn:
        # Find the cause before the abort frees the room that the transaction took.
        failure = self._storage.failure_of(error)
        self.abort()
        raise failure from error

    def put_format_version(self, version: int) -> None:
        """Store the number of the data's format. Only an upgrade does this."""
        self._write(_FORMAT_KEY, b"%d" % version, self._databases.meta)

    def put_identity(self, identity: Identity) -> None:
        """Store the identity, which belongs to no shard."""
        self._write(_IDENTITY_KEY, encoding.encode_identity(identity), self._databases.meta)

    def put_shard_record(self, shard: str, record: ShardRecord) -> None:
        """Store the record as it is given; settled entries should not be in it."""
        self._write(_prefix(shard) + b"record", encoding.encode_shard_record(record), self._databases.meta)

    def put_settled(self, shard: str, settled: Context) -> None:
        """Store the settled entries in place of earlier ones."""
        self._write(_prefix(shard) + b"settled", encoding.encode_context(settled), self._databases.meta)

    def put_collected(self, shard: str, collected: Collected) -> None:
        """Store the record of collected tombstones in place of the earlier one."""
        self._write(_prefix(shard) + b"collected", encoding.encode_collected(collected), self._databases.meta)

    def put_lacking(self, shard: str, lacking: Lacking) -> None:
        """Store all lacking rows of the shard in place of the earlier ones."""
        self._write(_prefix(shard) + b"lacking", encoding.encode_lacking(lacking), self._databases.meta)

    def put_table_counts(self, shard: str, table: str, counts: Counts) -> None:
        """Store the counts of a table; delete the record if all counts are zero."""
        key = _prefix(shard) + table.encode()
        if any(counts):
            self._write(key, encoding.encode_counts(counts), self._databases.counts)
        else:
            self._delete(key, self._databases.counts)

    def put_page(self, shard: str, page: int, content: bytes) -> None:
        """Store a page of the fingerprint."""
        self._write(_prefix(shard) + _pack_short(page), content, self._databases.pages)

    def put_row(self, shard: str, address: bytes, row: StoredRow, leaf: int, *, is_new: bool) -> None:
        """Store a row, and list a new row in its leaf."""
        prefix = _prefix(shard)
        self._write(prefix + address, encoding.encode_row(row), self._rows)
        if is_new:
            self._write(prefix + _pack_short(leaf) + address, b"", self._databases.leaves)

    def delete_row(self, shard: str, address: bytes, leaf: int) -> None:
        """Delete a row, and take it out of its leaf."""
        prefix = _prefix(shard)
        self._delete(prefix + address, self._rows)
        self._delete(prefix + _pack_short(leaf) + address, self._databases.leaves)

    def quarantine(self, shard: str, address: bytes, leaf: int, held: Quarantined) -> None:
        """Move the bytes of a row into the quarantine, and take the row out of its leaf."""
        key = _prefix(shard) + address
        stored = self._found(key, self._rows)
        if stored is not None:
            self._write(key, encoding.encode_quarantined(held, stored), self._databases.quarantine)
        self.delete_row(shard, address, leaf)

    def release(self, shard: str, address: bytes) -> None:
        """Delete a row's record in the quarantine."""
        self._delete(_prefix(shard) + address, self._databases.quarantine)

    def put_journal(self, shard: str, origin: ReplicaId, sequence: int, address: bytes) -> bytes | None:
        """Set an entry. Returns the other address that it named before, if any; a new entry takes a single write."""
        key = _prefix(shard) + _pack_pair(origin, sequence)
        if self._write(key, address, self._databases.journal, overwrite=False):
            return None
        named = self._found(key, self._databases.journal)
        if named == address:
            return None
        self._write(key, address, self._databases.journal)
        return named

    def delete_journal(self, shard: str, origin: ReplicaId, sequence: int, address: bytes) -> None:
        """Delete the entry if it names this row."""
        key = _prefix(shard) + _pack_pair(origin, sequence)
        if self._found(key, self._databases.journal) == address:
            self._delete(key, self._databases.journal)

    def put_deadline(self, shard: str, index: str, deadline: Deadline) -> None:
        """Add an entry to an index by time."""
        key = _prefix(shard) + _pack_long(deadline.at_ms) + deadline.address
        self._write(key, b"", getattr(self._databases, index))

    def delete_deadline(self, shard: str, index: str, deadline: Deadline) -> None:
        """Delete an entry of an index by time; succeeds if there is none."""
        key = _prefix(shard) + _pack_long(deadline.at_ms) + deadline.address
        self._delete(key, getattr(self._databases, index))

    def commit(self) -> None:
        """Write everything durably, with one fsync. Raises StorageError."""
        assert self._is_open, "commit after the end of the transaction"
        try:
            self._transaction.commit()
        except lmdb.Error as error:
            self._fail(error)
        self._end()

    def abort(self) -> None:
        """Undo everything. Does nothing after the end of the transaction."""
        if self._is_open:
            self._transaction.abort()
            self._end()

    def _end(self) -> None:
        self._is_open = False
        self._storage.forget_transaction()


class LmdbStorage:
    """The store in a data directory, which is created if absent.

    `map_size_bytes` is the size to which the store can grow, a multiple of 4,096. If `must_exist` is set, nothing is
    created. Raises StorageError if the directory cannot be used or is in use. Raises it also if the data are damaged,
    of a newer format, or absent although they must exist.
    """

    def __init__(self, path: Path, map_size_bytes: int = MAP_SIZE_BYTES_DEFAULT, *, must_exist: bool = False) -> None:
        self._path = path
        self._file = path / DATA_FILE
        self._must_exist = must_exist
        if must_exist and not (path / DATA_FILE).is_file():
            raise StorageError(f"{path} holds no data of a member")
        self._transaction: LmdbTransaction | None = None
        self._failure: str | None = None
        self.unreadable: dict[tuple[str, bytes], str] = {}
        self._directory = DataDirectory(path)
        try:
            self._environment = lmdb.open(
                str(path),
                map_size=map_size_bytes,
                subdir=True,
                mode=FILE_MODE,
                sync=True,
                metasync=True,
                max_dbs=len(_Databases._fields),
                max_readers=_READERS_MAX,
                max_spare_txns=_SPARE_TRANSACTIONS,
            )
        except lmdb.Error as error:
            self._directory.close()
            raise StorageError(f"the data in {path} cannot be opened: {error}") from error
        try:
            self._databases = self._opened_databases()
            self._upgrade()
        except (lmdb.Error, StorageError) as error:
            self.close()
            raise StorageError(f"the data in {path} cannot be opened: {error}") from error

    def _opened_databases(self) -> _Databases:
        with self._environment.begin(write=True) as transaction:
            meta = self._environment.open_db(b"meta", transaction)
            stored = transaction.get(_FORMAT_KEY, db=meta)
            if stored is not None and not stored.isdigit():
                raise StorageError(f"their format is not a number{DAMAGE_REMEDY}")
            if stored is None and self._must_exist:
                raise StorageError("they are not the data of a member")
            if stored is None:
                transaction.put(_FORMAT_KEY, b"%d" % encoding.FORMAT_VERSION, db=meta)
            elif int(stored) > encoding.FORMAT_VERSION:
                raise StorageError(
                    f"they are of format {int(stored)}, and this program knows formats up to "
                    f"{encoding.FORMAT_VERSION}: run the version that wrote them, or a newer one"
                )
            names = _Databases._fields[1:]
            return _Databases(meta, *(self._environment.open_db(name.encode(), transaction) for name in names))

    def _upgrade(self) -> None:
        """Convert data of an older format to the present one. Data that must exist are only read, and reading needs
        nothing that has changed."""
        with self.view() as view:
            stored = view.format_version()
        if stored == encoding.FORMAT_VERSION or self._must_exist:
            return
        log.info("data_upgrade_started", stored_format=stored, new_format=encoding.FORMAT_VERSION)
        transaction = self.begin()
        try:
            rows = rebuild_fingerprints(transaction)
            transaction.put_format_version(encoding.FORMAT_VERSION)
            transaction.commit()
        finally:
            transaction.abort()
        log.info("data_upgrade_finished", new_format=encoding.FORMAT_VERSION, rows=rows)

    def view(self) -> LmdbView:
        """Open a view of the committed state. Raises StorageError if too many views are open."""
        try:
            return LmdbView(self._environment.begin(), self._databases, self.unreadable)
        except lmdb.Error as error:
            raise StorageError(f"the store cannot be read: {error}") from error

    def begin(self) -> LmdbTransaction:
        """Start the write transaction. Raises StorageFailedError for good after a failed write."""
        if self._failure is not None:
            raise StorageFailedError(self._failure)
        assert self._transaction is None, "a transaction is open"
        try:
            transaction = self._environment.begin(write=True)
        except lmdb.Error as error:
            raise self.failure_of(error) from error
        self._transaction = LmdbTransaction(transaction, self._databases, self)
        return self._transaction

    @property
    def usage(self) -> Usage:
        """The bytes of pages in use, and the bytes for which there is room in all. The latter is the room of the map or
        of the volume, whichever is less.

        Pages free for reuse count as room. Writes can fail before all room is used. Each commit, of deletes too, needs
        free pages for copies of those that it changes, and a large value needs its pages in a row. Keep a reserve.
        """
        try:
            with self._environment.begin() as transaction:
                tables = [self._environment.stat(), *map(transaction.stat, self._databases)]
            taken_bytes = self._file.stat().st_blocks * 512
        except (lmdb.Error, OSError) as error:
            raise StorageError(f"the size of the store cannot be determined: {error}") from error
        pages = 0
        for table in tables:
            pages += table["branch_pages"] + table["leaf_pages"] + table["overflow_pages"]
        capacity_bytes = min(self._environment.info()["map_size"], taken_bytes + self._directory.free_bytes())
        return Usage(pages * tables[0]["psize"], capacity_bytes)

    def close(self) -> None:
        """Close the store and release the data directory. An open transaction is aborted; views must have ended."""
        if self._transaction is not None:
            self._transaction.abort()
        self._environment.close()
        self._directory.close()

    def forget_transaction(self) -> None:
        """Note that the transaction has ended. Only the transaction of this storage calls this."""
        self._transaction = None

    def failure_of(self, error: lmdb.Error) -> StorageError:
        """Return the error that a failed write means; a failure of the volume stops all writing. Only this storage and
        its transaction call this."""
        if isinstance(error, lmdb.MapFullError | lmdb.TxnFullError):
            return StorageFullError(f"no room in the map of {self._path}: {error}")
        if isinstance(error, lmdb.BadValsizeError):
            return StorageError(f"a key is too long: {error}")
        # An error that the binding raises, not LMDB, has no code.
        code = getattr(error, "code", None)
        if code in (errno.ENOSPC, errno.EDQUOT) or (code == errno.EIO and self._is_volume_full()):
            return StorageFullError(f"no room on the volume of {self._path}: {error}")
        self._failure = f"writing to {self._path} has failed and is not tried again: {error}"
        return StorageFailedError(self._failure)

    def _is_volume_full(self) -> bool:
        # LMDB reports a write that a full volume cut short as EIO. Mistaking a true EIO for that does no harm.
        # The next transaction writes all of its pages again, and LMDB stops by itself when its root fails.
        return self._directory.free_bytes() < _VOLUME_FREE_BYTES_MIN
