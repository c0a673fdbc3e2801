"""What a member writes before it has learned the settings of tables: nothing that any setting would forbid."""

from __future__ import annotations

from typing import Any

import pytest

from gossipkv.core.inputs import Discovered, Write
from gossipkv.core.model.address import SYSTEM, USER, address_of
from gossipkv.core.model.row import Conflicts, StoredRow
from gossipkv.core.model.write import CONTEXT_UNKNOWN, Declined, NotMatched, Operation, Result, StoredWrite
from gossipkv.core.store.storage import StorageFullError
from gossipkv.core.store.tables import TableSettings, settings_address
from gossipkv.storage.memory import MemoryStorage
from tests.core.cluster import Cluster, endpoint_of
from tests.core.disks import NOW_MS, Disk, at

KEPT, LAST = "kept", "last"
"""A table that keeps siblings, and one where the last write wins."""
BOOTSTRAP_MS = 10_000


def to(table: str, value: bytes | None, key: str = "k", **options: Any) -> Operation:
    return Operation(address_of(table, key.encode()), value, **options)


class World:
    """x0 and x1 keep siblings in one table. Others start while they reach neither of the two."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        for name in ("x0", "x1"):
            self.cluster.start(name)
        self.cluster.introduce("x0", "x1")
        self.cluster.settle()
        self.set_conflicts("x0", KEPT, Conflicts.SIBLINGS)
        self.cluster.settle()

    def set_conflicts(self, member: str, table: str, conflicts: Conflicts) -> None:
        settings = Operation(settings_address(table), TableSettings(conflicts).to_json())
        self.cluster.answer_to(member, Write(SYSTEM, (settings,)))

    def start_alone(self, name: str, storage: MemoryStorage | None = None) -> None:
        """Ready without having reached anyone."""
        self.cluster.start(name, storage)
        self.cluster.run(name, Discovered((endpoint_of("x0"), endpoint_of("x1"))))
        self.wait_until_ready(name)

    def wait_until_ready(self, *names: str) -> None:
        self.cluster.now_ms += BOOTSTRAP_MS + 1
        for name in names:
            for send in list(self.cluster.members[name].outbox):
                target = send.endpoint.removeprefix("memory://")
                if target in names:
                    self.cluster.deliver(name, target)
                else:
                    self.cluster.drop(name, target)
            self.cluster.tick(name)
        for name in names:
            assert self.cluster.members[name].driver.replica.is_ready

    def write(self, member: str, operation: Operation) -> Result:
        results = self.cluster.answer_to(member, Write(USER, (operation,)))
        assert isinstance(results, list)
        return results[0]

    def meet(self) -> None:
        self.cluster.introduce(*self.cluster.members)
        self.cluster.settle(200)

    def row(self, table: str, key: str = "k") -> StoredRow:
        rows = [member.rows().get(address_of(table, key.encode())) for member in self.cluster.members.values()]
        assert all(row is not None and row.versions == rows[0].versions for row in rows if rows[0] is not None)
        assert rows[0] is not None
        return rows[0]

    def values(self, table: str, key: str = "k") -> set[bytes | None]:
        return {version.value for version in self.row(table, key).versions}

    def found(self, table: str, key: str = "k") -> bytes | None:
        """What a reader finds where the last write wins."""
        return self.row(table, key).winner.value


def test_a_member_that_is_alone_wipes_no_siblings() -> None:
    world = World()
    world.write("x0", to(KEPT, b"one"))
    world.write("x1", to(KEPT, b"two"))
    world.cluster.settle()
    world.start_alone("x2")
    world.write("x2", to(KEPT, b"three"))
    world.meet()
    assert world.values(KEPT) == {b"one", b"two", b"three"}


def test_nor_do_two_newcomers_that_reach_only_each_other() -> None:
    world = World()
    world.write("x0", to(KEPT, b"one"))
    world.cluster.settle()
    for name in ("x2", "x3"):
        world.cluster.start(name)
        world.cluster.run(name, Discovered(tuple(map(endpoint_of, ("x0", "x1", "x2", "x3")))))
    for _ in range(3):
        world.cluster.now_ms += 1_000
        for name in ("x2", "x3"):
            world.cluster.tick(name)
        for name in ("x2", "x3"):
            for send in list(world.cluster.members[name].outbox):
                target = send.endpoint.removeprefix("memory://")
                (world.cluster.deliver if target in ("x2", "x3") else world.cluster.drop)(name, target)
    world.wait_until_ready("x2", "x3")
    world.write("x2", to(KEPT, b"three"))
    world.meet()
    assert world.values(KEPT) == {b"one", b"three"}


def test_a_member_that_was_away_when_the_setting_was_made_does_not_know_it_either() -> None:
    world = World()
    away = world.cluster.members["x1"].storage
    world.cluster.crash("x1")
    world.set_conflicts("x0", "later", Conflicts.SIBLINGS)
    world.write("x0", to("later", b"one"))
    world.start_alone("x1", away)
    world.write("x1", to("later", b"two"))
    world.meet()
    assert world.values("later") == {b"one", b"two"}


def test_a_setting_that_is_known_counts_at_once() -> None:
    world = World()
    world.set_conflicts("x0", LAST, Conflicts.LAST_WRITE_WINS)
    world.cluster.settle()
    storage = world.cluster.members["x1"].storage
    world.cluster.crash("x1")
    world.start_alone("x1", storage)
    world.write("x1", to(LAST, b"one"))
    assert not world.cluster.members["x1"].rows()[address_of(LAST, b"k")].keeps_siblings
    world.write("x1", to("other", b"one"))
    assert world.cluster.members["x1"].rows()[address_of("other", b"k")].keeps_siblings


def test_once_the_others_have_been_met_a_table_without_settings_is_known_to_have_none() -> None:
    world = World()
    world.start_alone("x2")
    world.meet()
    world.write("x2", to(LAST, b"one"))
    assert not world.cluster.members["x2"].rows()[address_of(LAST, b"k")].keeps_siblings


def test_a_fresh_cluster_knows_once_all_have_met() -> None:
    cluster = Cluster()
    for name in ("a", "b", "c"):
        cluster.start(name)
    cluster.introduce("a", "b", "c")
    cluster.settle()
    cluster.write("b", to(LAST, b"one"))
    assert not cluster.members["b"].rows()[address_of(LAST, b"k")].keeps_siblings


def test_what_a_failed_commit_took_back_is_not_known() -> None:
    world = World()
    world.cluster.start("x2")
    world.cluster.introduce("x0", "x1", "x2")
    world.cluster.settle()
    world.cluster.members["x2"].storage.fail_next_commit(StorageFullError("no room"))
    with pytest.raises(StorageFullError):
        world.write("x2", to("other", b"lost"))
    world.write("x2", to("other", b"one"))
    assert world.cluster.members["x2"].rows()[address_of("other", b"k")].keeps_siblings


@pytest.mark.parametrize("later", ["x0", "x2"])
@pytest.mark.parametrize("theirs", [b"theirs", None])
@pytest.mark.parametrize("ours", [b"ours", None])
def test_where_the_last_write_wins_it_wins(later: str, theirs: bytes | None, ours: bytes | None) -> None:
    world = World()
    world.cluster.start("x2")
    world.cluster.introduce("x0", "x1", "x2")
    world.cluster.settle()
    world.write("x0", to(LAST, b"before"))
    world.cluster.settle()
    storage = world.cluster.members["x2"].storage
    world.cluster.crash("x2")
    world.start_alone("x2", storage)
    writes = [("x2", ours), ("x0", theirs)] if later == "x0" else [("x0", theirs), ("x2", ours)]
    for member, value in writes:
        world.cluster.now_ms += 10
        world.write(member, to(LAST, value))
    world.meet()
    assert world.found(LAST) == writes[-1][1]
    put = world.write("x1", to(LAST, b"after", if_absent=True))
    assert isinstance(put, NotMatched if writes[-1][1] is not None else StoredWrite)
    world.write("x1", to(LAST, b"after"))
    world.meet()
    assert world.values(LAST) == {b"after"}


def test_what_expires_is_gone_where_the_last_write_wins() -> None:
    world = World()
    world.start_alone("x2")
    world.write("x0", to(LAST, b"theirs"))
    world.cluster.now_ms += 10
    world.write("x2", to(LAST, b"ours", ttl_ms=5_000))
    world.meet()
    world.cluster.now_ms += 6_000
    world.cluster.tick("x2")
    world.meet()
    assert world.found(LAST) is None


def test_the_writes_of_a_member_alone_replace_each_other_and_stand_beside_all_others() -> None:
    world = World()
    world.write("x0", to(KEPT, b"one"))
    world.cluster.settle()
    read = world.row(KEPT).seen
    world.start_alone("x2")
    world.write("x2", to(KEPT, b"two"))
    declined = world.write("x2", to(KEPT, b"what was read elsewhere", seen=read))
    assert isinstance(declined, Declined)
    assert declined.reason == CONTEXT_UNKNOWN
    world.write("x2", to(KEPT, b"three"))
    world.meet()
    assert world.values(KEPT) == {b"one", b"three"}


def test_clients_of_a_member_alone_are_answered_as_where_the_last_write_wins() -> None:
    alone, single = Disk(1, knows_settings=False), Disk(1)
    steps: list[Operation] = [
        Operation(at("k"), b"one"),
        Operation(at("k"), b"two", if_absent=True),
        Operation(at("k"), b"two", if_match=("0000000000000001-1",)),
        Operation(at("k"), b"three", if_match=("0000000000000001-1",)),
        Operation(at("k"), None),
        Operation(at("k"), None, if_match=("*",)),
        Operation(at("k"), b"four", if_absent=True),
        Operation(at("other"), None),
        *[Operation(at("k"), b"%d" % number) for number in range(70)],
        Operation(at("k"), b"short", ttl_ms=5),
    ]
    for step in steps:
        ours, theirs = alone.do(step), single.do(step)
        assert type(ours) is type(theirs)
        assert not isinstance(ours, Declined)
        if isinstance(ours, StoredWrite) and isinstance(theirs, StoredWrite):
            assert ours[:3] == theirs[:3]
            assert ours.row.etag == theirs.row.etag
    assert alone.shard.tables == single.shard.tables
    with alone.committing() as transaction:
        alone.store.expire(transaction, USER, at("k"), NOW_MS + 5)
    assert not alone.rows()[at("k")].is_visible
