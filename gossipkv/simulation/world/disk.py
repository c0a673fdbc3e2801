"""The volume of a simulated member: storage in memory that shows every commit to the checkers and fails on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.lacking import Lacking
from gossipkv.core.model.row import StoredRow
from gossipkv.core.store.storage import Identity, ShardRecord, StorageFullError, UnreadableRowError
from gossipkv.storage.memory import MemoryStorage, MemoryTransaction

SPOILED = "its bytes cannot be decoded"


class UncommittedPut(NamedTuple):
    """A row that a transaction wrote or removed."""

    shard: str
    address: bytes
    row: StoredRow | None
    """The new row; None if the row was removed."""


class Commit(NamedTuple):
    """The changes of a transaction, as it becomes durable."""

    disk: Disk
    puts: list[UncommittedPut]
    """All puts, in order. A row may be written more than once."""
    before: dict[tuple[str, bytes], StoredRow | None]
    """The committed copies of the rows that were written."""
    advanced: dict[str, tuple[Context, Context]]
    """The contexts before and after, for each shard with a new record."""
    recalled: list[tuple[str, bytes]]
    """The shards and addresses of rows that were lacking and no longer are."""


class DiskTransaction(MemoryTransaction):
    """A transaction that records its changes, and shows them when they are committed."""

    __slots__ = ("_before", "_disk", "_identity", "_lacking", "_puts", "_recorded")

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk, disk.revision + 1)
        self._disk = disk
        self._puts: list[UncommittedPut] = []
        self._before: dict[tuple[str, bytes], StoredRow | None] = {}
        self._lacking: dict[str, Lacking] = {}
        self._recorded: dict[str, None] = {}
        """The shards with a new record."""
        self._identity: Identity | None = None

    def _put(self, name: tuple[str, str], key: Any, value: Any) -> None:
        self._disk.take_room()
        super()._put(name, key, value)

    def put_identity(self, identity: Identity) -> None:
        """Store the identity. The replica id of the disk follows at the commit."""
        super().put_identity(identity)
        self._identity = identity

    def put_shard_record(self, shard: str, record: ShardRecord) -> None:
        """Store the record, and note that the context of the shard may advance."""
        super().put_shard_record(shard, record)
        self._recorded[shard] = None

    def put_settled(self, shard: str, settled: Context) -> None:
        """Store the settled entries, and note that the context of the shard may advance."""
        super().put_settled(shard, settled)
        self._recorded[shard] = None

    def put_lacking(self, shard: str, lacking: Lacking) -> None:
        """Store the lacking rows. The commit reports the rows that are no longer among them."""
        super().put_lacking(shard, lacking)
        self._lacking[shard] = dict(lacking)

    def put_row(self, shard: str, address: bytes, row: StoredRow, leaf: int, *, is_new: bool) -> None:
        """Store a row, and record it and the copy before."""
        if (shard, address) not in self._before:
            self._before[shard, address] = self.row(shard, address)
        super().put_row(shard, address, row, leaf, is_new=is_new)
        self._puts.append(UncommittedPut(shard, address, row))

    def delete_row(self, shard: str, address: bytes, leaf: int) -> None:
        """Delete a row, and record this and the copy before."""
        if (shard, address) not in self._before:
            self._before[shard, address] = self.row(shard, address)
        super().delete_row(shard, address, leaf)
        self._puts.append(UncommittedPut(shard, address, None))

    def commit(self) -> None:
        """Commit, then show the changes to the checkers. Raises StorageError, and ViolationError if a checker
        objects."""
        records = {shard: self.shard_record(shard) for shard in self._recorded}
        disk = self._disk
        recalled = [
            (shard, address)
            for shard, lacking in self._lacking.items()
            for address in disk.lacking_of(shard)
            if address not in lacking
        ]
        super().commit()
        if self._identity is not None:
            disk.replica = self._identity.replica
        advanced = {}
        for shard, record in records.items():
            assert record is not None, "it has been put"
            advanced[shard] = (disk.context(shard), record.context)
            disk.contexts[shard] = record.context
        disk.show(Commit(disk, self._puts, self._before, advanced, recalled))


class Disk(MemoryStorage):
    """The disk of one member. `show` gets each commit."""

    def __init__(self, member: str, show: Callable[[Commit], None]) -> None:
        super().__init__()
        self.member = member
        self.show = show
        self.replica: ReplicaId = 0
        self.contexts: dict[str, Context] = {}
        """The committed contexts, by shard."""
        self._puts_left: int | None = None
        self.is_full = False
        """Whether every put fails."""

    def copied(self) -> Disk:
        """Return a copy of this disk with its committed data."""
        copied = Disk(self.member, self.show)
        copied.restore(self)
        copied.replica = self.replica
        copied.contexts = {shard: Context(context) for shard, context in self.contexts.items()}
        return copied

    def begin(self) -> DiskTransaction:
        """Start the write transaction. It must be ended before the next one."""
        super().begin()
        self._transaction = transaction = DiskTransaction(self)
        return transaction

    def context(self, shard: str) -> Context:
        """Return the committed context of a shard. The caller must not change it."""
        return self.contexts.get(shard, Context())

    def lacking_of(self, shard: str) -> Lacking:
        """Return the rows that are committed as lacking."""
        with self.view() as view:
            return view.lacking(shard)

    def committed_row(self, shard: str, address: bytes) -> StoredRow | None:
        """Return the committed row; None if there is none, or if it cannot be read."""
        with self.view() as view:
            try:
                return view.row(shard, address)
            except UnreadableRowError:
                return None

    def is_missing(self, shard: str, address: bytes) -> bool:
        """Return whether the row cannot be read, or a part of what was committed of it may not be here."""
        with self.view() as view:
            is_met = (shard, address) in self.unreadable
            return is_met or view.quarantined_row(shard, address) is not None or address in view.lacking(shard)

    def spoil(self, shard: str, address: bytes) -> None:
        """Make a row unreadable from now on. A reader meets it at once."""
        self.damage(shard, address, SPOILED)
        self.unreadable[shard, address] = SPOILED

    def run_short(self, used_share: float) -> None:
        """Report this share of the disk as used, until `calm`."""
        self.usage = self.usage._replace(used_bytes=int(used_share * self.usage.capacity_bytes))

    def calm(self) -> None:
        """Report that there is room again."""
        self.is_full = False
        self._puts_left = None
        self.run_short(0)

    def settled(self, shard: str) -> Context:
        """Return the committed settled entries of a shard."""
        with self.view() as view:
            return view.settled(shard)

    def run_full_after(self, puts: int) -> None:
        """Let one put fail in the middle of a transaction, after this many puts. A map can fill up there as well as at
        a commit."""
        self._puts_left = puts

    def take_room(self) -> None:
        """Count a put against the room. Only transactions of this disk call this. Raises StorageFullError."""
        if self.is_full:
            raise StorageFullError("the volume is full")
        if self._puts_left is not None:
            self._puts_left -= 1
            if self._puts_left < 0:
                self._puts_left = None
                raise StorageFullError("the map is full")
