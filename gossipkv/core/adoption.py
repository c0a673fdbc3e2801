"""Writes of replicas that are gone, which no range can ever bring: a living replica adopts them.

A context advances over a range of an origin's writes only with all rows of the range. A row may run ahead of it: it was
handed over directly, or fetched by a walk that was not finished. If the origin loses its disk then, and nobody else has
the rest of its writes, no context will ever cover the row. Its tombstone is never collected, and members with equal
contexts may differ in it.

So a member adopts such a write: it writes the same version again under its own dot, just above the old one, and from
then on the ordinary ranges bring it to everyone. The row keeps the old entry in its context until every member covers
the new version, for the entry decides the merge with copies that still hold the old one; then each member drops it.
Adopting is safe whatever else happens. If the origin comes back with its disk, the rest of its range arrives, and what
has been adopted is superseded there as here. Two members that adopt the same write leave two versions of one value, of
which the later one wins, or which stay beside each other until the next write.

An origin is gone if it has been a member and no record names it any longer. A row may also name an origin that nobody
has heard of, because a client read it at a member that was alone. That is kept: the origin may still come, and what a
writer has replaced must not come back with it.

Nobody has the rest only if no listed member covers it, and each has said what it covers since this process began.
Counterexample: a newcomer has taken a row from an old volume that has stopped since; the others, who are down, know
that the row was deleted. Were it adopted, it would be a new write when they return.

Members take turns by name: each waits one message's life longer than the one before, in time that it has spent running.
"""

from __future__ import annotations

from gossipkv.core.address import SYSTEM, USER
from gossipkv.core.causality import Context, ReplicaId
from gossipkv.core.collection import TICK_MS_MAX
from gossipkv.core.effects import Notice
from gossipkv.core.membership import Membership
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.row import Row
from gossipkv.core.shard import Shard
from gossipkv.core.storage import Transaction
from gossipkv.core.store import Store

ROWS_PER_LOOK = 200
"""Rows of one origin that are adopted, or freed of an entry, at a time."""
LOOKS_PER_LIFE = 4
"""How often a member looks during the longest life of a message."""


class Adopter:
    """Of one replica, for all its shards."""

    def __init__(self, store: Store, membership: Membership, options: ReplicaOptions) -> None:
        self._store = store
        self._membership = membership
        self._member = options.member
        self._life_ms = options.message_life_ms
        self._ticked_ms: int | None = None
        self._running_ms = 0
        """Time spent running since the last look."""
        self._ahead_ms: dict[tuple[str, ReplicaId], int] = {}
        """By shard and origin that is gone: for how long rows have been seen to run ahead."""
        self.notices: list[Notice] = []

    def tick(self, transaction: Transaction, now_ms: int) -> list[str]:
        """Let time pass; returns the shards in which writes have been adopted."""
        ticked_ms, self._ticked_ms = self._ticked_ms, now_ms
        if ticked_ms is not None:
            self._running_ms += max(0, min(now_ms - ticked_ms, TICK_MS_MAX, self._life_ms // LOOKS_PER_LIFE))
        if self._running_ms * LOOKS_PER_LIFE < self._life_ms:
            return []
        elapsed_ms, self._running_ms = self._running_ms, 0
        return [name for name in self._store.shards if self._look(transaction, name, elapsed_ms)]

    def _look(self, transaction: Transaction, name: str, elapsed_ms: int) -> bool:
        """Whether anything of the shard has been adopted."""
        shard = self._store.shards[name]
        present = {self._store.replica, *self._membership.replicas()}
        heads = transaction.journal_heads(name)
        # An origin is gone if it has been a member. One that has not been heard of as such may only be unknown here.
        gone = self._store.shards[SYSTEM].context.keys() - present
        ahead = [o for o in sorted(heads) if heads[o] > shard.context.get(o, 0) and o in gone]
        waited = {(name, o): self._ahead_ms.get((name, o), 0) + elapsed_ms for o in ahead}
        self._ahead_ms = {key: ms for key, ms in self._ahead_ms.items() if key[0] != name} | waited
        patience_ms = (1 + self._turn()) * self._life_ms
        adopted = [self._settle(transaction, shard, o, waited[name, o] >= patience_ms) for o in ahead]
        return any(adopted)

    def _turn(self) -> int:
        """How many living members adopt before this one."""
        return sum(peer.is_living and (peer.member or "") < self._member for peer in self._membership.members())

    def _settle(self, transaction: Transaction, shard: Shard, origin: ReplicaId, is_due: bool) -> bool:
        """Adopt what runs ahead of an origin, and drop entries that nothing depends on any longer; returns whether
        anything was adopted."""
        entries = transaction.journal(shard.name, origin, shard.context.get(origin, 0))
        addresses = [entry.address for entry, _ in zip(entries, range(ROWS_PER_LOOK), strict=False)]
        adopted = 0
        for address in addresses:
            row = transaction.row(shard.name, address)
            assert row is not None, "a journal entry names a row that is not there"
            if any(version.dot.replica == origin for version in row.versions):
                if is_due and not self._is_covered_by_another(shard, origin):
                    self._store.adopt(transaction, shard.name, address, origin)
                    adopted += 1
            elif self._is_everywhere(shard, row):
                shard.drop_entry(transaction, address, row, origin)
        if adopted:
            fields = {"shard": shard.name, "origin": f"{origin:016x}", "rows": adopted}
            self.notices.append(Notice("writes_adopted", fields))
        return adopted > 0

    def _is_everywhere(self, shard: Shard, row: Row) -> bool:
        """Whether every member covers what the row holds, and so holds it or something later. Rows of the users may be
        at members that are not listed here yet, so only what a member covered while it knew of nobody else counts."""
        peers = self._membership.listed()
        if shard.name == USER:
            others = [peer.covered for peer in peers]
        else:
            others = [peer.contexts.get(shard.name, Context()) for peer in peers]
        return all(context.covers(version.dot) for context in (shard.context, *others) for version in row.versions)

    def _is_covered_by_another(self, shard: Shard, origin: ReplicaId) -> bool:
        """Whether one that is present covers more of the origin's writes, or may: then a range can still come."""
        covered = shard.context.get(origin, 0)
        return any(
            peer.contexts[shard.name].get(origin, 0) > covered
            if shard.name in peer.contexts
            else peer.record is not None
            for peer in self._membership.present()
        )
