"""What a node needs of its transport: exchanges of one frame for one frame.

A frame is an encoded envelope. An exchange either returns the peer's answer or raises ExchangeError. A
failed exchange may still have reached the peer. The caller has at most one exchange with a peer under way
at a time.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import Protocol


class Fault(enum.Enum):
    """The reasons why exchanges fail. The values label a metric."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    MALFORMED = "malformed"


class ExchangeError(Exception):
    """The error of an exchange that brought no answer from the peer."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


class ExchangeRefusedError(Exception):
    """The error that a serving node raises to refuse a frame. The sender gets the text as the reason."""


Serve = Callable[[bytes], Awaitable[bytes]]
"""The function that answers one frame. May raise ExchangeRefusedError."""


class Transport(Protocol):
    """A means to exchange frames with peers, and to answer theirs."""

    @property
    def endpoint(self) -> str:
        """The endpoint at which peers reach this transport, once started."""
        ...

    async def start(self, serve: Serve) -> None:
        """Begin to answer frames. Raises OSError if the address is not available."""
        ...

    async def exchange(self, endpoint: str, frame: bytes) -> bytes:
        """Send a frame to an endpoint and return the answer. Raises ExchangeError."""
        ...

    async def close(self) -> None:
        """Stop answering and give up exchanges under way. Idempotent."""
        ...
