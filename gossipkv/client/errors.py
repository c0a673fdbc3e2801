"""What can become of a request instead of its answer."""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """`problem` is the server's account of it (RFC 9457), empty where there is none."""

    def __init__(self, message: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = problem or {}


class NotFoundError(ClientError):
    """There is no such row, table or receipt."""


class ConditionFailedError(ClientError):
    """The row is not as the request's condition wants it; nothing was changed."""


class RefusedError(ClientError):
    """The request is wrong, and would be at any other time and server."""


class ServerFailedError(ClientError):
    """The server failed on the request."""


class UnavailableError(ClientError):
    """No server took the request, or its answer was lost. `may_stand`: whether it may have been carried out."""

    def __init__(self, message: str, problem: dict[str, Any] | None = None, *, may_stand: bool = False) -> None:
        super().__init__(message, problem)
        self.may_stand = may_stand


def error_of(status: int, problem: dict[str, Any]) -> ClientError:
    """The error that an answer with a status of 400 or more stands for."""
    title = problem.get("title") or f"status {status}"
    detail = problem.get("detail")
    message = f"{title}: {detail}" if detail else str(title)
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
