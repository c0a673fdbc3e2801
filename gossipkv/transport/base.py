"""What a node needs of its transport: exchanges of one frame for one frame.

A frame is an encoded envelope. An exchange either returns the peer's answer or raises ExchangeError; a
failed exchange may still have reached the peer. The caller keeps at most one exchange with a peer under way
at a time.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import Protocol


class Fault(enum.Enum):
    """Why an exchange failed; the values label a metric."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    MALFORMED = "malformed"


class ExchangeError(Exception):
    """No answer from the peer."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


class RefusedError(Exception):
    """Raised by a serving node: the frame will not be answered, and the sender gets the reason."""


Serve = Callable[[bytes], Awaitable[bytes]]
"""Answers one frame. May raise RefusedError."""


class Transport(Protocol):
    @property
    def endpoint(self) -> str:
        """The endpoint at which peers reach this transport, once started."""
        ...

    async def start(self, serve: Serve) -> None:
        """Begin to answer frames. Raises OSError if the address is not available."""
        ...

    async def exchange(self, endpoint: str, frame: bytes) -> bytes:
        """Raises ExchangeError."""
        ...

    async def close(self) -> None:
        """Stop answering and give up exchanges under way. Idempotent."""
        ...
