"""Group commit: many inputs, one transaction, one fsync.

All waiting inputs go through the core inside one write transaction; later ones see what earlier ones wrote. The answers
and effects of a batch leave only after its commits have returned. That is the whole crash-safety argument. A process
that dies before the commit has sent nothing, and one that dies after it finds everything it may have sent on disk.

`GroupCommit.steps` alone knows the order of calls. It stops before each commit. The node goes on at once; the
simulation lets time pass, commits fail, and processes die there.

If a step or the commit fails, the transaction is aborted and the replica returns to what is on disk. What does not fit
is divided (`division.py`): a batch into inputs, a write into operations, rows from a peer into pieces. If an input
still does not fit, its rows are refused, and everything else in it counts.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace

from gossipkv.core.effects import Effects
from gossipkv.core.inputs import (
    Answer,
    Answered,
    Failed,
    Input,
    Inspect,
    Locate,
    Received,
    Tick,
    Withdraw,
    Write,
    admit,
    step,
)
from gossipkv.core.membership.clocks import OwnClockOffError
from gossipkv.core.model.address import USER
from gossipkv.core.model.room import CATCHING_UP, NO_ROOM, Allowance, Room, Usage, reserves_of, room_of
from gossipkv.core.model.tally import Notice
from gossipkv.core.model.write import Declined, Result
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.replica import RefusedEnvelopeError, Replica
from gossipkv.core.store.quarantine import quarantine
from gossipkv.core.store.shortage import Outage
from gossipkv.core.store.snapshot import ReplicaSnapshot
from gossipkv.core.store.storage import (
    PutDelayedError,
    PutRefusedError,
    Storage,
    StorageError,
    StorageFullError,
    Transaction,
    UnreadableRowError,
)
from gossipkv.member import division
from gossipkv.rows.arguments.invalid import InvalidInputError

_NO_ROOM, _CATCHING_UP = Declined(NO_ROOM, None, 0), Declined(CATCHING_UP, None, 0)

FAILURES_MAX = 64
"""Maximum number of transactions of one batch that may fail because there is no room; the rest of the batch then fails
untried. After each failure, the replica's memory is read from disk again."""


class StepFailedError(Exception):
    """The core failed on an input, which is a bug. The input has changed nothing."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of a batch, valid once committed: an answer or an error per input, and the effects of all."""

    outcomes: list[Answer | Exception]
    effects: Effects
    faults: tuple[StepFailedError, ...] = ()
    """What the core failed on, where it then failed on none of the inputs alone."""


@dataclass(slots=True)
class PreparedBatch:
    """Inputs that have gone through the core in one transaction, which is not committed yet."""

    transaction: Transaction
    batch: Batch
    inputs: Sequence[Input]
    now_ms: int
    revision: int
    """Of the storage, if the transaction changes anything."""
    is_durable: bool = False
    """Whether it has been committed since."""


Steps = Generator[PreparedBatch, None, Batch]
"""A batch under way: stops before each commit, and returns what has come of its inputs. If it is given up there, its
transaction stays open: only the end of the process, and of what it has opened, is to follow."""


class GroupCommit:
    """Drives one replica over one storage; used by one thread at a time."""

    def __init__(self, storage: Storage, replica: Replica, durable: ReplicaSnapshot) -> None:
        self._storage = storage
        self.replica = replica
        self._durable = durable
        """The replica as of the last commit."""
        self._room = Room.AMPLE
        self._outage = Outage()
        self._usage = Usage(0, 0)
        self._is_usage_current = False
        self._failures = 0
        """Number of transactions of the batch under way that have failed because there was no room."""

    @classmethod
    def open(
        cls, storage: Storage, options: ReplicaOptions, rng: random.Random, now_ms: int
    ) -> tuple[GroupCommit, Effects]:
        """Start a replica on what the storage holds. Raises StorageError."""
        notices: list[Notice] = []
        while True:
            transaction = storage.begin()
            try:
                replica = Replica.open(transaction, options, rng, now_ms)
                effects = replica.finish(transaction, now_ms)
            except UnreadableRowError:
                transaction.abort()
                notices += _quarantined(storage)
            except BaseException:
                transaction.abort()
                raise
            else:
                transaction.commit()
                effects.notices[:0] = notices
                return cls(storage, replica, _snapshot_of(effects)), effects

    def run(self, inputs: Sequence[Input], now_ms: int) -> Batch:
        """Take inputs in and make them durable. Never raises: an error is an outcome."""
        steps = self.steps(inputs, now_ms)
        while True:
            try:
                next(steps)
            except StopIteration as ended:
                batch: Batch = ended.value
                return batch

    def steps(self, inputs: Sequence[Input], now_ms: int) -> Steps:
        """Take inputs in and make them durable, stopping before each commit. Never raises: an error is an outcome.

        If the core fails on an input, each input is run on its own, so that the others do not fail with it. If a row
        cannot be read, it is quarantined, and the inputs are run again without it.
        """
        self._failures = 0
        try:
            self._look_at_room()
        except StorageError as error:
            return self._failed(inputs, error, now_ms)
        batches = []
        for run in division.runs(inputs, self._bytes_max):
            batch = yield from self._run(run, now_ms)
            batches.append(batch)
        return joined(batches)

    @property
    def _bytes_max(self) -> int:
        return int(self._usage.free_bytes * division.TRANSACTION_SHARE)

    def _run(self, inputs: Sequence[Input], now_ms: int) -> Steps:
        if len(inputs) == 1 and division.weight(inputs[0]) > self._bytes_max:
            try:
                # If a write is refused as a whole, no part of it may be stored.
                admit(inputs[0], self.replica.options.value_bytes_max)
            except InvalidInputError as refused:
                return Batch([refused], Effects())
            return (yield from self._run_in_pieces(inputs[0], now_ms))
        return (yield from self._run_whole(inputs, now_ms))

    def _run_whole(self, inputs: Sequence[Input], now_ms: int) -> Steps:
        notices: list[Notice] = []
        while True:
            try:
                notices += self._quarantine()
                batch = yield from self._run_once(inputs, now_ms)
            except UnreadableRowError as error:
                if self._storage.unreadable:
                    continue
                batch = self._failed(inputs, error, now_ms)
            except StorageFullError as error:
                batch = yield from self._divide(inputs, error, now_ms)
            except StorageError as error:
                batch = self._failed(inputs, error, now_ms)
            except Exception as error:
                batch = yield from self._run_each(inputs, error, now_ms)
            batch.effects.notices[:0] = notices
            return batch

    def _run_in_turn(self, runs: Iterable[Sequence[Input]], now_ms: int) -> Steps:
        batches = []
        for run in runs:
            batch = yield from self._run_whole(run, now_ms)
            batches.append(batch)
        return joined(batches)

    def _run_once(self, inputs: Sequence[Input], now_ms: int, *, has_room: bool = True) -> Steps:
        """Run inputs in one transaction. Raises what a step raised, and StorageError, after returning to what is on
        disk."""
        prepared = self._prepare(inputs, now_ms, has_room=has_room)
        yield prepared
        return self._commit(prepared)

    def _run_each(self, inputs: Sequence[Input], error: Exception, now_ms: int) -> Steps:
        """Run each input on its own, to find the one that the core fails on."""
        failure = StepFailedError(f"{type(error).__name__}: {error}")
        failure.__cause__ = error
        if len(inputs) == 1:
            return Batch([failure], Effects())
        batch = yield from self._run_in_turn([[one] for one in inputs], now_ms)
        if any(isinstance(outcome, StepFailedError) for outcome in batch.outcomes):
            return batch
        return replace(batch, faults=(*batch.faults, failure))

    def _quarantine(self) -> list[Notice]:
        """Quarantine the rows that readers have found unreadable, if there are any. Raises StorageError."""
        if not self._storage.unreadable:
            return []
        notices = _quarantined(self._storage)
        self._return_to_disk((), Effects())
        return notices

    # What does not fit

    def _divide(self, inputs: Sequence[Input], error: StorageFullError, now_ms: int) -> Steps:
        """Run inputs that did not fit into one transaction in several."""
        self._failures += 1
        if self._failures > FAILURES_MAX:
            return self._failed(inputs, error, now_ms)
        if len(inputs) > 1:
            middle = len(inputs) // 2
            return (yield from self._run_in_turn([inputs[:middle], inputs[middle:]], now_ms))
        [happened] = inputs
        if isinstance(happened, Write) and len(happened.operations) > 1:
            return (yield from self._run_writes(division.writes(happened, division.weight(happened) // 2), now_ms))
        if isinstance(happened, Write):
            return self._failed(inputs, error, now_ms)
        before = Batch([], Effects())
        if isinstance(happened, Received | Answered) and division.weight(happened) > 0:
            before = yield from self._run_pieces(happened, division.weight(happened) // 2, now_ms)
        return joined([before, (yield from self._run_without_room(happened, error, now_ms))])

    def _run_in_pieces(self, happened: Input, now_ms: int) -> Steps:
        """Run an input that would take more than its share of the room."""
        if isinstance(happened, Write) and len(happened.operations) > 1:
            return (yield from self._run_writes(division.writes(happened, self._bytes_max), now_ms))
        before = Batch([], Effects())
        if isinstance(happened, Received | Answered):
            before = yield from self._run_pieces(happened, self._bytes_max, now_ms)
        return joined([before, (yield from self._run_whole([happened], now_ms))])

    def _run_writes(self, parts: Sequence[Write], now_ms: int) -> Steps:
        """Run the parts of one write; the outcome is like that of one write: a result per operation, or one error for
        all."""
        batches = []
        results: list[Result] = []
        for part in parts:
            batch = yield from self._run_whole([part], now_ms)
            batches.append(batch)
            [outcome] = batch.outcomes
            if isinstance(outcome, list):
                results += outcome
            elif isinstance(outcome, StorageFullError | PutDelayedError):
                refusal = _CATCHING_UP if isinstance(outcome, PutDelayedError) else _NO_ROOM
                results += [refusal] * len(part.operations)
            else:
                return replace(joined(batches), outcomes=[outcome])
        return replace(joined(batches), outcomes=[results])

    def _run_pieces(self, happened: Received | Answered, bytes_max: int, now_ms: int) -> Steps:
        """Run the rows of an envelope by themselves, before the envelope is answered; the effects are merged."""
        batch = yield from self._run_in_turn([[piece] for piece in division.pieces(happened, bytes_max)], now_ms)
        return replace(batch, outcomes=[])

    def _run_without_room(self, happened: Input, error: StorageFullError, now_ms: int) -> Steps:
        """Take in an input without its rows, which do not fit: a member without room still compares, probes, and
        reports its room."""
        try:
            return (yield from self._run_once([happened], now_ms, has_room=False))
        except StorageError:
            return self._failed([happened], error, now_ms)

    def _failed(self, inputs: Sequence[Input], error: StorageError, now_ms: int) -> Batch:
        """What there is to say when inputs could not be stored."""
        effects = Effects(
            notices=self._outage.failed(error, now_ms) + self.replica.take_lasting_notices(),
            resolved=self.replica.lapse(now_ms),
            deadline_ms=self.replica.deadline_ms,
        )
        return Batch([self._without_storage(one, error, now_ms) for one in inputs], effects)

    # One transaction

    def _prepare(self, inputs: Sequence[Input], now_ms: int, *, has_room: bool) -> PreparedBatch:
        """Do the part before the commit. Raises what a step raised, after returning to what is on disk. Without room,
        no rows of other members are taken in."""
        transaction = self._storage.begin()
        try:
            if not self._is_usage_current:
                self._look_at_room()
            room = self._room if has_room else Room.NONE
            free_bytes = self._usage.free_bytes
            spare_bytes = free_bytes - reserves_of(self._usage.capacity_bytes, self.replica.shards[USER].rows)[0]
            allowance = Allowance(room, division.rows_max(free_bytes), spare_bytes)
            self.replica.allow(allowance, self._usage)
            outcomes = [self._outcome(transaction, one, now_ms) for one in inputs]
            effects = self.replica.finish(transaction, now_ms)
        except BaseException as error:
            transaction.abort()
            self._return_to_disk(inputs, Effects(), error, now_ms)
            raise
        return PreparedBatch(transaction, Batch(outcomes, effects), inputs, now_ms, transaction.revision())

    def _commit(self, prepared: PreparedBatch) -> Batch:
        """Make a prepared batch durable. Raises StorageError, after returning to what is on disk."""
        self._is_usage_current = False
        try:
            prepared.transaction.commit()
        except BaseException as error:
            self._return_to_disk(prepared.inputs, prepared.batch.effects, error, prepared.now_ms)
            raise
        prepared.is_durable = True
        self.replica.note_committed()
        if self._outage.is_under_way and self._has_stored(prepared):
            prepared.batch.effects.notices.extend(self._outage.succeeded(prepared.now_ms))
        self._durable = _snapshot_of(prepared.batch.effects)
        return prepared.batch

    def _has_stored(self, committed: PreparedBatch) -> bool:
        """Whether a transaction that has been committed has changed anything."""
        with self._storage.view() as view:
            return view.revision() >= committed.revision

    def _look_at_room(self) -> None:
        """Raises StorageError."""
        usage = self._storage.usage
        self._room = room_of(usage, self.replica.shards[USER].rows, self._room)
        self._usage = usage
        self._is_usage_current = True

    def _outcome(self, transaction: Transaction, happened: Input, now_ms: int) -> Answer | Exception:
        try:
            answer = step(self.replica, transaction, happened, now_ms)
        except (RefusedEnvelopeError, InvalidInputError, OwnClockOffError) as refused:
            # None of them has changed anything.
            return refused
        if answer == [_NO_ROOM]:
            return PutRefusedError(self.replica.lack_of_room())
        if answer == [_CATCHING_UP]:
            return PutDelayedError("rows that are on their way to all members may take the room that is left")
        return answer

    def _without_storage(self, happened: Input, error: StorageError, now_ms: int) -> Answer | Exception:
        """A member whose storage takes no more writes can still report its status, and who has a write."""
        match happened:
            case Inspect():
                return self.replica.status(now_ms)
            case Locate(receipt=receipt):
                return self.replica.coverage(receipt)
            case Withdraw(ticket=ticket):
                self.replica.withdraw(ticket)
                return None
            case _:
                return error

    def _return_to_disk(
        self, inputs: Sequence[Input], effects: Effects, error: BaseException | None = None, now_ms: int = 0
    ) -> None:
        """Fail the exchanges that would have begun, or whose end the batch held."""
        ended = [one.exchange for one in inputs if isinstance(one, Answered | Failed)]
        with self._storage.view() as view:
            self.replica.reload(view, self._durable, [*(send.exchange for send in effects.sends), *ended])
        if isinstance(error, StorageFullError):
            answers = [one.envelope for one in inputs if isinstance(one, Answered)]
            has_ticked = any(isinstance(one, Tick) for one in inputs)
            self.replica.note_too_big(answers, now_ms, has_ticked=has_ticked)


def joined(batches: Sequence[Batch]) -> Batch:
    """Merge batches that were committed one after the other."""
    if len(batches) == 1:
        return batches[0]
    return Batch(
        [outcome for batch in batches for outcome in batch.outcomes],
        Effects(
            [send for batch in batches for send in batch.effects.sends],
            [notice for batch in batches for notice in batch.effects.notices],
            [arrival for batch in batches for arrival in batch.effects.arrivals],
            [resolved for batch in batches for resolved in batch.effects.resolved],
            [changes for batch in batches for changes in batch.effects.changes],
            any(batch.effects.is_fenced for batch in batches),
            min([b.effects.deadline_ms for b in batches if b.effects.deadline_ms is not None], default=None),
            next((b.effects.snapshot for b in reversed(batches) if b.effects.snapshot is not None), None),
        ),
        tuple(fault for batch in batches for fault in batch.faults),
    )


def _snapshot_of(effects: Effects) -> ReplicaSnapshot:
    assert effects.snapshot is not None, "every batch that goes through the core leaves a snapshot"
    return effects.snapshot


def _quarantined(storage: Storage) -> list[Notice]:
    """Quarantine the unreadable rows, including those met while doing so. Raises StorageError."""
    while True:
        found = dict(storage.unreadable)
        transaction = storage.begin()
        try:
            notices = quarantine(transaction, found)
        except UnreadableRowError:
            # The storage has noted it, so it is included the next time.
            transaction.abort()
        except BaseException:
            transaction.abort()
            raise
        else:
            transaction.commit()
            for one in found:
                storage.unreadable.pop(one, None)
            return notices
