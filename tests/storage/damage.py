"""Rows and records of a closed store, made unreadable byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import msgpack

UNREADABLE: dict[str, bytes] = {
    "garbage": b"\xc1garbage",
    "nothing": b"",
    "a row cut short": msgpack.packb([1, 7, 3, 5 << 16, b"value", None])[:-4],
    "a number": msgpack.packb(7),
    "a mapping": msgpack.packb({"versions": 1}),
    "no versions": msgpack.packb([0]),
    "more versions than there are": msgpack.packb([10**9, 7, 3, 5 << 16, b"value", None]),
    "a value that is a list": msgpack.packb([1, 7, 3, 5 << 16, ["value"], None]),
    "a value that is a number": msgpack.packb([1, 7, 3, 5 << 16, 1.5, None]),
    "a replica that is text": msgpack.packb([1, "seven", 3, 5 << 16, b"value", None]),
    "a sequence of zero": msgpack.packb([1, 7, 0, 5 << 16, b"value", None]),
    "a sequence beyond all": msgpack.packb([1, 7, 2**63, 5 << 16, b"value", None]),
    "a negative timestamp": msgpack.packb([1, 7, 3, -5, b"value", None]),
    "a timestamp that is no number": msgpack.packb([1, 7, 3, float("nan"), b"value", None]),
    "a negative expiry": msgpack.packb([1, 7, 3, 5 << 16, b"value", -1]),
    "an expiry that is text": msgpack.packb([1, 7, 3, 5 << 16, b"value", "soon"]),
    "versions out of order": msgpack.packb([-2, 7, 3, 5, b"a", None, 0, 8, 1, 6, b"b", None, 0, 7, 3, 8, 1]),
    "a version twice": msgpack.packb([-2, 7, 3, 5, b"a", None, 0, 7, 3, 5, b"a", None, 0, 7, 3]),
    "a context that does not cover its dot": msgpack.packb([1, 7, 3, 5 << 16, b"value", None, 7, 2]),
    "a context of another replica": msgpack.packb([1, 7, 3, 5 << 16, b"value", None, 8, 3]),
    "half of a context": msgpack.packb([1, 7, 3, 5 << 16, b"value", None, 7]),
    "a version that outranks itself": msgpack.packb([-1, 7, 3, 5, b"a", None, 5, 7, 3]),
}


@contextmanager
def opened(path: Path, database: str) -> Iterator[Any]:
    """A transaction on one database of the store, and the database as its default."""
    environment = lmdb.open(str(path), max_dbs=16, map_size=64 * 2**20)
    try:
        handle = environment.open_db(database.encode())
        with environment.begin(write=True, db=handle) as transaction:
            yield transaction
    finally:
        environment.close()


def overwrite(path: Path, shard: str, address: bytes, content: bytes, database: str = "rows") -> None:
    with opened(path, database) as transaction:
        assert transaction.put(shard.encode() + b"\0" + address, content)
