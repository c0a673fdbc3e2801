"""The client with three members, one of which is killed under it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gossipkv.client import Client, UnavailableError
from tests.processes.members import Members, eventually

pytestmark = pytest.mark.timeout(240)

ROUNDS_AFTER = 100


async def test_reads_and_safe_writes_know_nothing_of_a_member_that_is_under_way(tmp_path: Path) -> None:
    async with (
        Members(tmp_path) as members,
        Client([member.url for member in members.all], connect_timeout_s=1.0) as client,
    ):
        table = client.table("t")
        written = await table.put("before", b"v")
        assert written.receipt is not None
        assert (await client.receipt(written.receipt, wait="all", within="30s"))["complete"]
        done = 0
        is_over = asyncio.Event()

        async def ask(name: str) -> None:
            nonlocal done
            number = 0
            while not is_over.is_set():
                await table.put(f"{name}-{number}", b"v", w=2, write_wait="20s", idempotent=True)
                assert await table.get("before") is not None
                # The one before may not have reached the member that is asked; two members together have it.
                assert await table.get(f"{name}-{number}", r=2) is not None
                number += 1
                done += 1

        async def reached(rounds: int) -> bool:
            return done >= rounds

        async with asyncio.TaskGroup() as asking:
            for name in "abcd":
                asking.create_task(ask(name))
            await eventually(lambda: reached(20), "the clients are under way")
            await members.all[1].kill()
            killed_at = done
            await eventually(lambda: reached(killed_at + ROUNDS_AFTER), "they go on")
            await members.all[1].start(members.all)
            await eventually(members.are_ready, "the member is back")
            is_over.set()
        await eventually(members.are_equal, "equal fingerprints")
        assert len(await members.rows(members.all[1])) == done + 1


async def test_a_plain_write_either_stands_or_says_that_it_may(tmp_path: Path) -> None:
    async with Members(tmp_path) as members, Client([member.url for member in members.all]) as client:
        table = client.table("t")
        acknowledged: list[str] = []
        doubtful: list[str] = []
        refused: list[str] = []
        is_under_way = asyncio.Event()

        async def write(name: str) -> None:
            for number in range(300):
                row = f"{name}-{number}"
                try:
                    await table.put(row, b"v")
                    acknowledged.append(row)
                except UnavailableError as error:
                    (doubtful if error.may_stand else refused).append(row)
                if len(acknowledged) > 100:
                    is_under_way.set()

        async with asyncio.TaskGroup() as writing:
            for name in "abcd":
                writing.create_task(write(name))
            await is_under_way.wait()
            await members.all[0].kill()
        # Each writer had at most one write under way when the member was killed.
        assert len(doubtful) <= 4
        assert refused == [], "what certainly was not stored is sent to the next member"
        await members.all[0].start(members.all)
        await eventually(members.are_ready, "the member is back")
        await eventually(members.are_equal, "equal fingerprints")
        assert set(acknowledged) <= set(await members.rows(members.all[2]))
