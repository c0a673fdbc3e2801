"""The exchanges under way, in one table.

A part of the replica composes what is to be sent. An exchange begins only when everything of the batch has been
composed, so that a part that fails leaves none behind that the driver never hears of. The part that began it learns its
end: by an answer, by a failure, or because the batch in which it began was not committed.

Probes have numbers of their own, which count downwards from -1. A peer may have several under way, so that a long
transfer does not make the member look dead.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from gossipkv.core.protocol.messages import Message


class Owner(Protocol):
    """A part of the replica that begins exchanges."""

    def began(self, subject: Any, exchange: int) -> None:
        """The exchange about this subject has begun."""

    def failed(self, subject: Any, reason: str, now_ms: int, *, was_answered: bool) -> None:
        """The exchange has failed. `was_answered`: in a way that cannot be read."""

    def forget(self, subject: Any) -> None:
        """The exchange began or ended in a batch that was not committed: it is not under way."""


class Outgoing(NamedTuple):
    """An exchange to begin."""

    owner: Owner
    subject: Any
    """The owner's record of it."""
    endpoint: str
    messages: tuple[Message, ...]
    timeout_ms: int | None = None
    """No answer is of use later; None: the transport's own bound."""
    is_probe: bool = False


class Exchanges:
    """See the module's text."""

    def __init__(self) -> None:
        self.last = 0
        """The number of the last exchange that was begun, probes left out. It serves as a clock: an answer to a later
        one was given later."""
        self._last_probe = 0
        self._under_way: dict[int, Outgoing] = {}

    def begin(self, outgoing: Outgoing) -> int:
        """Returns the number of the exchange."""
        if outgoing.is_probe:
            exchange = self._last_probe = self._last_probe - 1
        else:
            exchange = self.last = self.last + 1
        self._under_way[exchange] = outgoing
        outgoing.owner.began(outgoing.subject, exchange)
        return exchange

    def end(self, exchange: int) -> Outgoing | None:
        """The exchange has ended; returns what it was, or None if it is not under way."""
        return self._under_way.pop(exchange, None)

    def forget(self, exchanges: Iterable[int]) -> None:
        """The batch in which these began or ended was not committed."""
        for exchange in exchanges:
            if (outgoing := self.end(exchange)) is not None:
                outgoing.owner.forget(outgoing.subject)

    def of(self, *owners: Owner) -> dict[int, Any]:
        """The subjects of the owners' exchanges, by number."""
        return {
            exchange: outgoing.subject
            for exchange, outgoing in self._under_way.items()
            if any(outgoing.owner is owner for owner in owners)
        }
