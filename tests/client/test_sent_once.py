"""A write goes out once, whatever becomes of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from gossipkv.client import Choice, Client, Delete, Put, RefusedError, UnavailableError
from gossipkv.client.servers.requests import HttpRequest
from gossipkv.client.synchronous import SyncClient
from tests.client.contract_server import ContractServer
from tests.client.dying_server import Death, DyingServer
from tests.client.test_client import served

Call = Callable[[Client], Awaitable[object]]

LARGE = b"v" * 4_000_000
"""More than the buffers of a connection hold: it breaks while the body is under way."""


async def batch(client: Client) -> None:
    async for _ in client.table("t").batch([Put("a", b"1"), Delete("b")]):
        pass


WRITES: dict[str, Call] = {
    "put": lambda client: client.table("t").put("a", b"1"),
    "large put": lambda client: client.table("t").put("a", LARGE),
    "empty put": lambda client: client.table("t").put("a", b""),
    "put of an absent row": lambda client: client.table("t").put("a", b"1", if_absent=True),
    "put on a condition": lambda client: client.table("t").put("a", b"1", if_match="7"),
    "put with a life and copies": lambda client: client.table("t").put("a", b"1", ttl="1h", w=2),
    "delete": lambda client: client.table("t").delete("a"),
    "delete on a condition": lambda client: client.table("t").delete("a", if_match="*"),
    "batch": batch,
    "forget": lambda client: client.forget("m9"),
}
READS: tuple[Call, ...] = (lambda client: client.table("t").get("a"), lambda client: client.cluster())


@pytest.fixture(params=list(Death), ids=lambda death: death.name.lower())
async def dying(request: pytest.FixtureRequest) -> AsyncIterator[DyingServer]:
    async with DyingServer(request.param).running() as server:
        yield server


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_whose_connection_breaks_is_sent_once_and_may_stand(dying: DyingServer, name: str) -> None:
    async with (
        ContractServer().running() as other,
        Client([dying.url, other.url], choice=Choice.IN_ORDER) as client,
    ):
        await client.table("t").put("warm", b"")
        with pytest.raises(UnavailableError, match="may have been carried out") as failure:
            await WRITES[name](client)
        assert failure.value.may_stand
        assert len(dying.requests) == 1, dying.requests
        assert dying.reused == 1, "the connection was a reused one"
        assert other.requests == []


async def test_a_write_on_a_new_connection_that_breaks_is_sent_once_too(dying: DyingServer) -> None:
    async with Client([dying.url], passes=3) as client:
        with pytest.raises(UnavailableError) as failure:
            await client.table("t").put("a", b"1", if_absent=True)
        assert failure.value.may_stand
    assert len(dying.requests) == 1


async def test_a_write_that_is_declared_idempotent_goes_on_at_the_next_server(dying: DyingServer) -> None:
    async with (
        ContractServer().running() as other,
        Client([dying.url, other.url], choice=Choice.IN_ORDER) as client,
    ):
        await client.table("t").put("a", b"1", idempotent=True)
        assert (len(dying.requests), len(other.requests)) == (1, 1)


async def test_a_read_whose_connection_breaks_is_asked_of_the_next_server(dying: DyingServer) -> None:
    async with (
        ContractServer().running() as other,
        Client([dying.url, other.url], choice=Choice.IN_ORDER) as client,
    ):
        await other.store.write("a", "1")
        await client.table("t").put("warm", b"")
        row = await client.table("t").get("a")
        assert row is not None
        assert row.value == b"1"


def test_the_client_without_asyncio_sends_a_write_once() -> None:
    server = DyingServer(Death.AFTER_THE_BODY)
    loop = asyncio.new_event_loop()
    running = server.running()
    loop.run_until_complete(running.__aenter__())
    client = SyncClient([server.url])

    def write() -> None:
        with client:
            table = client.table("t")
            table.put("warm", b"")
            for call in (
                lambda: table.put("a", b"1", if_absent=True),
                lambda: table.delete("a"),
                lambda: list(table.batch([Put("a", b"1")])),
            ):
                with pytest.raises(UnavailableError) as failure:
                    call()
                assert failure.value.may_stand

    loop.run_until_complete(asyncio.to_thread(write))
    loop.run_until_complete(running.__aexit__(None, None, None))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    table = "/v1/usr/tables/t"
    assert server.requests == [f"PUT {table}/rows/a", f"DELETE {table}/rows/a", f"POST {table}/rows:batch"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_sends_nothing_elsewhere_and_is_no_answer(status: int) -> None:
    async with ContractServer().running() as other:

        async def redirect(_: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": f"{other.url}/elsewhere"})

        async with served(redirect) as url, Client([url]) as client:
            for ask in (*WRITES.values(), *READS):
                with pytest.raises(RefusedError, match=f"answered {status}, a redirect to {other.url}"):
                    await ask(client)
            async with client.table("t").watch() as watch:
                with pytest.raises(RefusedError, match="a redirect"):
                    await anext(watch)
        assert other.requests == []


async def test_nothing_was_sent_where_no_connection_was_made() -> None:
    async with ContractServer().running() as server:
        gone = server.url
    async with ContractServer().running() as other, Client([gone, other.url], choice=Choice.IN_ORDER) as client:
        await client.table("t").put("a", b"1")
        assert len(other.requests) == 1
    async with Client([gone], passes=1) as client:
        with pytest.raises(UnavailableError) as failure:
            await client.table("t").put("a", b"1")
        assert not failure.value.may_stand


def test_every_request_but_a_read_is_a_write() -> None:
    assert not HttpRequest("GET", "/").is_write
    assert all(HttpRequest(method, "/").is_write for method in ("PUT", "DELETE", "POST"))
