"""HTTP between members, against clients and servers that behave badly."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gossipkv.transport.base import ExchangeError, Fault
from gossipkv.transport.http import CONTENT_TYPE, GOSSIP_LIMITS, PATH, HttpTransport
from tests.client.dying_server import Death, DyingServer

FRAME_BYTES_MAX = 64 * 1024


class Recorder:
    """A node that keeps the frames it was given."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    async def __call__(self, frame: bytes) -> bytes:
        self.frames.append(frame)
        return b"answer"


@pytest.fixture
def node() -> Recorder:
    return Recorder()


@pytest.fixture
async def transport(node: Recorder) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport("127.0.0.1", 0, frame_bytes_max=FRAME_BYTES_MAX)
    await transport.start(node)
    yield transport
    await transport.close()


@pytest.fixture
async def impatient(node: Recorder) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport("127.0.0.1", 0, frame_bytes_max=FRAME_BYTES_MAX, exchange_timeout_s=0.05)
    await transport.start(node)
    yield transport
    await transport.close()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def raw(transport: HttpTransport, sent: bytes) -> bytes:
    """All that the server answers to these bytes, until it closes the connection."""
    port = int(transport.endpoint.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    received = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await writer.wait_closed()
    return received


async def test_a_half_sent_body_is_ended_by_the_deadline(impatient: HttpTransport, node: Recorder) -> None:
    headers = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: 100\r\n\r\n"
    received = await raw(impatient, headers.encode() + b"half")
    assert received.startswith(b"HTTP/1.1 408 ")
    assert impatient.slow_bodies.total == 1
    assert node.frames == []


async def test_half_sent_headers_are_ended_by_the_deadline(node: Recorder) -> None:
    transport = HttpTransport("127.0.0.1", 0, limits=replace(GOSSIP_LIMITS, head_timeout_seconds=0.05))
    await transport.start(node)
    assert await raw(transport, f"POST {PATH} HTTP/1.1\r\nHost".encode()) == b""
    await transport.close()


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_an_oversize_body_is_413(
    transport: HttpTransport, node: Recorder, session: aiohttp.ClientSession, is_chunked: bool
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(FRAME_BYTES_MAX // 1024 + 1):
            yield bytes(1024)

    data = chunks() if is_chunked else bytes(FRAME_BYTES_MAX + 1)
    async with session.post(transport.endpoint + PATH, data=data, headers={"Content-Type": CONTENT_TYPE}) as answer:
        assert answer.status == 413
    assert transport.large_bodies.total == 1
    assert node.frames == []


async def test_an_encoded_body_is_not_decoded(
    transport: HttpTransport, node: Recorder, session: aiohttp.ClientSession
) -> None:
    bomb = gzip.compress(bytes(64 * FRAME_BYTES_MAX))
    assert len(bomb) < FRAME_BYTES_MAX
    headers = {"Content-Type": CONTENT_TYPE, "Content-Encoding": "gzip"}
    async with session.post(transport.endpoint + PATH, data=bomb, headers=headers) as answer:
        assert answer.status == 415
    assert node.frames == []


@pytest.mark.parametrize(
    ("method", "path", "content_type", "status"),
    [
        ("POST", "/", CONTENT_TYPE, 404),
        ("POST", "/gossip/v2", CONTENT_TYPE, 404),
        ("GET", PATH, CONTENT_TYPE, 405),
        ("PUT", PATH, CONTENT_TYPE, 405),
        ("POST", PATH, "application/json", 415),
        ("POST", PATH, CONTENT_TYPE, 200),
    ],
)
async def test_only_a_post_of_a_frame_is_served(
    transport: HttpTransport,
    node: Recorder,
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    content_type: str,
    status: int,
) -> None:
    url = transport.endpoint + path
    async with session.request(method, url, data=b"x", headers={"Content-Type": content_type}) as answer:
        assert answer.status == status
    assert len(node.frames) == (status == 200)


async def test_more_requests_than_may_be_under_way_are_turned_away_and_counted() -> None:
    arrived, released = asyncio.Event(), asyncio.Event()

    async def hold(frame: bytes) -> bytes:
        arrived.set()
        await released.wait()
        return b"answer"

    transport = HttpTransport("127.0.0.1", 0, requests_max=1)
    await transport.start(hold)
    first = asyncio.create_task(transport.exchange(transport.endpoint, b"first"))
    await asyncio.wait_for(arrived.wait(), 20)
    with pytest.raises(ExchangeError, match="status 503") as raised:
        await transport.exchange(transport.endpoint, b"second")
    assert raised.value.fault is Fault.UNREACHABLE
    assert (transport.requests.used, transport.requests.refusals.total) == (1, 1)
    released.set()
    assert await first == b"answer"
    assert await transport.exchange(transport.endpoint, b"third") == b"answer"
    await transport.close()


async def test_an_answer_that_is_not_read_is_dropped_by_the_deadline() -> None:
    large = bytes(32 * 1024 * 1024)

    async def serve(frame: bytes) -> bytes:
        return large

    transport = HttpTransport("127.0.0.1", 0, exchange_timeout_s=0.05)
    await transport.start(serve)
    port = int(transport.endpoint.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    headers = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: 5\r\n\r\n"
    writer.write(headers.encode() + b"large")
    async with asyncio.timeout(20):
        while not transport.bounds.slow_readers.total:
            await asyncio.sleep(0.01)
        while transport.bounds.answers.used:
            await asyncio.sleep(0.01)
    received = 0
    with contextlib.suppress(ConnectionError):
        while chunk := await asyncio.wait_for(reader.read(65536), 20):
            received += len(chunk)
    assert received < len(large)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    await transport.close()


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def fault_against(transport: HttpTransport, handler: Handler) -> ExchangeError:
    application = web.Application()
    application.router.add_post(PATH, handler)
    async with TestServer(application) as server:
        with pytest.raises(ExchangeError) as raised:
            await asyncio.wait_for(transport.exchange(str(server.make_url("")).rstrip("/"), b"frame"), 20)
    return raised.value


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (204, Fault.MALFORMED),
        (307, Fault.MALFORMED),
        (400, Fault.REFUSED),
        (404, Fault.REFUSED),
        (409, Fault.REFUSED),
        (500, Fault.REFUSED),
        (502, Fault.UNREACHABLE),
        (503, Fault.UNREACHABLE),
    ],
)
async def test_every_status_but_200_is_a_fault(transport: HttpTransport, status: int, fault: Fault) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": transport.endpoint + PATH})

    error = await fault_against(transport, handler)
    assert error.fault is fault
    assert str(status) in error.detail or status == 409


SECRET = "the key is 0123456789"


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"the member is stopping {SECRET}",
        f"this is cluster 'a\n{SECRET}', the sender is of 'b'",
        f"this is cluster '\x1b]0;{SECRET}', the sender is of 'b'",
        "this is cluster '" + SECRET * 50 + "', the sender is of 'b'",
    ],
)
@pytest.mark.parametrize("status", [200, 204, 307, 401, 409, 500, 503])
async def test_the_text_of_a_strangers_answer_is_not_kept(transport: HttpTransport, status: int, text: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    error = await fault_against(transport, handler)
    assert error.detail == f"status {status}"


async def test_what_a_stranger_says_that_does_not_speak_http_is_not_kept(transport: HttpTransport) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{SECRET}\r\n\r\n".encode())
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ExchangeError) as raised:
            await transport.exchange(f"http://127.0.0.1:{port}", b"frame")
    assert SECRET not in raised.value.detail


@pytest.mark.parametrize(
    "text",
    [
        "this is cluster 'a', the sender is of \"b's\"",
        "another running member is named 'kv-0': give each its own name",
        "protocol 3, not 4",
    ],
)
async def test_the_refusal_of_a_member_is_kept(transport: HttpTransport, text: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=409, text=text)

    assert (await fault_against(transport, handler)).detail == text


async def test_a_web_page_is_no_answer(transport: HttpTransport) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="<html>sign in</html>", content_type="text/html")

    assert (await fault_against(transport, handler)).fault is Fault.MALFORMED


async def test_an_endless_answer_is_cut_off_at_the_limit(transport: HttpTransport) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
        await response.prepare(request)
        while True:
            await response.write(bytes(4096))

    assert (await fault_against(transport, handler)).fault is Fault.MALFORMED


async def test_an_answer_that_trickles_is_a_timeout(impatient: HttpTransport) -> None:
    stopped = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
        await response.prepare(request)
        await response.write(b"half")
        await stopped.wait()
        return response

    application = web.Application()
    application.router.add_post(PATH, handler)
    async with TestServer(application) as server:
        with pytest.raises(ExchangeError) as raised:
            await impatient.exchange(str(server.make_url("")).rstrip("/"), b"frame")
        stopped.set()
    assert raised.value.fault is Fault.TIMEOUT


async def test_an_answer_cut_short_is_unreachable(transport: HttpTransport) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE, "Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    assert (await fault_against(transport, handler)).fault is Fault.UNREACHABLE


async def test_an_encoded_answer_stays_encoded(transport: HttpTransport) -> None:
    bomb = gzip.compress(bytes(64 * FRAME_BYTES_MAX))

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=bomb, content_type=CONTENT_TYPE, headers={"Content-Encoding": "gzip"})

    application = web.Application()
    application.router.add_post(PATH, handler)
    async with TestServer(application) as server:
        answer = await transport.exchange(str(server.make_url("")).rstrip("/"), b"frame")
    assert answer == bomb


async def test_something_that_does_not_speak_http_is_malformed(transport: HttpTransport) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x15\x03\x01 no http\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ExchangeError) as raised:
        await transport.exchange(f"http://127.0.0.1:{port}", b"frame")
    assert raised.value.fault is Fault.MALFORMED
    server.close()
    await server.wait_closed()


async def test_exchanges_one_after_the_other_share_a_connection(transport: HttpTransport) -> None:
    ports: set[int] = set()

    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        return web.Response(body=await request.read(), content_type=CONTENT_TYPE)

    application = web.Application()
    application.router.add_post(PATH, handler)
    async with TestServer(application) as server:
        endpoint = str(server.make_url("")).rstrip("/")
        for number in range(50):
            assert await transport.exchange(endpoint, b"%d" % number) == b"%d" % number
    assert len(ports) == 1


async def test_a_port_in_use_is_named_with_its_setting(transport: HttpTransport, node: Recorder) -> None:
    port = int(transport.endpoint.rpartition(":")[2])
    second = HttpTransport("127.0.0.1", port)
    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port} \(--gossip-port, GOSSIPKV_GOSSIP_PORT\)"):
        await second.start(node)
    await second.close()


async def test_the_endpoint_is_what_is_advertised(node: Recorder) -> None:
    advertised = HttpTransport("127.0.0.1", 0, advertise="http://gossipkv-0.gossipkv:7081")
    await advertised.start(node)
    assert advertised.endpoint == "http://gossipkv-0.gossipkv:7081"
    await advertised.close()
    assert HttpTransport("::1", 7081).endpoint == "http://[::1]:7081"


async def test_a_peer_that_goes_away_before_its_answer_is_no_error_here(caplog: pytest.LogCaptureFixture) -> None:
    began, is_gone = asyncio.Event(), asyncio.Event()

    async def serve(_: bytes) -> bytes:
        began.set()
        await is_gone.wait()
        return bytes(1_000_000)

    transport = HttpTransport("127.0.0.1", 0, advertise=None, frame_bytes_max=2**21)
    await transport.start(serve)
    _, writer = await asyncio.open_connection("127.0.0.1", int(transport.endpoint.rpartition(":")[2]))
    head = f"POST /gossip/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: 1\r\n\r\n"
    writer.write(head.encode() + b"x")
    await asyncio.wait_for(began.wait(), 10)
    writer.transport.abort()
    is_gone.set()
    await transport.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("death", list(Death), ids=lambda death: death.name.lower())
async def test_a_frame_is_sent_once_whatever_becomes_of_its_connection(transport: HttpTransport, death: Death) -> None:
    async with DyingServer(death).running() as peer:
        for sent in (1, 2):
            with pytest.raises(ExchangeError):
                await transport.exchange(peer.url, b"frame")
            assert peer.requests == [f"POST {PATH}"] * sent


@pytest.mark.parametrize(
    ("host", "reason"), [("127.0.0.1:1", "Connection refused"), ("no-such-host.invalid:1", "not known|failure|resol")]
)
async def test_a_connection_that_is_not_made_gives_the_reason_of_the_system(
    transport: HttpTransport, host: str, reason: str
) -> None:
    with pytest.raises(ExchangeError, match=f"^http://{host} cannot be reached: .*({reason})") as raised:
        await transport.exchange(f"http://{host}", b"hello")
    assert "ssl" not in str(raised.value)
