"""The data of one replica: its shards, local writes into them, and rows taken in from others.

A step happens inside a storage transaction and sees the steps before it. Until the transaction has been committed,
nothing of it may leave the node.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gossipkv.core.address import NAMESPACES
from gossipkv.core.causality import Context, ReplicaId
from gossipkv.core.clock import HybridClock, milliseconds
from gossipkv.core.messages import Range, RefusedRow, RowCopy
from gossipkv.core.row import InconsistentRowError, Row, Version, merge, written
from gossipkv.core.shard import Shard
from gossipkv.core.storage import Reader, Transaction
from gossipkv.core.watching import Changes
from gossipkv.core.write import NotMatched, Operation, Result, Written


@dataclass(slots=True)
class Intake:
    """What became of rows that arrived."""

    changed: list[RowCopy] = field(default_factory=list)
    """Rows as they now stand, of those that changed."""
    refused: list[RefusedRow] = field(default_factory=list)

    def holds_back(self, origin: ReplicaId) -> bool:
        """Whether a refused row keeps the context from advancing over this origin's range."""
        return any(row.origins is None or origin in row.origins for row in self.refused)


class Store:
    """Shards by name, under one replica id and one clock."""

    def __init__(self, replica: ReplicaId, clock_skew_ms_max: int) -> None:
        self.replica = replica
        self.shards: dict[str, Shard] = {}
        self._is_watched = False
        self._sequences_at_start: dict[str, int] = {}
        """Per shard, this replica's last write before the process began."""
        self._clock = HybridClock(clock_skew_ms_max)
        self._clock_skew_ms_max = clock_skew_ms_max

    def load(self, reader: Reader) -> None:
        """Take the shards' state from storage, in place of what is in memory: at start, and after a failed commit.
        What is known to be stable outlives it: that is knowledge of others."""
        stable = {name: shard.stable for name, shard in self.shards.items()}
        self.shards = {name: Shard.load(reader, name) for name in NAMESPACES}
        if not self._sequences_at_start:
            self._sequences_at_start = {name: shard.context.get(self.replica, 0) for name, shard in self.shards.items()}
        for name, context in stable.items():
            self.shards[name].stable = context
        self.watch(is_watched=self._is_watched)

    def watch(self, *, is_watched: bool) -> None:
        """Collect changes from now on, or no longer."""
        self._is_watched = is_watched
        for shard in self.shards.values():
            shard.changed = {} if is_watched else None

    def take_changes(self) -> list[Changes]:
        """What has changed since they were last taken, and how far each shard's context has come."""
        changes = []
        for name, shard in self.shards.items():
            if shard.changed is not None:
                changes.append(Changes(name, shard.changed, Context(shard.context)))
                shard.changed = {}
        return changes

    def renew(self, transaction: Transaction, replica: ReplicaId, now_ms: int) -> None:
        """Go on under another replica id: others know of writes under the present one that are not here, so the data
        are an old copy. What was written here since the start may bear names that stand for other writes elsewhere;
        it is written again under the new id."""
        renounced, self.replica = self.replica, replica
        for name, shard in self.shards.items():
            start = self._sequences_at_start[name]
            for entry in list(transaction.journal(name, renounced, start)):
                current = transaction.row(name, entry.address)
                assert current is not None, "a journal entry names a row that is not there"
                shard.store(transaction, entry.address, current, self._renamed(shard, current, renounced, now_ms))
            shard.withdraw(renounced, start)

    def _renamed(self, shard: Shard, current: Row, renounced: ReplicaId, now_ms: int) -> Row:
        context = Context({origin: sequence for origin, sequence in current.context.items() if origin != renounced})
        winner = current.winner
        if winner.dot.replica != renounced:
            return Row(current.versions, context)
        dot = shard.next_dot(self.replica)
        shard.advance(*dot)
        context[dot.replica] = dot.sequence
        return Row((winner._replace(dot=dot, timestamp=self._clock.next(now_ms, winner.timestamp)),), context)

    def write(self, transaction: Transaction, shard_name: str, operation: Operation, now_ms: int) -> Result:
        """Put or delete one row. Every write makes a new version, one that repeats the value too: were it swallowed,
        an older concurrent write elsewhere could win over it. A delete of an absent row is a write for the same
        reason."""
        shard = self.shards[shard_name]
        current = transaction.row(shard_name, operation.address)
        existed = current is not None and current.is_visible
        if not _condition_holds(operation, current):
            return NotMatched(current.etag if current is not None and existed else None)
        dot = shard.next_dot(self.replica)
        above = current.winner.timestamp if current is not None else 0
        version = Version(dot, self._clock.next(now_ms, above), operation.value)
        row = written(current, version)
        shard.store(transaction, operation.address, current, row)
        shard.advance(dot.replica, dot.sequence)
        return Written(dot, row.etag, existed)

    def take_in(self, transaction: Transaction, shard_name: str, copies: Iterable[RowCopy], now_ms: int) -> Intake:
        """Merge rows that arrived. A row that is refused changes nothing and disturbs no other."""
        shard = self.shards[shard_name]
        intake = Intake()
        timestamp_max = 0
        for copy in copies:
            address, arrived = copy
            winner = arrived.winner
            if milliseconds(winner.timestamp) > now_ms + self._clock_skew_ms_max:
                intake.refused.append(RefusedRow(tuple(arrived.context), "clock_skew"))
                continue
            current = transaction.row(shard_name, address)
            try:
                row = arrived if current is None else merge(current, arrived)
            except InconsistentRowError:
                intake.refused.append(RefusedRow(tuple(arrived.context), "inconsistent"))
                continue
            if current is not None and row == current:
                continue
            timestamp_max = max(timestamp_max, winner.timestamp)
            shard.store(transaction, address, current, row)
            if current is None or not row.has_same_versions(current):
                intake.changed.append(RowCopy(address, row))
        self._clock.observe(timestamp_max)
        return intake

    def cover(self, shard_name: str, ranges: dict[ReplicaId, Range], held_back: Intake) -> list[ReplicaId]:
        """Advance the context over the ranges whose rows have all been taken in; returns the origins it advanced
        for. A range is all or nothing: it counts only from an `after` that the context covers."""
        shard = self.shards[shard_name]
        advanced = []
        for origin, (after, through) in ranges.items():
            covered = shard.context.get(origin, 0)
            if after <= covered < through and not held_back.holds_back(origin):
                shard.advance(origin, through)
                advanced.append(origin)
        return advanced

    def save(self, transaction: Transaction) -> None:
        for shard in self.shards.values():
            shard.save(transaction)

    def set_stable(self, shard_name: str, contexts: list[Context]) -> None:
        """Learn what every member covers: the least of their contexts."""
        first, *others = contexts
        self.shards[shard_name].stable = Context(
            {origin: min([sequence, *(other.get(origin, 0) for other in others)]) for origin, sequence in first.items()}
        )


def _condition_holds(operation: Operation, current: Row | None) -> bool:
    exists = current is not None and current.is_visible
    if operation.if_absent and exists:
        return False
    if operation.if_match is None:
        return True
    if current is None or not exists:
        return False
    return "*" in operation.if_match or current.etag in operation.if_match
