"""The API's description, OpenAPI 3.1, held by tests against the routes and their answers."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from gossipkv.api import problem
from gossipkv.api.answers.siblings import MULTIPART
from gossipkv.api.description.schemas import SCHEMAS
from gossipkv.api.handlers.listing import NDJSON, NEXT_CURSOR
from gossipkv.api.options import ApiOptions
from gossipkv.api.requests.target import BATCH, MEMBER, RECEIPT, ROW, ROWS, TABLE, TABLES, WATCH, Parameters, Target
from gossipkv.rows.arguments import durations
from gossipkv.rows.arguments.limits import COPIES_MAX, NAME_BYTES_MAX, PAGE_ROWS_MAX, ROW_KEY_BYTES_MAX
from gossipkv.rows.arguments.names import TABLE_NAME_PATTERN

JSON = "application/json"
OCTETS = "application/octet-stream"
TEXT = "text/plain"

Object = dict[str, Any]

_CONTEXT_HEADER: Object = {
    "Gossipkv-Context": {
        "description": "What the reader has now seen of the row; opaque, to be handed back with a write",
        "schema": {"type": "string"},
    }
}
_ALONE_HEADER: Object = {
    "Gossipkv-Alone": {
        "description": "Only while the member knows of others and reaches none: whole seconds since it last heard one, "
        "or started. What it answers may be old, and what it acknowledges is on its disk alone",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    }
}
_TAG_HEADER: Object = {
    "ETag": {"description": "The row's versions, in double quotes", "schema": {"type": "string"}}
} | _CONTEXT_HEADER

_RECEIPT_HEADER: Object = {
    "Gossipkv-Receipt": {"description": "Names the write, to ask which members have it", "schema": {"type": "string"}}
}


class Document:
    def __init__(self, options: ApiOptions) -> None:
        self._body = json.dumps(document(options), ensure_ascii=False, indent=1).encode()

    async def get(self, _: web.BaseRequest, __: Target, ___: Parameters) -> web.Response:
        return web.Response(body=self._body, headers={"Content-Type": JSON})

    async def get_root(self, _: web.BaseRequest, __: Target, ___: Parameters) -> web.Response:
        return web.Response(body=b'{"name":"gossipkv","openapi":"/openapi.json"}', headers={"Content-Type": JSON})


def document(options: ApiOptions) -> Object:
    paths: dict[str, Object] = {
        ROW: _row(options),
        ROWS: {"get": _listing(options)},
        BATCH: {"post": _batch(options)},
        WATCH: {"get": _watch()},
        TABLES: {"get": _operation("List the tables", {200: _json("TablePage")}, 404)},
        TABLE: _table(),
        "/v1/cluster": {"get": _operation("The cluster as this member sees it", {200: _json("Cluster")}, 503)},
        "/v1/cluster/members": {"get": _operation("The members alone", {200: _json("MemberPage")}, 503)},
        MEMBER: {"delete": _forgetting()},
        RECEIPT: {"get": _receipt()},
        "/livez": {"get": _operation("Whether the process moves", {200: _content("Live", TEXT)}, 503)},
        "/readyz": {"get": _operation("Whether to send it requests", {200: _content("Ready", TEXT)}, 503)},
        "/metrics": {"get": _operation("For Prometheus", {200: _content("Metrics", TEXT)}, 503)},
        "/openapi.json": {"get": _operation("This document", {200: _json()})},
        "/": {"get": _operation("Where this document is", {200: _json()})},
    }
    for template in (ROW, ROWS, BATCH, WATCH):
        for operation in paths[template].values():
            for answer in operation["responses"].values():
                answer["headers"] = answer.get("headers", {}) | _ALONE_HEADER
    for template, operations in paths.items():
        if "get" in operations:
            operations["head"] = _without_bodies(operations["get"])
        operations["parameters"] = [_PATH_PARAMETERS[name] for name in _PATH_PARAMETERS if f"{{{name}}}" in template]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gossipkv",
            "version": "1",
            "summary": "A namespaced, eventually consistent key-value store that replicates by gossip",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }


_PATH_PARAMETERS: dict[str, Object] = {
    "namespace": {
        "name": "namespace",
        "in": "path",
        "required": True,
        "description": "`usr` is the users'; `sys` the store's own, which clients only read",
        "schema": {"enum": ["usr", "sys"]},
    },
    "table": {
        "name": "table",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{TABLE_NAME_PATTERN}$"},
    },
    "member": {
        "name": "member",
        "in": "path",
        "required": True,
        "description": "The name of a member",
        "schema": {"type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX},
    },
    "receipt": {
        "name": "receipt",
        "in": "path",
        "required": True,
        "description": "The `Gossipkv-Receipt` of a write",
        "schema": {"type": "string", "pattern": r"^(usr|sys)\.[0-9a-f]{16}\.[1-9][0-9]{0,18}$"},
    },
    "row": {
        "name": "row",
        "in": "path",
        "required": True,
        "description": "1 to 400 bytes of UTF-8, any character, percent-encoded; unencoded slashes are part of it",
        "schema": {"type": "string", "minLength": 1, "maxLength": ROW_KEY_BYTES_MAX},
    },
}


def _row(options: ApiOptions) -> Object:
    if_match = _header("If-Match", "Entity tags, one of which the row must have, or `*`: only if it exists")
    if_absent = _header("If-None-Match", "`*`: only if the row does not exist")
    context = _header(
        "Gossipkv-Context",
        "Of a read or write of the row. In a table that keeps siblings the write replaces what that had seen, and "
        "without it nothing, unless `If-Match` names the versions. A member that has not seen all that it names waits "
        "for a moment, then answers 409 `context-ahead`: try again, or at the member that was read from",
    )
    ttl = _query("ttl", _DURATION, "The row expires this long after the put: ms, s, m, h, d")
    value = f"Any bytes, at most {options.value_bytes_max}; none is the empty value"
    return {
        "get": _operation(
            "Get a row's value",
            {
                200: _content("The bytes as they were put", OCTETS, _TAG_HEADER),
                300: _siblings(),
                304: _bare("Not modified", _TAG_HEADER),
            },
            404,
            412,
            503,
            parameters=[_READ, if_match, _header("If-None-Match", "Entity tags, or `*`: 304 if the row has one")],
        ),
        "put": _operation(
            "Put a row",
            {
                201: _bare("A new row", _TAG_HEADER | _RECEIPT_HEADER),
                204: _bare("A new value", _TAG_HEADER | _RECEIPT_HEADER),
            },
            *(403, 404, 408, 409, 412, 413, 415, 417, 503, 507),
            parameters=[*_WRITE, if_match, if_absent, context, ttl],
            body={"description": value, "content": {"*/*": {"schema": {"contentEncoding": "binary"}}}},
        ),
        "delete": _operation(
            "Delete a row",
            {204: _bare("What the context has seen is gone", _CONTEXT_HEADER | _RECEIPT_HEADER)},
            *(403, 404, 409, 412, 428, 503, 507),
            parameters=[*_WRITE, if_match, context],
        ),
    }


def _siblings() -> Object:
    """A row with several values, in both forms."""
    answer = _content("Siblings: all values of a row that has several", JSON, _TAG_HEADER, "Siblings")
    answer["content"][MULTIPART] = {}
    return answer


def _listing(options: ApiOptions) -> Object:
    text: Object = {"type": "string"}
    limit = {
        "type": "integer",
        "minimum": 1,
        "maximum": PAGE_ROWS_MAX,
        "default": options.page_rows_default,
    }
    rows_max = f"Rows in a page, at most {options.page_rows_max}; a page may be shorter, or empty, and have a cursor"
    page = _json("RowPage")
    page["content"][NDJSON] = {"schema": {"$ref": "#/components/schemas/Row"}}
    page["headers"] = {NEXT_CURSOR: {"description": "NDJSON only: absent on the last page", "schema": text}}
    return _operation(
        "List rows in the order of their keys' UTF-8 bytes",
        {200: page},
        404,
        parameters=[
            _query("prefix", text, "Only keys that begin so"),
            _query("start", text, "Only keys from here on"),
            _query("end", text, "Only keys before this one"),
            _query("limit", limit, rows_max),
            _query("cursor", text, "`next_cursor` of the page before"),
            _query("keys_only", {"type": "boolean", "default": False}, "Leave out the values"),
        ],
    )


def _batch(options: ApiOptions) -> Object:
    description = (
        f"An operation per line, each line at most {options.batch_line_bytes_max} bytes: room for the largest key and "
        "value, as text with each byte escaped or in base64, and for what else a line may have; `siblings` need not be "
        "sent. Results are streamed while lines still come: take them off while sending."
    )
    return _operation(
        "Put and delete many rows",
        {200: _content("A result per line, in order", NDJSON, schema="BatchResult")},
        *(403, 404, 415, 417),
        parameters=_WRITE,
        body={"description": description, "content": {NDJSON: {"schema": {"$ref": "#/components/schemas/BatchLine"}}}},
    )


def _watch() -> Object:
    text: Object = {"type": "string"}
    events = (
        "Server-Sent Events: `put` with the row's value, or its `siblings` as in the answer 300; `delete` and "
        "`expired` without; of rows that keep siblings with their `context`; `reset` where the id cannot be gone on "
        "from, followed by the current rows; `current` when all current rows have been sent; `overflow` where events "
        "were not taken off in time; `end` when the member stops. After the last two the stream ends, and goes on from "
        "the last id at any member. Comments show that the connection is alive."
    )
    return _operation(
        "Watch the rows of a table",
        {200: _content(events, "text/event-stream")},
        404,
        503,
        507,
        parameters=[
            _header("Last-Event-ID", "Resume after this event; without it, start from now"),
            _query("last_event_id", text, "The same, for clients that cannot set the header"),
            _query("prefix", text, "Only keys that begin so"),
            _query("snapshot", {"type": "boolean", "default": False}, "Without an id: the current rows first"),
        ],
    )


def _receipt() -> Object:
    wait: Object = {"type": "string", "pattern": "^(all|[1-9][0-9]{0,3})$"}
    return _operation(
        "The members that have a write, as far as this member knows",
        {200: _json("Coverage")},
        503,
        parameters=[
            _query("wait", wait, "Answer once this many members have it, or all that have not left"),
            _query("timeout", _DURATION, "Answer with the current state after this time; 5s by default"),
        ],
    )


def _forgetting() -> Object:
    summary = (
        "Forget a member that is gone for good. What it alone holds is lost to the cluster; if it comes back, it sets "
        "its data aside and joins as a new replica. 409 for a member that answers; and without `force` for one that "
        "was heard within 10 minutes, or that discovery lists"
    )
    force = _query("force", {"type": "boolean"}, "Forget it though it was heard lately, or discovery lists it")
    return _operation(summary, {204: _bare("Nothing waits for it any more")}, *(404, 409, 503, 507), parameters=[force])


def _table() -> Object:
    return {
        "get": _operation("A table's counts and settings", {200: _json("Table")}, 404),
        "put": _operation(
            "Set a table's settings. 422 for `w` or `r` above the number of members",
            {201: _bare("The first settings"), 204: _bare("New settings")},
            *(403, 404, 408, 413, 415, 417, 422, 503, 507),
            body={"content": {JSON: {"schema": {"$ref": "#/components/schemas/Settings"}}}},
        ),
        "delete": _operation(
            "Delete a table's settings and rows", {204: _bare("They are gone")}, *(403, 404, 503, 507)
        ),
    }


def _operation(
    summary: str,
    responses: dict[int, Object],
    *problems: int,
    parameters: list[Object] | None = None,
    body: Object | None = None,
) -> Object:
    """400 and 500 are everywhere."""
    kinds = {status: _kinds(status) for status in sorted({400, 500, *problems})}
    answers = responses | {
        status: _content(text, problem.CONTENT_TYPE, schema="Problem") for status, text in kinds.items()
    }
    operation: Object = {
        "summary": summary,
        "responses": {str(status): answer for status, answer in sorted(answers.items())},
    }
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = body
    return operation


def _kinds(status: int) -> str:
    """The problem types of a status."""
    return "; ".join(f"`{kind}`: {title}" for kind, (of, title) in problem.KINDS.items() if of == status)


def _without_bodies(operation: Object) -> Object:
    responses = {
        status: {name: part for name, part in response.items() if name != "content"}
        for status, response in operation["responses"].items()
    }
    return operation | {"summary": f"{operation['summary']}: headers alone", "responses": responses}


def _content(description: str, content_type: str, headers: Object | None = None, schema: str | None = None) -> Object:
    reference = {"schema": {"$ref": f"#/components/schemas/{schema}"}} if schema else {}
    return _bare(description, headers) | {"content": {content_type: reference}}


def _json(schema: str | None = None) -> Object:
    return _content(schema or "JSON", JSON, schema=schema)


def _bare(description: str, headers: Object | None = None) -> Object:
    return {"description": description} | ({"headers": headers} if headers else {})


def _header(name: str, description: str) -> Object:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


def _query(name: str, schema: Object, description: str) -> Object:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_DURATION: Object = {"type": "string", "pattern": f"^{durations.PATTERN}$"}
_COUNT: Object = {"type": "integer", "minimum": 1, "maximum": COPIES_MAX}
_READ = _query("r", _COUNT, "Ask this many members, including this one, and answer with their merged copies")
_WRITE = [
    _query("w", _COUNT, "Answer once the write is durable at this many members"),
    _query("write_wait", _DURATION, "How long to wait for them; as the member's settings say unless given"),
]
