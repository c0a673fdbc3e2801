"""Real processes, killed, stopped, robbed of their disks and cut off from each other."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gossipkv.core.model.tally import ANOMALIES
from tests.processes.members import Member, Members, eventually

pytestmark = pytest.mark.timeout(240)


class Load:
    """Clients that write rows of their own, each to one member, and remember what was acknowledged."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self.acknowledged: dict[str, str] = {}
        self._is_over = False

    @asynccontextmanager
    async def running(self, clients_per_member: int = 2) -> AsyncIterator[Load]:
        clients = [
            asyncio.create_task(self._client(f"{member.name}-{number}", member))
            for member in self._members.all
            for number in range(clients_per_member)
        ]
        yield self
        self._is_over = True
        await asyncio.gather(*clients)

    async def _client(self, name: str, member: Member) -> None:
        count = 0
        while not self._is_over:
            count += 1
            if await self._members.put(member, f"{name}-{count}", str(count)):
                self.acknowledged[f"{name}-{count}"] = str(count)
            else:
                await asyncio.sleep(0.02)

    async def reaches(self, count: int) -> None:
        async def has_reached() -> bool:
            return len(self.acknowledged) >= count

        await eventually(has_reached, f"{count} acknowledged writes")


async def assert_nothing_is_lost(members: Members, acknowledged: dict[str, str]) -> None:
    await eventually(members.are_ready, "all members ready again")
    await eventually(members.are_equal, "equal fingerprints")
    rows = [await members.rows(member) for member in members.all]
    assert rows[0] == rows[1] == rows[2]
    lost = {row for row, value in acknowledged.items() if rows[0].get(row) != value}
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged writes are lost"


async def test_kill_9_under_load_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    rng = random.Random(20261121)
    async with Members(tmp_path) as members:
        async with Load(members).running() as load:
            for kill in range(1, 7):
                await load.reaches(kill * 150 + rng.randrange(100))
                member = rng.choice(members.all)
                await member.kill()
                await load.reaches(len(load.acknowledged) + rng.randrange(100))
                await member.start(members.all)
                await eventually(members.are_ready, "the killed member is ready again")
        assert len(load.acknowledged) >= 900
        await assert_nothing_is_lost(members, load.acknowledged)
        for member in members.all:
            for kind in ANOMALIES:
                assert await members.metric(member, f'gossipkv_anomalies_total{{kind="{kind}"}}') == 0
            await member.kill()
            assert await is_intact(member), "LMDB finds no fault in the store of a killed member"


async def is_intact(member: Member) -> bool:
    verification = await asyncio.create_subprocess_exec(sys.executable, "-m", "lmdb", "verify", str(member.data_dir))
    return await asyncio.wait_for(verification.wait(), 60) == 0


async def test_all_members_killed_at_once_come_back_with_everything(tmp_path: Path) -> None:
    async with Members(tmp_path) as members:
        async with Load(members).running() as load:
            await load.reaches(300)
            await asyncio.gather(*(member.kill() for member in members.all))
            for member in members.all:
                await member.start(members.all)
            await load.reaches(len(load.acknowledged) + 100)
        await assert_nothing_is_lost(members, load.acknowledged)


async def test_a_member_stopped_for_a_while_catches_up(tmp_path: Path) -> None:
    async with Members(tmp_path) as members:
        stopped = members.all[1]
        stopped.signal(signal.SIGSTOP)
        others = [members.all[0], members.all[2]]
        for number in range(300):
            assert await members.put(others[number % 2], f"row-{number}", str(number))

        async def is_missed() -> bool:
            cluster = await members.json(others[0], "/v1/cluster")
            [entry] = [entry for entry in cluster["members"] if entry["member"] == stopped.name]
            return bool(entry["status"] != "alive" and entry["shards"]["usr"]["rows_behind"] > 0)

        await eventually(is_missed, "the others notice that it does not answer")

        stopped.signal(signal.SIGCONT)

        await assert_nothing_is_lost(members, {f"row-{number}": str(number) for number in range(300)})


async def test_a_member_that_lost_its_disk_fills_up_by_walk_as_a_new_replica(tmp_path: Path) -> None:
    async with Members(tmp_path) as members:
        robbed = members.all[2]
        before = await members.replica_id(robbed)
        for number in range(200):
            assert await members.put(members.all[number % 3], f"row-{number}", str(number))
        await eventually(members.are_equal, "equal fingerprints before the loss")
        await robbed.kill()
        robbed.lose_disk()
        large = "x" * 20_000
        for number in range(60):
            assert await members.put(members.all[0], f"large-{number}", large)

        await robbed.start(members.all)

        expected = {f"row-{number}": str(number) for number in range(200)}
        expected |= {f"large-{number}": large for number in range(60)}
        await assert_nothing_is_lost(members, expected)
        assert await members.replica_id(robbed) != before
        assert await members.metric(robbed, 'gossipkv_sync_rounds_total{result="walk"}') >= 1
        assert await members.put(robbed, "row-0", "written by the new replica")
        await eventually(members.are_equal, "equal fingerprints after a write of the new replica")
        assert (await members.rows(members.all[0]))["row-0"] == "written by the new replica"


async def test_all_sides_of_a_partition_take_writes_and_are_equal_after_healing(tmp_path: Path) -> None:
    async with Members(tmp_path) as members:
        for member in members.all:
            member.proxy.is_cut = True
        expected = {}
        for number in range(90):
            member = members.all[number % 3]
            assert await members.put(member, f"row-{number}", member.name), "a member takes writes on its own"
            expected[f"row-{number}"] = member.name
            assert await members.put(member, "contended", member.name)
        assert len(set(await members.fingerprints())) == 3, "nothing came through the partition"

        for member in members.all:
            member.proxy.is_cut = False

        await assert_nothing_is_lost(members, expected)
        assert (await members.rows(members.all[0]))["contended"] in {member.name for member in members.all}
