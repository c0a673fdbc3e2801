"""The progress of replication between the replica and its peers: transfers under way, completed syncs, and what every
member covers."""

from __future__ import annotations

from collections.abc import Mapping

from gossipkv.core.membership.membership import Membership
from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.causality import Context
from gossipkv.core.model.member import LEFT
from gossipkv.core.store.store import Store


class Progress:
    """The progress of one replica."""

    def __init__(self, store: Store, membership: Membership) -> None:
        self._store = store
        self._membership = membership

    def may_exchange(self, peer: Peer | None, shard_name: str) -> bool:
        """Return whether rows of the shard may be sent to the peer and accepted from it.

        For `usr`, the peer must be listed. So if a member knows what this replica covers and which members it knows, it
        knows all members to which this replica has sent rows. The answer is no if the peer's data are outdated.
        """
        if shard_name == SYSTEM:
            return True
        return self._membership.lists(peer, self._store.shards[SYSTEM].context) and not (
            peer and peer.conversation.is_outdated
        )

    def may_hand_over(self, peer: Peer | None, shard_name: str) -> bool:
        """Return whether single rows of the shard may be sent to the peer and accepted from it. That begins once this
        replica has compared its names with another member."""
        return self._store.shards[shard_name].tells_all and self.may_exchange(peer, shard_name)

    def is_transferring(self, shard_name: str) -> bool:
        """Return whether a pull or walk of the shard is under way: two at once would transfer the same rows twice.
        Audits do not count, because they transfer next to nothing."""
        return any(
            shard_name in peer.conversation.pulls
            or (shard_name in peer.conversation.walks and not peer.conversation.walks[shard_name].is_audit)
            for peer in self._membership.peers()
        )

    def is_brought_up_to_date(self) -> bool:
        """Return whether all shards have been synced since the start. It takes one member that was ready. If none is
        ready, it takes every member that discovery and `sys.members` name."""
        peers = [peer for peer in self._membership.peers() if peer.status != LEFT]
        if any(self._store.shards.keys() <= peer.conversation.synced_while_ready for peer in peers):
            return True
        return self._membership.has_looked and bool(peers) and all(self._has_synced(peer) for peer in peers)

    def can_expect_nothing(self) -> bool:
        """Return whether no member that answers could bring this replica further up to date."""
        peers = list(self._membership.peers())
        if any(peer.conversation.is_unreadable and not peer.is_let_go for peer in peers):
            return False
        if not self._membership.has_been_answered:
            return True
        if any(peer.is_ready and peer.is_answering for peer in peers):
            return False
        return any(self._has_synced(peer) for peer in peers) and not any(map(self.is_transferring, self._store.shards))

    def _has_synced(self, peer: Peer) -> bool:
        return not peer.is_ready and len(peer.conversation.synced_at_ms) == len(self._store.shards)

    def learns_settings_from(self, peer: Peer) -> bool:
        """Return whether the sync of `sys` just completed with this peer tells the settings of all tables. A newcomer
        knows none itself. If all are newcomers, every member that discovery and `sys.members` name must have been
        asked."""
        peers = [other for other in self._membership.peers() if other.status != LEFT]
        return peer.is_informed or (
            self._membership.has_looked and all(SYSTEM in other.conversation.synced_at_ms for other in peers)
        )

    def learn_stable(self) -> None:
        """Learn what every listed member covers, if all have said what they cover and none lacks rows."""
        members = self._membership.members()
        for name, shard in self._store.shards.items():
            if shard.lacking or any(peer.conversation.lacking.get(name) for peer in members):
                continue
            contexts = [peer.conversation.contexts.get(name) for peer in members]
            known = [context for context in contexts if context is not None]
            if len(known) == len(contexts):
                self._store.set_stable(name, [shard.context, *known])

    def learn_certain(self) -> None:
        """Learn up to where the names of this replica are not in doubt with any listed member. This waits while a
        discovered address has not answered: a member that this copy does not list may be there, and know more."""
        listed = self._membership.listed()
        for name, shard in self._store.shards.items():
            if listed and self._membership.lists_all and not self._membership.has_unknown_contacts:
                shard.note_certain(min([peer.conversation.compared.get(name, 0) for peer in listed]))

    def note_vouched(self, peer: Peer, told: Mapping[str, Context | None], *, is_ahead: bool = False) -> None:
        """Note what the peer covers, per shard, as it has said at one moment.

        It does not count while the peer lacks a row. It does not count while this replica lacks a row of `sys` either.
        That row may be the record of a member that the peer gave rows to.
        """
        conversation = peer.conversation
        if conversation.lacking.get(USER) or self._store.shards[SYSTEM].lacking:
            return
        listing, context = told.get(SYSTEM), told.get(USER)
        if listing is not None and context is not None and self._store.shards[SYSTEM].context.covers_all(listing):
            conversation.covered = conversation.covered.joined(context)
            if not is_ahead:
                # A row that no context covers may be older than a tombstone that is about to go.
                conversation.vouched = conversation.vouched.joined(context)
