"""Pushes: new writes, sent unasked to peers that are known to lack them.

A push starts from what the peer is known to cover, so that the peer can cover its ranges. What does not fit into one
message is offered instead, for the peer to pull.
"""

from __future__ import annotations

from dataclasses import replace

from gossipkv.core.membership.membership import Membership
from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, address_of
from gossipkv.core.model.causality import Context
from gossipkv.core.model.room import Room
from gossipkv.core.model.tally import Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Delta, Message, Offer, RowCopy
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Reader
from gossipkv.core.store.store import Store
from gossipkv.core.sync.progress import Progress
from gossipkv.core.transfer import newest_first, pull


class Pushes:
    """The pushes of one replica."""

    def __init__(
        self, store: Store, membership: Membership, progress: Progress, tally: Tally, options: ReplicaOptions
    ) -> None:
        self._store = store
        self._membership = membership
        self._progress = progress
        self._tally = tally
        self._part_bytes = options.part_bytes
        self._whole_row_bytes_max = options.whole_row_bytes_max
        self._address = address_of(MEMBERS_TABLE, options.member.encode())

    def forward(self, shard_name: str, origins: list[int]) -> None:
        """Forward writes that are new here, if their writers do not push to every member."""
        if origins and not self._membership.pushes_to_all():
            self.freshen(shard_name, origins, self._membership.push_targets())

    def push(self, reader: Reader, peer: Peer, shard_name: str, now_ms: int) -> list[Message]:
        """Return the writes that wait to be pushed to the peer, or an offer of them."""
        conversation = peer.conversation
        if not self._progress.may_exchange(peer, shard_name):
            return []
        known = conversation.contexts.get(shard_name)
        if known is None:
            conversation.is_sync_due = True
            return []
        shard = self._store.shards[shard_name]
        if shard_name != SYSTEM and not peer.takes_values(now_ms):
            return self._news(reader, peer, shard)
        if shard_name in conversation.offered:
            return []
        origins = [o for o in sorted(conversation.fresh[shard_name]) if shard.context.get(o, 0) > known.get(o, 0)]
        if not origins:
            del conversation.fresh[shard_name]
            conversation.ahead.pop(shard_name, None)
            return []
        delta = pull.push(reader, shard, known, origins, self._part_bytes, self._whole_row_bytes_max)
        if delta is None:
            conversation.offered.add(shard_name)
            return [Offer(shard_name), *self._own_record(reader, shard), *self._ahead(reader, peer, shard)]
        del conversation.fresh[shard_name]
        conversation.ahead.pop(shard_name, None)
        self._tally.rows_sent += len(delta.rows)
        conversation.asked.has_values |= shard_name != SYSTEM and any(row.is_visible for _, row in delta.rows)
        return [delta]

    def _news(self, reader: Reader, peer: Peer, shard: Shard) -> list[Message]:
        """Return what has been written lately, once and claiming nothing, for a peer that has no room for all that it
        lacks: this may fit.

        If the peer's room is spent, only deleted rows are sent, which make room. Everything still waits to be pushed.
        """
        conversation = peer.conversation
        since = conversation.ahead.get(shard.name, conversation.contexts[shard.name])
        conversation.ahead[shard.name] = Context(shard.context)
        rows = newest_first.newest(
            reader, shard, since, self._part_bytes // newest_first.SHARE, self._whole_row_bytes_max
        )
        if rows is not None and peer.room >= Room.SPENT:
            rows = replace(rows, rows=tuple(copy for copy in rows.rows if not copy.row.is_visible), large=())
        if rows is None or not (rows.rows or rows.large):
            return []
        self._tally.rows_sent += len(rows.rows)
        return [rows]

    def _ahead(self, reader: Reader, peer: Peer, shard: Shard) -> list[Message]:
        """Return the writes made since a long transfer to the peer began. They are sent with each offer, so about once
        per round."""
        since = peer.conversation.ahead.get(shard.name, shard.context)
        peer.conversation.ahead[shard.name] = Context(shard.context)
        rows = newest_first.newest(
            reader, shard, since, self._part_bytes // newest_first.SHARE, self._whole_row_bytes_max
        )
        if rows is None:
            return []
        self._tally.rows_sent += len(rows.rows)
        return [rows]

    def _own_record(self, reader: Reader, shard: Shard) -> list[Message]:
        """Return the record of this member, whole and claiming nothing, to be sent with an offer of `sys`. If two
        processes run under the name, no member pulls from the one whose record was overwritten. So it must send its
        record unasked."""
        if shard.name != SYSTEM:
            return []
        row = reader.row(SYSTEM, self._address)
        if row is None:
            # The record could not be read. The member is about to announce itself again.
            return []
        self._tally.rows_sent += 1
        return [Delta(SYSTEM, {}, (RowCopy(self._address, row),))]

    def freshen(self, shard_name: str, origins: list[int], peers: list[Peer]) -> None:
        """Let writes of these origins wait to be pushed to these peers."""
        for peer in peers:
            peer.conversation.fresh.setdefault(shard_name, set()).update(origins)
