"""Rows as the API gives and takes them. A value that is not UTF-8 is `{"base64": "…"}` in JSON."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from gossipkv.rows.row import Row


def value_from_json(value: object) -> bytes:
    """Raises ValueError."""
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise ValueError("the value cannot be encoded in UTF-8") from None
    if isinstance(value, dict) and list(value) == ["base64"] and isinstance(value["base64"], str):
        try:
            return base64.b64decode(value["base64"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"the value is not base64: {error}") from None
    raise ValueError('a value is text or {"base64": "…"}')


def value_to_json(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


_BASE64_FORM_BYTES = len('{"base64":""}')
_ESCAPED = bytes(range(32)) + b'"\\'
"""Characters that JSON writes as an escape."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def value_to_send(value: bytes) -> str | dict[str, str]:
    """The shorter of the two JSON forms, for a line of a batch. JSON writes some bytes of a text as six bytes. Base64
    adds a third to any value, for which a line always has room."""
    shown = value_to_json(value)
    if not isinstance(shown, str):
        return shown
    base64_bytes = _BASE64_FORM_BYTES + (len(value) + 2) // 3 * 4
    escaped = len(value) - len(value.translate(None, _ESCAPED))
    # An escape takes one or five bytes more than its character. So most texts can be measured without encoding them.
    if len(value) + 2 + 5 * escaped <= base64_bytes or len(line_of(shown)) <= base64_bytes:
        return shown
    return {"base64": base64.b64encode(value).decode()}


def line_of(content: object) -> bytes:
    """Compact JSON. A lone surrogate, which UTF-8 cannot encode, is escaped, so that the server refuses it by name."""
    return _encode(content).encode(errors="backslashreplace")


def row_from_json(item: dict[str, Any]) -> Row:
    """Raises ValueError, LookupError, TypeError, if it is no row."""
    value = value_from_json(item["value"]) if "value" in item else None
    key, etag, context = item["row"], item.get("etag"), item.get("context")
    if not isinstance(key, str) or not all(text is None or isinstance(text, str) for text in (etag, context)):
        raise TypeError("a row has a key, an etag and a context of text")
    key.encode()
    return Row(key, value, etag, context, siblings_from_json(item))


def siblings_from_json(item: dict[str, Any]) -> tuple[bytes, ...]:
    """Raises ValueError, KeyError."""
    return tuple(value_from_json(sibling["value"]) for sibling in item.get("siblings", ()))
