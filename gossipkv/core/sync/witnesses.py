"""Which proofs of collected tombstones a replica believes.

A proof makes a replica set its data aside (`core/model/collected.py`), and anyone who reaches the gossip port can
invent one. Without identities, no rule can tell an invented proof from that of the only member that remembers a
deletion. So a proof counts if two conditions hold: its bringer is listed under its replica id, and it came with an
answer from a host that discovery has found. The name in a request is not evidence. What a member brings in a request is
asked for at its own address.

*A proof that the replica does not cover, from another host.* It says that the replica's data are outdated. That counts
if another member that answers and is ready has said the same in an answer of its own. If discovery has found some
members, only they count, whether they answer or not. Counterexample to accepting confirmation by any member that covers
the marks: the marks name what has been written so far everywhere. A member that is a few writes behind would set its
data aside. The decision waits until every other listed member has answered or failed once, for at most
`bootstrap_timeout_ms` after the start.

*A proof that the replica covers, from another host.* When a collector made it, all other listed members were known to
cover it. So the replica adopts it only if they are known to cover it now. An invented proof that was adopted harms no
member that was listed then.

What is not believed is judged again with each comparison. Meanwhile the addresses at which discovery has found the
bringer are dialled again, no rows are taken from its bringer, and a bringer
whose proof is sound takes none from here. An old volume may reach one member alone, at a host that its discovery has
not found. It then continues with what it has, and logs that.
"""

from __future__ import annotations

from gossipkv.core.membership.membership import Membership
from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import SYSTEM
from gossipkv.core.model.causality import Context
from gossipkv.core.model.collected import Proofs
from gossipkv.core.model.member import LEFT
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.tally import Notice, Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.store.store import Store


class Witnesses:
    """What the other members say of the proofs of one."""

    def __init__(
        self, store: Store, membership: Membership, options: ReplicaOptions, tally: Tally, outbox: Outbox, now_ms: int
    ) -> None:
        self._store = store
        self._membership = membership
        self._wait_ms = options.bootstrap_timeout_ms
        self._tally = tally
        self._left_ms = self._wait_ms
        self._ticked_ms = now_ms
        self._doubted: set[str] = set()
        """Members whose proofs have been logged as not believed."""
        self._outbox = outbox

    def tick(self, now_ms: int) -> None:
        """Advance the time. A clock that is put forward hardly shortens the wait."""
        self._left_ms -= max(0, min(now_ms - self._ticked_ms, self._wait_ms // 10 + 1))
        self._ticked_ms = now_ms

    def convicts(self, shard_name: str, peer: Peer, proofs: Proofs, *, is_found: bool) -> bool:
        """Return whether this replica's data are outdated by proofs in a peer's answer. `is_found` says whether
        discovery has found the host that answered."""
        if not self._store.is_outdated(shard_name, proofs) or not self._lists(peer):
            return False
        if is_found:
            return True
        others = self._others(peer)
        if self._left_ms > 0 and not all(other.has_answered or other.failures for other in others):
            return False
        found = [other for other in others if self._membership.is_vouched(other)]
        return any(
            other.is_answering
            and other.is_ready
            and (other.conversation.told_where_found or not found)
            and self._store.is_outdated(shard_name, other.conversation.told_proofs)
            for other in found or others
        )

    def adoptable(self, shard_name: str, peer: Peer, proofs: Proofs) -> Proofs:
        """Return the proofs in a peer's answer that this replica may adopt."""
        if not self._lists(peer):
            return ()
        if self._membership.is_vouched(peer):
            return proofs
        contexts = [other.conversation.contexts.get(shard_name, Context()) for other in self._others(peer)]
        return tuple([proof for proof in proofs if all(context.covers_all(proof.marks) for context in contexts)])

    def _lists(self, peer: Peer) -> bool:
        return self._membership.lists(peer, self._store.shards[SYSTEM].context)

    def _others(self, peer: Peer) -> list[Peer]:
        return [other for other in self._membership.listed() if other is not peer and other.status != LEFT]

    def doubt(self, shard_name: str, peer: Peer) -> None:
        """Count and log, once per member, that a proof against this replica's data is not believed."""
        self._tally.proofs_refused += 1
        name = peer.member or peer.endpoint
        if name not in self._doubted:
            self._doubted.add(name)
            fields: dict[str, object] = {"peer": name, "shard": shard_name, "reason": _REASON}
            self._outbox.say(Notice("proof_not_believed", fields, is_warning=True))


_REASON = "it says that this member's data are outdated, and no other member confirms it; no rows are taken from it"
