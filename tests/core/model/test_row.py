"""The merge rule, over copies that a history of writes and merges can lead to."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import (
    Conflicts,
    InconsistentRowError,
    StoredRow,
    Version,
    expired,
    lost,
    merge,
    without_collected,
    without_settled,
    without_stable,
    without_superseded,
    written,
    written_beside,
)
from tests.core.histories import History, histories

LWW, SIBLINGS = Conflicts.LAST_WRITE_WINS, Conflicts.SIBLINGS
LWW_AT_TIMES = histories(LWW) | histories(LWW, None) | histories(None)
SIBLINGS_AT_TIMES = histories(SIBLINGS) | histories(SIBLINGS, None)
ANY_HISTORY = LWW_AT_TIMES | SIBLINGS_AT_TIMES | histories(LWW, SIBLINGS) | histories(LWW, SIBLINGS, None)


def row(
    replica: int, sequence: int, timestamp: int, value: bytes | None = b"value", siblings_above: int | None = None
) -> StoredRow:
    version = Version(Dot(replica, sequence), timestamp, value, siblings_above=siblings_above)
    return StoredRow((version,), Context({replica: sequence}))


def last(history: History, known: frozenset[Dot]) -> Version:
    """The last of these writes. A tombstone in place of what has expired takes the next timestamp, which may be that of
    a write of the same replica: then its dot decides."""
    return max((history.writes[dot] for dot in known), key=lambda version: (version.rank, version.dot))


@given(st.data(), ANY_HISTORY)
def test_merge_is_commutative(data: st.DataObject, history: History) -> None:
    one, other = (data.draw(st.sampled_from(history.copies)).row for _ in range(2))
    assert merge(one, other) == merge(other, one)


@given(st.data(), ANY_HISTORY)
def test_merge_is_associative(data: st.DataObject, history: History) -> None:
    a, b, c = (data.draw(st.sampled_from(history.copies)).row for _ in range(3))
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(st.data(), ANY_HISTORY)
def test_merge_is_idempotent(data: st.DataObject, history: History) -> None:
    one, other = (data.draw(st.sampled_from(history.copies)).row for _ in range(2))
    merged = merge(one, other)
    assert merge(one, one) == one
    assert merge(merged, one) == merged
    assert merge(merged, other) == merged


@given(SIBLINGS_AT_TIMES)
def test_siblings_are_exactly_the_writes_that_no_known_write_has_replaced(history: History) -> None:
    for held, known in history.copies:
        assert {version.dot for version in held.versions} == history.maximal(known)


@given(histories(LWW))
def test_the_last_write_that_a_copy_knows_of_wins(history: History) -> None:
    for held, known in history.copies:
        assert held.versions == (last(history, known),)


@given(LWW_AT_TIMES)
def test_readers_find_the_last_write_whether_or_not_its_writer_knew_that_it_wins(history: History) -> None:
    for held, known in history.copies:
        assert held.winner == last(history, known)


@given(ANY_HISTORY)
def test_a_copy_covers_every_write_that_it_knows_of_and_its_versions_descend_in_rank(history: History) -> None:
    for held, known in history.copies:
        assert all(held.context.covers(dot) for dot in known)
        ranks = [version.rank for version in held.versions]
        assert ranks == sorted(ranks, reverse=True)


@given(st.data(), ANY_HISTORY)
def test_an_entry_that_every_member_covers_decides_no_later_merge(data: st.DataObject, history: History) -> None:
    held, arrived = (data.draw(st.sampled_from(history.copies)).row for _ in range(2))
    reduced = without_stable(held, history.covered_by_all())
    assert merge(reduced, arrived).versions == merge(held, arrived).versions
    assert merge(arrived, reduced).versions == merge(held, arrived).versions


def test_a_stable_entry_is_dropped_unless_it_names_a_live_version() -> None:
    held = StoredRow(row(1, 3, 30).versions, Context({1: 3, 2: 5, 3: 7}))
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
    for siblings_above, is_visible in ((0, True), (None, False)):
        value = row(1, 1, 10, siblings_above=siblings_above)
        deleted = written(value, Version(Dot(1, 2), 20, None, None, siblings_above))
        put = written(value, Version(Dot(2, 1), 15, b"new", None, siblings_above))
        assert merge(deleted, put).is_visible is is_visible


def test_a_version_that_replaced_the_last_write_outranks_what_that_outranked() -> None:
    late, lost, last = row(1, 1, 5, siblings_above=0), row(2, 1, 9), row(3, 1, 10)
    merged = written_beside(merge(lost, last), Version(Dot(3, 2), 12, b"", None, 10), merge(lost, last).seen)
    assert merge(late, merged).versions == merged.versions == merge(merge(late, last), merged).versions


def test_a_write_beside_others_replaces_what_its_writer_has_seen_and_that_alone() -> None:
    both = merge(row(1, 1, 10, b"one", 0), row(2, 1, 11, b"two", 0))
    seen = written_beside(both, Version(Dot(3, 1), 20, b"three", None, 0), row(1, 1, 10, b"one", 0).seen)
    assert [version.value for version in seen.versions] == [b"three", b"two"]
    unseen = written_beside(both, Version(Dot(3, 1), 20, b"three", None, 0), None)
    assert [version.value for version in unseen.versions] == [b"three", b"two", b"one"]


def test_the_renewal_of_a_row_that_expires_meanwhile_elsewhere_survives() -> None:
    session = StoredRow((Version(Dot(1, 1), 10 << 16, b"session", 50),), Context({1: 1}))
    renewed = written(session, Version(Dot(2, 1), 40 << 16, b"session", 90))
    gone = expired(session, Dot(1, 2), 60)
    assert gone.winner[2:4] == (None, 50)
    assert merge(gone, renewed).winner.value == b"session"
    assert not merge(gone, session).is_visible


@given(ANY_HISTORY)
def test_what_expired_and_became_a_tombstone_never_comes_back(history: History) -> None:
    for held, known in history.copies:
        gone = {old for dot in known if history.writes[dot].value is None for old in history.replaced[dot]}
        assert not gone & {version.dot for version in held.versions}


def test_expiry_belongs_to_its_version() -> None:
    expiring = StoredRow((Version(Dot(1, 1), 10, b"value", 99, 0),), Context({1: 1}))
    merged = merge(expiring, row(2, 1, 5, siblings_above=0))
    assert [version.expires_ms for version in merged.versions] == [99, None]
    assert [version.dot for version in merged.visible_at(99)] == [Dot(2, 1)]


def test_the_losers_of_a_merge_are_those_that_nobody_replaced() -> None:
    one, other = row(1, 1, 10), row(2, 1, 20)
    assert lost(one, other, merge(one, other)) == 1
    assert lost(other, one, merge(one, other)) == 1
    after = written(merge(one, other), Version(Dot(1, 2), 30, b""))
    assert lost(one, after, merge(one, after)) == 0
    beside = row(1, 1, 10, siblings_above=0), row(2, 1, 20, siblings_above=0)
    assert lost(*beside, merge(*beside)) == 0


def test_siblings_that_each_supersede_the_other_are_an_error() -> None:
    one = StoredRow(row(1, 1, 10, siblings_above=0).versions, Context({1: 1, 2: 1}))
    other = StoredRow(row(2, 1, 20, siblings_above=0).versions, Context({1: 1, 2: 1}))
    with pytest.raises(InconsistentRowError):
        merge(one, other)


def test_the_etag_of_many_versions_is_short_and_names_exactly_them() -> None:
    def many(count: int) -> StoredRow:
        versions = [Version(Dot(1, number), number, b"value", siblings_above=0) for number in range(count, 0, -1)]
        return StoredRow(tuple(versions), Context({1: count}))

    rows = [many(count) for count in range(1, 200)]
    assert len({row.etag for row in rows}) == len(rows)
    assert max(len(row.etag) for row in rows) < 2_000
    assert [len(row.etag) < 50 for row in rows[64:]] == [True] * len(rows[64:])
    assert many(100).etag == many(100).etag
    assert (
        StoredRow(many(100).versions[1:], many(100).context).etag
        != many(99)._replace(versions=many(100).versions[:99]).etag
    )


def test_of_last_writes_that_each_claim_to_have_superseded_the_other_the_later_one_stays() -> None:
    one = StoredRow(row(1, 1, 10).versions, Context({1: 1, 2: 1}))
    other = StoredRow(row(2, 1, 20).versions, Context({1: 1, 2: 1}))
    assert merge(one, other) == merge(other, one) == other


def test_what_a_peer_covers_and_does_not_hold_is_dropped_but_for_what_this_replica_wrote() -> None:
    mine, theirs, unknown = (Version(Dot(origin, 3), 5, b"v", siblings_above=0) for origin in (1, 2, 3))
    current = StoredRow((mine, theirs, unknown), Context({1: 3, 2: 3, 3: 3, 4: 9}))
    claim = Context({1: 3, 2: 3, 4: 8})
    assert without_superseded(current, (), claim, own=1) == StoredRow((mine, unknown), Context({1: 3, 3: 3, 4: 9}))
    assert without_superseded(current, (theirs,), claim, own=1) is current
    assert without_superseded(StoredRow((theirs,), Context({2: 3})), (), claim, own=1) is None


def test_a_copy_from_a_peer_brings_what_is_held_here_or_is_not_yet_settled() -> None:
    old, new = Version(Dot(2, 3), 5, b"old", siblings_above=0), Version(Dot(3, 1), 5, b"new", siblings_above=0)
    arrived = StoredRow((old, new), Context({2: 3, 3: 1}))
    current = StoredRow((Version(Dot(1, 1), 9, b"here", siblings_above=0),), Context({1: 1}))
    assert without_settled(arrived, current, Context({2: 3})) == StoredRow((new,), arrived.context)
    assert without_settled(arrived, arrived, Context({2: 3})) is arrived
    assert without_settled(arrived, current, Context({2: 2})) is arrived
    assert without_settled(arrived, current, Context({2: 3, 3: 1})) is None


def test_a_version_up_to_the_marks_comes_back_only_to_repair_a_loss_or_to_outrank_what_is_here() -> None:
    value, tombstone = Version(Dot(2, 3), 5, b"v"), Version(Dot(2, 3), 5, None)
    current = StoredRow((Version(Dot(1, 1), 4, b"here"),), Context({1: 1}))
    marks = Context({2: 3})

    def is_taken(version: Version, held: StoredRow | None, *, is_repair: bool) -> bool:
        arrived = StoredRow((version,), Context({2: 3}))
        kept = without_collected(arrived, held, marks, is_repair=is_repair)
        assert kept in (arrived, None)
        return kept is arrived

    assert [is_taken(value, held, is_repair=False) for held in (None, current)] == [False, False]
    assert [is_taken(value, held, is_repair=True) for held in (None, current)] == [True, True]
    assert [is_taken(tombstone, held, is_repair=True) for held in (None, current)] == [False, True]
    assert is_taken(value, StoredRow((value,), Context({2: 3})), is_repair=False), "it is held"


def test_of_versions_with_one_dot_the_stronger_one_stays() -> None:
    weak_to_strong = [
        Version(Dot(1, 1), 10, None, 50, 0),
        Version(Dot(1, 1), 10, None, 50, 3),
        Version(Dot(1, 1), 10, None, 60, 0),
        Version(Dot(1, 1), 10, None, None, 0),
        Version(Dot(1, 1), 10, b"", 50, 0),
        Version(Dot(1, 1), 10, b"", None, 0),
        Version(Dot(1, 1), 10, b"a", 50, 0),
        Version(Dot(1, 1), 10, b"b", 50, 0),
        Version(Dot(1, 1), 11, None, 50, 0),
        Version(Dot(1, 1), 5, None, 50, None),
        Version(Dot(1, 1), 5, None, None, None),
    ]
    strengths = [version.strength for version in weak_to_strong]
    assert strengths == sorted(strengths)
    assert len(set(strengths)) == len(strengths)
    for weak, strong in pairwise(weak_to_strong):
        copies = [StoredRow((version,), Context({1: 1})) for version in (weak, strong)]
        assert merge(*copies) == merge(*reversed(copies)) == copies[1]


def test_a_version_is_visible_until_the_moment_at_which_it_expires() -> None:
    version = Version(Dot(1, 1), 10, b"", 50)
    held = StoredRow((version, Version(Dot(2, 1), 9, None, None, 0)), Context({1: 1, 2: 1}))
    assert [version.is_visible_at(now_ms) for now_ms in (49, 50)] == [True, False]
    assert [held.is_visible_at(now_ms) for now_ms in (49, 50)] == [True, False]
    assert [held.visible_at(now_ms) for now_ms in (49, 50)] == [(version,), ()]
    assert (held.is_visible, held.keeps_siblings, held.value_bytes) == (True, True, 0)
    hidden = StoredRow((Version(Dot(1, 1), 10, None, 50),), Context({1: 1}))
    assert (hidden.is_visible, hidden.is_visible_at(0), hidden.keeps_siblings) == (False, False, False)
    assert StoredRow((Version(Dot(1, 1), 10, b"abc"), Version(Dot(1, 2), 9, b"de")), Context()).value_bytes == 5


def test_the_time_of_a_deletion_is_that_of_the_last_tombstone_or_expiry() -> None:
    for tombstones, deleted_ms in (
        ([(70, None)], 70),
        ([(70, 90)], 90),
        ([(70, 60)], 70),
        ([(70, None), (60, 80)], 80),
        ([(70, None), (60, None)], 70),
    ):
        versions = tuple(Version(Dot(1, 1), at_ms << 16, None, expires_ms) for at_ms, expires_ms in tombstones)
        assert StoredRow(versions, Context({1: 1})).deleted_ms == deleted_ms


def test_what_expires_becomes_one_tombstone_just_above_and_other_versions_stay() -> None:
    gone, later = Version(Dot(1, 1), 10, b"", 50, 0), Version(Dot(2, 1), 12, b"", 60, 0)
    kept = Version(Dot(3, 1), 11, b"", 61, 0)
    held = StoredRow((later, kept, gone), Context({1: 1, 2: 1, 3: 1}))
    turned = expired(held, Dot(4, 1), 60)
    assert turned.versions == (Version(Dot(4, 1), 13, None, 60, 0), kept)
    assert turned.context == {1: 1, 2: 1, 3: 1, 4: 1}
    assert expired(held, Dot(4, 1), 59).versions == (later, Version(Dot(4, 1), 11, None, 50, 0), kept)
    last = StoredRow((Version(Dot(1, 1), 10, b"", 50),), Context({1: 1}))
    assert expired(last, Dot(4, 1), 50).winner == Version(Dot(4, 1), 11, None, 50, None)


def test_a_reader_has_seen_the_greatest_time_and_what_the_versions_outrank() -> None:
    held = StoredRow(
        (Version(Dot(1, 1), 30, b"", None, 7), Version(Dot(2, 1), 20, b"", None, 9)), Context({1: 1, 2: 1, 3: 4})
    )
    assert held.seen == (held.context, 30, 9)
    assert row(1, 1, 10).seen == (Context({1: 1}), 10, 10)
