"""Writes that ask for two copies and reads that ask two members, with members of a cluster of three stopped."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.processes.members import Member, Members, eventually

pytestmark = pytest.mark.timeout(240)


async def put(members: Members, member: Member, row: str, value: str, query: str) -> tuple[int, Any]:
    url = f"{member.url}/v1/usr/tables/t/rows/{row}?{query}"
    async with members.session.put(url, data=value) as response:
        return response.status, await response.json() if response.status >= 400 else response.headers


async def get(members: Members, member: Member, row: str, query: str) -> tuple[int, str]:
    async with members.session.get(f"{member.url}/v1/usr/tables/t/rows/{row}?{query}") as response:
        return response.status, await response.text()


async def test_two_copies_with_one_member_stopped_and_with_two(tmp_path: Path) -> None:
    async with Members(tmp_path) as members:
        first, second, third = members.all
        third.signal(signal.SIGSTOP)
        for number in range(20):
            status, headers = await put(members, members.all[number % 2], f"row-{number}", str(number), "w=2")
            assert status == 201
            assert headers["Gossipkv-Receipt"]
            found = await get(members, members.all[(number + 1) % 2], f"row-{number}", "r=2")
            assert found == (200, str(number)), "r + w > n reads the latest acknowledged write"

        second.signal(signal.SIGSTOP)
        # The first does not know yet that the second is gone: it stores, and says how many copies there are.
        status, problem = await put(members, first, "stored", "here", "w=2&write_wait=300ms")
        assert (status, problem["stored"], problem["copies"]) == (503, True, 1)
        receipt = problem["receipt"]

        async def are_missed() -> bool:
            cluster = await members.json(first, "/v1/cluster")
            return all(entry["self"] or entry["status"] == "dead" for entry in cluster["members"])

        await eventually(are_missed, "the first takes both for dead")
        status, problem = await put(members, first, "refused", "x", "w=2&write_wait=300ms")
        assert (status, problem["type"], problem["stored"]) == (503, "urn:gossipkv:problem:too-few-members", False)
        assert (await get(members, first, "refused", "r=1"))[0] == 404
        waiting = asyncio.create_task(put(members, first, "patient", "x", "w=2&write_wait=1m"))

        second.signal(signal.SIGCONT)
        third.signal(signal.SIGCONT)

        assert (await waiting)[0] == 201
        for member in members.all:
            coverage = await members.json(member, f"/v1/cluster/receipts/{receipt}?wait=all&timeout=1m")
            assert (coverage["complete"], coverage["copies"]) == (True, 3)
        await eventually(members.are_equal, "equal fingerprints")
        rows = await members.rows(third)
        assert rows["stored"] == "here"
        assert "refused" not in rows
