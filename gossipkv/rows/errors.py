"""Why a member does not carry out a request: the kinds, and the base of the errors that name one.

A kind says nothing about the way that a request came in. HTTP gives each a status, and the client and the embedded
member a class of error. The type and the title of a kind are stable; the detail of an error is for people.
"""

from __future__ import annotations

import enum
from typing import Any

TYPE_PREFIX = "urn:gossipkv:problem:"


class ErrorKind(enum.Enum):
    INVALID_ROW_KEY = "invalid-row-key", "The row key is not allowed"
    INVALID_TABLE_NAME = "invalid-table-name", "The table name is not allowed"
    INVALID_PARAMETER = "invalid-parameter", "A query parameter has a value that is not allowed"
    INVALID_CONDITION = "invalid-condition", "The condition in a header cannot be read"
    INVALID_CONTEXT = "invalid-context", "The context cannot be read"
    INVALID_RECEIPT = "invalid-receipt", "The receipt cannot be read"
    INVALID_MEMBER_NAME = "invalid-member-name", "The member name is not allowed"
    TOO_MANY_ASKED = "too-many-asked", "The cluster has fewer members than were asked for"
    READ_ONLY_NAMESPACE = "read-only-namespace", "Clients do not write to this namespace"
    UNKNOWN_NAMESPACE = "unknown-namespace", "There is no such namespace"
    MEMBER_NOT_FOUND = "member-not-found", "There is no such member"
    OWN_MEMBER = "own-member", "A member does not forget itself"
    MEMBER_ANSWERS = "member-answers", "The member answers"
    MEMBER_LISTED = "member-listed", "Discovery lists the member"
    MEMBER_HEARD = "member-heard", "The member was heard lately"
    TOO_MANY_SIBLINGS = "too-many-siblings", "The row has too many values at once"
    CONTEXT_AHEAD = "context-ahead", "The context is ahead of this member"
    PRECONDITION_FAILED = "precondition-failed", "The condition does not hold"
    VALUE_TOO_LARGE = "value-too-large", "The value is too large"
    ROW_TOO_LARGE = "row-too-large", "The row is too large"
    UNSUPPORTED_SETTING = "unsupported-setting", "A setting has a value that is not supported"
    CONTEXT_REQUIRED = "context-required", "The write needs a context"
    INTERNAL_ERROR = "internal-error", "The member failed to answer"
    TOO_FEW_MEMBERS = "too-few-members", "Too few members are alive; nothing was stored"
    TOO_FEW_COPIES = "too-few-copies", "The write is stored, with too few copies in time"
    TOO_FEW_ANSWERS = "too-few-answers", "Too few members answered the read"
    OVERLOADED = "overloaded", "The member has too much to do"
    STOPPING = "stopping", "The member is stopping"
    CLOCK_OFF = "clock-off", "The clock of the member is off; nothing was stored"
    ROW_UNREADABLE = "row-unreadable", "This member cannot read its copy of the row"
    STORAGE_STUCK = "storage-stuck", "The storage does not move"
    STORAGE_FULL = "storage-full", "The storage is full"
    STORAGE_FAILED = "storage-failed", "The storage has failed"

    def __init__(self, type_name: str, title: str) -> None:
        self.type = type_name
        self.title = title


class RequestError(Exception):
    """A request that is not carried out, or not in full. A subclass or an instance names the kind."""

    kind: ErrorKind

    def __init__(self, detail: str, *, kind: ErrorKind | None = None, **facts: Any) -> None:
        super().__init__(detail)
        if kind is not None:
            self.kind = kind
        self.facts = facts
        """Facts for programs, by name."""

    def described(self) -> dict[str, Any]:
        """The error for programs, as in the answer of the HTTP API."""
        kind = self.kind
        return {"type": TYPE_PREFIX + kind.type, "title": kind.title, "detail": str(self), **self.facts}


def internal_error() -> RequestError:
    return RequestError("this is a fault of the member, which has logged it", kind=ErrorKind.INTERNAL_ERROR)
