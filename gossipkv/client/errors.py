"""The errors of requests.

The server's stable problem type decides the error; for types not listed below, the status does.
"""

from __future__ import annotations

from typing import Any

from gossipkv.client.row import Row

PROBLEM_TYPE_PREFIX = "urn:gossipkv:problem:"


class ClientError(Exception):
    """The base of all errors. `problem` is the server's problem (RFC 9457), empty if there is none."""

    def __init__(self, message: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = problem or {}


class NotFoundError(ClientError):
    """There is no such table or path."""


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


_OF_KIND: dict[str, type[ClientError]] = {
    "too-many-siblings": TooManySiblingsError,
    "context-required": ContextRequiredError,
    "clock-off": ClockOffError,
    "context-ahead": ContextAheadError,
    "too-few-members": TooFewMembersError,
    "too-few-answers": TooFewAnswersError,
    "too-few-copies": TooFewCopiesError,
    "overloaded": OverloadedError,
}


_NOTHING_STORED = frozenset(
    {"overloaded", "stopping", "clock-off", "context-ahead", "too-few-members", "row-unreadable"}
)
"""Problem types."""


def error_of(status: int, problem: dict[str, Any]) -> ClientError:
    """The error that an answer with a status of 400 or more stands for."""
    title = problem.get("title") or f"status {status}"
    detail = problem.get("detail")
    message = f"{title}: {detail}" if detail else str(title)
    if kind := _OF_KIND.get(kind_of(problem)):
        error = kind(message, problem)
        if isinstance(error, TooFewCopiesError):
            error.may_stand = True
        return error
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


def write_error_of(status: int, problem: dict[str, Any]) -> ClientError:
    """The same for a write, which may be stored unless the answer says that nothing was."""
    error = error_of(status, problem)
    if isinstance(error, UnavailableError) and not has_stored_nothing(status, problem):
        error.may_stand = True
    return error


def has_stored_nothing(status: int, problem: dict[str, Any]) -> bool:
    """Whether an answer says so. One without a type may come from something between here and a server that has stored
    the write."""
    return status == 429 or kind_of(problem) in _NOTHING_STORED


def kind_of(problem: dict[str, Any]) -> str:
    return str(problem.get("type", "")).removeprefix(PROBLEM_TYPE_PREFIX)


def is_of_argument(error: ClientError) -> bool:
    """Whether a server has refused the request for an argument, which would be wrong at any other server."""
    kind = kind_of(error.problem)
    return kind.startswith("invalid-") or kind in ("unsupported-setting", "value-too-large")
