"""The inputs of a replica, as data. `step` passes each to the method that handles it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gossipkv.core.admission import (
    admit_deadline,
    admit_flag,
    admit_found,
    admit_member,
    admit_read,
    admit_receipt,
    admit_ticket,
    admit_wait,
    admit_write,
)
from gossipkv.core.model.causality import Dot
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.replica import Replica
from gossipkv.core.status import ReplicaStatus
from gossipkv.core.store.forgotten import Forgotten
from gossipkv.core.store.storage import Transaction
from gossipkv.core.waits.answers import Coverage, Reach, Receipt
from gossipkv.core.waits.direct_exchanges import Reading
from gossipkv.core.waits.receipts import Waiting


class Write(NamedTuple):
    """A write of a client. The answer is one Result per operation. If fewer members are alive than the copies asked
    for, nothing is stored and the answer is a Reach."""

    shard: str
    operations: tuple[Operation, ...]
    copies: int = 1


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until a write has `copies` durable copies (None: one at every member). Without a receipt, wait until this
    many members are alive. If the cluster has fewer members, the answer is a Reach and nothing waits. Otherwise there
    is no answer, and the effects of this batch or a later one resolve the wait."""

    ticket: int
    copies: int | None
    receipt: Receipt | None = None
    handovers: Mapping[bytes, Dot] = field(default_factory=dict)
    """The rows of a write that was made here, to be handed over to members that are behind."""
    deadline_ms: int | None = None
    """When the wait ends with its current state, by the member's clock; None: only when it is fulfilled. It ends in the
    first batch from then on."""


@dataclass(frozen=True, slots=True)
class Read:
    """Read a row at `members` members, including this one. Answered and resolved like Await."""

    ticket: int
    shard: str
    address: bytes
    members: int
    deadline_ms: int | None = None
    """See Await."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Track a wait no longer, because its client has gone. Succeeds even if there is no wait with this ticket."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Locate:
    """Answered by the Coverage of a write."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Received:
    """Answered by an Envelope."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Answered:
    """An exchange that this member began has been answered."""

    exchange: int
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Failed:
    """An exchange that this member began has failed, or may have."""

    exchange: int
    reason: str
    was_answered: bool = False
    """Whether a member that speaks this protocol did answer, but its answer could not be read."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """What discovery has found. See `Replica.discovered`."""

    endpoints: tuple[str, ...]
    members: frozenset[str] | None = None
    """All members that exist; None where that is not known."""
    zone: str | None = None
    """This member's own; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: due several times per gossip interval."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Make a batch, in which the waits end whose deadline has passed; as they do in each batch."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The member is about to stop of its own will."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Answered by a Forgotten."""

    member: str
    is_forced: bool = False
    """Whether to forget a member that was heard lately, or that discovery lists."""


@dataclass(frozen=True, slots=True)
class FollowChanges:
    """Start or stop reporting changes in the effects."""

    is_watched: bool


@dataclass(frozen=True, slots=True)
class Inspect:
    """Answered by a ReplicaStatus."""


Input = (
    Write
    | Await
    | Read
    | Withdraw
    | Locate
    | Received
    | Answered
    | Failed
    | Discovered
    | Tick
    | Wake
    | Leave
    | Forget
    | FollowChanges
    | Inspect
)
Answer = list[Result] | Envelope | ReplicaStatus | Coverage | Reach | Forgotten | None


def admit(happened: Input, value_bytes_max: int) -> None:
    """Check an input that a caller in this process hands in. Raises InvalidInputError."""
    match happened:
        case Write(shard=shard, operations=operations, copies=copies):
            admit_write(shard, operations, copies, value_bytes_max)
        case Await(ticket=ticket, copies=copies, receipt=receipt, handovers=handovers, deadline_ms=deadline_ms):
            admit_wait(ticket, copies, receipt, handovers)
            admit_deadline(deadline_ms)
        case Read(ticket=ticket, shard=shard, address=address, members=members, deadline_ms=deadline_ms):
            admit_read(ticket, shard, address, members)
            admit_deadline(deadline_ms)
        case Withdraw(ticket=ticket):
            admit_ticket(ticket)
        case Locate(receipt=receipt):
            admit_receipt(receipt)
        case Discovered(endpoints=endpoints, members=members, zone=zone):
            admit_found(endpoints, members, zone)
        case Forget(member=member, is_forced=is_forced):
            admit_member(member)
            admit_flag("force", is_forced)
        case FollowChanges(is_watched=is_watched):
            admit_flag("is_watched", is_watched)


def step(replica: Replica, transaction: Transaction, happened: Input, now_ms: int) -> Answer:
    """Process one input and return the answer for its caller. Raises RefusedEnvelopeError, and InvalidInputError for an
    input that is not admitted, and OwnClockOffError for a write while the clock is off; nothing has changed then."""
    admit(happened, replica.options.value_bytes_max)
    match happened:
        case Write(shard=shard, operations=operations, copies=copies):
            replica.check_clock()
            if copies > 1 and (reach := replica.reach()).answering < copies:
                return reach
            return replica.ask(transaction, shard, operations, now_ms)
        case Await(copies=copies) if copies is not None and (reach := replica.reach()).members < copies:
            return reach
        case Await(ticket=ticket, copies=copies, receipt=receipt, handovers=handovers, deadline_ms=deadline_ms):
            replica.wait(ticket, Waiting(copies, receipt, handovers, deadline_ms), now_ms)
        case Read(members=members) if (reach := replica.reach()).members < members:
            return reach
        case Read(ticket=ticket, shard=shard, address=address, members=members, deadline_ms=deadline_ms):
            replica.read(ticket, Reading(shard, address, members, deadline_ms), now_ms)
        case Withdraw(ticket=ticket):
            replica.withdraw(ticket)
        case Locate(receipt=receipt):
            return replica.coverage(receipt)
        case Received(envelope=envelope):
            return replica.receive(transaction, envelope, now_ms)
        case Answered(exchange=exchange, envelope=envelope):
            replica.answered(transaction, exchange, envelope, now_ms)
        case Failed(exchange=exchange, reason=reason, was_answered=was_answered):
            replica.failed(exchange, reason, now_ms, was_answered=was_answered)
        case Discovered(endpoints=endpoints, members=members, zone=zone):
            replica.discovered(transaction, endpoints, members, zone, now_ms)
        case Tick():
            replica.tick(transaction, now_ms)
        case Leave():
            replica.leave(transaction, now_ms)
        case Forget(member=member, is_forced=is_forced):
            replica.check_clock()
            return replica.forget(transaction, member, now_ms, is_forced=is_forced)
        case FollowChanges(is_watched=is_watched):
            replica.watch(is_watched=is_watched)
        case Inspect():
            return replica.status(now_ms)
    return None
