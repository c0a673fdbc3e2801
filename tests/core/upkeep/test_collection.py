"""Tombstones go when every member has heard of them, and what is gone stays gone."""

from __future__ import annotations

import pytest

from gossipkv.core.inputs import Discovered, Forget, Leave
from gossipkv.core.model.address import (
    FORGOTTEN_TABLE,
    MEMBERS_TABLE,
    RETIRED_TABLE,
    SYSTEM,
    USER,
    address_of,
    table_of,
)
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import StoredRow, Version, without_collected
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Delta, Range, RowCopy, Unlisted
from gossipkv.core.store.forgotten import Forgotten, forgotten_in
from gossipkv.storage.memory import MemoryStorage
from tests.core.cluster import Cluster, Member, endpoint_of

ROW = address_of("table", b"row")
AGE_MS = 20_000
LIFE_MS = 5_000


def clustered(*names: str) -> Cluster:
    cluster = Cluster()
    for name in names:
        start(cluster, name)
    cluster.introduce(*names)
    cluster.settle()
    return cluster


def start(cluster: Cluster, name: str, storage: MemoryStorage | None = None) -> Member:
    return cluster.start(name, storage, tombstone_age_ms_min=AGE_MS, message_life_ms=LIFE_MS, clock_skew_ms_max=10_000)


def live(cluster: Cluster, seconds: int) -> None:
    """Let time pass and messages flow."""
    for _ in range(seconds):
        cluster.now_ms += 1_000
        for name in sorted(cluster.members):
            cluster.tick(name)
        for _ in range(200):
            if not cluster.flow():
                break


def replacing_c(cluster: Cluster) -> MemoryStorage:
    """Let all hold the row, and c go on with an empty disk; returns the one that it had."""
    cluster.write("a", Operation(ROW, b"value"))
    live(cluster, 5)
    storage = cluster.members["c"].storage
    cluster.crash("c")
    start(cluster, "c")
    cluster.introduce("a", "b", "c")
    return storage


def is_there(member: Member) -> bool:
    """Whether the row is there, deleted or not."""
    return ROW in member.rows()


def forgetting_c(cluster: Cluster) -> None:
    """Let c die, and be forgotten once it does not answer."""
    cluster.crash("c")
    live(cluster, 20)
    assert cluster.answer_to("a", Forget("c", is_forced=True)) is Forgotten.DONE


def test_a_tombstone_goes_everywhere_once_all_have_heard_of_it_and_it_is_old_enough() -> None:
    cluster = clustered("a", "b", "c")
    cluster.write("a", Operation(ROW, b"value"))
    cluster.write("a", Operation(ROW, None))
    live(cluster, AGE_MS // 1_000 - 1)
    assert all(is_there(member) for member in cluster.members.values())
    live(cluster, 30)
    assert not any(is_there(member) for member in cluster.members.values())
    shards = [member.driver.replica.shards[USER] for member in cluster.members.values()]
    assert [shard.totals.tombstones for shard in shards] == [0, 0, 0]
    assert [shard.fingerprint.root for shard in shards] == [(0, 0)] * 3
    assert sum(member.driver.replica.tally.tombstones_collected for member in cluster.members.values()) == 3


def test_a_member_that_is_down_keeps_tombstones_from_going_and_is_named() -> None:
    cluster = clustered("a", "b", "c")
    cluster.write("a", Operation(ROW, b"value"))
    cluster.settle()
    storage = cluster.members["c"].storage
    cluster.crash("c")
    cluster.write("a", Operation(ROW, None))
    live(cluster, 200)
    assert is_there(cluster.members["a"])
    assert cluster.status("a").collection_blocked_by == ("c",)
    start(cluster, "c", storage)
    live(cluster, 60)
    assert not any(is_there(member) for member in cluster.members.values())
    assert cluster.status("a").collection_blocked_by == ()


def test_nothing_waits_for_a_member_that_is_forgotten() -> None:
    cluster = clustered("a", "b", "c")
    cluster.write("a", Operation(ROW, b"value"))
    cluster.settle()
    forgetting_c(cluster)
    cluster.write("a", Operation(ROW, None))
    live(cluster, 60)
    assert not is_there(cluster.members["a"])
    assert not is_there(cluster.members["b"])
    assert [each.member for each in cluster.status("b").members] == ["a", "b"]


def test_a_forgotten_replica_is_fenced_on_its_return_and_gives_no_one_what_was_deleted() -> None:
    cluster = clustered("a", "b", "c")
    cluster.write("a", Operation(ROW, b"value"))
    cluster.settle()
    storage = cluster.members["c"].storage
    forgetting_c(cluster)
    cluster.write("a", Operation(ROW, None))
    live(cluster, 60)
    returned = start(cluster, "c", storage)
    cluster.introduce("a", "b", "c")
    live(cluster, 10)
    assert returned.is_fenced
    assert returned.rows()[ROW].winner.value == b"value"
    assert not is_there(cluster.members["a"])
    assert not is_there(cluster.members["b"])
    # With its data set aside it is a new replica, and a member like any other.
    cluster.crash("c")
    renewed = start(cluster, "c")
    cluster.write("b", Operation(address_of("table", b"other"), b"value"))
    cluster.introduce("a", "b", "c")
    live(cluster, 20)
    assert not renewed.is_fenced
    assert set(renewed.rows()) == {address_of("table", b"other")}
    assert [each.status for each in cluster.status("a").members] == ["alive"] * 3


def test_a_record_of_a_forgotten_replica_counts_for_nothing_though_it_is_the_later_write() -> None:
    cluster = clustered("a", "b", "c")
    storage = cluster.members["c"].storage
    forgetting_c(cluster)
    live(cluster, 5)
    # It starts, and announces itself, before it has heard that it was forgotten.
    start(cluster, "c", storage)
    cluster.introduce("a", "b", "c")
    live(cluster, 5)
    assert cluster.members["c"].is_fenced
    listed = [peer.member for peer in cluster.members["a"].driver.replica.peers if peer.record is not None]
    assert listed == ["b"]


def test_an_old_disk_that_is_put_back_after_it_was_replaced_is_fenced_for_what_was_deleted_meanwhile() -> None:
    cluster = clustered("a", "b", "c")
    storage = replacing_c(cluster)
    cluster.write("a", Operation(ROW, None))
    live(cluster, 100)
    assert not any(is_there(member) for member in cluster.members.values())
    cluster.crash("c")
    returned = start(cluster, "c", storage)
    cluster.introduce("a", "b", "c")
    live(cluster, 20)
    assert returned.is_fenced
    assert "data_are_outdated" in returned.events()
    assert not is_there(cluster.members["a"])
    assert not is_there(cluster.members["b"])


def test_an_old_disk_that_is_put_back_and_lacks_no_deletion_goes_on() -> None:
    cluster = clustered("a", "b", "c")
    storage = replacing_c(cluster)
    cluster.write("a", Operation(ROW, b"newer"))
    live(cluster, 20)
    cluster.crash("c")
    returned = start(cluster, "c", storage)
    cluster.introduce("a", "b", "c")
    live(cluster, 20)
    assert not returned.is_fenced
    assert returned.rows()[ROW].winner.value == b"newer"


def test_who_was_forgotten_is_told_by_rows_of_their_own_for_good() -> None:
    cluster = clustered("a", "b", "c")
    replica = cluster.members["c"].replica_id
    forgetting_c(cluster)
    live(cluster, 100)
    for name in ("a", "b"):
        rows = cluster.members[name].rows(SYSTEM)
        assert address_of(FORGOTTEN_TABLE, b"%016x" % replica) in rows
        assert not rows[address_of(MEMBERS_TABLE, b"c")].is_visible
    tables = {table_of(address) for address in cluster.members["a"].rows(SYSTEM)} - {RETIRED_TABLE}
    assert tables == {FORGOTTEN_TABLE, MEMBERS_TABLE}


@pytest.mark.parametrize(
    ("member", "outcome"), [("a", Forgotten.ITSELF), ("b", Forgotten.ANSWERS), ("d", Forgotten.UNKNOWN)]
)
def test_only_another_member_that_is_known_and_does_not_answer_is_forgotten(member: str, outcome: Forgotten) -> None:
    cluster = clustered("a", "b")
    before = cluster.members["a"].rows(SYSTEM)
    assert cluster.answer_to("a", Forget(member)) is outcome
    assert cluster.members["a"].rows(SYSTEM) == before


def test_a_member_that_restarts_is_not_forgotten_by_mistake() -> None:
    """One request for each pod of a rolling update would make all of them set their data aside."""
    cluster = clustered("a", "b", "c")
    cluster.crash("c")
    cluster.run("a", Discovered((endpoint_of("b"),)))
    live(cluster, 20)
    before = cluster.members["a"].rows(SYSTEM)
    assert cluster.answer_to("a", Forget("c")) is Forgotten.HEARD
    assert cluster.members["a"].rows(SYSTEM) == before
    assert cluster.answer_to("a", Forget("c", is_forced=True)) is Forgotten.DONE


def silent_for(cluster: Cluster, seconds: int, *discovered: str, existing: frozenset[str] | None = None) -> Forgotten:
    """What a answers when c has been gone for so long."""
    cluster.crash("c")
    cluster.run("a", Discovered(tuple(endpoint_of(name) for name in discovered), existing))
    live(cluster, seconds)
    outcome = cluster.answer_to("a", Forget("c"))
    assert isinstance(outcome, Forgotten)
    return outcome


def probing(*names: str) -> Cluster:
    cluster = Cluster()
    for name in names:
        cluster.start(name, protocol_period_ms=1_000, forget_silence_ms=60_000)
    cluster.introduce(*names)
    cluster.settle()
    return cluster


@pytest.mark.parametrize(
    ("seconds", "discovered", "existing", "outcome"),
    [
        (30, ("a", "b"), None, Forgotten.HEARD),
        (30, ("a", "b"), frozenset({"a", "b"}), Forgotten.HEARD),
        (80, ("a", "b", "c"), None, Forgotten.LISTED),
        (80, ("a", "b"), frozenset({"a", "b", "c"}), Forgotten.LISTED),
        (80, ("a", "b"), None, Forgotten.DONE),
        (80, ("a", "b"), frozenset({"a", "b"}), Forgotten.DONE),
    ],
)
def test_a_member_is_forgotten_that_is_silent_for_long_and_that_discovery_does_not_list(
    seconds: int, discovered: tuple[str, ...], existing: frozenset[str] | None, outcome: Forgotten
) -> None:
    assert silent_for(probing("a", "b", "c"), seconds, *discovered, existing=existing) is outcome


def test_a_member_that_has_just_started_has_not_heard_others_for_no_longer_than_that() -> None:
    cluster = probing("a", "b", "c")
    storage = cluster.members["a"].storage
    cluster.crash("c")
    cluster.crash("a")
    cluster.now_ms += 3_600_000
    cluster.start("a", storage, protocol_period_ms=1_000, forget_silence_ms=60_000)
    cluster.run("a", Discovered((endpoint_of("b"),)))
    live(cluster, 5)
    assert cluster.answer_to("a", Forget("c")) is Forgotten.HEARD
    live(cluster, 80)
    assert cluster.answer_to("a", Forget("c")) is Forgotten.DONE


def test_a_member_that_leaves_is_forgotten_after_the_same_silence() -> None:
    cluster = probing("a", "b", "c")
    cluster.run("c", Leave())
    cluster.settle()
    assert silent_for(cluster, 30, "a", "b") is Forgotten.HEARD
    live(cluster, 60)
    assert cluster.answer_to("a", Forget("c")) is Forgotten.DONE


def test_rows_of_the_users_neither_go_to_nor_come_from_who_is_not_listed() -> None:
    cluster = clustered("a", "b")
    cluster.write("a", Operation(ROW, b"value"))
    start(cluster, "c")
    cluster.write("c", Operation(address_of("table", b"own"), b"value"))
    cluster.run("c")
    cluster.introduce("a", "b", "c")
    _, answer = cluster.deliver("c", "a")
    assert not isinstance(answer, Exception)
    # The two have compared contexts; now c has rows to send and to ask for, and tells of itself first.
    asked, answer = cluster.deliver("c", "a")
    assert not isinstance(answer, Exception)
    assert {message.shard for message in asked.messages if isinstance(message, Delta)} <= {SYSTEM}
    assert not any(isinstance(message, Unlisted) for message in answer.messages)
    live(cluster, 5)
    assert set(cluster.members["c"].rows()) == set(cluster.members["a"].rows()) == {ROW, address_of("table", b"own")}


def test_a_stranger_that_sends_rows_of_the_users_is_told_that_it_is_not_listed() -> None:
    cluster = clustered("a", "b")
    replica = cluster.members["a"].driver.replica
    transaction = cluster.members["a"].storage.begin()
    envelope = cluster.members["b"].driver.replica._envelope((), cluster.now_ms)
    row = StoredRow((Version(Dot(99, 1), cluster.now_ms << 16, b"strange"),), Context({99: 1}))
    stranger = envelope.__class__(
        envelope.cluster, "z", 99, 1, cluster.now_ms, (Delta(USER, {99: Range(0, 1)}, (RowCopy(ROW, row),)),)
    )
    answer = replica.receive(transaction, stranger, cluster.now_ms)
    transaction.abort()
    assert answer.messages == (Unlisted(USER),)
    assert not is_there(cluster.members["a"])


def test_a_row_that_names_no_replica_is_passed_over_among_the_forgotten() -> None:
    row = StoredRow((Version(Dot(1, 1), 1, b"{}"),), Context({1: 1}))
    copies = [
        RowCopy(address_of(FORGOTTEN_TABLE, key), row) for key in (b"nonsense", b"-1", b"00000000000000ff", b"ff")
    ]
    assert forgotten_in(copies) == [255]


def test_what_is_written_where_a_tombstone_was_outranks_it_though_the_clock_was_set_back() -> None:
    cluster = clustered("a", "b")
    cluster.write("a", Operation(ROW, b"value"))
    cluster.write("a", Operation(ROW, None))
    live(cluster, 5)
    deleted = cluster.members["a"].rows()[ROW].winner
    live(cluster, 60)
    assert not is_there(cluster.members["b"])
    storage = cluster.members["b"].storage
    cluster.crash("b")
    member = start(cluster, "b", storage)
    member.clock_ahead_ms = -100_000
    cluster.write("b", Operation(ROW, b"again"))
    assert member.rows()[ROW].winner.rank > deleted.rank


def test_a_row_that_was_lost_comes_back_though_its_write_is_below_the_marks() -> None:
    cluster = clustered("a", "b")
    lost = address_of("table", b"lost")
    cluster.write("a", Operation(lost, b"kept by a"), Operation(ROW, b"value"), Operation(ROW, None))
    live(cluster, AGE_MS // 1_000 + 30)
    b = cluster.members["b"]
    shard, row_of_a = b.driver.replica.shards[USER], cluster.members["a"].rows()[lost]
    assert shard.collected.marks.covers(row_of_a.winner.dot)
    transaction = b.storage.begin()
    shard.remove(transaction, lost, b.rows()[lost])
    shard.save(transaction)
    transaction.commit()
    live(cluster, 10)
    assert b.rows()[lost].versions == row_of_a.versions


# What is news to a replica with marks

MARKS = Context({1: 5, 2: 5})


def row(*versions: tuple[int, int, bytes | None], context: dict[int, int] | None = None) -> StoredRow:
    made = [Version(Dot(replica, sequence), sequence << 16, value, None, 0) for replica, sequence, value in versions]
    return StoredRow(tuple(made), Context(context or {version.dot.replica: version.dot.sequence for version in made}))


def test_a_version_up_to_the_marks_is_no_news_where_it_is_not_held() -> None:
    assert without_collected(row((1, 5, b"late")), None, MARKS, is_repair=False) is None
    assert without_collected(row((1, 5, b"late")), row((2, 7, b"here")), MARKS, is_repair=False) is None
    assert without_collected(row((1, 6, b"new")), None, MARKS, is_repair=False) == row((1, 6, b"new"))


def test_of_siblings_those_that_are_no_news_are_left_out() -> None:
    arrived = row((1, 6, b"new"), (2, 5, b"late"))
    kept = without_collected(arrived, None, MARKS, is_repair=False)
    assert kept == StoredRow(arrived.versions[:1], arrived.context)


def test_a_value_that_a_walk_finds_missing_is_repaired_and_a_collected_tombstone_is_not_taken_back() -> None:
    assert without_collected(row((1, 5, b"lost")), None, MARKS, is_repair=True) == row((1, 5, b"lost"))
    assert without_collected(row((1, 5, None)), None, MARKS, is_repair=True) is None


def test_a_collected_tombstone_still_outranks_what_is_here() -> None:
    tombstone = row((1, 5, None))
    assert without_collected(tombstone, row((2, 3, b"older")), MARKS, is_repair=False) == tombstone


def test_what_a_peer_covers_counts_once_all_members_that_it_knows_of_are_known() -> None:
    cluster = clustered("a", "b")
    progress = cluster.members["a"].driver.replica._gossip.progress
    [peer] = cluster.members["a"].driver.replica.peers
    listing, vouched = cluster.members["a"].context(SYSTEM), peer.conversation.vouched
    stranger = Context({**listing, 99: 1})
    progress.note_vouched(peer, {SYSTEM: stranger, USER: Context({1: 7})})
    progress.note_vouched(peer, {SYSTEM: None, USER: Context({1: 7})})
    assert peer.conversation.vouched == vouched
    progress.note_vouched(peer, {SYSTEM: Context(listing), USER: Context({1: 7})})
    assert peer.conversation.vouched.covers(Dot(1, 7))


def test_what_blocks_the_oldest_tombstone_is_named_and_not_what_blocks_a_later_one() -> None:
    cluster = clustered("a", "b", "c")
    storage = cluster.members["c"].storage
    cluster.crash("c")
    cluster.write("a", Operation(ROW, b"value"), Operation(ROW, None))
    live(cluster, AGE_MS // 1_000 + 15)
    collector = cluster.members["a"].driver.replica._collector
    assert collector.blocked == cluster.members["a"].rows()[ROW].context
    assert collector.blockers() == ["c"]
    start(cluster, "c", storage)
    cluster.introduce("a", "b", "c")
    live(cluster, AGE_MS // 1_000 + 15)
    assert collector.blockers() == []
    assert not is_there(cluster.members["a"])


def test_a_member_that_starts_alone_on_its_data_names_itself_as_what_blocks() -> None:
    """Its volume may have been set back, and only another member could tell."""
    cluster = clustered("a")
    storage = cluster.members["a"].storage
    cluster.crash("a")
    start(cluster, "a", storage)
    cluster.introduce("a")
    cluster.write("a", Operation(ROW, b"value"), Operation(ROW, None))
    live(cluster, AGE_MS // 1_000 + 15)
    assert cluster.members["a"].driver.replica._collector.blockers() == ["a"]
    assert is_there(cluster.members["a"])
