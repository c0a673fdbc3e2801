"""Which member turns an expired value into a tombstone, when, and how many at a time."""

from __future__ import annotations

from gossipkv.core.inputs import Forget
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.store.forgotten import Forgotten
from gossipkv.core.upkeep.expiry import ROWS_PER_TICK, _origins
from tests.core.cluster import Cluster, Member
from tests.core.upkeep.test_collection import ROW, clustered, live

TTL_MS = 60_000


def expired_at(cluster: Cluster, *names: str) -> list[str]:
    """The members at which the row is a tombstone, without a word between them."""
    return [name for name in names if cluster.members[name].rows()[ROW].winner.value is None]


def written(by: str) -> Cluster:
    """Three members that hold a row which is about to expire."""
    cluster = clustered("a", "b", "c")
    cluster.write(by, Operation(ROW, b"value", ttl_ms=TTL_MS))
    cluster.settle()
    assert expired_at(cluster, "a", "b", "c") == []
    return cluster


def tick_all(cluster: Cluster) -> None:
    for name in sorted(cluster.members):
        cluster.tick(name)


def tombstones(member: Member) -> int:
    return member.driver.replica.shards[USER].totals.tombstones


def test_a_value_expires_at_its_time_and_not_before_at_the_member_that_wrote_it() -> None:
    cluster = written("b")
    expires_ms = cluster.members["b"].rows()[ROW].winner.expires_ms
    assert expires_ms is not None
    cluster.now_ms = expires_ms - 1
    tick_all(cluster)
    assert expired_at(cluster, "a", "b", "c") == []
    cluster.now_ms = expires_ms
    tick_all(cluster)
    assert expired_at(cluster, "a", "b", "c") == ["b"]


def test_a_value_whose_writer_is_gone_expires_at_the_first_of_those_that_live() -> None:
    cluster = written("c")
    cluster.crash("c")
    live(cluster, 20)
    assert cluster.answer_to("a", Forget("c", is_forced=True)) is Forgotten.DONE
    live(cluster, 5)
    for member in cluster.members.values():
        assert "c" not in {peer.member for peer in member.driver.replica.peers}
        member.outbox.clear()
    cluster.now_ms += TTL_MS
    tick_all(cluster)
    assert expired_at(cluster, "a", "b") == ["a"]


def test_a_tick_expires_a_bounded_number_of_rows_and_the_next_one_goes_on() -> None:
    cluster = clustered("a")
    member = cluster.members["a"]
    addresses = [address_of("table", b"%06d" % number) for number in range(ROWS_PER_TICK + 1)]
    cluster.write("a", *(Operation(address, b"value", ttl_ms=TTL_MS) for address in addresses))
    cluster.now_ms += TTL_MS
    cluster.tick("a")
    assert tombstones(member) == ROWS_PER_TICK
    cluster.tick("a")
    assert tombstones(member) == ROWS_PER_TICK + 1


def test_a_row_whose_expiry_was_renewed_meanwhile_stays() -> None:
    cluster = written("b")
    cluster.write("a", Operation(ROW, b"again", ttl_ms=10 * TTL_MS))
    cluster.settle()
    cluster.now_ms += 2 * TTL_MS
    tick_all(cluster)
    assert expired_at(cluster, "a", "b", "c") == []


def test_the_writers_of_expired_versions_alone_delete_them() -> None:
    expired = Version(Dot(1, 1), 10, b"expired", 100, 0)
    kept = Version(Dot(2, 1), 10, b"kept", 200, 0)
    deleted = Version(Dot(3, 1), 10, None, None, 0)
    row = StoredRow((expired, kept, deleted), Context({1: 1, 2: 1, 3: 1}))
    assert _origins(row, 99) == set()
    assert _origins(row, 100) == {1}
    assert _origins(row, 200) == {1, 2}
