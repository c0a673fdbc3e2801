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
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue

import structlog

from gossipkv.codec import Limits, decode, encode
from gossipkv.core.effects import Effects
from gossipkv.core.inputs import Input
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.store.storage import Storage
from gossipkv.member.batches import (
    BatchBounds,
    Frame,
    InputOutcome,
    Job,
    Published,
    StoppedError,
    decoded,
    gathered,
    published,
)
from gossipkv.member.group_commit import Batch, GroupCommit

BATCH = BatchBounds(inputs_max=256, frames_bytes=1024 * 1024)

STUCK_SECONDS = 30.0

CROWD_INPUTS = 4
GATHERING_SHARE = 0.25
"""The pause to gather inputs, as a share of the duration of the last batch."""
GATHERING_SECONDS_MAX = 0.002

log = structlog.get_logger("gossipkv.storage")


class StorageThread:
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
        conclude: Callable[[Job, InputOutcome], object],
    ) -> None:
        self._group_commit = group_commit
        self._decode = partial(decode, limits=limits)
        self._clock_ms = clock_ms
        self._publish = publish
        self._conclude = conclude
        """Called with an outcome that is known without a batch."""
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._busy_since: float | None = None
        self._gathering_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="gossipkv-storage", daemon=True)
        self._under_way: list[Job] = []
        """The jobs of the batch under way."""
        self._is_closed = False
        """Whether new inputs fail immediately."""
        self._is_at_end = False
        """Whether the thread has taken the last input."""
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
        conclude: Callable[[Job, InputOutcome], object],
    ) -> tuple[StorageThread, Effects]:
        """Open the replica that the storage holds; returns the effects of its first batch, which is durable. Raises
        StorageError."""
        group_commit, effects = GroupCommit.open(storage, options, rng, clock_ms())
        return cls(group_commit, limits, clock_ms, publish, conclude), effects

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
        for begun in self._under_way:
            # What it takes of the inbox is given back when its batch ends.
            if begun.waiter is not None and not begun.waiter.done():
                begun.waiter.set_result(TimeoutError("the storage has not answered in time"))
        waiting = []
        with contextlib.suppress(Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    waiting.append(job)
        self._jobs.put(None)
        for job in waiting:
            self._conclude(job, StoppedError("the member is stopping, and its storage is stuck"))

    @property
    def is_moving(self) -> bool:
        """Whether the thread runs, and no batch has been under way for longer than any disk should take."""
        since = self._busy_since
        return self._thread.is_alive() and (since is None or time.monotonic() - since < STUCK_SECONDS)

    def hand_in(self, job: Job) -> None:
        """Hand in an input. Its outcome is published once durable. It is a StoppedError, immediately, if the thread
        takes no more inputs."""
        if self._is_closed:
            self._conclude(job, StoppedError("the member has stopped"))
        else:
            self._jobs.put(job)

    def ask(self, payload: Input | Frame) -> asyncio.Future[InputOutcome]:
        """Hand in an input; the future holds its outcome. An error is a result, not an exception."""
        future: asyncio.Future[InputOutcome] = self._loop.create_future()
        self.hand_in(Job(payload, future))
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
        while not self._is_at_end:
            jobs = gathered(self._waiting(), BATCH)
            if jobs:
                self._under_way = jobs
                self._busy_since = time.monotonic()
                published = self._process(jobs)
                self._gather_as_after(published.inputs, published.seconds)
                self._busy_since = None
                self._tell_loop(self._publish, published)
                self._under_way = []

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

    def _waiting(self) -> Iterator[Job]:
        """Take what waits, one by one, once something does."""
        job = self._jobs.get()
        if self._gathering_seconds:
            time.sleep(self._gathering_seconds)
        while job is not None:
            yield job
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return
        self._is_at_end = True

    def _gather_as_after(self, inputs: int, seconds: float) -> None:
        """Pause for the next requests of the clients that a batch has just answered. Without the pause, clients would
        settle into two groups, each of which waits for the commit of the other. There is no pause for a lone writer."""
        is_crowd = inputs >= CROWD_INPUTS
        self._gathering_seconds = min(seconds * GATHERING_SHARE, GATHERING_SECONDS_MAX) if is_crowd else 0.0

    def _process(self, jobs: list[Job]) -> Published:
        """Run a batch. Never raises: an error is the outcome of the inputs."""
        began = time.perf_counter()
        taken = decoded(jobs, self._decode)
        try:
            batch = self._group_commit.run(taken.inputs, self._clock_ms())
        except Exception as error:
            log.exception("batch_failed")
            batch = Batch([error] * len(taken.inputs), Effects())
        for fault in batch.faults:
            log.error(
                "batch_run_one_by_one",
                reason=str(fault),
                consequence="its inputs were run one by one, and none failed",
                remedy="nothing is lost; report this line, which shows a fault of gossipkv",
                exc_info=fault.__cause__,
            )
        result = published(taken, batch, encode)
        return replace(result, seconds=time.perf_counter() - began)
