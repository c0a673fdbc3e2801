"""One row: GET, HEAD, PUT, DELETE."""

from __future__ import annotations

from aiohttp import web
from aiohttp.hdrs import IF_MATCH, IF_NONE_MATCH

from gossipkv.api.body import read_body
from gossipkv.api.conditions import conditions_of_write, is_not_modified, precondition_failed
from gossipkv.api.consistency import count_of, problem_of_copies, wanted_of
from gossipkv.api.options import ApiOptions
from gossipkv.api.problem import ProblemError
from gossipkv.api.row_response import RowResponse
from gossipkv.api.target import Parameters, Target, namespace_of, row_address_of, table_of
from gossipkv.consistency import TooFewCopiesError
from gossipkv.core.receipts import Receipt
from gossipkv.core.write import NotMatched, Operation, Written
from gossipkv.node import Node


class Rows:
    def __init__(self, node: Node, options: ApiOptions) -> None:
        self._node = node
        self._options = options

    async def get(self, request: web.BaseRequest, target: Target, parameters: Parameters) -> web.StreamResponse:
        """The bytes as they were put."""
        namespace = namespace_of(target)
        address = row_address_of(target)
        members = count_of(parameters["r"], "r") if parameters else self._node.defaults_of(table_of(target))[1]
        if members > 1:
            row = await self._node.read(namespace, address, members)
        else:
            with self._node.view() as view:
                row = view.row(namespace, address)
        value = None if row is None else row.winner.value
        if row is None or value is None:
            raise ProblemError("row-not-found", "the table has no row of this key")
        etag = row.etag
        headers = request.headers
        if (IF_NONE_MATCH in headers or IF_MATCH in headers) and is_not_modified(headers, etag):
            return RowResponse(304, etag)
        return RowResponse(200, etag, value)

    async def put(self, request: web.BaseRequest, target: Target, parameters: Parameters) -> web.StreamResponse:
        """The body becomes the row's value; no body is the empty value."""
        namespace = namespace_of(target, for_writing=True)
        address = row_address_of(target)
        if_match, if_absent = conditions_of_write(request.headers)
        options = self._options
        value = await read_body(request, options.value_bytes_max, options.body_timeout_seconds, "value-too-large")
        written = await self._write(target, parameters, Operation(address, value, if_match, if_absent))
        receipt = str(Receipt(namespace, written.dot))
        return RowResponse(204 if written.existed else 201, written.etag, receipt=receipt)

    async def delete(self, request: web.BaseRequest, target: Target, parameters: Parameters) -> web.StreamResponse:
        namespace = namespace_of(target, for_writing=True)
        address = row_address_of(target)
        if_match, if_absent = conditions_of_write(request.headers)
        if if_absent:
            raise ProblemError("invalid-condition", "`If-None-Match: *` on DELETE would delete nothing")
        written = await self._write(target, parameters, Operation(address, None, if_match))
        return RowResponse(204, receipt=str(Receipt(namespace, written.dot)))

    async def _write(self, target: Target, parameters: Parameters, operation: Operation) -> Written:
        copies, wait_seconds = wanted_of(parameters, self._node.defaults_of(table_of(target))[0])
        try:
            result = (await self._node.write(target.namespace, (operation,), copies, wait_seconds))[0]
        except TooFewCopiesError as error:
            raise problem_of_copies(error) from None
        if isinstance(result, NotMatched):
            raise precondition_failed(result.etag)
        return result
