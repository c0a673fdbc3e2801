"""Everything that can happen to a replica, as data; `step` hands each to the method that takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gossipkv.core.messages import Envelope
from gossipkv.core.replica import Replica
from gossipkv.core.status import ReplicaStatus
from gossipkv.core.storage import Transaction
from gossipkv.core.write import Operation, Result


class Write(NamedTuple):
    """Answered by one Result per operation."""

    shard: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """Answered by an Envelope."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Answered:
    exchange: int
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Failed:
    exchange: int
    reason: str


@dataclass(frozen=True, slots=True)
class Discovered:
    endpoints: tuple[str, ...]
    members: frozenset[str] | None = None
    """All members that exist; None where that is not known."""
    zone: str | None = None
    """This member's own; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Tick:
    pass


@dataclass(frozen=True, slots=True)
class Leave:
    pass


@dataclass(frozen=True, slots=True)
class Watch:
    """From here on, changes are told in the effects; or no longer."""

    is_watched: bool


@dataclass(frozen=True, slots=True)
class Inspect:
    """Answered by a ReplicaStatus."""


Input = Write | Received | Answered | Failed | Discovered | Tick | Leave | Watch | Inspect
Answer = list[Result] | Envelope | ReplicaStatus | None


def step(replica: Replica, transaction: Transaction, happened: Input, now_ms: int) -> Answer:
    """Let one thing happen; returns the answer for whoever caused it."""
    match happened:
        case Write(shard=shard, operations=operations):
            return replica.write(transaction, shard, operations, now_ms)
        case Received(envelope=envelope):
            return replica.receive(transaction, envelope, now_ms)
        case Answered(exchange=exchange, envelope=envelope):
            replica.answered(transaction, exchange, envelope, now_ms)
        case Failed(exchange=exchange, reason=reason):
            replica.failed(exchange, reason, now_ms)
        case Discovered(endpoints=endpoints, members=members, zone=zone):
            replica.discovered(transaction, endpoints, members, zone, now_ms)
        case Tick():
            replica.tick(transaction, now_ms)
        case Leave():
            replica.leave(transaction, now_ms)
        case Watch(is_watched=is_watched):
            replica.watch(is_watched=is_watched)
        case Inspect():
            return replica.status(now_ms)
    return None
