"""The answer for a row that has several values at once: 300, with all of them.

As JSON, `{"row", "etag", "context", "siblings": [{"value", "etag"}, ...]}`; as `multipart/mixed`, a part of raw bytes
per value with its `ETag`, where `Accept` asks for that and not for JSON. Greatest rank first: the first is what
last-write-wins would have kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import xxhash
from aiohttp import web

from gossipkv.api.answers.json_rows import json_siblings, json_text
from gossipkv.api.requests.conditions import CONTEXT_HEADER
from gossipkv.core.model.address import key_of
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.rows.view import context_token

MULTIPART = "multipart/mixed"


def siblings_response(accept: str, address: bytes, row: StoredRow, visible: Sequence[Version]) -> web.Response:
    context = context_token.text_of(address, row)
    headers = {"ETag": f'"{row.etag}"', CONTEXT_HEADER: context, "Vary": "Accept"}
    if MULTIPART in accept and "json" not in accept:
        boundary = _boundary(row, visible)
        body = b"".join(_part(boundary, version) for version in visible) + b"--" + boundary + b"--\r\n"
        return web.Response(
            status=300, body=body, headers=headers | {"Content-Type": f"{MULTIPART}; boundary={boundary.decode()}"}
        )
    text = (
        f'{{"row":{json_text(key_of(address).decode())},"etag":"{row.etag}","context":"{context}",'
        f'"siblings":{json_siblings(visible)}}}'
    )
    return web.Response(status=300, body=text.encode(), headers=headers | {"Content-Type": "application/json"})


def _boundary(row: StoredRow, visible: Sequence[Version]) -> bytes:
    """A multipart boundary derived from the versions that occurs in none of their values."""
    number = xxhash.xxh3_64_intdigest(row.etag.encode())
    while any(version.value is not None and b"%016x" % number in version.value for version in visible):
        number = (number + 1) % 2**64
    return b"%016x" % number


def _part(boundary: bytes, version: Version) -> bytes:
    head = f'Content-Type: application/octet-stream\r\nETag: "{version.dot}"\r\n\r\n'.encode()
    return b"--" + boundary + b"\r\n" + head + (version.value or b"") + b"\r\n"
