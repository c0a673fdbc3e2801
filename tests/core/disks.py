"""Stores over storage in memory, without the conversations that a replica has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.protocol.messages import Range, RowCopy
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Transaction
from gossipkv.core.store.store import Intake, Store
from gossipkv.storage.memory import MemoryStorage

NOW_MS = 1_700_000_000_000
SKEW_MS_MAX = 600_000
TABLE = "table"


def at(key: str) -> bytes:
    return address_of(TABLE, key.encode())


class Disk:
    """A store and the storage under it; every call is a transaction of its own."""

    def __init__(self, replica: ReplicaId, *, knows_settings: bool = True) -> None:
        self.knows_settings = knows_settings
        self.storage = MemoryStorage()
        self.store = Store(replica, SKEW_MS_MAX)
        self.load()

    def load(self) -> None:
        with self.storage.view() as view:
            self.store.load(view)
        self.store.knows_settings = self.knows_settings

    @property
    def shard(self) -> Shard:
        return self.store.shards[USER]

    @contextmanager
    def committing(self) -> Iterator[Transaction]:
        transaction = self.storage.begin()
        yield transaction
        self.store.save(transaction)
        transaction.commit()

    def do(self, operation: Operation, now_ms: int = NOW_MS) -> Result:
        with self.committing() as transaction:
            return self.store.write(transaction, USER, operation, now_ms)

    def put(self, key: str, value: bytes = b"value", now_ms: int = NOW_MS) -> Result:
        return self.do(Operation(at(key), value), now_ms)

    def delete(self, key: str, now_ms: int = NOW_MS) -> Result:
        return self.do(Operation(at(key), None), now_ms)

    def take_in(self, copies: Iterable[RowCopy], now_ms: int = NOW_MS) -> Intake:
        with self.committing() as transaction:
            return self.store.take_in(transaction, USER, copies, now_ms)

    def cover(self, ranges: dict[ReplicaId, Range], intake: Intake) -> list[ReplicaId]:
        with self.committing():
            return self.store.cover(USER, ranges, intake)

    def rows(self) -> dict[bytes, StoredRow]:
        with self.storage.view() as view:
            return dict(view.rows(USER, b"", b"\xff"))

    def copies(self) -> list[RowCopy]:
        return [RowCopy(address, row) for address, row in self.rows().items()]

    def journal(self) -> set[tuple[ReplicaId, int, bytes]]:
        with self.storage.view() as view:
            return {
                (origin, sequence, address)
                for origin in view.journal_heads(USER)
                for sequence, address in view.journal(USER, origin, 0)
            }

    def holds_all_of(self, rows: dict[bytes, StoredRow]) -> bool:
        """Whether each row is held, or what superseded it."""
        held = self.rows()
        return all(
            address in held
            and held[address].winner.rank >= row.winner.rank
            and held[address].context.covers(row.winner.dot)
            for address, row in rows.items()
        )


def values(disk: Disk) -> dict[bytes, bytes | None]:
    return {address: row.winner.value for address, row in disk.rows().items()}
