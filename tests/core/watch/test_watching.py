"""What watchers are told, step by step, over storage in memory."""

from __future__ import annotations

import pytest

from gossipkv.core.inputs import FollowChanges, Write
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.fingerprint import leaf_of
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.store.changes import Changes
from gossipkv.core.store.storage import ShardRecord, UnreadableRowError
from gossipkv.core.watch.watch_position import WatchPosition
from gossipkv.core.watch.watching import (
    LOOSE_ROWS_MAX,
    RECOVERY_BATCHES,
    CatchUp,
    ResumeState,
    Snapshot,
    Tail,
    WatchEvent,
    WatchResetError,
    standing,
)
from gossipkv.storage.memory import MemoryStorage
from tests.core.cluster import Cluster

USR = "usr"
A, B = 1, 2


def row(*dots: tuple[int, int], context: dict[int, int] | None = None, value: bytes | None = b"v") -> StoredRow:
    versions = tuple(Version(Dot(*dot), 100 - place, value, None, 0) for place, dot in enumerate(dots))
    return StoredRow(versions, Context(context or dict(dots)))


class Replica:
    """A storage in which rows stand, and what each commit to it changed."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()

    def commit(self, context: dict[int, int], **rows: StoredRow) -> Changes:
        transaction = self.storage.begin()
        stored = {b"t\0" + key.encode(): row for key, row in rows.items()}
        for address, new in stored.items():
            old = transaction.row(USR, address)
            for entry in old.context.items() if old else ():
                transaction.delete_journal(USR, *entry, address)
            for entry in new.context.items():
                transaction.put_journal(USR, *entry, address)
            transaction.put_row(USR, address, new, leaf_of(address), is_new=old is None)
        transaction.put_shard_record(USR, ShardRecord(Context(context), Context()))
        changes = Changes(USR, transaction.revision(), stored, Context(context))
        transaction.commit()
        return changes

    def tail(self, ahead_rows_max: int = 100) -> Tail:
        with self.storage.view() as view:
            return Tail(view, USR, ahead_rows_max)

    def standing(self, event_id: str, tail: Tail) -> ResumeState:
        position = WatchPosition.of_event(event_id)
        assert position is not None
        with self.storage.view() as view:
            return standing(view, USR, position, tail)

    def caught_up(self, event_id: str, tail: Tail) -> list[WatchEvent]:
        position = WatchPosition.of_event(event_id)
        assert position is not None
        reading = CatchUp(position, tail.position, b"t\0")
        told = []
        with self.storage.view() as view:
            while not reading.is_finished:
                told += reading.page(view, USR)
        assert reading.position is tail.position
        return told


def keys(told: list[WatchEvent] | None) -> list[bytes]:
    assert told is not None
    return [one.address.removeprefix(b"t\0") for one in told]


def test_a_row_ahead_of_the_context_is_told_when_it_comes_and_not_when_it_is_covered() -> None:
    replica = Replica()
    tail = replica.tail()
    told = tail.take(replica.commit({A: 1}, x=row((B, 5))))
    assert keys(told) == [b"x"]
    assert told is not None
    assert replica.caught_up(told[0].event_id, tail) == []
    assert tail.take(replica.commit({A: 1, B: 5}, y=row((B, 4)))) != []
    assert tail.position.dots == set()
    assert keys(replica.caught_up(told[0].event_id, tail)) == [b"y"]


def test_a_watch_goes_on_only_where_what_was_told_is_held_or_superseded() -> None:
    replica, other = Replica(), Replica()
    tail = replica.tail()
    told = tail.take(replica.commit({A: 1}, x=row((B, 5))))
    assert told is not None
    event_id = told[0].event_id
    other.commit({A: 1})
    assert other.standing(event_id, other.tail()) is ResumeState.AHEAD
    other.commit({A: 1}, z=row((B, 6)))
    assert other.standing(event_id, other.tail()) is ResumeState.AHEAD
    other.commit({A: 2}, x=row((A, 2), context={A: 2, B: 5}))
    assert other.standing(event_id, other.tail()) is ResumeState.HELD
    assert keys(other.caught_up(event_id, other.tail())) == [b"z", b"x"] or keys(
        other.caught_up(event_id, other.tail())
    ) == [b"x", b"z"]


def test_a_row_ahead_of_the_context_that_cannot_be_read_any_more_is_not_taken_to_have_been_sent() -> None:
    """A watcher that begins meanwhile is not sent it. When a peer brings the same write back, it is news."""
    replica = Replica()
    tail = replica.tail()
    tail.take(replica.commit({A: 1}, x=row((B, 5))))
    gone = replica.commit({A: 1})._replace(unreadable=frozenset([b"t\0x"]))
    with pytest.raises(WatchResetError):
        tail.take(gone)
    assert tail.is_recovery_due


def test_a_version_below_a_covered_write_of_its_own_origin_is_found() -> None:
    """The journal names a row by its greatest sequence alone, which may lie ahead of the context."""
    replica = Replica()
    replica.commit({A: 1, B: 3}, x=row((B, 3), (A, 1), context={A: 1, B: 9}))
    assert keys(replica.caught_up(WatchPosition(Context({A: 1})).event_id(), replica.tail())) == [b"x"]


def test_a_batch_that_breaks_off_anywhere_is_gone_on_from_with_the_rest() -> None:
    replica = Replica()
    tail = replica.tail()
    count = 3 * LOOSE_ROWS_MAX
    rows = {f"k{number}": row((A + number % 2, number + 1)) for number in range(count)}
    told = tail.take(replica.commit({A: count, B: count - 7}, **rows))
    assert told is not None
    assert len(told) == count
    for place, one in enumerate(told):
        assert set(keys(replica.caught_up(one.event_id, tail))) == set(keys(told[place + 1 :]))


def test_what_a_tail_has_read_at_its_start_is_not_told_by_batches_from_before() -> None:
    replica = Replica()
    first = replica.commit({A: 1}, x=row((A, 1)))
    second = replica.commit({A: 2}, x=row((A, 2)))
    tail = replica.tail()
    assert tail.take(first) == []
    assert tail.take(second) == []


def test_too_many_rows_ahead_of_the_context_are_told_when_they_are_covered_or_few() -> None:
    replica = Replica()
    tail = replica.tail(ahead_rows_max=1)
    assert keys(tail.take(replica.commit({A: 1}, x=row((B, 5))))) == [b"x"]
    with pytest.raises(WatchResetError):
        tail.take(replica.commit({A: 1}, y=row((B, 6))))
    event_id = tail.position.event_id()
    with replica.storage.view() as view:
        assert Snapshot(tail.position, b"t\0", 0).page(view, USR) == []
    assert tail.take(replica.commit({A: 1, B: 5})) is None
    assert keys(replica.caught_up(event_id, tail)) == [b"x"]
    event_id = tail.position.event_id()
    for number in range(1, RECOVERY_BATCHES):
        assert not tail.is_recovery_due, f"{number} batches have passed since it lost track"
        tail.take(replica.commit({A: 1, B: 5}))
    assert tail.is_recovery_due
    with replica.storage.view() as view:
        tail.recover(view)
    assert keys(replica.caught_up(event_id, tail)) == [b"y"]


def test_a_tail_that_meets_an_unreadable_row_while_it_recovers_is_still_to_recover() -> None:
    replica = Replica()
    tail = replica.tail(ahead_rows_max=1)
    tail.take(replica.commit({A: 1}, x=row((B, 5))))
    with pytest.raises(WatchResetError):
        tail.take(replica.commit({A: 1}, y=row((B, 6))))
    for _ in range(RECOVERY_BATCHES):
        tail.take(replica.commit({A: 1, B: 5}))
    position = tail.position
    replica.storage.damage(USR, b"t\0y", "damaged")
    with replica.storage.view() as view, pytest.raises(UnreadableRowError):
        tail.recover(view)
    assert tail.position is position
    assert tail.is_recovery_due


def test_a_context_that_went_back_makes_watchers_begin_anew() -> None:
    replica = Replica()
    replica.commit({A: 3}, x=row((A, 3)))
    tail = replica.tail()
    with pytest.raises(WatchResetError):
        tail.take(replica.commit({A: 1}))
    assert tail.is_recovery_due


def test_a_snapshot_tells_rows_that_have_not_expired() -> None:
    replica = Replica()
    expiring = StoredRow((Version(Dot(A, 1), 1, b"v", expires_ms=50),), Context({A: 1}))
    replica.commit({A: 2}, x=expiring, y=row((A, 2), value=None))
    for now_ms, expected in ((49, [b"x"]), (50, [])):
        with replica.storage.view() as view:
            assert keys(Snapshot(replica.tail().position, b"t\0", now_ms).page(view, USR)) == expected


def test_a_watcher_that_comes_later_takes_no_changes_of_its_batch_from_the_others() -> None:
    cluster = Cluster()
    cluster.start("a")
    cluster.run("a", FollowChanges(is_watched=True))
    address = address_of("t", b"row")
    batch = cluster.run("a", Write(USER, (Operation(address, b"value"),)), FollowChanges(is_watched=True))
    assert [list(changes.rows) for changes in batch.effects.changes if changes.shard == USER] == [[address]]
