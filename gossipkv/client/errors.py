"""What can become of a request instead of its answer.

The server's stable problem type decides first, the status where the type is none of those below.
"""

from __future__ import annotations

from typing import Any

from gossipkv.client.row import Row

PROBLEM_TYPE_PREFIX = "urn:gossipkv:problem:"


class ClientError(Exception):
    """`problem` is the server's account of it (RFC 9457), empty where there is none."""

    def __init__(self, message: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = problem or {}


class NotFoundError(ClientError):
    """There is no such table or path."""


class ConditionFailedError(ClientError):
    """The row is not as the request's condition wants it; nothing was changed."""


class RefusedError(ClientError):
    """The request is wrong, and would be at any other time and server."""


class InvalidArgumentError(RefusedError, ValueError):
    """An argument has the wrong type, is out of range, or is nothing that the store can hold. Nothing was stored."""


class TooManySiblingsError(RefusedError):
    """The row holds as many concurrent values as it may: read it, and write the merge with its context."""


class ContextRequiredError(RefusedError):
    """The table keeps siblings, and a delete removes what its writer has read: give the context of a read."""


class UnresolvedSiblingsError(ClientError):
    """The row has several values, and the table object was given no function to resolve them; `row` holds them."""

    def __init__(self, row: Row) -> None:
        super().__init__(f"the row {row.row!r} has {len(row.siblings)} siblings: give the table a `resolve` function")
        self.row = row


class ServerFailedError(ClientError):
    """The server failed on the request."""


class UnavailableError(ClientError):
    """No server took the request, or its answer was lost. `may_stand`: whether it may have been carried out.
    `retry_after_s`: the pause that the server asks for."""

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
    """Every server asked has too much to do; nothing was stored."""


class DeadlineError(UnavailableError):
    """The call's deadline passed. `may_stand` tells whether a write was under way."""


class ContextAheadError(UnavailableError):
    """The context given is further ahead than the clocks of the servers asked allow. Nothing was stored."""


class TooFewMembersError(UnavailableError):
    """Fewer members are alive than the write wants copies. Nothing was stored."""


class TooFewAnswersError(UnavailableError):
    """Fewer members have answered than the read wants."""


class TooFewCopiesError(UnavailableError):
    """The write is stored, on fewer members than it wanted when its time ran out. Nothing is undone: it goes on
    replicating, and `receipt` tells how far."""

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
    "context-ahead": ContextAheadError,
    "too-few-members": TooFewMembersError,
    "too-few-answers": TooFewAnswersError,
    "too-few-copies": TooFewCopiesError,
    "overloaded": OverloadedError,
}


_NOTHING_STORED = frozenset({"overloaded", "stopping", "context-ahead", "too-few-members", "row-unreadable"})
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
    """The same of a write, which may stand unless the answer says that nothing was stored."""
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
