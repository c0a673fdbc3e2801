"""Floods from clients without credentials: the memory of a real member stays bounded, and it goes on serving."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgpack
import pytest

from gossipkv.codec import PROTOCOL_VERSION, Limits
from gossipkv.transport.http import CONTENT_TYPE, PATH
from tests.processes.attacks.flooded import MIB, Flooded, answer_to, connected, counted
from tests.processes.command import Command, free_ports

GROWTH_MIB_MAX = 64
"""Of memory, above that of the idle member."""
TIMEOUT_S = 2.0
TURNED_AWAY = {0, 408, 409, 413, 503}
"""Statuses of requests that are refused, or whose connection is ended. On a busy machine any may be late."""
FRAME_BYTES = Limits().frame_bytes_max
HEAD = ("cluster", "member", 7, 1, 1_763_000_000_000, True, 1, 7, 7, None, True, 0)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Command, int, int]]:
    directory = tmp_path_factory.mktemp("flooded")
    http_port, gossip_port = free_ports(2)
    timeouts = ("body", "answer", "exchange")
    command = Command(
        directory / "output",
        *(
            "serve",
            "--stop-with-stdin",
            "--member",
            "m",
            "--data-dir",
            directory / "data",
            "--bootstrap-timeout-ms",
            200,
        ),
        *("--http-port", http_port, "--gossip-port", gossip_port),
        *("--head-timeout-s", 1, *(part for name in timeouts for part in (f"--{name}-timeout-s", TIMEOUT_S))),
        # It does not outlive a test run that is killed.
        stdin=subprocess.PIPE,
    )
    yield command, http_port, gossip_port
    command.end_for_sure()


@pytest.fixture
async def member(command: tuple[Command, int, int]) -> AsyncIterator[Flooded]:
    command[0].says('"ready"')
    member = Flooded(*command)
    await member.serves_again()
    member.growth_mib_max = GROWTH_MIB_MAX
    member.begin()
    yield member
    member.end()
    print(f"memory grew by {member.growth_mib:.1f} MiB, from {member.idle_mib:.1f} MiB")  # noqa: T201
    assert member.growth_mib < member.growth_mib_max
    await member.serves_again()


def frame_of(fill: bytes) -> bytes:
    return (bytes((PROTOCOL_VERSION,)) + fill * FRAME_BYTES)[:FRAME_BYTES]


def message_of(tag: int, *fields: object, fill: bytes = b"", count: int | None = None) -> bytes:
    """A frame of one message, whose last field is a list of as many equal elements as there is room for."""
    start = bytes((PROTOCOL_VERSION,)) + b"".join(msgpack.packb(item) for item in (*HEAD, 1, tag, *fields))
    fitting = (FRAME_BYTES - len(start) - 64) // len(fill)
    length: bytes = msgpack.packb(fitting if count is None else count)
    return start + length + fill * fitting


FRAMES = {
    "integers": frame_of(b"\xcd\xff\xff"),
    "texts": frame_of(b"\xa2ab"),
    "nested arrays": frame_of(b"\x91"),
    "wide arrays": frame_of(b"\xdd\x00\x00\xff\xff"),
    "small maps": frame_of(b"\x81\xa1a\x01"),
    "a huge text": frame_of(b"\xdb\x00\x1f\xff\x00"),
    "addresses": message_of(15, "usr", fill=msgpack.packb(b"t\0k")),
    "entries": message_of(13, "usr", fill=msgpack.packb(b"t\0k") + msgpack.packb(bytes(23) + b"\1")),
    "a row of integers": message_of(16, "usr", 1, fill=b"\xcd\xff\xff"),
    "rows of nothing": message_of(16, "usr", fill=b"\x00\xc0\xc0", count=80_000),
}


def post(frame: bytes) -> bytes:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(frame)}\r\n\r\n"
    return head.encode() + frame


@pytest.mark.parametrize("name", FRAMES)
async def test_many_frames_at_once(member: Flooded, name: str) -> None:
    count = 100 if name in ("integers", "texts") else 10
    statuses = await counted(answer_to(member.gossip_port, [post(FRAMES[name])]) for _ in range(count))
    assert set(statuses) <= TURNED_AWAY, statuses


async def test_frames_of_unknown_size_are_refused_when_there_is_no_room(member: Flooded) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [head.encode(), *[b"8000\r\n" + bytes(0x8000) + b"\r\n"] * 60]
    statuses = await counted(answer_to(member.gossip_port, pieces) for _ in range(60))
    assert set(statuses) <= TURNED_AWAY, statuses


async def test_puts_that_lack_their_last_byte(member: Flooded) -> None:
    head = b"PUT /v1/usr/tables/t/rows/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n"
    statuses = await counted(answer_to(member.http_port, [head, bytes(MIB - 1)]) for _ in range(400))
    assert set(statuses) <= TURNED_AWAY, statuses
    assert await member.metric('gossipkv_intake_refused_total{cause="http_connections_per_address_max"}') > 0
    assert await member.metric('gossipkv_intake_refused_total{cause="http_bodies_bytes_max"}') > 0


async def test_chunked_bodies_without_end(member: Flooded) -> None:
    head = b"PUT /v1/usr/tables/t/rows/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [head, *[b"8000\r\n" + bytes(0x8000) + b"\r\n"] * 100]
    statuses = await counted(answer_to(member.http_port, pieces) for _ in range(60))
    assert set(statuses) <= TURNED_AWAY, statuses


async def test_a_body_in_chunks_of_one_byte(member: Flooded) -> None:
    head = b"PUT /v1/usr/tables/t/rows/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [head, *[b"1\r\nx\r\n" * 5_000] * 10]
    assert set(await counted(answer_to(member.http_port, pieces) for _ in range(10))) <= TURNED_AWAY


@pytest.mark.parametrize("fill", [b"x", b"[],", b'\\"'], ids=["text", "arrays", "quotes"])
async def test_batches_of_one_endless_line(member: Flooded, fill: bytes) -> None:
    head = b"POST /v1/usr/tables/t/rows:batch HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
    start = b'{"row":"k","value":["' if fill == b'\\"' else b'{"row":"k","value":['
    pieces = [head + start, *[fill * (MIB // 4 // len(fill))] * 23, b"\n"]
    assert set(await counted(answer_to(member.http_port, pieces) for _ in range(20))) <= {200, 503, 0}


async def test_many_slow_readers_of_large_answers(member: Flooded) -> None:
    # Each byte of the second table takes six in JSON.
    for table, value in (("text", b"x" * (MIB // 2)), ("bytes", bytes(MIB // 2))):
        for number in range(8):
            await member.takes(f"/v1/usr/tables/{table}/rows/{number}", value)
        # The pages of the storage that are read count as memory of the process.
        assert await member.status("GET", f"/v1/usr/tables/{table}/rows?limit=100") == 200
    await member.serves_again()
    # Answers and events each have a bound of 32 MiB.
    member.growth_mib_max = 2 * GROWTH_MIB_MAX
    member.begin()
    async with AsyncExitStack() as stack:
        for number in range(120):
            path = ("text/rows?limit=100", "text/rows/1", "bytes/rows:watch?snapshot=true")[number % 3]
            _, writer = await stack.enter_async_context(connected(member.http_port, is_slow=True))
            writer.write(f"GET /v1/usr/tables/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for number in range(20):
            await member.status("PUT", f"/v1/usr/tables/bytes/rows/{number % 4}", bytes(MIB // 2))
        await asyncio.sleep(TIMEOUT_S + 1)
    assert await member.metric('gossipkv_intake_refused_total{cause="http_answers_bytes_max"}') > 0
    assert await member.metric('gossipkv_intake_refused_total{cause="http_answer_timeout"}') > 0


async def test_many_slow_watchers_of_large_rows(member: Flooded) -> None:
    for number in range(8):
        await member.takes(f"/v1/usr/tables/bytes/rows/{number}", bytes(MIB // 2))
    assert await member.status("GET", "/v1/usr/tables/bytes/rows?limit=100") == 200
    await member.serves_again()
    member.begin()
    async with AsyncExitStack() as stack:
        for _ in range(120):
            _, writer = await stack.enter_async_context(connected(member.http_port, is_slow=True))
            writer.write(b"GET /v1/usr/tables/bytes/rows:watch?snapshot=true HTTP/1.1\r\nHost: x\r\n\r\n")
        # The first are cut off, and others take their turn.
        await asyncio.sleep(2 * TIMEOUT_S + 1)


async def test_headers_that_drip(member: Flooded) -> None:
    began = time.monotonic()
    drips = [b"GET /livez HTTP/1.1\r\nX: ", *[b"x"] * 60]
    ports = (member.http_port, member.gossip_port)
    statuses = await counted(answer_to(port, drips, pause_s=0.25) for port in ports for _ in range(50))
    assert statuses == {0: 100}
    assert time.monotonic() - began < 14, "each would take 15 s"
    for name in ("http", "gossip"):
        assert await member.metric(f'gossipkv_intake_refused_total{{cause="{name}_head_timeout"}}') >= 50


async def test_headers_without_end(member: Flooded) -> None:
    for port in (member.http_port, member.gossip_port):
        pieces = [b"GET /livez HTTP/1.1\r\n", *[b"X-%d: %s\r\n" % (number, b"x" * 4_000) for number in range(100)]]
        assert set(await counted(answer_to(port, pieces) for _ in range(50))) <= {400, 431, 0}


async def test_three_thousand_connections_from_one_address(member: Flooded) -> None:
    async with AsyncExitStack() as stack:
        readers = []
        for _ in range(3_000):
            try:
                reader, _ = await stack.enter_async_context(connected(member.http_port))
            except OSError:
                continue
            readers.append(reader)
        assert member.descriptors < 256 + 64
    await member.serves_again()
    assert await member.metric('gossipkv_intake_refused_total{cause="http_connections_per_address_max"}') >= 2_000
    # Once, however many were refused.
    begun = [line for line in member.command.output.splitlines() if '"refusing"' in line and "per_address" in line]
    assert 1 <= len(begun) <= 3
    assert json.loads(begun[0])["remedy"]


async def test_pipelined_requests_whose_answers_are_not_read(member: Flooded) -> None:
    get = b"GET /v1/usr/tables/probe/rows/k HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 8_000 + b"\r\n\r\n"
    put = b"PUT /v1/usr/tables/t/rows/k HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n" + bytes(30_000)
    watch = b"GET /v1/usr/tables/t/rows:watch HTTP/1.1\r\nHost: x\r\n\r\n"
    async with AsyncExitStack() as stack:
        for request in (get, put) * 50:
            _, writer = await stack.enter_async_context(connected(member.http_port, is_slow=True))
            writer.write(watch + request * 100)
        await asyncio.sleep(1.5)


async def test_pipelined_requests_are_all_answered(member: Flooded) -> None:
    get = b"GET /v1/usr/tables/probe/rows/k HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 2_000 + b"\r\n\r\n"
    put = b"PUT /v1/usr/tables/t/rows/k HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000)
    async with asyncio.timeout(20), connected(member.http_port) as (reader, writer):
        writer.write((get + put) * 50)
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 100:
            answers += (more := await reader.read(2**20))
            assert more, "the connection stays open"
    assert answers.count(b"HTTP/1.1 20") == 100


async def test_no_file_descriptor_is_left(member: Flooded) -> None:
    pid = member.command.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    before_refused = await member.metric('gossipkv_intake_refused_total{cause="http_not_accepted"}')
    async with AsyncExitStack() as stack:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (member.descriptors + 3, before[1]))
        for _ in range(20):
            await stack.enter_async_context(connected(member.http_port))
        cpu_s = _cpu_s(pid)
        await asyncio.sleep(2)
        assert _cpu_s(pid) - cpu_s < 1, "it does not spin"
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    await member.serves_again()
    assert await member.metric('gossipkv_intake_refused_total{cause="http_not_accepted"}') > before_refused
    begun = [line for line in member.command.output.splitlines() if '"refusing"' in line and "not_accepted" in line]
    assert len(begun) == 1


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
