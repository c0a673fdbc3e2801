"""The volume of a simulated member: storage in memory that shows every commit to the checkers and fails on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.lacking import Lacking
from gossipkv.core.model.row import Row
from gossipkv.core.store.storage import Identity, ShardRecord, StorageFullError, UnreadableRowError
from gossipkv.storage.memory import MemoryStorage, MemoryTransaction

SPOILED = "its bytes cannot be decoded"


class Put(NamedTuple):
    shard: str
    address: bytes
    row: Row | None
    """None: removed."""


class Commit(NamedTuple):
    """What a transaction changed, as it becomes durable."""

    disk: Disk
    puts: list[Put]
    """All puts, in order; a row may be written more than once."""
    before: dict[tuple[str, bytes], Row | None]
    """The committed copies of the rows that were written."""
    advanced: dict[str, tuple[Context, Context]]
    """Per shard with a new record, the context before and after."""
    recalled: list[tuple[str, bytes]]
    """Shards and addresses of rows that were lacking and are no longer."""


class DiskTransaction(MemoryTransaction):
    __slots__ = ("_before", "_disk", "_identity", "_lacking", "_puts", "_recorded")

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk, disk.revision + 1)
        self._disk = disk
        self._puts: list[Put] = []
        self._before: dict[tuple[str, bytes], Row | None] = {}
        self._lacking: dict[str, Lacking] = {}
        self._recorded: dict[str, None] = {}
        """Shards with a new record."""
        self._identity: Identity | None = None

    def _put(self, name: tuple[str, str], key: Any, value: Any) -> None:
        self._disk.take_room()
        super()._put(name, key, value)

    def put_identity(self, identity: Identity) -> None:
        super().put_identity(identity)
        self._identity = identity

    def put_shard_record(self, shard: str, record: ShardRecord) -> None:
        super().put_shard_record(shard, record)
        self._recorded[shard] = None

    def put_settled(self, shard: str, settled: Context) -> None:
        super().put_settled(shard, settled)
        self._recorded[shard] = None

    def put_lacking(self, shard: str, lacking: Lacking) -> None:
        super().put_lacking(shard, lacking)
        self._lacking[shard] = dict(lacking)

    def put_row(self, shard: str, address: bytes, row: Row, leaf: int, *, is_new: bool) -> None:
        if (shard, address) not in self._before:
            self._before[shard, address] = self.row(shard, address)
        super().put_row(shard, address, row, leaf, is_new=is_new)
        self._puts.append(Put(shard, address, row))

    def delete_row(self, shard: str, address: bytes, leaf: int) -> None:
        if (shard, address) not in self._before:
            self._before[shard, address] = self.row(shard, address)
        super().delete_row(shard, address, leaf)
        self._puts.append(Put(shard, address, None))

    def commit(self) -> None:
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
    def __init__(self, member: str, show: Callable[[Commit], None]) -> None:
        super().__init__()
        self.member = member
        self.show = show
        self.replica: ReplicaId = 0
        self.contexts: dict[str, Context] = {}
        """As committed, per shard."""
        self._puts_left: int | None = None
        self.is_full = False
        """Whether every put fails."""

    def copied(self) -> Disk:
        """A copy of this disk with its committed data."""
        copied = Disk(self.member, self.show)
        copied.restore(self)
        copied.replica = self.replica
        copied.contexts = {shard: Context(context) for shard, context in self.contexts.items()}
        return copied

    def begin(self) -> DiskTransaction:
        super().begin()
        self._transaction = transaction = DiskTransaction(self)
        return transaction

    def context(self, shard: str) -> Context:
        return self.contexts.get(shard, Context())

    def lacking_of(self, shard: str) -> Lacking:
        with self.view() as view:
            return view.lacking(shard)

    def committed_row(self, shard: str, address: bytes) -> Row | None:
        """None as well for a row that cannot be read."""
        with self.view() as view:
            try:
                return view.row(shard, address)
            except UnreadableRowError:
                return None

    def is_missing(self, shard: str, address: bytes) -> bool:
        """Whether the row cannot be read, or all that was committed of it may not be here."""
        with self.view() as view:
            is_met = (shard, address) in self.unreadable
            return is_met or view.quarantined_row(shard, address) is not None or address in view.lacking(shard)

    def spoil(self, shard: str, address: bytes) -> None:
        """Let a row be unreadable from now on. A reader meets it at once."""
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
        with self.view() as view:
            return view.settled(shard)

    def run_full_after(self, puts: int) -> None:
        """Let one put fail in the middle of a transaction: a map can fill up there as well as at commit."""
        self._puts_left = puts

    def take_room(self) -> None:
        """Called by transactions of this disk. Raises StorageFullError."""
        if self.is_full:
            raise StorageFullError("the volume is full")
        if self._puts_left is not None:
            self._puts_left -= 1
            if self._puts_left < 0:
                self._puts_left = None
                raise StorageFullError("the map is full")
