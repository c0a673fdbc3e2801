"""Local writes, rows that arrive, and what may be covered then."""

from __future__ import annotations

import pytest

from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.clock import milliseconds, timestamp_at
from gossipkv.core.model.row import Seen, StoredRow, Version
from gossipkv.core.model.write import CONTEXT_AHEAD, Declined, NotMatched, Operation, StoredWrite
from gossipkv.core.protocol.messages import Range, RefusedRow, RowCopy
from gossipkv.core.store.store import SIBLINGS_MAX, Intake
from tests.core.disks import NOW_MS, SKEW_MS_MAX, TABLE, Disk, at, values


def test_writes_are_numbered_from_1_and_a_repeated_value_is_a_new_version() -> None:
    disk = Disk(1)
    first, second = disk.put("a"), disk.put("a")
    assert isinstance(first, StoredWrite)
    assert isinstance(second, StoredWrite)
    assert (first.dot, second.dot) == (Dot(1, 1), Dot(1, 2))
    assert first.etag != second.etag
    assert (first.existed, second.existed) == (False, True)
    assert disk.rows()[at("a")].winner.dot == Dot(1, 2)


def test_deleting_an_absent_row_is_a_write() -> None:
    disk = Disk(1)
    assert disk.delete("a")[:3] == (Dot(1, 1), str(Dot(1, 1)), False)
    assert disk.rows()[at("a")].winner.is_tombstone


def test_a_put_after_a_delete_did_not_exist_before() -> None:
    disk = Disk(1)
    disk.put("a")
    disk.delete("a")
    again = disk.put("a")
    assert isinstance(again, StoredWrite)
    assert not again.existed


@pytest.mark.parametrize(
    ("if_match", "if_absent", "on_absent", "on_present", "on_deleted"),
    [
        (None, False, True, True, True),
        (None, True, True, False, True),
        (("*",), False, False, True, False),
        (("0000000000000001-1",), False, False, True, False),
        (("0000000000000001-2", "0000000000000001-1"), False, False, True, False),
        (("0000000000000002-1",), False, False, False, False),
        ((), False, False, False, False),
    ],
)
def test_a_write_whose_condition_does_not_hold_changes_nothing(
    if_match: tuple[str, ...] | None, if_absent: bool, on_absent: bool, on_present: bool, on_deleted: bool
) -> None:
    absent, present, deleted = Disk(1), Disk(1), Disk(1)
    present.put("a")
    deleted.put("a")
    deleted.delete("a")
    for disk, expected in ((absent, on_absent), (present, on_present), (deleted, on_deleted)):
        before = disk.rows()
        result = disk.do(Operation(at("a"), b"new", if_match, if_absent))
        if expected:
            assert isinstance(result, StoredWrite)
        else:
            assert result == NotMatched(before[at("a")].etag if disk is present else None)
            assert disk.rows() == before
            assert disk.shard.next_dot(1).sequence == len(before) + (disk is deleted) + 1


def test_a_write_sorts_after_the_version_it_replaces_whatever_the_clock_says() -> None:
    behind, ahead = Disk(1), Disk(2)
    ahead.put("a", b"theirs", NOW_MS + SKEW_MS_MAX)
    behind.take_in(ahead.copies())
    behind.load()
    behind.put("a", b"ours")
    ahead.take_in(behind.copies())
    assert values(ahead) == {at("a"): b"ours"}


def test_rows_that_arrive_are_merged_and_those_that_changed_are_named() -> None:
    disk, other = Disk(1), Disk(2)
    disk.put("a", b"ours", NOW_MS + 1)
    other.put("a", b"theirs", NOW_MS)
    other.put("b")
    intake = disk.take_in(other.copies())
    assert intake.refused == []
    assert [copy.address for copy in intake.changed] == [at("b")]
    assert disk.rows()[at("a")].context == {1: 1, 2: 1}
    assert values(disk) == {at("a"): b"ours", at("b"): b"value"}
    assert disk.take_in(other.copies()).changed == []


def test_taking_rows_in_covers_nothing_by_itself() -> None:
    disk, other = Disk(1), Disk(2)
    other.put("a")
    disk.take_in(other.copies())
    assert disk.shard.context == {}


def test_a_row_stamped_too_far_ahead_is_refused_alone_and_does_not_drag_the_clock() -> None:
    disk, right, ahead = Disk(1), Disk(2), Disk(3)
    right.put("good")
    right.put("skewed")
    ahead.take_in(right.copies())
    ahead.put("skewed", b"from the future", NOW_MS + SKEW_MS_MAX + 1)
    intake = disk.take_in(ahead.copies())
    assert [row[:2] for row in intake.refused] == [((2, 3), "clock_skew")]
    assert values(disk) == {at("good"): b"value"}
    disk.put("own")
    assert milliseconds(disk.rows()[at("own")].winner.timestamp) == NOW_MS


def test_a_row_at_the_edge_of_the_allowed_skew_is_taken_in() -> None:
    disk, ahead = Disk(1), Disk(2)
    ahead.put("a", now_ms=NOW_MS + SKEW_MS_MAX)
    assert disk.take_in(ahead.copies()).refused == []
    ahead.put("a", now_ms=NOW_MS + SKEW_MS_MAX + 1)
    assert [row.reason for row in disk.take_in(ahead.copies()).refused] == ["clock_skew"]


def test_a_copy_that_no_sequence_of_writes_leads_to_is_refused() -> None:
    disk = Disk(1)
    both = Context({2: 1, 3: 1})
    one, other = (
        StoredRow((Version(Dot(replica, 1), timestamp_at(NOW_MS), b"", None, 0),), both) for replica in (2, 3)
    )
    disk.take_in([RowCopy(at("a"), one)])
    intake = disk.take_in([RowCopy(at("a"), other), RowCopy(at("b"), other)])
    assert [row[:2] for row in intake.refused] == [((2, 3), "inconsistent")]
    assert disk.rows() == {at("a"): one, at("b"): other}


@pytest.mark.parametrize(
    ("held", "after", "through", "covered"),
    [(0, 0, 5, 5), (3, 3, 5, 5), (4, 3, 5, 5), (2, 3, 5, 2), (0, 1, 5, 0), (5, 0, 5, 5), (7, 0, 5, 7)],
)
def test_a_range_counts_as_a_whole_and_only_from_where_the_context_is(
    held: int, after: int, through: int, covered: int
) -> None:
    disk = Disk(1)
    disk.shard.advance(2, held)
    advanced = disk.cover({2: Range(after, through)}, Intake())
    assert disk.shard.context.get(2, 0) == covered
    assert advanced == ([2] if covered > held else [])


def test_a_refused_row_holds_back_the_origins_in_its_context_and_no_other() -> None:
    disk = Disk(1)
    intake = Intake(refused=[RefusedRow((2, 3), "clock_skew")])
    assert disk.cover({2: Range(0, 5), 3: Range(0, 5), 4: Range(0, 5)}, intake) == [4]
    assert disk.shard.context == {4: 5}


def test_a_refused_row_of_unknown_context_holds_back_every_origin() -> None:
    disk = Disk(1)
    assert disk.cover({2: Range(0, 5)}, Intake(refused=[RefusedRow(None, "malformed")])) == []


def test_what_every_member_covers_is_the_least_of_their_contexts() -> None:
    disk = Disk(1)
    disk.store.set_stable(USER, [Context({1: 5, 2: 3, 3: 1}), Context({1: 2, 2: 9})])
    assert disk.shard.stable == {1: 2, 2: 3, 3: 0}
    disk.load()
    assert disk.shard.stable == {1: 2, 2: 3, 3: 0}


def test_a_concurrent_version_that_gives_way_is_counted_once() -> None:
    one, other = Disk(1), Disk(2)
    one.put("a")
    other.put("a", now_ms=NOW_MS + 5)
    for _ in range(2):
        one.take_in(other.copies(), NOW_MS + 5)
    assert dict(one.store._tally.conflicts) == {(USER, TABLE): 1}


def test_a_merge_beyond_the_limit_of_siblings_is_counted_and_told_of_when_it_is_crossed() -> None:
    disk = Disk(1)
    for number in range(1, SIBLINGS_MAX + 3):
        version = Version(Dot(9, number), timestamp_at(NOW_MS), b"", None, 0)
        disk.take_in(
            [RowCopy(at("a"), StoredRow((version._replace(dot=Dot(9 + number, 1)),), Context({9 + number: 1})))]
        )
    assert disk.store._tally.siblings_over_limit == 1
    assert [notice.event for notice in disk.store.outbox.take()] == ["siblings_over_limit"]


def test_what_a_writer_has_seen_cannot_drag_the_clock() -> None:
    disk = Disk(1)
    seen = Seen(Context({2: 1}), timestamp_at(NOW_MS + SKEW_MS_MAX + 1), 0)
    refused = disk.do(Operation(at("a"), b"value", seen=seen))
    assert isinstance(refused, Declined)
    assert refused.reason == CONTEXT_AHEAD
    assert disk.rows() == {}


def test_what_is_adopted_stands_under_a_covered_name_just_above_what_it_replaces() -> None:
    disk = Disk(1)
    lost, kept = (
        Version(Dot(2, 9), timestamp_at(NOW_MS), b"lost", siblings_above=0),
        Version(Dot(3, 1), timestamp_at(NOW_MS), b"kept", siblings_above=0),
    )
    disk.take_in([RowCopy(at("a"), StoredRow((lost, kept), Context({2: 9, 3: 1})))])
    with disk.committing() as transaction:
        disk.store.adopt(transaction, USER, at("a"), 2)
    [row] = disk.rows().values()
    adopted = next(version for version in row.versions if version.value == b"lost")
    assert (adopted.dot, adopted.timestamp) == (Dot(1, 1), lost.timestamp + 1)
    assert kept in row.versions
    assert row.context == Context({1: 1, 2: 9, 3: 1})
    assert disk.shard.context.covers(adopted.dot)
    assert (1, 1, at("a")) in disk.journal()


@pytest.mark.parametrize(("above", "certain"), [(0, 1), (None, 1), (0, 0)])
def test_a_row_that_is_renamed_goes_on_covering_the_certain_names_only_if_it_keeps_siblings(
    above: int | None, certain: int
) -> None:
    disk = Disk(7)
    row = StoredRow((Version(Dot(1, 3), timestamp_at(NOW_MS), b"v", siblings_above=above),), Context({1: 3, 2: 4}))
    renamed = disk.store._renamed(disk.shard, row, 1, certain)
    [version] = renamed.versions
    assert version == row.versions[0]._replace(dot=Dot(7, 1))
    covered = {1: certain} if above is not None and certain else {}
    assert renamed.context == Context({2: 4, 7: 1} | covered)


def test_a_version_under_a_certain_name_keeps_it() -> None:
    disk = Disk(7)
    row = StoredRow((Version(Dot(1, 3), timestamp_at(NOW_MS), b"v"),), Context({1: 3, 2: 4}))
    renamed = disk.store._renamed(disk.shard, row, 1, 3)
    assert renamed.versions == row.versions
    assert renamed.context == Context({1: 3, 2: 4})
