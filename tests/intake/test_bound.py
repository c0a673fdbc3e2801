from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from gossipkv.intake import bound
from gossipkv.intake.bound import SMALL_BYTES, Bound, Share

LIMIT = 64 * SMALL_BYTES


async def test_what_does_not_fit_is_refused_and_counted() -> None:
    held = Bound("name", LIMIT, "do less")
    assert held.take(LIMIT // 2)
    assert not held.take(LIMIT // 2)
    assert (held.used, held.refusals.total) == (LIMIT // 2, 1)
    held.give_back(LIMIT // 2)
    assert held.take(LIMIT // 2)


async def test_the_last_part_is_kept_for_the_small() -> None:
    held = Bound("name", LIMIT, "do less")
    assert held.take(LIMIT * 7 // 8)
    assert not held.take(SMALL_BYTES + 1)
    assert held.take(SMALL_BYTES)
    one = Share(held)
    assert one.take(SMALL_BYTES)
    assert not one.take(1), "it is not small any more"


async def test_what_exceeds_the_whole_bound_fits_while_nothing_is_held() -> None:
    held = Bound("name", LIMIT, "do less")
    assert held.take(2 * LIMIT)
    assert not held.take(1)


async def test_a_share_gives_back_what_it_does_not_keep() -> None:
    held = Bound("name", LIMIT, "do less")
    one = Share(held)
    assert one.take(100)
    one.keep(40)
    assert (one.held, held.used) == (40, 40)
    one.keep(0)
    assert held.used == 0


async def test_refusals_are_logged_when_they_begin_and_when_they_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "QUIET_SECONDS", 0.05)
    held = Bound("name", LIMIT, "do less")
    with capture_logs() as logs:
        assert held.take(LIMIT)
        for _ in range(100):
            assert not held.take(LIMIT)
        async with asyncio.timeout(20):
            while len(logs) < 2:
                await asyncio.sleep(0.01)
        assert not held.take(LIMIT)
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("refusing", "warning"),
        ("refusing_ended", "warning"),
        ("refusing", "warning"),
    ]
    assert (logs[0]["cause"], logs[0]["remedy"], logs[0]["limit"]) == ("name", "do less", LIMIT)
    assert logs[1]["refused"] == 100
