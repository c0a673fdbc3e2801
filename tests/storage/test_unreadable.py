"""Rows that cannot be read leave the others alone; records that a start needs fail with a remedy."""

from __future__ import annotations

from pathlib import Path

import msgpack
import pytest

from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Quarantined, StorageError, UnreadableRowError
from gossipkv.storage.encoding import decode_row, encode_row
from gossipkv.storage.lmdb import LmdbStorage
from tests.contracts.storages import MAP_SIZE_BYTES, addresses_in, committing, put_one_of_each, put_rows
from tests.storage.damage import UNREADABLE, opened, overwrite

A, B, C = b"t\0a", b"t\0b", b"t\0c"


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_row_that_cannot_be_read_is_named_and_left_out(tmp_path: Path, kind: str) -> None:
    storage = LmdbStorage(tmp_path, MAP_SIZE_BYTES)
    put_rows(storage, USER, A, B, C)
    storage.close()
    overwrite(tmp_path, USER, B, UNREADABLE[kind])
    storage = LmdbStorage(tmp_path, MAP_SIZE_BYTES)
    with storage.view() as view:
        assert addresses_in(view, USER) == [A, C]
        with pytest.raises(UnreadableRowError, match="cannot be read"):
            view.row(USER, B)
    assert list(storage.unreadable) == [(USER, B)]
    with committing(storage) as transaction:
        transaction.quarantine(USER, B, 7, Quarantined("damaged", Context({7: 3})))
    with storage.view() as view:
        assert view.row(USER, B) is None
        assert view.quarantined_row(USER, B) == Quarantined("damaged", Context({7: 3}))
        assert list(view.quarantined(USER)) == [(B, Quarantined("damaged", Context({7: 3})))]
        assert list(view.leaf(USER, 7)) == [A, C]
    with committing(storage) as transaction:
        transaction.release(USER, B)
    with storage.view() as view:
        assert view.quarantined_row(USER, B) is None
    storage.close()


@pytest.mark.parametrize("address", [b"garbage", b"\0", b"t\0", b"t\0" + b"\xff", b"no name\0k", b"t\0" + b"k" * 405])
def test_a_row_under_what_is_no_address_is_named_and_left_out(tmp_path: Path, address: bytes) -> None:
    storage = LmdbStorage(tmp_path, MAP_SIZE_BYTES)
    put_rows(storage, USER, A, C)
    storage.close()
    overwrite(tmp_path, USER, address, encode_row(StoredRow((Version(Dot(1, 1), 1, b"v"),), Context({1: 1}))))
    storage = LmdbStorage(tmp_path, MAP_SIZE_BYTES)
    with storage.view() as view:
        assert addresses_in(view, USER) == [A, C]
    assert list(storage.unreadable) == [(USER, address)]
    storage.close()


def test_what_version_0_1_0_acknowledged_is_read_as_its_writer_meant_it() -> None:
    text = msgpack.packb([1, 7, 3, 5 << 16, "a str, é", None])
    assert decode_row(text).winner.value == "a str, é".encode()
    beyond = msgpack.packb([1, 7, 3, 5 << 16, b"v", 2**64 - 1])
    row = decode_row(beyond)
    assert row.winner.expires_ms == 2**63 - 1
    assert decode_row(encode_row(row)) == row
    siblings = msgpack.packb([-2, 8, 1, 6, "b", None, 0, 7, 3, 5, "a", 2**63, 0, 7, 3, 8, 1])
    assert [version.value for version in decode_row(siblings).versions] == [b"b", b"a"]


RECORDS = [
    ("meta", b"usr\0record", b"\xc1"),
    ("meta", b"usr\0record", msgpack.packb([1, 7])),
    ("meta", b"usr\0record", msgpack.packb([1, 7, "3"])),
    ("meta", b"usr\0record", msgpack.packb([1, 7, -3])),
    ("meta", b"usr\0collected", msgpack.packb(["now", True])),
    ("meta", b"usr\0collected", b"\x93"),
    ("meta", b"identity", msgpack.packb([1, 2, 3, 4])),
    ("meta", b"identity", b"garbage"),
    ("meta", b"format", b"three"),
    ("counts", b"usr\0table", msgpack.packb([1, 2])),
    ("counts", b"usr\0table", msgpack.packb(["1", 2, 3])),
    ("counts", b"usr\0\xff", msgpack.packb([1, 2, 3])),
    ("pages", b"usr\0\x00\x01", b"short"),
    ("pages", b"usr\0\xff\xff", b"\0" * 1024),
    ("pages", b"usr\0\x00", b"\0" * 1024),
]


@pytest.mark.parametrize(("database", "key", "content"), RECORDS)
def test_a_damaged_record_that_a_start_needs_fails_with_a_remedy(
    tmp_path: Path, database: str, key: bytes, content: bytes
) -> None:
    storage = LmdbStorage(tmp_path, MAP_SIZE_BYTES)
    with committing(storage) as transaction:
        put_one_of_each(transaction)
    storage.close()
    with opened(tmp_path, database) as changed:
        changed.put(key, content)
    with pytest.raises(StorageError, match="move the directory away"):
        _start(tmp_path)


def _start(path: Path) -> None:
    storage = LmdbStorage(path, MAP_SIZE_BYTES)
    try:
        with storage.view() as view:
            view.identity()
            Shard.load(view, USER)
    finally:
        storage.close()
