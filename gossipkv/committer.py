"""The storage thread.

LMDB write transactions belong to one thread: this one. It takes all waiting inputs, runs them through the core as one
group commit, and hands answers and effects back to the event loop once they are durable. While one batch commits, the
next one gathers, so batches grow with load. Frames are decoded and encoded here too, off the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import NamedTuple

import structlog

from gossipkv.codec import DecodeError, Limits, decode, encode
from gossipkv.codec.limits import PROTOCOL
from gossipkv.core.effects import Effects, Send
from gossipkv.core.inputs import Answer, Answered, Failed, Input, Received
from gossipkv.core.membership.clocks import ClockOffError
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.replica import RefusedEnvelopeError
from gossipkv.core.store.storage import Storage
from gossipkv.group_commit import Batch, GroupCommit, StepFailedError
from gossipkv.rows.errors import Kind, RequestError
from gossipkv.rows.invalid import InvalidInputError

INPUTS_PER_BATCH_MAX = 256
"""Maximum number of inputs per batch. Bounds how long a client waits for the work of others."""

FRAME_BYTES_PER_BATCH = 1024 * 1024
"""A batch ends with the frame that reaches this size: all frames of a batch are decoded at once, and an envelope takes
many times the memory of its frame."""

STUCK_SECONDS = 30.0

CROWD_INPUTS = 4
GATHERING_SHARE = 0.25
"""The pause to gather inputs, as a share of the duration of the last batch."""
GATHERING_SECONDS_MAX = 0.002

log = structlog.get_logger("gossipkv.storage")

Outcome = Answer | bytes | Exception
"""Envelopes leave the thread encoded."""


class StoppedError(RequestError):
    """The node takes no more writes: it is about to stop, or to start again without its data. Nothing was stored."""

    kind = Kind.STOPPING


@dataclass(frozen=True, slots=True)
class Frame:
    """An undecoded input; the answer to an exchange begun here if it has a number."""

    content: bytes
    exchange: int | None = None


@dataclass(frozen=True, slots=True)
class EncodedSend:
    exchange: int
    endpoint: str
    frame: bytes
    timeout_seconds: float | None = None
    """No answer is of use later; None: the transport's own bound."""


def encoded(sends: Iterable[Send]) -> list[EncodedSend]:
    return [
        EncodedSend(
            send.exchange,
            send.endpoint,
            encode(send.envelope),
            None if send.timeout_ms is None else send.timeout_ms / 1000,
        )
        for send in sends
    ]


def _encoded_answer(envelope: Envelope) -> bytes | Exception:
    try:
        return encode(envelope)
    except Exception as error:
        failure = StepFailedError(f"the answer could not be encoded: {error}")
        failure.__cause__ = error
        return failure


def _without_frames(outcome: Answer | Exception) -> Answer | Exception:
    """A refusal without its traceback, which holds the envelope for as long as the sender waits for its answer."""
    if isinstance(outcome, _REFUSALS):
        outcome.__context__ = outcome.__cause__ = None
        return outcome.with_traceback(None)
    return outcome


_REFUSALS = (RefusedEnvelopeError, InvalidInputError, ClockOffError)


def _has_failed(outcomes: Iterable[Answer | Exception]) -> bool:
    """Whether a batch failed to store anything. Inputs that were refused do not count as failed."""
    tried = [outcome for outcome in outcomes if not isinstance(outcome, _REFUSALS)]
    return bool(tried) and all(isinstance(outcome, Exception) for outcome in tried)


@dataclass(frozen=True, slots=True)
class Published:
    """A batch as the event loop sees it."""

    outcomes: list[tuple[asyncio.Future[Outcome] | None, Outcome]]
    sends: list[EncodedSend]
    effects: Effects
    inputs: int
    seconds: float
    has_failed: bool


class _Job(NamedTuple):
    payload: Input | Frame
    future: asyncio.Future[Outcome] | None


def _tell(jobs: Iterable[_Job], outcome: Exception) -> None:
    for job in jobs:
        if job.future is not None and not job.future.done():
            job.future.set_result(outcome)


class Committer:
    """Runs a GroupCommit on a thread of its own. Its methods are called on the event loop.

    The replica belongs to the thread: it changes in the middle of a batch, and a batch may fail. The loop never reads
    it. What the loop needs is in the snapshot of each durable batch.
    """

    def __init__(
        self,
        group_commit: GroupCommit,
        limits: Limits,
        clock_ms: Callable[[], int],
        publish: Callable[[Published], None],
    ) -> None:
        self._group_commit = group_commit
        self._limits = limits
        self._clock_ms = clock_ms
        self._publish = publish
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._busy_since: float | None = None
        self._gathering_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="gossipkv-storage", daemon=True)
        self._under_way: list[_Job] = []
        """The jobs of the batch under way."""
        self._is_closed = False
        """Whether new inputs fail immediately."""
        self._has_ended = False
        self._at_end: Callable[[], None] | None = None
        """Called when the thread ends after it has been given up."""

    @classmethod
    def open(
        cls,
        storage: Storage,
        options: ReplicaOptions,
        rng: random.Random,
        limits: Limits,
        clock_ms: Callable[[], int],
        publish: Callable[[Published], None],
    ) -> tuple[Committer, Effects]:
        """Open the replica that the storage holds; returns the effects of its first batch, which is durable. Raises
        StorageError."""
        group_commit, effects = GroupCommit.open(storage, options, rng, clock_ms())
        return cls(group_commit, limits, clock_ms, publish), effects

    def start(self) -> None:
        self._thread.start()

    async def stop(self, seconds: float, at_end: Callable[[], None]) -> bool:
        """Finish the waiting inputs, end the thread, and call `at_end`. Returns whether this succeeded in time. If the
        storage is stuck it does not: waiting callers then get an error, and `at_end` is called when the thread ends."""
        if not self._is_closed:
            self._is_closed = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, seconds)
        if self._has_ended or not self._thread.is_alive():
            at_end()
            return True
        self._at_end = at_end
        self.give_up()
        return False

    def give_up(self) -> None:
        """Stop waiting for the storage. Callers in the batch under way are told that its outcome is unknown, and all
        others that nothing of theirs was stored."""
        self._is_closed = True
        _tell(self._under_way, TimeoutError("the storage has not answered in time"))
        waiting = []
        with contextlib.suppress(Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    waiting.append(job)
        self._jobs.put(None)
        _tell(waiting, StoppedError("the member is stopping, and its storage is stuck"))

    @property
    def is_moving(self) -> bool:
        """Whether the thread runs, and no batch has been under way for longer than any disk should take."""
        since = self._busy_since
        return self._thread.is_alive() and (since is None or time.monotonic() - since < STUCK_SECONDS)

    def post(self, payload: Input | Frame) -> None:
        """Hand in an input whose outcome nobody needs."""
        self._jobs.put(_Job(payload, None))

    def ask(self, payload: Input | Frame) -> asyncio.Future[Outcome]:
        """Hand in an input; the future holds its outcome once durable. An error is a result, not an exception. It is a
        StoppedError, immediately, if the thread takes no more inputs."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        if self._is_closed:
            future.set_result(StoppedError("the member has stopped"))
        else:
            self._jobs.put(_Job(payload, future))
        return future

    def _run(self) -> None:
        try:
            self._run_batches()
        except Exception:
            log.exception("storage_thread_died", consequence="the member answers reads only, until it is restarted")
        finally:
            if not self._tell_loop(self._ended) and self._at_end is not None:
                self._at_end()

    def _run_batches(self) -> None:
        while True:
            jobs, is_last = self._waiting_jobs()
            if jobs:
                self._under_way = jobs
                self._busy_since = time.monotonic()
                published = self._process(jobs)
                self._gather_as_after(published.inputs, published.seconds)
                self._busy_since = None
                self._tell_loop(self._publish, published)
                self._under_way = []
            if is_last:
                return

    def _tell_loop(self, tell: Callable[..., None], *arguments: Published) -> bool:
        """Call a function on the loop; returns whether the loop still runs."""
        try:
            self._loop.call_soon_threadsafe(tell, *arguments)
        except RuntimeError:
            return False
        return True

    def _ended(self) -> None:
        """Called on the loop when the thread has ended, for any reason."""
        self._has_ended = True
        self.give_up()
        if self._at_end is not None:
            self._at_end()

    def _waiting_jobs(self) -> tuple[list[_Job], bool]:
        """All waiting inputs, up to a bound; and whether the end has been reached."""
        jobs: list[_Job] = []
        frame_bytes = 0
        job = self._jobs.get()
        if self._gathering_seconds:
            time.sleep(self._gathering_seconds)
        while job is not None:
            jobs.append(job)
            if isinstance(job.payload, Frame):
                frame_bytes += len(job.payload.content)
            if len(jobs) == INPUTS_PER_BATCH_MAX or frame_bytes >= FRAME_BYTES_PER_BATCH:
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return jobs, False
        return jobs, True

    def _gather_as_after(self, inputs: int, seconds: float) -> None:
        """Pause for the next requests of the clients that a batch has just answered. Without the pause, clients would
        settle into two groups, each of which waits for the commit of the other. There is no pause for a lone writer."""
        is_crowd = inputs >= CROWD_INPUTS
        self._gathering_seconds = min(seconds * GATHERING_SHARE, GATHERING_SECONDS_MAX) if is_crowd else 0.0

    def _process(self, jobs: list[_Job]) -> Published:
        """Run a batch. Never raises: an error is the outcome of the inputs."""
        began = time.perf_counter()
        refused: list[tuple[asyncio.Future[Outcome] | None, Outcome]] = []
        futures: list[asyncio.Future[Outcome] | None] = []
        inputs: list[Input] = []
        for job in jobs:
            decoded = self._decoded(job.payload)
            if isinstance(decoded, DecodeError):
                refused.append((job.future, decoded))
            else:
                futures.append(job.future)
                inputs.append(decoded)
        now_ms = self._clock_ms()
        try:
            batch = self._group_commit.run(inputs, now_ms)
        except Exception as error:
            log.exception("batch_failed")
            batch = Batch([error] * len(inputs), Effects())
        outcomes: list[tuple[asyncio.Future[Outcome] | None, Outcome]] = [
            (future, _encoded_answer(outcome) if isinstance(outcome, Envelope) else _without_frames(outcome))
            for future, outcome in zip(futures, batch.outcomes, strict=True)
        ]
        return Published(
            outcomes=refused + outcomes,
            sends=self._encoded(batch.effects.sends),
            effects=batch.effects,
            inputs=len(inputs),
            seconds=time.perf_counter() - began,
            has_failed=_has_failed(batch.outcomes),
        )

    def _encoded(self, sends: Iterable[Send]) -> list[EncodedSend]:
        """Fail exchanges whose envelope cannot be encoded, so that the core does not wait for the peer."""
        found = []
        for send in sends:
            try:
                found += encoded([send])
            except Exception as error:
                log.exception("envelope_not_encoded", endpoint=send.endpoint)
                self.post(Failed(send.exchange, f"the envelope could not be encoded: {error}"))
        return found

    def _decoded(self, payload: Input | Frame) -> Input | DecodeError:
        if not isinstance(payload, Frame):
            return payload
        try:
            envelope = decode(payload.content, self._limits)
        except DecodeError as error:
            if payload.exchange is None:
                # A new error: the traceback of the old one holds what was decoded until the sender has its answer.
                return DecodeError(error.reason, str(error))
            # A member of another protocol version may be about to be replaced: nothing should wait for its data.
            was_answered = error.reason != PROTOCOL
            return Failed(payload.exchange, f"the answer cannot be read: {error}", was_answered)
        return Received(envelope) if payload.exchange is None else Answered(payload.exchange, envelope)
