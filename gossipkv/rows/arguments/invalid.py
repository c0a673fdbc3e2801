"""The error for an argument that no member can carry out."""

from __future__ import annotations

from gossipkv.rows.errors import ErrorKind, RequestError

_KIND_OF_FIELD = {
    "row": ErrorKind.INVALID_ROW_KEY,
    "table": ErrorKind.INVALID_TABLE_NAME,
    "receipt": ErrorKind.INVALID_RECEIPT,
    "member": ErrorKind.INVALID_MEMBER_NAME,
    "context": ErrorKind.INVALID_CONTEXT,
    **dict.fromkeys(("etag", "if_match", "if_absent", "If-Match", "If-None-Match"), ErrorKind.INVALID_CONDITION),
}


class InvalidInputError(RequestError, ValueError):
    """An argument of the wrong type or out of range. Nothing was done."""

    def __init__(self, field: str, problem: str) -> None:
        kind = _KIND_OF_FIELD.get(field, ErrorKind.INVALID_PARAMETER)
        super().__init__(f"`{field}` {problem}", kind=kind, parameter=field)
        self.field = field
        """The argument, as callers name it: `row`, `value`, `ttl`, `w`."""
        self.problem = problem
        """What was expected, and what was given; a sentence without its subject."""


class ValueTooLargeError(InvalidInputError):
    """A value of more bytes than a member takes."""

    def __init__(self, bytes_max: int, size_bytes: int) -> None:
        super().__init__("value", f"is at most {bytes_max} bytes, this one is {size_bytes} bytes")
        self.kind = ErrorKind.VALUE_TOO_LARGE
        self.facts = {"bytes_max": bytes_max}


class UnsupportedSettingError(RequestError):
    """A setting of a table that does not exist, or not with this value."""

    kind = ErrorKind.UNSUPPORTED_SETTING

    def __init__(self, detail: str, setting: str) -> None:
        super().__init__(detail, setting=setting)


def shown(given: object) -> str:
    """The argument as an error names it, without reprinting something huge. Never raises."""
    if type(given) is str and len(given) <= 40:
        return ascii(given)
    if type(given) in (bool, float) or given is None or (type(given) is int and abs(given) < 10**20):
        return str(given)
    return f"a {type(given).__name__}"
