"""A member is told to stop while clients wait for others that are silent: all are answered, and it ends well."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.processes.members import Member, Members, eventually

pytestmark = pytest.mark.timeout(240)

SETTINGS = {
    "read_wait_s": 60,
    "write_wait_s": 60,
    "protocol_period_ms": 600,
    "probe_timeout_ms": 300,
}
"""Those who wait would wait for longer than a stop may take. On a busy machine, no one that runs is taken for dead."""


async def asked(members: Members, method: str, url: str, **arguments: Any) -> tuple[int, Any]:
    timeout = aiohttp.ClientTimeout(total=60)
    async with members.session.request(method, url, timeout=timeout, **arguments) as response:
        return response.status, await response.json(content_type=None)


async def ended(member: Member) -> int:
    assert member.process is not None
    async with asyncio.timeout(60):
        code = await member.process.wait()
    member.process = None
    return code


def kind(problem: Any) -> str:
    return str(problem["type"]).removeprefix("urn:gossipkv:problem:")


async def test_all_who_wait_at_a_member_that_stops_are_answered(tmp_path: Path) -> None:
    async with Members(tmp_path, **SETTINGS) as members:
        first, second, third = members.all
        rows = f"{first.url}/v1/usr/tables/t/rows"
        await eventually(lambda: _takes_three_copies(members, f"{rows}/first"), "the first has been answered by both")
        for other in (second, third):
            other.signal(signal.SIGSTOP)
        writing = asyncio.create_task(asked(members, "PUT", f"{rows}/stored?w=3", data="v"))
        reading = asyncio.create_task(asked(members, "GET", f"{rows}/stored?r=3"))

        async def is_stored() -> bool:
            assert not writing.done(), f"the write is not waited for: {writing.result()}"
            return "stored" in await members.rows(first)

        await eventually(is_stored, "the row is stored")
        batch = asyncio.create_task(_results(members, f"{rows}:batch?w=2"))
        body = asyncio.create_task(asked(members, "PUT", f"{rows}/slow", data=_body_without_end()))

        await eventually(lambda: _are_all(members, first, "dead"), "the first takes both for dead")
        waiting = asyncio.create_task(asked(members, "PUT", f"{rows}/refused?w=2", data="v"))
        receipt = (await _head(members, f"{rows}/here")).headers["Gossipkv-Receipt"]
        receipts = f"{first.url}/v1/cluster/receipts/{receipt}"
        asking = asyncio.create_task(asked(members, "GET", f"{receipts}?wait=all&timeout=1m"))
        watching = asyncio.create_task(_watched(members, first))
        await eventually(lambda: _are_under_way(members, first), "all requests are under way")

        first.signal(signal.SIGTERM)

        assert await ended(first) == 0
        status, problem = await writing
        assert (status, kind(problem), problem["stored"], problem["copies"]) == (503, "too-few-copies", True, 1)
        assert problem["receipt"]
        status, problem = await reading
        assert (status, kind(problem)) == (503, "stopping")
        status, problem = await waiting
        assert (status, kind(problem)) == (503, "stopping")
        status, coverage = await asking
        assert (status, coverage["copies"], coverage["complete"]) == (200, 1, False)
        assert "event: end" in await watching
        assert "too-few-copies" in await batch
        with pytest.raises(aiohttp.ClientError):
            await body

        for other in (second, third):
            other.signal(signal.SIGCONT)
        await first.start(members.all)
        await eventually(members.are_ready, "all are ready")
        await eventually(members.are_equal, "all are equal")
        found = await members.rows(third)
        assert {"stored", "here"} <= found.keys()
        assert "refused" not in found


async def _lines_without_end() -> Any:
    yield b'{"row": "batch", "value": "v"}\n'
    await asyncio.sleep(3_600)


async def _results(members: Members, url: str) -> str:
    """The results of a batch that never ends, until it is cut off."""
    results = b""
    timeout = aiohttp.ClientTimeout(total=60)
    async with members.session.post(url, data=_lines_without_end(), timeout=timeout) as response:
        with suppress(aiohttp.ClientError):
            async for content in response.content.iter_any():
                results += content
    return results.decode()


async def _body_without_end() -> Any:
    yield b"half of "
    await asyncio.sleep(3_600)


async def _head(members: Members, url: str) -> aiohttp.ClientResponse:
    async with members.session.put(url, data="v") as response:
        assert response.status == 201
        return response


async def _watched(members: Members, member: Member) -> str:
    """All that a watch is told."""
    url = f"{member.url}/v1/usr/tables/t/rows:watch"
    async with members.session.get(url, timeout=aiohttp.ClientTimeout(total=60)) as response:
        return await response.text()


async def _are_all(members: Members, member: Member, status: str) -> bool:
    """Whether this member takes both others for alive, or for dead."""
    cluster = await members.json(member, "/v1/cluster")
    statuses = [entry["status"] for entry in cluster["members"] if not entry["self"]]
    return statuses == [status, status]


async def _takes_three_copies(members: Members, row: str) -> bool:
    """Whether both others have answered: a member that has not is not counted on for copies."""
    status, _ = await asked(members, "PUT", f"{row}?w=3", data="v")
    return status < 300


async def _are_under_way(members: Members, member: Member) -> bool:
    """Whether the watch has begun: it was asked for last."""
    return await members.metric(member, "gossipkv_watchers") == 1
