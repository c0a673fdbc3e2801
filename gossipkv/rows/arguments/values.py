"""Values: bytes, of at most as many as a member takes."""

from __future__ import annotations

from gossipkv.rows.arguments.invalid import InvalidInputError, ValueTooLargeError, shown


def value_bytes(value: object, bytes_max: int | None = None) -> bytes:
    """The bytes that are given, copied where the caller could still change them. `bytes_max` of None: the member that
    is asked knows its limit. Raises InvalidInputError."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise InvalidInputError("value", f"is bytes, not {shown(value)}: encode text, as by `text.encode()`")
    content = value if type(value) is bytes else bytes(value)
    if bytes_max is not None and len(content) > bytes_max:
        raise ValueTooLargeError(bytes_max, len(content))
    return content
