"""Old volumes among real members: what was deleted stays deleted, and what was acknowledged stays."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from gossipkv.core.watch.watch_position import ANEW
from tests.processes.members import Member, Members, eventually
from tests.processes.volumes.test_forget import SETTINGS, logged

pytestmark = pytest.mark.timeout(240)

ROW = "doomed"


def copy_volume(member: Member) -> Path:
    """A copy of a volume whose process is down."""
    copy = member.data_dir.with_suffix(".copy")
    shutil.copytree(member.data_dir, copy)
    return copy


def set_back(member: Member, copy: Path) -> None:
    member.lose_disk()
    shutil.copytree(copy, member.data_dir)


async def restart(members: Members, member: Member) -> None:
    await member.start(members.all)
    await eventually(lambda: members.is_ready(member), f"{member.name} is ready")


async def delete(members: Members, member: Member, row: str) -> None:
    async with members.session.delete(f"{member.url}/v1/usr/tables/t/rows/{row}") as response:
        assert response.status == 204


async def delete_and_collect(members: Members, member: Member) -> None:
    await delete(members, member, ROW)

    async def is_collected() -> bool:
        return all([await members.metric(m, "gossipkv_tombstones_collected_total") >= 1 for m in members.all])

    await eventually(is_collected, "all have collected the tombstone")


async def last_id(members: Members, member: Member) -> str:
    """The id of a watcher that has been told all current rows."""
    url = f"{member.url}/v1/usr/tables/t/rows:watch?snapshot=true"
    async with asyncio.timeout(20), members.session.get(url) as response:
        async for line in response.content:
            if line.startswith(b"id: ") and line[4:].strip() != ANEW.encode():
                return line[4:].strip().decode()
    raise AssertionError("the stream ended without an id")


async def first_event_after(members: Members, member: Member, event_id: str) -> str:
    """The name of the first event that a watch from this id is sent."""
    url = f"{member.url}/v1/usr/tables/t/rows:watch"
    async with asyncio.timeout(20), members.session.get(url, headers={"Last-Event-ID": event_id}) as response:
        async for line in response.content:
            if line.startswith(b"event: "):
                return line[7:].strip().decode()
    raise AssertionError("the stream ended without an event")


async def test_a_deleted_row_stays_deleted_when_an_old_volume_meets_a_member_that_filled_itself(tmp_path: Path) -> None:
    async with Members(tmp_path, **SETTINGS) as members:
        first, second, third = members.all
        assert await members.put(first, ROW, "v")
        assert await members.put(first, "kept", "v")
        await eventually(members.are_equal, "both rows everywhere")
        told = await last_id(members, first)
        await third.kill()
        copy = copy_volume(third)
        await restart(members, third)
        await delete_and_collect(members, first)

        await second.kill()
        second.lose_disk()
        await restart(members, second)
        await eventually(members.are_equal, "the second has filled itself")
        assert await first_event_after(members, first, told) == "reset"
        assert await first_event_after(members, second, told) == "reset"

        await first.kill()
        await third.kill()
        set_back(third, copy)
        await third.start(members.all)

        async def is_set_aside() -> bool:
            return bool(logged(third, "data_set_aside"))

        await eventually(is_set_aside, "the old volume is set aside")
        await restart(members, first)
        await eventually(members.are_ready, "all are ready")
        await eventually(members.are_equal, "all are equal")
        for member in members.all:
            assert await members.rows(member) == {"kept": "v"}, member.name


@pytest.mark.parametrize("conflicts", ["lww", "siblings"])
async def test_writes_acknowledged_by_a_volume_that_was_set_back_survive_what_others_know(
    tmp_path: Path, conflicts: str
) -> None:
    async with Members(tmp_path, **SETTINGS, bootstrap_timeout_s=1) as members:
        first, second, third = members.all
        url = f"{first.url}/v1/usr/tables/t"
        async with members.session.put(url, json={"conflicts": conflicts}) as response:
            assert response.status in (200, 201, 204), await response.text()
        await eventually(members.are_equal, "the settings are everywhere")
        await second.kill()
        copy = copy_volume(second)
        await restart(members, second)
        keys = [f"key-{number}" for number in range(40)]
        for key in keys:
            assert await members.put(second, key, "before")
        await eventually(members.are_equal, "all rows everywhere")
        await second.kill()
        for key in keys:
            row = f"{first.url}/v1/usr/tables/t/rows/{key}"
            async with members.session.get(row) as response:
                context = response.headers["Gossipkv-Context"]
            async with members.session.put(row, data="replaced", headers={"Gossipkv-Context": context}) as response:
                assert response.status == 204
        first_and_third = (first, third)
        for member in first_and_third:
            await member.kill()
        set_back(second, copy)
        await restart(members, second)
        for key in keys:
            assert await members.put(second, key, f"after {key}"), "a member that is alone takes writes"
        for member in first_and_third:
            await member.start(members.all)
        await eventually(members.are_ready, "all are ready")
        await eventually(members.are_equal, "all are equal")
        for member in members.all:
            for key in keys:
                async with members.session.get(
                    f"{member.url}/v1/usr/tables/t/rows/{key}", headers={"Accept": "application/json"}
                ) as response:
                    assert f"after {key}" in await response.text(), (member.name, key, response.status)
