"""The errors of requests, the same whether a server or a member in this process refuses them.

The kind decides the error. For an answer of a kind that is not listed below, the status does.
"""

from __future__ import annotations

from typing import Any

from gossipkv.rows.errors import TYPE_PREFIX, ErrorKind, RequestError
from gossipkv.rows.row import Row


class ClientError(Exception):
    """The base of all errors. `problem` is the server's problem (RFC 9457), empty if there is none."""

    def __init__(self, message: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = problem or {}


class NotFoundError(ClientError):
    """There is no such namespace, member or path."""


class ConditionFailedError(ClientError):
    """The condition of the request does not hold; nothing was changed."""


class RefusedError(ClientError):
    """The request is wrong, at any time and for any server."""


class InvalidArgumentError(RefusedError, ValueError):
    """An argument has the wrong type, is out of range, or cannot be stored. Nothing was stored."""


class TooManySiblingsError(RefusedError):
    """The row holds the maximum number of siblings: read it, and write the merge with its context."""


class ContextRequiredError(RefusedError):
    """The table keeps siblings, where a delete removes what its writer has read: give the context of a read."""


class UnresolvedSiblingsError(ClientError):
    """The row has several values, and the table object has no `resolve` function; `row` holds them."""

    def __init__(self, row: Row) -> None:
        super().__init__(f"the row {row.row!r} has {len(row.siblings)} siblings: give the table a `resolve` function")
        self.row = row


class ServerFailedError(ClientError):
    """The server failed on the request."""


class UnavailableError(ClientError):
    """No server took the request, or its answer was lost. `may_stand` says whether it may have been carried out;
    `retry_after_s` is the pause that the server asks for."""

    def __init__(
        self,
        message: str,
        problem: dict[str, Any] | None = None,
        *,
        may_stand: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, problem)
        self.may_stand = may_stand
        self.retry_after_s = retry_after_s


class OverloadedError(UnavailableError):
    """Every server asked is overloaded; nothing was stored."""


class DeadlineError(UnavailableError):
    """The deadline of the call passed. `may_stand` says whether a write was under way."""


class ClockOffError(UnavailableError):
    """The clocks of the servers asked are off, so they take no writes. Nothing was stored."""


class ContextAheadError(UnavailableError):
    """The given context names writes that the servers asked have not seen, or is too far ahead of their clocks. Nothing
    was stored. If it goes on, read the row again: the writes may be lost."""


class TooFewMembersError(UnavailableError):
    """Fewer members are alive than the copies asked for. Nothing was stored."""


class TooFewAnswersError(UnavailableError):
    """Fewer members have answered than the read asked for."""


class TooFewCopiesError(UnavailableError):
    """The write is stored, but on fewer members than it asked for when its time was up. It is not undone: it goes on
    replicating, and `receipt` shows how far."""

    @property
    def copies(self) -> int:
        return int(self.problem.get("copies", 1))

    @property
    def receipt(self) -> str | None:
        receipt = self.problem.get("receipt")
        return None if receipt is None else str(receipt)


_OF_KIND: dict[ErrorKind, type[ClientError]] = {
    ErrorKind.INVALID_ROW_KEY: InvalidArgumentError,
    ErrorKind.INVALID_TABLE_NAME: InvalidArgumentError,
    ErrorKind.INVALID_PARAMETER: InvalidArgumentError,
    ErrorKind.INVALID_CONDITION: InvalidArgumentError,
    ErrorKind.INVALID_CONTEXT: InvalidArgumentError,
    ErrorKind.INVALID_RECEIPT: InvalidArgumentError,
    ErrorKind.INVALID_MEMBER_NAME: InvalidArgumentError,
    ErrorKind.VALUE_TOO_LARGE: InvalidArgumentError,
    ErrorKind.UNSUPPORTED_SETTING: InvalidArgumentError,
    ErrorKind.TOO_MANY_ASKED: RefusedError,
    ErrorKind.READ_ONLY_NAMESPACE: RefusedError,
    ErrorKind.ROW_TOO_LARGE: RefusedError,
    ErrorKind.UNKNOWN_NAMESPACE: NotFoundError,
    ErrorKind.MEMBER_NOT_FOUND: NotFoundError,
    ErrorKind.OWN_MEMBER: RefusedError,
    ErrorKind.MEMBER_ANSWERS: RefusedError,
    ErrorKind.MEMBER_LISTED: RefusedError,
    ErrorKind.MEMBER_HEARD: RefusedError,
    ErrorKind.PRECONDITION_FAILED: ConditionFailedError,
    ErrorKind.TOO_MANY_SIBLINGS: TooManySiblingsError,
    ErrorKind.CONTEXT_REQUIRED: ContextRequiredError,
    ErrorKind.CONTEXT_AHEAD: ContextAheadError,
    ErrorKind.CLOCK_OFF: ClockOffError,
    ErrorKind.TOO_FEW_MEMBERS: TooFewMembersError,
    ErrorKind.TOO_FEW_ANSWERS: TooFewAnswersError,
    ErrorKind.TOO_FEW_COPIES: TooFewCopiesError,
    ErrorKind.OVERLOADED: OverloadedError,
    ErrorKind.STOPPING: UnavailableError,
    ErrorKind.ROW_UNREADABLE: UnavailableError,
    ErrorKind.STORAGE_STUCK: UnavailableError,
    ErrorKind.STORAGE_FULL: ServerFailedError,
    ErrorKind.STORAGE_FAILED: ServerFailedError,
    ErrorKind.INTERNAL_ERROR: ServerFailedError,
}

_KINDS = {kind.type: kind for kind in ErrorKind}

_NOTHING_STORED = frozenset(
    {
        ErrorKind.OVERLOADED,
        ErrorKind.STOPPING,
        ErrorKind.CLOCK_OFF,
        ErrorKind.CONTEXT_AHEAD,
        ErrorKind.TOO_FEW_MEMBERS,
        ErrorKind.ROW_UNREADABLE,
    }
)


def error_of_request(error: RequestError, *, is_write: bool = False) -> ClientError:
    """The error that a program is given for what a member in its own process refuses."""
    described = error.described()
    if _OF_KIND[error.kind] is InvalidArgumentError:
        # The title speaks of parts of a request over HTTP.
        return InvalidArgumentError(str(error), described)
    public = _error_of_kind(error.kind, f"{error.kind.title}: {error}", described)
    if is_write and isinstance(public, UnavailableError):
        public.may_stand = error.kind not in _NOTHING_STORED
    return public


def error_of(status: int, problem: dict[str, Any]) -> ClientError:
    """The error that an answer with a status of 400 or more stands for."""
    title = problem.get("title") or f"status {status}"
    detail = problem.get("detail")
    message = f"{title}: {detail}" if detail else str(title)
    if kind := _KINDS.get(type_of(problem)):
        return _error_of_kind(kind, message, problem)
    if type_of(problem).startswith("invalid-"):
        return InvalidArgumentError(message, problem)
    match status:
        case 404:
            return NotFoundError(message, problem)
        case 412:
            return ConditionFailedError(message, problem)
        case 429 | 502 | 503 | 504:
            return UnavailableError(message, problem, may_stand=bool(problem.get("stored")))
        case _ if status < 500:
            return RefusedError(message, problem)
        case _:
            return ServerFailedError(message, problem)


def _error_of_kind(kind: ErrorKind, message: str, problem: dict[str, Any]) -> ClientError:
    error = _OF_KIND[kind](message, problem)
    if isinstance(error, TooFewCopiesError):
        error.may_stand = True
    return error


def write_error_of(status: int, problem: dict[str, Any]) -> ClientError:
    """The same for a write, which may be stored unless the answer says that nothing was."""
    error = error_of(status, problem)
    if isinstance(error, UnavailableError) and not has_stored_nothing(status, problem):
        error.may_stand = True
    return error


def has_stored_nothing(status: int, problem: dict[str, Any]) -> bool:
    """Whether an answer says so. One without a type may come from something between here and a server that has stored
    the write."""
    return status == 429 or _KINDS.get(type_of(problem)) in _NOTHING_STORED


def type_of(problem: dict[str, Any]) -> str:
    """The type of a problem, without what all types begin with; empty if it has none."""
    return str(problem.get("type", "")).removeprefix(TYPE_PREFIX)
