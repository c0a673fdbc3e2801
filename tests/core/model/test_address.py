from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipkv.core.model.address import (
    ROW_KEY_BYTES_MAX,
    address_of,
    is_address,
    is_row_key,
    is_table_name,
    key_of,
    table_of,
)

TABLES = st.from_regex(r"\A[A-Za-z0-9_.-]{1,64}\Z")
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100).map(str.encode)


@given(TABLES, KEYS)
def test_an_address_tells_its_table_and_its_key_even_one_with_zero_bytes(table: str, key: bytes) -> None:
    for each in (key, b"\0" + key):
        address = address_of(table, each)
        assert (table_of(address), key_of(address)) == (table, each)
        assert is_address(address)


@given(st.lists(st.tuples(TABLES, KEYS), min_size=2, max_size=8))
def test_addresses_sort_by_table_then_by_code_points_of_the_key(rows: list[tuple[str, bytes]]) -> None:
    by_address = sorted(rows, key=lambda row: address_of(*row))
    assert by_address == sorted(rows, key=lambda row: (row[0], row[1].decode()))


@pytest.mark.parametrize("table", ["", "a b", "a/b", "ä", "t\n", "t" * 65])
def test_a_table_name_of_other_characters_or_another_length_is_none(table: str) -> None:
    assert not is_table_name(table)
    assert not is_address(address_of(table, b"key"))


@pytest.mark.parametrize("key", [b"", b"k" * (ROW_KEY_BYTES_MAX + 1), b"\xff", b"\xed\xa0\x80"])
def test_a_row_key_is_1_to_400_bytes_of_utf_8(key: bytes) -> None:
    assert not is_row_key(key)
    assert not is_address(address_of("table", key))
    assert is_row_key(b"k" * ROW_KEY_BYTES_MAX)


def test_without_a_separator_there_is_no_address() -> None:
    assert not is_address(b"table")
