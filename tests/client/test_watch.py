"""Watches that change servers, over servers that tell what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gossipkv.client import AsyncClient, Change, Kind, RefusedError, UnavailableError, Watch

NOWHERE = "http://127.0.0.1:1"
ENDINGS = {"cut off": b"", "end": b"event: end\ndata: {}\n\n", "overflow": b"event: overflow\ndata: {}\n\n"}


@asynccontextmanager
async def told(*answers: bytes) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that answers each request with what comes next and ends the stream, the last one again and again; and
    the ids that it was given."""
    ids: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        ids.append(request.headers.get("Last-Event-ID", ""))
        return web.Response(body=answers[min(len(ids), len(answers)) - 1], content_type="text/event-stream")

    async with served(answer) as url:
        yield url, ids


@asynccontextmanager
async def served(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{site.port}"
    await runner.cleanup()


def event(name: str, event_id: str, data: str = "{}") -> bytes:
    return f"event: {name}\nid: {event_id}\ndata: {data}\n\n".encode()


def put(row: str, event_id: str) -> bytes:
    return event("put", event_id, f'{{"row":"{row}","value":"v","etag":"e"}}')


async def next_of(watch: Watch) -> Change:
    async with asyncio.timeout(20):
        return await anext(watch)


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
async def test_a_watch_goes_on_at_the_next_server_with_its_last_id(ending: bytes) -> None:
    async with (
        told(b": watching\nid: 1\n\n" + put("a", "2") + b": heartbeat\nid: 3\n\n" + ending) as (first, first_ids),
        told(put("b", "4")) as (second, second_ids),
        AsyncClient([NOWHERE, first, second]) as client,
        client.watch("t") as watch,
    ):
        assert [(await next_of(watch)).row for _ in range(2)] == ["a", "b"]
        assert (first_ids, second_ids[0]) == ([""], "3")


async def test_all_that_an_event_carries_is_there() -> None:
    both = '{"row":"k","etag":"e","context":"c","siblings":[{"value":"x","etag":"e"},{"value":{"base64":"/w=="}}]}'
    events = event("put", "1", both) + event("expired", "2", '{"row":"k","etag":"f"}') + event("reset", "anew")
    async with told(events + event("later", "5") + event("current", "6")) as (url, _), AsyncClient([url]) as client:
        watch = client.watch("t", prefix="k", snapshot=True)
        changes = [await next_of(watch) for _ in range(4)]
        await watch.aclose()
    assert changes == [
        Change(Kind.PUT, "1", "k", None, "e", (b"x", b"\xff"), "c"),
        Change(Kind.EXPIRED, "2", "k", None, "f"),
        Change(Kind.RESET, "anew"),
        Change(Kind.CURRENT, "6"),
    ]


async def test_a_watch_that_no_server_serves_is_given_up() -> None:
    async with AsyncClient([NOWHERE]) as client, client.watch("t", give_up_s=0) as watch:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1"):
            await next_of(watch)


async def test_a_watch_that_is_refused_is_not_tried_elsewhere() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"title": "no"}, status=400)

    async with served(refuse) as url, AsyncClient([url, NOWHERE]) as client, client.watch("t") as watch:
        with pytest.raises(RefusedError, match="no"):
            await next_of(watch)
