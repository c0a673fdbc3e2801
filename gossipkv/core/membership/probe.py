"""A probe of the failure detector, and the exchanges that it wants begun."""

from __future__ import annotations

from dataclasses import dataclass

from gossipkv.core.protocol.messages import Ack, Ping, PingRequest


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """An exchange to begin; its end is reported by `answered` or `failed`."""

    target: str
    message: Ping | PingRequest | Ack
    probe: int = 0
    """The number of the probe that it belongs to; 0 if it belongs to none."""
    on_behalf_of: str = ""
    """The member that asked to have the target pinged; empty if none did."""


@dataclass(slots=True)
class Probe:
    """The probe of one member. Times are in the failure detector's own time."""

    number: int
    target: str
    indirect_at_ms: int
    """The time at which others are asked to ping the target."""
    ends_ms: int
    is_acked: bool = False
    asked: int = 0
    """The number of members that were asked to ping the target."""
    answers: int = 0
    """The number of these that have answered that they would. If the others are silent, this member is likely at
    fault."""
