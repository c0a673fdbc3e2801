"""Group commit: many inputs, one transaction, one fsync.

All waiting inputs go through the core inside one write transaction; later ones see what earlier ones wrote. Nothing
leaves before `commit` has returned: the answers and effects of a batch are handed out only then. That is the whole
crash-safety argument: a process that dies before the commit has told no one anything, and one that dies after it finds
everything it may have told on disk.

If a step or the commit fails, the transaction is aborted and the replica returns to what is on disk.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gossipkv.core.effects import Effects, Notice
from gossipkv.core.inputs import Answer, Answered, Failed, Input, Inspect, Locate, Withdraw, Write, admit, step
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.quarantine import quarantine
from gossipkv.core.replica import RefusedEnvelopeError, Replica
from gossipkv.core.snapshot import ReplicaSnapshot
from gossipkv.core.storage import Storage, StorageError, StorageFullError, Transaction, UnreadableRowError
from gossipkv.rows.invalid import InvalidInputError

USED_SHARE_MAX = 0.9
"""Above this share of the storage puts are refused; the reserve is for deletes and for rows that other members have
acknowledged already."""


class StepFailedError(Exception):
    """The core could not take an input: a fault of our own. The input has changed nothing."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What to tell whom, once committed: an answer or an error per input, and the effects of all."""

    outcomes: list[Answer | Exception]
    effects: Effects


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch that has gone through the core and is not durable yet."""

    transaction: Transaction
    batch: Batch
    inputs: Sequence[Input]


class GroupCommit:
    """Drives one replica over one storage; used by one thread at a time."""

    def __init__(self, storage: Storage, replica: Replica, durable: ReplicaSnapshot) -> None:
        self._storage = storage
        self.replica = replica
        self._durable = durable
        """The replica as of the last commit."""

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
        """Take inputs in and make them durable. Never raises: what fails is an outcome.

        An input that the core fails on is found by running each on its own, so that it cannot take others with it. A
        row that cannot be read takes nothing with it: it is quarantined, and the inputs are taken in again without it.
        """
        notices: list[Notice] = []
        while True:
            try:
                if self._storage.unreadable:
                    notices += _quarantined(self._storage)
                    self._return_to_disk((), Effects())
                batch = self._run(inputs, now_ms)
            except UnreadableRowError as error:
                if not self._storage.unreadable:
                    return Batch(
                        [self._without_storage(one, error, now_ms) for one in inputs], Effects(notices=notices)
                    )
            except StorageError as error:
                return Batch([self._without_storage(one, error, now_ms) for one in inputs], Effects(notices=notices))
            else:
                batch.effects.notices[:0] = notices
                return batch

    def _run(self, inputs: Sequence[Input], now_ms: int) -> Batch:
        """Raises UnreadableRowError."""
        try:
            return self.commit(self.prepare(inputs, now_ms))
        except UnreadableRowError:
            raise
        except StorageError as error:
            return Batch([self._without_storage(one, error, now_ms) for one in inputs], Effects())
        except Exception as error:
            if len(inputs) == 1:
                failure = StepFailedError(f"{type(error).__name__}: {error}")
                failure.__cause__ = error
                return Batch([failure], Effects())
        batches = [self.run([one], now_ms) for one in inputs]
        return Batch(
            [outcome for batch in batches for outcome in batch.outcomes],
            Effects(
                [send for batch in batches for send in batch.effects.sends],
                [notice for batch in batches for notice in batch.effects.notices],
                [arrival for batch in batches for arrival in batch.effects.arrivals],
                [resolved for batch in batches for resolved in batch.effects.resolved],
                [changes for batch in batches for changes in batch.effects.changes],
                any(batch.effects.is_fenced for batch in batches),
                next((b.effects.snapshot for b in reversed(batches) if b.effects.snapshot is not None), None),
            ),
        )

    def prepare(self, inputs: Sequence[Input], now_ms: int) -> Prepared:
        """The part before the commit. Raises what a step raised, after returning to what is on disk."""
        transaction = self._storage.begin()
        try:
            is_full = self._storage.used_share >= USED_SHARE_MAX
            outcomes = [self._outcome(transaction, one, is_full, now_ms) for one in inputs]
            effects = self.replica.finish(transaction, now_ms)
        except BaseException:
            transaction.abort()
            self._return_to_disk(inputs, Effects())
            raise
        return Prepared(transaction, Batch(outcomes, effects), inputs)

    def commit(self, prepared: Prepared) -> Batch:
        """Make a prepared batch durable. Raises StorageError, after returning to what is on disk."""
        try:
            prepared.transaction.commit()
        except BaseException:
            self._return_to_disk(prepared.inputs, prepared.batch.effects)
            raise
        self._durable = _snapshot_of(prepared.batch.effects)
        return prepared.batch

    def _outcome(self, transaction: Transaction, happened: Input, is_full: bool, now_ms: int) -> Answer | Exception:
        try:
            if is_full and isinstance(happened, Write):
                admit(happened, self.replica.options.value_bytes_max)
                if any(operation.value is not None for operation in happened.operations):
                    return StorageFullError(f"the storage is more than {USED_SHARE_MAX:.0%} full")
            return step(self.replica, transaction, happened, now_ms)
        except (RefusedEnvelopeError, InvalidInputError) as refused:
            # Neither has changed anything.
            return refused

    def _without_storage(self, happened: Input, error: StorageError, now_ms: int) -> Answer | Exception:
        """A member whose storage takes nothing any more can still say how it is, and who has a write."""
        match happened:
            case Inspect():
                return self.replica.status(now_ms)
            case Locate(receipt=receipt):
                return self.replica.coverage(receipt)
            case Withdraw(ticket=ticket):
                return self.replica.withdraw(ticket)
            case _:
                return error

    def _return_to_disk(self, inputs: Sequence[Input], effects: Effects) -> None:
        """Exchanges that would have begun, or whose end the batch held, are not under way any more."""
        ended = [one.exchange for one in inputs if isinstance(one, Answered | Failed)]
        with self._storage.view() as view:
            self.replica.reload(view, self._durable, [*(send.exchange for send in effects.sends), *ended])


def _snapshot_of(effects: Effects) -> ReplicaSnapshot:
    assert effects.snapshot is not None, "every batch that goes through the core leaves a snapshot"
    return effects.snapshot


def _quarantined(storage: Storage) -> list[Notice]:
    """Quarantine the rows that cannot be read, those too that are met meanwhile. Raises StorageError."""
    while True:
        found = dict(storage.unreadable)
        transaction = storage.begin()
        try:
            notices = quarantine(transaction, found)
        except UnreadableRowError:
            # It has been noted, and is among them the next time.
            transaction.abort()
        except BaseException:
            transaction.abort()
            raise
        else:
            transaction.commit()
            for one in found:
                storage.unreadable.pop(one, None)
            return notices
