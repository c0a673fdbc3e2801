"""Ids of events."""

from __future__ import annotations

import contextlib
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.base import Abridged, Base
from gossipkv.core.watch.watch_position import ANEW, DOTS_MAX, EVENT_ID_LENGTH_MAX, WatchPosition

replicas = st.integers(0, 2**64 - 1)
sequences = st.integers(1, SEQUENCE_MAX)


@given(st.dictionaries(replicas, sequences, max_size=5), st.sets(st.builds(Dot, replicas, sequences), max_size=5))
def test_an_id_comes_back_as_it_was(context: dict[int, int], dots: set[Dot]) -> None:
    text = WatchPosition(Context(context), dots).event_id()
    again = WatchPosition.of_event(text)
    assert again is not None
    assert (again.context, again.dots) == (context, dots)
    assert text.replace("-", "").replace("_", "").isalnum()


@given(st.text())
def test_any_other_text_is_refused_by_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        position = WatchPosition.of_event(text)
        assert position is not None
        assert position.event_id() == text


def test_covering_an_origin_takes_its_dots_in() -> None:
    position = WatchPosition(Context({1: 1}), {Dot(1, 3), Dot(2, 2)})
    position.reach(Context({1: 5}))
    assert (position.context, position.dots) == ({1: 5}, {Dot(2, 2)})


def test_a_row_is_covered_when_all_its_versions_are() -> None:
    row = StoredRow((Version(Dot(2, 2), 9, b""), Version(Dot(1, 4), 8, b"")), Context({1: 4, 2: 2}))
    position = WatchPosition(Context({1: 4}))
    assert not position.covers_row(row)
    position.add(row)
    assert position.covers_row(row)
    assert position.dots == {Dot(2, 2)}


def test_who_has_been_told_more_than_an_id_holds_begins_anew() -> None:
    position = WatchPosition(dots=[Dot(1, 2 * number) for number in range(1, DOTS_MAX + 1)])
    assert WatchPosition.of_event(position.event_id()) is not None
    position.dots.add(Dot(1, 1))
    assert position.event_id() == ANEW
    assert WatchPosition.of_event(ANEW) is None


def test_an_id_of_endless_entries_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        WatchPosition.of_event("Av____8P")


def test_a_position_of_too_many_replicas_for_a_header_has_no_id_of_its_own() -> None:
    ids = [
        WatchPosition(Context({2**63 + number: 10**6 for number in range(count)})).event_id() for count in (200, 700)
    ]
    assert len(ids[0]) <= EVENT_ID_LENGTH_MAX
    assert WatchPosition.of_event(ids[0]) is not None
    assert ids[1] == ANEW


def test_the_longest_of_all_dots_fit_the_bound_or_have_no_id() -> None:
    dots = [Dot(2**64 - 1 - number, SEQUENCE_MAX) for number in range(DOTS_MAX)]
    assert len(WatchPosition(dots=dots).event_id()) <= EVENT_ID_LENGTH_MAX


def test_an_id_above_the_bound_begins_anew() -> None:
    assert WatchPosition.of_event("A" * (EVENT_ID_LENGTH_MAX + 1)) is None


def text_of(*parts: bytes) -> str:
    return urlsafe_b64encode(b"".join(parts)).rstrip(b"=").decode()


ONE = (1).to_bytes(8, "big")
NONE = (0).to_bytes(8, "big")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A", "not base64"),
        ("\u00e9", "not base64"),
        ("", "unknown form"),
        (text_of(b"\x01\x00"), "unknown form"),
        (text_of(b"\x02"), "cut off"),
        (text_of(b"\x02\x80"), "cut off"),
        (text_of(b"\x02", b"\x80" * 12, b"\x00"), "cut off"),
        (text_of(b"\x02\x00\x00\x00"), "something behind"),
        (text_of(b"\x02\x00\x00"), "not as it was given out"),
        (text_of(b"\x02\x01", ONE, b"\x81\x00"), "not as it was given out"),
        (text_of(b"\x02\x01", ONE, b"\xff" * 9, b"\x01"), "beyond all sequences"),
        (text_of(b"\x03", NONE, b"\x00"), "of no base"),
    ],
)
def test_what_was_never_given_out_is_no_id(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        WatchPosition.of_event(text)


@pytest.mark.parametrize("sequence", [1, 127, 128, 129, 16_383, 16_384, SEQUENCE_MAX])
def test_sequences_at_the_edge_of_a_byte_come_back(sequence: int) -> None:
    position = WatchPosition(Context({7: sequence}), {Dot(9, sequence), Dot(8, 1)})
    again = WatchPosition.of_event(position.event_id())
    assert again is not None
    assert (again.context, again.dots) == (position.context, position.dots)


def test_an_id_omits_the_base_and_its_reader_puts_it_back() -> None:
    base = Base((Dot(1, 5), Dot(2, 6)), 2)
    position = WatchPosition(Context({1: 5, 2: 6, 3: 7}), {Dot(3, 9)}, base)
    again = WatchPosition.of_event(position.event_id())
    assert again is not None
    assert isinstance(again.context, Abridged)
    assert (again.context, again.context.base, again.dots) == ({3: 7}, base.number, {Dot(3, 9)})
    assert again.event_id() == position.event_id(), "as it was given out"
    assert len(position.event_id()) < len(WatchPosition(position.context, position.dots).event_id())
    assert not again.complete(Base())
    assert again.complete(base)
    assert again.context == position.context
    assert again.complete(Base()), "it is complete already"


def test_the_id_follows_what_is_covered() -> None:
    position = WatchPosition(Context({1: 5}))
    before = position.event_id()
    position.reach(Context({1: 6}))
    assert WatchPosition(Context({1: 6})).event_id() == position.event_id() != before


def test_the_longest_id_that_a_header_holds_is_one() -> None:
    ids = [WatchPosition(Context({2**63 + n: 1 for n in range(count)})).event_id() for count in range(335, 345)]
    longest = max((text for text in ids if text != ANEW), key=len)
    assert EVENT_ID_LENGTH_MAX - 12 <= len(longest) <= EVENT_ID_LENGTH_MAX
    assert WatchPosition.of_event(longest) is not None
