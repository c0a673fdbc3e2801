"""What a writer claims to have read cannot harm other writers: contexts come from clients, and may be forged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipkv.core.inputs import Write
from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.model.clock import milliseconds, timestamp_at
from gossipkv.core.model.lacking import ELSEWHERE, Lack
from gossipkv.core.model.row import Conflicts, Seen, StoredRow, Version, known_part
from gossipkv.core.model.write import CONTEXT_AHEAD, CONTEXT_UNKNOWN, Declined, Operation, Result, StoredWrite
from gossipkv.core.store.tables import TableSettings, settings_address
from tests.core.cluster import Cluster
from tests.core.disks import NOW_MS, SKEW_MS_MAX, TABLE, Disk, at
from tests.core.test_replica import settled

ROW = at("row")
KINDS = ("lww", "siblings")


def three(kind: str) -> Cluster:
    """Three members that know the settings of the table."""
    cluster = settled(Cluster(), "a", "b", "c")
    settings = TableSettings(Conflicts(kind)).to_json()
    cluster.answer_to("a", Write(SYSTEM, (Operation(settings_address(TABLE), settings),)))
    cluster.settle()
    return cluster


def put(cluster: Cluster, member: str, value: bytes | None, seen: Seen | None = None, address: bytes = ROW) -> Result:
    results = cluster.answer_to(member, Write(USER, (Operation(address, value, seen=seen),)))
    assert isinstance(results, list)
    return results[0]


def forged(context: dict[int, int], timestamp: int | None = None, siblings_above: int = 0) -> Seen:
    return Seen(Context(context), timestamp_at(NOW_MS) if timestamp is None else timestamp, siblings_above)


def reason(result: Result) -> str:
    assert isinstance(result, Declined), result
    return result.reason


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "context",
    [
        {2: 2},
        {1: 2},
        {1: 1, 2: 1, 3: 1},
        {1: 1, 99: 1},
        {2: SEQUENCE_MAX},
        dict.fromkeys(range(1_000, 1_400), 7),
    ],
    ids=["the next write of another", "its own next", "one of several", "of no one", "the last one", "of many"],
)
@pytest.mark.parametrize("value", [b"forged", None], ids=["put", "delete"])
def test_a_context_that_names_writes_which_nobody_has_made_changes_nothing(
    kind: str, context: dict[int, int], value: bytes | None
) -> None:
    cluster = three(kind)
    put(cluster, "a", b"one")
    put(cluster, "b", b"two")
    cluster.settle()
    before = {name: member.rows() for name, member in cluster.members.items()}
    assert reason(put(cluster, "a", value, forged(context))) == CONTEXT_UNKNOWN
    assert {name: member.rows() for name, member in cluster.members.items()} == before


@pytest.mark.parametrize("kind", KINDS)
def test_writes_of_others_stand_after_a_forged_context(kind: str) -> None:
    cluster = three(kind)
    put(cluster, "a", b"first")
    cluster.settle()
    for name in ("a", "b", "c"):
        put(cluster, name, b"forged", forged({1: 9, 2: 9, 3: 9}))
    written = [put(cluster, name, name.encode()) for name in ("a", "b", "c")]
    assert all(isinstance(each, StoredWrite) for each in written)
    cluster.settle()
    rows = [member.rows()[ROW] for member in cluster.members.values()]
    assert rows[0] == rows[1] == rows[2]
    held = {version.value for version in rows[0].versions}
    assert held >= {b"a", b"b", b"c"} if kind == "siblings" else held <= {b"a", b"b", b"c"}
    assert not any(member.driver.replica.tally.rows_refused for member in cluster.members.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_context_read_at_one_member_is_taken_at_another_once_that_has_the_row(kind: str) -> None:
    cluster = three(kind)
    put(cluster, "a", b"old")
    cluster.settle()
    put(cluster, "a", b"read")
    read = cluster.members["a"].rows()[ROW].seen
    assert reason(put(cluster, "b", b"early", read)) == CONTEXT_UNKNOWN
    cluster.settle()
    assert isinstance(put(cluster, "b", b"new", read), StoredWrite)
    cluster.settle()
    assert [version.value for version in cluster.members["c"].rows()[ROW].versions] == [b"new"]


def test_the_context_of_a_row_that_runs_ahead_of_what_the_member_covers_is_taken() -> None:
    disk, other = keeping_siblings(1), keeping_siblings(2)
    other.put("elsewhere")
    other.put("row")
    disk.take_in([copy for copy in other.copies() if copy.address == ROW])
    assert disk.shard.context == {}
    assert isinstance(disk.do(Operation(ROW, b"new", seen=disk.rows()[ROW].seen)), StoredWrite)
    assert [version.value for version in disk.rows()[ROW].versions] == [b"new"]


def keeping_siblings(replica: int) -> Disk:
    disk = Disk(replica)
    with disk.committing() as transaction:
        settings = TableSettings(Conflicts.SIBLINGS).to_json()
        disk.store.write(transaction, SYSTEM, Operation(settings_address(TABLE), settings), NOW_MS)
    return disk


def test_writes_to_other_rows_do_not_enter_a_row_and_do_not_raise_floors() -> None:
    disk = keeping_siblings(1)
    for number in range(5):
        disk.put(f"other{number}")
    disk.put("row", b"old")
    seen = forged({1: 5})
    assert isinstance(disk.do(Operation(ROW, b"new", seen=seen)), StoredWrite)
    assert {version.value for version in disk.rows()[ROW].versions} == {b"old", b"new"}
    other = keeping_siblings(2)
    for number in range(3):
        other.put(f"other{number}")
    disk.take_in(other.copies())
    with disk.committing():
        disk.shard.advance(2, 3)
    disk.do(Operation(ROW, b"newer", seen=forged({2: 3})))
    assert 2 not in disk.rows()[ROW].context
    assert disk.shard.floors.get(2, 0) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_forged_timestamp_neither_drags_the_clock_nor_outranks_anything(kind: str) -> None:
    cluster = three(kind)
    put(cluster, "a", b"read")
    cluster.settle()
    read = cluster.members["a"].rows()[ROW].seen
    ahead = timestamp_at(cluster.now_ms + SKEW_MS_MAX)
    put(cluster, "a", b"forged", read._replace(timestamp=ahead, siblings_above=ahead))
    put(cluster, "a", b"afterwards", address=at("another"))
    for row in cluster.members["a"].rows().values():
        assert milliseconds(row.winner.timestamp) <= cluster.now_ms
        assert milliseconds(row.seen.siblings_above) <= cluster.now_ms
    cluster.now_ms += 1
    put(cluster, "b", b"concurrent")
    cluster.settle()
    assert b"concurrent" in {version.value for version in cluster.members["c"].rows()[ROW].versions}


def test_a_context_ahead_of_the_clock_is_declined_as_such_and_first() -> None:
    disk = keeping_siblings(1)
    seen = forged({2: 1}, timestamp_at(NOW_MS + SKEW_MS_MAX + 1))
    assert reason(disk.do(Operation(ROW, b"x", seen=seen))) == CONTEXT_AHEAD


@pytest.mark.parametrize("kind", KINDS)
def test_a_condition_is_judged_only_by_a_member_that_knows_the_context(kind: str) -> None:
    """A member that is behind must not say that the row has another version than the one that was read."""
    cluster = three(kind)
    put(cluster, "a", b"old")
    cluster.settle()
    put(cluster, "a", b"read")
    row = cluster.members["a"].rows()[ROW]
    operation = Operation(ROW, b"new", if_match=(row.etag,), seen=row.seen)
    results = cluster.answer_to("b", Write(USER, (operation,)))
    assert isinstance(results, list)
    assert reason(results[0]) == CONTEXT_UNKNOWN
    cluster.settle()
    results = cluster.answer_to("b", Write(USER, (operation,)))
    assert isinstance(results, list)
    assert isinstance(results[0], StoredWrite)


def test_what_was_read_of_a_lacking_row_is_taken_as_it_was_given() -> None:
    disk = keeping_siblings(1)
    disk.put("row", b"here")
    with disk.committing():
        disk.shard.advance(2, 4)
        disk.shard.note_lack(ROW, lack(2, 4))
    assert isinstance(disk.do(Operation(ROW, b"new", seen=forged({1: 1, 2: 4}))), StoredWrite)
    assert disk.rows()[ROW].context == {1: 2, 2: 4}


def lack(origin: int, through: int) -> Lack:
    return Lack(Context({origin: through}), Context(), ELSEWHERE)


contexts = st.dictionaries(st.integers(1, 4), st.integers(1, 6), max_size=4).map(Context)


@given(contexts, contexts, contexts, st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_the_known_part_names_nothing_beyond_the_row_and_the_marks(
    claimed: Context, held: Context, marks: Context, timestamp: int, of_row: int, collected: int
) -> None:
    held.advance({1: 1})
    row = StoredRow((Version(Dot(1, held[1]), of_row, b"", None, of_row // 2),), held)
    part = known_part(Seen(claimed, timestamp, timestamp // 2), row, marks, collected)
    assert held.joined(marks).covers_all(part.context)
    assert claimed.covers_all(part.context)
    assert part.timestamp <= max(of_row, collected)
    assert part.siblings_above <= part.timestamp
    assert known_part(row.seen, row, marks, collected) == row.seen
