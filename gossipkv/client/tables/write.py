"""The options of a write, defined once for every client, and the request for them."""

from __future__ import annotations

from typing import TypedDict

from gossipkv.client.arguments import check_known, checked, copies_text, life_text, wait_seconds, wait_text
from gossipkv.client.servers.path import CONTEXT
from gossipkv.client.servers.requests import HttpRequest
from gossipkv.rows.arguments import arguments, conditions
from gossipkv.rows.arguments.durations import Duration
from gossipkv.rows.arguments.values import value_bytes


class DeleteOptions(TypedDict, total=False):
    w: int | None
    """Durable copies before the answer."""
    write_wait: Duration | None
    """The longest wait for the copies; by default the server's."""
    context: str | None
    """The context of a read: the write replaces exactly what was read."""
    if_match: str | None
    """Write only if the row has this etag (`*`: any) at the member that is asked."""
    idempotent: bool
    """Send the write again even if it may have been carried out."""


class PutOptions(DeleteOptions, total=False):
    ttl: Duration | None
    """The time until the row expires."""
    if_absent: bool
    """Write only if the member that is asked has no such row."""


PUT_OPTIONS = frozenset(PutOptions.__annotations__)
DELETE_OPTIONS = frozenset(DeleteOptions.__annotations__)


def write_request(path: str, value: bytes | None, options: PutOptions) -> HttpRequest:
    """A put; a delete if there is no value. Raises InvalidArgumentError, and TypeError for an unknown option."""
    if value is None:
        check_known("delete", options, DELETE_OPTIONS)
        headers = {}
    else:
        check_known("put", options, PUT_OPTIONS)
        value = checked(value_bytes, value)
        headers = {"Content-Type": "application/octet-stream"}
    if (if_match := options.get("if_match")) is not None:
        headers["If-Match"] = checked(conditions.header_of, "if_match", if_match)
    if checked(arguments.flag, "if_absent", options.get("if_absent", False)):
        headers["If-None-Match"] = "*"
    if (context := options.get("context")) is not None:
        headers[CONTEXT] = checked(arguments.header_text, "context", context)
    query = copies_query(options.get("w"), options.get("write_wait"))
    if (ttl := options.get("ttl")) is not None:
        query["ttl"] = life_text("ttl", ttl)
    method = "DELETE" if value is None else "PUT"
    return HttpRequest(
        method,
        path,
        query,
        headers,
        value,
        is_repeatable=checked(arguments.flag, "idempotent", options.get("idempotent", False)),
        wait_s=wait_seconds("write_wait", options.get("write_wait")),
    )


def copies_query(w: int | None, write_wait: Duration | None) -> dict[str, str]:
    query = {} if w is None else {"w": copies_text("w", w)}
    if write_wait is not None:
        query["write_wait"] = wait_text("write_wait", write_wait)
    return query
