"""What a replica needs of its storage.

One writer at a time opens a `Transaction`, sees its own writes, and ends it by `commit` (durable when it returns) or
`abort`. Any number of readers see the last committed state. Storage decides nothing: the core says which journal
entries to keep and what the sums are, in the same transaction as the rows that they describe.

Shards are named by their namespace. Addresses are defined in `core.address`, leaves in `core.fingerprint`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.collected import Collected
from gossipkv.core.model.lacking import Lacking
from gossipkv.core.model.room import Usage
from gossipkv.core.model.row import Row


class StorageError(Exception):
    """The storage failed; nothing of the transaction is stored."""


class StorageFullError(StorageError):
    """There is no room for the transaction, in the map or on the volume. Reads still work; a later write may
    succeed."""


class PutRefusedError(StorageFullError):
    """This member is short of room, or another one that must also hold the row. The text says what to do."""


class PutDelayedError(StorageError):
    """Rows on their way to all members take the remaining room. A later put may succeed."""


class StorageFailedError(StorageError):
    """A write failed on the volume. Earlier commits are intact, but later ones could not be trusted, so the storage
    takes no more writes until the process is restarted."""


DAMAGE_REMEDY = (
    ": the volume or another program has damaged them; move the directory away, and start again with an empty one: the "
    "member fills itself from the others (what can be read: gossipkv export TABLE --data-dir DIRECTORY)"
)
"""A record that is needed at start is damaged."""


class UnreadableRowError(StorageError):
    """One row is damaged, or cannot be read by this version. All others can be read."""

    def __init__(self, shard: str, address: bytes, reason: str) -> None:
        super().__init__(f"the row {address.decode(errors='backslashreplace')!r} of {shard} cannot be read: {reason}")
        self.shard = shard
        self.address = address
        self.reason = reason


class Quarantined(NamedTuple):
    """What is known of an unreadable row. Its bytes are stored with this record."""

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
        return Counts(self.rows + other.rows, self.tombstones + other.tombstones, self.value_bytes + other.value_bytes)


class ShardRecord(NamedTuple):
    """The state of a shard that is needed at start, besides its rows."""

    context: Context
    floors: Context
    """Per origin, the sequence below which the journal may have gaps."""
    told: int | None = None
    certain: int | None = None
    """See `core/names.py`; None in data of format 3."""

    def resting_on(self, settled: Context) -> ShardRecord:
        """The record with what is stored once for both contexts."""
        if not settled:
            return self
        return self._replace(context=self.context.joined(settled), floors=self.floors.joined(settled))


class JournalEntry(NamedTuple):
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
"""Less than any other."""


class Reader(Protocol):
    """A consistent view of the committed state (in a Transaction: with its own writes)."""

    def revision(self) -> int:
        """The number of the last commit that this sees; a transaction's own is the one that it would make. Numbers
        grow as long as the storage is open."""
        ...

    def identity(self) -> Identity | None: ...

    def shard_record(self, shard: str) -> ShardRecord | None:
        """What was put, resting on what is settled."""
        ...

    def settled(self, shard: str) -> Context:
        """Entries of replicas that are gone, which the shard's record leaves out."""
        ...

    def collected(self, shard: str) -> Collected | None: ...

    def lacking(self, shard: str) -> Lacking: ...

    def table_counts(self, shard: str) -> dict[str, Counts]: ...

    def pages(self, shard: str) -> Iterator[tuple[int, bytes]]:
        """The fingerprint pages written so far, in order of page."""
        ...

    def row(self, shard: str, address: bytes) -> Row | None:
        """Raises UnreadableRowError; once the row has been quarantined there is none."""
        ...

    def rows(self, shard: str, start: bytes, end: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, Row]]:
        """Rows with `start <= address < end`, tombstones included, by address; lazily. Those that cannot be read are
        left out, and named by the storage's `unreadable`."""
        ...

    def quarantined_row(self, shard: str, address: bytes) -> Quarantined | None: ...

    def quarantined(self, shard: str, start: bytes = b"", end: bytes = b"\xff") -> Iterator[tuple[bytes, Quarantined]]:
        """Rows that cannot be read and have been quarantined, with `start <= address < end`, by address; lazily."""
        ...

    def journal(self, shard: str, origin: ReplicaId, after: int, *, reverse: bool = False) -> Iterator[JournalEntry]:
        """The entries of an origin with `sequence > after`, ascending unless reversed; lazily."""
        ...

    def journal_heads(self, shard: str) -> dict[ReplicaId, int]:
        """The greatest sequence in the journal, per origin."""
        ...

    def deadlines(self, shard: str, index: str, after: Deadline, until_ms: int) -> Iterator[Deadline]:
        """The entries of an index that are greater than `after` and not later than `until_ms`, ascending; lazily."""
        ...

    def leaf(self, shard: str, leaf: int, after: bytes = b"") -> Iterator[bytes]:
        """The addresses in a leaf that are greater than `after`, ascending; lazily."""
        ...


class Transaction(Reader, Protocol):
    def put_identity(self, identity: Identity) -> None: ...

    def put_shard_record(self, shard: str, record: ShardRecord) -> None:
        """Written with each commit that advances the context, so it is kept short: see `put_settled`."""
        ...

    def put_settled(self, shard: str, settled: Context) -> None:
        """What both contexts of the shard's record cover, in place of what was put before."""
        ...

    def put_collected(self, shard: str, collected: Collected) -> None: ...

    def put_lacking(self, shard: str, lacking: Lacking) -> None: ...

    def put_table_counts(self, shard: str, table: str, counts: Counts) -> None:
        """Counts of zero throughout remove the table's record."""
        ...

    def put_page(self, shard: str, page: int, content: bytes) -> None: ...

    def put_row(self, shard: str, address: bytes, row: Row, leaf: int, *, is_new: bool) -> None:
        """`is_new`: the address held no row before, so the leaf does not list it yet."""
        ...

    def delete_row(self, shard: str, address: bytes, leaf: int) -> None: ...

    def quarantine(self, shard: str, address: bytes, leaf: int, held: Quarantined) -> None:
        """Move the bytes of a row that cannot be read out of the rows, and its address out of its leaf."""
        ...

    def release(self, shard: str, address: bytes) -> None:
        """Drop a quarantined row that has been replaced."""
        ...

    def put_journal(self, shard: str, origin: ReplicaId, sequence: int, address: bytes) -> bytes | None:
        """Set the entry to this row. Returns the address of the row that it named before, if it is another one."""
        ...

    def delete_journal(self, shard: str, origin: ReplicaId, sequence: int, address: bytes) -> None:
        """Delete the entry if it names this row. It may name another row, because two rows may have the same dot."""
        ...

    def put_deadline(self, shard: str, index: str, deadline: Deadline) -> None: ...

    def delete_deadline(self, shard: str, index: str, deadline: Deadline) -> None: ...

    def commit(self) -> None:
        """Make everything durable, or nothing. Raises StorageError; the transaction has then ended."""
        ...

    def abort(self) -> None: ...


class View(Reader, Protocol):
    """A read transaction, short-lived: a long one keeps the storage from reusing pages."""

    def __enter__(self) -> View: ...

    def __exit__(self, *_: object) -> None: ...


class Storage(Protocol):
    def view(self) -> View: ...

    def begin(self) -> Transaction:
        """Start the one write transaction. Raises StorageFailedError once the volume has failed."""
        ...

    @property
    def unreadable(self) -> dict[tuple[str, bytes], str]:
        """Rows that a reader could not read, by shard and address, with the reason; some of them where there are many.
        A reader of an older state may name a row that has been replaced since. What has been dealt with is taken out by
        the thread that writes."""
        ...

    @property
    def usage(self) -> Usage:
        """How much of its room the storage uses. Raises StorageError."""
        ...

    def close(self) -> None: ...
