"""Which proofs of collected tombstones a replica believes.

A proof makes a replica set its data aside (`core/collected.py`), and anyone who reaches the gossip port can invent one.
No rule short of identities tells an invented proof from that of the only member that remembers a deletion. So a proof
counts if its bringer is listed under its replica id, and

- it came with an answer from a host that discovery has found; or
- another member that answers and is ready covers the marks. Every member that a collector listed did, and every
  newcomer that has been filled does. If discovery has found some of these members, only they are asked; or
- no other member that is ready answers, and the bringer does not answer at its own address either. To wait for more
  would let an old volume go on that meets one member alone.

The last two need what others say. So they wait until every other listed member has answered or failed once, for at most
`bootstrap_timeout_ms` after the start. A proof that a member brings when it asks is asked for at its own address, as
long as the member answers there: the name in a request is not evidence.

What is not believed is judged again with each comparison. Meanwhile no rows are taken from its bringer. What remains: a
stranger that speaks as a listed member which does not answer, to a member that reaches no other one, is believed.
"""

from __future__ import annotations

from gossipkv.core.address import SYSTEM
from gossipkv.core.collected import Proof, Proofs
from gossipkv.core.effects import Notice, Tally
from gossipkv.core.member import LEFT
from gossipkv.core.membership import Membership
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.peer import Peer
from gossipkv.core.store import Store


class Witnesses:
    """What other members have to say of the proofs of one."""

    def __init__(
        self, store: Store, membership: Membership, options: ReplicaOptions, tally: Tally, now_ms: int
    ) -> None:
        self._store = store
        self._membership = membership
        self._wait_ms = options.bootstrap_timeout_ms
        self._tally = tally
        self._left_ms = self._wait_ms
        self._ticked_ms = now_ms
        self._doubted: set[str] = set()
        """Members whose proofs have been logged as not believed."""
        self.notices: list[Notice] = []

    def tick(self, now_ms: int) -> None:
        """Advance the time; a clock that is set takes nothing away from the wait."""
        self._left_ms -= max(0, min(now_ms - self._ticked_ms, self._wait_ms // 10 + 1))
        self._ticked_ms = now_ms

    def believed(self, shard_name: str, peer: Peer, proofs: Proofs, *, is_found: bool) -> Proofs:
        """The proofs of a peer that count. `is_found`: they came with an answer from a host that discovery found."""
        if not self._membership.lists(peer, self._store.shards[SYSTEM].context):
            return ()
        return proofs if is_found else tuple([proof for proof in proofs if self._confirm(shard_name, peer, proof)])

    def _confirm(self, shard_name: str, peer: Peer, proof: Proof) -> bool:
        others = [other for other in self._membership.listed() if other is not peer and other.status != LEFT]
        if self._left_ms > 0 and not all(other.has_answered or other.failures for other in others):
            return False
        witnesses = [other for other in others if other.is_answering and other.is_ready]
        found = [other for other in witnesses if self._membership.is_vouched(other)]
        if not witnesses:
            return not peer.is_answering and self._left_ms <= 0
        told = [other.contexts[shard_name] for other in found or witnesses if shard_name in other.contexts]
        return any(context.covers_all(proof.marks) for context in told)

    def doubt(self, shard_name: str, peer: Peer) -> None:
        """A proof by which this replica's data are outdated is not believed."""
        self._tally.proofs_refused += 1
        name = peer.member or peer.endpoint
        if name not in self._doubted:
            self._doubted.add(name)
            fields: dict[str, object] = {"peer": name, "shard": shard_name, "reason": _REASON}
            self.notices.append(Notice("proof_not_believed", fields, is_warning=True))


_REASON = "it says that this member's data are outdated, and no other member confirms it; no rows are taken from it"
