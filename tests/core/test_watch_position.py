"""Ids of events."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipkv.core.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.seen import Seen

replicas = st.integers(0, 2**64 - 1)
sequences = st.integers(1, SEQUENCE_MAX)


@given(st.dictionaries(replicas, sequences, max_size=5), st.sets(st.builds(Dot, replicas, sequences), max_size=5))
def test_an_id_comes_back_as_it_was(context: dict[int, int], dots: set[Dot]) -> None:
    seen = Seen(Context(context), dots)
    text = seen.encoded()
    again = Seen.decoded(text)
    assert (again.context, again.dots) == (seen.context, seen.dots)
    assert text.replace("-", "").replace("_", "").isalnum()


@given(st.text())
def test_any_other_text_is_refused_by_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert Seen.decoded(text).encoded() == text


def test_covering_an_origin_takes_its_dots_in() -> None:
    seen = Seen(Context({1: 1}), {Dot(1, 3), Dot(2, 2)})
    seen.reach(1, 5)
    assert (seen.context, seen.dots) == ({1: 5}, {Dot(2, 2)})
    assert not seen.is_covered_by(Context({1: 5, 2: 1}))
    assert seen.is_covered_by(Context({1: 5, 2: 2}))


def test_an_id_of_endless_entries_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        Seen.decoded("Af____8P")
