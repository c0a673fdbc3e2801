"""A row that cannot be read leaves all that is derived from rows, is replaced by writes, and brought back by peers."""

from __future__ import annotations

from typing import Unpack

import pytest

from gossipkv.core.inputs import Answered, Discovered, Read, Received, Tick, Wake, Write
from gossipkv.core.model.address import SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context
from gossipkv.core.model.fingerprint import leaf_of
from gossipkv.core.model.write import Declined, Operation, Result, StoredWrite
from gossipkv.core.protocol.messages import Envelope, RowCopy
from gossipkv.core.store.forgotten import all_forgotten, forgetting
from gossipkv.core.store.quarantine import readable_row
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import (
    EXPIRIES,
    FIRST_DEADLINE,
    TOMBSTONES,
    Counts,
    StorageError,
    StorageFailedError,
    UnreadableRowError,
)
from gossipkv.core.store.tables import TableSettings, settings_address
from gossipkv.core.waits.answers import Found, Receipt
from gossipkv.core.watch.watching import Tail, WatchResetError
from gossipkv.member.group_commit import GroupCommit
from gossipkv.rows.arguments.limits import TIME_MS_MAX
from gossipkv.storage.memory import MemoryStorage
from tests.core.cluster import Cluster, Member, endpoint_of, sent
from tests.core.disks import at
from tests.core.replica_settings import ReplicaSettings

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
    assert isinstance(written, StoredWrite)
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
    assert isinstance(written, StoredWrite)
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


# What it covered counts as lacking until a member that has it, or all members, have been asked.

B = at("b")


def lacking_of(cluster: Cluster, name: str, shard: str = USER) -> list[bytes]:
    with cluster.members[name].storage.view() as view:
        durable = list(view.lacking(shard))
    assert durable == list(cluster.members[name].driver.replica.shards[shard].lacking)
    return durable


def meet(cluster: Cluster, name: str, *keys: str) -> None:
    """Damage rows of a member, and let a reader meet them before the next batch."""
    member = cluster.members[name]
    for key in keys:
        damage(member, key)
    with member.storage.view() as view:
        dict(view.rows(USER, b"", b"\x7f"))


def run(cluster: Cluster, rounds: int = 8) -> None:
    for _ in range(rounds):
        while cluster.flow():
            pass
        cluster.now_ms += 1_300
        for name in sorted(cluster.members):
            cluster.tick(name)
    while cluster.flow():
        pass


def joined(*names: str, **settings: Unpack[ReplicaSettings]) -> Cluster:
    cluster = Cluster()
    for name in names:
        cluster.start(name, **settings)
    cluster.introduce(*names)
    cluster.settle()
    return cluster


def receipt_of(cluster: Cluster, name: str, key: str) -> Receipt:
    return Receipt(USER, cluster.members[name].rows()[at(key)].winner.dot)


def copies(cluster: Cluster, name: str, receipt: Receipt) -> int:
    return cluster.members[name].driver.replica.coverage(receipt).copies


def test_it_counts_for_no_receipt_until_it_is_back(cluster: Cluster) -> None:
    run(cluster, 2)
    receipt, other = receipt_of(cluster, "one", "b"), receipt_of(cluster, "one", "c")
    assert (copies(cluster, "one", receipt), copies(cluster, "two", receipt)) == (2, 2)
    storage = cluster.members["two"].storage
    cluster.crash("two")
    meet(cluster, "one", "b")
    cluster.tick("one")
    assert lacking_of(cluster, "one") == [B]
    assert copies(cluster, "one", receipt) == 1
    assert copies(cluster, "one", other) == 2
    status = cluster.status("one")
    assert ([row.row for row in status.unreadable], status.lacking) == (["b"], ()), "it is named once"
    cluster.start("two", storage)
    cluster.introduce("one", "two")
    run(cluster)
    assert lacking_of(cluster, "one") == []
    assert (copies(cluster, "one", receipt), copies(cluster, "two", receipt)) == (2, 2)


def test_a_peer_learns_that_a_copy_that_it_knew_of_is_gone() -> None:
    cluster = joined("one", "two", "three")
    cluster.write("one", Operation(B, b"x"))
    run(cluster, 8)
    receipt = receipt_of(cluster, "one", "b")
    assert copies(cluster, "two", receipt) == 3
    cluster.crash("three")
    for name in ("one", "two"):
        meet(cluster, name, "b")
    run(cluster)
    assert lacking_of(cluster, "one") == lacking_of(cluster, "two") == [B], "the third member may have it"
    assert copies(cluster, "one", receipt) == copies(cluster, "two", receipt) == 1


@pytest.mark.parametrize("part_bytes", [300, 512 * 1024], ids=["in parts", "at once"])
@pytest.mark.parametrize("is_new", [False, True], ids=["pull", "walk"])
@pytest.mark.parametrize("is_replaced", [False, True], ids=["absent", "replaced by a write"])
def test_a_third_member_that_gets_the_range_lacks_the_row_too(part_bytes: int, is_new: bool, is_replaced: bool) -> None:
    cluster = joined("one", "two", "three", part_bytes=part_bytes)
    storage = cluster.members["three"].storage
    cluster.crash("three")
    if is_new:
        cluster.write("one", *[Operation(at(f"more{number}"), b"x") for number in range(20)])
    cluster.write("one", Operation(B, b"x"), *[Operation(at(f"{number}"), b"x") for number in range(20)])
    run(cluster)
    kept = cluster.members["two"].storage
    cluster.crash("two")
    meet(cluster, "one", "b")
    if is_replaced:
        cluster.write("one", Operation(B, b"later"))
    cluster.start("three", None if is_new else storage, part_bytes=part_bytes)
    cluster.introduce("one", "three")
    run(cluster)
    assert cluster.members["three"].context() == cluster.members["one"].context()
    assert lacking_of(cluster, "three") == lacking_of(cluster, "one") == [B]
    cluster.start("two", kept, part_bytes=part_bytes)
    cluster.introduce("one", "two", "three")
    run(cluster, 20)
    assert lacking_of(cluster, "three") == lacking_of(cluster, "one") == []
    assert all(B in cluster.members[name].rows() for name in ("one", "two", "three"))


@pytest.mark.parametrize("is_new", [False, True], ids=["pull", "walk"])
def test_a_transfer_that_is_under_way_does_not_cover_it(is_new: bool) -> None:
    cluster = joined("one", "two", "three", part_bytes=200)
    if not is_new:
        cluster.write("one", *[Operation(at(f"before{number}"), b"x") for number in range(200)])
        cluster.settle()
    storage = cluster.members["three"].storage
    cluster.crash("three")
    keys = [f"{number:02}" for number in range(40)]
    cluster.write("one", *[Operation(at(key), b"x" * 20) for key in keys])
    run(cluster)
    cluster.crash("two")
    last = max(cluster.members["one"].rows(), key=leaf_of) if is_new else at(keys[-5])
    cluster.start("three", None if is_new else storage, part_bytes=200)
    cluster.introduce("one", "three")
    one, three = cluster.members["one"], cluster.members["three"]
    for _ in range(1_000):
        if sum(at(key) in three.rows() for key in keys) > 10:
            break
        if not cluster.flow():
            cluster.now_ms += 1_000
            cluster.tick("three")
    assert cluster.status("three").transfers
    assert last not in three.rows()
    meet(cluster, "one", last.partition(b"\0")[2].decode())
    run(cluster)
    assert three.context() == one.context()
    assert lacking_of(cluster, "three") == [last]


def test_no_tombstone_goes_while_a_member_cannot_read_a_row() -> None:
    settings: ReplicaSettings = {"tombstone_age_ms_min": 60_000, "message_life_ms": 100}
    cluster = joined("one", "two", "three", **settings)
    cluster.write("one", Operation(B, b"x"), Operation(at("gone"), b"x"))
    cluster.write("one", Operation(at("gone"), None))
    run(cluster, 10)
    storage = cluster.members["three"].storage
    cluster.crash("three")
    for name in ("one", "two"):
        meet(cluster, name, "b")
    cluster.now_ms += 60_000
    run(cluster, 30)
    for name in ("one", "two"):
        assert cluster.status(name).totals[USER].tombstones == 1
        assert lacking_of(cluster, name) == [B], "the third member may have it"
        assert name in cluster.status(name).collection_blocked_by
    cluster.start("three", storage, **settings)
    cluster.introduce("one", "two", "three")
    run(cluster, 40)
    assert [cluster.status(name).totals[USER].tombstones for name in ("one", "two", "three")] == [0, 0, 0]
    assert [lacking_of(cluster, name) for name in ("one", "two")] == [[], []]


def test_a_put_in_its_place_is_a_copy_at_once_and_the_lack_ends_with_an_answer(cluster: Cluster) -> None:
    run(cluster, 2)
    lost = receipt_of(cluster, "one", "b")
    meet(cluster, "one", "b")
    [written] = results(cluster, Operation(B, b"new"))
    assert isinstance(written, StoredWrite)
    assert copies(cluster, "one", Receipt(USER, written.dot)) == 1
    assert cluster.status("one").unreadable == ()
    assert [row.key for row in cluster.status("one").lacking] == ["b"], "what was lost may outrank the new write"
    run(cluster)
    assert lacking_of(cluster, "one") == []
    assert copies(cluster, "one", lost) == 2
    assert [cluster.members[name].rows()[B].winner.value for name in ("one", "two")] == [b"new", b"new"]


def test_an_older_copy_in_its_place_does_not_end_the_lack() -> None:
    cluster = joined("one", "two", "three")
    cluster.write("one", Operation(B, b"old"))
    run(cluster, 4)
    old = cluster.members["three"].rows()[B]
    cluster.crash("three")
    cluster.write("one", Operation(B, b"new"))
    run(cluster, 2)
    storage = cluster.members["two"].storage
    cluster.crash("two")
    meet(cluster, "one", "b")
    cluster.tick("one")
    one = cluster.members["one"]
    transaction = one.storage.begin()
    one.driver.replica._store.take_in(transaction, USER, [RowCopy(B, old)], cluster.now_ms)
    one.driver.replica._store.save(transaction)
    transaction.commit()
    assert one.rows()[B].winner.value == b"old"
    assert lacking_of(cluster, "one") == [B]
    cluster.start("two", storage)
    cluster.introduce("one", "two")
    run(cluster)
    assert lacking_of(cluster, "one") == []
    assert one.rows()[B].winner.value == b"new"
    assert not one.driver.replica.tally.anomalies


def test_a_row_that_no_member_can_read_is_given_up_and_stays_named() -> None:
    cluster = joined("one", "two", "three")
    cluster.write("one", Operation(B, b"x"))
    run(cluster, 4)
    storage = cluster.members["three"].storage
    cluster.crash("three")
    for name in ("one", "two"):
        meet(cluster, name, "b")
    run(cluster)
    assert lacking_of(cluster, "one") == [B]
    storage.damage(USER, B, "damaged there too")
    cluster.start("three", storage)
    cluster.introduce("one", "two", "three")
    run(cluster, 20)
    for name in ("one", "two", "three"):
        assert lacking_of(cluster, name) == []
        assert [row.row for row in cluster.status(name).unreadable] == ["b"]
        assert len(events(cluster.members[name], "unreadable_row_held_by_no_one")) == 1
        assert not cluster.members[name].driver.replica.tally.anomalies
    meet(cluster, "one")
    cluster.members["one"].storage.unreadable[USER, at("absent")] = "lets the state be read again"
    cluster.tick("one")
    assert lacking_of(cluster, "one") == [], "what was found out stands"
    cluster.write("two", Operation(B, b"again"))
    cluster.settle()
    assert all(cluster.status(name).unreadable == () for name in ("one", "two", "three"))


def test_it_is_not_given_up_while_a_member_that_is_not_listed_may_have_it() -> None:
    cluster = joined("one", "two")
    cluster.write("one", Operation(B, b"x"))
    run(cluster, 4)
    cluster.crash("two")
    cluster.start("two")
    meet(cluster, "one", "b")
    for name in ("one", "two"):
        cluster.run(name, Discovered(tuple(map(endpoint_of, ("one", "two", "three")))))
    run(cluster)
    assert lacking_of(cluster, "one") == [B]
    for name in ("one", "two"):
        cluster.run(name, Discovered(tuple(map(endpoint_of, ("one", "two"))), frozenset(["one", "two"])))
    run(cluster)
    assert lacking_of(cluster, "one") == [], "it does not exist any more"


def test_where_there_is_no_other_member_it_is_given_up_in_the_next_round(alone: Cluster) -> None:
    meet(alone, "one", "b")
    alone.tick("one")
    assert lacking_of(alone, "one") == [B], "discovery may find others"
    alone.run("one", Discovered((endpoint_of("one"),)))
    run(alone, 2)
    assert lacking_of(alone, "one") == []
    assert [row.row for row in alone.status("one").unreadable] == ["b"]


def test_what_an_earlier_version_has_quarantined_is_lacking_from_the_start(cluster: Cluster) -> None:
    member = cluster.members["one"]
    cluster.crash("two")
    meet(cluster, "one", "b")
    cluster.tick("one")
    transaction = member.storage.begin()
    transaction.put_lacking(USER, {})
    transaction.commit()
    cluster.crash("one")
    cluster.start("one", member.storage)
    assert lacking_of(cluster, "one") == [B]


def test_a_row_of_sys_is_lacking_and_nothing_is_vouched_for_meanwhile(cluster: Cluster) -> None:
    run(cluster, 2)
    member, address = cluster.members["one"], address_of("members", b"two")
    two = cluster.members["two"].storage
    cluster.crash("two")
    damage(member, "two", SYSTEM, "members")
    with member.storage.view() as view:
        dict(view.rows(SYSTEM, b"", b"\x7f"))
    cluster.tick("one")
    assert lacking_of(cluster, "one", SYSTEM) == [address]
    cluster.start("two", two)
    cluster.introduce("one", "two")
    run(cluster)
    assert lacking_of(cluster, "one", SYSTEM) == []
    assert address in member.rows(SYSTEM)


def test_a_read_of_several_members_does_not_take_it_for_absent() -> None:
    cluster = joined("one", "two", "three")
    cluster.write("one", Operation(B, b"x"))
    run(cluster, 2)
    meet(cluster, "one", "b")
    meet(cluster, "two", "b")
    for name in ("one", "two"):
        cluster.tick(name)
        cluster.members[name].outbox.clear()
    cluster.run("one", Read(1, USER, B, 2))
    _, answer = cluster.deliver("one", "two")
    assert isinstance(answer, Envelope)
    reading = cluster.members["one"].driver.replica._direct._readings
    assert list(reading) == [1], "neither has what it acknowledged"
    run(cluster, 3)
    assert list(reading) == []
    assert cluster.members["one"].rows()[B].winner.value == b"x"


@pytest.mark.parametrize("reader", ["one", "two"])
def test_a_read_of_several_members_does_not_take_it_for_absent_though_it_is_given_up(reader: str) -> None:
    cluster = joined("one", "two")
    cluster.write("one", Operation(B, b"x"))
    run(cluster, 2)
    cluster.crash("two")
    cluster.start("two")
    meet(cluster, "one", "b")
    cluster.introduce("one", "two")
    run(cluster)
    assert lacking_of(cluster, "one") == lacking_of(cluster, "two") == []
    assert [row.row for row in cluster.status("one").unreadable] == ["b"]
    cluster.run(reader, Read(1, USER, B, 2, cluster.now_ms + 60_000))
    run(cluster, 3)
    cluster.now_ms += 60_000
    [late] = cluster.run(reader, Wake()).effects.resolved
    assert late.outcome == Found(None, {} if reader == "two" else {"two": cluster.members["two"].replica_id}, 1)
    cluster.write("one", Operation(B, b"new"))
    cluster.run(reader, Read(2, USER, B, 2))
    run(cluster, 3)
    last = cluster.members[reader].resolved[-1]
    assert (last.ticket, last.is_late) == (2, False), "it is over"


def test_watchers_are_told_it_when_it_is_back(cluster: Cluster) -> None:
    member = cluster.members["one"]
    replica = member.driver.replica
    with member.storage.view() as view:
        tail = Tail(view, USER)
    dot = member.rows()[B].winner.dot
    assert tail.position.covers(dot)
    replica.watch(is_watched=True)
    meet(cluster, "one", "b")
    batch = cluster.run("one", Tick())
    [changes] = [each for each in batch.effects.changes if each.shard == USER]
    with pytest.raises(WatchResetError):
        tail.take(changes)
    with member.storage.view() as view:
        tail.recover(view)
    assert not tail.position.covers(dot)
    told = []
    for _ in range(4):
        cluster.now_ms += 1_300
        batch = cluster.run("one", Tick())
        while (send := cluster.waiting("one", "two")) is not None:
            member.outbox.remove(send)
            [answer] = cluster.run("two", Received(sent(send.content))).outcomes
            assert isinstance(answer, Envelope)
            batch = cluster.run("one", Answered(send.exchange, sent(answer)))
            for changes in batch.effects.changes:
                if changes.shard == USER:
                    told += tail.take(changes) or []
    assert [each.address for each in told] == [B]
    assert tail.position.covers(dot)


def test_more_rows_than_a_message_names_are_all_lacking_and_no_range_is_covered_by_hearsay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("store.shard", "sync.gossip"):
        monkeypatch.setattr(f"gossipkv.core.{module}.LACKING_ROWS_MAX", 2)
    cluster = joined("one", "two", "three")
    storage = cluster.members["three"].storage
    cluster.crash("three")
    keys = [f"{number:02}" for number in range(12)]
    cluster.write("one", *[Operation(at(key), b"x") for key in keys])
    run(cluster)
    receipts = [receipt_of(cluster, "one", key) for key in keys]
    kept = cluster.members["two"].storage
    cluster.crash("two")
    meet(cluster, "one", *keys[:10])
    cluster.tick("one")
    assert lacking_of(cluster, "one") == [at(key) for key in keys[:10]]
    for name, disk in (("three", storage), ("four", None)):
        before = cluster.start(name, disk).context()
        cluster.introduce("one", name)
        run(cluster)
        assert set(cluster.members[name].rows()) == {at(key) for key in keys[10:]}
        assert cluster.members[name].context() == before
        assert cluster.status(name).is_ready
    assert {copies(cluster, "one", receipt) for receipt in receipts[:10]} == {1}, "that of the member that is down"
    cluster.start("two", kept)
    cluster.introduce("one", "two", "three", "four")
    run(cluster, 30)
    cluster.settle()
    for name in ("one", "two", "three", "four"):
        assert lacking_of(cluster, name) == []
        assert {at(key) for key in keys} <= set(cluster.members[name].rows())
        assert not cluster.members[name].driver.replica.tally.anomalies
    assert {copies(cluster, "one", receipt) for receipt in receipts} == {4}


def test_a_push_of_a_member_with_more_than_a_message_names_claims_what_lies_above(
    monkeypatch: pytest.MonkeyPatch, cluster: Cluster
) -> None:
    for module in ("store.shard", "sync.gossip"):
        monkeypatch.setattr(f"gossipkv.core.{module}.LACKING_ROWS_MAX", 2)
    run(cluster, 2)
    meet(cluster, "one", *KEYS)
    cluster.write("one", Operation(at("d"), b"x"))
    one, two = cluster.members["one"], cluster.members["two"]
    assert len(one.driver.replica.shards[USER].lacking) == 3
    cluster.flow()
    assert two.context() == one.context()
    assert lacking_of(cluster, "two") == []
