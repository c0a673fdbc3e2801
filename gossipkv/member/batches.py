"""A batch on its way to the core and back: inputs with their waiters in, outcomes and frames out. Does no I/O.

A job is an input and who waits for its outcome. A batch takes the jobs that wait, in order, up to a bound. The inputs
of peers and all answers to them travel as frames, which are decoded just before the batch and encoded just after its
commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from gossipkv.codec import DecodeError
from gossipkv.codec.limits import PROTOCOL
from gossipkv.core.effects import Effects, Send
from gossipkv.core.inputs import Answer, Answered, Failed, Input, Received
from gossipkv.core.membership.clocks import OwnClockOffError
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.replica import RefusedEnvelopeError
from gossipkv.member.group_commit import Batch, StepFailedError
from gossipkv.rows.arguments.invalid import InvalidInputError
from gossipkv.rows.errors import ErrorKind, RequestError

InputOutcome = Answer | bytes | Exception
"""Envelopes leave encoded."""

Decode = Callable[[bytes], Envelope]
"""Raises DecodeError."""
Encode = Callable[[Envelope], bytes]

REFUSALS = (RefusedEnvelopeError, InvalidInputError, OwnClockOffError)
"""The outcomes of inputs that are not taken in."""


class StoppedError(RequestError):
    """The error of a write at a node that is about to stop, or to start again without its data. Nothing was stored."""

    kind = ErrorKind.STOPPING


class Waiter(Protocol):
    """What waits for an outcome, as a future does."""

    def done(self) -> bool:
        """Whether it no longer waits."""
        ...

    def set_result(self, result: Any, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Frame:
    """An undecoded input; the answer to an exchange begun here if it has a number."""

    content: bytes
    exchange: int | None = None


class Job(NamedTuple):
    payload: Input | Frame
    waiter: Waiter | None
    """None: nobody needs the outcome."""
    operations: int = 0
    """The number of writes that it counts in the inbox."""
    size_bytes: int = 0
    """The size of the values or the frame that it counts in the inbox."""


class BatchBounds(NamedTuple):
    """How much one batch takes of what waits."""

    inputs_max: int
    """Bounds how long a client waits for the work of others."""
    frames_bytes: int
    """A batch ends with the frame by which its frames reach this size. All frames of a batch are decoded at once, and
    an envelope takes many times the memory of its frame."""


class Decoded(NamedTuple):
    """A batch before the core."""

    jobs: list[Job]
    inputs: list[Input]
    """One per job."""
    refused: list[tuple[Job, InputOutcome]]
    """The jobs whose frames cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Published:
    """A batch that is durable, or that has failed."""

    outcomes: list[tuple[Job, InputOutcome]]
    sends: list[Send[bytes]]
    unsent: list[Failed]
    """Exchanges whose envelope could not be encoded."""
    effects: Effects
    inputs: int = 0
    seconds: float = 0.0
    has_failed: bool = False


def gathered(waiting: Iterator[Job], bounds: BatchBounds) -> list[Job]:
    """Take the jobs of the next batch from those that wait, in order. What it does not return, it does not take: the
    rest waits for the next batch."""
    jobs = []
    frames_bytes = 0
    for job in waiting:
        jobs.append(job)
        if isinstance(job.payload, Frame):
            frames_bytes += len(job.payload.content)
        if len(jobs) >= bounds.inputs_max or frames_bytes >= bounds.frames_bytes:
            break
    return jobs


def decoded(jobs: Iterable[Job], decode: Decode) -> Decoded:
    """Decode the frames of a batch."""
    batch = Decoded([], [], [])
    for job in jobs:
        happened = _input_of(job.payload, decode)
        if isinstance(happened, DecodeError):
            batch.refused.append((job, happened))
        else:
            batch.jobs.append(job)
            batch.inputs.append(happened)
    return batch


def _input_of(payload: Input | Frame, decode: Decode) -> Input | DecodeError:
    if not isinstance(payload, Frame):
        return payload
    try:
        envelope = decode(payload.content)
    except DecodeError as error:
        if payload.exchange is None:
            # A new error: the traceback of the old one holds what was decoded until the sender has its answer.
            return DecodeError(error.reason, str(error))
        # A member of another protocol version may be about to be replaced: nothing should wait for its data.
        was_answered = error.reason != PROTOCOL
        return Failed(payload.exchange, f"the answer cannot be read: {error}", was_answered)
    return Received(envelope) if payload.exchange is None else Answered(payload.exchange, envelope)


def published(jobs: Decoded, batch: Batch, encode: Encode, seconds: float = 0.0) -> Published:
    """Encode what leaves, once the batch is durable. Each outcome stays with its job."""
    outcomes: list[tuple[Job, InputOutcome]] = [
        (job, _encoded_answer(outcome, encode) if isinstance(outcome, Envelope) else _without_frames(outcome))
        for job, outcome in zip(jobs.jobs, batch.outcomes, strict=True)
    ]
    sends, unsent = encoded(batch.effects.sends, encode)
    return Published(
        jobs.refused + outcomes,
        sends,
        unsent,
        batch.effects,
        len(jobs.inputs),
        seconds,
        _has_failed(batch.outcomes),
    )


def encoded(sends: Iterable[Send[Envelope]], encode: Encode) -> tuple[list[Send[bytes]], list[Failed]]:
    """Encode the envelopes to send. An exchange whose envelope cannot be encoded fails, so that the core does not wait
    for the peer."""
    encoded_sends, unsent = [], []
    for send in sends:
        try:
            frame = encode(send.content)
        except Exception as error:
            unsent.append(Failed(send.exchange, f"the envelope could not be encoded: {error}"))
        else:
            encoded_sends.append(Send(send.exchange, send.endpoint, frame, send.timeout_ms))
    return encoded_sends, unsent


def _encoded_answer(envelope: Envelope, encode: Encode) -> bytes | Exception:
    try:
        return encode(envelope)
    except Exception as error:
        failure = StepFailedError(f"the answer could not be encoded: {error}")
        failure.__cause__ = error
        return failure


def _without_frames(outcome: Answer | Exception) -> Answer | Exception:
    """A refusal without its traceback, which holds the envelope for as long as the sender waits for its answer."""
    if isinstance(outcome, REFUSALS):
        outcome.__context__ = outcome.__cause__ = None
        return outcome.with_traceback(None)
    return outcome


def _has_failed(outcomes: Sequence[Answer | Exception]) -> bool:
    """Whether a batch failed to store anything. Inputs that were refused do not count as failed."""
    tried = [outcome for outcome in outcomes if not isinstance(outcome, REFUSALS)]
    return bool(tried) and all(isinstance(outcome, Exception) for outcome in tried)
