"""A member whose clock is off refuses writes through every door, and says why."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gossipkv import Client, ClockOffError, Node, Put, SyncClient
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.member.node import wall_clock_ms
from tests.node.member_settings import MemberSettings
from tests.processes.members import eventually, free_port

AHEAD_MS = 20 * 60_000


class Pair:
    """Two members in this process. The clock of the first can be set."""

    def __init__(self, member: Node, url: str) -> None:
        self.member = member
        self.url = url
        self.ahead_ms = 0
        member._driver._committer._clock_ms = lambda: wall_clock_ms() + self.ahead_ms

    async def cluster(self) -> dict[str, Any]:
        async with Client([self.url]) as client:
            return await client.cluster()

    async def metrics(self) -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as response:
            return await response.text()


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    ports = [free_port(), free_port()]
    http_port = free_port()
    peers = [f"http://127.0.0.1:{port}" for port in ports]
    settings: MemberSettings = {"gossip_interval_ms": 100, "protocol_period_ms": 200, "probe_timeout_ms": 100}
    async with (
        Node(
            data_dir=tmp_path / "0", member="m0", peers=peers, gossip_port=ports[0], http_port=http_port, **settings
        ) as first,
        Node(data_dir=tmp_path / "1", member="m1", peers=peers, gossip_port=ports[1], **settings) as second,
    ):
        await first.wait_ready()
        await second.wait_ready()
        yield Pair(first, f"http://127.0.0.1:{http_port}")


async def is_off(pair: Pair) -> bool:
    return bool((await pair.cluster())["clock"]["off"])


async def test_every_door_refuses_writes_while_the_clock_is_off(pair: Pair) -> None:
    pair.ahead_ms = AHEAD_MS
    await eventually(lambda: is_off(pair), "the member notices that its clock is off")

    with pytest.raises(ClockOffError, match="20 min ahead of the others'"):
        await pair.member.table("t").put("k", b"v")
    with pytest.raises(ClockOffError):
        await pair.member.table("t").delete("k")

    async with Client([pair.url], passes=1) as client:
        with pytest.raises(ClockOffError) as failure:
            await client.table("t").put("k", b"v")
        assert not failure.value.may_stand
        [result] = [each async for each in client.table("t").batch([Put("k", b"v")])]
        assert isinstance(result.error, ClockOffError)

    def put_synchronously() -> None:
        with SyncClient([pair.url], passes=1) as client, pytest.raises(ClockOffError):
            client.table("t").put("k", b"v")

    await asyncio.to_thread(put_synchronously)

    rows = f"{pair.url}/v1/usr/tables/t/rows"
    async with aiohttp.ClientSession() as session:
        for method, url, data in (
            ("PUT", f"{rows}/k", b"v"),
            ("PUT", f"{rows}/k?w=2", b"v"),
            ("DELETE", f"{rows}/k", None),
            ("PUT", f"{pair.url}/v1/usr/tables/t", b'{"conflicts": "siblings"}'),
        ):
            async with session.request(method, url, data=data) as response:
                problem = await response.json(content_type="application/problem+json")
                assert (response.status, problem["type"]) == (503, "urn:gossipkv:problem:clock-off"), method
                assert "Retry-After" in response.headers

    command = [sys.executable, "-m", "gossipkv", "put", "t", "k", "v", "--server", pair.url]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, told = await process.communicate()
    assert process.returncode == ExitCode.UNAVAILABLE
    assert b"set the clock right" in told
    assert b"\ngossipkv_clock_off 1.0\n" in (await pair.metrics()).encode()

    pair.ahead_ms = 0

    async def takes_writes() -> bool:
        return not await is_off(pair)

    await eventually(takes_writes, "the member takes writes again")
    await pair.member.table("t").put("k", b"v", w=2)
    assert b"\ngossipkv_clock_off 0.0\n" in (await pair.metrics()).encode()
