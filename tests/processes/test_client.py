"""The client with three members, one of which is killed under it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gossipkv.client import Client, ConditionFailedError, UnavailableError
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


async def test_a_single_writer_meets_no_conflict_but_is_told_what_may_stand(tmp_path: Path) -> None:
    """Each row has one writer, which reads it after a write that may stand. So a condition that fails would be the
    client's doing: a write that it has sent twice."""
    writers = [f"writer-{number}" for number in range(16)]
    async with Members(tmp_path, 1, bootstrap_timeout_ms=200) as members, Client([members.all[0].url]) as client:
        member, table = members.all[0], client.table("t")
        acknowledged = dict.fromkeys(writers, 0)
        doubtful: list[str] = []
        conflicts: list[str] = []
        is_over = asyncio.Event()

        async def stored(name: str) -> tuple[int, str | None]:
            """The number that the row holds, and its etag, once a member tells."""
            while True:
                try:
                    row = await table.get(name)
                    return (0, None) if row is None else (int(row.value or b""), row.etag)
                except UnavailableError:
                    await asyncio.sleep(0.05)

        async def write(name: str) -> None:
            number, etag = 0, None
            while not is_over.is_set():
                value = b"%d" % (number + 1)
                try:
                    if etag is None:
                        etag = (await table.put(name, value, if_absent=True)).etag
                    else:
                        etag = (await table.put(name, value, if_match=etag)).etag
                    number += 1
                    acknowledged[name] = number
                except UnavailableError as error:
                    if error.may_stand:
                        doubtful.append(name)
                        found, etag = await stored(name)
                        assert found in (number, number + 1), "what was acknowledged stands, and at most one write more"
                        number = found
                except ConditionFailedError:
                    conflicts.append(name)
                    number, etag = await stored(name)

        async def have_written(more: int) -> bool:
            return all(acknowledged[name] >= before[name] + more for name in writers)

        async with asyncio.TaskGroup() as writing:
            for name in writers:
                writing.create_task(write(name))
            before = dict(acknowledged)
            await eventually(lambda: have_written(5), "the writers are under way")
            await member.kill()
            await member.start(members.all)
            await eventually(members.are_ready, "the member is back")
            before = dict(acknowledged)
            await eventually(lambda: have_written(5), "they go on")
            is_over.set()
        assert conflicts == []
        assert 1 <= len(doubtful) == len(set(doubtful)), "each writer had at most one write under way"
        assert {name: (await stored(name))[0] for name in writers} == acknowledged
