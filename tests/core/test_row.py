"""The merge rule, over copies that a history of writes and merges can lead to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipkv.core.causality import Context, Dot
from gossipkv.core.row import Conflicts, InconsistentRowError, Row, Version, merge, without_stable, written
from tests.core.histories import History, histories

LWW, SIBLINGS = Conflicts.LAST_WRITE_WINS, Conflicts.SIBLINGS
ANY_HISTORY = st.sampled_from(Conflicts).flatmap(histories)


def row(replica: int, sequence: int, timestamp: int, value: bytes | None = b"value") -> Row:
    return Row((Version(Dot(replica, sequence), timestamp, value),), Context({replica: sequence}))


@given(st.data(), ANY_HISTORY)
def test_merge_is_commutative(data: st.DataObject, history: History) -> None:
    one, other = (data.draw(st.sampled_from(history.copies)).row for _ in range(2))
    assert merge(one, other, history.conflicts) == merge(other, one, history.conflicts)


@given(st.data(), ANY_HISTORY)
def test_merge_is_associative(data: st.DataObject, history: History) -> None:
    a, b, c = (data.draw(st.sampled_from(history.copies)).row for _ in range(3))
    kind = history.conflicts
    assert merge(merge(a, b, kind), c, kind) == merge(a, merge(b, c, kind), kind)


@given(st.data(), ANY_HISTORY)
def test_merge_is_idempotent(data: st.DataObject, history: History) -> None:
    one, other = (data.draw(st.sampled_from(history.copies)).row for _ in range(2))
    kind = history.conflicts
    merged = merge(one, other, kind)
    assert merge(one, one, kind) == one
    assert merge(merged, one, kind) == merged
    assert merge(merged, other, kind) == merged


@given(histories(SIBLINGS))
def test_siblings_are_exactly_the_writes_that_no_known_write_has_replaced(history: History) -> None:
    for held, known in history.copies:
        assert {version.dot for version in held.versions} == history.maximal(known)


@given(histories(LWW))
def test_the_last_write_that_a_copy_knows_of_wins(history: History) -> None:
    for held, known in history.copies:
        assert held.versions == (max((history.writes[dot] for dot in known), key=lambda version: version.rank),)


@given(ANY_HISTORY)
def test_a_copy_covers_every_write_that_it_knows_of_and_its_versions_descend_in_rank(history: History) -> None:
    for held, known in history.copies:
        assert all(held.context.covers(dot) for dot in known)
        ranks = [version.rank for version in held.versions]
        assert ranks == sorted(ranks, reverse=True)


@given(st.data(), histories(LWW))
def test_an_entry_that_every_member_covers_decides_no_later_merge(data: st.DataObject, history: History) -> None:
    held, arrived = (data.draw(st.sampled_from(history.copies)).row for _ in range(2))
    reduced = without_stable(held, history.covered_by_all())
    assert merge(reduced, arrived).versions == merge(held, arrived).versions
    assert merge(arrived, reduced).versions == merge(held, arrived).versions


def test_a_stable_entry_is_dropped_unless_it_names_a_live_version() -> None:
    held = Row(row(1, 3, 30).versions, Context({1: 3, 2: 5, 3: 7}))
    assert without_stable(held, {1: 9, 2: 5, 3: 6}).context == {1: 3, 3: 7}
    assert without_stable(held, {}) is held


def test_a_write_that_repeats_the_value_is_a_new_version_and_beats_an_older_concurrent_write() -> None:
    first = row(1, 1, 10)
    concurrent = row(2, 1, 20, b"other")
    repeated = written(first, Version(Dot(1, 2), 30, b"value"))
    assert not repeated.has_same_versions(first)
    assert repeated.etag != first.etag
    assert merge(repeated, concurrent).winner.value == b"value"
    assert merge(first, concurrent).winner.value == b"other"


def test_equal_timestamps_are_decided_by_the_replica_id() -> None:
    assert merge(row(1, 9, 10, b"low"), row(2, 1, 10, b"high")).winner.value == b"high"


def test_a_tombstone_hides_what_it_replaced_and_stays_deleted() -> None:
    value = row(1, 1, 10)
    deleted = written(value, Version(Dot(2, 1), 20, None))
    assert not deleted.is_visible
    assert deleted.winner.is_tombstone
    assert merge(deleted, value) == deleted


def test_among_siblings_a_concurrent_put_survives_a_delete() -> None:
    value = row(1, 1, 10)
    deleted = written(value, Version(Dot(1, 2), 20, None))
    put = written(value, Version(Dot(2, 1), 15, b"new"))
    assert merge(deleted, put, SIBLINGS).is_visible
    assert not merge(deleted, put, LWW).is_visible


def test_expiry_belongs_to_its_version() -> None:
    expiring = Row((Version(Dot(1, 1), 10, b"value", expires_ms=99),), Context({1: 1}))
    merged = merge(expiring, row(2, 1, 5), SIBLINGS)
    assert [version.expires_ms for version in merged.versions] == [99, None]


def test_copies_that_each_supersede_the_other_are_an_error() -> None:
    one = Row(row(1, 1, 10).versions, Context({1: 1, 2: 1}))
    other = Row(row(2, 1, 20).versions, Context({1: 1, 2: 1}))
    with pytest.raises(InconsistentRowError):
        merge(one, other)
