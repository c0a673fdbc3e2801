from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from gossipkv import SyncClient
from gossipkv.client import (
    Choice,
    Client,
    ClientError,
    ConditionFailedError,
    DeadlineError,
    InvalidArgumentError,
    NotFoundError,
    RefusedError,
    Row,
    ServerFailedError,
    UnavailableError,
)

NOWHERE = "http://127.0.0.1:1"
OVERLOADED = "urn:gossipkv:problem:overloaded"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{site.port}"
    await runner.cleanup()


def asking(*servers: str, timeout_s: float = 30.0) -> Client:
    """As the commands ask: one server while it answers, and each but once."""
    return Client(servers, choice=Choice.IN_ORDER, timeout_s=timeout_s, deadline_s=None, passes=1)


async def found(_: web.Request) -> web.Response:
    return web.Response(body=b"value", headers={"ETag": '"tag"'})


def answering(status: int, **problem: object) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(problem, status=status)

    return answer


async def cut_off(request: web.Request) -> web.Response:
    """Takes the request, and closes without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (412, ConditionFailedError),
        (400, RefusedError),
        (403, RefusedError),
        (413, RefusedError),
        (500, ServerFailedError),
        (507, ServerFailedError),
        (503, UnavailableError),
    ],
)
async def test_each_status_has_its_error_with_the_servers_words(status: int, error: type[ClientError]) -> None:
    async with served(answering(status, title="a title", detail="a detail")) as url, asking(url) as client:
        with pytest.raises(error, match="a title: a detail") as refusal:
            await client.table("t").put("r", b"")
        assert refusal.value.problem["detail"] == "a detail"


async def test_a_server_that_is_not_there_is_passed_over_and_not_asked_first_again() -> None:
    async with served(found) as url, asking(NOWHERE, url) as client:
        assert await client.table("t").get("r") == Row("r", b"value", "tag")
        assert client.server == url
        assert (await client.table("t").put("r", b"")).etag == "tag"


async def test_a_server_that_takes_nothing_now_is_passed_over() -> None:
    async with served(answering(503, type=OVERLOADED)) as busy, served(found) as url, asking(busy, url) as client:
        assert (await client.table("t").put("r", b"")).etag == "tag"


async def test_every_server_is_named_when_none_answers() -> None:
    async with asking(NOWHERE, "http://127.0.0.1:2") as client:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1.*127\.0\.0\.1:2") as failure:
            await client.table("t").get("r")
        assert not failure.value.may_stand


async def test_a_write_whose_answer_was_lost_is_not_sent_again() -> None:
    requests = 0

    async def counted(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        return web.Response(status=204)

    async with served(cut_off) as lost, served(counted) as url, asking(lost, url) as client:
        with pytest.raises(UnavailableError, match="may have been carried out") as failure:
            await client.table("t").put("r", b"", if_absent=True)
        assert failure.value.may_stand
    assert requests == 0


async def test_a_read_whose_answer_was_lost_is_asked_of_the_next_server() -> None:
    async with served(cut_off) as lost, served(found) as url, asking(lost, url) as client:
        assert await client.table("t").get("r") == Row("r", b"value", "tag")


async def test_a_write_that_a_server_says_it_stored_is_not_sent_to_another() -> None:
    async with (
        served(answering(503, stored=True, type="urn:gossipkv:problem:too-few-copies")) as storing,
        served(found) as url,
        asking(storing, url) as client,
    ):
        with pytest.raises(UnavailableError) as failure:
            await client.table("t").put("r", b"")
        assert failure.value.may_stand


def batch_answering(lines_max: int, status: int = 201) -> Handler:
    """Answers so many lines of a batch, the last of them with the status, and closes."""

    async def answer(request: web.Request) -> web.Response:
        lines = (await request.read()).splitlines()[:lines_max]
        statuses = [201] * (len(lines) - 1) + [status]
        problem = {"title": "a title"}
        results = [json.dumps({"row": "r", "status": status, "problem": problem}) for status in statuses]
        return web.Response(text="\n".join(results))

    return answer


LINES = [b'{"row": "a", "value": "1"}', b'{"row": "b", "value": "2"}']


@pytest.mark.parametrize("failing", [batch_answering(1), batch_answering(2, 503), cut_off, answering(503)])
async def test_a_batch_that_is_not_wholly_answered_goes_to_the_next_server_as_a_whole(failing: Handler) -> None:
    async with served(failing) as first, served(batch_answering(2)) as second, asking(first, second) as client:
        assert [result.error for result in await client.table("t").batch_lines(LINES)] == [None, None]
        assert client.server == second


async def test_a_batch_that_no_server_answers_is_unavailable() -> None:
    async with served(batch_answering(1)) as first, asking(first, NOWHERE) as client:
        with pytest.raises(UnavailableError, match="answered 1 of 2 lines"):
            await client.table("t").batch_lines(LINES)


async def test_a_line_that_is_wrong_is_the_lines_own_result() -> None:
    async with served(batch_answering(2, 413)) as url, asking(url) as client:
        first, second = await client.table("t").batch_lines(LINES)
        assert first.error is None
        assert isinstance(second.error, RefusedError)
        assert str(second.error) == "a title"


async def test_a_line_that_the_server_failed_on_is_told_from_one_that_is_wrong() -> None:
    async with served(batch_answering(2, 507)) as url, asking(url) as client:
        _, failed = await client.table("t").batch_lines(LINES)
        assert isinstance(failed.error, ServerFailedError)


async def test_a_server_that_falls_silent_is_given_up() -> None:
    silence = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await silence.wait()
        return web.Response()

    async with served(silent) as url, asking(url, timeout_s=0.05) as client:
        with pytest.raises(UnavailableError, match="did not answer in time"):
            await client.table("t").get("r")
        silence.set()


async def test_something_that_is_no_gossipkv_is_said_to_be_none() -> None:
    async with served(found) as url, asking(url) as client:
        with pytest.raises(RefusedError, match="does not answer like gossipkv"):
            await client.cluster()


NO_URLS = [
    "127.0.0.1:7080",
    "localhost",
    "",
    "http://",
    "ftp://127.0.0.1",
    "http://127.0.0.1:port",
    "http://127.0.0.1:0",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:1?x=1",
    "http://127.0.0.1:1#x",
    "http://127.0.0.1:1,http://127.0.0.1:2",
    "http://ho st:1",
    "http://127.0.0.1:1\n",
    "http://[::1:1",
    "http://a..b:1",
    f"http://{'a' * 64}:1",
    "http://b\u00fccher:1",
    "http://127.0.0.1:1/\ud800",
]
"""Texts to which no path of a request can be appended."""


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"servers": []}, "`servers` are a list of at least one text"),
        ({"servers": "http://127.0.0.1:1"}, "`servers` are a list"),
        ({"servers": None}, "`servers` are a list"),
        ({"servers": [b"http://127.0.0.1:1"]}, "hold a bytes"),
        *(({"servers": ["http://127.0.0.1:1", url]}, "`servers` are URLs of members, such as") for url in NO_URLS),
        ({"choice": "in order"}, "`choice` is one of"),
        ({"timeout_s": "1"}, "`timeout_s` is a number of seconds"),
        ({"timeout_s": float("nan")}, "`timeout_s` is a number of seconds"),
        ({"connect_timeout_s": True}, "`connect_timeout_s` is a number of seconds"),
        ({"deadline_s": -1}, "`deadline_s` is a number of seconds"),
        ({"passes": 0}, "`passes` is a number from 1"),
        ({"passes": "3"}, "`passes` is a number from 1"),
    ],
)
@pytest.mark.parametrize("kind", [Client, SyncClient])
def test_what_a_client_cannot_work_with_is_refused(
    kind: type[Client] | type[SyncClient], given: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        kind(**{"servers": ["http://127.0.0.1:1"], **given})


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "http://127.0.0.1:1/", "HTTP://user:word@127.0.0.1:1/at/a/proxy", "http://[::1]:1"],
)
async def test_any_url_that_paths_can_be_appended_to_is_one_of_a_server(url: str) -> None:
    async with asking(url) as client:
        assert client.server == url.rstrip("/")
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await client.table("t").get("a")


CALLS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "cluster": lambda client: client.cluster(),
    "receipt": lambda client: client.receipt("usr.0123456789abcdef.1"),
    "tables": lambda client: client.tables(),
    "describe": lambda client: client.table("t").describe(),
    "range": lambda client: anext(client.table("t").range()),
}
NO_MEMBER = ["", "no JSON", "[]", "[" * 100_000, "{}", '{"items": 7, "members": 7, "next_cursor": null}']
NO_PAGE = [
    '{"items": []}',
    '{"items": [], "next_cursor": 7}',
    '{"items": [7], "next_cursor": null}',
    '{"items": [{"row": 7}], "next_cursor": null}',
    '{"items": [{"row": "a", "value": 7}], "next_cursor": null}',
    '{"items": [{"row": "a", "value": "v", "etag": 7}], "next_cursor": null}',
    '{"items": [{"row": "\\ud800", "value": "v"}], "next_cursor": null}',
    '{"items": [{"row": "a", "value": "v", "siblings": [7]}], "next_cursor": null}',
]


@pytest.mark.parametrize(
    ("call", "body"),
    [
        *((call, body) for call in CALLS for body in NO_MEMBER),
        *(("range", body) for body in NO_PAGE),
        ("tables", '{"items": [7]}'),
        ("cluster", '{"cluster": "c", "member": 7, "members": []}'),
        ("cluster", '{"cluster": "c", "member": "m", "members": [7]}'),
        ("receipt", '{"copies": "two", "complete": true, "members": []}'),
        ("describe", '{"table": "t"}'),
    ],
)
async def test_an_answer_that_no_member_gives_is_said_to_be_none(call: str, body: str) -> None:
    async def other(_: web.Request) -> web.Response:
        return web.Response(text=body)

    async with served(other) as url, asking(url) as client:
        with pytest.raises(RefusedError, match="does not answer like gossipkv; is it the URL of a member's HTTP"):
            await CALLS[call](client)


async def test_a_path_that_a_server_does_not_know_is_no_absent_table() -> None:
    async def other(_: web.Request) -> web.Response:
        return web.Response(status=404, text="nothing here")

    async with served(other) as url, asking(url) as client:
        for call in (client.table("t").describe(), client.table("t").get("k"), client.table("t").drop()):
            with pytest.raises(NotFoundError, match=f"{url} answered: status 404; is it the URL of a member's HTTP"):
                await call


@pytest.mark.parametrize("is_idempotent", [False, True])
async def test_a_call_that_passes_its_deadline_says_whether_it_may_stand(is_idempotent: bool) -> None:
    silence = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await silence.wait()
        return web.Response()

    async with served(silent) as url, Client([url], deadline_s=0.05) as client:
        with pytest.raises(DeadlineError) as failure:
            await client.table("t").put("r", b"", idempotent=is_idempotent)
        assert failure.value.may_stand
        with pytest.raises(DeadlineError) as failure:
            await client.table("t").get("r")
        assert not failure.value.may_stand
        silence.set()
