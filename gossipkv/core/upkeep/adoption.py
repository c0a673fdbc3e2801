"""Adopts writes of replicas that are gone, which no range can bring to the other members.

A context advances over a range of an origin's writes only together with all rows of the range. A row may run ahead of
the context: it was handed over directly, or fetched by an unfinished walk. If the origin then loses its disk, and no
other member has the rest of its writes, no context will ever cover the row. Its tombstone would never be collected, and
members with equal contexts might differ in it.

So a member adopts such a write: it writes the same version again under a dot of its own, ranked just above the old one.
From then on the ordinary ranges bring it to every member. The row keeps the old entry in its context until every member
covers the new version. The entry decides merges with copies that still hold the old version. Then each member drops the
entry.

Adopting is always safe. If the origin comes back with its disk, the rest of its range arrives, and the adopted version
supersedes the old one there too. If two members adopt the same write, there are two versions of one value: the later
one wins, or both stay as siblings until the next write.

An origin is gone if it has been a member and no record names it any longer. A row may also name an origin that no
member has heard of, because a client read it at a member that was alone. Such an entry is kept. The origin may still
appear, and what a writer has replaced must not come back with it.

Two conditions show that no other member has the rest: no listed member covers it, and each has reported what it covers
since this process began. Counterexample to the first alone: a newcomer has taken a row from an old volume that has
stopped since. The others, which are down, know that the row was deleted. If it is adopted, it is a new write when they
return.

Members take turns in the order of their names. Each waits one message lifetime longer than the one before, in time that
it has spent running.
"""

from __future__ import annotations

from gossipkv.core.membership.membership import Membership
from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.tally import Notice
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Transaction
from gossipkv.core.store.store import Store
from gossipkv.core.upkeep.collection import TICK_MS_MAX

ROWS_PER_LOOK = 200
"""Maximum number of rows of one origin that are adopted, or freed of an entry, at a time."""
LOOKS_PER_LIFE = 4
"""The number of checks per message lifetime."""


class Adopter:
    """The adoption of one replica, for all its shards."""

    def __init__(self, store: Store, membership: Membership, outbox: Outbox, options: ReplicaOptions) -> None:
        self._store = store
        self._membership = membership
        self._member = options.member
        self._life_ms = options.message_life_ms
        self._ticked_ms: int | None = None
        self._running_ms = 0
        """The time spent running since the last look."""
        self._ahead_ms: dict[tuple[str, ReplicaId], int] = {}
        """The time for which rows have been running ahead, by shard and origin that is gone."""
        self._outbox = outbox

    def tick(self, transaction: Transaction, now_ms: int) -> list[str]:
        """Advance the time; return the shards in which writes were adopted."""
        ticked_ms, self._ticked_ms = self._ticked_ms, now_ms
        if ticked_ms is not None:
            self._running_ms += max(0, min(now_ms - ticked_ms, TICK_MS_MAX, self._life_ms // LOOKS_PER_LIFE))
        if self._running_ms * LOOKS_PER_LIFE < self._life_ms:
            return []
        elapsed_ms, self._running_ms = self._running_ms, 0
        return [name for name in self._store.shards if self._look(transaction, name, elapsed_ms)]

    def _look(self, transaction: Transaction, name: str, elapsed_ms: int) -> bool:
        """Return whether anything of the shard has been adopted."""
        shard = self._store.shards[name]
        present = {self._store.replica, *self._membership.replicas()}
        heads = transaction.journal_heads(name)
        # An origin is gone only if it has been a member. Any other may just be unknown here.
        gone = self._store.shards[SYSTEM].context.keys() - present
        ahead = [o for o in sorted(heads) if heads[o] > shard.context.get(o, 0) and o in gone]
        waited = {(name, o): self._ahead_ms.get((name, o), 0) + elapsed_ms for o in ahead}
        self._ahead_ms = {key: ms for key, ms in self._ahead_ms.items() if key[0] != name} | waited
        patience_ms = (1 + self._turn()) * self._life_ms
        adopted = [self._settle(transaction, shard, o, waited[name, o] >= patience_ms) for o in ahead]
        return any(adopted)

    def _turn(self) -> int:
        """Return the number of living members whose turn comes before this one's."""
        return sum(peer.is_living and (peer.member or "") < self._member for peer in self._membership.members())

    def _settle(self, transaction: Transaction, shard: Shard, origin: ReplicaId, is_due: bool) -> bool:
        """Adopt rows that run ahead of an origin, and drop entries that nothing depends on any longer; return whether
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
            self._outbox.say(Notice("writes_adopted", fields))
        return adopted > 0

    def _is_everywhere(self, shard: Shard, row: StoredRow) -> bool:
        """Return whether every member covers the versions of the row, and so holds them or something later. Rows of
        `usr` may be at members that are not listed here yet. So only what a member covered while it knew of no other
        member counts."""
        peers = self._membership.listed()
        if shard.name == USER:
            others = [peer.conversation.covered for peer in peers]
        else:
            others = [peer.conversation.contexts.get(shard.name, Context()) for peer in peers]
        return all(context.covers(version.dot) for context in (shard.context, *others) for version in row.versions)

    def _is_covered_by_another(self, shard: Shard, origin: ReplicaId) -> bool:
        """Return whether a present member covers more of the origin's writes, or may, so that a range can still
        come."""
        covered = shard.context.get(origin, 0)
        return any(
            peer.conversation.contexts[shard.name].get(origin, 0) > covered
            if shard.name in peer.conversation.contexts
            else peer.record is not None
            for peer in self._membership.present()
        )
