"""Rows that expire, over HTTP: a node whose clock the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gossipkv.api.handlers.watch import event_text
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.watch.watching import WatchEvent
from gossipkv.rows.view.visibility import Sight

from .conftest import Api, row_path, running
from .event_stream import watching


class Clock:
    now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def api(clock: Clock) -> AsyncIterator[Api]:
    async with running(clock_ms=clock) as api:
        yield api


async def put(api: Api, row: str, ttl: str) -> int:
    return (await api.ask("PUT", row_path(row) + f"?ttl={ttl}", data=b"v")).status


async def test_a_row_is_hidden_from_the_moment_that_it_expires(api: Api, clock: Clock) -> None:
    assert await put(api, "k", "30s") == 201
    await api.put("stays")
    clock.now_ms += 29_999
    assert (await api.get("k")).body == b"v"
    clock.now_ms += 1
    assert (await api.get("k")).status == 404
    assert await api.keys() == ["stays"]
    assert (await api.put("k", b"w", **{"If-Match": "*"})).status == 412
    assert (await api.put("k", b"w", **{"If-None-Match": "*"})).status == 201
    assert (await api.get("k")).body == b"w"
    clock.now_ms += 60_000
    assert (await api.get("k")).body == b"w"


async def test_what_has_expired_becomes_a_tombstone(api: Api, clock: Clock) -> None:
    assert await put(api, "k", "500ms") == 201
    clock.now_ms += 500
    async with asyncio.timeout(10):
        while api.contents()[b"t\0k"] is not None:
            await asyncio.sleep(0.01)
    assert (await api.ask("GET", "/v1/usr/tables/t")).status == 404


@pytest.mark.parametrize("ttl", ["", "0s", "30", "s", "-1s", "1.5s", "1w", "999999999999d", "1e3s", "%C2%B2s"])
async def test_a_ttl_that_is_no_duration_is_refused(api: Api, ttl: str) -> None:
    assert (await api.ask("PUT", row_path("k") + f"?ttl={ttl}", data=b"v")).problem == "invalid-parameter"


async def test_lines_of_a_batch_take_a_ttl(api: Api, clock: Clock) -> None:
    results = await api.batch([{"row": "k", "value": "v", "ttl": "1m"}, {"row": "l", "value": "v", "ttl": 5}])
    assert [result["status"] for result in results] == [201, 400]
    clock.now_ms += 60_000
    assert await api.keys() == []


async def test_a_watcher_is_told_of_an_expiry_and_not_of_a_value_that_has_expired(api: Api, clock: Clock) -> None:
    async with watching(api) as stream:
        await put(api, "k", "1m")
        await put(api, "l", "1m")
        events = await stream.take(2)
        clock.now_ms += 60_000
        events += await stream.take(2)
    assert [(event.kind, event.data["row"]) for event in events] == [
        ("put", "k"),
        ("put", "l"),
        ("expired", "k"),
        ("expired", "l"),
    ]
    async with watching(api, **{"Last-Event-ID": "anew"}) as stream:
        assert [event.kind for event in await stream.take(2)] == ["reset", "current"]


def test_a_value_that_expired_on_its_way_to_a_watcher_is_told_as_expired() -> None:
    row = StoredRow((Version(Dot(1, 1), 1, b"v", expires_ms=50),), Context({1: 1}))
    for now_ms, kind in ((49, b"put"), (50, b"expired")):
        text = event_text(WatchEvent(b"t\0k", row, "id"), Sight(row.visible_at(now_ms), keeps_siblings=False))
        assert text.startswith(b"event: %s\nid: id\ndata: " % kind)
        assert (b"value" in text) == (kind == b"put")
