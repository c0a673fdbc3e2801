"""One run of a member. Like the node, it runs batches, carries frames and keeps time for a driver, but in virtual time.

Inputs wait in the inbox until the previous batch is durable. A batch goes through the core at one time and is committed
at a later time; a crash in between loses what was not committed. Answers and effects leave after the last commit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from gossipkv.codec import DecodeError, Limits, decode, encode
from gossipkv.core.effects import Effects, Send
from gossipkv.core.inputs import Await, Discovered, FollowChanges, Input, Leave, Read, Tick, Wake, Write
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.replica import Replica
from gossipkv.core.store.snapshot import ReplicaSnapshot
from gossipkv.core.store.storage import StorageFullError
from gossipkv.intake.bound import Bound
from gossipkv.member.batches import (
    BatchBounds,
    Decoded,
    InputOutcome,
    Job,
    StoppedError,
    decoded,
    gathered,
    published,
)
from gossipkv.member.driver import Driver, Inbox, InboxFullError
from gossipkv.member.group_commit import Batch, GroupCommit, PreparedBatch, StepFailedError, Steps
from gossipkv.member.watches import Watches
from gossipkv.simulation.outcome import ViolationError
from gossipkv.simulation.scenarios.scenario import EXCHANGE_TIMEOUT_MS
from gossipkv.simulation.world.conclusion import Conclude, Conclusion
from gossipkv.simulation.world.host import Host
from gossipkv.simulation.world.refusal import refusing
from gossipkv.simulation.world.unlogged import UnloggedRefusals

LIMITS = Limits()
BATCH_FRAMES_BYTES = 16 * 1024
"""Few batches take so little that frames wait for the next one."""
BUFFER_BYTES_MAX = 4_000
"""Maximum size of the events buffered for one watcher. Few watchers take so little that they are dropped."""
BUFFERS_BYTES_MAX = 1_000_000
INBOX_OPERATIONS_MAX = 60
INBOX_BYTES_MAX = 128 * 1024
INBOX_FRAMES_BYTES_MAX = 256 * 1024


class Surroundings(Protocol):
    """The environment of a process."""

    def after(self, delay_ms: int, event: Callable[[], None]) -> None: ...

    def carry(self, source: str, destination: str, arrive: Callable[[], None]) -> None: ...

    def host_at(self, endpoint: str) -> Host | None: ...

    def stranger_at(self, endpoint: str) -> Callable[[bytes], bytes | None] | None: ...

    def draw_ms(self, least: int, most: int) -> int: ...

    def leaving(self, host: Host, envelope: Envelope, frame: bytes) -> None: ...

    def notice(self, host: Host, effects: Effects) -> None: ...

    def fence(self, host: Host) -> None: ...


class Process:
    """One run of a member: it drives the core with the driver of the node, in virtual time."""

    def __init__(
        self,
        world: Surroundings,
        host: Host,
        group_commit: GroupCommit,
        snapshot: ReplicaSnapshot,
        tick_ms: int,
        commit_ms_max: int,
        batch_inputs_max: int,
    ) -> None:
        self.host = host
        self.is_running = True
        self.inbox: deque[Job] = deque()
        self.watches = Watches(
            host.disk.view,
            host.now_ms,
            _bound("watch_buffers_bytes_max", BUFFERS_BYTES_MAX),
            BUFFER_BYTES_MAX,
            lambda: None,
            lambda: None,
        )
        inbox = Inbox(
            _bound("inbox_operations_max", INBOX_OPERATIONS_MAX),
            _bound("inbox_bytes_max", INBOX_BYTES_MAX),
            _bound("inbox_frames_bytes_max", INBOX_FRAMES_BYTES_MAX),
        )
        self.driver = Driver(snapshot, self._hand_in, inbox, self.watches)
        self.watched: Discovered | None = None
        """The last report of a watching discovery, delivered or about to be."""
        self.existing: frozenset[str] | None = None
        """The members that exist according to the last report to the core; empty if it may or may not have arrived."""
        self.is_ahead_of_snapshot = False
        """Whether a part of the batch under way is durable."""
        self.is_paused = False
        self.delays = 0
        """Number of times that inputs had to wait for more than two commits: it was paused, a batch took several, or a
        batch did not take all inputs."""
        self.late_ms_max = tick_ms + 4 * (commit_ms_max + 1)
        """How long after its deadline a wait may end without a delay: a tick later if the clock is set back, and two
        batches later."""
        self.has_left = False
        self.fails_commit = False
        """Let the next commit fail."""
        self.dies_before_commit: Callable[[], None] | None = None
        self.dies_after_commit: Callable[[], None] | None = None
        self._ended: Callable[[], None] | None = None
        """Called when all pending work is done: the process is stopping gracefully."""
        self._world = world
        self._group_commit = group_commit
        self._steps: Steps | None = None
        """The batch under way."""
        self._tick_ms = tick_ms
        self._commit_ms_max = commit_ms_max
        self._batch = BatchBounds(batch_inputs_max, BATCH_FRAMES_BYTES)
        self._is_woken = False
        self._wakes_ms: int | None = None
        """The deadline for which a batch is to be made."""
        self._envelopes: dict[bytes, Envelope] = {}
        """By frame, the envelopes of the batch that is being published."""
        self._forged: set[bytes] = set()
        """Frames that come from no member, and may be unreadable."""

    @property
    def replica(self) -> Replica:
        """The replica, for checkers and tests."""
        return self._group_commit.replica

    @property
    def is_committing(self) -> bool:
        """Whether a batch is under way."""
        return self._steps is not None

    def start(self, effects: Effects) -> None:
        """Carry out what the start of the replica asks for, and begin to tick."""
        self._publish(Decoded([], [], []), Batch([], effects))
        self._tick()

    def _tick(self) -> None:
        if not self.is_running:
            return
        if not any(isinstance(job.payload, Tick) for job in self.inbox):
            self.submit(Tick())
        self.watches.beat()
        self._world.after(self._tick_ms, self._tick)

    def stop(self) -> None:
        """End the process, and lose everything that was not committed."""
        self.is_running = False
        self._steps = None
        self.inbox.clear()
        self.driver.exchanges.clear()

    def leave(self, conclude: Conclude) -> None:
        """Take no more writes, and announce that the member leaves."""
        self.has_left = True
        self.driver.stop()
        self.submit(Leave(), conclude)

    def end(self, ended: Callable[[], None]) -> None:
        """Accept no new input, finish pending work, then call `ended`; a crash may come first."""
        self._ended = ended
        self._end_if_done()

    @property
    def is_ending(self) -> bool:
        """Whether it accepts no new input: it hears no more of exchanges that are under way."""
        return self._ended is not None

    def _end_if_done(self) -> None:
        if self._ended is not None and not self.inbox and not self.is_committing:
            self._ended()

    def pause(self) -> None:
        """Begin no batch until `resume`."""
        self.is_paused = True
        self.delays += 1

    def resume(self) -> None:
        """Begin batches again."""
        # Who looks for the end of a wait gets as much time from here on as from the beginning of the pause.
        self.delays += self.is_paused
        self.is_paused = False
        self._wake()

    def calm(self) -> None:
        """End the faults that are active or pending here."""
        self.fails_commit = False
        self.dies_before_commit = self.dies_after_commit = None
        self.resume()

    # Inputs

    def submit(self, happened: Input, conclude: Conclude | None = None) -> None:
        """Hand in an input. `conclude` is called with the answer or the error, unless a crash comes first."""
        waiter = None if conclude is None else Conclusion(conclude)
        try:
            if isinstance(happened, Write):
                self.driver.write(happened.shard, happened.operations, happened.copies, waiter)
            elif waiter is None:
                self.driver.post(happened)
            else:
                self.driver.ask(happened, waiter)
        except (StoppedError, InboxFullError) as error:
            if waiter is not None:
                waiter.set_result(error)

    def wait(self, happened: Await | Read, conclude: Conclude, over: Conclude) -> None:
        """Begin a wait; `over` is called with its end."""
        self.driver.wait(happened, Conclusion(conclude), Conclusion(over))

    def rest(self) -> None:
        """Stop reporting changes when the last watcher has gone."""
        if self.watches.rest():
            self.submit(FollowChanges(is_watched=False))

    def _hand_in(self, job: Job) -> None:
        if self._ended is not None:
            self.driver.conclude(job, StoppedError("the process takes nothing any more"))
            return
        self.inbox.append(job)
        self._wake()

    # Batches

    def _wake(self) -> None:
        if self.inbox and not self._is_woken and not self.is_committing:
            self._is_woken = True
            self._world.after(self._world.draw_ms(0, 1), self._begin_batch)

    def _begin_batch(self) -> None:
        self._is_woken = False
        if not self.is_running or self.is_paused or self.is_committing or not self.inbox:
            return
        taken = decoded(gathered(self._waiting(), self._batch), self._decode)
        self.delays += bool(self.inbox)
        self._steps = self._group_commit.steps(taken.inputs, self.host.now_ms())
        self._go_on(taken, None)

    def _waiting(self) -> Iterator[Job]:
        while self.inbox:
            yield self.inbox.popleft()

    def _go_on(self, taken: Decoded, committing: PreparedBatch | None) -> None:
        """Let the batch under way go on: through the commit at which it has stopped, to the next one or to its end."""
        assert self._steps is not None
        prepared = batch = None
        try:
            prepared = next(self._steps)
        except StopIteration as ended:
            batch = ended.value
        if committing is not None and committing.is_durable and self.dies_after_commit is not None:
            self.dies_after_commit()
        elif batch is not None:
            self._steps = None
            self.is_ahead_of_snapshot = False
            self._publish(taken, batch)
        elif prepared is not None:
            if committing is not None:
                self.delays += 1
                self.is_ahead_of_snapshot |= committing.is_durable
            self._await_commit(prepared, taken)

    def _await_commit(self, prepared: PreparedBatch, taken: Decoded) -> None:
        commit_ms = self._world.draw_ms(0, self._commit_ms_max)
        self._world.after(commit_ms, lambda: self._commit(prepared, taken))

    def _commit(self, prepared: PreparedBatch, taken: Decoded) -> None:
        if not self.is_running:
            return
        if self.dies_before_commit is not None:
            self.dies_before_commit()
            return
        if self.fails_commit:
            self.fails_commit = False
            self.host.disk.fail_next_commit(StorageFullError("the volume is full"))
        self._go_on(taken, prepared)

    def _publish(self, taken: Decoded, batch: Batch) -> None:
        """Pass on what a batch has come to, as the node does."""
        self._world.notice(self.host, batch.effects)
        self._envelopes.clear()
        result = published(taken, batch, self._encode)
        faults = [*batch.faults, *(each for _, each in result.outcomes if isinstance(each, StepFailedError))]
        if faults or result.unsent:
            cause = faults[0].__cause__ if faults else None
            raise ViolationError("core", f"{self.host.name} fails on an input: {faults} {result.unsent}") from cause
        self.driver.publish(result)
        if self.driver.is_fenced:
            self._make_way()
            return
        self._wake_by(batch.effects.deadline_ms)
        self._carry_out(result.sends)
        self._wake()
        self._end_if_done()

    def _make_way(self) -> None:
        """The data are outdated: every waiting client is told that the process stops."""
        waiting, self.inbox = self.inbox, deque()
        self._ended = lambda: None
        for job in waiting:
            self.driver.conclude(job, self.driver.reason_to_stop())
        self._world.fence(self.host)

    def _wake_by(self, deadline_ms: int | None) -> None:
        """Make a batch at the next deadline."""
        if deadline_ms is not None and (self._wakes_ms is None or deadline_ms < self._wakes_ms):
            self._wakes_ms = deadline_ms
            self._world.after(max(0, deadline_ms - self.host.now_ms()), lambda: self._awake(deadline_ms))

    def _awake(self, deadline_ms: int) -> None:
        if self.is_running and self._wakes_ms == deadline_ms:
            self._wakes_ms = None
            self.submit(Wake())

    # Exchanges

    def _carry_out(self, sends: Sequence[Send[bytes]]) -> None:
        for send in self.driver.begin(sends):
            self._send(send)

    def _send(self, send: Send[bytes]) -> None:
        source = self.host.endpoint
        self._leave(send.content)
        self._world.carry(source, send.endpoint, lambda: self._arrive(send, source))
        timeout_ms = EXCHANGE_TIMEOUT_MS if send.timeout_ms is None else min(EXCHANGE_TIMEOUT_MS, send.timeout_ms)
        self._world.after(timeout_ms, lambda: self._fail(send.exchange, "no answer in time"))

    def _leave(self, frame: bytes) -> None:
        self._world.leaving(self.host, self._envelopes[frame], frame)

    def _arrive(self, send: Send[bytes], source: str) -> None:
        """A copy of a request arrives."""
        stranger = self._world.stranger_at(send.endpoint)
        if stranger is not None:
            forged = stranger(send.content)
            if forged is not None:
                self._world.carry(send.endpoint, source, lambda: self._take_forged(send.exchange, forged))
            return
        host = self._world.host_at(send.endpoint)
        if host is None and self._world.draw_ms(0, 1):
            # No host has this address, so nothing answers, not even with a refusal.
            return

        def refuse(reason: str) -> None:
            self._world.carry(send.endpoint, source, lambda: self._fail(send.exchange, reason))

        if host is None or host.process is None:
            refuse("connection refused")
            return
        serving = host.process

        def conclude(outcome: InputOutcome) -> None:
            if isinstance(outcome, bytes):
                serving._leave(outcome)
                self._world.carry(send.endpoint, source, lambda: self._take_answer(send.exchange, outcome))
            else:
                refuse(str(outcome))

        try:
            if not serving.driver.serve(send.content, Conclusion(conclude)):
                refuse("too many frames wait to be answered")
        except StoppedError as error:
            refuse(str(error))

    def _take_answer(self, exchange: int, frame: bytes) -> None:
        if self.is_running:
            self.driver.answered(exchange, frame)

    def _take_forged(self, exchange: int, frame: bytes) -> None:
        self._forged.add(frame)
        self._take_answer(exchange, frame)

    def _fail(self, exchange: int, reason: str) -> None:
        if self.is_running:
            self.driver.failed(exchange, reason)

    # Frames

    def _encode(self, envelope: Envelope) -> bytes:
        frame = encode(envelope)
        self._envelopes[frame] = envelope
        return frame

    def _decode(self, frame: bytes) -> Envelope:
        """Decode a frame as this member does; the frame may contain a row that it cannot take in."""
        envelope = decode(frame, LIMITS) if frame in self._forged else read_frame(frame)
        return refusing(envelope, self.host.refuses) if self.host.refuses else envelope


def _bound(name: str, limit: int) -> Bound:
    return Bound(name, limit, "", UnloggedRefusals())


def read_frame(frame: bytes) -> Envelope:
    """Decode a frame; any member must be able to decode what another sent."""
    try:
        envelope = decode(frame, LIMITS)
    except DecodeError as error:
        raise ViolationError("codec", f"a frame that a member sent is refused: {error}") from error
    if any(getattr(message, "refused", ()) for message in envelope.messages):
        raise ViolationError("codec", f"a row that a member sent is refused: {envelope}")
    return envelope
