"""One run of a member. Like the node, it drives the core, but in virtual time.

Inputs wait in the inbox until the previous batch is durable. A batch goes through the core at one time and is committed
at a later time; a crash in between loses all of it. Answers and effects leave after the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gossipkv.codec import DecodeError, Limits, decode, encode
from gossipkv.committer import StoppedError
from gossipkv.core.effects import Effects, Send
from gossipkv.core.inputs import Answer, Answered, Discovered, Failed, Input, Received, Tick
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.replica import RefusedEnvelopeError, Replica
from gossipkv.core.store.storage import StorageError, StorageFullError, UnreadableRowError
from gossipkv.core.waits.answers import Resolved
from gossipkv.group_commit import Batch, GroupCommit, Prepared
from gossipkv.simulation.feed import Feed
from gossipkv.simulation.host import Host
from gossipkv.simulation.outcome import ViolationError
from gossipkv.simulation.refusal import refusing
from gossipkv.simulation.scenario import EXCHANGE_TIMEOUT_MS

Conclude = Callable[[Answer | Exception], None]

LIMITS = Limits()
STOPPED = StoppedError("the process takes nothing any more")


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
    def __init__(self, world: Surroundings, host: Host, driver: GroupCommit, tick_ms: int, commit_ms_max: int) -> None:
        self.host = host
        self.is_running = True
        self.inbox: list[tuple[Input, Conclude | None]] = []
        self.exchanges: dict[int, str] = {}
        """The endpoint of each exchange under way."""
        self.watched: Discovered | None = None
        """The last report of a watching discovery, delivered or about to be."""
        self.existing: frozenset[str] | None = None
        """The members that exist according to the last report to the core; empty if it may or may not have arrived."""
        self.is_committing = False
        self.is_paused = False
        self.has_left = False
        self.fails_commit = False
        """Let the next commit fail."""
        self.dies_before_commit: Callable[[], None] | None = None
        self.dies_after_commit: Callable[[], None] | None = None
        self.tickets: dict[int, Callable[[Resolved], None]] = {}
        """Waiting clients, by ticket."""
        self._ended: Callable[[], None] | None = None
        """Called when all pending work is done: the process is stopping gracefully."""
        self._world = world
        self._driver = driver
        self._tick_ms = tick_ms
        self._commit_ms_max = commit_ms_max
        self._is_woken = False
        self.feed: Feed | None = None
        """The watches at this member."""

    @property
    def replica(self) -> Replica:
        return self._driver.replica

    def start(self, effects: Effects) -> None:
        self._world.notice(self.host, effects)
        self._carry_out(effects)
        self._tick()

    def _tick(self) -> None:
        if not self.is_running:
            return
        if not any(isinstance(one, Tick) for one, _ in self.inbox):
            self.submit(Tick())
        self._world.after(self._tick_ms, self._tick)

    def stop(self) -> None:
        """End the process, and lose everything that was not committed."""
        self.is_running = False
        self.inbox.clear()
        self.exchanges.clear()

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

    def resume(self) -> None:
        self.is_paused = False
        self._wake()

    def calm(self) -> None:
        """End the faults that are active or pending here."""
        self.fails_commit = False
        self.dies_before_commit = self.dies_after_commit = None
        self.resume()

    # Batches

    def submit(self, happened: Input, conclude: Conclude | None = None) -> None:
        """Queue an input. `conclude` is called with the answer or the error, unless a crash comes first."""
        if self._ended is not None:
            self._conclude([conclude], [STOPPED])
            return
        self.inbox.append((happened, conclude))
        self._wake()

    def _wake(self) -> None:
        if self.inbox and not self._is_woken and not self.is_committing:
            self._is_woken = True
            self._world.after(self._world.draw_ms(0, 1), self._begin_batch)

    def _begin_batch(self) -> None:
        self._is_woken = False
        if not self.is_running or self.is_paused or self.is_committing or not self.inbox:
            return
        waiting, self.inbox = self.inbox, []
        inputs, concluding = [one for one, _ in waiting], [conclude for _, conclude in waiting]
        try:
            prepared = self._prepare(inputs)
        except StorageFullError as error:
            self._conclude_batch(self._driver.divide(inputs, error, self.host.now_ms()), concluding)
            return
        except StorageError as error:
            self._conclude_failure(inputs, error, concluding)
            self._end_if_done()
            return
        except ViolationError:
            raise
        except Exception as error:
            raise ViolationError("core", f"{self.host.name} fails on an input: {error!r}") from error
        self._await_commit(prepared, concluding)

    def _prepare(self, inputs: list[Input]) -> Prepared:
        """As the driver does for a node: rows that cannot be read are quarantined before and not met again."""
        notices = self._driver.quarantine()
        while True:
            try:
                prepared = self._driver.prepare(inputs, self.host.now_ms())
            except UnreadableRowError:
                notices += self._driver.quarantine()
            else:
                prepared.batch.effects.notices[:0] = notices
                return prepared

    def _await_commit(self, prepared: Prepared, concluding: list[Conclude | None]) -> None:
        self.is_committing = True
        commit_ms = self._world.draw_ms(0, self._commit_ms_max)
        self._world.after(commit_ms, lambda: self._end_batch(prepared, concluding))

    def _end_batch(self, prepared: Prepared, concluding: list[Conclude | None]) -> None:
        if not self.is_running:
            return
        if self.dies_before_commit is not None:
            self.dies_before_commit()
            return
        if self.fails_commit:
            self.fails_commit = False
            self.host.disk.fail_next_commit(StorageFullError("the volume is full"))
        self.is_committing = False
        try:
            batch = self._driver.commit(prepared)
        except StorageFullError as error:
            batch = self._driver.divide(prepared.inputs, error, self.host.now_ms())
        except StorageError as error:
            self._conclude_failure(prepared.inputs, error, concluding)
            self._wake()
            self._end_if_done()
            return
        if self.dies_after_commit is not None:
            self.dies_after_commit()
            return
        self._conclude_batch(batch, concluding)

    def _conclude_failure(
        self, inputs: Sequence[Input], error: StorageError, concluding: list[Conclude | None]
    ) -> None:
        batch = self._driver.failed(inputs, error, self.host.now_ms())
        self._world.notice(self.host, batch.effects)
        self._conclude(concluding, batch.outcomes)

    def _conclude_batch(self, batch: Batch, concluding: list[Conclude | None]) -> None:
        if batch.effects.is_fenced:
            self._world.notice(self.host, batch.effects)
            self._make_way(concluding, batch.effects)
            return
        self._world.notice(self.host, batch.effects)
        # A divided batch may resolve a wait in one part and withdraw it in the next. The client gets the result of the
        # first part, as a client of a node does.
        self._tell(batch.effects.resolved)
        self._conclude(concluding, batch.outcomes)
        self._carry_out(batch.effects)
        self._wake()
        self._end_if_done()

    def _make_way(self, concluding: list[Conclude | None], effects: Effects) -> None:
        """The data are outdated: nothing of the batch is acknowledged, and every waiting client is told."""
        waiting, self.inbox = self.inbox, []
        self._ended = lambda: None
        concluding += [conclude for _, conclude in waiting]
        self._conclude(concluding, [STOPPED] * len(concluding))
        self._tell(effects.resolved)
        self._world.fence(self.host)

    def _conclude(self, concluding: list[Conclude | None], outcomes: list[Answer | Exception]) -> None:
        for conclude, outcome in zip(concluding, outcomes, strict=True):
            if conclude is not None:
                conclude(outcome)

    def _carry_out(self, effects: Effects) -> None:
        if self.feed is not None:
            self.feed.publish(effects.changes)
        for send in effects.sends:
            self._send(send)

    def _tell(self, resolved: list[Resolved]) -> None:
        """Pass results to the clients whose waits are over."""
        for one in resolved:
            over = self.tickets.pop(one.ticket, None)
            if over is not None:
                over(one)

    # Exchanges

    def _send(self, send: Send) -> None:
        frame = self._frame(send.envelope)
        self.exchanges[send.exchange] = send.endpoint
        source = self.host.endpoint
        self._world.carry(source, send.endpoint, lambda: self._arrive(send, source, frame))
        timeout_ms = min(EXCHANGE_TIMEOUT_MS, send.timeout_ms or EXCHANGE_TIMEOUT_MS)
        self._world.after(timeout_ms, lambda: self.fail(send.exchange, "no answer in time"))

    def _frame(self, envelope: Envelope) -> bytes:
        frame = encode(envelope)
        self._world.leaving(self.host, envelope, frame)
        return frame

    def _arrive(self, send: Send, source: str, frame: bytes) -> None:
        """A copy of a request arrives."""
        stranger = self._world.stranger_at(send.endpoint)
        if stranger is not None:
            forged = stranger(frame)
            if forged is not None:
                self._world.carry(send.endpoint, source, lambda: self._take_forged(send.exchange, forged))
            return
        host = self._world.host_at(send.endpoint)
        if host is None and self._world.draw_ms(0, 1):
            # No host has this address, so nothing answers, not even with a refusal.
            return
        if host is None or host.process is None:
            self._world.carry(send.endpoint, source, lambda: self.fail(send.exchange, "connection refused"))
            return
        serving = host.process

        def conclude(outcome: Answer | Exception) -> None:
            if isinstance(outcome, Envelope):
                answer = serving._frame(outcome)
                self._world.carry(send.endpoint, source, lambda: self._take_answer(send.exchange, answer))
            elif isinstance(outcome, RefusedEnvelopeError):
                self._world.carry(send.endpoint, source, lambda: self.fail(send.exchange, str(outcome)))

        serving.submit(Received(serving.read_frame(frame)), conclude)

    def _take_answer(self, exchange: int, frame: bytes) -> None:
        if self.is_running and self.exchanges.pop(exchange, None) is not None:
            self.submit(Answered(exchange, self.read_frame(frame)))

    def _take_forged(self, exchange: int, frame: bytes) -> None:
        if self.is_running and self.exchanges.pop(exchange, None) is not None:
            try:
                self.submit(Answered(exchange, decode(frame, LIMITS)))
            except DecodeError as error:
                self.submit(Failed(exchange, str(error), was_answered=True))

    def read_frame(self, frame: bytes) -> Envelope:
        """Decode a frame as this member does; the frame may contain a row that it cannot take in."""
        envelope = read_frame(frame)
        return refusing(envelope, self.host.refuses) if self.host.refuses else envelope

    def fail(self, exchange: int, reason: str) -> None:
        """An exchange fails, unless it has been answered."""
        if self.is_running and self.exchanges.pop(exchange, None) is not None:
            self.submit(Failed(exchange, reason))


def read_frame(frame: bytes) -> Envelope:
    """Decode a frame; any member must be able to decode what another sent."""
    try:
        envelope = decode(frame, LIMITS)
    except DecodeError as error:
        raise ViolationError("codec", f"a frame that a member sent is refused: {error}") from error
    if any(getattr(message, "refused", ()) for message in envelope.messages):
        raise ViolationError("codec", f"a row that a member sent is refused: {envelope}")
    return envelope
