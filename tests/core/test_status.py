"""What a replica reports of itself and of the other members."""

from __future__ import annotations

import pytest

from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.causality import Context
from gossipkv.core.model.lacking import Lack
from gossipkv.core.model.member import ALIVE, LEFT
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Digest
from gossipkv.core.status import MemberStatus, ReplicaStatus, ShardStatus
from gossipkv.core.transfer.conversation import LastDigest
from gossipkv.core.transfer.pull import Pulling
from gossipkv.core.transfer.walk import Walk
from tests.core.cluster import Cluster, endpoint_of
from tests.core.disks import at
from tests.core.test_replica import settled


@pytest.fixture
def cluster() -> Cluster:
    """a and b, which have nothing more to exchange; b is later by a while in all that a says of it."""
    return settled(Cluster(), "a", "b", version="1.2", zone="z")


def of(status: ReplicaStatus, name: str) -> MemberStatus:
    return next(member for member in status.members if member.member == name)


def test_the_figures_of_this_member_are_those_of_its_rows(cluster: Cluster) -> None:
    cluster.write("a", Operation(at("row"), b"value"), Operation(at("gone"), None))
    shard = cluster.members["a"].driver.replica.shards[USER]
    [peer] = cluster.members["a"].driver.replica.peers
    peer.conversation.contexts[USER] = Context({1: 1, 2: 5, 3: 2})
    peer.conversation.synced_at_ms[USER] = cluster.now_ms - 40
    status = cluster.status("a")
    own = of(status, "a")
    assert own.shards[USER] == ShardStatus(1, 1, shard.fingerprint.root.visible, 7, 40, 0)
    assert (own.status, own.is_self, own.failures, own.clock_ahead_ms) == (ALIVE, True, 0, 0)
    assert (own.zone, own.version, own.endpoints) == ("z", "1.2", {"gossip": endpoint_of("a")})
    assert (status.totals[USER].rows, status.totals[USER].tombstones) == (1, 1)
    assert not status.has_pushed_everything
    assert status.context_entries[USER] == 1


def test_the_last_sync_of_this_member_is_the_latest_with_anyone() -> None:
    cluster = settled(Cluster(), "a", "b", "c")
    b, c = cluster.members["a"].driver.replica.peers
    for first, second, last in ((40, 90, 40), (90, 40, 40), (None, 40, 40), (40, None, 40), (-10, 30, 0)):
        for peer, ago in ((b, first), (c, second)):
            peer.conversation.synced_at_ms.clear()
            if ago is not None:
                peer.conversation.synced_at_ms[USER] = cluster.now_ms - ago
        assert of(cluster.status("a"), "a").shards[USER].last_sync_ms == last
    for peer in (b, c):
        peer.conversation.synced_at_ms.clear()
    assert of(cluster.status("a"), "a").shards[USER].last_sync_ms is None


def test_the_figures_of_another_member_are_those_that_it_told_last(cluster: Cluster) -> None:
    cluster.write("a", Operation(at("row"), b"value"), Operation(at("other"), b"value"))
    [peer] = cluster.members["a"].driver.replica.peers
    digest = Digest(USER, 1, 77, 5, 6, False, 0)
    peer.conversation.heard[USER] = LastDigest(digest, cluster.now_ms - 30)
    peer.conversation.synced_at_ms[USER] = cluster.now_ms - 70
    assert of(cluster.status("a"), "b").shards[USER] == ShardStatus(5, 6, 77, 2, 70, 30)
    peer.conversation.heard[USER].at_ms = peer.conversation.synced_at_ms[USER] = cluster.now_ms + 30
    assert of(cluster.status("a"), "b").shards[USER] == ShardStatus(5, 6, 77, 2, 0, 0), "the clock was set back"


def test_of_a_member_that_has_told_nothing_there_are_no_figures(cluster: Cluster) -> None:
    cluster.write("a", Operation(at("row"), b"value"))
    [peer] = cluster.members["a"].driver.replica.peers
    peer.conversation.begin_again()
    peer.conversation.synced_at_ms.clear()
    assert of(cluster.status("a"), "b").shards[USER] == ShardStatus(0, 0, 0, 1, None, None)


def test_another_member_is_described_by_its_record_or_by_where_it_is_reached(cluster: Cluster) -> None:
    [peer] = cluster.members["a"].driver.replica.peers
    peer.failures, peer.clock_ahead_ms, peer.is_let_go = 3, 250, True
    peer.standing.since_ms = cluster.now_ms - 900
    told = of(cluster.status("a"), "b")
    assert (told.status, told.is_self, told.failures, told.clock_ahead_ms) == (LEFT, False, 3, 250)
    assert (told.zone, told.version, told.endpoints) == ("z", "1.2", {"gossip": endpoint_of("b")})
    assert (told.replica, told.incarnation, told.status_since_ms) == (peer.replica, peer.incarnation, 900)
    peer.record, peer.endpoint, peer.incarnation = None, "memory://elsewhere", 0
    peer.standing.since_ms = cluster.now_ms + 900
    told = of(cluster.status("a"), "b")
    assert (told.zone, told.version, told.endpoints) == (None, "", {"gossip": "memory://elsewhere"})
    assert (told.incarnation, told.status_since_ms) == (None, 0)


def test_everything_has_been_pushed_once_all_that_answer_cover_what_was_written_here(cluster: Cluster) -> None:
    assert cluster.status("a").has_pushed_everything
    [peer] = cluster.members["a"].driver.replica.peers
    for shard in (USER, SYSTEM):
        before = peer.conversation.contexts[shard]
        cluster.members["a"].driver.replica.shards[shard].advance(1, 50)
        for through, is_all in ((49, False), (50, True), (51, True)):
            peer.conversation.contexts[shard] = before.joined({1: through})
            assert cluster.status("a").has_pushed_everything is is_all
    del peer.conversation.contexts[USER]
    assert not cluster.status("a").has_pushed_everything, "it has not said what it covers"
    peer.failures = 1
    assert cluster.status("a").has_pushed_everything, "one that does not answer is not waited for"


def test_rows_that_are_lacking_and_transfers_under_way_are_named(cluster: Cluster) -> None:
    replica = cluster.members["a"].driver.replica
    replica.shards[USER].note_lack(at("b"), Lack(Context({2: 1}), Context(), "clock_skew"))
    replica.shards[USER].note_lack(at("a"), Lack(Context({2: 1}), Context(), "inconsistent"))
    assert cluster.status("a").lacking == (
        (USER, "table", "a", "inconsistent"),
        (USER, "table", "b", "clock_skew"),
    )
    [peer] = replica.peers
    walk = Walk(USER)
    walk.rows_received, walk.nodes_left = 7, 12
    peer.conversation.walks[USER] = walk
    peer.conversation.pulls[SYSTEM] = Pulling(Context())
    told = {SYSTEM: "pulling from b", USER: "walking b: 7 rows, 12 of 256 nodes left"}
    assert cluster.status("a").transfers == told
    peer.conversation.walks[USER] = Walk(USER, is_audit=True)
    assert cluster.status("a").transfers[USER] == "auditing b: 0 rows, 0 of 256 nodes left"
