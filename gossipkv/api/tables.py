"""Tables: their counts and settings.

A table exists if it has rows or settings; putting a row creates it. Settings are in `sys.tables`, one row per table of
`usr`, and replicate like all other rows.
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
from gossipkv.core.model.address import SYSTEM, TABLES_TABLE, USER, address_of, is_address, key_of
from gossipkv.core.model.write import Operation, Written
from gossipkv.core.store.storage import Counts, View
from gossipkv.core.store.tables import DEFAULTS, TableSettings, settings_address, settings_in, settings_of
from gossipkv.node import Node
from gossipkv.rows.invalid import InvalidInputError


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
            _described(
                table, counts.get(table, Counts()), settings.get(table, DEFAULTS), self._conflicts(namespace, table)
            )
            for table in sorted(counts.keys() | settings.keys())
        ]
        return _json_response({"items": items, "next_cursor": None})

    async def get(self, _: web.BaseRequest, target: Target, __: Parameters) -> web.Response:
        namespace = namespace_of(target)
        table = table_of(target)
        with self._node.view() as view:
            counts = view.table_counts(namespace).get(table, Counts())
            settings = settings_of(view, table) if namespace == USER else None
        if not counts.rows and settings is None:
            raise ProblemError("table-not-found", "the table has neither rows nor settings; the first row put makes it")
        return _json_response(_described(table, counts, settings or DEFAULTS, self._conflicts(namespace, table)))

    async def put(self, request: web.BaseRequest, target: Target, _: Parameters) -> web.Response:
        """Change the given settings of the table; others stay."""
        namespace_of(target, for_writing=True)
        table = table_of(target)
        options = self._options
        body = await read_body(request, options.settings_bytes_max, options.body_timeout_seconds, "body-too-large")
        with self._node.view() as view:
            before = settings_of(view, table) or DEFAULTS
        settings = _changed(before, body)
        await self._check_copies(before, settings)
        operation = Operation(settings_address(table), settings.to_json())
        result = (await self._node.write(SYSTEM, (operation,)))[0]
        assert isinstance(result, Written), "a write without a condition"
        return web.Response(status=204 if result.existed else 201)

    async def delete(self, _: web.BaseRequest, target: Target, __: Parameters) -> web.Response:
        """Remove the settings and delete all rows; rows put in the meantime may stay. If interrupted, it has deleted
        some of the rows; the request can be repeated."""
        namespace = namespace_of(target, for_writing=True)
        table = table_of(target)
        with self._node.view() as view:
            has_settings = settings_of(view, table) is not None
        if has_settings:
            await self._node.write(SYSTEM, (Operation(settings_address(table), None),))
        first: bytes | None = address_of(table, b"")
        while first is not None:
            deletes, first = self._deletes(namespace, first, table.encode() + b"\x01")
            if deletes:
                await self._node.write(namespace, deletes)
            await asyncio.sleep(0)
        with self._node.view() as view:
            unreadable = list(view.quarantined(namespace, address_of(table, b""), table.encode() + b"\x01"))
        deletes = [Operation(address, None) for address, _ in unreadable if is_address(address)]
        if deletes:
            await self._node.write(namespace, deletes)
        return web.Response(status=204)

    async def _check_copies(self, before: TableSettings, settings: TableSettings) -> None:
        """Raises the problem of a `w` or `r` above the number of members: no write or read would be answered."""
        for name, former, asked in (("w", before.w, settings.w), ("r", before.r, settings.r)):
            if asked in (1, former):
                continue
            members = (await self._node.reach()).members
            if asked > members:
                detail = f"`{name}` is {asked}, and the number of members is {members}: add members first, or set less"
                raise ProblemError("unsupported-setting", detail, setting=name)

    def _conflicts(self, namespace: str, table: str) -> int:
        return self._node.conflicts(namespace, table)

    def _deletes(self, namespace: str, first: bytes, end: bytes) -> tuple[list[Operation], bytes | None]:
        """Deletes of some rows with values, and where the next ones begin; None at the end."""
        deletes: list[Operation] = []
        with self._node.view() as view:
            for examined, (address, row) in enumerate(view.rows(namespace, first, end)):
                if len(deletes) == self._options.delete_page_rows or examined == self._options.page_examined_rows_max:
                    return deletes, address
                if row.is_visible:
                    deletes.append(Operation(address, None, seen=row.seen))
        return deletes, None


def _all_settings(view: View) -> dict[str, TableSettings]:
    rows = view.rows(SYSTEM, address_of(TABLES_TABLE, b""), TABLES_TABLE.encode() + b"\x01")
    found = ((key_of(address).decode(), settings_in(row)) for address, row in rows)
    return {table: settings for table, settings in found if settings is not None}


def _changed(settings: TableSettings, body: bytes) -> TableSettings:
    """The settings, changed by those in the body."""
    try:
        given = json.loads(body.decode() or "{}")
    except (ValueError, RecursionError):
        raise ProblemError("invalid-body", "settings are a JSON object in UTF-8") from None
    try:
        return settings.changed(given)
    except InvalidInputError as error:
        if not isinstance(given, dict):
            raise ProblemError("invalid-body", str(error)) from None
        raise ProblemError("unsupported-setting", str(error), setting=error.field) from None


def _described(table: str, counts: Counts, settings: TableSettings, conflicts: int) -> dict[str, Any]:
    return {
        "table": table,
        "rows": counts.rows,
        "tombstones": counts.tombstones,
        "value_bytes": counts.value_bytes,
        "conflicts_lost": conflicts,
        "settings": json.loads(settings.to_json()),
    }


def _json_response(content: dict[str, Any]) -> web.Response:
    return web.Response(body=json_text(content).encode(), headers={"Content-Type": "application/json"})
