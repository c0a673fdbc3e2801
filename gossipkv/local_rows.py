"""Rows read from a store in this process, as clients see them."""

from __future__ import annotations

from collections.abc import Iterator

from gossipkv.api import seen_header
from gossipkv.api.readable import readable
from gossipkv.client.row import Row
from gossipkv.core.model.address import address_of, key_of
from gossipkv.core.model.row import Row as StoredRow
from gossipkv.core.store.storage import Storage, View

_PAGE_EXAMINED_ROWS_MAX = 5_000
PAGE_BYTES_MAX = 8 * 1024 * 1024
"""Maximum size of the values in a page; a single row may exceed it."""


def local_row(view: View, namespace: str, address: bytes, stored: StoredRow, now_ms: int) -> Row | None:
    """The row as a reader finds it now; None if there is none."""
    visible = readable(view, namespace, address, stored, now_ms)
    if not visible:
        return None
    values = tuple([version.value or b"" for version in visible])
    siblings = values if len(values) > 1 else ()
    return Row(key_of(address).decode(), values[0], stored.etag, seen_header.text_of(address, stored), siblings)


def local_pages(storage: Storage, namespace: str, table: str, now_ms: int) -> Iterator[list[Row]]:
    """All rows of a table in order of their keys, read in pages of bounded size. Raises StorageError."""
    first: bytes | None = address_of(table, b"")
    end = table.encode() + b"\x01"
    while first is not None:
        page: list[Row] = []
        with storage.view() as view:
            rows, first = view.rows(namespace, first, end), None
            left_bytes = PAGE_BYTES_MAX
            for examined, (address, stored) in enumerate(rows):
                if examined == _PAGE_EXAMINED_ROWS_MAX or left_bytes <= 0:
                    first = address
                    break
                left_bytes -= stored.value_bytes
                if row := local_row(view, namespace, address, stored, now_ms):
                    page.append(row)
        yield page
