"""Many inputs, one transaction: what is told once it is durable, and what is left of a batch that fails."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from gossipkv.core.effects import Effects
from gossipkv.core.inputs import Discovered, Failed, Forget, Inspect, Received, Tick, Write
from gossipkv.core.membership.solitude import SILENT_INTERVALS
from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.causality import Context
from gossipkv.core.model.member import SUSPECT
from gossipkv.core.model.room import Usage
from gossipkv.core.model.write import NotMatched, Operation, StoredWrite
from gossipkv.core.protocol.messages import Covered, Envelope, Ping
from gossipkv.core.protocol.rumours import Life, Rumour
from gossipkv.core.replica import Replica
from gossipkv.core.status import ReplicaStatus
from gossipkv.core.store.forgotten import Forgotten
from gossipkv.core.store.shortage import OUTAGE_QUIET_MS
from gossipkv.core.store.snapshot import ReplicaSnapshot
from gossipkv.core.store.storage import StorageError, StorageFailedError, StorageFullError, Transaction
from gossipkv.core.store.tables import TableSettings, settings_address
from gossipkv.member.group_commit import Batch, StepFailedError
from gossipkv.rows.arguments.invalid import InvalidInputError
from tests.core.cluster import Cluster, Member, endpoint_of
from tests.core.disks import at

POISON = Received(Envelope("test", "peer", 7, 1, 0, (Covered("no such shard", Context()),)))
"""What no codec lets through."""


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    for name in "ab":
        cluster.start(name)
    cluster.introduce("a", "b")
    cluster.settle()
    return cluster


def put(key: str, value: bytes = b"value", *, if_absent: bool = False) -> Write:
    return Write(USER, (Operation(at(key), value, if_absent=if_absent),))


def keys(member: Member) -> list[bytes]:
    return sorted(member.rows())


def figures(status: ReplicaStatus) -> object:
    """What a replica says of its own data."""
    [own] = [member for member in status.members if member.is_self]
    return own.incarnation, own.shards[USER].fingerprint, own.shards[SYSTEM].fingerprint, status.tables


def test_later_inputs_of_a_batch_see_what_earlier_ones_wrote(cluster: Cluster) -> None:
    first, second = cluster.run("a", put("row"), put("row", if_absent=True)).outcomes
    [written] = cast("list[StoredWrite]", first)
    assert second == [NotMatched(written.etag)]


def test_the_writes_of_a_batch_leave_in_one_push(cluster: Cluster) -> None:
    batch = cluster.run("a", put("one"), put("two"))
    [send] = batch.effects.sends
    assert send.endpoint == endpoint_of("b")
    cluster.deliver("a", "b")
    assert keys(cluster.members["b"]) == [at("one"), at("two")]


def test_nothing_is_on_disk_or_told_before_the_commit(cluster: Cluster) -> None:
    member = cluster.members["a"]
    steps = member.driver.steps([put("row")], cluster.now_ms)
    assert not next(steps).is_durable
    assert keys(member) == []
    with pytest.raises(StopIteration) as ended:
        next(steps)
    assert keys(member) == [at("row")]
    batch = ended.value.value
    assert len(batch.effects.sends) == 1


def test_each_part_of_a_batch_that_does_not_fit_has_its_own_commit_in_the_order_of_the_inputs(cluster: Cluster) -> None:
    member = cluster.members["a"]
    member.storage.fail_next_commit(StorageFullError("no room"))
    shown = []
    steps = member.driver.steps([put("one"), put("two"), put("one", b"later")], cluster.now_ms)
    for prepared in steps:
        assert not prepared.is_durable
        shown.append((len(prepared.inputs), keys(member)))
    assert shown == [(3, []), (1, []), (2, [at("one")])]
    assert keys(member) == [at("one"), at("two")]
    assert member.rows()[at("one")].winner.value == b"later"


def test_a_process_that_dies_between_two_commits_keeps_what_the_first_has_stored(cluster: Cluster) -> None:
    member = cluster.members["a"]
    member.storage.fail_next_commit(StorageFullError("no room"))
    steps = member.driver.steps([put("one"), put("two")], cluster.now_ms)
    whole, first, second = (next(steps) for _ in range(3))
    assert (whole.is_durable, first.is_durable, second.is_durable) == (False, True, False)
    cluster.crash("a")
    steps.close()
    cluster.start("a", member.storage)
    cluster.write("a", Operation(at("three"), b"value"))
    assert keys(cluster.members["a"]) == [at("one"), at("three")]


def test_a_commit_that_fails_leaves_replica_and_storage_as_before(cluster: Cluster) -> None:
    error = StorageError("a bad day")
    member = cluster.members["a"]
    cluster.run("a", put("kept"))
    cluster.settle()
    rows, system, before = member.rows(), member.rows(SYSTEM), figures(cluster.status("a"))
    member.storage.fail_next_commit(error)
    batch = cluster.run("a", put("lost"), put("kept", b"lost too"), Tick(), Discovered(("memory://new",)))
    assert batch.outcomes == [error] * 4
    assert batch.effects == Effects()
    assert (member.rows(), member.rows(SYSTEM)) == (rows, system)
    assert figures(cluster.status("a")) == before


def test_after_a_commit_that_failed_writes_reuse_no_name_and_reach_everyone(cluster: Cluster) -> None:
    member = cluster.members["a"]
    member.storage.fail_next_commit(StorageError("a bad day"))
    cluster.run("a", put("lost"))
    [outcome] = cluster.run("a", put("row")).outcomes
    [written] = cast("list[StoredWrite]", outcome)
    assert written.dot == (1, 1), "nothing of the lost write was ever told"
    assert cluster.waiting("a", "b") is not None, "the exchange of the lost batch is not under way"
    cluster.settle()
    assert keys(cluster.members["b"]) == [at("row")]
    assert cluster.members["b"].context() == {1: 1}


def test_rows_that_came_in_a_batch_that_failed_come_again(cluster: Cluster) -> None:
    cluster.run("a", put("row"))
    cluster.members["b"].storage.fail_next_commit(StorageError("a bad day"))
    _, outcome = cluster.deliver("a", "b")
    assert isinstance(outcome, StorageError)
    assert keys(cluster.members["b"]) == []
    cluster.settle()
    assert keys(cluster.members["b"]) == [at("row")]


def test_an_answer_whose_batch_failed_leaves_no_exchange_under_way(cluster: Cluster) -> None:
    cluster.run("a", put("row"))
    member = cluster.members["a"]
    member.storage.fail_next_commit(StorageError("a bad day"))
    cluster.deliver("a", "b")
    cluster.now_ms += 2_000
    cluster.tick("a")
    assert cluster.waiting("a", "b") is not None
    cluster.settle()


def test_a_member_whose_storage_takes_nothing_says_once_whom_it_suspects(cluster: Cluster) -> None:
    cluster.start("c")
    cluster.introduce("a", "b", "c")
    cluster.settle()
    life = Life(next(peer for peer in cluster.members["a"].driver.replica.peers if peer.member == "c").incarnation, 0)
    cluster.run("b", put("row"))
    send = cluster.waiting("b", "a")
    assert send is not None
    accused = Received(replace(send.content, messages=(Ping((Rumour("c", SUSPECT, life, "b"),)),)))
    told = []
    for fails in (True, True, False, True):
        if fails:
            cluster.members["a"].storage.fail_next_commit(StorageError("a bad day"))
        told.append([notice.event for notice in cluster.run("a", accused, put("other")).effects.notices])
    assert told == [["member_suspect"], [], [], []]


def test_a_volume_that_failed_takes_no_more_writes_and_is_still_read(cluster: Cluster) -> None:
    member = cluster.members["a"]
    cluster.run("a", put("kept"))
    member.storage.fail_next_commit(StorageFailedError("input/output error"))
    for _ in range(2):
        [outcome] = cluster.run("a", put("lost")).outcomes
        assert isinstance(outcome, StorageFailedError)
    assert keys(member) == [at("kept")]


def test_a_poisonous_input_fails_alone(cluster: Cluster) -> None:
    first, second, third, fourth = cluster.run("a", put("before"), POISON, put("after"), Inspect()).outcomes
    assert isinstance(second, StepFailedError)
    assert isinstance(second.__cause__, KeyError)
    assert isinstance(first, list)
    assert isinstance(third, list)
    assert isinstance(fourth, ReplicaStatus)
    assert fourth.totals[USER].rows == 2
    cluster.settle()
    assert keys(cluster.members["b"]) == [at("after"), at("before")]


def test_a_fault_that_no_input_shows_alone_is_not_hidden(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = Replica.finish

    def fail_once(replica: Replica, transaction: Transaction, now_ms: int) -> Effects:
        monkeypatch.setattr(Replica, "finish", finish)
        raise KeyError("a bug")

    monkeypatch.setattr(Replica, "finish", fail_once)
    batch = cluster.run("a", put("one"), put("two"))
    assert all(isinstance(outcome, list) for outcome in batch.outcomes)
    [fault] = batch.faults
    assert isinstance(fault.__cause__, KeyError)
    assert cluster.run("a", put("three"), POISON).faults == (), "an outcome tells of it"


def test_a_poisonous_input_in_the_batch_of_an_answer_leaves_no_exchange_under_way(cluster: Cluster) -> None:
    cluster.run("a", put("row"))
    [outcome] = cluster.run("a", POISON).outcomes
    assert isinstance(outcome, StepFailedError)
    cluster.deliver("a", "b")
    cluster.run("a", put("next"))
    cluster.settle()
    assert keys(cluster.members["b"]) == [at("next"), at("row")]


def test_a_refused_envelope_is_the_outcome_of_its_sender_alone(cluster: Cluster) -> None:
    cluster.start("stranger", cluster="other")
    cluster.run("stranger", Discovered((endpoint_of("a"),)))
    _, outcome = cluster.deliver("stranger", "a")
    assert not isinstance(outcome, Envelope)
    assert "this is cluster 'test'" in str(outcome)


def test_a_full_storage_refuses_puts_and_takes_deletes_and_rows_of_others(cluster: Cluster) -> None:
    member = cluster.members["a"]
    cluster.run("a", put("row"))
    cluster.settle()
    member.storage.usage = Usage(80 * 2**30, 100 * 2**30)
    refused, deleted = cluster.run("a", put("more"), Write(USER, (Operation(at("row"), None),))).outcomes
    assert isinstance(refused, StorageFullError)
    assert isinstance(deleted, list)
    cluster.run("b", put("theirs"))
    cluster.settle()
    assert keys(member) == [at("row"), at("theirs")]
    assert member.rows()[at("row")].winner.is_tombstone
    member.storage.usage = Usage(40 * 2**30, 100 * 2**30)
    assert isinstance(cluster.run("a", put("more")).outcomes[0], list)


def test_a_replica_that_cannot_be_opened_leaves_its_storage_free_for_the_next_try(cluster: Cluster) -> None:
    storage = cluster.members["a"].storage
    cluster.crash("a")
    with pytest.raises(StorageError, match="belongs to member"):
        cluster.start("c", storage)
    assert cluster.start("a", storage).replica_id == 1


def snapshot_of(batch: Batch) -> ReplicaSnapshot:
    assert batch.effects.snapshot is not None
    return batch.effects.snapshot


def settings(table: str, copies: int) -> Write:
    return Write(SYSTEM, (Operation(settings_address(table), TableSettings(w=copies).to_json()),))


def test_each_batch_leaves_a_snapshot_and_copies_only_what_it_has_changed(cluster: Cluster) -> None:
    first = snapshot_of(cluster.run("a", settings("t", 2)))
    second = snapshot_of(cluster.run("a", put("row")))
    third = snapshot_of(cluster.run("a", settings("u", 3)))
    assert (first.settings_of("t").w, first.settings_of("u").w) == (2, 1)
    assert second.settings is first.settings
    assert second.conflicts is first.conflicts
    assert (third.settings_of("t").w, third.settings_of("u").w) == (2, 3)
    assert dict(first.settings) == {"t": TableSettings(w=2)}, "what was handed out never changes"


def test_conflicts_count_once_their_merge_is_durable(cluster: Cluster) -> None:
    for name in "ab":
        cluster.run(name, put("row", name.encode()))
    cluster.members["b"].storage.fail_next_commit(StorageError("a bad day"))
    cluster.deliver("a", "b")
    assert snapshot_of(cluster.run("b", Tick())).conflicts == {}
    cluster.settle()
    shown = [dict(snapshot_of(cluster.run(name, Tick())).conflicts) for name in "ab"]
    assert sorted(sum(counts.values()) for counts in shown) == [0, 1]
    assert sum(cluster.status("b").tally.conflicts.values()) <= 1, "a merge that was taken back is not counted"


def test_a_member_that_got_ready_in_a_batch_that_failed_is_not_ready_and_says_so_later() -> None:
    cluster = Cluster()
    member = cluster.start("a", bootstrap_timeout_ms=100)
    cluster.now_ms += 200
    member.storage.fail_next_commit(StorageError("a bad day"))
    failed = cluster.run("a", Tick(), put("row", b"value"))
    assert failed.effects.snapshot is None
    assert not cluster.members["a"].driver.replica.is_ready
    batch = cluster.run("a", Tick())
    assert snapshot_of(batch).is_ready
    assert "ready" in [notice.event for notice in batch.effects.notices], "the log is told once it is true"


def test_nothing_of_a_write_that_is_refused_as_a_whole_stands_where_it_would_be_divided(cluster: Cluster) -> None:
    member = cluster.members["a"]
    member.storage.usage = Usage(2**30 - 2**20, 2**30)
    good = [Operation(at(f"{number}"), None) for number in range(200)]
    [outcome] = cluster.run("a", Write(USER, (*good, Operation(b"no address", None)))).outcomes
    assert isinstance(outcome, InvalidInputError)
    assert keys(member) == []


def test_a_peer_that_is_not_reached_is_logged_once_though_the_batch_fails(cluster: Cluster) -> None:
    a = cluster.members["a"]
    cluster.crash("b")
    cluster.now_ms += 2_000
    cluster.tick("a")
    [send] = [send for send in a.outbox if send.exchange > 0]
    a.outbox.clear()
    a.storage.fail_next_commit(StorageFullError("no room"))
    cluster.run("a", put("row"), Failed(send.exchange, "unreachable"))
    for _ in range(5):
        cluster.now_ms += 60_000
        cluster.tick("a")
        for _ in [send for send in a.outbox if send.exchange > 0]:
            cluster.drop("a", "b")
    told = [notice for notice in a.notices if notice.event == "member_not_reached"]
    assert len(told) == 1
    assert told[0].is_warning
    assert "remedy" in told[0].fields


def test_that_a_member_is_alone_is_logged_though_the_batch_fails(cluster: Cluster) -> None:
    a = cluster.members["a"]
    cluster.crash("b")
    for _ in range(SILENT_INTERVALS - 1):
        cluster.now_ms += 1_000
        cluster.run("a", Tick())
    a.storage.fail_next_commit(StorageFailedError("the disk is gone"))
    cluster.now_ms += 1_000
    cluster.run("a", put("row"), Tick())
    cluster.run("a", Tick())
    assert a.events().count("alone") == 1


def test_a_failed_batch_forgets_that_a_member_was_forgotten(cluster: Cluster) -> None:
    a = cluster.members["a"]
    cluster.crash("b")
    cluster.now_ms += 2_000
    cluster.tick("a")
    cluster.drop("a", "b")
    a.storage.fail_next_commit(StorageFailedError("the disk is gone"))
    cluster.run("a", Forget("b"))
    assert "member_forgotten" not in a.events()


def test_a_storage_that_takes_no_writes_is_logged_once_and_again_when_it_takes_them(cluster: Cluster) -> None:
    a = cluster.members["a"]

    def told() -> list[str]:
        return [notice.event for notice in a.notices if notice.event.startswith("storage_takes")]

    for _ in range(3):
        a.storage.fail_next_commit(StorageFullError("no room on the volume"))
        assert isinstance(cluster.run("a", put("row")).outcomes[0], StorageFullError)
    cluster.run("a", put("small"))
    assert told() == ["storage_takes_no_writes"]
    [notice] = [notice for notice in a.notices if notice.event == "storage_takes_no_writes"]
    assert notice.is_warning
    assert "enlarge" in str(notice.fields["remedy"])
    cluster.now_ms += OUTAGE_QUIET_MS
    cluster.run("a", Inspect())
    assert told() == ["storage_takes_no_writes"], "nothing was stored"
    cluster.run("a", put("row"))
    assert told() == ["storage_takes_no_writes", "storage_takes_writes_again"]


def test_a_member_that_a_failed_batch_forgot_is_not_said_to_be_forgotten(cluster: Cluster) -> None:
    cluster.crash("b")
    for _ in range(40):
        cluster.now_ms += 1_000
        cluster.tick("a")
        while cluster.flow():
            pass
    a = cluster.members["a"]
    a.storage.fail_next_commit(StorageError("a bad day"))
    [outcome] = cluster.run("a", Forget("b", is_forced=True)).outcomes
    assert isinstance(outcome, StorageError)
    cluster.tick("a")
    assert "member_forgotten" not in a.events()
    assert cluster.answer_to("a", Forget("b", is_forced=True)) is Forgotten.DONE
    cluster.tick("a")
    assert a.events().count("member_forgotten") == 1


@pytest.mark.parametrize("beside", [put("row"), POISON])
def test_a_member_that_is_forgotten_by_a_batch_that_had_to_be_divided_is_said_to_be_once(
    cluster: Cluster, beside: Write | Received
) -> None:
    cluster.crash("b")
    for _ in range(40):
        cluster.now_ms += 1_000
        cluster.tick("a")
        while cluster.flow():
            pass
    a = cluster.members["a"]
    if beside is not POISON:
        a.storage.fail_next_commit(StorageFullError("no room"))
    outcomes = cluster.run("a", Forget("b", is_forced=True), beside).outcomes
    assert outcomes[0] is Forgotten.DONE
    cluster.tick("a")
    assert a.events().count("member_forgotten") == 1
