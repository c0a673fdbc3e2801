"""The driver of a member, without I/O: what stands between the core and those who ask it.

Inputs go to the storage, each with its waiter. A batch comes back once it is durable, or has failed. The node and the
simulation carry out the rest: they run batches, carry frames, and keep time.

1. Each outcome goes to the waiter of its own input, and to no other.
2. The snapshot of a batch stands before any of its outcomes is known.
3. A batch that fences the member acknowledges nothing, and nothing leaves after it.
4. Each exchange that a batch begins ends once for the core: by an answer, or by a failure.
5. What an input takes of the inbox is given back when the batch is over, whatever became of its waiter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gossipkv.core.effects import Send
from gossipkv.core.inputs import Await, Failed, Input, Read, Write
from gossipkv.core.model.write import Operation
from gossipkv.core.store.snapshot import ReplicaSnapshot
from gossipkv.core.waits.answers import Resolved
from gossipkv.intake.bound import Bound
from gossipkv.member.batches import Frame, InputOutcome, Job, Published, StoppedError, Waiter
from gossipkv.member.group_commit import StepFailedError
from gossipkv.member.watches import Watches
from gossipkv.rows.errors import ErrorKind, RequestError


class InboxFullError(RequestError):
    """The error of a write for which the inbox has no room. Nothing was stored; try again shortly."""

    kind = ErrorKind.OVERLOADED


@dataclass(frozen=True, slots=True)
class Inbox:
    """How much may wait for the storage."""

    operations: Bound
    """Writes."""
    values: Bound
    """The bytes of their values."""
    frames: Bound
    """The bytes of frames and answers from peers."""

    def admit(self, operations: int, size_bytes: int) -> bool:
        """Take room for writes. Not by Bound.take: a write that exceeds a whole bound is always refused, and none is
        kept for small ones."""
        for bound, amount in ((self.operations, operations), (self.values, size_bytes)):
            if bound.used + amount > bound.limit:
                bound.refusals.count(used=bound.used, limit=bound.limit)
                return False
        self.operations.used += operations
        self.values.used += size_bytes
        return True

    def give_back(self, job: Job) -> None:
        """Give back what an input has taken."""
        if job.operations:
            self.operations.give_back(job.operations)
            self.values.give_back(job.size_bytes)
        elif job.size_bytes:
            self.frames.give_back(job.size_bytes)


class Driver:
    """The driver of one run of a member. `hand_in` passes a job to the storage."""

    def __init__(
        self, snapshot: ReplicaSnapshot, hand_in: Callable[[Job], None], inbox: Inbox, watches: Watches
    ) -> None:
        self.snapshot = snapshot
        """Of the last durable batch."""
        self.inbox = inbox
        self.watches = watches
        self.tickets: dict[int, Waiter] = {}
        """The clients that wait for copies, answers or members. Each is given a Resolved."""
        self.exchanges: dict[int, Send[bytes]] = {}
        """The exchanges under way, by number."""
        self.is_fenced = False
        self.is_stopping = False
        self.has_ended = False
        """Whether no exchanges may begin."""
        self._hand_in = hand_in

    # Inputs

    def write(self, shard: str, operations: Sequence[Operation], copies: int, waiter: Waiter | None) -> None:
        """Raises StoppedError, InboxFullError."""
        self.check_taking_writes()
        # Values of other types do not count; the core refuses them.
        size_bytes = sum([len(operation.value) for operation in operations if type(operation.value) is bytes])
        if not self.inbox.admit(len(operations), size_bytes):
            raise InboxFullError("too many writes wait for their commit")
        self._hand_in(Job(Write(shard, tuple(operations), copies), waiter, len(operations), size_bytes))

    def ask(self, happened: Input, waiter: Waiter) -> None:
        """Hand in an input."""
        self._hand_in(Job(happened, waiter))

    def post(self, happened: Input) -> None:
        """Hand in an input whose outcome nobody needs."""
        self._hand_in(Job(happened, None))

    def wait(self, happened: Await | Read, waiter: Waiter, over: Waiter) -> None:
        """Begin a wait. `over` is given its end, or None if the member ends it without one from the core. `waiter` is
        given a Reach if the cluster has too few members; then nothing waits."""
        self.tickets[happened.ticket] = over
        self.ask(happened, waiter)

    def serve(self, frame: bytes, waiter: Waiter) -> bool:
        """Hand in the request of a peer; returns False if there is no room for it. Raises StoppedError."""
        if self.is_fenced:
            raise self.reason_to_stop()
        return self._take_frame(Frame(frame), waiter)

    def _take_frame(self, frame: Frame, waiter: Waiter | None) -> bool:
        size_bytes = len(frame.content)
        if not self.inbox.frames.take(size_bytes):
            return False
        self._hand_in(Job(frame, waiter, 0, size_bytes))
        return True

    def check_taking_writes(self) -> None:
        """Raises StoppedError."""
        if self.is_fenced or self.is_stopping:
            raise self.reason_to_stop()

    def reason_to_stop(self) -> StoppedError:
        """Why the member takes no more writes."""
        if self.is_fenced:
            return StoppedError("the cluster was told to forget this member's data: it starts again without them")
        return StoppedError("the member is stopping")

    # Exchanges

    def answered(self, exchange: int, answer: bytes) -> None:
        """An exchange has been answered."""
        if self.exchanges.pop(exchange, None) is None:
            return
        if not self._take_frame(Frame(answer, exchange), None):
            self.post(Failed(exchange, "too many frames wait for the storage"))

    def failed(self, exchange: int, reason: str) -> None:
        """An exchange has failed, unless it has ended before."""
        if self.exchanges.pop(exchange, None) is not None:
            self.post(Failed(exchange, reason))

    # Batches

    def publish(self, batch: Published) -> list[StepFailedError]:
        """Pass on what a batch has come to. Returns the faults of the core that no waiter is told of."""
        effects = batch.effects
        if effects.snapshot is not None:
            self.snapshot = effects.snapshot
        self.is_fenced |= effects.is_fenced
        unheard = []
        for job, outcome in batch.outcomes:
            if not self.conclude(job, outcome) and isinstance(outcome, StepFailedError):
                unheard.append(outcome)
        if effects.resolved:
            self._resolve(effects.resolved)
        for failed in batch.unsent:
            self.post(failed)
        if not (self.is_fenced or self.has_ended):
            self.watches.publish(effects.changes)
        return unheard

    def begin(self, sends: Sequence[Send[bytes]]) -> Sequence[Send[bytes]]:
        """Begin the exchanges of a batch; returns those to carry out, each of which then ends by `answered` or
        `failed`."""
        if self.is_fenced or self.has_ended:
            return ()
        for send in sends:
            self.exchanges[send.exchange] = send
        return sends

    def conclude(self, job: Job, outcome: InputOutcome) -> bool:
        """Pass an outcome to its waiter; returns whether there is one that waits."""
        self.inbox.give_back(job)
        waiter = job.waiter
        if waiter is None or waiter.done():
            return False
        if self.is_fenced and isinstance(outcome, list | bytes):
            # It is on disk, but among data that are about to be set aside, so it must not be acknowledged.
            outcome = self.reason_to_stop()
        waiter.set_result(outcome)
        return True

    def _resolve(self, resolved: Sequence[Resolved]) -> None:
        for one in resolved:
            over = self.tickets.pop(one.ticket, None)
            if over is not None and not over.done():
                over.set_result(one)

    # The end

    def stop(self) -> None:
        """Take no more writes, and send watchers to other members."""
        self.is_stopping = True
        self.watches.close()

    def end_waits(self) -> None:
        """End the waits that the core has not ended."""
        for over in self.tickets.values():
            if not over.done():
                over.set_result(None)
        self.tickets.clear()
