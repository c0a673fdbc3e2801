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


def rows_named_in(line: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of the file that the log names."""
    return [json.loads(text) for text in Path(line["rows_file"]).read_text().splitlines()]


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
        assert f"gossipkv members forget {third.name}" in (await command("status", "-s", first.url, code=6))[1]
        assert await members.metric(second, f'gossipkv_collection_blocked{{peer="{third.name}"}}') == 1
        assert await members.metric(second, 'gossipkv_tombstones{shard="usr"}') == len(DELETED)

        await command("members", "forget", third.name, "--force", "-s", second.url)

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


async def test_what_a_forgotten_member_alone_had_acknowledged_is_named_and_can_be_merged_back(tmp_path: Path) -> None:
    # Members speak through their proxies alone, and commands reach them all the same.
    settings = {name: value for name, value in SETTINGS.items() if name != "advertise_host"}
    settings |= {"http_host": "0.0.0.0", "bootstrap_timeout_ms": 1_000, "exchange_timeout_s": 1}
    async with Members(tmp_path, **settings) as members:
        first, second, third = members.all
        for row, value in (KEPT | DELETED).items():
            assert await members.put(third, row, value)
        await eventually(members.are_equal, "all rows everywhere")
        await third.kill()
        for row in DELETED:
            async with members.session.delete(f"{first.url}/v1/usr/tables/t/rows/{row}") as response:
                assert response.status == 204
        await command("members", "forget", third.name, "--force", "-s", first.url)

        async def is_forgotten() -> bool:
            return third.name not in {each["member"] for each in (await members.json(second, "/v1/cluster"))["members"]}

        await eventually(is_forgotten, "both others have forgotten it")
        for member in members.all:
            member.proxy.is_cut = True
        await third.start(members.all)
        await eventually(lambda: members.is_ready(third), "it is ready alone")
        fresh = {f"fresh-{number}": f"v{number}" for number in range(20)}
        for row, value in fresh.items():
            async with members.session.put(f"{third.url}/v1/usr/tables/t/rows/{row}", data=value) as response:
                assert response.status == 201
                assert int(response.headers["Gossipkv-Alone"]) >= 0
        assert await members.metric(third, "gossipkv_alone") == 1
        assert f"{third.name} is alone" in (await command("status", "-s", third.url, code=6))[1]
        assert await members.put(first, "kept-0", "replaced meanwhile")
        for member in members.all:
            member.proxy.is_cut = False

        async def is_set_aside() -> bool:
            return bool(logged(third, "data_set_aside"))

        await eventually(is_set_aside, "the member sets its data aside")
        await eventually(members.are_ready, "the member is back")
        await eventually(members.are_equal, "equal fingerprints")
        (line,) = logged(third, "data_set_aside")
        named = rows_named_in(line)
        assert fresh.items() <= {item["row"]: item.get("value") for item in named if item["namespace"] == "usr"}.items()
        assert line["rows_only_here"] == len(named)
        assert f"gossipkv set-aside merge {line['path']}" in line["remedy"]
        (shown,) = (await command("set-aside", "list", "--data-dir", third.data_dir, "-o", "json"))[0].splitlines()
        assert json.loads(shown)["rows_only_here"] == len(named)
        await command("set-aside", "merge", line["path"], "-s", first.url)
        expected = KEPT | {"kept-0": "replaced meanwhile"} | fresh
        assert await members.rows(first) == expected
        await eventually(members.are_equal, "equal fingerprints")
        before = [users for users, _ in await members.fingerprints()]
        await command("set-aside", "merge", line["path"], "-s", second.url)
        assert [users for users, _ in await members.fingerprints()] == before
        assert "gossipkv_alone 1" not in await (await members.session.get(f"{third.url}/metrics")).text()
