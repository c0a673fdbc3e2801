"""Conversations with peers: whom a member addresses, what it concludes from a word, and when it tries again."""

from __future__ import annotations

import pytest

from gossipkv.core.inputs import Discovered, Failed, Received
from gossipkv.core.model.address import RETIRED_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Delta, Envelope, Message, RowCopy, WalkRows
from gossipkv.core.sync.gossip import UNPROVEN_AT_ONCE
from tests.core.cluster import START_MS, Cluster, Member, endpoint_of
from tests.core.disks import at
from tests.core.test_replica import settled

HOUR_MS = 3_600_000


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def dialled(member: Member) -> set[str]:
    """Where the exchanges go that are under way."""
    return {send.endpoint for send in member.outbox}


# Whom it addresses.


def test_only_a_few_that_have_never_answered_are_dialled_at_a_time(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    a = cluster.members["a"]
    cluster.write("a", Operation(at("row"), b"value"))
    assert dialled(a) == {endpoint_of("b")}
    strangers = tuple(f"memory://stranger{number:02}" for number in range(UNPROVEN_AT_ONCE + 5))
    cluster.run("a", Discovered((endpoint_of("b"), *strangers)))
    assert len(dialled(a) - {endpoint_of("b")}) == UNPROVEN_AT_ONCE, "one that has answered takes no place of theirs"
    cluster.tick("a")
    assert len(dialled(a) - {endpoint_of("b")}) == UNPROVEN_AT_ONCE
    ended = [send for send in a.outbox if send.endpoint in strangers][:3]
    tried = dialled(a)
    for send in ended:
        a.outbox.remove(send)
    cluster.run("a", *(Failed(send.exchange, "not there") for send in ended))
    assert len(dialled(a) - tried) == 3, "others take their places"
    cluster.deliver("a", "b")
    cluster.write("a", Operation(at("row"), b"later"))
    assert endpoint_of("b") in dialled(a), "one that has answered waits for none of them"


# Clocks.


def test_a_clock_that_is_set_back_lengthens_no_pause_before_a_peer_is_tried_again(cluster: Cluster) -> None:
    settled(cluster, "a", "b", gossip_interval_ms=1_000)
    cluster.write("a", Operation(at("row"), b"value"))
    cluster.drop("a", "b")
    assert cluster.waiting("a", "b") is None
    cluster.now_ms -= HOUR_MS
    cluster.tick("a")
    assert cluster.waiting("a", "b") is None, "the pause itself is not over"
    cluster.now_ms += 1_300
    cluster.tick("a")
    assert cluster.waiting("a", "b") is not None


def test_a_clock_that_is_set_back_puts_off_neither_rounds_nor_audits(cluster: Cluster) -> None:
    settled(cluster, "a", "b", gossip_interval_ms=1_000, audit_interval_ms=20_000)
    replica = cluster.members["a"].driver.replica
    [peer] = replica.peers
    cluster.now_ms -= HOUR_MS
    cluster.tick("a")
    rounds, audits = 0, 0
    for _ in range(30):
        cluster.now_ms += 1_300
        cluster.tick("a")
        if cluster.waiting("a", "b"):
            rounds += 1
            audits += USER in peer.conversation.walks
        while cluster.flow():
            pass
    assert rounds == 30
    assert 1 <= audits <= 2


# Names of this replica in what others say.


def rows_of_retired(replica: int, sequence: int) -> tuple[RowCopy, ...]:
    """A row that lists this replica as gone, with its last writes."""
    listing = b'["%016x.%d.%d"]' % (replica, 1, sequence)
    version = Version(Dot(9, 1), START_MS << 16, listing)
    return (RowCopy(address_of(RETIRED_TABLE, b"00000000"), StoredRow((version,), Context({9: 1}))),)


@pytest.mark.parametrize("kind", [Delta, WalkRows])
@pytest.mark.parametrize(("beyond", "is_renewed"), [(0, False), (1, True)])
def test_a_row_that_lists_a_later_write_of_this_replica_makes_it_a_new_one(
    cluster: Cluster, kind: type[Message], beyond: int, is_renewed: bool
) -> None:
    settled(cluster, "a", "b")
    a = cluster.members["a"]
    cluster.write("a", Operation(at("row"), b"value"))
    cluster.settle()
    rows = rows_of_retired(a.replica_id, 1 + beyond)
    message = Delta(SYSTEM, {}, rows) if kind is Delta else WalkRows(SYSTEM, rows, None)
    before = a.replica_id
    cluster.run("a", Received(Envelope("test", "b", 2, START_MS, cluster.now_ms, (message,))))
    assert (a.replica_id != before) is is_renewed


def test_a_row_of_the_users_that_looks_like_a_list_of_retired_replicas_says_nothing(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    a = cluster.members["a"]
    message = Delta(USER, {}, rows_of_retired(a.replica_id, 100))
    before = a.replica_id
    cluster.run("a", Received(Envelope("test", "b", 2, START_MS, cluster.now_ms, (message,))))
    assert a.replica_id == before
