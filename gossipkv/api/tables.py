"""Tables: their counts and settings.

A table is there when it has rows or settings; rows make it as they are put. Settings live in `sys.tables`, a row per
table of `usr`, and replicate like everything else.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from gossipkv.api.body import read_body
from gossipkv.api.json_rows import json_text
from gossipkv.api.options import ApiOptions
from gossipkv.api.problem import ProblemError
from gossipkv.api.target import Parameters, Target, namespace_of, table_of
from gossipkv.core.address import SYSTEM, TABLES_TABLE, USER, address_of, key_of
from gossipkv.core.row import Conflicts
from gossipkv.core.storage import Counts, View
from gossipkv.core.write import Operation, Written
from gossipkv.node import Node

DEFAULTS = {"conflicts": Conflicts.LAST_WRITE_WINS.value}


class Tables:
    def __init__(self, node: Node, options: ApiOptions) -> None:
        self._node = node
        self._options = options

    async def get_all(self, _: web.BaseRequest, target: Target, __: Parameters) -> web.Response:
        namespace = namespace_of(target)
        with self._node.view() as view:
            counts = {table: held for table, held in view.table_counts(namespace).items() if held.rows}
            settings = _all_settings(view) if namespace == USER else {}
        items = [
            _described(table, counts.get(table, Counts()), settings.get(table, DEFAULTS))
            for table in sorted(counts.keys() | settings.keys())
        ]
        return _json_response({"items": items, "next_cursor": None})

    async def get(self, _: web.BaseRequest, target: Target, __: Parameters) -> web.Response:
        namespace = namespace_of(target)
        table = table_of(target)
        with self._node.view() as view:
            counts = view.table_counts(namespace).get(table, Counts())
            settings = _settings(view, table) if namespace == USER else None
        if not counts.rows and settings is None:
            raise ProblemError("table-not-found", "the table has neither rows nor settings; the first row put makes it")
        return _json_response(_described(table, counts, settings or DEFAULTS))

    async def put(self, request: web.BaseRequest, target: Target, _: Parameters) -> web.Response:
        """Set the table's settings; those not given return to their defaults."""
        namespace_of(target, for_writing=True)
        table = table_of(target)
        options = self._options
        body = await read_body(request, options.settings_bytes_max, options.body_timeout_seconds, "body-too-large")
        settings = json_text(_checked_settings(body)).encode()
        operation = Operation(address_of(TABLES_TABLE, table.encode()), settings)
        result = (await self._node.write(SYSTEM, (operation,)))[0]
        assert isinstance(result, Written), "a write without a condition"
        return web.Response(status=204 if result.existed else 201)

    async def delete(self, _: web.BaseRequest, target: Target, __: Parameters) -> web.Response:
        """Remove the settings and delete every row that is there when its turn comes; rows put meanwhile may stay.
        Cut short, it has deleted a part: it can be asked again."""
        namespace = namespace_of(target, for_writing=True)
        table = table_of(target)
        with self._node.view() as view:
            has_settings = _settings(view, table) is not None
        if has_settings:
            await self._node.write(SYSTEM, (Operation(address_of(TABLES_TABLE, table.encode()), None),))
        first: bytes | None = address_of(table, b"")
        while first is not None:
            addresses, first = self._visible(namespace, first, table.encode() + b"\x01")
            if addresses:
                await self._node.write(namespace, [Operation(address, None) for address in addresses])
            await asyncio.sleep(0)
        return web.Response(status=204)

    def _visible(self, namespace: str, first: bytes, end: bytes) -> tuple[list[bytes], bytes | None]:
        """Addresses of some visible rows, and where the next ones begin; None at the end."""
        addresses: list[bytes] = []
        with self._node.view() as view:
            for examined, (address, row) in enumerate(view.rows(namespace, first, end)):
                if len(addresses) == self._options.delete_page_rows or examined == self._options.page_examined_rows_max:
                    return addresses, address
                if row.is_visible:
                    addresses.append(address)
        return addresses, None


def _all_settings(view: View) -> dict[str, dict[str, Any]]:
    found = {}
    for address, row in view.rows(SYSTEM, address_of(TABLES_TABLE, b""), TABLES_TABLE.encode() + b"\x01"):
        if row.winner.value is not None:
            found[key_of(address).decode()] = _parsed(row.winner.value)
    return found


def _settings(view: View, table: str) -> dict[str, Any] | None:
    row = view.row(SYSTEM, address_of(TABLES_TABLE, table.encode()))
    return None if row is None or row.winner.value is None else _parsed(row.winner.value)


def _parsed(stored: bytes) -> dict[str, Any]:
    return {**DEFAULTS, **json.loads(stored)}


def _checked_settings(body: bytes) -> dict[str, str]:
    try:
        settings = json.loads(body.decode() or "{}")
    except (ValueError, RecursionError):
        raise ProblemError("invalid-body", "settings are a JSON object in UTF-8") from None
    if not isinstance(settings, dict):
        raise ProblemError("invalid-body", "settings are a JSON object in UTF-8")
    if unknown := sorted(settings.keys() - DEFAULTS.keys()):
        known = ", ".join(DEFAULTS)
        raise ProblemError("unsupported-setting", f"settings not known: {', '.join(unknown)}; known are: {known}")
    conflicts = settings.get("conflicts", DEFAULTS["conflicts"])
    if conflicts == Conflicts.SIBLINGS.value:
        raise ProblemError(
            "unsupported-setting", "`conflicts: siblings` is not supported yet; `lww` is", setting="conflicts"
        )
    if conflicts != Conflicts.LAST_WRITE_WINS.value:
        raise ProblemError("unsupported-setting", "`conflicts` is `lww`", setting="conflicts")
    return {"conflicts": conflicts}


def _described(table: str, counts: Counts, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "table": table,
        "rows": counts.rows,
        "tombstones": counts.tombstones,
        "value_bytes": counts.value_bytes,
        "settings": settings,
    }


def _json_response(content: dict[str, Any]) -> web.Response:
    return web.Response(body=json_text(content).encode(), headers={"Content-Type": "application/json"})
