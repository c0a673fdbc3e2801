"""What discovery tells a replica: members that are gone, and the zone it runs in."""

from __future__ import annotations

from typing import Unpack

import pytest

from gossipkv.core.inputs import Discovered
from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, address_of
from gossipkv.core.model.member import ALIVE, LEFT, MemberRecord
from gossipkv.core.model.write import Operation
from gossipkv.core.store.storage import StorageError
from tests.core.cluster import Cluster, Member, endpoint_of
from tests.core.replica_settings import ReplicaSettings


@pytest.fixture
def cluster() -> Cluster:
    return settled("a", "b")


def settled(*names: str, **settings: Unpack[ReplicaSettings]) -> Cluster:
    cluster = Cluster()
    for name in names:
        cluster.start(name, **settings)
    cluster.introduce(*names)
    cluster.settle()
    return cluster


def record_of(member: Member, name: str) -> MemberRecord:
    address = address_of(MEMBERS_TABLE, name.encode())
    return MemberRecord.from_json(member.rows(SYSTEM)[address].winner.value or b"")


def status_of(cluster: Cluster, member: str, name: str) -> str:
    return next(one.status for one in cluster.status(member).members if one.member == name)


def put(key: bytes) -> Operation:
    return Operation(address_of("t", key), b"value")


def gone(cluster: Cluster, *existing: str) -> None:
    cluster.run("a", Discovered((), frozenset(existing)))


def test_a_pod_that_is_gone_has_left_and_nothing_is_sent_to_it(cluster: Cluster) -> None:
    cluster.crash("b")
    gone(cluster, "a")
    assert status_of(cluster, "a", "b") == LEFT
    cluster.write("a", put(b"row"))
    for _ in range(20):
        cluster.now_ms += 10_000
        cluster.tick("a")
    assert cluster.members["a"].outbox == []
    assert "member_let_go" in cluster.members["a"].events()


def test_the_record_of_a_pod_that_is_gone_stays_as_it_is(cluster: Cluster) -> None:
    before = record_of(cluster.members["a"], "b")
    covered = cluster.members["a"].context(SYSTEM)
    gone(cluster, "a")
    assert record_of(cluster.members["a"], "b") == before
    assert cluster.members["a"].context(SYSTEM) == covered


def test_a_member_let_go_by_mistake_is_taken_back_with_what_it_missed(cluster: Cluster) -> None:
    gone(cluster, "a")
    cluster.write("a", put(b"meanwhile"))
    cluster.settle()
    assert status_of(cluster, "a", "b") == ALIVE
    assert address_of("t", b"meanwhile") in cluster.members["b"].rows()
    assert "member_taken_back" in cluster.members["a"].events()


def test_a_pod_of_the_same_name_is_taken_back_when_it_is_listed(cluster: Cluster) -> None:
    storage = cluster.members["b"].storage
    cluster.crash("b")
    gone(cluster, "a")
    cluster.write("a", put(b"meanwhile"))
    cluster.start("b", storage)
    gone(cluster, "a", "b")
    assert status_of(cluster, "a", "b") == ALIVE
    cluster.settle()
    assert address_of("t", b"meanwhile") in cluster.members["b"].rows()


def test_what_is_gone_is_still_gone_after_a_list_that_knows_no_members(cluster: Cluster) -> None:
    cluster.crash("b")
    gone(cluster, "a")
    cluster.run("a", Discovered(("memory://elsewhere",)))
    assert status_of(cluster, "a", "b") == LEFT


# The zone


def test_a_zone_that_is_found_is_written_to_the_own_record_once(cluster: Cluster) -> None:
    cluster.run("a", Discovered((), None, "north"))
    written = cluster.members["a"].context(SYSTEM)
    cluster.run("a", Discovered((), None, "north"), Discovered((), None, None))
    assert cluster.members["a"].context(SYSTEM) == written
    cluster.settle()
    assert record_of(cluster.members["b"], "a").zone == "north"
    assert {one.member: one.zone for one in cluster.status("a").members} == {"a": "north", "b": None}
    assert {one.member: one.zone for one in cluster.status("b").members} == {"a": "north", "b": None}


def test_a_pod_that_moves_to_another_zone_says_so(cluster: Cluster) -> None:
    cluster.run("a", Discovered((), None, "north"))
    cluster.run("a", Discovered((), None, "south"))
    assert record_of(cluster.members["a"], "a").zone == "south"


def test_a_zone_that_was_given_stands() -> None:
    cluster = settled("a", zone="given")
    cluster.run("a", Discovered((), None, "north"))
    assert record_of(cluster.members["a"], "a").zone == "given"


def test_a_zone_whose_commit_failed_is_written_the_next_time(cluster: Cluster) -> None:
    cluster.members["a"].storage.fail_next_commit(StorageError("a bad day"))
    cluster.run("a", Discovered((), None, "north"))
    assert record_of(cluster.members["a"], "a").zone is None
    cluster.run("a", Discovered((), None, "north"))
    assert record_of(cluster.members["a"], "a").zone == "north"


def test_a_member_found_where_one_that_is_gone_used_to_be_is_dialled() -> None:
    cluster = settled("a", "b", "c")
    cluster.crash("c")
    gone(cluster, "a", "b")
    cluster.run("a", Discovered((endpoint_of("b"), endpoint_of("c")), frozenset({"a", "b"})))
    assert endpoint_of("c") in [peer.endpoint for peer in cluster.members["a"].driver.replica.peers if not peer.member]
