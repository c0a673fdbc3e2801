"""Two processes that run under one member's name: on copies of one volume, and with a directory each."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.processes.members import Member, Members, eventually

pytestmark = pytest.mark.timeout(240)


@asynccontextmanager
async def second_process(members: Members, member: Member, directory: Path) -> AsyncIterator[Member]:
    """A process under the member's name, with what is in this directory."""
    twin = Member(member.name, directory, **member.settings)
    await twin.proxy.start()
    try:
        await twin.start([*members.all, twin])
        await eventually(lambda: members.is_ready(twin), "the second process ready")
        yield twin
    finally:
        if twin.process is not None:
            await twin.kill()
        await twin.proxy.stop()


def reasons(member: Member, event: str = "member_runs_twice") -> list[str]:
    lines = [json.loads(line) for line in member.log_path.read_text().splitlines() if line]
    return [line["reason"] for line in lines if line["event"] == event]


async def assert_noticed_by_all(members: Members, twin: Member, words: str) -> None:
    """In the log, once; in the account; in a metric; by the command."""
    running = [*members.all, twin]

    async def have_noticed() -> bool:
        return all(reasons(member) for member in running)

    await eventually(have_noticed, "the log of each tells of two processes")
    for member in running:
        [reason] = reasons(member)
        assert f"two processes run as member {twin.name}, {words}: replica " in reason
        assert all(each.gossip_url in reason for each in running if each.name == twin.name)
        assert reason.endswith("stop one, or give it another name and an empty directory")
        assert await members.metric(member, f'gossipkv_member_processes{{member="{twin.name}"}}') == 2
        entries = (await members.json(member, "/v1/cluster"))["members"]
        assert [e["member"] for e in entries if e["runs_twice"]] == [twin.name]
    arguments = ("-m", "gossipkv", "status", "--server", members.all[0].url)
    command = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await command.communicate()
    assert f"two processes run as member {twin.name}, {words}" in err.decode()
    assert "runs twice" in next(line for line in out.decode().splitlines() if twin.name in line)


async def assert_held_by_others(members: Members, acknowledged: dict[str, str]) -> None:
    async def hold_all() -> bool:
        found = [await members.rows(member) for member in members.all[:2]]
        return all(acknowledged.items() <= rows.items() for rows in found)

    await eventually(hold_all, "the other members hold every acknowledged row")


async def write(members: Members, acknowledged: dict[str, str], **targets: Member) -> None:
    for number in range(20):
        for name, member in targets.items():
            row = f"{name}-{number}"
            assert await members.put(member, row, row)
            acknowledged[row] = row


async def test_a_twin_on_a_copy_of_the_volume_is_noticed_and_parts(tmp_path: Path) -> None:
    async with Members(tmp_path) as members:
        member = members.all[2]
        acknowledged: dict[str, str] = {}
        await write(members, acknowledged, common=member)
        await eventually(members.are_equal, "all rows everywhere")
        member.signal(signal.SIGSTOP)
        shutil.copytree(member.data_dir, tmp_path / "copy" / member.name)
        member.signal(signal.SIGCONT)
        async with second_process(members, member, tmp_path / "copy") as twin:
            await write(members, acknowledged, original=member, copy=twin)
            await assert_noticed_by_all(members, twin, "on copies of one volume")
            assert await members.replica_id(member) != await members.replica_id(twin)
            await write(members, acknowledged, later=member, latest=twin)
            await assert_held_by_others(members, acknowledged)
        await eventually(members.are_equal, "the members equal without the twin")
        await assert_held_by_others(members, acknowledged)


async def test_a_second_process_with_a_directory_of_its_own_is_named_by_all(tmp_path: Path) -> None:
    async with Members(tmp_path) as members:
        member = members.all[2]
        replica = await members.replica_id(member)
        acknowledged: dict[str, str] = {}
        (tmp_path / "other").mkdir()
        async with second_process(members, member, tmp_path / "other") as other:
            await write(members, acknowledged, one=member, other=other)
            await assert_noticed_by_all(members, other, "with a directory each")
            await assert_held_by_others(members, acknowledged)
            assert replica == await members.replica_id(member) != await members.replica_id(other)
        await eventually(members.are_equal, "the members equal without the other process")
