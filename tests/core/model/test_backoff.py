"""Pauses before retries."""

from __future__ import annotations

import random

from gossipkv.core.model.backoff import Backoff


class Even(random.Random):
    """Draws the middle of every range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def test_a_pause_doubles_with_each_failure_up_to_the_longest_and_begins_again_after_a_success() -> None:
    backoff = Backoff()
    pauses = []
    for _ in range(5):
        backoff.failed(1_000, 100, 500, Even())
        pauses.append(backoff.until_ms - 1_000)
    assert pauses == [100, 200, 400, 500, 500]
    backoff.succeeded()
    assert not backoff.is_waiting(0)
    backoff.failed(1_000, 100, 500, Even())
    assert (backoff.is_waiting(1_099), backoff.is_waiting(1_100)) == (True, False)


def test_a_clock_that_is_set_back_does_not_lengthen_a_pause() -> None:
    backoff = Backoff()
    backoff.failed(1_000, 100, 500, Even())
    backoff.clock_set_back(900)
    assert (backoff.is_waiting(199), backoff.is_waiting(200)) == (True, False)
