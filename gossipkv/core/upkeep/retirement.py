"""Decides when a replica is retired, and by which member.

A replica may be retired when all of this holds:

- No member record names it. A member that sends messages and has no record yet counts as listed while it is alive.
- Every listed member covers the same of its writes in both shards, and this member holds none of its writes beyond
  that.
- It has been gone for the minimum age of a tombstone, in time that this member has spent running. So a watch that was
  interrupted for less than that is sent what it missed, and is not reset. If members are replaced meanwhile, it only
  takes longer until all cover the writes.

The member that has run the longest writes the rows, a bounded number of replicas at a time. It does so while all
members are alive and every discovered address has answered. Counterexample to ignoring a silent address: c lists only
a, and an operator has it forget a. b is at an address that c has not reached. b has not heard of that, and takes rows
from a. c retires a. The rows that c writes then do not say what they have replaced of a's.

It is always safe to omit what a member covers itself. But a member that has collected tombstones raises its marks to
what it omits, and marks fence old volumes. So "every listed member" is proved as for tombstones
(`core/upkeep/collection.py`): by what the members have vouched for. That takes into account all members that may hold
rows.
"""

from __future__ import annotations

from gossipkv.core.membership.membership import Membership
from gossipkv.core.model.address import NAMESPACES, SYSTEM, USER
from gossipkv.core.model.causality import Dot, ReplicaId
from gossipkv.core.model.member import LEFT
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.store.retired import Retirement
from gossipkv.core.store.storage import Reader, Transaction
from gossipkv.core.store.store import Store

REPLICAS_PER_LOOK = 100
"""Maximum number of replicas that one tick retires."""
LOOK_MS_MAX = 10_000
"""Maximum time between two checks that counts as spent running."""


class Retirer:
    """The retirement of replicas by one replica."""

    def __init__(self, store: Store, membership: Membership, options: ReplicaOptions) -> None:
        self._store = store
        self._membership = membership
        self._member = options.member
        self._age_ms_min = options.tombstone_age_ms_min
        self._look_ms = min(options.gossip_interval_ms, LOOK_MS_MAX)
        self._running_ms = 0
        self._looked_ms: int | None = None
        self._since: dict[ReplicaId, tuple[dict[str, int], int]] = {}
        """The last write of each replica that is gone, and since when it has been the last, in time spent running."""

    def tick(self, transaction: Transaction, incarnation: int, now_ms: int) -> int:
        """Retire the replicas that are due; return their number."""
        looked_ms = self._looked_ms
        if looked_ms is not None and looked_ms <= now_ms < looked_ms + self._look_ms:
            return 0
        self._looked_ms = now_ms
        if looked_ms is not None:
            self._running_ms += max(0, min(now_ms - looked_ms, LOOK_MS_MAX))
        self._look()
        if not self._is_its_turn(incarnation):
            return 0
        due = [
            origin
            for origin, (sequences, since_ms) in sorted(self._since.items())
            if self._running_ms - since_ms >= self._age_ms_min
            and self._is_covered_by_all(origin, sequences)
            and self._is_all_that_peers_know(origin, sequences)
        ]
        found = [Retirement(origin, self._since.pop(origin)[0]) for origin in due[:REPLICAS_PER_LOOK]]
        retired = [each for each in found if not _runs_ahead(transaction, each)]
        for operation in self._store.retired.added(retired):
            self._store.write(transaction, SYSTEM, operation, now_ms)
        return len(retired)

    def _look(self) -> None:
        """Update the replicas that are gone."""
        found = self._gone()
        self._since = {
            origin: self._since[origin]
            if origin in self._since and self._since[origin][0] == sequences
            else (sequences, self._running_ms)
            for origin, sequences in found.items()
        }

    def _gone(self) -> dict[ReplicaId, dict[str, int]]:
        named = {self._store.replica, *self._membership.replicas()}
        shards = self._store.shards
        said = self._store.retired.latest()
        gone = {}
        for origin in sorted({origin for name in NAMESPACES for origin in shards[name].unsettled()} - named):
            sequences = {name: shards[name].context.get(origin, 0) for name in NAMESPACES}
            if said.get(origin) != sequences:
                gone[origin] = sequences
        return gone

    def _is_covered_by_all(self, origin: ReplicaId, sequences: dict[str, int]) -> bool:
        last = Dot(origin, sequences[SYSTEM])
        return (
            not self._store.shards[SYSTEM].lacking
            and self._membership.all_hold(SYSTEM, last)
            and all(peer.conversation.vouched.get(origin, 0) >= sequences[USER] for peer in self._membership.listed())
        )

    def _is_all_that_peers_know(self, origin: ReplicaId, sequences: dict[str, int]) -> bool:
        return not any(
            context.get(origin, 0) > sequences[name]
            for peer in self._membership.present()
            for name, context in peer.conversation.contexts.items()
        )

    def _is_its_turn(self, incarnation: int) -> bool:
        """Return whether all members are alive and this one has run the longest. So only one member writes at a time,
        even in a partition."""
        if self._membership.has_unknown_contacts or not self._membership.lists_all:
            return False
        started = incarnation, self._member
        records = [(peer, peer.record) for peer in self._membership.listed() if peer.status != LEFT]
        return all(
            peer.is_living and record is not None and started < (record.incarnation, peer.member or "")
            for peer, record in records
        )


def _runs_ahead(reader: Reader, retirement: Retirement) -> bool:
    """Return whether rows hold later writes of the replica."""
    return any(
        next(reader.journal(name, retirement.replica, sequence), None) is not None
        for name, sequence in retirement.sequences.items()
    )
