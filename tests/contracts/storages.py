"""Storages under test, and what the tests do with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.collected import Collected, Proof
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.store.storage import (
    EXPIRIES,
    FIRST_DEADLINE,
    TOMBSTONES,
    Counts,
    Deadline,
    Identity,
    Reader,
    ShardRecord,
    Storage,
    Transaction,
)
from gossipkv.storage.lmdb import LmdbStorage
from gossipkv.storage.memory import MemoryStorage

A = 0x8000_0000_0000_0001
B = 0xFFFF_FFFF_FFFF_FFFF
MAP_SIZE_BYTES = 64 * 2**20


class Process:
    """A storage in use by a process that can die and start again."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.storage = self._opened()

    def _opened(self) -> Storage:
        return MemoryStorage() if self._path is None else LmdbStorage(self._path, MAP_SIZE_BYTES)

    def dies_and_starts(self) -> None:
        if isinstance(self.storage, MemoryStorage):
            self.storage.crash()
        else:
            self.storage.close()
            self.storage = self._opened()


@contextmanager
def committing(storage: Storage) -> Iterator[Transaction]:
    transaction = storage.begin()
    yield transaction
    transaction.commit()


def row(sequence: int = 1, value: bytes | None = b"value", expires_ms: int | None = None) -> StoredRow:
    return StoredRow((Version(Dot(A, sequence), sequence << 16, value, expires_ms),), Context({A: sequence}))


def put_rows(storage: Storage, shard: str, *addresses: bytes, leaf: int = 7) -> None:
    with committing(storage) as transaction:
        for address in addresses:
            transaction.put_row(shard, address, row(), leaf, is_new=True)


def addresses_in(
    reader: Reader, shard: str, start: bytes = b"", end: bytes = b"\xff", *, reverse: bool = False
) -> list[bytes]:
    return [address for address, _ in reader.rows(shard, start, end, reverse=reverse)]


def everything(reader: Reader) -> dict[str, object]:
    """All that a storage holds for the shards and origins of these tests."""
    held: dict[str, object] = {"identity": reader.identity()}
    for shard in ("sys", "usr"):
        held[shard] = {
            "record": reader.shard_record(shard),
            "settled": reader.settled(shard),
            "counts": list(reader.table_counts(shard).items()),
            "pages": list(reader.pages(shard)),
            "rows": list(reader.rows(shard, b"", b"\xff")),
            "journal": {
                (origin, is_reverse): list(reader.journal(shard, origin, 0, reverse=is_reverse))
                for origin in (1, A, B)
                for is_reverse in (False, True)
            },
            "collected": reader.collected(shard),
            "expiries": list(reader.deadlines(shard, EXPIRIES, FIRST_DEADLINE, 100)),
            "tombstones": list(reader.deadlines(shard, TOMBSTONES, FIRST_DEADLINE, 100)),
            "heads": list(reader.journal_heads(shard).items()),
            "leaves": {leaf: list(reader.leaf(shard, leaf)) for leaf in (0, 7, 8, 65_535)},
        }
    return held


def put_one_of_each(transaction: Transaction) -> None:
    transaction.put_identity(Identity("cluster", "gossipkv-0", A, 3))
    transaction.put_shard_record("usr", ShardRecord(Context({A: 5, B: 9}), Context({B: 2})))
    transaction.put_settled("sys", Context({1: 6}))
    transaction.put_table_counts("usr", "table", Counts(1, 2, 3))
    transaction.put_page("usr", 1023, b"\x01" * 1024)
    transaction.put_row("usr", b"table\0key", row(), 65_535, is_new=True)
    transaction.put_journal("usr", A, 1, b"table\0key")
    proof = Proof(Context({A: 4}), frozenset({B}), frozenset({A, B}))
    transaction.put_collected("usr", Collected((proof,), 7 << 16, (B,)))
    transaction.put_deadline("usr", EXPIRIES, Deadline(9, b"table\0key"))
    transaction.put_deadline("usr", TOMBSTONES, Deadline(8, b"table\0gone"))


BESIDE = StoredRow(
    (Version(Dot(B, 2), 9 << 16, b"one", 5, 3), Version(Dot(A, 1), 8 << 16, None, None, 0)), Context({A: 1, B: 2})
)
SIBLINGS = StoredRow(
    (
        Version(Dot(B, 2**63 - 1), 2**64 - 1, b"\x00\xff", 2**63 - 1),
        Version(Dot(A, 3), 5 << 16, None, None),
        Version(Dot(A, 2), 4 << 16, b"", 1),
    ),
    Context({A: 3, B: 2**63 - 1, 1: 0, 77: 12}),
)
