from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipkv.core.model.causality import Dot
from gossipkv.core.model.fingerprint import (
    EMPTY,
    LEAF_SUMS,
    LEAVES,
    LEAVES_PER_PAGE,
    NODES,
    FingerprintTable,
    Pair,
    Sums,
    leaf_of,
    term_of,
)
from gossipkv.core.model.row import Version

VERSIONS = st.builds(
    lambda replica, sequence, is_value: Version(Dot(replica, sequence), 1, b"" if is_value else None),
    st.integers(1, 3),
    st.integers(1, 9),
    st.booleans(),
)
ROWS = st.dictionaries(
    st.integers(0, 5).map(lambda number: b"table\0%d" % number),
    st.lists(VERSIONS, max_size=3, unique_by=lambda version: version.dot),
)
Rows = dict[bytes, list[Version]]


def table_of(rows: Rows) -> FingerprintTable:
    table = FingerprintTable()
    for address, versions in rows.items():
        table.replace(address, (), versions)
    return table


def sums(table: FingerprintTable) -> tuple[Sums, list[Pair], list[Sums]]:
    leaves = [table.leaf(leaf_of(b"table\0%d" % number)) for number in range(6)]
    return table.root, table.nodes(), leaves


@settings(max_examples=50)
@given(ROWS, st.data())
def test_sums_do_not_depend_on_the_order_of_rows_or_versions(rows: Rows, data: st.DataObject) -> None:
    shuffled = {
        address: data.draw(st.permutations(rows[address])) for address in data.draw(st.permutations(sorted(rows)))
    }
    assert sums(table_of(shuffled)) == sums(table_of(rows))


@settings(max_examples=50)
@given(st.lists(ROWS, min_size=1, max_size=6))
def test_sums_kept_by_replacing_equal_those_computed_anew(stages: list[Rows]) -> None:
    table = FingerprintTable()
    held: Rows = {}
    for rows in stages:
        for address in sorted({*held, *rows}):
            assert table.replace(address, held.get(address, ()), rows.get(address, ())) == leaf_of(address)
        held = rows
    assert sums(table) == sums(table_of(held))


@settings(max_examples=50)
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_the_pages_that_changed_carry_the_table_to_the_next_start(stages: list[Rows]) -> None:
    table = FingerprintTable()
    stored: dict[int, bytes] = {}
    held: Rows = {}
    for rows in stages:
        for address in {*held, *rows}:
            table.replace(address, held.get(address, ()), rows.get(address, ()))
        stored.update(table.take_dirty_pages())
        held = rows
    loaded = FingerprintTable()
    for page, content in stored.items():
        loaded.load_page(page, content)
    assert sums(loaded) == sums(table)
    assert table.take_dirty_pages() == []


@given(st.binary(min_size=1, max_size=50))
def test_every_address_has_a_leaf(address: bytes) -> None:
    assert 0 <= leaf_of(address) < LEAVES


def test_values_and_tombstones_are_summed_apart() -> None:
    value = Version(Dot(1, 1), 1, b"")
    tombstone = Version(Dot(1, 2), 2, None)
    table = table_of({b"table\0row": [value]})
    assert table.root.visible != 0
    assert table.root.tombstones == 0
    table.replace(b"table\0row", [value], [tombstone])
    assert table.root.visible == 0
    assert table.root.tombstones != 0
    table.replace(b"table\0row", [tombstone], [])
    assert table.root == EMPTY


@pytest.mark.parametrize(
    ("address", "dot"), [(b"table\0other", Dot(1, 1)), (b"table\0row", Dot(2, 1)), (b"table\0row", Dot(1, 2))]
)
def test_another_row_or_another_write_makes_another_sum(address: bytes, dot: Dot) -> None:
    row = table_of({b"table\0row": [Version(Dot(1, 1), 1, b"")]})
    assert table_of({address: [Version(dot, 1, b"")]}).root != row.root


def test_a_node_and_the_root_are_the_sums_of_what_is_below() -> None:
    table = table_of({b"table\0%d" % number: [Version(Dot(1, number), 1, b"")] for number in range(1, 300)})
    for node in range(NODES):
        assert (
            table.node(node).visible
            == sum(visible for visible, _ in LEAF_SUMS.iter_unpack(table.leaves_of(node))) % 2**64
        )
    assert table.root.visible == sum(visible for visible, _ in table.nodes()) % 2**64


def test_a_leaf_that_is_summed_again_changes_the_sums_above_it_and_its_page_alone() -> None:
    versions = {b"table\0%d" % n: [Version(Dot(1, n), 1, b"" if n % 2 else None)] for n in range(1, 600)}
    table = table_of(versions)
    table.take_dirty_pages()
    address, leaf = b"", 0
    for address in (b"table\x001", b"table\x002"):
        versions[address] = [Version(Dot(2, 1), 1, b"later"), Version(Dot(2, 2), 2, None)]
        leaf = leaf_of(address)
        table.set_leaf(leaf, table_of({a: held for a, held in versions.items() if leaf_of(a) == leaf}).leaf(leaf))
        assert (sums(table), table.leaves_of(leaf >> 8)) == (
            sums(table_of(versions)),
            table_of(versions).leaves_of(leaf >> 8),
        )
        assert [page for page, _ in table.take_dirty_pages()] == [leaf // LEAVES_PER_PAGE]
    del versions[b"table\x002"]
    table.set_leaf(leaf_of(b"table\x002"), EMPTY)
    assert sums(table) == sums(table_of(versions))


CONTENTS = st.builds(
    Version,
    st.builds(Dot, st.integers(1, 2), st.integers(1, 2)),
    st.integers(1, 2),
    st.none() | st.sampled_from([b"", b"\0", b"one", b"two", bytes(300)]),
    st.none() | st.integers(0, 1),
    st.none() | st.integers(0, 1),
)


@given(CONTENTS, CONTENTS, st.sampled_from([b"t\0a", b"t\0b"]), st.sampled_from([b"t\0a", b"t\0b"]))
def test_a_term_tells_all_that_a_version_holds_and_where_it_stands(
    one: Version, other: Version, here: bytes, there: bytes
) -> None:
    assert (term_of(here, one) == term_of(there, other)) == ((here, one) == (there, other))


def test_two_values_under_one_dot_have_two_fingerprints() -> None:
    ours, theirs = FingerprintTable(), FingerprintTable()
    ours.replace(b"t\0k", (), [Version(Dot(1, 1), 5, b"ours")])
    theirs.replace(b"t\0k", (), [Version(Dot(1, 1), 5, b"theirs")])
    assert ours.root != theirs.root


def test_members_of_all_versions_compute_the_same_terms() -> None:
    """A change here would let members of two versions walk for each other's rows in every round, for nothing."""
    kinds = [
        Version(Dot(1, 2), 3, b"value"),
        Version(Dot(1, 2), 3, None),
        Version(Dot(1, 2), 3, b"", expires_ms=4),
        Version(Dot(1, 2), 3, None, expires_ms=4),
        Version(Dot(1, 2), 3, b"", siblings_above=5),
        Version(Dot(1, 2), 3, None, expires_ms=4, siblings_above=5),
    ]
    terms = [term_of(b"table\0row", version) for version in kinds]
    assert [f"{term:016x}" for term in terms] == [
        "de8a3d64a4c0b657",
        "a554dfbcac3ab947",
        "cff3f41b741c6eb0",
        "fa1c24bd46037c35",
        "cc7ca9e51f2fc2db",
        "60f999906304dbe5",
    ]
