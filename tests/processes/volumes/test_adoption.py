"""A deletion that others were handed by a member which then lost its disk comes to an end."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.processes.members import Member, Members, eventually
from tests.processes.volumes.test_forget import SETTINGS, logged

pytestmark = pytest.mark.timeout(240)

ROW = "doomed"
ROWS_BEFORE = 40
VALUE = "x" * 1_000_000
"""Large enough that the range before the deletion is still in transit when the origin is lost."""


async def test_a_deletion_that_no_range_can_bring_any_more_is_collected_by_all(tmp_path: Path) -> None:
    async with Members(tmp_path, **SETTINGS, write_wait_s=20) as members:
        first, second, third = members.all
        assert await members.put(first, ROW, "v")
        await eventually(members.are_equal, "the row is everywhere")
        for other in (second, third):
            other.signal(signal.SIGSTOP)
        for number in range(ROWS_BEFORE):
            assert await members.put(first, f"before-{number}", VALUE)
        deleting = asyncio.create_task(_delete(members, first))
        for other in (second, third):
            other.signal(signal.SIGCONT)
        assert await deleting == 204
        await first.kill()
        first.lose_disk()
        await first.start(members.all)
        await eventually(members.are_ready, "all are ready")

        async def have_forgotten() -> bool:
            own = [await _own(members, member) for member in members.all]
            return not any(account["shards"]["usr"]["tombstones"] for account in own)

        await eventually(have_forgotten, "all have collected the deletion")
        await eventually(members.are_equal, "all are equal")
        assert any(logged(member, "writes_adopted") for member in members.all)
        for member in members.all:
            assert ROW not in await members.rows(member)
            assert (await members.json(member, "/v1/cluster"))["collection"]["blocked_by"] == []


async def _delete(members: Members, member: Member) -> int:
    async with members.session.delete(f"{member.url}/v1/usr/tables/t/rows/{ROW}?w=2") as response:
        return response.status


async def _own(members: Members, member: Member) -> dict[str, Any]:
    cluster = await members.json(member, "/v1/cluster")
    own: dict[str, Any] = next(entry for entry in cluster["members"] if entry["self"])
    return own
