"""A watch that is begun at one member of three, which is killed, and goes on at another."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gossipkv.client import Change, Client, Kind
from gossipkv.client.servers.endpoints import Choice
from tests.processes.members import DEADLINE_SECONDS, Member, Members, eventually

pytestmark = pytest.mark.timeout(240)

ROWS = 1_500
WRITES = 10_000
PER_BATCH = 500


async def write(members: Members, member: Member, batch: int) -> None:
    numbers = range(batch * PER_BATCH, (batch + 1) * PER_BATCH)
    lines = [json.dumps({"row": f"k{number % ROWS}", "value": str(number)}) for number in numbers]
    url = f"{member.url}/v1/usr/tables/t/rows:batch"
    headers = {"Content-Type": "application/x-ndjson"}
    async with members.session.post(url, data="\n".join(lines), headers=headers) as response:
        assert response.status == 200
        assert all(json.loads(line)["status"] < 300 for line in (await response.text()).splitlines())


async def etags(members: Members, member: Member) -> dict[str, str]:
    found: dict[str, str] = {}
    cursor = ""
    while True:
        page = await members.json(member, f"/v1/usr/tables/t/rows?limit=1000&keys_only=true{cursor}")
        found |= {item["row"]: item["etag"] for item in page["items"]}
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_a_watch_goes_on_at_another_member_when_its_own_is_killed_amid_ten_thousand_writes(
    tmp_path: Path,
) -> None:
    async with Members(tmp_path) as members:
        first, second, third = members.all
        told: list[Change] = []
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client([first.url, second.url], choice=Choice.IN_ORDER))
            watch = await stack.enter_async_context(client.table("t").watch(silence_s=20))

            async def follow() -> None:
                while True:
                    told.append(await anext(watch))

            following = await stack.enter_async_context(task(follow()))
            # Its first id says that it has begun.
            await eventually(lambda: is_true(watch.event_id is not None), "the watch has begun")
            assert watch.server == first.url
            for batch in range(WRITES // PER_BATCH):
                if batch == 6:
                    await eventually(lambda: is_true(len(told) > 0), "the watcher is told of something")
                    await first.kill()
                await write(members, (second, third)[batch % 2], batch)
            final = await etags(members, second)
            assert len(final) == ROWS
            await eventually(lambda: etags_agree(members, second, third), "two members with the same rows")
            final = await etags(members, second)

            async def has_been_told_all() -> bool:
                assert not following.done(), following
                last = {change.row: change.etag for change in told}
                return last == final

            await eventually(has_been_told_all, "each row's last version has been told")
            assert watch.server == second.url
        assert {change.kind for change in told} == {Kind.PUT}, "nothing had to begin anew"
        repeated = {version: count for version, count in Counter((c.row, c.etag) for c in told).items() if count > 1}
        assert repeated == {}
        await first.start(members.all)
        await eventually(members.are_ready, "the killed member is back")
        await a_watch_goes_back_to_the_member_that_was_killed(first, told[-1].event_id)


async def a_watch_goes_back_to_the_member_that_was_killed(first: Member, event_id: str | None) -> None:
    """Where it lacks nothing by now, and there is nothing more to be told until something is written."""
    async with Client([first.url]) as client, client.table("t").watch(since=event_id) as watch:
        await client.table("t").put("over", b"")
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert (await anext(watch)).row == "over"


@asynccontextmanager
async def task(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """A task that does not outlive the block."""
    running = asyncio.create_task(work)
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.wait([running])


async def is_true(value: bool) -> bool:
    return value


async def etags_agree(members: Members, one: Member, other: Member) -> bool:
    return await etags(members, one) == await etags(members, other)
