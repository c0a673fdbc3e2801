"""A port, against clients that behave badly."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web

from gossipkv.intake import port as port_module
from gossipkv.intake.body import body_of
from gossipkv.intake.limits import PortBounds, PortLimits
from gossipkv.intake.port import Port

GET = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n"
DEADLINE_S = 20.0
LARGE = bytes(8 * 2**20)


class Answering:
    """Answers a request by its path."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        if request.raw_path == "/held":
            await self.may_answer.wait()
        if request.raw_path == "/body":
            return web.Response(text=str(len(await body_of(request, 2**20))))
        return web.Response(body=LARGE if request.raw_path == "/large" else b"small")


@asynccontextmanager
async def listening(**limits: Any) -> AsyncIterator[tuple[Port, Answering]]:
    answering = Answering()
    port = Port(answering, PortBounds(PortLimits(**limits)), lambda detail: web.Response(status=503, text=detail))
    await port.start("127.0.0.1", 0)
    try:
        yield port, answering
    finally:
        answering.may_answer.set()
        await port.stop(1)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(stack: AsyncExitStack, port: Port, source: str = "127.0.0.1") -> Pair:
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number, local_addr=(source, 0), limit=2**10)

    async def close() -> None:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()

    stack.push_async_callback(close)
    return reader, writer


async def line(pair: Pair, sent: bytes = b"") -> bytes:
    """The first line of the answer; empty if the connection is ended."""
    reader, writer = pair
    writer.write(sent)
    with suppress(ConnectionError):
        return await asyncio.wait_for(reader.readline(), DEADLINE_S)
    return b""


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def test_an_address_has_at_most_so_many_connections_and_others_are_served() -> None:
    async with listening(connections_per_address_max=2) as (port, _), AsyncExitStack() as stack:
        for _ in range(2):
            assert b"200" in await line(await connect(stack, port), GET)
        assert await line(await connect(stack, port)) == b"HTTP/1.1 503 Service Unavailable\r\n"
        assert b"200" in await line(await connect(stack, port, "127.0.0.2"), GET)
        assert (port.bounds.per_address.refusals.total, port.bounds.connections.used) == (1, 3)


async def test_a_closed_connection_makes_room() -> None:
    async with listening(connections_per_address_max=1) as (port, _):
        for _ in range(3):
            async with AsyncExitStack() as stack:
                assert b"200" in await line(await connect(stack, port), GET)
            await until(lambda: not port.has_connections)
        assert port.bounds.connections.used == 0


async def test_the_last_connections_are_kept_for_addresses_that_have_few() -> None:
    async with listening(connections_max=64) as (port, _), AsyncExitStack() as stack:
        held = [await line(await connect(stack, port), GET) for _ in range(64)]
        assert [b"200" in one for one in held] == [True] * 62 + [False] * 2
        for _ in range(2):
            assert b"200" in await line(await connect(stack, port, "127.0.0.2"), GET)
        assert b"503" in await line(await connect(stack, port, "127.0.0.3"))


async def test_a_request_under_way_counts_after_its_client_is_gone() -> None:
    async with listening(connections_max=1) as (port, answering):
        async with AsyncExitStack() as stack:
            _, writer = await connect(stack, port)
            writer.write(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)
        assert port.bounds.connections.used == 1
        answering.may_answer.set()
        await until(lambda: not port.has_connections)


async def test_without_a_file_descriptor_the_port_waits_and_then_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module, "RETRY_SECONDS", 0.02)
    accept, failures = socket.socket.accept, [10]

    def accepting(listening: socket.socket) -> Any:
        if failures[0]:
            failures[0] -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(listening)

    async with listening() as (port, _), AsyncExitStack() as stack:
        monkeypatch.setattr(socket.socket, "accept", accepting)
        assert b"200" in await line(await connect(stack, port), GET)
        assert port.bounds.not_accepted.total == 10


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX: "])
async def test_headers_have_a_deadline(sent: bytes) -> None:
    async with listening(head_timeout_seconds=0.1) as (port, _), AsyncExitStack() as stack:
        assert await line(await connect(stack, port), sent) == b""
        assert port.bounds.slow_heads.total == 1


async def test_a_connection_in_use_has_no_deadline_for_headers() -> None:
    async with listening(head_timeout_seconds=0.2) as (port, _), AsyncExitStack() as stack:
        reader, writer = await connect(stack, port)
        for _ in range(2):
            # In one packet after the connection opens, and again after a pause.
            writer.write(GET)
            await asyncio.wait_for(reader.readuntil(b"small"), DEADLINE_S)
            await asyncio.sleep(0.4)
        writer.write(GET * 20)
        for _ in range(20):
            await asyncio.wait_for(reader.readuntil(b"small"), DEADLINE_S)
        await asyncio.sleep(0.4)
        writer.write(GET)
        await asyncio.wait_for(reader.readuntil(b"small"), DEADLINE_S)


async def test_headers_are_bounded_as_a_whole() -> None:
    async with listening() as (port, _), AsyncExitStack() as stack:
        headers = b"".join(b"X-%d: %s\r\n" % (number, bytes(b"x" * 4_000)) for number in range(25))
        answer = await line(await connect(stack, port), b"GET / HTTP/1.1\r\n" + headers)
        assert answer in (b"HTTP/1.1 431 Request Header Fields Too Large\r\n", b"")
        assert port.bounds.large_heads.total == 1


async def test_a_large_answer_that_is_not_read_is_given_up_and_refuses_others_meanwhile() -> None:
    get = GET.replace(b"small", b"large")
    limits = {"answers_bytes_max": len(LARGE), "answer_timeout_seconds": 0.5}
    async with listening(**limits) as (port, _), AsyncExitStack() as stack:
        _, writer = await connect(stack, port)
        writer.write(get)
        await until(lambda: port.bounds.answers.used)
        assert b"503" in await line(await connect(stack, port), get)
        assert b"200" in await line(await connect(stack, port), GET)
        await until(lambda: not port.bounds.answers.used)
        assert port.bounds.slow_readers.total == 1


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
async def test_a_body_is_held_until_it_is_answered_and_refuses_others_meanwhile(framing: str) -> None:
    head = f"POST /body HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode()
    part = b"c350\r\n" + bytes(50_000) + b"\r\n" if "chunked" in framing else bytes(50_000)
    async with listening(bodies_bytes_max=120_000) as (port, _), AsyncExitStack() as stack:
        first = await connect(stack, port)
        first[1].write(head + part)
        await until(lambda: port.bounds.bodies.used >= 50_000)
        assert b"500" in await line(await connect(stack, port), head + part * 2), "the route has to answer 503"
        first[1].write(part + (b"0\r\n\r\n" if "chunked" in framing else b""))
        assert b"200" in await line(first)
        await until(lambda: not port.bounds.bodies.used)


async def test_what_is_sent_ahead_of_an_answer_is_not_read() -> None:
    request = b"GET /small HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 4_000 + b"\r\n\r\n"
    async with listening() as (port, answering), AsyncExitStack() as stack:
        reader, writer = await connect(stack, port)
        writer.write(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + request * 1_000)
        await asyncio.sleep(0.3)
        [connection] = port._connections
        assert connection.handler.ahead_bytes < 128 * 1024
        answering.may_answer.set()
        for _ in range(1_001):
            await asyncio.wait_for(reader.readuntil(b"small"), DEADLINE_S)
