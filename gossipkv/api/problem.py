"""Errors as RFC 9457 problems.

Every error that a client sees is one of `KINDS`: its `type` and status are stable, its detail is for people. Any other
exception is a bug: it is logged, and the client only learns that the server failed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from gossipkv.rows.errors import TYPE_PREFIX, ErrorKind, RequestError
from gossipkv.rows.view.refusals import request_error_of

CONTENT_TYPE = "application/problem+json"

_STATUSES: Mapping[ErrorKind, int] = {
    ErrorKind.INVALID_ROW_KEY: 400,
    ErrorKind.INVALID_TABLE_NAME: 400,
    ErrorKind.INVALID_PARAMETER: 400,
    ErrorKind.INVALID_CONDITION: 400,
    ErrorKind.INVALID_CONTEXT: 400,
    ErrorKind.INVALID_RECEIPT: 400,
    ErrorKind.INVALID_MEMBER_NAME: 400,
    ErrorKind.TOO_MANY_ASKED: 400,
    ErrorKind.READ_ONLY_NAMESPACE: 403,
    ErrorKind.UNKNOWN_NAMESPACE: 404,
    ErrorKind.MEMBER_NOT_FOUND: 404,
    ErrorKind.OWN_MEMBER: 409,
    ErrorKind.MEMBER_ANSWERS: 409,
    ErrorKind.MEMBER_LISTED: 409,
    ErrorKind.MEMBER_HEARD: 409,
    ErrorKind.TOO_MANY_SIBLINGS: 409,
    ErrorKind.CONTEXT_AHEAD: 409,
    ErrorKind.PRECONDITION_FAILED: 412,
    ErrorKind.VALUE_TOO_LARGE: 413,
    ErrorKind.ROW_TOO_LARGE: 413,
    ErrorKind.UNSUPPORTED_SETTING: 422,
    ErrorKind.CONTEXT_REQUIRED: 428,
    ErrorKind.INTERNAL_ERROR: 500,
    ErrorKind.TOO_FEW_MEMBERS: 503,
    ErrorKind.TOO_FEW_COPIES: 503,
    ErrorKind.TOO_FEW_ANSWERS: 503,
    ErrorKind.OVERLOADED: 503,
    ErrorKind.STOPPING: 503,
    ErrorKind.CLOCK_OFF: 503,
    ErrorKind.ROW_UNREADABLE: 503,
    ErrorKind.STORAGE_STUCK: 503,
    ErrorKind.STORAGE_FULL: 507,
    ErrorKind.STORAGE_FAILED: 507,
}

_OF_HTTP: Mapping[str, tuple[int, str]] = {
    "invalid-path": (400, "The path is not percent-encoded UTF-8"),
    "unknown-parameter": (400, "The query has a parameter that this call does not know"),
    "repeated-parameter": (400, "The query has a parameter more than once"),
    "invalid-body": (400, "The body cannot be read"),
    "invalid-line": (400, "The line is not an operation"),
    "path-not-found": (404, "There is nothing at this path"),
    "table-not-found": (404, "There is no such table"),
    "row-not-found": (404, "There is no such row"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "body-timeout": (408, "The body came too slowly"),
    "body-too-large": (413, "The body is too large"),
    "line-too-long": (413, "The line is too long"),
    "encoded-body": (415, "Encoded bodies are not taken"),
    "expectation-failed": (417, "The expectation cannot be met"),
    "not-live": (503, "The member is not live"),
    "not-ready": (503, "The member is not ready"),
}
"""Kinds that only requests over HTTP have."""

KINDS: Mapping[str, tuple[int, str]] = {
    **{kind.type: (status, kind.title) for kind, status in _STATUSES.items()},
    **_OF_HTTP,
}
"""The status and the title of each kind of problem."""

_RETRIED = frozenset(
    {
        ErrorKind.CONTEXT_AHEAD,
        ErrorKind.TOO_FEW_MEMBERS,
        ErrorKind.TOO_FEW_ANSWERS,
        ErrorKind.OVERLOADED,
        ErrorKind.STOPPING,
        ErrorKind.CLOCK_OFF,
        ErrorKind.ROW_UNREADABLE,
        ErrorKind.STORAGE_STUCK,
    }
)
"""Kinds that may end by themselves: their answers have `Retry-After`."""

RECEIPT_HEADER = "Gossipkv-Receipt"

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class ProblemError(Exception):
    """Raised by a handler to answer with a problem."""

    def __init__(self, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = headers or {}
        self.members = members
        """Extension members of the problem."""
        self.status, self.title = KINDS[kind]

    def fields(self) -> dict[str, Any]:
        return {
            "type": TYPE_PREFIX + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }

    def response(self) -> web.Response:
        body = _encode(self.fields()).encode(errors="replace")
        return web.Response(body=body, status=self.status, headers={"Content-Type": CONTENT_TYPE, **self.headers})


def problem_of(error: Exception, retry_after_seconds: int) -> ProblemError | None:
    """The problem to answer for an error; None if the error is a bug, which must be logged."""
    match error:
        case ProblemError():
            return error
        case RequestPayloadError():
            return ProblemError("invalid-body", "the body is not well-formed HTTP")
        case _:
            request_error = request_error_of(error)
            return None if request_error is None else problem_for(request_error, retry_after_seconds)


def problem_for(error: RequestError, retry_after_seconds: int) -> ProblemError:
    """The problem of an error's kind."""
    facts = error.facts
    headers = {"Retry-After": str(retry_after_seconds)} if error.kind in _RETRIED else {}
    if etag := facts.get("etag"):
        headers["ETag"] = f'"{etag}"'
    if receipt := facts.get("receipt"):
        headers[RECEIPT_HEADER] = receipt
    return ProblemError(error.kind.type, str(error), headers=headers, **facts)
