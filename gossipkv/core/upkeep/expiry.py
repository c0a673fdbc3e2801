"""Turns expired values into tombstones.

Every member hides an expired value from readers immediately, by its own clock. One replica turns it into a tombstone,
so that members stay equal and watchers hear of it: the replica that wrote the value. If no living member has that
replica, the living member whose name sorts first does it. Other members skip the value and check again later. If two
members both do it, there are two tombstones, as for a row that is deleted twice.

Each tick examines a bounded number of rows, and continues where the last one stopped.
"""

from __future__ import annotations

from gossipkv.core.membership.membership import Membership
from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.row import StoredRow
from gossipkv.core.store.storage import EXPIRIES, FIRST_DEADLINE, Transaction
from gossipkv.core.store.store import Store

ROWS_PER_TICK = 500
"""Maximum number of rows that one tick examines."""


class Expirer:
    """The expiry of one replica, for the shard `usr`."""

    def __init__(self, store: Store, membership: Membership, member: str) -> None:
        self._store = store
        self._membership = membership
        self._member = member
        self._reached = FIRST_DEADLINE

    def tick(self, transaction: Transaction, now_ms: int, rows_max: int = ROWS_PER_TICK) -> int:
        """Expire the due rows that this replica is responsible for; return their number."""
        rows_max = min(rows_max, ROWS_PER_TICK)
        due = []
        for entry in transaction.deadlines(USER, EXPIRIES, self._reached, now_ms):
            due.append(entry)
            if len(due) == rows_max:
                break
        self._reached = due[-1] if len(due) == rows_max else FIRST_DEADLINE
        if not due:
            return 0
        living = [peer for peer in self._membership.members() if peer.is_living]
        replicas = {peer.replica for peer in living}
        is_first = all(peer.member is None or self._member < peer.member for peer in living)
        expired = 0
        for address in sorted({entry.address for entry in due}):
            row = transaction.row(USER, address)
            assert row is not None, "the index of expiries names a row that is not there"
            origins = _origins(row, now_ms)
            if self._store.replica in origins or (is_first and not origins & replicas):
                self._store.expire(transaction, USER, address, now_ms)
                expired += 1
        return expired


def _origins(row: StoredRow, now_ms: int) -> set[ReplicaId]:
    """Return the replicas that wrote the expired versions."""
    return {
        version.dot.replica
        for version in row.versions
        if version.value is not None and not version.is_visible_at(now_ms)
    }
