"""When a member has been brought up to date."""

from __future__ import annotations

import pytest

from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import NAMESPACES
from gossipkv.core.model.causality import Context
from gossipkv.core.sync.progress import Progress
from gossipkv.core.transfer.pull import Pulling
from gossipkv.core.transfer.walk import Walk
from tests.core.cluster import Cluster


class Started:
    """Member a, which has synced with neither b nor c since it started."""

    def __init__(self) -> None:
        cluster = Cluster()
        for name in ("a", "b", "c"):
            cluster.start(name)
        cluster.introduce("a", "b", "c")
        cluster.settle()
        replica = cluster.members["a"].driver.replica
        self.progress: Progress = replica._gossip.progress
        self.b, self.c = (next(peer for peer in replica.peers if peer.member == name) for name in "bc")
        for peer in (self.b, self.c):
            peer.conversation.synced_at_ms.clear()
            peer.conversation.synced_while_ready.clear()
            peer.is_ready = False
            peer.conversation.pulls.clear()
            peer.conversation.walks.clear()


def sync(peer: Peer) -> None:
    peer.conversation.synced_at_ms.update(dict.fromkeys(NAMESPACES, 1))


@pytest.fixture
def started() -> Started:
    return Started()


def test_one_sync_of_all_shards_with_a_member_that_was_ready_is_enough(started: Started) -> None:
    started.b.conversation.synced_while_ready.add(NAMESPACES[0])
    assert not started.progress.is_brought_up_to_date()
    started.b.conversation.synced_while_ready.update(NAMESPACES)
    assert started.progress.is_brought_up_to_date()


def test_if_no_one_is_ready_all_that_have_not_left_must_have_been_synced_with(started: Started) -> None:
    sync(started.b)
    assert not started.progress.is_brought_up_to_date()
    started.c.is_let_go = True
    assert started.progress.is_brought_up_to_date()
    started.c.is_let_go = False
    sync(started.c)
    assert started.progress.is_brought_up_to_date()
    del started.c.conversation.synced_at_ms[NAMESPACES[0]]
    assert not started.progress.is_brought_up_to_date()
    sync(started.c)
    started.c.is_ready = True
    assert not started.progress.is_brought_up_to_date(), "c was filled since"


def test_no_more_is_expected_once_those_that_answer_have_given_what_they_have(started: Started) -> None:
    assert not started.progress.can_expect_nothing()
    sync(started.b)
    assert started.progress.can_expect_nothing()
    started.c.conversation.is_unreadable = True
    assert not started.progress.can_expect_nothing()
    started.c.is_let_go = True
    assert started.progress.can_expect_nothing()
    started.b.is_ready = True
    assert not started.progress.can_expect_nothing()
    started.b.failures = 1
    assert not started.progress.can_expect_nothing(), "it has been ready since it was synced with"


@pytest.mark.parametrize("shard", NAMESPACES)
def test_more_is_expected_while_rows_are_on_their_way_from_a_peer(started: Started, shard: str) -> None:
    sync(started.b)
    walks = started.c.conversation.walks
    walks[shard] = Walk(shard, is_audit=True)
    assert started.progress.can_expect_nothing(), "an audit brings next to nothing"
    walks[shard] = Walk(shard)
    assert not started.progress.can_expect_nothing()
    walks.clear()
    started.c.conversation.pulls[shard] = Pulling(Context())
    assert not started.progress.can_expect_nothing()
