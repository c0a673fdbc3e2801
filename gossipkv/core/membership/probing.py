"""Sends the failure detector's messages as separate exchanges, in addition to each peer's agenda of gossip.

The numbers of these exchanges count downwards from -1, which tells them apart from gossip. A peer may have several
under way, so that a long transfer does not make the member look dead.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from gossipkv.core.membership.membership import Membership
from gossipkv.core.membership.probe import Request
from gossipkv.core.membership.swim import HEALTH_MAX, Swim
from gossipkv.core.model.tally import Notice, Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Ack, Envelope, Message, Ping, PingRequest


class Outgoing(NamedTuple):
    exchange: int
    endpoint: str
    messages: tuple[Message, ...]
    timeout_ms: int


class Probing:
    """The failure detector of a replica, connected to its table of members."""

    def __init__(
        self, options: ReplicaOptions, tally: Tally, rng: random.Random, incarnation: int, now_ms: int
    ) -> None:
        self.swim = Swim(options, rng, tally, now_ms)
        self.swim.begin_life(incarnation)
        self.membership = Membership(options, rng, self.swim)
        self._options = options
        self._exchanges: dict[int, Request] = {}
        self._last_exchange = 0
        self._told: list[Notice] = []
        """The notices of the batch under way."""

    def advance(self, now_ms: int) -> None:
        """Advance the time; call this before any other method."""
        self.swim.advance(now_ms)

    def tick(self, now_ms: int) -> None:
        self.swim.advance(now_ms)
        self.swim.tick()

    def receive(self, envelope: Envelope) -> list[Message]:
        """The answers to the pings and acks in an envelope."""
        answers: list[Message] = []
        for message in envelope.messages:
            if isinstance(message, Ping | PingRequest | Ack):
                answer = self.swim.receive(envelope.member, message)
                answers += [] if answer is None else [answer]
        return answers

    def answered(self, exchange: int, envelope: Envelope, now_ms: int) -> bool:
        """Take the end of an exchange that was begun here; returns whether the exchange was a probe."""
        request = self._exchanges.pop(exchange, None)
        if request is None:
            return exchange < 0
        acks = [message for message in envelope.messages if isinstance(message, Ack)]
        self.swim.answered(request, envelope.member, acks)
        peer = self.membership.member(envelope.member)
        if peer is not None and envelope.member == request.target:
            self.membership.heard_from(peer, now_ms)
        return True

    def failed(self, exchange: int) -> bool:
        """Like `answered`, for a failed exchange."""
        request = self._exchanges.pop(exchange, None)
        if request is not None:
            self.swim.failed(request)
        return exchange < 0

    def compose(self) -> list[Outgoing]:
        """The exchanges to begin now."""
        outgoing = []
        requests, self.swim.requests = self.swim.requests, []
        for request in requests:
            peer = self.membership.member(request.target)
            if peer is not None and peer.endpoint and not peer.is_let_go:
                self._last_exchange -= 1
                self._exchanges[self._last_exchange] = request
                # The probe is over by then, even if local health is poor.
                timeout_ms = self._options.protocol_period_ms * (1 + HEALTH_MAX)
                outgoing.append(Outgoing(self._last_exchange, peer.endpoint, (request.message,), timeout_ms))
        return outgoing

    def forget(self, exchanges: Sequence[int]) -> None:
        """The batch in which exchanges began or ended was not committed."""
        self.swim.forget([self._exchanges.pop(number) for number in exchanges if number in self._exchanges])
        # Conclusions about members still hold, so their notices are kept.
        self.swim.notices = self._told + self.swim.notices
        self._told = []

    def take_notices(self) -> list[Notice]:
        self._told, self.swim.notices = self.swim.notices, []
        return self._told

    def note_told(self) -> None:
        """The notices taken last have been logged."""
        self._told = []
