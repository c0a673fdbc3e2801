"""Rows read from a store in this process, as clients see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gossipkv.core.model.address import key_of
from gossipkv.core.model.row import StoredRow
from gossipkv.core.store.storage import View
from gossipkv.rows.row import Row
from gossipkv.rows.view import context_token
from gossipkv.rows.view.key_range import KeyRange
from gossipkv.rows.view.visibility import readable

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
    return Row(key_of(address).decode(), values[0], stored.etag, context_token.text_of(address, stored), siblings)


def _listed_row(
    view: View, namespace: str, address: bytes, stored: StoredRow, now_ms: int, keys_only: bool
) -> Row | None:
    """The row as listings have it: with a context only beside siblings."""
    visible = readable(view, namespace, address, stored, now_ms)
    if not visible:
        return None
    key = key_of(address).decode()
    if keys_only:
        return Row(key, None, stored.etag)
    if len(visible) > 1:
        return local_row(view, namespace, address, stored, now_ms)
    return Row(key, visible[0].value or b"", stored.etag)


def local_pages(
    open_view: Callable[[], View],
    namespace: str,
    keys: KeyRange,
    now_ms: Callable[[], int],
    *,
    rows_max: int = _PAGE_EXAMINED_ROWS_MAX,
    keys_only: bool = False,
) -> Iterator[list[Row]]:
    """The rows in order of their keys, in pages of bounded size; a page may be empty. No view is open between two
    pages. Raises StorageError."""
    first: bytes | None = keys.first
    while first is not None:
        page: list[Row] = []
        with open_view() as view:
            rows, first = view.rows(namespace, first, keys.end), None
            left_bytes = PAGE_BYTES_MAX
            for examined, (address, stored) in enumerate(rows):
                if len(page) == rows_max or examined == _PAGE_EXAMINED_ROWS_MAX or left_bytes <= 0:
                    first = address
                    break
                left_bytes -= stored.value_bytes
                if row := _listed_row(view, namespace, address, stored, now_ms(), keys_only):
                    page.append(row)
        yield page
