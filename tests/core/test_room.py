"""Members without room: what is refused, what goes on, how long they wait, and how they come back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pytest

from gossipkv.core.inputs import Await, Discovered, Inspect, Received, Tick, Wake, Write
from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Dot
from gossipkv.core.model.room import NO_ROOM, Room, Usage, room_of
from gossipkv.core.model.write import Declined, Operation, StoredWrite
from gossipkv.core.protocol.messages import Delta, Digest, Envelope, FetchValue, Pull, Range, RowCopy, WalkBegin
from gossipkv.core.replica import Replica
from gossipkv.core.status import ReplicaStatus
from gossipkv.core.store.shortage import Shortage
from gossipkv.core.store.storage import Identity, PutDelayedError, StorageError, StorageFullError
from gossipkv.core.waits.answers import Coverage, Receipt
from gossipkv.simulation.world.disk import Disk
from gossipkv.storage.lmdb import LmdbStorage
from gossipkv.storage.memory import MemoryStorage, MemoryTransaction
from tests.core.cluster import Cluster, endpoint_of
from tests.core.disks import at

CAPACITY = 100 * 2**30
AMPLE, SCARCE, SPENT = (Usage(share * CAPACITY // 100, CAPACITY) for share in (10, 80, 97))
MIB = 2**20


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    for name in "ab":
        cluster.start(name)
    cluster.introduce("a", "b")
    cluster.settle()
    return cluster


def put(key: str, value: bytes = b"value") -> Operation:
    return Operation(at(key), value)


def delete(key: str) -> Operation:
    return Operation(at(key), None)


def pass_seconds(cluster: Cluster, seconds: int, deliveries_max: int = 50) -> list[Envelope]:
    """Let time pass; returns the requests that were carried. Fails if members never come to rest within a second."""
    asked = []
    for _ in range(seconds):
        cluster.now_ms += 1_000
        for name in sorted(cluster.members):
            cluster.tick(name)
        for _ in range(deliveries_max):
            for member in cluster.members.values():
                asked += [send.content for send in member.outbox]
            if not cluster.flow():
                break
        else:
            raise AssertionError("the members never come to rest")
    return asked


def fetches(asked: list[Envelope], member: str) -> int:
    """How often a member has begun to ask for rows of the users."""
    return sum(
        isinstance(message, Pull | WalkBegin) and message.shard == USER
        for envelope in asked
        for message in envelope.messages
        if envelope.member == member
    )


# Levels


def test_each_level_begins_with_less_room_and_ends_with_more() -> None:
    assert [room_of(usage, 0, Room.AMPLE) for usage in (AMPLE, SCARCE, SPENT)] == [Room.AMPLE, Room.SCARCE, Room.SPENT]
    just_above = Usage(CAPACITY * 74 // 100, CAPACITY)
    assert room_of(just_above, 0, Room.AMPLE) is Room.AMPLE
    assert room_of(just_above, 0, Room.SCARCE) is Room.SCARCE, "a level does not come and go"


def test_the_reserve_grows_with_the_rows_that_may_have_to_be_deleted() -> None:
    half = Usage(CAPACITY // 2, CAPACITY)
    assert room_of(half, 0, Room.AMPLE) is Room.AMPLE
    assert room_of(half, CAPACITY // 3 // 80, Room.AMPLE) is Room.SCARCE


def test_a_small_storage_has_a_reserve_in_bytes() -> None:
    assert room_of(Usage(13 * MIB, 16 * MIB), 0, Room.AMPLE) is Room.SCARCE
    assert room_of(Usage(int(14.5 * MIB), 16 * MIB), 0, Room.AMPLE) is Room.SPENT


# What is refused, and what goes on


@pytest.mark.parametrize("usage", [SCARCE, SPENT])
def test_puts_are_refused_line_by_line_and_deletes_stand(cluster: Cluster, usage: Usage) -> None:
    cluster.write("a", put("one"), put("two"))
    cluster.members["a"].storage.usage = usage
    [results] = cluster.run("a", Write(USER, (put("new"), delete("one"), put("two"), delete("two")))).outcomes
    assert [type(result) for result in cast("list[Any]", results)] == [Declined, StoredWrite, Declined, StoredWrite]
    assert cast("list[Any]", results)[0].reason == NO_ROOM
    [single] = cluster.run("a", Write(USER, (put("new"),))).outcomes
    assert isinstance(single, StorageFullError)
    assert "enlarge the volumes" in str(single)
    assert cluster.status("a").tally.puts_refused == 3


def test_the_members_own_rows_are_written_whatever_room_there_is(cluster: Cluster) -> None:
    cluster.members["a"].storage.usage = SPENT
    settings = Operation(address_of("tables", b"t"), b'{"conflicts": "siblings"}')
    [[written]] = cast("list[list[object]]", cluster.run("a", Write(SYSTEM, (settings,))).outcomes)
    assert isinstance(written, StoredWrite)
    cluster.members["b"].storage.usage = SPENT
    cluster.settle()
    assert settings.address in cluster.members["b"].rows(SYSTEM)


def test_no_member_takes_a_put_while_another_one_has_no_room_for_it(cluster: Cluster) -> None:
    cluster.members["b"].storage.usage = SCARCE
    pass_seconds(cluster, 3)
    [refused] = cluster.run("a", Write(USER, (put("row"),))).outcomes
    assert isinstance(refused, StorageFullError)
    assert "b has no room" in str(refused)
    assert cluster.status("a").room.crowded == ("b",)
    cluster.members["b"].storage.usage = AMPLE
    pass_seconds(cluster, 3)
    cluster.write("a", put("row"))
    events = cluster.members["a"].events()
    assert [events.count(event) for event in ("peers_short_of_room", "peers_have_room_again")] == [1, 1]


def test_a_member_without_room_takes_deletions_and_no_values(cluster: Cluster) -> None:
    cluster.write("a", put("old"))
    cluster.settle()
    b = cluster.members["b"]
    b.storage.usage = SPENT
    cluster.write("a", put("new"))
    pass_seconds(cluster, 5)
    assert at("new") not in b.rows()
    assert not cluster.has_converged("ab"), "what did not fit is not covered"
    cluster.write("a", delete("old"))
    cluster.flow()
    assert b.rows()[at("old")].winner.is_tombstone, "what makes room does not wait"
    b.storage.usage = AMPLE
    cluster.settle()
    assert at("new") in b.rows()


def test_a_delete_of_a_row_that_is_not_here_takes_no_room_from_one_that_is(cluster: Cluster) -> None:
    cluster.write("a", put("here"))
    cluster.members["a"].storage.usage = SPENT
    [results] = cluster.run("a", Write(USER, (delete("elsewhere"), delete("here")))).outcomes
    assert [type(result) for result in cast("list[Any]", results)] == [Declined, StoredWrite]


def test_the_log_says_once_that_room_is_short_and_once_that_it_is_not(cluster: Cluster) -> None:
    a = cluster.members["a"]
    for usage in (SCARCE, AMPLE):
        a.storage.usage = usage
        for number in range(5):
            cluster.run("a", Write(USER, (put(f"{number}"),)))
        pass_seconds(cluster, 2)
    assert [a.events().count(event) for event in ("storage_short_of_room", "storage_has_room_again")] == [1, 1]
    assert cluster.status("a").room.room == "ample"


# How long it waits


def full(name: str) -> Disk:
    disk = Disk(name, lambda _: None)
    transaction = disk.begin()
    transaction.put_identity(Identity("test", name, 7, 0))
    transaction.commit()
    return disk


def test_a_batch_that_fails_later_makes_the_log_say_nothing_twice(cluster: Cluster) -> None:
    storage = cluster.members["a"].storage
    storage.usage = SCARCE
    told = [notice.event for notice in cluster.run("a", Tick()).effects.notices]
    for _ in range(3):
        # The batch fails before there is anything to say.
        with patch.object(Replica, "finish", side_effect=StorageError("a bad day")):
            cluster.run("a", Tick())
        told += [notice.event for notice in cluster.run("a", Tick()).effects.notices]
    assert told.count("storage_short_of_room") == 1


def test_a_member_without_any_room_asks_for_rows_less_and_less_often_and_goes_on_comparing() -> None:
    cluster = Cluster()
    cluster.start("a")
    disk = full("b")
    b = cluster.start("b", disk)
    cluster.introduce("a", "b")
    cluster.settle()
    disk.is_full = True
    cluster.write("a", *(put(f"row{number}") for number in range(50)))
    asked = pass_seconds(cluster, 120)
    assert 3 <= fetches(asked, "b") <= 20, "pauses double up to 30 s, whatever else is answered"
    pushed = sum(isinstance(m, Delta) and bool(m.rows) for e in asked if e.member == "a" for m in e.messages)
    assert pushed <= 20
    digests = sum(isinstance(m, Digest) for e in asked if e.member == "b" for m in e.messages)
    assert digests > 60, "comparisons go on"
    begun = [notice for notice in b.notices if notice.event == "rows_do_not_fit"]
    assert [notice.fields["peer"] for notice in begun] == ["a"]
    assert cluster.status("b").room.waiting == ("a",)
    disk.is_full = False
    cluster.settle()
    assert len(b.rows()) == 50
    pass_seconds(cluster, 5)
    assert b.events().count("rows_fit_again") == 1
    assert cluster.status("b").room.waiting == ()


def test_a_range_whose_rows_are_held_already_does_not_fit_either(cluster: Cluster) -> None:
    """The context that would cover it is stored too. Such a range was asked for again at once, without end."""
    a, b = cluster.members["a"], cluster.members["b"]
    part = Delta(USER, {a.replica_id: Range(0, 1)}, ())
    answer = Envelope("test", "a", a.replica_id, 1, cluster.now_ms, (part,))
    b.driver.replica.note_too_big([answer], cluster.now_ms, has_ticked=False)
    assert cluster.status("b").room.waiting == ("a",)


def test_a_member_without_any_room_fetches_a_large_row_less_and_less_often() -> None:
    cluster = Cluster()
    cluster.start("a", whole_row_bytes_max=1_000)
    disk = full("b")
    b = cluster.start("b", disk, whole_row_bytes_max=1_000)
    cluster.introduce("a", "b")
    cluster.settle()
    disk.is_full = True
    cluster.write("a", put("large", bytes(5_000)))
    asked = pass_seconds(cluster, 120)
    fetched = sum(isinstance(m, FetchValue) for e in asked if e.member == "b" for m in e.messages)
    assert 3 <= fetched <= 100, "of five fragments each, after pauses that double up to 30 s"
    assert cluster.status("b").room.waiting == ("a",)
    disk.is_full = False
    cluster.settle()
    assert list(b.rows()) == [at("large")]


def test_a_member_that_lacks_rows_for_want_of_room_is_not_ready() -> None:
    cluster = Cluster()
    cluster.start("a", bootstrap_timeout_ms=1)
    cluster.introduce("a")
    cluster.now_ms += 10
    cluster.tick("a")
    cluster.write("a", put("row"))
    storage = MemoryStorage()
    storage.usage = SPENT
    cluster.start("b", storage)
    cluster.introduce("a", "b")
    pass_seconds(cluster, 30)
    assert not cluster.status("b").is_ready
    storage.usage = AMPLE
    cluster.settle()
    pass_seconds(cluster, 5)
    assert cluster.status("b").is_ready


# What does not fit into one transaction


class Cramped(MemoryStorage):
    """A storage whose transactions fail after so many puts, or on a row."""

    puts_max = 10**9
    too_big: bytes | None = None

    def begin(self) -> MemoryTransaction:
        super().begin()
        self._transaction = transaction = _CrampedTransaction(self, self.revision + 1)
        return transaction


class _CrampedTransaction(MemoryTransaction):
    __slots__ = ("_puts",)

    def _put(self, name: tuple[str, str], key: Any, value: Any) -> None:
        assert isinstance(self._storage, Cramped)
        self._puts = getattr(self, "_puts", 0) + 1
        if self._puts > self._storage.puts_max or (name[0] == "rows" and key == self._storage.too_big):
            raise StorageFullError("no room for so much")
        super()._put(name, key, value)


@pytest.fixture
def cramped(cluster: Cluster) -> Cluster:
    """Member c, with room for a few rows in one transaction."""
    storage = Cramped()
    transaction = storage.begin()
    transaction.put_identity(Identity("test", "c", 3, 0))
    transaction.commit()
    cluster.start("c", storage)
    cluster.introduce("a", "b", "c")
    cluster.settle()
    storage.puts_max = 40
    return cluster


def test_a_write_that_does_not_fit_is_divided(cramped: Cluster) -> None:
    [results] = cramped.run("c", Write(USER, tuple(put(f"{number}") for number in range(100)))).outcomes
    assert all(isinstance(result, StoredWrite) for result in cast("list[object]", results))
    cramped.settle()
    assert len(cramped.members["a"].rows()) == 100


def test_rows_that_do_not_fit_at_once_come_in_pieces_and_take_nothing_else_with_them(cramped: Cluster) -> None:
    cramped.write("a", *(put(f"{number}", b"theirs") for number in range(60)))
    c = cramped.members["c"]
    send = cramped.waiting("a", "c")
    assert send is not None
    own = Operation(address_of(MEMBERS_TABLE, b"other"), b"{}")
    pushed, system, deleted, said = cramped.run(
        "c", Received(send.content), Write(SYSTEM, (own,)), Write(USER, (delete("x"),)), Inspect()
    ).outcomes
    assert isinstance(pushed, Envelope)
    assert isinstance(system, list)
    assert isinstance(deleted, list)
    assert isinstance(said, ReplicaStatus)
    assert sum(row.is_visible for row in c.rows().values()) == 60
    cramped.settle()


def test_one_row_that_fits_in_no_way_holds_back_itself_alone(cramped: Cluster) -> None:
    c = cramped.members["c"]
    assert isinstance(c.storage, Cramped)
    c.storage.too_big = at("big")
    cramped.write("a", put("big"))
    pass_seconds(cramped, 20)
    for name in "ab":
        cramped.write(name, *(put(f"{name}{number}") for number in range(3)))
    pass_seconds(cramped, 3)
    assert len(c.rows()) == 6, "others do not wait"
    assert at("big") not in c.rows()
    c.storage.too_big = None
    cramped.settle()
    assert at("big") in c.rows()


def test_ticks_go_on_where_what_they_have_to_write_does_not_fit(cramped: Cluster) -> None:
    cramped.write("c", *(Operation(at(f"{number}"), b"v", ttl_ms=1) for number in range(5)))
    cramped.settle()
    c = cramped.members["c"]
    assert isinstance(c.storage, Cramped)
    c.storage.puts_max = 0
    asked = pass_seconds(cramped, 20)
    assert any(envelope.member == "c" for envelope in asked), "it goes on comparing"
    c.storage.puts_max = 40
    pass_seconds(cramped, 60)
    assert not any(row.is_visible for row in c.rows().values()), "what has expired is deleted once there is room"


# On LMDB


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Cluster]:
    """Two members on maps of the least size, who do not know each other."""
    cluster = Cluster()
    storages = []
    for number, name in enumerate("ab"):
        storage = LmdbStorage(tmp_path / name, 16 * MIB)
        storages.append(storage)
        transaction = storage.begin()
        transaction.put_identity(Identity("test", name, number + 1, 0))
        transaction.commit()
        cluster.start(name, storage, retry_ms_max=8_000, tombstone_age_ms_min=2_000, message_life_ms=500)
    yield cluster
    for storage in storages:
        storage.close()


def commits(cluster: Cluster, name: str) -> int:
    with cluster.members[name].disk.view() as view:
        return view.revision()


def test_what_writes_nothing_commits_nothing(small: Cluster) -> None:
    small.introduce("a", "b")
    small.settle()
    before = commits(small, "a")
    small.run("a", Tick(), Inspect(), Discovered((endpoint_of("b"),)))
    assert commits(small, "a") == before


def fill(cluster: Cluster, name: str) -> list[bytes]:
    """Put short rows at a member until it refuses; returns their addresses."""
    stored: list[bytes] = []
    for batch in range(200):
        operations = [
            Operation(at(f"{name}{(batch * 1_000 + n) * 7919 % 1_000_003}"), bytes(400)) for n in range(1_000)
        ]
        [results] = cluster.run(name, Write(USER, tuple(operations))).outcomes
        pairs = zip(operations, cast("list[object]", results), strict=True)
        written = [operation.address for operation, result in pairs if isinstance(result, StoredWrite)]
        stored += written
        if len(written) < len(operations):
            return stored
    raise AssertionError("the storage never runs full")


def test_members_filled_apart_come_to_rest_and_take_all_deletes(small: Cluster) -> None:
    stored = {name: fill(small, name) for name in "ab"}
    small.introduce("a", "b")
    assert all(len(rows) > 8_000 for rows in stored.values())
    pass_seconds(small, 8, deliveries_max=400)
    quiet = {name: commits(small, name) for name in "ab"}
    asked = pass_seconds(small, 12, deliveries_max=100)
    for name in "ab":
        assert small.status(name).room.room == "spent"
        assert fetches(asked, name) < 12
        assert commits(small, name) == quiet[name]
    deletes = tuple(Operation(address, None) for address in stored["a"])
    [results] = small.run("a", Write(USER, deletes)).outcomes
    assert all(isinstance(result, StoredWrite) for result in cast("list[object]", results))


def test_an_envelope_says_how_much_room_its_sender_has(cluster: Cluster) -> None:
    cluster.members["a"].storage.usage = SPENT
    cluster.tick("a")
    answer = cluster.answer_to("a", Received(Envelope("test", "b", 2, 0, cluster.now_ms, ())))
    assert isinstance(answer, Envelope)
    assert answer.room is Room.SPENT


def test_rows_that_do_not_fit_are_counted_by_their_reason(cluster: Cluster) -> None:
    cluster.write("a", put("row"))
    [(address, row)] = cluster.members["a"].rows().items()
    cluster.members["b"].storage.usage = SPENT
    envelope = cluster.waiting("a", "b")
    assert envelope is not None
    assert RowCopy(address, row) in next(m for m in envelope.content.messages if isinstance(m, Delta)).rows
    cluster.deliver("a", "b")
    assert cluster.status("b").tally.rows_refused[NO_ROOM] == 1


def test_rows_on_their_way_count_as_used(cluster: Cluster) -> None:
    """Members that take puts faster than they bring them to each other would fill up with different rows."""
    a = cluster.members["a"]
    cluster.write("a", *(put(f"{number}") for number in range(100)))
    a.storage.usage = Usage(65 * 2**20, 100 * 2**20)
    [delayed] = cluster.run("a", Write(USER, (put("more"),))).outcomes
    assert isinstance(delayed, PutDelayedError)
    [results] = cluster.run("a", Write(USER, (put("more"), delete("1")))).outcomes
    assert [type(result) for result in cast("list[Any]", results)] == [Declined, StoredWrite]
    cluster.settle()
    cluster.write("a", put("more"))


def test_a_wait_that_ends_in_a_batch_that_does_not_fit_is_told_how_it_stands(cramped: Cluster) -> None:
    cramped.run("c", Await(2, 3, Receipt(USER, Dot(1, 99)), deadline_ms=cramped.now_ms + 1))
    big = Write(USER, tuple(put(f"{number}") for number in range(100)))
    cramped.now_ms += 1
    batch = cramped.run("c", big)
    [told] = batch.effects.resolved
    assert isinstance(told.outcome, Coverage)
    assert isinstance(batch.outcomes[0], list)
    assert cramped.run("c", Wake()).effects.resolved == []


def test_only_values_that_found_room_end_the_pause_of_pushes() -> None:
    cluster = Cluster()
    for name in ("a", "b"):
        cluster.start(name)
    cluster.introduce("a", "b")
    cluster.settle()
    a = cluster.members["a"]
    [peer] = a.driver.replica.peers
    peer.conversation.pushes.failed(cluster.now_ms, 3_000, 60_000, random.Random(1))
    for _ in range(2):
        cluster.now_ms += 1_000
        cluster.tick("a")
        while cluster.flow():
            pass
    assert peer.conversation.pushes.failures == 1, "what was answered were comparisons"
    cluster.now_ms += 10_000
    cluster.write("a", Operation(address_of("t", b"row"), b"value"))
    cluster.settle()
    assert peer.conversation.pushes.failures == 0


def test_the_report_says_since_when_the_level_told_last_has_been_reached() -> None:
    shortage = Shortage(1_000)
    assert shortage.status([], [], 1_400).since_ms == 400
    shortage.tell(Room.SCARCE, [], [], 1_500)
    assert (shortage.status([], [], 1_700).room, shortage.status([], [], 1_700).since_ms) == ("scarce", 200)
    assert shortage.status([], [], 1_400).since_ms == 0, "the clock was set back"
