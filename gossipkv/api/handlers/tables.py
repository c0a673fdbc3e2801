"""Tables: their counts and settings."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from gossipkv.api.answers.json_rows import json_text
from gossipkv.api.options import ApiOptions
from gossipkv.api.problem import ProblemError
from gossipkv.api.requests.body import read_body
from gossipkv.api.requests.target import Parameters, Target, namespace_of, table_of
from gossipkv.member.node import MemberNode
from gossipkv.rows.view import tables


class TableHandlers:
    def __init__(self, node: MemberNode, options: ApiOptions) -> None:
        self._node = node
        self._options = options

    async def get_all(self, _: web.BaseRequest, target: Target, __: Parameters) -> web.Response:
        return _json_response({"items": tables.all_described(self._node, namespace_of(target)), "next_cursor": None})

    async def get(self, _: web.BaseRequest, target: Target, __: Parameters) -> web.Response:
        described = tables.described(self._node, namespace_of(target), table_of(target))
        if described is None:
            raise ProblemError(
                "table-not-found", "the table has neither rows nor settings; putting its first row creates it"
            )
        return _json_response(described)

    async def put(self, request: web.BaseRequest, target: Target, _: Parameters) -> web.Response:
        """Change the given settings of the table; others stay."""
        namespace_of(target, for_writing=True)
        table = table_of(target)
        options = self._options
        body = await read_body(request, options.settings_bytes_max, options.body_timeout_seconds, "body-too-large")
        existed = await tables.configure(self._node, table, _settings_in(body))
        return web.Response(status=204 if existed else 201)

    async def delete(self, _: web.BaseRequest, target: Target, __: Parameters) -> web.Response:
        namespace = namespace_of(target, for_writing=True)
        await tables.drop(self._node, namespace, table_of(target), deletes_max=self._options.delete_page_rows)
        return web.Response(status=204)


def _settings_in(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body.decode() or "{}")
    except (ValueError, RecursionError):
        raise ProblemError("invalid-body", "settings are a JSON object in UTF-8") from None
    if not isinstance(given, dict):
        raise ProblemError("invalid-body", "`settings` are a JSON object in UTF-8")
    return given


def _json_response(content: dict[str, Any]) -> web.Response:
    return web.Response(body=json_text(content).encode(), headers={"Content-Type": "application/json"})
