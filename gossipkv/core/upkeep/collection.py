"""Collects tombstones: decides when one may be forgotten, and which members prevent that.

A tombstone may go when every listed member covers every write in the row's context. Then none of them holds an older
version, and none will accept one. Members that are down count, and so do those that have left, until they are
forgotten. Three conditions are added:

- *A member that holds rows ahead of its context vouches for nothing.* Counterexample: a replica hands a row over and is
  lost. A member that does not have the row deletes it, and all listed members cover the delete. If the tombstone is
  collected, the row comes back when it is adopted.
- *A wait for messages under way.* A message may have been sent before its sender covered the tombstone. So a context
  counts as *settled* once it has been stable for the longest life of a message. Only time that this member has spent
  running counts. So messages that lay in its inbox while it was paused have been taken in by then.
- *A minimum age*, above the clock skew allowed. So a member that writes the row again does so at a later time. The age
  is for readers of timestamps; the store itself makes a new version outrank the tombstone.

When more has settled, a sweep goes over the index of tombstones, at most `ROWS_PER_TICK` rows per tick. Only the users'
shard is swept. Tombstones of members and tables are few. And a proof about all members must not rest on a list of
members that is itself being collected.

Collecting leaves a proof; `core/model/collected.py` says what it is for.
"""

from __future__ import annotations

from gossipkv.core.membership.membership import Membership
from gossipkv.core.model.address import SYSTEM, USER, key_of
from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.collected import Proof
from gossipkv.core.model.row import StoredRow
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.store.storage import FIRST_DEADLINE, TOMBSTONES, Deadline, Reader, Transaction
from gossipkv.core.store.store import Store

ROWS_PER_TICK = 500
"""Maximum number of rows that one tick examines."""
BLOCKERS_MAX = 20
"""Maximum number of members with refused records that are named."""
TICK_MS_MAX = 1_000
"""Maximum time between two ticks that counts as spent running."""


class Collector:
    """The collection of one replica, for the users' shard."""

    def __init__(self, store: Store, membership: Membership, options: ReplicaOptions) -> None:
        self.blocked: Context | None = None
        """The context of the oldest tombstone that is old enough and that not every member covers; None if there is
        none."""
        self._store = store
        self._membership = membership
        self._member = options.member
        self._age_ms_min = options.tombstone_age_ms_min
        self._message_life_ms = options.message_life_ms
        self._settled = Context()
        self._listed: frozenset[ReplicaId] = frozenset()
        self._known: frozenset[ReplicaId] = frozenset()
        """All replicas heard of when `_listed` was last determined."""
        self._settling = Context()
        self._settling_for_ms = 0
        self._ticked_ms: int | None = None
        self._swept: Deadline | None = None
        """The place that the sweep under way has reached; None between two sweeps."""

    def tick(self, transaction: Transaction, now_ms: int, rows_max: int = ROWS_PER_TICK) -> None:
        """Advance the time, and continue the sweep."""
        self._settle(transaction, now_ms)
        if self._swept is not None:
            self._sweep(transaction, now_ms, min(rows_max, ROWS_PER_TICK))

    def blockers(self) -> list[str]:
        """Return the names of the members that are not known to cover the oldest tombstone that is old enough.

        This member is among them while it lacks rows, and while it has written more than it has told since it started:
        its volume may have been set back, and only another member can tell.

        If the tombstone runs ahead of what is covered here, these are the members that alone can send what came before.
        While records of members are refused or lacking, nothing is collected, and these are the members with such
        records.
        """
        if not self._membership.lists_all:
            return sorted(self._membership.refused)[:BLOCKERS_MAX]
        if records := self._store.records_lacking:
            return sorted(key_of(address).decode(errors="replace") for address in records)[:BLOCKERS_MAX]
        if self.blocked is None:
            return []
        peers = self._membership.listed()
        lacking = self.blocked.missing_from(self._store.shards[USER].context)
        if lacking:
            return [peer.member for peer in peers if peer.member and peer.replica in lacking]
        shard = self._store.shards[USER]
        own = [self._member] if shard.lacking or shard.last_own > shard.told else []
        return own + [
            peer.member for peer in peers if peer.member and not peer.conversation.vouched.covers_all(self.blocked)
        ]

    def _settle(self, reader: Reader, now_ms: int) -> None:
        ticked_ms, self._ticked_ms = self._ticked_ms, now_ms
        if ticked_ms is not None:
            self._settling_for_ms += max(0, min(now_ms - ticked_ms, TICK_MS_MAX, self._message_life_ms // 4))
        if self._settling_for_ms >= self._message_life_ms:
            stable = Context() if self._store.shards[USER].is_ahead(reader) else self._stable()
            self._settled, self._settling = self._settling.met(stable), stable
            # A process may speak without being listed: another of its name is listed, or its record was deleted and it
            # has not announced itself again yet. Nothing has waited for such a process, so its data must not be judged.
            self._known = frozenset(self._store.shards[SYSTEM].context).difference(self._membership.unlisted())
            listed = [peer.record.replica for peer in self._membership.listed() if peer.record is not None]
            self._listed = frozenset([self._store.replica, *listed])
            self._settling_for_ms = 0
            self._raise_marks()
            if self._swept is None:
                self._swept = FIRST_DEADLINE
                self.blocked = None

    def _raise_marks(self) -> None:
        """Let the marks cover what contexts omit, so that marks can omit it too. All listed members cover it, so the
        proof is that of a collection."""
        shard = self._store.shards[USER]
        retired = shard.base.settled
        is_needed = any(not proof.marks.covers_all(retired) for proof in shard.collected.proofs)
        if is_needed and self._settled.covers_all(retired):
            shard.note_collection(Proof(Context(retired), self._listed, self._known), 0, self._settled)

    def _stable(self) -> Context:
        """Return what all listed members cover; empty while this replica lacks rows."""
        if self._store.shards[USER].lacking:
            return Context()
        stable = Context(self._store.shards[USER].context)
        for peer in self._membership.listed():
            stable = stable.met(peer.conversation.vouched)
        return stable

    def _sweep(self, transaction: Transaction, now_ms: int, rows_max: int) -> None:
        assert self._swept is not None, "a sweep is under way"
        due = []
        for entry in transaction.deadlines(USER, TOMBSTONES, self._swept, now_ms - self._age_ms_min):
            due.append(entry)
            if len(due) == rows_max:
                break
        self._swept = due[-1] if len(due) == rows_max else None
        shard = self._store.shards[USER]
        marks, timestamp = Context(), 0
        for _, address in due:
            row = transaction.row(USER, address)
            assert row is not None, "the index of tombstones names a row that is not there"
            if self._settled.covers_all(row.context):
                self._store.collect(transaction, USER, address, row)
                marks.advance(row.context)
                timestamp = max(timestamp, row.winner.timestamp)
            elif not self._frees(transaction, address, row) and (
                self.blocked is None or not shard.context.covers_all(self.blocked)
            ):
                self.blocked = row.context
        if marks:
            shard.note_collection(Proof(marks, self._listed, self._known), timestamp, self._settled)
            shard.inherit((), self._store.replica)

    def _frees(self, transaction: Transaction, address: bytes, row: StoredRow) -> bool:
        """Drop the entries of origins that are gone from a tombstone that every listed member covers, if only these
        keep it. Return whether it did.

        Adoption does the same for the rows that the journal names. Of two rows with one dot, the journal names one.
        """
        if not all(self._settled.covers(version.dot) for version in row.versions):
            return False
        shard = self._store.shards[USER]
        gone = self._store.shards[SYSTEM].context.keys() - {self._store.replica, *self._membership.replicas()}
        keeping = row.context.missing_from(self._settled)
        if any(origin not in gone or shard.context.covers(Dot(origin, row.context[origin])) for origin in keeping):
            return False
        current: StoredRow | None = row
        for origin in keeping:
            assert current is not None, "a row is there until its tombstone is collected"
            shard.drop_entry(transaction, address, current, origin)
            current = transaction.row(USER, address)
        return True
