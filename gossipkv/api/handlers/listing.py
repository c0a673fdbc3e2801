"""The rows of a table, in pages, in the order of their keys' UTF-8 bytes.

A page is read in one short view, and bounded in three ways: by rows, by bytes, and by the rows and values examined,
because a table may hold many deleted rows and few others. A page of large rows is cut short; a page holds at least one
row, however large. The cursor names the last row examined, and stays valid when rows are written between two pages.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

from aiohttp import web

from gossipkv.api.answers.json_rows import json_key, json_row, json_siblings, json_text
from gossipkv.api.options import ApiOptions
from gossipkv.api.problem import ProblemError
from gossipkv.api.requests.target import Parameters, Target, namespace_of, table_of
from gossipkv.core.model.address import address_of, is_address, key_of
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.store.storage import View
from gossipkv.member.node import MemberNode
from gossipkv.rows.arguments.limits import PAGE_ROWS_MAX
from gossipkv.rows.arguments.names import key_bound
from gossipkv.rows.view.context_token import text_of
from gossipkv.rows.view.key_range import KeyRange, key_range
from gossipkv.rows.view.visibility import readable

PARAMETERS = frozenset({"prefix", "start", "end", "limit", "cursor", "keys_only"})
NDJSON = "application/x-ndjson"
NEXT_CURSOR = "Gossipkv-Next-Cursor"


class Query(NamedTuple):
    namespace: str
    keys: KeyRange
    rows_max: int
    keys_only: bool


class Page(NamedTuple):
    items: list[str]
    """Rows as JSON."""
    last: bytes | None
    """The address after which the next page begins; None on the last page."""


class Listing:
    def __init__(self, node: MemberNode, options: ApiOptions) -> None:
        self._node = node
        self._options = options

    async def get(self, request: web.BaseRequest, target: Target, parameters: Parameters) -> web.Response:
        query = self._query(target, parameters)
        with self._node.view() as view:
            page = self._page(view, query)
        cursor = None if page.last is None else cursor_of(query.namespace, page.last)
        if NDJSON in request.headers.get("Accept", ""):
            body = "".join(f"{item}\n" for item in page.items)
            headers = {"Content-Type": NDJSON} | ({NEXT_CURSOR: cursor} if cursor else {})
            return web.Response(body=body.encode(), headers=headers)
        body = f'{{"items":[{",".join(page.items)}],"next_cursor":{json_text(cursor)}}}'
        return web.Response(body=body.encode(), headers={"Content-Type": "application/json"})

    def _query(self, target: Target, parameters: Parameters) -> Query:
        namespace = namespace_of(target)
        table = table_of(target)
        keys = key_range(table, *[key_parameter(name, parameters) for name in ("prefix", "start", "end")])
        if cursor := parameters.get("cursor"):
            keys = KeyRange(max(keys.first, _address_of_cursor(cursor, namespace, table) + b"\0"), keys.end)
        keys_only = parameters.get("keys_only", "false")
        if keys_only not in ("true", "false"):
            raise ProblemError("invalid-parameter", "`keys_only` is `true` or `false`", parameter="keys_only")
        return Query(namespace, keys, self._limit(parameters), keys_only == "true")

    def _limit(self, parameters: Parameters) -> int:
        text = parameters.get("limit")
        if text is None:
            return self._options.page_rows_default
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= PAGE_ROWS_MAX):
            raise ProblemError("invalid-parameter", f"`limit` is a number from 1 to {PAGE_ROWS_MAX}", parameter="limit")
        return min(int(text), self._options.page_rows_max)

    def _page(self, view: View, query: Query) -> Page:
        now_ms = self._node.now_ms()
        rows = view.rows(query.namespace, *query.keys)
        items: list[str] = []
        left_bytes = self._options.page_bytes_max
        left_examined_bytes = self._options.page_examined_bytes_max
        last = None
        for examined, (address, row) in enumerate(rows):
            has_looked_enough = left_examined_bytes <= 0 or examined == self._options.page_examined_rows_max
            if has_looked_enough or len(items) == query.rows_max:
                return Page(items, last)
            left_examined_bytes -= row.value_bytes
            if visible := readable(view, query.namespace, address, row, now_ms):
                item = _json_item(address, row, visible, query.keys_only)
                left_bytes -= len(item.encode())
                if left_bytes < 0 and items:
                    return Page(items, last)
                items.append(item)
            last = address
        return Page(items, None)


def cursor_of(namespace: str, address: bytes) -> str:
    return urlsafe_b64encode(namespace.encode() + b"\0" + address).rstrip(b"=").decode()


def _address_of_cursor(cursor: str, namespace: str, table: str) -> bytes:
    """The address that a cursor of this table names."""
    try:
        named = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        named = b""
    prefix = namespace.encode() + b"\0"
    address = named.removeprefix(prefix)
    is_ours = named.startswith(prefix + address_of(table, b"")) and cursor_of(namespace, address) == cursor
    if not is_ours or not is_address(address):
        raise ProblemError("invalid-parameter", "`cursor` is not from a listing of this table", parameter="cursor")
    return address


def key_parameter(name: str, parameters: Parameters) -> bytes:
    """A bound on keys; if empty or absent, there is no bound."""
    return key_bound(name, parameters.get(name, ""))


def _json_item(address: bytes, row: StoredRow, visible: tuple[Version, ...], keys_only: bool) -> str:
    """A row as JSON. `value` is the winner's. A row with several values also has all of them, and their context."""
    if keys_only:
        return json_key(key_of(address), row.etag)
    item = json_row(key_of(address), visible[0].value or b"", row.etag)
    if len(visible) == 1:
        return item
    return f'{item[:-1]},"siblings":{json_siblings(visible)},"context":"{text_of(address, row)}"}}'
