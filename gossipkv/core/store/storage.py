"""What a replica needs of its storage.

One writer at a time opens a `Transaction`, sees its own writes, and ends it by `commit` (durable when it returns) or
`abort`. Any number of readers see the last committed state. Storage decides nothing. The core says which journal
entries to keep and what the sums are, in the same transaction as the rows that they describe.

Shards are named by their namespace. Addresses are defined in `core/model/address.py`, leaves in
`core/model/fingerprint.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.collected import Collected
from gossipkv.core.model.lacking import Lacking
from gossipkv.core.model.room import Usage
from gossipkv.core.model.row import StoredRow


class StorageError(Exception):
    """The error of a storage that failed; nothing of the transaction is stored."""


class StorageFullError(StorageError):
    """The error of a transaction that finds no room, in the map or on the volume. Reads still work; a later write may
    succeed."""


class PutRefusedError(StorageFullError):
    """The error of a put for which there is no room, here or at another member that must also hold the row. The text
    says what to do."""


class PutDelayedError(StorageError):
    """The error of a put for which rows on their way to all members leave no room. A later put may succeed."""


class StorageFailedError(StorageError):
    """The error of a volume on which a write has failed. Earlier commits are intact, but later ones could not be
    trusted. So the storage takes no further writes until the process is restarted."""


DAMAGE_REMEDY = (
    ": the volume or another program has damaged them; move the directory away, and start again with an empty one: the "
    "member fills itself from the others (what can be read: gossipkv export TABLE --data-dir DIRECTORY)"
)
"""What to do if a record that is needed at start is damaged; the end of an error's text."""


class UnreadableRowError(StorageError):
    """The error of one row that is damaged, or that this version cannot read. All other rows can be read."""

    def __init__(self, shard: str, address: bytes, reason: str) -> None:
        super().__init__(f"the row {address.decode(errors='backslashreplace')!r} of {shard} cannot be read: {reason}")
        self.shard = shard
        self.address = address
        self.reason = reason


class Quarantined(NamedTuple):
    """The reason and the context of an unreadable row. Its bytes are stored with this record."""

    reason: str
    context: Context
    """What the row covered, according to the journal."""


class Identity(NamedTuple):
    """The identity of a data directory."""

    cluster: str
    member: str
    replica: ReplicaId
    incarnation: int
    """Grows by one at every start."""


class Counts(NamedTuple):
    """The counts of a table or a shard."""

    rows: int = 0
    tombstones: int = 0
    value_bytes: int = 0
    """Bytes of row keys and values of visible rows."""

    def plus(self, other: Counts) -> Counts:
        """Return the sums of both counts."""
        return Counts(self.rows + other.rows, self.tombstones + other.tombstones, self.value_bytes + other.value_bytes)


class ShardRecord(NamedTuple):
    """The state of a shard that is needed at start, besides its rows."""

    context: Context
    floors: Context
    """Per origin, the sequence below which the journal may have gaps."""
    told: int | None = None
    """See `core/protocol/names.py`; None in data of format 3, as is `certain`."""
    certain: int | None = None

    def resting_on(self, settled: Context) -> ShardRecord:
        """Return the record with the settled entries added, which are stored once for both contexts."""
        if not settled:
            return self
        return self._replace(context=self.context.joined(settled), floors=self.floors.joined(settled))


class JournalEntry(NamedTuple):
    """A write of an origin, and the row that it went to."""

    sequence: int
    address: bytes


EXPIRIES = "expiries"
"""The index of values by time of expiry."""

TOMBSTONES = "tombstones"
"""The index of deleted rows by time of deletion."""


class Deadline(NamedTuple):
    """An entry of one of the indexes by time."""

    at_ms: int
    address: bytes


FIRST_DEADLINE = Deadline(0, b"")
"""A deadline that is less than any other."""


class Reader(Protocol):
    """A consistent view of the committed state (in a Transaction: with its own writes)."""

    def revision(self) -> int:
        """Return the number of the last commit that this reader sees; in a transaction, the number that its commit will
        have. Numbers grow while the storage is open."""
        ...

    def identity(self) -> Identity | None:
        """Return the identity of the data; None in a new storage."""
        ...

    def shard_record(self, shard: str) -> ShardRecord | None:
        """Return the record of a shard, with its settled entries; None in a new storage."""
        ...

    def settled(self, shard: str) -> Context:
        """Return the entries of retired replicas that the shard's record omits."""
        ...

    def collected(self, shard: str) -> Collected | None:
        """Return what is remembered of collected tombstones; None if nothing was stored."""
        ...

    def lacking(self, shard: str) -> Lacking:
        """Return the rows that are lacking, by address."""
        ...

    def table_counts(self, shard: str) -> dict[str, Counts]:
        """Return the counts by table, without tables that hold nothing."""
        ...

    def pages(self, shard: str) -> Iterator[tuple[int, bytes]]:
        """Yield the fingerprint pages written so far, in order of page."""
        ...

    def row(self, shard: str, address: bytes) -> StoredRow | None:
        """Return a row; None if there is none, or if it has been quarantined. Raises UnreadableRowError."""
        ...

    def rows(self, shard: str, start: bytes, end: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, StoredRow]]:
        """Yield rows with `start <= address < end`, tombstones included, by address; lazily. Rows that cannot be read
        are left out, and the storage's `unreadable` names them."""
        ...

    def quarantined_row(self, shard: str, address: bytes) -> Quarantined | None:
        """Return what is known of a row in quarantine; None if it is not there."""
        ...

    def quarantined(self, shard: str, start: bytes = b"", end: bytes = b"\xff") -> Iterator[tuple[bytes, Quarantined]]:
        """Yield the rows in quarantine with `start <= address < end`, by address; lazily."""
        ...

    def journal(self, shard: str, origin: ReplicaId, after: int, *, reverse: bool = False) -> Iterator[JournalEntry]:
        """Yield the entries of an origin with `sequence > after`, ascending unless reversed; lazily."""
        ...

    def journal_heads(self, shard: str) -> dict[ReplicaId, int]:
        """Return the greatest sequence in the journal, per origin."""
        ...

    def deadlines(self, shard: str, index: str, after: Deadline, until_ms: int) -> Iterator[Deadline]:
        """Yield the entries of an index that are greater than `after` and not later than `until_ms`, ascending;
        lazily."""
        ...

    def leaf(self, shard: str, leaf: int, after: bytes = b"") -> Iterator[bytes]:
        """Yield the addresses in a leaf that are greater than `after`, ascending; lazily."""
        ...


class Transaction(Reader, Protocol):
    """The one write transaction. A write is visible to its own reads at once, and to other readers after the commit."""

    def put_identity(self, identity: Identity) -> None:
        """Replace the identity of the data."""
        ...

    def put_shard_record(self, shard: str, record: ShardRecord) -> None:
        """Replace the record of a shard. Each commit that advances the context writes it, so it is kept short: see
        `put_settled`."""
        ...

    def put_settled(self, shard: str, settled: Context) -> None:
        """Replace the entries that both contexts of the shard's record omit."""
        ...

    def put_collected(self, shard: str, collected: Collected) -> None:
        """Replace what is remembered of collected tombstones."""
        ...

    def put_lacking(self, shard: str, lacking: Lacking) -> None:
        """Replace the rows that are lacking."""
        ...

    def put_table_counts(self, shard: str, table: str, counts: Counts) -> None:
        """Replace the counts of a table. If all are zero, remove its record."""
        ...

    def put_page(self, shard: str, page: int, content: bytes) -> None:
        """Replace a page of the fingerprint."""
        ...

    def put_row(self, shard: str, address: bytes, row: StoredRow, leaf: int, *, is_new: bool) -> None:
        """Store a row. `is_new` says that the address held no row before, so that the leaf does not list it yet."""
        ...

    def delete_row(self, shard: str, address: bytes, leaf: int) -> None:
        """Delete a row, and take its address out of its leaf."""
        ...

    def quarantine(self, shard: str, address: bytes, leaf: int, held: Quarantined) -> None:
        """Move the bytes of an unreadable row out of the rows, and its address out of its leaf."""
        ...

    def release(self, shard: str, address: bytes) -> None:
        """Drop a quarantined row that has been replaced."""
        ...

    def put_journal(self, shard: str, origin: ReplicaId, sequence: int, address: bytes) -> bytes | None:
        """Set the entry to this row. Return the address of the row that it named before, if that is a different one."""
        ...

    def delete_journal(self, shard: str, origin: ReplicaId, sequence: int, address: bytes) -> None:
        """Delete the entry if it names this row. It may name another row, because two rows may have the same dot."""
        ...

    def put_deadline(self, shard: str, index: str, deadline: Deadline) -> None:
        """Add an entry to an index by time."""
        ...

    def delete_deadline(self, shard: str, index: str, deadline: Deadline) -> None:
        """Delete an entry of an index by time."""
        ...

    def commit(self) -> None:
        """Make everything durable, or nothing. Raises StorageError; the transaction has then ended."""
        ...

    def abort(self) -> None:
        """End the transaction; nothing of it is stored."""
        ...


class View(Reader, Protocol):
    """A read transaction. Keep it short: a long one keeps the storage from reusing pages."""

    def __enter__(self) -> View: ...

    def __exit__(self, *_: object) -> None: ...


class Storage(Protocol):
    """The storage of one replica."""

    def view(self) -> View:
        """Open a read transaction of the last committed state; close it by leaving its `with` block."""
        ...

    def begin(self) -> Transaction:
        """Start the one write transaction. Raises StorageFailedError once the volume has failed."""
        ...

    @property
    def unreadable(self) -> dict[tuple[str, bytes], str]:
        """Rows that a reader could not read, by shard and address, with the reason; only some of them if there are
        many. A reader of an older state may name a row that has been replaced since. The thread that writes removes
        rows that it has dealt with."""
        ...

    @property
    def usage(self) -> Usage:
        """How much of its room the storage uses. Raises StorageError."""
        ...

    def close(self) -> None:
        """Release the storage, and abort an open transaction. Views must have ended."""
        ...
