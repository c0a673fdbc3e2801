"""What a write may ask for, named once for every client, and the request that asks it."""

from __future__ import annotations

from typing import TypedDict

from gossipkv.client.duration import Duration, seconds_of, text_of
from gossipkv.client.path import CONTEXT
from gossipkv.client.requests import Request


class DeleteOptions(TypedDict, total=False):
    w: int | None
    """Durable copies before the answer."""
    write_wait: Duration | None
    """The longest wait for them; else the server's."""
    context: str | None
    """That of a read: the write replaces exactly what was read."""
    if_match: str | None
    """Only if the row has this etag, `*` for any, on the member that is asked."""
    idempotent: bool
    """Send it again also where it may have been carried out."""


class PutOptions(DeleteOptions, total=False):
    ttl: Duration | None
    """The row's life."""
    if_absent: bool
    """Only if the member that is asked has no such row."""


def write_request(path: str, value: bytes | None, options: PutOptions) -> Request:
    """A put, or a delete where there is no value. Raises RefusedError for a duration that is none."""
    headers = {} if value is None else {"Content-Type": "application/octet-stream"}
    if (if_match := options.get("if_match")) is not None:
        is_quoted = if_match == "*" or if_match.startswith(('"', "W/"))
        headers["If-Match"] = if_match if is_quoted else f'"{if_match}"'
    if options.get("if_absent"):
        headers["If-None-Match"] = "*"
    if (context := options.get("context")) is not None:
        headers[CONTEXT] = context
    query = copies_query(options.get("w"), options.get("write_wait"))
    if (ttl := options.get("ttl")) is not None and value is not None:
        query["ttl"] = text_of(ttl)
    method = "DELETE" if value is None else "PUT"
    return Request(
        method,
        path,
        query,
        headers,
        value,
        is_repeatable=options.get("idempotent", False),
        wait_s=seconds_of(options.get("write_wait") or 0.0),
    )


def copies_query(w: int | None, write_wait: Duration | None) -> dict[str, str]:
    query = {} if w is None else {"w": str(w)}
    if write_wait is not None:
        query["write_wait"] = text_of(write_wait)
    return query
