"""One member among others: who it is, whom it answers, when it is ready, and how it catches up."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Unpack

import pytest

from gossipkv.core.inputs import Answered, Discovered, Failed, Forget, Leave, Received, Tick, Write
from gossipkv.core.membership.membership import ENDPOINT
from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.member import INCARNATION_END, MemberRecord
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Covered, Digest, Envelope, Offer, Pull, RowCopy, WalkBegin
from gossipkv.core.replica import RECORDS_NAMED_MAX, RefusedEnvelopeError
from gossipkv.core.store.forgotten import Forgotten, forgetting
from gossipkv.core.store.storage import Identity, StorageError, StorageFullError
from gossipkv.member.group_commit import GroupCommit
from gossipkv.storage.memory import MemoryStorage
from tests.core.cluster import START_MS, Cluster, Member, endpoint_of, sent
from tests.core.disks import at
from tests.core.replica_settings import ReplicaSettings

HOUR_MS = 3_600_000


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def settled(cluster: Cluster, /, *names: str, **settings: Unpack[ReplicaSettings]) -> Cluster:
    for name in names:
        cluster.start(name, **settings)
    cluster.introduce(*names)
    cluster.settle()
    return cluster


def exchange_between(cluster: Cluster, source: str, target: str) -> bool:
    """Deliver what one has to ask of another, if anything."""
    if cluster.waiting(source, target) is None:
        return False
    cluster.deliver(source, target)
    return True


def settle_after_a_tick(cluster: Cluster, name: str) -> None:
    cluster.settle()
    cluster.now_ms += 1_000
    cluster.tick(name)
    cluster.settle()


def own_record(member: Member, name: str | None = None) -> MemberRecord:
    """The record but for the process that wrote it."""
    address = address_of(MEMBERS_TABLE, (name or member.name).encode())
    record = MemberRecord.from_json(member.rows(SYSTEM)[address].winner.value or b"")
    return replace(record, started=0, token=0, born=0)


def overwrite_record(cluster: Cluster, writer: str, name: str, record: MemberRecord) -> None:
    operation = Operation(address_of(MEMBERS_TABLE, name.encode()), record.to_json())
    cluster.answer_to(writer, Write(SYSTEM, (operation,)))


# Who it is.


def test_a_member_announces_itself_when_it_starts(cluster: Cluster) -> None:
    member = cluster.start("a", zone="z", version="1")
    assert own_record(member) == MemberRecord(1, START_MS, {"gossip": endpoint_of("a")}, zone="z", version="1")


def test_each_start_is_a_greater_incarnation_of_the_same_replica(cluster: Cluster) -> None:
    storage = cluster.start("a").storage
    incarnations = []
    for now_ms in (START_MS, START_MS - HOUR_MS, START_MS + HOUR_MS):
        cluster.now_ms = now_ms
        cluster.crash("a")
        member = cluster.start("a", storage)
        assert own_record(member).replica == 1
        incarnations.append(own_record(member).incarnation)
    assert incarnations == [START_MS + 1, START_MS + 2, START_MS + HOUR_MS]


LAST = INCARNATION_END - 1


@pytest.mark.parametrize(("stored", "follows"), [(LAST - 1, LAST), (LAST, None)])
def test_an_incarnation_that_no_message_can_hold_is_not_taken(stored: int, follows: int | None) -> None:
    storage = MemoryStorage()
    transaction = storage.begin()
    transaction.put_identity(Identity("test", "a", 1, stored))
    transaction.commit()
    cluster = Cluster()
    identity = cluster.start("a", storage).driver.replica.identity
    assert identity.incarnation == (follows if follows is not None else cluster.now_ms)


def test_a_member_without_data_is_a_new_replica_and_never_incarnation_1() -> None:
    replicas = set()
    for seed in (1, 2):
        driver, _ = GroupCommit.open(MemoryStorage(), ReplicaOptions(), random.Random(seed), START_MS)
        replicas.add(driver.replica.identity.replica)
        assert driver.replica.identity.incarnation == START_MS
    assert len(replicas) == 2


@pytest.mark.parametrize("foreign", [{"member": "b"}, {"cluster": "other"}])
def test_the_data_directory_of_another_member_or_cluster_is_refused_and_left_alone(
    cluster: Cluster, foreign: dict[str, Any]
) -> None:
    member = cluster.start("a")
    before = member.rows(SYSTEM)
    with pytest.raises(StorageError, match="belongs to member 'a' of cluster 'test'"):
        GroupCommit.open(member.storage, replace(member.options, **foreign), random.Random(1), START_MS)
    assert member.rows(SYSTEM) == before


# Whom it answers.


def test_the_envelope_of_another_cluster_is_refused_and_counted(cluster: Cluster) -> None:
    cluster.start("a")
    outcomes = cluster.run("a", Received(Envelope("other", "b", 9, 1, START_MS, ()))).outcomes
    assert isinstance(outcomes[0], RefusedEnvelopeError)
    assert outcomes[0].reason == "other_cluster"
    assert cluster.status("a").tally.envelopes_refused == {"other_cluster": 1}


def test_another_running_member_of_the_same_name_is_refused_and_told_why(cluster: Cluster) -> None:
    cluster.start("a")
    outcomes = cluster.run("a", Received(Envelope("test", "a", 9, 1, START_MS, ()))).outcomes
    assert isinstance(outcomes[0], RefusedEnvelopeError)
    assert outcomes[0].reason == "name_taken"
    assert "give each its own name" in str(outcomes[0])
    assert cluster.status("a").tally.envelopes_refused == {"name_taken": 1}


def test_the_log_names_each_sender_that_is_refused_once(cluster: Cluster) -> None:
    member = cluster.start("a")
    for _ in range(3):
        cluster.run("a", Received(Envelope("other", "b", 9, 1, START_MS, ())))
        cluster.run("a", Received(Envelope("test", "a", 9, 1, START_MS, ())))
    refused = [notice.fields for notice in member.notices if notice.event == "envelope_refused"]
    assert [fields["peer"] for fields in refused] == ["b", "a"]
    assert "'other'" in str(refused[0]["reason"])


def test_an_answer_from_another_cluster_is_a_failed_exchange(cluster: Cluster) -> None:
    cluster.start("a")
    cluster.start("b", cluster="other")
    cluster.run("a", Discovered((endpoint_of("b"),)))
    cluster.deliver("a", "b")
    assert [(peer.member, peer.failures) for peer in cluster.members["a"].driver.replica.peers] == [(None, 1)]
    assert cluster.waiting("a", "b") is None


def test_a_member_that_dials_itself_learns_that_and_stops(cluster: Cluster) -> None:
    member = cluster.start("a")
    cluster.run("a", Discovered(("memory://alias",)))
    [send] = member.outbox
    member.outbox.clear()
    answer = cluster.answer_to("a", Received(send.content))
    assert isinstance(answer, Envelope)
    assert answer.messages == ()
    cluster.run("a", Answered(send.exchange, answer))
    cluster.run("a", Discovered(("memory://alias",)))
    assert member.outbox == []
    assert member.driver.replica.peers == []


# Its own record.


def test_a_member_outdoes_a_record_that_stands_under_its_name(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    theirs = MemberRecord(77, START_MS + 5, {"gossip": "memory://elsewhere"})
    overwrite_record(cluster, "b", "a", theirs)
    settle_after_a_tick(cluster, "a")
    for member in cluster.members.values():
        assert own_record(member, "a") == MemberRecord(1, START_MS + 6, {"gossip": endpoint_of("a")})
    assert "own_record_outdone" in cluster.members["a"].events()


def test_a_refutation_whose_commit_failed_is_made_again(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    overwrite_record(cluster, "b", "a", MemberRecord(77, START_MS + 5, {"gossip": "memory://elsewhere"}))
    cluster.deliver("b", "a")
    cluster.members["a"].storage.fail_next_commit(StorageFullError("no room"))
    cluster.tick("a")
    settle_after_a_tick(cluster, "a")
    assert own_record(cluster.members["a"]).replica == 1


def test_a_refutation_outlives_the_process(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    overwrite_record(cluster, "b", "a", MemberRecord(1, START_MS + 500, {"gossip": "memory://elsewhere"}))
    settle_after_a_tick(cluster, "a")
    storage = cluster.members["a"].storage
    cluster.crash("a")
    cluster.now_ms = START_MS
    assert own_record(cluster.start("a", storage)).incarnation == START_MS + 502


def test_a_member_that_leaves_says_so_and_one_that_returns_is_alive(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    cluster.run("b", Leave())
    cluster.deliver("b", "a")
    assert [member.status for member in cluster.status("a").members] == ["alive", "left"]
    storage = cluster.members["b"].storage
    cluster.crash("b")
    cluster.start("b", storage)
    cluster.settle()
    assert [member.status for member in cluster.status("a").members] == ["alive", "alive"]


def test_an_unreadable_member_record_is_noticed_and_harms_no_one(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    cluster.answer_to("b", Write(SYSTEM, (Operation(address_of(MEMBERS_TABLE, b"c"), b"{}"),)))
    cluster.settle()
    assert "member_record_unreadable" in cluster.members["a"].events()
    assert len(cluster.status("a").members) == 2


@pytest.mark.parametrize("value", [b"{}", b"\xff", b'{"replica": []}'])
def test_a_member_whose_own_record_is_none_writes_it_again(cluster: Cluster, value: bytes) -> None:
    settled(cluster, "a", "b")
    record = own_record(cluster.members["a"])
    cluster.answer_to("b", Write(SYSTEM, (Operation(address_of(MEMBERS_TABLE, b"a"), value),)))
    settle_after_a_tick(cluster, "a")
    assert own_record(cluster.members["b"], "a") == replace(record, incarnation=record.incarnation + 1)
    [fields] = [each.fields for each in cluster.members["a"].notices if each.event == "own_record_outdone"]
    assert fields == {"by": "something that cannot be read"}


@pytest.mark.parametrize("is_outdone", [False, True])
def test_a_member_that_cannot_read_its_own_record_writes_it_again(cluster: Cluster, is_outdone: bool) -> None:
    settled(cluster, "a", "b")
    a, address = cluster.members["a"], address_of(MEMBERS_TABLE, b"a")
    record = own_record(a)
    if is_outdone:
        cluster.answer_to("b", Write(SYSTEM, (Operation(address, None),)))
        cluster.deliver("b", "a")
    a.storage.damage(SYSTEM, address, "its bytes cannot be decoded")
    if not is_outdone:
        # A reader meets it.
        a.rows(SYSTEM)
    cluster.now_ms += 100
    for _ in range(2):
        [outcome] = cluster.run("a", Tick()).outcomes
        assert not isinstance(outcome, Exception), outcome
    assert own_record(a) == replace(record, incarnation=record.incarnation + 1)
    cluster.settle()
    assert own_record(cluster.members["b"], "a") == own_record(a)
    assert cluster.status("a").unreadable == ()


def test_a_member_that_cannot_read_its_own_record_goes_on_offering_what_it_has(cluster: Cluster) -> None:
    settled(cluster, "a", "b", part_bytes=200)
    a, address = cluster.members["a"], address_of(MEMBERS_TABLE, b"a")
    a.storage.damage(SYSTEM, address, "its bytes cannot be decoded")
    many = [Operation(address_of("tables", b"%02d" % number), b"{}" * 60) for number in range(20)]
    cluster.answer_to("a", Write(SYSTEM, tuple(many)))
    a.rows(SYSTEM)
    cluster.answer_to("a", Write(SYSTEM, tuple(many)))
    while cluster.flow():
        pass
    assert len(cluster.members["b"].rows(SYSTEM)) == 22


# When it is ready.


def test_a_member_that_no_one_answers_is_ready_after_the_bootstrap_timeout(cluster: Cluster) -> None:
    member = cluster.start("a", bootstrap_timeout_ms=5_000)
    cluster.now_ms += 4_999
    cluster.tick("a")
    assert not cluster.status("a").is_ready
    cluster.now_ms += 1
    cluster.tick("a")
    assert cluster.status("a").is_ready
    assert [notice.fields for notice in member.notices if notice.event == "ready"] == [{"alone": True}]


def test_a_member_that_has_been_answered_is_ready_after_one_sync_and_not_before(cluster: Cluster) -> None:
    settled(cluster, "a")
    cluster.write("a", Operation(at("row"), b"value"))
    cluster.start("b")
    cluster.run("b", Discovered((endpoint_of("a"),)))
    cluster.deliver("b", "a")
    cluster.now_ms += HOUR_MS
    cluster.tick("b")
    assert not cluster.status("b").is_ready, "it knows that it lacks rows"
    cluster.settle()
    assert cluster.status("b").is_ready


def test_a_member_whose_peer_answers_what_it_cannot_read_is_not_ready_alone(cluster: Cluster) -> None:
    settled(cluster, "a")
    b = cluster.start("b", bootstrap_timeout_ms=5_000)
    cluster.run("b", Discovered((endpoint_of("a"),)))
    for _ in range(20):
        if send := cluster.waiting("b", "a"):
            b.outbox.remove(send)
            cluster.run("b", Failed(send.exchange, "the answer cannot be read", was_answered=True))
        cluster.now_ms += HOUR_MS
        cluster.tick("b")
    assert not cluster.status("b").is_ready
    cluster.settle()
    assert cluster.status("b").is_ready


def test_newcomers_that_sync_with_each_other_are_not_ready_before_one_that_is_has_filled_them(cluster: Cluster) -> None:
    settled(cluster, "a")
    cluster.write("a", Operation(at("row"), b"value"))
    everyone = tuple(map(endpoint_of, "abc"))
    for newcomer in "bc":
        cluster.start(newcomer)
        cluster.run(newcomer, Discovered(everyone))
    while any([exchange_between(cluster, "b", "c"), exchange_between(cluster, "c", "b")]):
        assert not cluster.status("b").is_ready
        assert not cluster.status("c").is_ready
    cluster.settle()
    assert all(cluster.status(name).is_ready for name in "bc")
    assert cluster.has_converged("abc")


def test_members_that_all_start_at_once_are_ready_as_soon_as_all_have_synced(cluster: Cluster) -> None:
    for name in "abc":
        cluster.start(name, bootstrap_timeout_ms=HOUR_MS)
    for name in "abc":
        cluster.run(name, Discovered(tuple(map(endpoint_of, "abc"))))
    exchange_between(cluster, "a", "b")
    assert not cluster.status("a").is_ready, "c may hold more"
    cluster.settle()
    assert all(cluster.status(name).is_ready for name in "abc")


def test_one_that_never_comes_back_delays_a_start_of_all_by_the_bootstrap_timeout_alone(cluster: Cluster) -> None:
    settled(cluster, "a", "b", "c")
    storages = {name: cluster.members[name].storage for name in "abc"}
    for name in "abc":
        cluster.crash(name)
    for name in "ab":
        cluster.start(name, storages[name], bootstrap_timeout_ms=HOUR_MS)
    cluster.introduce("a", "b")
    cluster.settle()
    assert not cluster.status("a").is_ready, "c may hold more"
    cluster.now_ms += HOUR_MS
    for name in "ab":
        cluster.tick(name)
    assert all(cluster.status(name).is_ready for name in "ab")


def test_once_ready_a_member_stays_ready_when_the_others_are_gone(cluster: Cluster) -> None:
    settled(cluster, "a", "b", protocol_period_ms=1_000)
    cluster.crash("b")
    for _ in range(20):
        cluster.now_ms += 500
        cluster.tick("a")
        cluster.flow()
    status = cluster.status("a")
    assert status.is_ready
    assert [member.status for member in status.members] == ["alive", "dead"]


# How it catches up.


def test_a_write_is_pushed_with_its_row_and_acknowledged(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    cluster.write("a", Operation(at("row"), b"value"))
    assert not cluster.status("a").has_pushed_everything
    asked, answer = cluster.deliver("a", "b")
    assert isinstance(answer, Envelope)
    assert answer.messages == (Covered(USER, Context({1: 1})),)
    assert len(asked.messages) == 1
    assert cluster.members["b"].rows()[at("row")].winner.value == b"value"
    assert cluster.status("a").has_pushed_everything


def test_what_is_written_while_an_exchange_is_under_way_goes_in_the_next(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    for number in range(5):
        cluster.write("a", Operation(at(f"row{number}"), b"value"))
    assert len(cluster.members["a"].outbox) == 1
    cluster.deliver("a", "b")
    assert len(cluster.members["a"].outbox) == 1
    cluster.deliver("a", "b")
    assert cluster.members["a"].outbox == []
    assert len(cluster.members["b"].rows()) == 5


def test_what_is_too_much_for_a_push_is_offered_and_pulled(cluster: Cluster) -> None:
    settled(cluster, "a", "b", part_bytes=200)
    cluster.write("a", *(Operation(at(f"row{number}"), b"value") for number in range(10)))
    asked, _ = cluster.deliver("a", "b")
    assert asked.messages == (Offer(USER),)
    asked, _ = cluster.deliver("b", "a")
    assert isinstance(asked.messages[0], Pull)
    cluster.settle()
    assert len(cluster.members["b"].rows()) == 10


def test_an_answer_from_before_a_member_lost_its_disk_says_nothing_of_what_it_covers_now(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    cluster.write("a", Operation(at("row"), b"value"))
    push = cluster.waiting("a", "b")
    assert push is not None
    cluster.members["a"].outbox.remove(push)
    late = cluster.answer_to("b", Received(sent(push.content)))
    assert isinstance(late, Envelope)
    cluster.crash("b")
    cluster.now_ms += 1_000
    cluster.start("b")
    cluster.run("b", Discovered((endpoint_of("a"),)))
    cluster.deliver("b", "a")
    cluster.run("a", Answered(push.exchange, sent(late)))
    assert not cluster.status("a").has_pushed_everything
    cluster.settle()
    assert at("row") in cluster.members["b"].rows()


def test_a_skewed_row_is_refused_everywhere_and_taken_in_when_its_time_comes(cluster: Cluster) -> None:
    settled(cluster, "a", "b", clock_skew_ms_max=60_000, audit_interval_ms=10**9)
    cluster.members["b"].clock_ahead_ms = 90_000
    cluster.write("b", Operation(at("row"), b"value"))
    cluster.deliver("b", "a")
    assert cluster.members["a"].rows() == {}
    assert cluster.members["a"].context() == {}
    assert cluster.status("a").tally.rows_refused == {"clock_skew": 1}
    cluster.now_ms += 31_000
    cluster.settle()
    assert at("row") in cluster.members["a"].rows()


def test_a_new_member_walks_and_then_covers_what_the_others_do(cluster: Cluster) -> None:
    settled(cluster, "a", "b", part_bytes=200)
    cluster.write("a", *(Operation(at(f"row{number}"), b"value") for number in range(20)))
    cluster.write("a", Operation(at("row3"), None))
    cluster.settle()
    cluster.start("c", part_bytes=200)
    cluster.run("c", Discovered((endpoint_of("a"),)))
    cluster.settle()
    assert "walk_started" in cluster.members["c"].events()
    assert cluster.members["c"].rows()[at("row3")].winner.is_tombstone
    assert cluster.members["c"].context() == {1: 21}
    assert cluster.status("c").tally.anomalies.total() == 0


def test_an_audit_finds_what_nothing_else_would_and_leaves_the_context_alone(cluster: Cluster) -> None:
    settled(cluster, "a", "b", audit_interval_ms=1)
    member = cluster.members["b"]
    cluster.write("a", Operation(at("row"), b"value"))
    cluster.drop("a", "b")
    transaction = member.storage.begin()
    member.driver.replica.shards[USER].advance(1, 1)
    member.driver.replica.shards[USER].save(transaction)
    transaction.commit()
    audits = 0
    while at("row") not in member.rows():
        cluster.now_ms += 2_000
        cluster.tick("b")
        asked, _ = cluster.deliver("b", "a")
        audits += any(isinstance(message, WalkBegin) for message in asked.messages)
        assert audits < 10
    assert audits
    assert member.context() == {1: 1}


def test_equal_contexts_with_unequal_fingerprints_are_counted_and_repaired(cluster: Cluster) -> None:
    settled(cluster, "a", "b", audit_interval_ms=10**9)
    member = cluster.members["b"]
    cluster.write("a", Operation(at("row"), b"value"))
    cluster.drop("a", "b")
    transaction = member.storage.begin()
    member.driver.replica.shards[USER].advance(1, 1)
    member.driver.replica.shards[USER].save(transaction)
    transaction.commit()
    cluster.settle()
    assert at("row") in member.rows()
    assert sum(cluster.status(name).tally.anomalies.total() for name in "ab") >= 1


def test_a_sync_round_between_equals_is_a_digest_each_way(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    cluster.now_ms += 5_000
    cluster.tick("a")
    asked, answer = cluster.deliver("a", "b")
    assert isinstance(answer, Envelope)
    for envelope in (asked, answer):
        assert [type(message) for message in envelope.messages] == [Digest, Digest]


def test_a_bounded_number_of_refused_records_is_named_and_each_is_counted(cluster: Cluster) -> None:
    replica = cluster.start("a").driver.replica
    before = replica.tally.records_refused[ENDPOINT]
    for number in range(RECORDS_NAMED_MAX + 5):
        for _ in range(2):
            replica._refuse_record(f"m{number}", ENDPOINT)
    named = [notice.fields["peer"] for notice in replica._outbox.take() if notice.event == "member_refused"]
    assert named == [f"m{number}" for number in range(RECORDS_NAMED_MAX)]
    assert replica.tally.records_refused[ENDPOINT] - before == 2 * (RECORDS_NAMED_MAX + 5)


def test_a_member_whose_record_is_refused_can_be_forgotten_without_force(cluster: Cluster) -> None:
    a = cluster.start("a")
    overwrite_record(cluster, "a", "x", MemberRecord(99, 1, {"gossip": endpoint_of("x")}))
    membership = a.driver.replica._membership
    membership._members.pop("x", None)
    assert cluster.answer_to("a", Forget("x")) is Forgotten.UNKNOWN
    membership.refused["x"] = ENDPOINT
    assert cluster.answer_to("a", Forget("x")) is Forgotten.DONE
    assert membership.is_forgotten(99)
    assert cluster.answer_to("a", Forget("x")) is Forgotten.UNKNOWN
    assert cluster.answer_to("a", Forget("a")) is Forgotten.ITSELF


def test_the_record_of_a_member_counts_again_once_its_forgetting_is_withdrawn(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    replica = cluster.members["a"].driver.replica
    forgotten = cluster.members["b"].replica_id
    replica._membership.forget(forgotten)
    cluster.members["a"].outbox.clear()
    cluster.tick("a")
    assert [peer.record for peer in replica.peers if peer.member == "b"] == []
    withdrawal = StoredRow((Version(Dot(forgotten, 99), 1, None),), Context({forgotten: 99}))
    replica._follow_members([RowCopy(forgetting(forgotten, "b").address, withdrawal)])
    cluster.tick("a")
    assert [peer.record is not None for peer in replica.peers if peer.member == "b"] == [True]


def test_a_member_obeys_a_row_that_calls_it_forgotten_if_one_that_answers_was_never_called_so(cluster: Cluster) -> None:
    settled(cluster, "a", "b", "c")
    replica = cluster.members["a"].driver.replica
    membership, (b, c) = replica._membership, replica.peers
    replica._was_in_touch = False
    assert not replica._obeys_forgetting()
    membership._forgotten.add(replica.identity.replica)
    assert replica._obeys_forgetting()
    replica._was_in_touch = True
    assert not replica._obeys_forgetting(), "it speaks, so the row is false"
    replica._was_in_touch = False
    b.failures = c.failures = 1
    assert not replica._obeys_forgetting(), "rows about all would move all"
    b.failures = 0
    assert replica._obeys_forgetting()
    for named in (membership._forgotten, membership._withdrawn, membership._not_believed):
        named.add(b.replica or 0)
        assert not replica._obeys_forgetting()
        named.discard(b.replica or 0)
    b.record = None
    assert not replica._obeys_forgetting(), "it is not listed"


def test_a_member_that_denies_its_forgetting_deletes_the_row_about_it_and_lists_itself_again(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    b = cluster.members["b"]
    replica = b.driver.replica
    cluster.answer_to("b", Write(SYSTEM, (forgetting(b.replica_id, "b"),)))
    address = forgetting(b.replica_id, "b").address
    before = own_record(b).incarnation
    replica._membership.forget(b.replica_id)
    transaction = b.storage.begin()
    replica._deny_forgetting(transaction, cluster.now_ms)
    row = transaction.row(SYSTEM, address)
    record = transaction.row(SYSTEM, address_of(MEMBERS_TABLE, b"b"))
    transaction.abort()
    assert row is not None
    assert row.winner.is_tombstone
    assert not replica._membership.is_forgotten(b.replica_id)
    assert record is not None
    assert MemberRecord.from_json(record.winner.value or b"").incarnation > before
    assert replica.tally.forgettings_refused == 1
