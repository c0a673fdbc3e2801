"""How watchers catch up: page by page, in which order, and where each event leaves them."""

from __future__ import annotations

import pytest

from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.protocol.base import Base
from gossipkv.core.store.changes import Changes
from gossipkv.core.watch import watching
from gossipkv.core.watch.watch_position import WatchPosition
from gossipkv.core.watch.watching import (
    EXAMINED_PER_PAGE,
    LOOSE_ROWS_MAX,
    RECOVERY_BATCHES,
    CatchUp,
    ResumeState,
    Snapshot,
    WatchEvent,
    WatchResetError,
    _in_order,
    _Running,
    end_of_prefix,
)
from tests.core.watch.test_watching import USR, A, B, Replica, keys, row

C = 3
PREFIX = b"t\0"


def position(context: dict[int, int], *dots: tuple[int, int]) -> WatchPosition:
    return WatchPosition(Context(context), [Dot(*dot) for dot in dots])


def pages(replica: Replica, reading: CatchUp | Snapshot) -> list[list[bytes]]:
    """The keys of each page until the last."""
    found = []
    with replica.storage.view() as view:
        while not reading.is_finished:
            found.append(keys(reading.page(view, USR)))
    return found


# In which order.


def test_rows_of_a_batch_come_by_the_first_of_their_writes_that_is_newly_covered() -> None:
    rows = {
        b"ahead": row((C, 9)),
        b"late": row((A, 7), context={A: 7, B: 1}),
        b"early": row((B, 3), context={A: 4, B: 3}),
        b"of b": row((B, 5)),
        b"told": row((A, 2)),
        b"of c": row((C, 1), context={A: 1, C: 1}),
    }
    before, after = position({A: 2, B: 1}), position({A: 7, B: 5, C: 2}, (C, 9))
    told = _in_order(before, after, rows)
    assert [one.address for one in told] == [b"early", b"late", b"of b", b"of c", b"ahead"]
    assert told[-1].event_id == after.event_id()
    assert [WatchPosition.of_event(one.event_id) is not None for one in told] == [True] * 5
    assert _in_order(before, after, {}) == []


def test_rows_ahead_of_the_context_come_last_by_the_write_that_wins() -> None:
    rows = {b"x": row((C, 9)), b"y": row((B, 9)), b"z": row((C, 8))}
    told = _in_order(position({}), position({}, (C, 9), (B, 9), (C, 8)), rows)
    assert [one.address for one in told] == [b"y", b"z", b"x"]


# Where each event leaves a watcher.


def test_the_position_within_a_catch_up_names_few_rows_and_then_covers_what_comes_before() -> None:
    through = position({A: 100, B: 50, C: 7})
    running = _Running(position({}), through)
    for number in range(LOOSE_ROWS_MAX):
        running.tell(row((B, number + 1)), Dot(B, number + 1))
    assert running.position.context == {}
    assert len(running.position.dots) == LOOSE_ROWS_MAX
    running.tell(row((B, 40)), Dot(B, 40))
    assert running.position.context == {A: 100, B: 40}, "all of an origin that comes first has been passed"
    assert running.position.dots == set()
    for number in range(LOOSE_ROWS_MAX):
        running.tell(row((C, number + 20)), Dot(C, 20))
    assert running.position.context == {A: 100, B: 40}
    running.tell(row((C, 99)), Dot(C, 99))
    assert running.position.context == {A: 100, B: 50, C: 7}, "no more than the target covers"
    for number in range(LOOSE_ROWS_MAX + 1):
        running.tell(row((9, number + 1)), None)
    assert running.position.context == {A: 100, B: 50, C: 7}
    assert len(running.position.dots) == 2 * LOOSE_ROWS_MAX + 2


def test_behind_everything_that_is_covered_all_of_it_has_been_passed() -> None:
    running = _Running(position({A: 1}), position({A: 5, B: 6}))
    for number in range(LOOSE_ROWS_MAX + 1):
        running.tell(row((C, number + 1)), None)
    assert running.position.context == {A: 5, B: 6}


def test_a_place_of_an_origin_that_the_target_does_not_name_covers_nothing_of_it() -> None:
    running = _Running(position({}), position({A: 5}))
    for number in range(LOOSE_ROWS_MAX + 1):
        running.tell(row((B, number + 1)), Dot(B, number + 1))
    assert running.position.context == {A: 5}


# Page by page.


def test_a_catch_up_reads_the_journal_of_each_origin_up_to_where_it_was_at_the_start() -> None:
    replica = Replica()
    replica.commit({A: 3, B: 2}, a=row((A, 3)), b=row((B, 2)))
    reading = CatchUp(position({A: 1}), replica.tail().position, PREFIX)
    with replica.storage.view() as view:
        watching_page = reading.page(view, USR)
    assert keys(watching_page) == [b"a", b"b"]
    assert reading.is_finished
    later = CatchUp(position({A: 1}), replica.tail().position, PREFIX)
    with replica.storage.view() as view:
        later._ends = [Dot(A, 3), Dot(B, 2)]
        replica.commit({A: 3, B: 2}, c=row((A, 4)))
    assert pages(replica, later) == [[b"a", b"b"]]


def test_a_page_ends_after_so_many_entries_or_bytes_and_the_next_goes_on_there(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica()
    rows = {f"k{number}": row((A, number), value=bytes(100)) for number in range(1, 8)}
    replica.commit({A: 7}, **rows)
    tail = replica.tail()
    monkeypatch.setattr(watching, "EXAMINED_PER_PAGE", 3)
    expected = [[b"k1", b"k2", b"k3"], [b"k4", b"k5", b"k6"], [b"k7"]]
    assert pages(replica, CatchUp(position({}), tail.position, PREFIX)) == expected
    assert pages(replica, Snapshot(tail.position, PREFIX, 0)) == expected
    monkeypatch.setattr(watching, "EXAMINED_PER_PAGE", EXAMINED_PER_PAGE)
    size = WatchEvent(PREFIX + b"k1", rows["k1"], "").size_bytes
    assert size == 200 + 4 + 100
    for room, count in ((2 * size, 2), (2 * size + 1, 3), (2 * size - 1, 2), (1, 1)):
        monkeypatch.setattr(watching, "BYTES_PER_PAGE", room)
        for reading in (CatchUp(position({}), tail.position, PREFIX), Snapshot(tail.position, PREFIX, 0)):
            assert max(map(len, pages(replica, reading))) == count


def test_entries_of_other_tables_count_as_examined_and_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica()
    replica.commit({A: 4}, **{f"k{number}": row((A, number)) for number in range(1, 5)})
    monkeypatch.setattr(watching, "EXAMINED_PER_PAGE", 3)
    assert pages(replica, CatchUp(position({}), replica.tail().position, b"other\0")) == [[], []]
    assert pages(replica, CatchUp(position({}), replica.tail().position, PREFIX + b"k4")) == [[], [b"k4"]]
    assert pages(replica, Snapshot(replica.tail().position, b"other\0", 0)) == [[]]


def test_a_watch_goes_on_behind_each_event_with_exactly_the_rest() -> None:
    replica = Replica()
    rows = {f"k{number:02}": row((A + number % 3, number + 1)) for number in range(20)}
    replica.commit({A: 30, B: 30, C: 30}, **rows)
    tail = replica.tail()
    reading = CatchUp(position({}), tail.position, PREFIX)
    with replica.storage.view() as view:
        told = reading.page(view, USR)
        assert reading.position is tail.position
    assert len(told) == 20
    for place, one in enumerate(told):
        assert keys(replica.caught_up(one.event_id, tail)) == keys(told[place + 1 :])


def test_the_position_amid_a_catch_up_is_that_of_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica()
    replica.commit({A: 4}, **{f"k{number}": row((A, number)) for number in range(1, 5)})
    monkeypatch.setattr(watching, "EXAMINED_PER_PAGE", 2)
    reading = CatchUp(position({}), replica.tail().position, PREFIX)
    with replica.storage.view() as view:
        told = reading.page(view, USR)
    assert not reading.is_finished
    assert reading.position.event_id() == told[-1].event_id


def test_a_row_that_has_changed_beyond_the_target_is_left_to_what_follows() -> None:
    replica = Replica()
    replica.commit({A: 2}, x=row((A, 1)), y=row((A, 2)))
    target = replica.tail().position
    replica.commit({A: 3}, x=row((A, 3)))
    assert pages(replica, CatchUp(position({}), target, PREFIX)) == [[b"y"]]
    assert pages(replica, Snapshot(target, PREFIX, 0)) == [[b"y"]]


def test_a_row_with_versions_of_several_origins_is_told_once_and_what_was_sent_is_not() -> None:
    replica = Replica()
    replica.commit({A: 5, B: 5}, x=row((B, 2), (A, 3)), y=row((B, 4)))
    assert pages(replica, CatchUp(position({}), replica.tail().position, PREFIX)) == [[b"x", b"y"]]
    assert pages(replica, CatchUp(position({B: 5}), replica.tail().position, PREFIX)) == [[b"x"]]
    assert pages(replica, CatchUp(position({A: 5}, (B, 2)), replica.tail().position, PREFIX)) == [[b"y"]]


def test_the_end_of_a_prefix_is_the_least_address_behind_it() -> None:
    assert end_of_prefix(b"t\0") == b"t\x01"
    assert end_of_prefix(b"t\0ab") == b"t\0ac"


# The tail.


def test_a_tail_tells_the_watched_rows_alone_and_takes_all_of_them_in() -> None:
    replica = Replica()
    tail = replica.tail()
    changes = replica.commit({A: 2}, x=row((A, 1)), y=row((A, 2)))
    assert keys(tail.take(changes, lambda address: address.endswith(b"y"))) == [b"y"]
    assert tail.position.context == {A: 2}
    before = tail.position
    assert tail.take(replica.commit({A: 2})) == []
    assert tail.position is before, "nothing has changed"
    assert tail.take(replica.commit({A: 3})) == []
    assert tail.position.context == {A: 3}


def test_a_tail_follows_the_base_even_in_batches_from_before_it_began() -> None:
    replica = Replica()
    old = replica.commit({A: 1})
    tail = replica.tail()
    base = Base((Dot(9, 1),), 0)
    assert tail.take(old._replace(base=base)) == []
    assert tail.base is base


@pytest.mark.parametrize("is_unreadable", [True, False])
def test_only_a_row_that_the_position_names_resets_watchers_if_it_cannot_be_read(is_unreadable: bool) -> None:
    replica = Replica()
    tail = replica.tail()
    tail.take(replica.commit({A: 1}, x=row((B, 5))))
    changes = replica.commit({A: 2})._replace(unreadable=frozenset([PREFIX + (b"x" if is_unreadable else b"y")]))
    if is_unreadable:
        with pytest.raises(WatchResetError):
            tail.take(changes)
    else:
        assert tail.take(changes) == []


def test_rows_that_were_dropped_reset_watchers() -> None:
    replica = Replica()
    tail = replica.tail()
    with pytest.raises(WatchResetError):
        tail.take(replica.commit({A: 1}, x=row((A, 1)))._replace(has_dropped=True))
    assert (tail.is_complete, tail.is_recovery_due) == (False, True)
    with replica.storage.view() as view:
        tail.recover(view)
    assert (tail.is_complete, tail.is_recovery_due) == (True, False)
    for number in range(RECOVERY_BATCHES + 1):
        tail.take(replica.commit({A: 2 + number}))
    assert not tail.is_recovery_due, "it has not lost track"


def test_the_rows_ahead_are_followed_until_the_context_covers_them() -> None:
    replica = Replica()
    tail = replica.tail()
    tail.take(replica.commit({A: 1}, x=row((B, 5)), y=row((C, 3)), z=row((B, 7), (C, 9))))
    assert tail.position.dots == {Dot(B, 5), Dot(C, 3), Dot(B, 7), Dot(C, 9)}
    tail.take(replica.commit({A: 2}))
    assert len(tail.position.dots) == 4
    tail.take(replica.commit({A: 2, B: 6}))
    assert tail.position.dots == {Dot(C, 3), Dot(B, 7), Dot(C, 9)}
    tail.take(replica.commit({A: 2, B: 7}, y=row((A, 1), context={A: 1, C: 3})))
    assert tail.position.dots == {Dot(C, 9)}
    tail.take(replica.commit({A: 2, B: 7, C: 9}))
    assert tail.position.dots == set()


@pytest.mark.parametrize(("rows_max", "is_complete"), [(2, True), (1, False)])
def test_a_tail_that_begins_with_too_many_rows_ahead_tracks_none(rows_max: int, is_complete: bool) -> None:
    replica = Replica()
    replica.commit({A: 1, B: 4}, x=row((B, 5)), y=row((C, 1)), z=row((B, 4)))
    tail = replica.tail(ahead_rows_max=rows_max)
    assert tail.is_complete is is_complete
    assert tail.position.dots == ({Dot(B, 5), Dot(C, 1)} if is_complete else set())
    assert tail.position.context == {A: 1, B: 4}
    if not is_complete:
        event_id = position({A: 1, B: 4}, (C, 9)).event_id()
        assert replica.standing(event_id, tail) is ResumeState.AHEAD


def test_a_batch_that_the_tail_has_read_already_tells_nothing() -> None:
    replica = Replica()
    changes = replica.commit({A: 1}, x=row((A, 1)))
    tail = replica.tail()
    assert tail.take(Changes(USR, changes.revision + 1, changes.rows, Context({A: 1}))) == []
    assert keys(tail.take(Changes(USR, changes.revision + 1, {PREFIX + b"z": row((A, 2))}, Context({A: 2})))) == [b"z"]
