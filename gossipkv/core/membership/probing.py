"""The failure detector's exchanges, which run beside each peer's agenda of gossip.

A peer may have several under way, so that a long transfer does not make the member look dead.
"""

from __future__ import annotations

import random

from gossipkv.core.membership.exchanges import Outgoing
from gossipkv.core.membership.membership import Membership
from gossipkv.core.membership.probe import ProbeRequest
from gossipkv.core.membership.swim import HEALTH_MAX, Swim
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.tally import Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Ack, Envelope, Message, Ping, PingRequest


class Probing:
    """The failure detector of a replica, connected to its table of members."""

    def __init__(
        self, options: ReplicaOptions, tally: Tally, rng: random.Random, outbox: Outbox, incarnation: int, now_ms: int
    ) -> None:
        self.swim = Swim(options, rng, tally, now_ms, outbox=outbox)
        self.swim.begin_life(incarnation)
        self.membership = Membership(options, rng, self.swim, outbox)
        self._options = options

    def advance(self, now_ms: int) -> None:
        """Advance the time; call this before any other method."""
        self.swim.advance(now_ms)

    def tick(self, now_ms: int) -> None:
        """Advance the time; end suspicions and probes that are due, and begin a probe."""
        self.swim.advance(now_ms)
        self.swim.tick()

    def receive(self, envelope: Envelope) -> list[Message]:
        """Return the answers to the pings and acks in an envelope."""
        answers: list[Message] = []
        for message in envelope.messages:
            if isinstance(message, Ping | PingRequest | Ack):
                answer = self.swim.receive(envelope.member, message)
                answers += [] if answer is None else [answer]
        return answers

    def began(self, request: ProbeRequest, exchange: int) -> None:
        """Do nothing: a request needs no note of its exchange."""

    def answered(self, request: ProbeRequest, envelope: Envelope, now_ms: int) -> None:
        """Take the answer to a request."""
        acks = [message for message in envelope.messages if isinstance(message, Ack)]
        self.swim.answered(request, envelope.member, acks)
        peer = self.membership.member(envelope.member)
        if peer is not None and envelope.member == request.target:
            self.membership.heard_from(peer, now_ms)

    def failed(self, request: ProbeRequest, reason: str, now_ms: int, *, was_answered: bool) -> None:  # noqa: ARG002
        """Note that a request has not been answered in time."""
        self.swim.failed(request)

    def compose(self) -> list[Outgoing]:
        """Return the exchanges to begin now."""
        outgoing = []
        requests, self.swim.requests = self.swim.requests, []
        for request in requests:
            peer = self.membership.member(request.target)
            if peer is not None and peer.endpoint and not peer.is_let_go:
                # The probe is over by then, even if local health is poor.
                timeout_ms = self._options.protocol_period_ms * (1 + HEALTH_MAX)
                outgoing.append(Outgoing(self, request, peer.endpoint, (request.message,), timeout_ms, is_probe=True))
        return outgoing

    def forget(self, request: ProbeRequest) -> None:
        """Drop a request that was made or answered in a batch that was not committed."""
        self.swim.forget(request)

    def forget_batch(self) -> None:
        """Take back a batch that was not committed."""
        self.swim.forget_batch()
