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

from gossipkv.committer import StoppedError
from gossipkv.consistency import TooFewAnswersError, TooFewMembersError, TooManyAskedError
from gossipkv.core.membership.clocks import ClockOffError
from gossipkv.core.store.storage import (
    PutDelayedError,
    PutRefusedError,
    StorageError,
    StorageFailedError,
    StorageFullError,
    UnreadableRowError,
)
from gossipkv.node import OverloadedError
from gossipkv.rows.invalid import InvalidInputError, ValueTooLargeError

TYPE_PREFIX = "urn:gossipkv:problem:"
CONTENT_TYPE = "application/problem+json"

KINDS: Mapping[str, tuple[int, str]] = {
    "invalid-path": (400, "The path is not percent-encoded UTF-8"),
    "invalid-row-key": (400, "The row key is not allowed"),
    "invalid-table-name": (400, "The table name is not allowed"),
    "unknown-parameter": (400, "The query has a parameter that this call does not know"),
    "repeated-parameter": (400, "The query has a parameter more than once"),
    "invalid-parameter": (400, "A query parameter has a value that is not allowed"),
    "invalid-condition": (400, "The condition in a header cannot be read"),
    "invalid-context": (400, "The context cannot be read"),
    "invalid-body": (400, "The body cannot be read"),
    "invalid-receipt": (400, "The receipt cannot be read"),
    "too-many-asked": (400, "The cluster has fewer members than were asked for"),
    "invalid-line": (400, "The line is not an operation"),
    "read-only-namespace": (403, "Clients do not write to this namespace"),
    "path-not-found": (404, "There is nothing at this path"),
    "unknown-namespace": (404, "There is no such namespace"),
    "table-not-found": (404, "There is no such table"),
    "member-not-found": (404, "There is no such member"),
    "row-not-found": (404, "There is no such row"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "body-timeout": (408, "The body came too slowly"),
    "too-many-siblings": (409, "The row has too many values at once"),
    "context-ahead": (409, "The context is ahead of this member"),
    "own-member": (409, "A member does not forget itself"),
    "member-answers": (409, "The member answers"),
    "member-listed": (409, "Discovery lists the member"),
    "member-heard": (409, "The member was heard lately"),
    "precondition-failed": (412, "The condition does not hold"),
    "value-too-large": (413, "The value is too large"),
    "row-too-large": (413, "The row is too large"),
    "body-too-large": (413, "The body is too large"),
    "line-too-long": (413, "The line is too long"),
    "encoded-body": (415, "Encoded bodies are not taken"),
    "expectation-failed": (417, "The expectation cannot be met"),
    "unsupported-setting": (422, "A setting has a value that is not supported"),
    "context-required": (428, "The write needs a context"),
    "internal-error": (500, "The member failed to answer"),
    "too-few-members": (503, "Too few members are alive; nothing was stored"),
    "too-few-copies": (503, "The write is stored, with too few copies in time"),
    "too-few-answers": (503, "Too few members answered the read"),
    "overloaded": (503, "The member has too much to do"),
    "stopping": (503, "The member is stopping"),
    "clock-off": (503, "The clock of the member is off; nothing was stored"),
    "row-unreadable": (503, "This member cannot read its copy of the row"),
    "storage-stuck": (503, "The storage does not move"),
    "not-live": (503, "The member is not live"),
    "not-ready": (503, "The member is not ready"),
    "storage-full": (507, "The storage is full"),
    "storage-failed": (507, "The storage has failed"),
}

_KIND_OF_FIELD = {
    "row": "invalid-row-key",
    "table": "invalid-table-name",
    "receipt": "invalid-receipt",
    "context": "invalid-context",
    **dict.fromkeys(("etag", "if_match", "if_absent", "If-Match", "If-None-Match"), "invalid-condition"),
}

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
    retry = {"Retry-After": str(retry_after_seconds)}
    match error:
        case ProblemError():
            return error
        case ValueTooLargeError():
            return ProblemError("value-too-large", str(error), bytes_max=error.bytes_max)
        case InvalidInputError():
            return ProblemError(_KIND_OF_FIELD.get(error.field, "invalid-parameter"), str(error), parameter=error.field)
        case TooManyAskedError():
            return ProblemError("too-many-asked", str(error))
        case TooFewMembersError():
            return ProblemError("too-few-members", str(error), headers=retry, stored=False)
        case TooFewAnswersError():
            return ProblemError("too-few-answers", str(error), headers=retry)
        case OverloadedError():
            return ProblemError("overloaded", str(error), headers=retry)
        case ClockOffError():
            return ProblemError("clock-off", str(error), headers=retry, stored=False)
        case StoppedError():
            return ProblemError("stopping", str(error), headers=retry)
        case PutDelayedError():
            return ProblemError("overloaded", str(error), headers=retry)
        case PutRefusedError():
            return ProblemError("storage-full", str(error))
        case StorageFullError():
            return ProblemError("storage-full", "there is no room for this write; reads go on, and deletes make room")
        case StorageFailedError():
            return ProblemError(
                "storage-failed", "the volume has failed; the member takes no writes until it is restarted"
            )
        case UnreadableRowError():
            return row_unreadable(error.reason, retry)
        case StorageError():
            return ProblemError("overloaded", "the storage cannot be read now", headers=retry)
        case TimeoutError():
            return ProblemError("storage-stuck", "the storage has not answered in time", headers=retry)
        case RequestPayloadError():
            return ProblemError("invalid-body", "the body is not well-formed HTTP")
        case _:
            return None


def row_unreadable(reason: str, headers: Mapping[str, str] | None = None) -> ProblemError:
    return ProblemError(
        "row-unreadable",
        f"{reason}; another member may have the row, and a put or delete without a condition replaces it",
        headers=headers,
    )


def internal_error() -> ProblemError:
    return ProblemError("internal-error", "this is a fault of the member, which has logged it")
