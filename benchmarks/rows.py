"""The rows that are written, sent and stored: keys in order, values of 100 bytes that differ and are plain ASCII."""

from __future__ import annotations

import json
from collections.abc import Iterator

TABLE = "bench"
VALUE_BYTES = 100
GROUP_ROWS = 1_000
"""Rows in one transaction, for every store that is measured."""


def row_key(number: int) -> bytes:
    return b"row-%08d" % number


def row_value(number: int) -> bytes:
    return (b"%010d" % number) * (VALUE_BYTES // 10)


def row_bytes() -> int:
    """A row's own size: key and value."""
    return len(row_key(0)) + VALUE_BYTES


def row_path(number: int, table: str = TABLE) -> str:
    return f"/v1/usr/tables/{table}/rows/{row_key(number).decode()}"


def groups(count: int) -> Iterator[range]:
    """The numbers of so many rows, by group."""
    for start in range(0, count, GROUP_ROWS):
        yield range(start, min(start + GROUP_ROWS, count))


def ndjson(group: range) -> bytes:
    """The lines of a batch request."""
    lines = [json.dumps({"row": row_key(n).decode(), "value": row_value(n).decode()}) + "\n" for n in group]
    return "".join(lines).encode()
