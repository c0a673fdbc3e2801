"""The address of a row inside a shard: table name, a zero byte, row key.

One `bytes` object serves as dictionary key, as storage key and as input of the fingerprint. Addresses sort by table,
then by row key, which for UTF-8 is the order of code points.
"""

from __future__ import annotations

import re

SYSTEM = "sys"
USER = "usr"
NAMESPACES = (SYSTEM, USER)
"""Each namespace is one shard today; code that replicates takes the shard as a parameter."""

MEMBERS_TABLE = "members"
TABLES_TABLE = "tables"
FORGOTTEN_TABLE = "forgotten"

ROW_KEY_BYTES_MAX = 400
"""Bounded by LMDB's 511-byte keys, which also hold the shard, the table and the leaf."""

_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TABLE_NAME_BYTES = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


def is_table_name(table: str) -> bool:
    return _TABLE_NAME.fullmatch(table) is not None


def is_row_key(key: bytes) -> bool:
    """Whether the key is 1 to 400 bytes of UTF-8."""
    if not 1 <= len(key) <= ROW_KEY_BYTES_MAX:
        return False
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_address(address: bytes) -> bool:
    table, separator, key = address.partition(b"\0")
    return bool(separator) and _TABLE_NAME_BYTES.fullmatch(table) is not None and is_row_key(key)


def address_of(table: str, key: bytes) -> bytes:
    return table.encode() + b"\0" + key


def table_of(address: bytes) -> str:
    return address[: address.index(0)].decode()


def key_of(address: bytes) -> bytes:
    return address[address.index(0) + 1 :]
