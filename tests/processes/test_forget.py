"""A member that is gone for good, forgotten, and back with its old data."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes.members import Member, Members, eventually

pytestmark = pytest.mark.timeout(240)

SETTINGS = {
    "advertise_host": "127.0.0.1",
    "exchange_timeout_s": 2,
    "message_life_ms": 2_100,
    "clock_skew_ms_max": 1_000,
    "tombstone_age_ms_min": 3_200,
}
"""Tombstones are collected some seconds after all members have them, and commands reach each member itself."""
KEPT = {f"kept-{number}": "v" for number in range(10)}
DELETED = {f"deleted-{number}": "v" for number in range(10)}


async def command(*arguments: object, code: int = 0) -> tuple[str, str]:
    """What a command writes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gossipkv", *map(str, arguments)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == code, (out + err).decode()
    return out.decode(), err.decode()


def logged(member: Member, event: str) -> list[dict[str, Any]]:
    lines = member.log_path.read_text().splitlines()
    return [line for line in map(json.loads, filter(None, lines)) if line["event"] == event]


async def test_a_forgotten_member_that_returns_brings_nothing_back(tmp_path: Path) -> None:
    async with Members(tmp_path, **SETTINGS) as members:
        first, second, third = members.all
        for row, value in (KEPT | DELETED).items():
            assert await members.put(first, row, value)
        await eventually(members.are_equal, "all rows everywhere")
        old_replica = await members.replica_id(third)
        await third.kill()
        for row in DELETED:
            async with members.session.delete(f"{first.url}/v1/usr/tables/t/rows/{row}") as response:
                assert response.status == 204

        async def is_blocked() -> bool:
            collections = [(await members.json(member, "/v1/cluster"))["collection"] for member in (first, second)]
            return all(collection["blocked_by"] == [third.name] for collection in collections)

        await eventually(is_blocked, "both name the member that blocks the collection")
        assert f"gossipkv members forget {third.name}" in (await command("status", "-s", first.url))[1]
        assert await members.metric(second, f'gossipkv_collection_blocked{{peer="{third.name}"}}') == 1
        assert await members.metric(second, 'gossipkv_tombstones{shard="usr"}') == len(DELETED)

        await command("members", "forget", third.name, "-s", second.url)

        async def are_collected() -> bool:
            samples = [await members.metric(each, 'gossipkv_tombstones{shard="usr"}') for each in (first, second)]
            return samples == [0, 0]

        await eventually(are_collected, "no tombstone is left")
        assert await members.metric(first, "gossipkv_tombstones_collected_total") == len(DELETED)
        await third.start(members.all)

        async def is_set_aside() -> bool:
            return bool(logged(third, "data_set_aside"))

        await eventually(is_set_aside, "the member sets its data aside")
        await eventually(members.are_ready, "the member is back")
        await eventually(members.are_equal, "equal fingerprints")
        for member in members.all:
            assert await members.rows(member) == KEPT, member.name
        assert await members.replica_id(third) != old_replica
        assert await members.metric(third, "gossipkv_set_aside_directories") == 1
        (line,) = logged(third, "data_set_aside")
        assert line["replica"] == old_replica
        assert line["level"] == "error"
        assert Path(line["path"]).parent == third.data_dir / "set-aside"
        out, _ = await command("export", "t", "--data-dir", line["path"])
        assert {item["row"]: item["value"] for item in map(json.loads, out.splitlines())} == KEPT | DELETED
        _, err = await command("export", "t", "--data-dir", third.data_dir, code=8)
        assert "in use by another process" in err
        # From here on it is a member like any other.
        third.signal(signal.SIGTERM)
        assert third.process is not None
        assert await third.process.wait() == 0
        await third.start(members.all)
        await eventually(members.are_ready, "the member is back once more")
        await eventually(members.are_equal, "equal fingerprints")
        assert await members.rows(third) == KEPT
        assert len(logged(third, "data_set_aside")) == 1
