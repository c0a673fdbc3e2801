"""Rows that run ahead of every context for ever, because their origin is gone, are adopted by a living member."""

from __future__ import annotations

from typing import Any

from gossipkv.core.inputs import Forget, Received, Write
from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import SYSTEM, TABLES_TABLE, USER, address_of
from gossipkv.core.model.causality import Context
from gossipkv.core.model.fingerprint import leaf_of
from gossipkv.core.model.member import DEAD
from gossipkv.core.model.row import Conflicts, StoredRow
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Delta, RowCopy
from gossipkv.core.store.forgotten import Forgotten
from gossipkv.core.store.tables import TableSettings
from tests.core.cluster import Cluster, Member, endpoint_of
from tests.core.upkeep.test_collection import AGE_MS, LIFE_MS, ROW, clustered, live, start

BESIDE = address_of("beside", b"row")


def hand_over(cluster: Cluster, source: str, *targets: str, address: bytes = ROW) -> None:
    """Bring one row directly, as a write that waits for copies is handed to members that are behind."""
    row = cluster.members[source].rows()[address]
    replica = cluster.members[source].driver.replica
    for target in targets:
        envelope = replica._envelope((Delta(USER, {}, (RowCopy(address, row),)),), cluster.now_ms)
        cluster.run(target, Received(envelope))
        assert cluster.members[target].rows()[address].has_same_versions(row)


def lose_disk(cluster: Cluster, name: str, *others: str) -> Member:
    cluster.crash(name)
    member = start(cluster, name)
    cluster.introduce(name, *others)
    return member


def ahead(member: Member, shard: str = USER) -> bool:
    with member.storage.view() as view:
        return member.driver.replica.shards[shard].is_ahead(view)


def written_ahead(value: bytes | None, **operation: Any) -> Cluster:
    """A write of c that is handed over to a and b and then lost with c's disk, with an earlier one nobody ever saw."""
    cluster = clustered("a", "b", "c")
    cluster.write("a", Operation(ROW, b"old"))
    live(cluster, 5)
    cluster.members["c"].outbox.clear()
    cluster.write("c", Operation(address_of("table", b"never seen"), b"lost"))
    cluster.write("c", Operation(ROW, value, **operation))
    cluster.members["c"].outbox.clear()
    hand_over(cluster, "c", "a", "b")
    return cluster


def test_a_tombstone_handed_over_by_a_replica_that_lost_its_disk_is_adopted_and_collected() -> None:
    cluster = written_ahead(None)
    lose_disk(cluster, "c", "a", "b")
    live(cluster, 5)
    assert all(ahead(cluster.members[name]) for name in ("a", "b")), "no context will ever cover it"
    live(cluster, AGE_MS // 1_000 + 90)
    for member in cluster.members.values():
        assert ROW not in member.rows()
        assert not ahead(member)
        assert cluster.status(member.name).collection_blocked_by == ()
    assert any("writes_adopted" in member.events() for member in cluster.members.values())


def test_a_tombstone_goes_though_the_journal_does_not_name_it_under_the_entry_that_runs_ahead() -> None:
    """As where two rows have borne one dot, which takes two processes on copies of one volume."""
    cluster = clustered("a", "b", "c")
    gone = cluster.members["c"].replica_id
    lose_disk(cluster, "c", "a", "b")
    live(cluster, 5)
    cluster.write("a", Operation(ROW, None))
    live(cluster, 5)
    for member in cluster.members.values():
        transaction = member.storage.begin()
        row = member.rows()[ROW]
        transaction.put_row(
            USER, ROW, StoredRow(row.versions, row.context.joined({gone: 7})), leaf_of(ROW), is_new=False
        )
        transaction.commit()
    live(cluster, AGE_MS // 1_000 + 60)
    assert all(ROW not in member.rows() for member in cluster.members.values())


def test_a_dead_member_without_a_record_keeps_no_write_from_being_adopted() -> None:
    """It covered more, and its data went with it."""
    cluster = written_ahead(None)
    gone = cluster.members["c"].replica_id
    lose_disk(cluster, "c", "a", "b")
    for member in cluster.members.values():
        peer = member.driver.replica._membership.identified(Peer(endpoint_of("d")), "d", 1, cluster.now_ms)
        peer.become_replica(99, 1)
        peer.conversation.learn_context(USER, Context({gone: 99}), Context())
        peer.standing.status = DEAD
    live(cluster, AGE_MS // 1_000 + 90)
    for member in cluster.members.values():
        assert ROW not in member.rows()
        assert not ahead(member)


def test_a_value_handed_over_by_a_replica_that_lost_its_disk_is_adopted_by_one_and_covered_by_all() -> None:
    cluster = written_ahead(b"new", ttl_ms=3_600_000)
    expires_ms = cluster.members["a"].rows()[ROW].winner.expires_ms
    lose_disk(cluster, "c", "a", "b")
    live(cluster, 60)
    rows = [member.rows()[ROW] for member in cluster.members.values()]
    assert len({row.versions for row in rows}) == 1
    assert (rows[0].winner.value, rows[0].winner.expires_ms) == (b"new", expires_ms)
    for member in cluster.members.values():
        assert not ahead(member)
        assert member.driver.replica.shards[USER].context.covers_all(member.rows()[ROW].context)
        assert member.driver.replica.tally.anomalies in (0, {}), "an adopted write is no anomaly"
    assert sum("writes_adopted" in member.events() for member in cluster.members.values()) == 1


def test_siblings_that_run_ahead_are_adopted_and_stay_beside_each_other() -> None:
    cluster = clustered("a", "b", "c")
    settings = TableSettings(Conflicts.SIBLINGS).to_json()
    cluster.answer_to("a", Write(SYSTEM, (Operation(address_of(TABLES_TABLE, b"beside"), settings),)))
    live(cluster, 5)
    cluster.write("a", Operation(BESIDE, b"by a"))
    live(cluster, 5)
    cluster.write("c", Operation(address_of("table", b"never seen"), b"lost"))
    cluster.write("c", Operation(BESIDE, b"by c"))
    cluster.members["c"].outbox.clear()
    hand_over(cluster, "c", "a", address=BESIDE)
    lose_disk(cluster, "c", "a", "b")
    live(cluster, 60)
    for member in cluster.members.values():
        row = member.rows()[BESIDE]
        assert {version.value for version in row.versions} == {b"by a", b"by c"}
        assert not ahead(member)
        assert all(member.driver.replica.shards[USER].context.covers(version.dot) for version in row.versions)


def test_nothing_is_adopted_while_the_origin_may_come_back_and_the_tombstone_names_it() -> None:
    cluster = written_ahead(None)
    storage = cluster.members["c"].storage
    cluster.crash("c")
    live(cluster, AGE_MS // 1_000 + 60)
    for name in ("a", "b"):
        assert "writes_adopted" not in cluster.members[name].events()
        assert cluster.status(name).collection_blocked_by == ("c",)
    start(cluster, "c", storage)
    cluster.introduce("a", "b", "c")
    live(cluster, AGE_MS // 1_000 + 60)
    assert all(ROW not in member.rows() for member in cluster.members.values())


def test_what_a_forgotten_replica_left_ahead_is_adopted_too() -> None:
    cluster = written_ahead(None)
    cluster.crash("c")
    live(cluster, 20)
    assert cluster.answer_to("a", Forget("c", is_forced=True)) is Forgotten.DONE
    live(cluster, AGE_MS // 1_000 + 90)
    assert all(ROW not in member.rows() for member in cluster.members.values())


def test_a_write_by_a_client_outranks_one_that_is_adopted_at_the_same_time() -> None:
    cluster = written_ahead(b"ahead")
    lose_disk(cluster, "c", "a", "b")
    live(cluster, 4)
    cluster.write("b", Operation(ROW, b"by a client"))
    live(cluster, 60)
    assert {member.rows()[ROW].winner.value for member in cluster.members.values()} == {b"by a client"}


def test_an_origin_that_comes_back_after_its_writes_were_adopted_brings_the_rest() -> None:
    cluster = written_ahead(b"ahead")
    storage = cluster.members["c"].storage
    lose_disk(cluster, "c", "a", "b")
    live(cluster, 20)
    cluster.crash("c")
    start(cluster, "c", storage)
    cluster.introduce("a", "b", "c")
    live(cluster, 20)
    for member in cluster.members.values():
        assert member.rows()[ROW].winner.value == b"ahead"
        assert member.rows()[address_of("table", b"never seen")].winner.value == b"lost"


def adopted_after(cluster: Cluster, name: str, ms_max: int) -> int | None:
    """How long a member that hears no one takes to adopt the row, in time that it runs; None if longer than that."""
    member = cluster.members[name]
    began_ms = cluster.now_ms
    while cluster.now_ms < began_ms + ms_max:
        cluster.now_ms += 100
        cluster.tick(name)
        member.outbox.clear()
        if "writes_adopted" in member.events():
            return cluster.now_ms - began_ms
    return None


def test_the_first_living_member_adopts_after_the_life_of_a_message_and_the_second_after_twice_that() -> None:
    waits = {}
    for name in ("a", "b"):
        cluster = written_ahead(b"new")
        lose_disk(cluster, "c", "a", "b")
        for _ in range(20):
            cluster.now_ms += 100
            for each in ("a", "b", "c"):
                cluster.tick(each)
            while cluster.flow():
                pass
        assert not any("writes_adopted" in member.events() for member in cluster.members.values())
        waits[name] = adopted_after(cluster, name, 4 * LIFE_MS)
    assert waits["a"] is not None
    assert waits["b"] is not None
    assert LIFE_MS <= waits["a"] + 2_000 <= 2 * LIFE_MS
    assert LIFE_MS // 2 <= waits["b"] - waits["a"] <= 2 * LIFE_MS


def test_time_in_which_a_member_was_paused_is_no_patience() -> None:
    cluster = written_ahead(b"new")
    lose_disk(cluster, "c", "a", "b")
    for _ in range(5):
        for each in ("a", "b", "c"):
            cluster.tick(each)
        while cluster.flow():
            pass
        cluster.now_ms += 100
    cluster.now_ms += 100 * LIFE_MS
    cluster.tick("a")
    assert "writes_adopted" not in cluster.members["a"].events()


def test_a_look_says_whether_it_has_adopted_anything() -> None:
    cluster = written_ahead(b"new")
    member = cluster.members["a"]
    replica = member.driver.replica
    origin = member.rows()[ROW].winner.dot.replica
    next(peer for peer in replica.peers if peer.member == "c").conversation.contexts[USER] = Context()
    transaction = member.storage.begin()
    shard = replica.shards[USER]
    assert replica._adopter._settle(transaction, shard, origin, is_due=False) is False
    assert replica._adopter._settle(transaction, shard, origin, is_due=True) is True
    adopted = transaction.row(USER, ROW)
    transaction.abort()
    assert adopted is not None
    assert adopted.winner.dot.replica == member.replica_id
