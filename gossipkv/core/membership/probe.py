"""A probe of the failure detector, and the exchanges that it wants begun."""

from __future__ import annotations

from dataclasses import dataclass

from gossipkv.core.protocol.messages import Ack, Ping, PingRequest


@dataclass(frozen=True, slots=True)
class Request:
    """An exchange to begin; its end is reported by `answered` or `failed`."""

    target: str
    message: Ping | PingRequest | Ack
    probe: int = 0
    """The probe that it belongs to; 0: none."""
    on_behalf_of: str = ""
    """Who asked to have the target pinged."""


@dataclass(slots=True)
class Probe:
    number: int
    target: str
    indirect_at_ms: int
    ends_ms: int
    is_acked: bool = False
    asked: int = 0
    """How many others were asked to ping it."""
    answers: int = 0
    """How many of these have answered that they would: silence from them is likely the fault of this member."""
