"""What a store takes in and covers, what it refuses, and what it notes as lacking."""

from __future__ import annotations

import pytest

from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.clock import milliseconds, timestamp_at
from gossipkv.core.model.lacking import CLOCK_SKEW, ELSEWHERE, LACKING_ROWS_MAX, TOO_MANY_ORIGINS, LackedRow
from gossipkv.core.model.room import NO_ROOM, Room
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.tally import DOT_COLLISION
from gossipkv.core.protocol.base import Base
from gossipkv.core.protocol.messages import Range, RefusedRow, RowCopy, WalkRows
from gossipkv.core.protocol.names import Names
from gossipkv.core.store import store
from gossipkv.core.store.store import CONTINUED_MS_MAX, Intake, Store
from tests.core.disks import NOW_MS, SKEW_MS_MAX, Disk, at, values

HOUR_MS = 3_600_000


def copy(
    key: str,
    *dots: tuple[int, int],
    at_ms: int = NOW_MS,
    value: bytes | None = b"value",
    above: int | None = None,
    context: dict[int, int] | None = None,
) -> RowCopy:
    """A copy of a row with these versions."""
    versions = tuple(Version(Dot(*dot), timestamp_at(at_ms), value, None, above) for dot in dots)
    return RowCopy(at(key), StoredRow(versions, Context(context or dict(dots))))


# Clocks that are ahead.


@pytest.mark.parametrize(
    ("back_ms", "step", "is_taken"),
    [
        (HOUR_MS, 1, True),
        (HOUR_MS, timestamp_at(CONTINUED_MS_MAX), True),
        (HOUR_MS, timestamp_at(CONTINUED_MS_MAX) + 1, False),
        (1, timestamp_at(1), True),
        (0, timestamp_at(1), False),
    ],
    ids=["least", "greatest step", "greater step", "just ahead", "not ahead itself"],
)
def test_a_row_that_is_ahead_of_a_clock_set_back_is_continued_in_small_steps(
    back_ms: int, step: int, is_taken: bool
) -> None:
    disk = Disk(1)
    disk.take_in([copy("a", (2, 1), at_ms=NOW_MS + SKEW_MS_MAX)], NOW_MS)
    held = disk.rows()[at("a")].winner
    later = StoredRow((Version(Dot(2, 2), held.timestamp + step, b"later"),), Context({2: 2}))
    intake = disk.take_in([RowCopy(at("a"), later), RowCopy(at("b"), later)], NOW_MS - back_ms)
    refused = [] if is_taken else [at("a")]
    assert [(row.address, row.reason) for row in intake.refused] == [(a, CLOCK_SKEW) for a in [*refused, at("b")]]
    assert (disk.rows()[at("a")].winner.value == b"later") is is_taken
    assert at("b") not in disk.rows(), "it continues nothing"


def test_a_row_that_continues_one_ahead_of_the_clock_does_not_drag_the_clock() -> None:
    disk = Disk(1)
    disk.take_in([copy("a", (2, 1), at_ms=NOW_MS + SKEW_MS_MAX)], NOW_MS)
    # The process starts again, with a clock that has heard of nothing.
    disk.store = Store(1, SKEW_MS_MAX)
    disk.load()
    intake = disk.take_in([copy("a", (2, 2), at_ms=NOW_MS + SKEW_MS_MAX + 1)], NOW_MS - HOUR_MS)
    assert [change.address for change in intake.changed] == [at("a")]
    # The clock is set right, and the row no longer counts as ahead.
    disk.put("own", now_ms=NOW_MS + 1)
    assert milliseconds(disk.rows()[at("own")].winner.timestamp) == NOW_MS + 1


def test_the_clock_follows_the_greatest_time_that_comes_in() -> None:
    disk = Disk(1)
    disk.take_in([copy("a", (2, 1), at_ms=NOW_MS + 50), copy("b", (2, 2), at_ms=NOW_MS + 20)])
    disk.put("own")
    assert milliseconds(disk.rows()[at("own")].winner.timestamp) == NOW_MS + 50


# Room.


@pytest.mark.parametrize(
    ("room", "value", "is_taken"),
    [
        (Room.AMPLE, b"value", True),
        (Room.SCARCE, b"value", True),
        (Room.SPENT, b"value", False),
        (Room.SPENT, None, True),
        (Room.NONE, b"value", False),
        (Room.NONE, None, False),
    ],
)
def test_values_are_taken_in_until_the_room_is_spent_and_deletes_while_anything_is_stored(
    room: Room, value: bytes | None, is_taken: bool
) -> None:
    disk = Disk(1)
    disk.take_in([copy("held", (2, 1), value=value)])
    disk.store.room = room
    intake = disk.take_in([copy("held", (2, 1), value=value), copy("new", (2, 2), value=value)])
    assert intake.refused == ([] if is_taken else [RefusedRow((2,), NO_ROOM)]), "a row that is held takes no room"
    assert intake.lacked_room is not is_taken
    assert (at("new") in disk.rows()) is is_taken
    with disk.committing() as transaction:
        of_system = disk.store.take_in(transaction, SYSTEM, [copy("new", (2, 2), value=value)], NOW_MS)
    assert of_system.lacked_room is (room is Room.NONE)


# The bound of a context.


def crowded() -> Disk:
    """A store whose context may name three replicas, and names them: itself, 2 and 3."""
    disk = Disk(1)
    disk.store._origins_max = 3
    disk.put("own")
    assert disk.cover({2: Range(0, 5), 3: Range(0, 5)}, Intake()) == [2, 3]
    return disk


def test_a_full_context_covers_replicas_that_it_names_members_and_no_others() -> None:
    disk = crowded()
    for advanced in ([2], []):
        assert disk.cover({2: Range(5, 6), 4: Range(0, 1), 5: Range(0, 1)}, Intake()) == advanced
    assert disk.shard.context == {1: 1, 2: 6, 3: 5}
    assert disk.store._tally.origins_refused == {USER: 4}
    [full] = disk.store.outbox.take()
    assert (full.event, full.fields["namespace"], full.fields["origins"]) == ("context_full", USER, 3)
    assert full.is_warning
    disk.store.members = lambda: [4]
    assert disk.cover({4: Range(0, 1), 5: Range(0, 1)}, Intake()) == [4]
    assert not disk.store.has_room_for(disk.shard, [5])
    assert disk.store.has_room_for(disk.shard, [5, 4]), "one of them is enough"


def test_what_a_walked_peer_covers_is_adopted_as_far_as_the_context_has_room() -> None:
    disk = crowded()
    disk.store.adopt_claim(USER, Context({2: 9, 3: 4, 4: 7}))
    assert disk.shard.context == {1: 1, 2: 9, 3: 5}
    assert disk.shard.floors == {2: 9}, "what was covered before can be served still"
    assert disk.store._tally.origins_refused == {USER: 1}


def test_a_row_that_names_more_replicas_than_a_context_may_is_refused_and_not_asked_for_again() -> None:
    disk = Disk(1)
    disk.store._origins_max = 3
    fits = copy("a", (2, 1), context={2: 1, 3: 1, 4: 1})
    assert disk.take_in([fits]).refused == []
    intake = disk.take_in([copy("a", (5, 1), at_ms=NOW_MS + 1), copy("b", (2, 2), context={2: 2, 3: 2, 4: 2, 5: 2})])
    assert intake.refused == [
        RefusedRow((5,), TOO_MANY_ORIGINS, at("a")),
        RefusedRow((2, 3, 4, 5), TOO_MANY_ORIGINS, at("b")),
    ]
    assert disk.rows() == {at("a"): fits.row}
    disk.store._origins_max = 2
    assert disk.take_in([fits]).refused == [], "it is here already"


# Siblings and collisions.


def test_siblings_above_the_limit_are_told_of_when_a_merge_crosses_it() -> None:
    disk = Disk(1)
    disk.store._siblings_max = 3
    disk.take_in([copy("a", (2, 1), (3, 1), (4, 1), above=0)])
    assert disk.store._tally.siblings_over_limit == 0
    disk.take_in([copy("a", (5, 1), above=0)])
    disk.take_in([copy("a", (6, 1), above=0)])
    assert disk.store._tally.siblings_over_limit == 1
    assert [notice.fields["siblings"] for notice in disk.store.outbox.take()] == [4]
    assert len(disk.rows()[at("a")].versions) == 5


def test_a_collision_between_rows_is_told_of_in_the_batch_that_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "COLLISIONS_MAX", 2)
    disk = Disk(1)
    disk.take_in([copy("a", (2, 1)), copy("b", (2, 1))])
    assert disk.store._tally.anomalies == {DOT_COLLISION: 2}
    disk.take_in([copy("c", (2, 2)), copy("d", (2, 2))])
    assert disk.store._tally.anomalies == {DOT_COLLISION: 4}
    disk.take_in([copy("e", (2, 3))])
    assert disk.store._tally.anomalies == {DOT_COLLISION: 4}, "it is over"
    assert [str(notice.fields["row"]) for notice in disk.store.outbox.take()] == ["a", "b", "c", "d"]


# Names in doubt.


@pytest.mark.parametrize(
    ("sequence", "certain", "floor", "stable", "is_misnamed"),
    [
        (5, 4, 0, 0, True),
        (5, 5, 0, 0, False),
        (5, 0, 4, 4, True),
        (5, 0, 5, 0, False),
        (5, 0, 0, 5, False),
        (0, 0, 0, 0, False),
    ],
)
def test_a_row_that_names_a_write_of_this_replica_that_it_did_not_make_there_puts_the_name_in_doubt(
    sequence: int, certain: int, floor: int, stable: int, is_misnamed: bool
) -> None:
    disk = Disk(1)
    disk.shard.names = Names(9, certain)
    disk.shard.floors, disk.shard.stable = Context({1: floor}), Context({1: stable})
    arrived = copy("a", (2, 1), context={2: 1, 1: sequence} if sequence else {2: 1})
    with disk.storage.view() as view:
        assert disk.store.misnames(view, WalkRows(USER, (arrived,), None)) is is_misnamed


@pytest.mark.parametrize(("held", "is_misnamed"), [(4, True), (5, False), (6, False)])
def test_a_name_that_the_row_here_covers_is_in_no_doubt(held: int, is_misnamed: bool) -> None:
    disk = Disk(1)
    disk.take_in([copy("a", (3, 1), context={3: 1, 1: held})])
    disk.shard.names = Names(9, 0)
    with disk.storage.view() as view:
        arrived = copy("a", (2, 1), context={2: 1, 1: 5})
        assert disk.store.misnames(view, WalkRows(USER, (arrived,), None)) is is_misnamed


# What is lacking.


def test_a_refused_row_that_can_be_named_is_lacking_and_any_other_holds_back_its_range() -> None:
    disk = Disk(1)
    noted = RefusedRow((2,), "inconsistent", at("noted"), Context({2: 3}))
    unnamed = RefusedRow((2,), "inconsistent", None, Context({2: 3}))
    skewed = RefusedRow((2,), CLOCK_SKEW, at("skewed"), Context({2: 3}))
    empty = RefusedRow((2,), TOO_MANY_ORIGINS, at("wide"))
    intake = Intake(refused=[noted, unnamed, skewed, empty])
    assert disk.store.note_lacking(USER, intake) == [at("noted")]
    assert intake.refused == [unnamed, skewed, empty]
    assert {address: (lack.through, lack.reason) for address, lack in disk.shard.lacking.items()} == {
        at("noted"): (Context({2: 3}), "inconsistent")
    }


def test_with_a_claim_a_refused_row_may_lack_all_that_the_claim_covers() -> None:
    disk = Disk(1)
    intake = Intake(refused=[RefusedRow((2,), "inconsistent", at("a"), Context({2: 3}))])
    disk.store.note_lacking(USER, intake, claim=Context({2: 7, 3: 1}))
    assert disk.shard.lacking[at("a")].through == {2: 7, 3: 1}


def test_what_a_sender_lacks_is_lacking_here_and_is_named_once() -> None:
    disk = Disk(1)
    told = [LackedRow(at("a"), Context({2: 3})), LackedRow(at("b"), Context({2: 4}))]
    assert disk.store.note_lacking(USER, Intake(), told) == [at("a"), at("b")]
    assert disk.shard.lacking[at("a")].reason == ELSEWHERE
    again = [LackedRow(at("a"), Context({2: 9}))]
    assert disk.store.note_lacking(USER, Intake(), again) == []
    assert disk.shard.lacking[at("a")].through == {2: 9}
    disk.cover({3: Range(0, 5)}, Intake())
    assert disk.store.note_lacking(USER, Intake(), [LackedRow(at("c"), Context({3: 5}))]) == []
    assert at("c") not in disk.shard.lacking, "it was covered before"


def test_a_lacking_row_for_which_there_is_no_room_holds_back_its_range() -> None:
    disk = Disk(1)
    many = [LackedRow(at(f"{number:04}"), Context({2: 3})) for number in range(LACKING_ROWS_MAX)]
    assert len(disk.store.note_lacking(USER, Intake(), many)) == LACKING_ROWS_MAX
    intake = Intake()
    assert disk.store.note_lacking(USER, intake, [LackedRow(at("more"), Context({4: 1, 2: 3}))]) == []
    assert intake.refused == [RefusedRow((2, 4), ELSEWHERE)]
    assert disk.cover({2: Range(0, 3), 4: Range(0, 1), 5: Range(0, 1)}, intake) == [5]


def test_the_records_of_members_that_are_lacking_are_those_of_their_table() -> None:
    disk = Disk(1)
    told = [LackedRow(b"members\0a", Context({2: 3})), LackedRow(b"tables\0usr/t", Context({2: 4}))]
    disk.store.note_lacking(SYSTEM, Intake(), told)
    assert disk.store.records_lacking == [b"members\0a"]


# Retired replicas.


@pytest.mark.parametrize(("length", "stays"), [(0, True), (1, False), (2, False)])
def test_a_copy_whose_sender_omits_a_replica_has_superseded_what_that_wrote_though_nothing_is_omitted_here(
    length: int, stays: bool
) -> None:
    """A volume was set back to before the replica was retired. It knows the list, does not cover all of it yet, and
    still holds a version of the replica that all others have superseded."""
    disk = Disk(1)
    base = Base((Dot(7, 9), Dot(8, 1)), 0)
    disk.shard.base = base
    disk.take_in([copy("a", (7, 5), above=0)])
    with disk.committing() as transaction:
        arrived = copy("a", (3, 2), at_ms=NOW_MS + 1, above=0)
        disk.store.take_in(transaction, USER, [arrived], NOW_MS, base=base.of_length(length).number)
    row = disk.rows()[at("a")]
    assert [version.dot.replica for version in row.versions] == ([3, 7] if stays else [3])
    assert row.context == {3: 2, 7: 5}


# Rows that arrive again.


def test_a_row_that_changes_its_context_alone_is_stored_and_is_no_news() -> None:
    disk = Disk(1)
    disk.take_in([copy("a", (2, 1))])
    intake = disk.take_in([copy("a", (2, 1), context={2: 1, 3: 4})])
    assert intake.changed == []
    assert disk.rows()[at("a")].context == {2: 1, 3: 4}
    assert values(disk) == {at("a"): b"value"}
    assert disk.journal() == {(2, 1, at("a")), (3, 4, at("a"))}
