"""A row that cannot be read leaves all that is derived from rows, is replaced by writes, and brought back by peers."""

from __future__ import annotations

import pytest

from gossipkv.core.address import SYSTEM, USER, address_of
from gossipkv.core.causality import Context
from gossipkv.core.forgotten import all_forgotten, forgetting
from gossipkv.core.inputs import Read, Tick, Write
from gossipkv.core.quarantine import readable_row
from gossipkv.core.shard import Shard
from gossipkv.core.storage import (
    EXPIRIES,
    FIRST_DEADLINE,
    TOMBSTONES,
    Counts,
    StorageError,
    StorageFailedError,
    UnreadableRowError,
)
from gossipkv.core.tables import TableSettings, settings_address
from gossipkv.core.write import Declined, Operation, Result, Written
from gossipkv.group_commit import GroupCommit
from gossipkv.rows.limits import TIME_MS_MAX
from gossipkv.storage.memory import MemoryStorage
from tests.core.cluster import Cluster, Member
from tests.core.disks import at

KEYS = ("a", "b", "c")
SIBLINGS = TableSettings().changed({"conflicts": "siblings"})


@pytest.fixture
def cluster() -> Cluster:
    """Two members that hold the same."""
    cluster = Cluster()
    for name in ("one", "two"):
        cluster.start(name)
    cluster.introduce("one", "two")
    cluster.settle()
    cluster.write("one", *[Operation(at(key), key.encode()) for key in KEYS])
    cluster.settle()
    return cluster


@pytest.fixture
def alone() -> Cluster:
    cluster = Cluster()
    cluster.start("one")
    cluster.write("one", *[Operation(at(key), key.encode()) for key in KEYS])
    return cluster


def derived(storage: MemoryStorage, shard: str = USER) -> dict[str, object]:
    with storage.view() as view:
        loaded = Shard.load(view, shard)
        heads = view.journal_heads(shard)
        return {
            "fingerprint": loaded.fingerprint.nodes(),
            "tables": {name: counts for name, counts in loaded.tables.items() if any(counts)},
            "journal": sorted((o, *entry) for o in heads for entry in view.journal(shard, o, 0)),
            "deadlines": [
                sorted(view.deadlines(shard, index, FIRST_DEADLINE, TIME_MS_MAX)) for index in (EXPIRIES, TOMBSTONES)
            ],
            "leaves": list(storage.committed(("leaves", shard)).keys),
        }


def rebuilt(storage: MemoryStorage, shard: str = USER) -> dict[str, object]:
    """What the readable rows give when everything is worked out again."""
    fresh = MemoryStorage()
    built = Shard(shard, Context(), Context(), {})
    transaction = fresh.begin()
    with storage.view() as view:
        for address, row in view.rows(shard, b"", b"\x7f"):
            built.store(transaction, address, None, row)
    built.save(transaction)
    transaction.commit()
    return derived(fresh, shard)


def events(member: Member, event: str) -> list[dict[str, object]]:
    return [notice.fields for notice in member.notices if notice.event == event]


def damage(member: Member, key: str, shard: str = USER, table: str = "table") -> bytes:
    address = address_of(table, key.encode())
    member.storage.damage(shard, address, "its bytes cannot be decoded")
    return address


def results(cluster: Cluster, *operations: Operation) -> list[Result]:
    answer = cluster.answer_to("one", Write(USER, operations))
    assert isinstance(answer, list)
    return answer


def test_a_row_that_cannot_be_read_is_out_of_all_that_is_derived_and_is_named_once(alone: Cluster) -> None:
    member = alone.members["one"]
    alone.write("one", Operation(at("a"), b"a", ttl_ms=60_000), Operation(at("c"), None))
    for key in ("a", "b", "c"):
        damage(member, key)
    with member.storage.view() as view:
        assert list(view.rows(USER, b"", b"\x7f")) == []
    for _ in range(3):
        alone.tick("one")
    assert derived(member.storage) == rebuilt(member.storage)
    assert member.storage.unreadable == {}
    named = events(member, "row_unreadable")
    assert [(each["table"], each["row"]) for each in named] == [("table", key) for key in KEYS]
    status = alone.status("one")
    assert status.unreadable_rows == {SYSTEM: 0, USER: 3}
    assert [row.row for row in status.unreadable] == list(KEYS)
    assert status.totals[USER] == Counts()
    with member.storage.view() as view, pytest.raises(UnreadableRowError, match="cannot be decoded"):
        readable_row(view, USER, at("b"))


@pytest.mark.parametrize("is_found_first", [False, True])
@pytest.mark.parametrize("value", [b"new", None])
@pytest.mark.parametrize("keeps_siblings", [False, True])
def test_a_write_replaces_it_everywhere(
    cluster: Cluster, is_found_first: bool, value: bytes | None, keeps_siblings: bool
) -> None:
    member = cluster.members["one"]
    if keeps_siblings:
        cluster.answer_to("one", Write(SYSTEM, (Operation(settings_address("table"), SIBLINGS.to_json()),)))
        cluster.settle()
    before = member.rows()[at("b")]
    damage(member, "b")
    if is_found_first:
        with member.storage.view() as view:
            assert at("b") not in dict(view.rows(USER, b"", b"\x7f"))
    [written] = results(cluster, Operation(at("b"), value))
    assert isinstance(written, Written)
    assert written.row.context.covers_all(before.context)
    assert [version.value for version in written.row.versions] == [value]
    assert derived(member.storage) == rebuilt(member.storage)
    cluster.settle()
    for name in ("one", "two"):
        row = cluster.members[name].rows()[at("b")]
        assert [version.value for version in row.versions] == [value]
    assert cluster.status("one").unreadable == ()
    assert events(member, "unreadable_row_replaced")


@pytest.mark.parametrize(
    "operation",
    [
        Operation(at("b"), b"x", if_absent=True),
        Operation(at("b"), b"x", if_match=("*",)),
        Operation(at("b"), None, if_match=("0-1",)),
    ],
)
def test_a_condition_on_it_cannot_be_judged(alone: Cluster, operation: Operation) -> None:
    damage(alone.members["one"], "b")
    others = Operation(at("a"), b"other")
    declined, written = results(alone, operation, others)
    assert isinstance(declined, Declined)
    assert declined.reason == "unreadable"
    assert isinstance(written, Written)
    assert len(alone.status("one").unreadable) == 1


def test_a_peer_that_has_the_row_brings_it_back(cluster: Cluster) -> None:
    member = cluster.members["one"]
    before = member.rows()
    damage(member, "a")
    damage(member, "c")
    with member.storage.view() as view:
        assert list(view.rows(USER, b"", b"\x7f")) == [(at("b"), before[at("b")])]
    cluster.tick("one")
    cluster.settle()
    assert member.rows() == before
    assert derived(member.storage) == rebuilt(member.storage)
    assert cluster.status("one").unreadable == ()
    replaced = {each["row"] for each in events(member, "unreadable_row_replaced")}
    assert replaced == {"a", "c"}


def test_a_peer_brings_back_what_lies_below_the_marks_of_collected_rows(cluster: Cluster) -> None:
    member = cluster.members["one"]
    before = member.rows()[at("a")]
    cluster.write("one", Operation(at("gone"), b"x"))
    cluster.write("one", Operation(at("gone"), None))
    cluster.settle()
    cluster.now_ms += 7_200_000
    for _ in range(400):
        cluster.now_ms += 1_000
        for name in ("one", "two"):
            cluster.tick(name)
        while cluster.flow():
            pass
        if all(at("gone") not in cluster.members[name].rows() for name in ("one", "two")):
            break
    assert at("gone") not in member.rows()
    damage(member, "a")
    with member.storage.view() as view:
        dict(view.rows(USER, b"", b"\x7f"))
    cluster.tick("one")
    cluster.settle()
    assert member.rows()[at("a")].versions == before.versions


def test_gossip_that_meets_it_goes_on(cluster: Cluster) -> None:
    member = cluster.members["one"]
    damage(member, "b")
    cluster.start("three")
    cluster.introduce("one", "three")
    cluster.settle()
    assert {at(key) for key in KEYS} <= set(cluster.members["three"].rows())
    assert member.rows() == cluster.members["two"].rows()


def test_a_read_of_several_members_that_meets_it_is_answered(cluster: Cluster) -> None:
    member = cluster.members["one"]
    damage(member, "b")
    cluster.run("one", Read(1, USER, at("b"), 2))
    cluster.settle()
    assert member.rows()[at("b")].winner.value == b"b"


def test_expiry_and_collection_pass_it_by(alone: Cluster) -> None:
    member = alone.members["one"]
    alone.write("one", Operation(at("short"), b"x", ttl_ms=1_000), Operation(at("b"), None))
    damage(member, "short")
    damage(member, "b")
    for _ in range(100):
        alone.now_ms += 100_000
        batch = alone.run("one", Tick())
        assert not any(isinstance(outcome, Exception) for outcome in batch.outcomes)
    assert derived(member.storage) == rebuilt(member.storage)


@pytest.mark.parametrize("table", ["members", "tables", "forgotten"])
def test_a_member_starts_though_a_row_of_its_own_tables_cannot_be_read(cluster: Cluster, table: str) -> None:
    cluster.answer_to("one", Write(SYSTEM, (Operation(settings_address("table"), SIBLINGS.to_json()),)))
    cluster.settle()
    two = cluster.members["two"].replica_id
    cluster.crash("two")
    cluster.answer_to("one", Write(SYSTEM, (forgetting(two, "two"),)))
    member = cluster.members["one"]
    key = {"members": "one", "tables": "table", "forgotten": f"{two:016x}"}[table]
    damage(member, key, SYSTEM, table)
    cluster.crash("one")
    member = cluster.start("one", member.storage)
    for _ in range(3):
        cluster.tick("one")
    if table == "members":
        assert address_of("members", b"one") in member.rows(SYSTEM)
    with member.storage.view() as view:
        assert all_forgotten(view) == [two]
    cluster.write("one", Operation(at("a"), b"beside"))
    assert len(member.rows()[at("a")].versions) == 2


def test_a_note_of_a_row_that_has_been_replaced_since_hurts_no_one(alone: Cluster) -> None:
    member = alone.members["one"]
    member.storage.unreadable[USER, at("a")] = "seen by a reader of an older state"
    member.storage.unreadable[USER, at("absent")] = "seen by a reader of an older state"
    alone.tick("one")
    assert sorted(member.rows()) == [at(key) for key in KEYS]
    assert (member.storage.unreadable, alone.status("one").unreadable) == ({}, ())


def test_a_volume_that_fails_meanwhile_answers_those_who_wait(alone: Cluster) -> None:
    member = alone.members["one"]
    damage(member, "b")
    member.storage.fail_next_commit(StorageFailedError("input/output error"))
    [outcome] = alone.run("one", Write(USER, (Operation(at("b"), b"x"),))).outcomes
    assert isinstance(outcome, StorageError)
    assert isinstance(member.driver, GroupCommit)
