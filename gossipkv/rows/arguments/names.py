"""Names of tables, keys of rows, and the names of members.

A table name is 1 to 64 letters, digits, `_`, `.` and `-` of ASCII. A row key is text of 1 to 400 bytes in UTF-8: any
character may occur in it, except for half of a surrogate pair, which is not valid text.
"""

from __future__ import annotations

import re

from gossipkv.rows.arguments.invalid import InvalidInputError, shown
from gossipkv.rows.arguments.limits import NAME_BYTES_MAX, ROW_KEY_BYTES_MAX

TABLE_NAME_PATTERN = "[A-Za-z0-9_.-]{1,64}"

_TABLE_NAME = re.compile(TABLE_NAME_PATTERN)
_TABLE_NAME_BYTES = re.compile(TABLE_NAME_PATTERN.encode())
_ASCII_ADDRESS = re.compile(rb"%b\0[\x00-\x7f]{1,%d}" % (TABLE_NAME_PATTERN.encode(), ROW_KEY_BYTES_MAX))


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
    """Whether the bytes are a table name, a zero byte and a row key."""
    if _ASCII_ADDRESS.fullmatch(address) is not None:
        return True
    table, separator, key = address.partition(b"\0")
    return bool(separator) and _TABLE_NAME_BYTES.fullmatch(table) is not None and is_row_key(key)


def table_name(table: object) -> str:
    """The name, if it is one. Raises InvalidInputError."""
    if not isinstance(table, str) or not is_table_name(table):
        raise InvalidInputError("table", "is a table name: 1 to 64 letters, digits, `_`, `.` and `-` of ASCII")
    return table


def row_key(row: object) -> bytes:
    """The bytes of a key that is given as text. Raises InvalidInputError."""
    return checked_row_key(_encoded("row", row))


def checked_row_key(key: bytes) -> bytes:
    """The key, which is UTF-8 already, if it is of an allowed length. Raises InvalidInputError."""
    if not 1 <= len(key) <= ROW_KEY_BYTES_MAX:
        raise InvalidInputError(
            "row", f"is a row key, which is 1 to {ROW_KEY_BYTES_MAX} bytes of UTF-8; this one is {len(key)} bytes"
        )
    return key


def key_bound(name: str, text: object) -> bytes:
    """The bytes of a prefix, or of a key that a listing begins or ends at. Raises InvalidInputError."""
    bound = _encoded(name, text)
    if len(bound) > ROW_KEY_BYTES_MAX:
        raise InvalidInputError(name, f"is at most {ROW_KEY_BYTES_MAX} bytes of UTF-8, this one is {len(bound)} bytes")
    return bound


def namespace_text(namespace: object) -> str:
    """The text, if a path can carry it as a namespace, whether there is such a one or not. Raises InvalidInputError."""
    return key_bound("namespace", namespace).decode()


def name_text(name: str, text: object, bytes_max: int = NAME_BYTES_MAX) -> str:
    """The text, if a message can carry it as a name. Raises InvalidInputError."""
    if not 1 <= len(_encoded(name, text)) <= bytes_max:
        raise InvalidInputError(name, f"is 1 to {bytes_max} bytes of UTF-8")
    assert isinstance(text, str), "it has been encoded"
    return text


def _encoded(name: str, text: object) -> bytes:
    if not isinstance(text, str):
        raise InvalidInputError(name, f"is text, not {shown(text)}")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(name, "holds half of a surrogate pair, so it is not valid text") from None
