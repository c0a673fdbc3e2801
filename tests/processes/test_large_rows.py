"""Rows that fit no frame, at real processes with the settings that they have by default."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.processes.members import Member, Members, eventually

pytestmark = pytest.mark.timeout(240)

MIB = 1024 * 1024
SIBLINGS = {"two": {b"1" * MIB, b"2" * MIB}, "many": {b"%02d" % n * 20_000 for n in range(64)}}


async def put(members: Members, member: Member, row: str, value: bytes) -> None:
    async with members.session.put(f"{member.url}/v1/usr/tables/beside/rows/{row}", data=value) as response:
        assert response.status in (201, 204), await response.text()


async def values(members: Members, member: Member, row: str) -> set[bytes]:
    answer = await members.session.get(
        f"{member.url}/v1/usr/tables/beside/rows/{row}", headers={"Accept": "application/json"}
    )
    async with answer:
        assert answer.status == 300
        return {sibling["value"].encode() for sibling in (await answer.json())["siblings"]}


async def test_rows_that_fit_no_frame_and_all_behind_them_reach_a_restarted_and_a_new_member(tmp_path: Path) -> None:
    async with Members(tmp_path) as members:
        first, restarted, renewed = members.all
        settings = members.session.put(f"{first.url}/v1/usr/tables/beside", data=b'{"conflicts":"siblings"}')
        async with settings as response:
            assert response.status == 201
        await eventually(members.are_equal, "the settings of the table everywhere")
        concurrent = {member.name.encode() * (MIB // len(member.name)) for member in members.all}
        await asyncio.gather(
            *(
                put(members, member, "concurrent", member.name.encode() * (MIB // len(member.name)))
                for member in members.all
            )
        )
        await eventually(members.are_equal, "concurrent values of 1 MiB everywhere")
        await restarted.kill()
        for row, siblings in SIBLINGS.items():
            await asyncio.gather(*(put(members, first, row, value) for value in sorted(siblings)))
        await asyncio.gather(*(members.put(first, f"row{number}", str(number)) for number in range(200)))
        await restarted.start(members.all)
        await renewed.kill()
        renewed.lose_disk()
        await renewed.start(members.all)
        await eventually(members.are_ready, "all members ready")
        await eventually(members.are_equal, "equal fingerprints")
        for member in members.all:
            assert await values(members, member, "concurrent") == concurrent
            for row, siblings in SIBLINGS.items():
                assert await values(members, member, row) == siblings
            assert len(await members.rows(member)) == 200
            assert await members.metric(member, 'gossipkv_exchange_failures_total{fault="refused"}') == 0
            assert await members.metric(member, 'gossipkv_exchange_failures_total{fault="malformed"}') == 0
