"""A running member: carries out the decisions of the core.

The event loop takes requests and frames, and hands them to the storage thread. When a batch is durable, the event loop
answers its callers and sends its messages. There are two more loops, ticks and discovery, and one task per exchange
under way. A loop that dies is logged, counted and started again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from secrets import randbits
from typing import Any, cast

import structlog

from gossipkv.codec import DecodeError, Limits, encode
from gossipkv.core.effects import Send
from gossipkv.core.inputs import Discovered, FollowChanges, Forget, Inspect, Leave, Tick, Wake
from gossipkv.core.model.address import USER
from gossipkv.core.model.member import GOSSIP
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.write import CONTEXT_UNKNOWN, Declined, Operation, Result
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.status import ReplicaStatus
from gossipkv.core.store.fence import Fence
from gossipkv.core.store.forgotten import Forgotten
from gossipkv.core.store.snapshot import ReplicaSnapshot
from gossipkv.core.store.storage import Identity, Storage, StorageError, View
from gossipkv.core.waits.answers import Coverage, Reach, Receipt
from gossipkv.core.watch.watch_position import WatchPosition
from gossipkv.discovery.base import Discovery, DiscoveryError, FoundMembers
from gossipkv.intake.bound import Bound
from gossipkv.member.batches import InputOutcome, Job, Published, StoppedError, encoded
from gossipkv.member.descriptors import Descriptors
from gossipkv.member.driver import Driver, Inbox
from gossipkv.member.feed import Feed, FeedOptions, Watcher
from gossipkv.member.metrics import Metrics
from gossipkv.member.storage_thread import StorageThread
from gossipkv.member.waits import AnswersMissingError, TooManyAskedError, Waits
from gossipkv.rows.arguments.invalid import InvalidInputError
from gossipkv.transport.base import ExchangeError, ExchangeRefusedError, Transport

RESTART_PAUSE_SECONDS = 1.0
LEAVE_POLL_SECONDS = 0.02
SETTLE_SECONDS = 0.5
"""How long a stopping node lets waits continue, and how long it then gives clients to take their answers."""

log = structlog.get_logger("gossipkv.node")


@dataclass(frozen=True, slots=True)
class NodeOptions:
    inbox_operations_max: int = 10_000
    """Maximum number of writes that wait for their commit."""
    inbox_bytes_max: int = 64 * 1024 * 1024
    """Maximum size of their values."""
    inbox_frames_bytes_max: int = 16 * 1024 * 1024
    """Maximum size of frames and answers from peers that wait for the storage."""
    write_wait_seconds: float = 2.0
    """How long a write waits for its copies, unless the request says otherwise."""
    read_wait_seconds: float = 2.0
    """How long a read waits for answers of other members."""
    context_wait_seconds: float = 1.0
    """How long a write waits for this member to catch up with what its context names."""
    status_timeout_seconds: float = 5.0
    leave_timeout_seconds: float = 5.0
    """How long a stopping node tries to send its last writes to others."""
    storage_stop_seconds: float = 4.0
    """How long a stopping node then waits for its storage."""
    feed: FeedOptions = field(default_factory=FeedOptions)


async def first_of(*events: asyncio.Event) -> None:
    """Return when any of them is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def wall_clock_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


class MemberNode:
    """One member, from `start` to `stop`. Everything is called on one event loop."""

    def __init__(
        self,
        options: ReplicaOptions,
        storage: Storage,
        transport: Transport,
        discovery: Discovery,
        metrics: Metrics,
        node_options: NodeOptions = NodeOptions(),
        clock_ms: Callable[[], int] = wall_clock_ms,
        rng: random.Random | None = None,
    ) -> None:
        self._options = options
        self._storage = storage
        self._transport = transport
        self._discovery = discovery
        self._metrics = metrics
        self._node_options = node_options
        self._clock_ms = clock_ms
        self._rng = rng or random.Random(randbits(128))
        operations = Bound(
            "inbox_operations_max",
            node_options.inbox_operations_max,
            "look at gossipkv_commit_seconds for a slow volume, let clients write in batches, or raise "
            "inbox_operations_max",
        )
        values = Bound(
            "inbox_bytes_max",
            node_options.inbox_bytes_max,
            "look at gossipkv_commit_seconds for a slow volume, write fewer large values at once, or raise "
            "inbox_bytes_max and the memory limit",
        )
        frames = Bound(
            "inbox_frames_bytes_max",
            node_options.inbox_frames_bytes_max,
            "find out who sends so much (gossipkv status lists the members), or raise inbox_frames_bytes_max and the "
            "memory limit",
        )
        metrics.account_for(operations, values, frames)
        self._inbox = Inbox(operations, values, frames)
        self._leaving: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[bool] | None = None
        self._ending = asyncio.Event()
        """Set once the node is about to stop."""
        self.fenced = asyncio.Event()
        """Set once the data are known to be outdated; `fence` says why. The node then begins and answers no exchanges,
        takes no writes, and sends watchers to other members. Stop it, set its data aside, and start without data."""
        self._discovery_failure = ""
        self._is_alone = False
        self.descriptors = Descriptors(time.monotonic)
        self._ready = asyncio.Event()
        self._feed = Feed(self.view, self._switch_feed, self.now_ms, metrics, node_options.feed)
        self._loops: list[asyncio.Task[None]] = []
        self._exchanges: set[asyncio.Task[None]] = set()
        self._waking: asyncio.TimerHandle | None = None
        """Makes a batch at the earliest deadline of a wait."""

    # From start to stop

    async def start(self) -> None:
        """Open the replica, then answer and begin exchanges. Raises StorageError, OSError."""
        try:
            self._committer, effects = StorageThread.open(
                self._storage, self._options, self._rng, Limits(), self._clock_ms, self._published, self._conclude
            )
        except BaseException:
            self._storage.close()
            raise
        assert effects.snapshot is not None, "a replica that has been opened has a snapshot"
        self._driver = Driver(effects.snapshot, self._committer.hand_in, self._inbox, self._feed.watches)
        self._consistency = Waits(self._driver, self._store, self.now_ms, self._metrics)
        sends, unsent = encoded(effects.sends, encode)
        self._committer.start()
        try:
            await self._transport.start(self._serve)
        except BaseException:
            # The caller may try again in this process, and then needs the data directory.
            await self._committer.stop(self._node_options.storage_stop_seconds, self._storage.close)
            raise
        self._carry_out(Published([], sends, unsent, effects))
        if self.fenced.is_set():
            # It is about to be stopped, and must not contact other members.
            return
        self._loops = [
            asyncio.create_task(self._supervise("discovery", self._discover)),
            asyncio.create_task(self._supervise("tick", self._tick)),
            asyncio.create_task(self._supervise("feed", self._feed.beat)),
        ]

    async def leave(self) -> None:
        """Take no more writes, end all waits with their current state, send the last writes to the others, and announce
        that this member leaves. Writes that cannot be sent in time are on disk, and are sent after the next start. A
        fenced node sends nothing. Local reads are still answered."""
        if self._leaving is None:
            self._begin_to_end()
            self._leaving = asyncio.create_task(self._leave())
        await asyncio.shield(self._leaving)

    async def stop(self) -> bool:
        """Leave, and stop. Returns whether the storage was closed; a stuck one cannot be."""
        if self._stopping is None:
            self._begin_to_end()
            self._stopping = asyncio.create_task(self._stop())
        return await asyncio.shield(self._stopping)

    def _begin_to_end(self) -> None:
        self._ending.set()
        self._driver.stop()

    async def _stop(self) -> bool:
        await self.leave()
        self._driver.has_ended = True
        for task in [*self._loops, *self._exchanges]:
            task.cancel()
        if self._waking is not None:
            self._waking.cancel()
        await asyncio.gather(*self._loops, *self._exchanges, return_exceptions=True)
        await self._discovery.close()
        await self._transport.close()
        has_ended = await self._committer.stop(self._node_options.storage_stop_seconds, self._storage.close)
        if has_ended:
            log.info("stopped")
        else:
            log.error(
                "storage_stuck", consequence="the process ends without closing it; acknowledged writes are on disk"
            )
        return has_ended

    async def _leave(self) -> None:
        self._consistency.close(self._driver.reason_to_stop())
        if not self.fenced.is_set():
            # What is about to be copied or answered is; the core then ends the other waits, and pushes go on meanwhile.
            await self._consistency.settle(SETTLE_SECONDS)
            await self._say_goodbye()
        self._consistency.end()
        await self._consistency.settle(SETTLE_SECONDS)

    async def _say_goodbye(self) -> None:
        has_said = False
        try:
            async with asyncio.timeout(self._node_options.leave_timeout_seconds):
                said = await self._committer.ask(Leave())
                has_said = True
                if isinstance(said, Exception):
                    log.warning(
                        "could_not_leave",
                        reason=str(said),
                        consequence="other members will see this one as dead, not as left",
                    )
                while not isinstance(said, StorageError) and not (await self.status()).has_pushed_everything:
                    await asyncio.sleep(LEAVE_POLL_SECONDS)
        except (TimeoutError, StorageError, StoppedError):
            log.warning(
                "left_before_all_was_pushed",
                consequence="the other writes are on disk, and are sent after the next start",
            )
        if not has_said:
            # No batch ends: those that wait for one must not wait for as long as the storage is stuck.
            self._committer.give_up()

    # Requests to the node

    def write(
        self, shard: str, operations: Sequence[Operation], copies: int = 1, wait_seconds: float | None = None
    ) -> Coroutine[Any, Any, list[Result]]:
        """Put and delete rows, in order, in one transaction; in several if one would take more than a share of the free
        room. The write is durable at `copies` members when this returns. Raises InvalidInputError, InboxFullError,
        StoppedError, StorageError, StepFailedError. With several copies it also raises TooManyAskedError,
        MembersMissingError (nothing is stored) and CopiesMissingError (it is stored here). If this member is behind the
        context of a write of one row, the write waits for `context_wait_seconds` at most."""
        if len(operations) == 1 and getattr(operations[0], "seen", None) is not None:
            return self._write_what_was_read(shard, operations[0], copies, wait_seconds)
        return self._write(shard, operations, copies, wait_seconds)

    async def _write_what_was_read(
        self, shard: str, operation: Operation, copies: int, wait_seconds: float | None
    ) -> list[Result]:
        """Write a row that a client has read, perhaps at another member: if that is ahead, get the row from it first,
        and write again."""
        results = await self._write(shard, (operation,), copies, wait_seconds)
        if isinstance(results[0], Declined) and results[0].reason == CONTEXT_UNKNOWN:
            await self._catch_up(shard, operation.address)
            results = await self._write(shard, (operation,), copies, wait_seconds)
        return results

    async def _catch_up(self, shard: str, address: bytes) -> None:
        """Read the row at all members that are alive, which merges their copies into the one here."""
        answering = (await self._consistency.reach()).answering
        if answering > 1:
            with suppress(AnswersMissingError, TooManyAskedError):
                await self._consistency.read(shard, address, answering, self._node_options.context_wait_seconds)

    def _write(
        self, shard: str, operations: Sequence[Operation], copies: int, wait_seconds: float | None
    ) -> Coroutine[Any, Any, list[Result]]:
        if type(copies) is int and copies == 1:
            return cast(Coroutine[Any, Any, list[Result]], self._store(shard, operations))
        seconds = self._node_options.write_wait_seconds if wait_seconds is None else wait_seconds
        return self._consistency.write(shard, operations, copies, seconds)

    async def _store(self, shard: str, operations: Sequence[Operation], copies: int = 1) -> list[Result] | Reach:
        waiter: asyncio.Future[InputOutcome] = asyncio.get_running_loop().create_future()
        self._driver.write(shard, operations, copies, waiter)
        outcome = await waiter
        if isinstance(outcome, Exception):
            raise outcome
        return cast(list[Result] | Reach, outcome)

    async def forget(self, member: str, *, is_forced: bool = False) -> Forgotten:
        """Remove a member that is gone for good from the list of members, so that nothing waits for it any more.
        `is_forced`: also one that was heard lately, or that discovery lists. Durable here when this returns. Raises
        StoppedError, StorageError, StepFailedError."""
        self._driver.check_taking_writes()
        outcome = await self._committer.ask(Forget(member, is_forced))
        if isinstance(outcome, Exception):
            raise outcome
        return cast(Forgotten, outcome)

    def defaults_of(self, namespace: str, table: str) -> tuple[int, int]:
        """The default `w` of writes to a table, and the default `r` of reads."""
        if namespace != USER:
            return 1, 1
        settings = self._driver.snapshot.settings_of(table)
        return settings.w, settings.r

    async def reach(self) -> Reach:
        """The number of members that have not left, and of those that are alive. Raises StoppedError, StorageError,
        StepFailedError."""
        return await self._consistency.reach()

    async def read(self, shard: str, address: bytes, members: int) -> StoredRow | None:
        """The merged copies of `members` members, including this one. Members found to be behind are sent the result.
        Raises TooManyAskedError, AnswersMissingError, StorageError, StepFailedError."""
        return await self._consistency.read(shard, address, members, self._node_options.read_wait_seconds)

    async def receipt(self, receipt: Receipt, copies: int | None = 1, wait_seconds: float = 0) -> Coverage:
        """The members known to have a write. Waits until `copies` members have it (None: all), or the time is up.
        Raises TooManyAskedError, StorageError, StepFailedError."""
        return await self._consistency.receipt(receipt, copies, wait_seconds)

    def conflicts(self, shard: str, table: str) -> int:
        """Number of concurrent versions in the table dropped here for a later write, since the start of the process."""
        return self._driver.snapshot.conflicts.get((shard, table), 0)

    def now_ms(self) -> int:
        """The member's wall clock, milliseconds since the Unix epoch."""
        return self._clock_ms()

    def view(self) -> View:
        """A read transaction over the committed state. Close it before awaiting anything."""
        return self._storage.view()

    def watched(
        self, shard: str, prefix: bytes, after: WatchPosition | None, *, snapshot: bool
    ) -> AbstractAsyncContextManager[Watcher]:
        """See `Feed.watched`."""
        return self._feed.watched(shard, prefix, after, snapshot=snapshot)

    def end_watches(self) -> None:
        """Send all watchers to other members, permanently."""
        self._feed.close()

    async def _switch_feed(self, is_watched: bool) -> None:
        outcome = await self._committer.ask(FollowChanges(is_watched))
        if isinstance(outcome, Exception) and is_watched:
            raise outcome

    async def status(self) -> ReplicaStatus:
        """The status of the replica. Raises TimeoutError if the storage is stuck, StorageError, StoppedError."""
        future = self._committer.ask(Inspect())
        outcome = await asyncio.wait_for(future, self._node_options.status_timeout_seconds)
        if isinstance(outcome, Exception):
            raise outcome
        self._metrics.storage_used.set(self._storage.usage.share)
        return cast(ReplicaStatus, outcome)

    @property
    def is_ready(self) -> bool:
        """Whether it has been brought up to date since it started; it then stays ready."""
        return self._ready.is_set() and not self._ending.is_set() and not self.fenced.is_set()

    @property
    def fence(self) -> Fence | None:
        """Why it is fenced; None while it is not."""
        return self._driver.snapshot.fence

    @property
    def alone_seconds(self) -> int | None:
        """Whole seconds since another member was heard; None while the member is not alone."""
        since_ms = self._driver.snapshot.alone_since_ms
        return None if since_ms is None else max(0, self._clock_ms() - since_ms) // 1000

    async def wait_ready(self) -> None:
        """Wait until the node is ready. Raises StoppedError if it is stopped or fenced before."""
        await first_of(self._ready, self.fenced, self._ending)
        if not self._ready.is_set():
            raise self._driver.reason_to_stop()

    async def wait_fenced(self) -> None:
        """Wait for `fenced`. Raises StoppedError if the node is stopped before."""
        await first_of(self.fenced, self._ending)
        if not self.fenced.is_set():
            raise self._driver.reason_to_stop()

    @property
    def is_live(self) -> bool:
        """Whether storage and loops make progress."""
        return self._committer.is_moving and not any(loop.done() for loop in self._loops)

    @property
    def identity(self) -> Identity:
        return self._driver.snapshot.identity

    @property
    def snapshot(self) -> ReplicaSnapshot:
        """The snapshot of the last durable batch."""
        return self._driver.snapshot

    # Batches that have become durable

    def _conclude(self, job: Job, outcome: InputOutcome) -> None:
        self._driver.conclude(job, outcome)

    def _published(self, batch: Published) -> None:
        self._metrics.commits.labels("failed" if batch.has_failed else "committed").inc()
        self._metrics.commit_seconds.observe(batch.seconds)
        self._metrics.commit_inputs.observe(batch.inputs)
        self._carry_out(batch)
        self._metrics.inbox_operations.set(self._inbox.operations.used)

    def _carry_out(self, batch: Published) -> None:
        for failure in self._driver.publish(batch):
            log.error("input_failed", reason=str(failure), exc_info=failure.__cause__)
        for failed in batch.unsent:
            log.error("envelope_not_encoded", exchange=failed.exchange, reason=failed.reason)
        for notice in batch.effects.notices:
            tell = log.warning if notice.is_warning else log.info
            tell(notice.event, **notice.fields)
        if self._driver.is_fenced and not self.fenced.is_set():
            self.fenced.set()
            self._consistency.close(self._driver.reason_to_stop())
            self.end_watches()
        if self._driver.is_fenced or self._driver.has_ended:
            return
        if batch.effects.deadline_ms is not None:
            self._wake_by(batch.effects.deadline_ms)
        if batch.effects.arrivals:
            self._metrics.observe_arrivals(batch.effects.arrivals, self._clock_ms())
        if self._driver.snapshot.is_ready:
            self._ready.set()
        for send in self._driver.begin(batch.sends):
            task = asyncio.create_task(self._exchange(send))
            self._exchanges.add(task)
            task.add_done_callback(self._exchanges.discard)

    def _wake_by(self, deadline_ms: int) -> None:
        """Make a batch at this time, which may be long before the next tick. When it is there, its effects name the
        next deadline."""
        loop = asyncio.get_running_loop()
        at_seconds = loop.time() + max(0, deadline_ms - self._clock_ms()) / 1000
        if self._waking is not None:
            if self._waking.when() <= at_seconds:
                return
            self._waking.cancel()
        self._waking = loop.call_at(at_seconds, self._wake)

    def _wake(self) -> None:
        self._waking = None
        self._driver.post(Wake())

    # Exchanges

    async def _exchange(self, send: Send[bytes]) -> None:
        """Carry out one exchange, and report its end to the core, which waits for it."""
        count = self._metrics.gossip_bytes.labels
        try:
            count("out").inc(len(send.content))
            async with asyncio.timeout(None if send.timeout_ms is None else send.timeout_ms / 1000):
                answer = await self._transport.exchange(send.endpoint, send.content)
            count("in").inc(len(answer))
        except TimeoutError:
            self._driver.failed(send.exchange, "no answer in time to be of use")
        except ExchangeError as error:
            self._metrics.exchange_failures.labels(error.fault.value).inc()
            self._driver.failed(send.exchange, f"{error.fault.value}: {error.detail}")
        except Exception as error:
            log.exception("exchange_failed", endpoint=send.endpoint)
            self._driver.failed(send.exchange, f"{type(error).__name__}: {error}")
        else:
            self._driver.answered(send.exchange, answer)

    async def _serve(self, frame: bytes) -> bytes:
        """Answer a peer. Raises ExchangeRefusedError."""
        waiter: asyncio.Future[InputOutcome] = asyncio.get_running_loop().create_future()
        try:
            if not self._driver.serve(frame, waiter):
                raise ExchangeRefusedError("too many frames wait to be answered")
        except StoppedError as error:
            raise ExchangeRefusedError(str(error)) from None
        outcome = await waiter
        if isinstance(outcome, DecodeError):
            self._metrics.frames_refused.labels(outcome.reason).inc()
        if isinstance(outcome, Exception):
            raise ExchangeRefusedError(str(outcome))
        answer = cast(bytes, outcome)
        self._metrics.gossip_bytes.labels("in").inc(len(frame))
        self._metrics.gossip_bytes.labels("out").inc(len(answer))
        return answer

    # Loops

    async def _supervise(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await body()
            except Exception:
                log.exception("loop_died", loop=name, consequence="it is started again")
            self._metrics.loop_restarts.labels(name).inc()
            await asyncio.sleep(RESTART_PAUSE_SECONDS)

    async def _tick(self) -> None:
        pause_seconds = min(self._options.gossip_interval_ms, self._options.protocol_period_ms) / 1000 / 5
        while True:
            await self._committer.ask(Tick())
            self.descriptors.look()
            await asyncio.sleep(pause_seconds)

    async def _discover(self) -> None:
        """Keep discovery running: members that stopped after joining could not find each other when all restart."""
        while True:
            try:
                found = await self._discovery.find()
            except DiscoveryError as error:
                self._judge_discovery(str(error))
                await asyncio.sleep(RESTART_PAUSE_SECONDS)
                continue
            self._judge_discovery(found.failure)
            self._judge_found(found)
            happened = Discovered(found.endpoints, found.members, found.zone)
            while isinstance(outcome := await self._committer.ask(happened), Exception):
                if isinstance(outcome, InvalidInputError):
                    self._judge_discovery(f"what was found is refused: {outcome}")
                    break
                # The next result may take long, and may be unchanged.
                await asyncio.sleep(RESTART_PAUSE_SECONDS)

    def _judge_discovery(self, failure: str) -> None:
        """Count failures. Log a failure once, and again when its cause changes or it ends."""
        if failure:
            self._metrics.discovery_failures.inc()
        if failure == self._discovery_failure:
            return
        self._discovery_failure = failure
        if failure:
            log.warning(
                "discovery_failed", reason=failure, consequence="known members stay, and discovery is tried again"
            )
        else:
            log.info("discovery_recovered")

    def _judge_found(self, found: FoundMembers) -> None:
        """Log once that no other member is found. This is no error: some member must be the first."""
        own = self._options.endpoints.get(GOSSIP)
        others = sum(endpoint != own for endpoint in found.endpoints)
        self._metrics.discovered.set(others)
        if others == 0 and not self._is_alone:
            log.warning(
                "no_members_found",
                consequence="this member is alone until discovery, which is tried again, finds others",
            )
        self._is_alone = others == 0
