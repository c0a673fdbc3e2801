"""Two versions under one dot: what two processes on copies of one volume write."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.collected import Proof
from gossipkv.core.model.row import (
    Conflicts,
    InconsistentRowError,
    StoredRow,
    Version,
    collisions,
    merge,
    written,
    written_beside,
)
from gossipkv.core.model.tally import DOT_COLLISION
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Range, RowCopy, WalkRows
from gossipkv.core.protocol.names import Names
from gossipkv.core.store.tables import TableSettings, settings_address
from tests.core.disks import NOW_MS, Disk, at
from tests.core.histories import History, histories

LWW, SIBLINGS = Conflicts.LAST_WRITE_WINS, Conflicts.SIBLINGS

PLACES = (1, 2, 2, 3)
"""The replica id at each place: two processes have the same."""


def copies_of(steps: Sequence[tuple[int, ...]], kinds: Sequence[Conflicts]) -> list[StoredRow]:
    """Every copy of a row that comes to be by these writes, reads and merges."""
    current: list[StoredRow | None] = [None] * len(PLACES)
    sequences = [0] * len(PLACES)
    copies: list[StoredRow] = []
    for step in steps:
        if len(step) == 2:
            source, target = current[step[0]], current[step[1]]
            if source is None:
                continue
            try:
                current[step[1]] = source if target is None else merge(target, source)
            except InconsistentRowError:
                continue
        else:
            place, clock, value, read, kind = step
            held = current[place]
            replica = PLACES[place]
            covered = held.context.get(replica, 0) if held is not None else 0
            sequences[place] = max(sequences[place], covered) + 1
            dot = Dot(replica, sequences[place])
            content = None if value == 0 else b"%d" % value
            if kinds[kind % len(kinds)] is LWW:
                above = held.winner.timestamp if held is not None else 0
                current[place] = written(held, Version(dot, max(clock, above + 1), content))
            else:
                seen = copies[read % len(copies)].seen if copies and read < 8 else None
                if seen is not None and seen.context.get(replica, 0) >= dot.sequence:
                    seen = None
                above = max(held.winner.timestamp if held is not None else 0, seen.timestamp if seen is not None else 0)
                bound = seen.siblings_above if seen is not None else 0
                version = Version(dot, max(clock, above + 1), content, None, bound)
                current[place] = written_beside(held, version, seen)
        copies += [row for row in current if row is not None and row not in copies]
    return copies


WRITES = st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(0, 2), st.integers(0, 12), st.integers(0, 1))
STEPS = st.lists(WRITES | st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=14)


def merged(*rows: StoredRow) -> StoredRow:
    try:
        result = rows[0]
        for row in rows[1:]:
            result = merge(result, row)
    except InconsistentRowError:
        assume(False)
    return result


def three_of(data: st.DataObject, *kinds: Conflicts) -> list[StoredRow]:
    copies = copies_of(data.draw(STEPS), kinds)
    assume(copies)
    return [data.draw(st.sampled_from(copies)) for _ in range(3)]


@settings(max_examples=300)
@given(st.data(), st.sampled_from([(LWW,), (SIBLINGS,), (LWW, SIBLINGS)]))
def test_merge_is_commutative(data: st.DataObject, kinds: tuple[Conflicts, ...]) -> None:
    one, other, _ = three_of(data, *kinds)
    assert merged(one, other) == merged(other, one)
    assert merged(one, one) == one


@settings(max_examples=300)
@given(st.data(), st.sampled_from([LWW, SIBLINGS]))
def test_merge_is_idempotent(data: st.DataObject, kind: Conflicts) -> None:
    one, other, _ = three_of(data, kind)
    both = merged(one, other)
    assert merged(both, one) == both == merged(both, other)


def test_where_the_setting_changes_too_a_copy_may_bring_back_what_a_lost_version_outranked() -> None:
    """The version that outranked it was the other write under one dot, and went. Members agree in the end all the
    same: no copy holds that version any more."""
    held = StoredRow((version(6, 6, None, 1), version(4, 4, None)), Context({1: 6, 2: 1}))
    collided = StoredRow((Version(Dot(2, 1), 5, None, None, 4),), Context({1: 4, 2: 1}))
    both = merge(held, collided)
    assert both.versions == held.versions[:1]
    assert merge(both, collided) == both
    assert merge(both, held) == held


@settings(max_examples=300)
@given(st.data(), st.sampled_from([LWW, SIBLINGS]))
def test_merge_is_associative(data: st.DataObject, kind: Conflicts) -> None:
    a, b, c = three_of(data, kind)
    assert merged(merged(a, b), c) == merged(a, merged(b, c))


@settings(max_examples=300)
@given(st.data())
def test_where_the_last_write_wins_no_version_of_greater_rank_is_lost(data: st.DataObject) -> None:
    rows = three_of(data, LWW)
    ranks = [row.winner.rank for row in rows]
    assert merged(*rows).winner.rank == max(ranks)


def merged_by_contexts_alone(ours: StoredRow, theirs: StoredRow) -> set[Dot]:
    """The survivors by the rule of 0.1.0, before those that are outranked go."""
    ours_dots = {version.dot for version in ours.versions}
    theirs_dots = {version.dot for version in theirs.versions}
    survivors = {v.dot for v in ours.versions if v.dot in theirs_dots or not theirs.context.covers(v.dot)}
    return survivors | {v.dot for v in theirs.versions if v.dot in ours_dots or not ours.context.covers(v.dot)}


@given(st.data(), histories(LWW) | histories(SIBLINGS) | histories(LWW, SIBLINGS))
def test_without_collisions_nothing_stays_that_a_context_says_was_replaced(
    data: st.DataObject, history: History
) -> None:
    one, other = (data.draw(st.sampled_from(history.copies)).row for _ in range(2))
    assert {version.dot for version in merge(one, other).versions} <= merged_by_contexts_alone(one, other)
    assert collisions(one, other) == []


def version(sequence: int, timestamp: int, value: bytes | None, above: int | None = None) -> Version:
    return Version(Dot(1, sequence), timestamp, value, None, above)


def row(*versions: Version, **context: int) -> StoredRow:
    entries = {version.dot.replica: version.dot.sequence for version in versions}
    return StoredRow(versions, Context(entries | {int(name[1:]): sequence for name, sequence in context.items()}))


def test_what_replaced_one_write_of_a_dot_has_not_replaced_the_other() -> None:
    replaced, other = row(version(1, 10, b"first")), row(version(1, 20, b"second"))
    later = row(Version(Dot(2, 1), 15, b"over the first"), r1=1)
    orders = [(replaced, other, later), (replaced, later, other), (later, other, replaced), (other, later, replaced)]
    assert {merged(*order).winner.value for order in orders} == {b"second"}


def test_a_value_is_not_lost_to_a_tombstone_of_the_same_dot_and_time() -> None:
    value, tombstone = row(version(1, 10, b"")), row(version(1, 10, None))
    assert merge(value, tombstone) == merge(tombstone, value) == value


# The owner of the dot


def twins(kind: Conflicts) -> tuple[Disk, Disk]:
    """Two stores with one replica id."""
    ours, theirs = Disk(1), Disk(1)
    if kind is SIBLINGS:
        for disk in (ours, theirs):
            with disk.committing() as transaction:
                settings = Operation(settings_address("table"), TableSettings(SIBLINGS).to_json())
                disk.store.write(transaction, "sys", settings, NOW_MS)
    return ours, theirs


def values(disk: Disk, key: str) -> list[bytes]:
    return sorted(version.value or b"" for version in disk.rows()[at(key)].versions)


@pytest.mark.parametrize("kind", [LWW, SIBLINGS])
def test_the_owner_of_a_dot_writes_both_of_its_writes_again(kind: Conflicts) -> None:
    ours, theirs = twins(kind)
    ours.put("k", b"ours", NOW_MS)
    theirs.put("k", b"theirs", NOW_MS + 1)
    stamps = {version.value: version.timestamp for disk in (ours, theirs) for version in disk.rows()[at("k")].versions}

    intake = ours.take_in(theirs.copies())

    assert intake.has_written
    held = ours.rows()[at("k")]
    assert values(ours, "k") == ([b"theirs"] if kind is LWW else [b"ours", b"theirs"])
    assert all(version.dot.sequence > 1 and version.timestamp == stamps[version.value] for version in held.versions)
    assert ours.shard.context == {1: max(version.dot.sequence for version in held.versions)}
    third = Disk(3)
    for copies in (theirs.copies(), ours.copies(), theirs.copies()):
        third.take_in(copies)
    assert third.rows()[at("k")] == held
    assert ours.store.outbox.take()[0].fields == {
        "namespace": "usr",
        "table": "table",
        "row": "k",
        "dot": f"{1:016x}-1",
    }


def test_the_owner_writes_a_row_again_that_it_does_not_hold_and_that_bears_one_of_its_dots() -> None:
    ours, theirs = twins(LWW)
    ours.put("mine", b"ours")
    theirs.put("other", b"theirs")
    assert ours.take_in(theirs.copies()).has_written
    assert ours.rows()[at("other")].winner[:3] == (Dot(1, 2), theirs.rows()[at("other")].winner.timestamp, b"theirs")
    assert ours.rows()[at("mine")].winner.dot == Dot(1, 1)
    assert ours.journal() == {(1, 1, at("mine")), (1, 2, at("other"))}


def test_a_collision_is_counted_and_logged_once_while_its_copies_go_on_arriving() -> None:
    ours, theirs = twins(LWW)
    ours.put("k", b"ours", NOW_MS)
    theirs.put("k", b"theirs", NOW_MS)
    third = Disk(3)
    for _ in range(3):
        third.take_in(ours.copies())
        third.take_in(theirs.copies())
    assert third.store._tally.anomalies == {DOT_COLLISION: 1}
    assert [notice.event for notice in third.store.outbox.take()] == ["dot_collision"]
    assert values(third, "k") == [b"theirs"]


def test_two_rows_under_one_dot_do_not_delete_each_other_s_journal_entry_and_raise_the_floor() -> None:
    ours, theirs = twins(LWW)
    ours.put("one", b"ours")
    theirs.put("other", b"theirs")
    third = Disk(3)
    third.take_in(ours.copies())
    third.cover({1: Range(0, 1)}, third.take_in(theirs.copies()))
    assert third.journal() == {(1, 1, at("other"))}
    assert third.shard.floors == {1: 1}
    third.put("one", b"again")
    assert (1, 1, at("other")) in third.journal()
    assert third.store._tally.anomalies == {DOT_COLLISION: 2}


def test_a_tombstone_that_its_owner_has_collected_is_no_collision_when_it_comes_back() -> None:
    ours, theirs = Disk(1), Disk(2, knows_settings=False)
    ours.delete("k")
    third = Disk(3)
    third.take_in(ours.copies())
    with ours.committing() as transaction:
        ours.store.collect(transaction, USER, at("k"), ours.rows()[at("k")])
        everyone = frozenset([1, 3])
        ours.shard.note_collection(Proof(Context({1: 1}), everyone, everyone), 0, Context())
    theirs.put("k", b"later", NOW_MS + 1)
    for disk in (ours, third):
        disk.take_in(theirs.copies())

    assert not ours.take_in(third.copies()).has_written
    assert ours.rows()[at("k")].versions == third.rows()[at("k")].versions
    assert replicas_of(ours.copies()) == {1, 2}
    assert ours.store._tally.anomalies == {}


def replicas_of(copies: list[RowCopy]) -> set[ReplicaId]:
    return {version.dot.replica for _, row in copies for version in row.versions}


def test_no_one_but_the_owner_writes_again() -> None:
    ours, theirs = twins(LWW)
    ours.put("k", b"ours", NOW_MS)
    theirs.put("k", b"theirs", NOW_MS)
    third = Disk(3)
    assert not third.take_in(ours.copies()).has_written
    assert not third.take_in(theirs.copies()).has_written
    assert replicas_of(third.copies()) == {1}
    assert USER in third.store.shards


def test_a_name_whose_entry_was_dropped_while_it_was_stable_is_in_no_doubt() -> None:
    ours, theirs = Disk(1), Disk(2)
    ours.put("k", b"one")
    theirs.take_in(ours.copies())
    theirs.put("k", b"two", NOW_MS + 1)
    ours.shard.names = Names(1, 0)
    ours.store.set_stable(USER, [Context({1: 1})])
    ours.take_in(theirs.copies())
    ours.store.set_stable(USER, [Context({1: 1}), Context()])
    assert ours.rows()[at("k")].context == {2: 1}
    with ours.storage.view() as view:
        assert not ours.store.misnames(view, WalkRows(USER, tuple(theirs.copies()), None))
