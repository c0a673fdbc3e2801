"""Who turns expired values into tombstones, and when.

Reads hide what has expired at once, at every member, by its own clock. That members stay equal and watchers hear of it
is the work of one of them: the replica that wrote the value, or, where no living member has that replica, the living
member whose name comes first. Others pass it by and look again. Should two take themselves for that one, two tombstones
come of it, which is what a row deleted twice is.

Only so many rows are looked at per tick; where a tick stops, the next one goes on.
"""

from __future__ import annotations

from gossipkv.core.address import USER
from gossipkv.core.causality import ReplicaId
from gossipkv.core.membership import Membership
from gossipkv.core.row import Row
from gossipkv.core.storage import EXPIRIES, FIRST_DEADLINE, Transaction
from gossipkv.core.store import Store

ROWS_PER_TICK = 500


class Expirer:
    """Of one replica, for the users' shard."""

    def __init__(self, store: Store, membership: Membership, member: str) -> None:
        self._store = store
        self._membership = membership
        self._member = member
        self._reached = FIRST_DEADLINE

    def tick(self, transaction: Transaction, now_ms: int, rows_max: int = ROWS_PER_TICK) -> int:
        """Expire what is due and this replica's to expire; returns how many rows."""
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


def _origins(row: Row, now_ms: int) -> set[ReplicaId]:
    """Who wrote what has expired."""
    return {
        version.dot.replica
        for version in row.versions
        if version.value is not None and not version.is_visible_at(now_ms)
    }
