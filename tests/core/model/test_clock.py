from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gossipkv.core.model.clock import HybridClock, milliseconds, timestamp_at

SKEW_MS_MAX = 1_000
NOW_MS = 1_700_000_000_000


@given(st.lists(st.integers(NOW_MS, NOW_MS + SKEW_MS_MAX), min_size=2, max_size=30))
def test_timestamps_strictly_increase_while_the_clock_wavers_within_the_skew(clock_ms: list[int]) -> None:
    clock = HybridClock(SKEW_MS_MAX)
    stamps = [clock.next(now_ms) for now_ms in clock_ms]
    assert all(earlier < later for earlier, later in pairwise(stamps))
    assert all(stamp >= timestamp_at(now_ms) for stamp, now_ms in zip(stamps, clock_ms, strict=True))


def test_a_full_counter_carries_into_the_milliseconds() -> None:
    clock = HybridClock(SKEW_MS_MAX)
    clock.observe(timestamp_at(NOW_MS) + 0xFFFF)
    assert clock.next(NOW_MS) == timestamp_at(NOW_MS + 1)
    assert milliseconds(clock.next(NOW_MS)) == NOW_MS + 1


@given(st.integers(0, 2**48 - 2))
def test_a_timestamp_tells_its_millisecond(now_ms: int) -> None:
    assert milliseconds(timestamp_at(now_ms)) == now_ms
    assert milliseconds(timestamp_at(now_ms + 1) - 1) == now_ms


def test_a_clock_that_is_set_right_by_more_than_the_skew_is_followed_back() -> None:
    clock = HybridClock(SKEW_MS_MAX)
    clock.next(NOW_MS + SKEW_MS_MAX + 1)
    assert milliseconds(clock.next(NOW_MS)) == NOW_MS


def test_a_clock_that_is_set_back_within_the_skew_is_not_followed() -> None:
    clock = HybridClock(SKEW_MS_MAX)
    ahead = clock.next(NOW_MS + SKEW_MS_MAX)
    assert clock.next(NOW_MS) == ahead + 1


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 2**40)), max_size=20))
def test_a_timestamp_is_later_than_what_it_must_be_above(calls: list[tuple[int, int]]) -> None:
    clock = HybridClock(SKEW_MS_MAX)
    for now_ms, above in calls:
        assert clock.next(now_ms, above) > above


def test_what_was_observed_is_passed_and_what_is_older_changes_nothing() -> None:
    clock = HybridClock(SKEW_MS_MAX)
    seen = timestamp_at(NOW_MS + 500)
    clock.observe(seen)
    clock.observe(timestamp_at(NOW_MS))
    assert clock.next(NOW_MS) == seen + 1


def test_a_timestamp_is_later_than_any_given_out_before_whatever_it_had_to_be_above() -> None:
    clock = HybridClock(1_000)
    first = clock.next(1, above=timestamp_at(900))
    assert clock.next(1) > first
