"""Watches over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from .conftest import Api

DEADLINE_SECONDS = 20.0


class Event(NamedTuple):
    kind: str
    id: str
    data: Any

    @property
    def shown(self) -> tuple[str, Any, Any]:
        return self.kind, self.data.get("row"), self.data.get("value")


class Stream:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.last_id = ""

    async def next(self) -> Event:
        fields: dict[str, str] = {}
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                line = (await self._response.content.readline()).decode().rstrip("\n")
                if not line and "data" in fields:
                    self.last_id = fields.get("id", self.last_id)
                    return Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
                name, _, value = line.partition(": ")
                fields[name] = value

    async def take(self, count: int) -> list[Event]:
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def watching(api: Api, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    url = f"http://127.0.0.1:{api.port}/v1/usr/tables/t/rows:watch{query}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Stream(response)


async def test_a_watch_tells_puts_and_deletes_from_now_on(api: Api) -> None:
    await api.put("before")
    async with watching(api, "?prefix=k") as stream:
        etag = (await api.put("k", b"1")).headers["ETag"].strip('"')  # type: ignore[index, call-overload]
        await api.put("elsewhere")
        await api.put("k", b"1", table="another")
        await api.put("k", b"\xff")
        await api.delete("k")
        events = await stream.take(3)
    assert [event.shown for event in events] == [
        ("put", "k", "1"),
        ("put", "k", {"base64": "/w=="}),
        ("delete", "k", None),
    ]
    assert events[0].data["etag"] == etag


async def test_a_watch_goes_on_from_each_of_its_ids_without_a_gap_or_a_repetition(api: Api) -> None:
    async with watching(api) as stream:
        await api.batch([{"row": f"k{number}", "value": "v"} for number in range(9)])
        events = await stream.take(9)
    for place, event in enumerate(events):
        async with watching(api, **{"Last-Event-ID": event.id}) as stream:
            await api.put(f"after{place}")
            rest = [event.data["row"] for event in await stream.take(9 - place)]
        expected = [f"k{number}" for number in range(place + 1, 9)] + [f"after{number}" for number in range(place + 1)]
        assert rest == expected[: 9 - place]


async def test_a_snapshot_comes_first_where_it_is_asked_for(api: Api) -> None:
    await api.put("b")
    await api.put("a")
    await api.delete("b")
    async with watching(api, "?snapshot=true") as stream:
        first = await stream.take(2)
        await api.put("c")
        last = await stream.next()
    assert [event.kind for event in first] == ["put", "current"]
    assert first[0].id == ""
    assert last.shown == ("put", "c", "v")


async def test_a_member_that_stops_ends_its_watches(api: Api) -> None:
    async with watching(api) as stream:
        api.node.end_watches()
        assert (await stream.next()).kind == "end"
    async with watching(api) as stream:
        assert (await stream.next()).kind == "end"


async def test_a_reset_that_was_cut_off_is_begun_anew(api: Api) -> None:
    await api.put("k")
    async with watching(api, **{"Last-Event-ID": "anew"}) as stream:
        events = await stream.take(3)
    assert [event.kind for event in events] == ["reset", "put", "current"]
    assert events[0].id == "anew"


async def test_an_id_that_no_watch_gave_out_is_refused(api: Api) -> None:
    for text in ("x", "AQ", "!!!!", "AQABAAAAAAAAAAA"):
        answer = await api.ask("GET", f"/v1/usr/tables/t/rows:watch?last_event_id={text}")
        assert (answer.status, answer.problem) == (400, "invalid-parameter")
