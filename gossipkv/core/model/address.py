"""The address of a row inside a shard: table name, a zero byte, row key.

One `bytes` object serves as dictionary key, as storage key and as input of the fingerprint. Addresses sort by table,
then by row key. For UTF-8 that is the order of code points.
"""

from __future__ import annotations

from gossipkv.rows.arguments.limits import ROW_KEY_BYTES_MAX as ROW_KEY_BYTES_MAX
from gossipkv.rows.arguments.names import is_address as is_address
from gossipkv.rows.arguments.names import is_row_key as is_row_key
from gossipkv.rows.arguments.names import is_table_name as is_table_name

SYSTEM = "sys"
USER = "usr"
NAMESPACES = (SYSTEM, USER)
"""Each namespace is one shard today; code that replicates takes the shard as a parameter."""

MEMBERS_TABLE = "members"
TABLES_TABLE = "tables"
FORGOTTEN_TABLE = "forgotten"
RETIRED_TABLE = "retired"


def address_of(table: str, key: bytes) -> bytes:
    """Return the address of a row; checks neither table nor key."""
    return table.encode() + b"\0" + key


def table_of(address: bytes) -> str:
    """Return the table name of an address."""
    return address[: address.index(0)].decode()


def key_of(address: bytes) -> bytes:
    """Return the row key of an address."""
    return address[address.index(0) + 1 :]
