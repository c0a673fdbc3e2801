"""One row: GET, HEAD, PUT, DELETE."""

from __future__ import annotations

from aiohttp import web
from aiohttp.hdrs import ACCEPT, IF_MATCH, IF_NONE_MATCH

from gossipkv.api.answers.row_response import RowResponse
from gossipkv.api.answers.siblings import siblings_response
from gossipkv.api.handlers.consistency import wanted_of
from gossipkv.api.options import ApiOptions
from gossipkv.api.problem import ProblemError
from gossipkv.api.requests.body import read_body
from gossipkv.api.requests.conditions import CONTEXT_HEADER, conditions_of_write, is_not_modified, seen_of
from gossipkv.api.requests.target import Parameters, Target, namespace_of, row_address_of, table_of
from gossipkv.core.model.write import Operation, StoredWrite
from gossipkv.core.store.quarantine import readable_row
from gossipkv.core.waits.answers import Receipt
from gossipkv.member.node import MemberNode
from gossipkv.rows.arguments.copies import copies_in
from gossipkv.rows.arguments.durations import life_ms_of
from gossipkv.rows.arguments.invalid import InvalidInputError
from gossipkv.rows.view import context_token
from gossipkv.rows.view.refusals import written
from gossipkv.rows.view.visibility import readable

PARAMETERS = frozenset({"ttl"})


class RowHandlers:
    def __init__(self, node: MemberNode, options: ApiOptions) -> None:
        self._node = node
        self._options = options

    async def get(self, request: web.BaseRequest, target: Target, parameters: Parameters) -> web.StreamResponse:
        """Answer the bytes as they were put; all values if the row has several."""
        namespace = namespace_of(target)
        address = row_address_of(target)
        default = self._node.defaults_of(namespace, table_of(target))[1]
        members = copies_in("r", parameters["r"]) if "r" in parameters else default
        merged = await self._node.read(namespace, address, members) if members > 1 else None
        now_ms = self._node.now_ms()
        with self._node.view() as view:
            row = merged or readable_row(view, namespace, address)
            if row is None:
                raise _not_found()
            visible = readable(view, namespace, address, row, now_ms)
        context = context_token.text_of(address, row)
        if not visible:
            raise _not_found({CONTEXT_HEADER: context})
        etag = row.etag
        headers = request.headers
        if (IF_NONE_MATCH in headers or IF_MATCH in headers) and is_not_modified(headers, etag):
            return RowResponse(304, etag, context=context)
        if len(visible) > 1:
            return siblings_response(headers.get(ACCEPT, ""), address, row, visible)
        return RowResponse(200, etag, visible[0].value or b"", context)

    async def put(self, request: web.BaseRequest, target: Target, parameters: Parameters) -> web.StreamResponse:
        """Put the body as the row's value; no body means the empty value."""
        namespace = namespace_of(target, for_writing=True)
        address = row_address_of(target)
        if_match, if_absent = conditions_of_write(request.headers)
        seen = seen_of(request.headers, address)
        ttl_ms = life_ms_of("ttl", parameters["ttl"]) if "ttl" in parameters else None
        options = self._options
        value = await read_body(request, options.value_bytes_max, options.body_timeout_seconds, "value-too-large")
        stored = await self._write(target, parameters, Operation(address, value, if_match, if_absent, seen, ttl_ms))
        status = 204 if stored.existed else 201
        context, receipt = context_token.text_of(address, stored.row), str(Receipt(namespace, stored.dot))
        return RowResponse(status, stored.etag, context=context, receipt=receipt)

    async def delete(self, request: web.BaseRequest, target: Target, parameters: Parameters) -> web.StreamResponse:
        namespace = namespace_of(target, for_writing=True)
        address = row_address_of(target)
        if_match, if_absent = conditions_of_write(request.headers)
        if if_absent:
            raise InvalidInputError("If-None-Match", "is for puts: a delete of an absent row would delete nothing")
        seen = seen_of(request.headers, address)
        stored = await self._write(target, parameters, Operation(address, None, if_match, seen=seen))
        context, receipt = context_token.text_of(address, stored.row), str(Receipt(namespace, stored.dot))
        return RowResponse(204, context=context, receipt=receipt)

    async def _write(self, target: Target, parameters: Parameters, operation: Operation) -> StoredWrite:
        copies, wait_seconds = wanted_of(parameters, self._node.defaults_of(target.namespace, table_of(target))[0])
        return written((await self._node.write(target.namespace, (operation,), copies, wait_seconds))[0])


def _not_found(headers: dict[str, str] | None = None) -> ProblemError:
    return ProblemError("row-not-found", "the table has no row of this key", headers=headers)
