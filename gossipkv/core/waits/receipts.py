"""Which members have a write: receipts, and waits for copies.

A receipt names one write. A member has the write when it has said that it durably covers the write's dot, or when it
has answered, after its own commit, with a copy of the row that covers it. Neither is ever assumed: what is known of a
member may be too little, never too much. A copy on a lost disk no longer counts, because it was known under the replica
id of that disk.

Nothing is tracked unless a client waits. While one waits, members not known to have the write are asked for a sync
round at each tick. If the write was made here, members that are behind are sent its rows directly, in addition to any
transfer under way. So a member that is merely behind does not make a write fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gossipkv.core.membership.membership import Membership
from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.causality import Dot, ReplicaId
from gossipkv.core.model.member import ALIVE, LEFT
from gossipkv.core.store.store import Store
from gossipkv.core.waits.answers import Coverage, Holder, Reach, Receipt, Resolved
from gossipkv.core.waits.deadline import is_late
from gossipkv.core.waits.direct_exchanges import DirectExchanges, Handover


@dataclass(slots=True, eq=False)
class Waiting:
    """A wait for durable copies or, without a receipt, for members that are alive."""

    copies: int | None
    """None: at all members that have not left."""
    receipt: Receipt | None
    handovers: Mapping[bytes, Dot] = field(default_factory=dict)
    """The write's own rows, to be handed to members that are behind."""
    deadline_ms: int | None = None
    """See Await."""
    handed: dict[str, ReplicaId] = field(default_factory=dict)
    """Members that have answered with rows that cover the write."""
    has_ticked: bool = False


class Receipts:
    """The waits of one member. The caller chooses the tickets; each is resolved once, in the batch that fulfils it."""

    def __init__(self, member: str, store: Store, membership: Membership, quorum: DirectExchanges) -> None:
        self._member = member
        self._store = store
        self._membership = membership
        self._direct = quorum
        self._waiting: dict[int, Waiting] = {}
        self._resolved: dict[int, Waiting] = {}
        """Resolved in the last batch, which may still fail to commit."""
        self.is_outdated = False
        """The data here are about to be set aside, and do not count as a copy."""

    def reach(self) -> Reach:
        members = self._others()
        return Reach(1 + len(members), 1 + sum(peer.has_answered and peer.is_living for peer in members))

    def coverage(self, receipt: Receipt, handed: Mapping[str, ReplicaId] | None = None) -> Coverage:
        """Inside a batch: true once that is committed."""
        handed = handed or {}
        shard = self._store.shards[receipt.shard]
        has_it = not self.is_outdated and shard.holds(receipt.dot)
        own = Holder(self._member, ALIVE, True, self._store.replica, has_it)
        others = [
            Holder(peer.member or "", peer.status, False, peer.replica, _has(peer, receipt, handed))
            for peer in self._membership.members()
        ]
        return Coverage(receipt, tuple(sorted([own, *others])))

    def wait(self, ticket: int, waiting: Waiting) -> None:
        self._waiting[ticket] = waiting
        if waiting.receipt is not None:
            for peer in self._lacking(waiting, waiting.receipt):
                if waiting.receipt.dot.replica != self._store.replica:
                    peer.conversation.is_sync_due = True
                elif (
                    waiting.receipt.shard in peer.conversation.offered
                    or waiting.receipt.shard not in peer.conversation.contexts
                ):
                    self._hand_over(peer, waiting)

    def withdraw(self, ticket: int) -> None:
        """Track a wait no longer."""
        waiting = self._waiting.pop(ticket, None)
        if waiting is not None:
            self._resolved[ticket] = waiting

    @property
    def waits(self) -> Iterable[Waiting]:
        """The waits under way."""
        return self._waiting.values()

    def tick(self) -> None:
        """Ask the members that are not known to have an awaited write."""
        for waiting in self._waiting.values():
            if waiting.receipt is not None:
                for peer in self._lacking(waiting, waiting.receipt):
                    peer.conversation.is_sync_due = True
                    if waiting.has_ticked:
                        self._hand_over(peer, waiting)
                waiting.has_ticked = True

    def resolve(self, now_ms: int, *, is_ending: bool) -> list[Resolved]:
        """The waits that are over once the batch is committed; all waits if this member `is_ending`."""
        resolved = []
        for ticket, waiting in list(self._waiting.items()):
            standing = self._standing(waiting)
            is_over = self._is_over(waiting, standing)
            if is_over or is_ending or is_late(waiting, now_ms):
                self._resolved[ticket] = self._waiting.pop(ticket)
                is_cut = is_ending and not is_over
                resolved.append(Resolved(ticket, standing, is_cut=is_cut, is_late=not (is_over or is_cut)))
        return resolved

    def lapse(self, now_ms: int) -> list[Resolved]:
        """End the waits whose deadline has passed, although the batch has failed."""
        late = [ticket for ticket, waiting in self._waiting.items() if is_late(waiting, now_ms)]
        return [Resolved(ticket, self._standing(self._waiting.pop(ticket)), is_late=True) for ticket in late]

    def note_committed(self) -> None:
        """The batch is durable."""
        self._resolved.clear()

    def forget_batch(self) -> None:
        """The batch was not committed. Waits that it would have resolved or withdrawn continue."""
        self._waiting |= self._resolved
        self._resolved = {}

    def _standing(self, waiting: Waiting) -> Coverage | Reach:
        return self.reach() if waiting.receipt is None else self.coverage(waiting.receipt, waiting.handed)

    def _is_over(self, waiting: Waiting, standing: Coverage | Reach) -> bool:
        there = standing.answering if isinstance(standing, Reach) else standing.copies
        return there >= (waiting.copies or standing.members)

    def _others(self) -> list[Peer]:
        return [peer for peer in self._membership.members() if peer.status != LEFT]

    def _lacking(self, waiting: Waiting, receipt: Receipt) -> list[Peer]:
        return [peer for peer in self._others() if not _has(peer, receipt, waiting.handed)]

    def _hand_over(self, peer: Peer, waiting: Waiting) -> None:
        if waiting.receipt is not None and waiting.handovers and peer.is_answering:
            self._direct.hand_over(peer, Handover(waiting.receipt.shard, waiting.handovers, waiting.handed))


def _has(peer: Peer, receipt: Receipt, handed: Mapping[str, ReplicaId]) -> bool:
    """Whether the peer, as the replica that it is now, has said that it has the write."""
    if peer.conversation.holds(receipt.shard, receipt.dot):
        return True
    return bool(handed) and peer.replica is not None and handed.get(peer.member or "") == peer.replica
