"""Pushes of new writes to a peer."""

from __future__ import annotations

import pytest

from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.causality import Context
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Delta, Message, Offer
from tests.core.cluster import Cluster, Member

ROW = address_of("table", b"row")


class Writer:
    """Member a with a write that waits to be pushed to b."""

    def __init__(self, value: bytes = b"value") -> None:
        self.cluster = Cluster()
        for name in ("a", "b"):
            self.cluster.start(name, part_bytes=1_000)
        self.cluster.introduce("a", "b")
        self.cluster.settle()
        self.cluster.write("a", Operation(ROW, value))
        self.member: Member = self.cluster.members["a"]
        [self.peer] = self.member.driver.replica.peers
        self.peer.conversation.fresh[USER] = {self.member.replica_id}
        self.peer.conversation.offered.clear()
        self.peer.conversation.is_sync_due = False

    def pushed(self) -> list[Message]:
        with self.member.storage.view() as view:
            return self.member.driver.replica._gossip._pushes.push(view, self.peer, USER, self.cluster.now_ms)


def test_a_write_is_pushed_once() -> None:
    writer = Writer()
    writer.peer.conversation.ahead[USER] = Context()
    [delta] = writer.pushed()
    assert isinstance(delta, Delta)
    assert USER not in writer.peer.conversation.ahead
    assert [copy.address for copy in delta.rows] == [ROW]
    assert USER not in writer.peer.conversation.fresh
    assert writer.peer.conversation.asked.has_values


def test_a_peer_of_which_nothing_is_known_is_compared_with_first() -> None:
    writer = Writer()
    del writer.peer.conversation.contexts[USER]
    assert writer.pushed() == []
    assert writer.peer.conversation.is_sync_due
    assert USER in writer.peer.conversation.fresh


def test_nothing_is_pushed_to_a_peer_that_covers_it_or_that_is_catching_up() -> None:
    writer = Writer()
    writer.peer.conversation.offered.add(USER)
    assert writer.pushed() == []
    assert USER in writer.peer.conversation.fresh, "it goes on waiting"
    writer.peer.conversation.offered.clear()
    writer.peer.conversation.contexts[USER] = writer.member.driver.replica.shards[USER].context
    writer.peer.conversation.ahead[USER] = Context()
    assert writer.pushed() == []
    assert USER not in writer.peer.conversation.fresh
    assert USER not in writer.peer.conversation.ahead


def test_what_does_not_fit_is_offered() -> None:
    writer = Writer(bytes(600))
    writer.cluster.write("a", Operation(address_of("table", b"other"), bytes(600)))
    assert Offer(USER) in writer.pushed()
    assert USER in writer.peer.conversation.offered


@pytest.mark.parametrize("is_outdated", [True, False])
def test_nothing_of_the_users_goes_to_a_peer_whose_data_are_outdated_or_that_is_not_listed(is_outdated: bool) -> None:
    writer = Writer()
    peer: Peer = writer.peer
    if is_outdated:
        peer.conversation.is_outdated = True
    else:
        peer.record = None
    assert writer.pushed() == []
    assert USER in peer.conversation.fresh
