"""Rows as JSON, in listings and batches: `{"row": "...", "value": "...", "etag": "..."}`.

A value is text if it is UTF-8, otherwise `{"base64": "..."}`.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable

from gossipkv.api.problem import ProblemError
from gossipkv.core.model.row import Version

json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Compact JSON."""


def json_value(value: bytes) -> str:
    try:
        return json_text(value.decode())
    except UnicodeDecodeError:
        return f'{{"base64":"{b64encode(value).decode()}"}}'


def json_row(key: bytes, value: bytes, etag: str) -> str:
    return f'{{"row":{json_text(key.decode())},"value":{json_value(value)},"etag":"{etag}"}}'


def json_siblings(versions: Iterable[Version], *, separator: str = ",") -> str:
    """Siblings, each with the etag of its version."""
    items = [f'{{"value":{json_value(each.value or b"")},"etag":"{each.dot}"}}' for each in versions]
    return f"[{separator.join(items)}]"


def json_key(key: bytes, etag: str) -> str:
    """A row without its value."""
    return f'{{"row":{json_text(key.decode())},"etag":"{etag}"}}'


def value_of(value: object) -> bytes:
    """The bytes of a value given as JSON."""
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise ProblemError(
                "invalid-line", "`value` holds half of a surrogate pair, so it is not valid text"
            ) from None
    if isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str):
        try:
            return b64decode(value["base64"], validate=True)
        except (binascii.Error, ValueError):
            raise ProblemError("invalid-line", "`value.base64` is not base64 of RFC 4648, padded") from None
    raise ProblemError("invalid-line", '`value` is text or `{"base64": "..."}`')
