"""Which proofs of collected tombstones a replica believes.

A proof makes a replica set its data aside (`core/collected.py`), and anyone who reaches the gossip port can invent one.
No rule short of identities tells an invented proof from that of the only member that remembers a deletion. So a proof
counts if its bringer is listed under its replica id and it came with an answer from a host that discovery has found.
The name in a request is not evidence: what a member brings when it asks is asked for at its own address.

By a proof from another host that it does not cover, a replica's data are outdated if another member that answers and is
ready has said, in an answer of its own, that they are. If discovery has found some members, only they count, whether
they answer or not. Counterexample to being content with members that cover the marks: the marks name what everyone has
written so far, and a member that is a few writes behind sets its data aside. This waits until every other listed member
has answered or failed once, for at most `bootstrap_timeout_ms` after the start.

A proof that it covers is taken over by a replica if all other listed members are known to cover it too, as they were
when a collector made it. So a proof that was invented, and was taken over, harms no member that was listed then.

What is not believed is judged again with each comparison. Meanwhile no rows are taken from its bringer, and a bringer
whose proof is sound takes none from here. So an old volume that reaches one member alone, at a host that its discovery
has not found, goes on with what it has, and says so in the log.
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
    """What other members have to say of the proofs of one."""

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
        """Advance the time; a clock that is set takes nothing away from the wait."""
        self._left_ms -= max(0, min(now_ms - self._ticked_ms, self._wait_ms // 10 + 1))
        self._ticked_ms = now_ms

    def convicts(self, shard_name: str, peer: Peer, proofs: Proofs, *, is_found: bool) -> bool:
        """Whether this replica's data are outdated by proofs that a peer has answered with, from a host that discovery
        has found or not."""
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
        """The proofs that a peer has answered with and that this replica may take over."""
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
        """A proof by which this replica's data are outdated is not believed."""
        self._tally.proofs_refused += 1
        name = peer.member or peer.endpoint
        if name not in self._doubted:
            self._doubted.add(name)
            fields: dict[str, object] = {"peer": name, "shard": shard_name, "reason": _REASON}
            self._outbox.say(Notice("proof_not_believed", fields, is_warning=True))


_REASON = "it says that this member's data are outdated, and no other member confirms it; no rows are taken from it"
