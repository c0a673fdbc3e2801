"""Members on volumes of the least size, filled up: they come to rest, take all deletes, and hold the same rows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.processes.members import Member, Members, eventually

pytestmark = pytest.mark.timeout(240)

SETTINGS = {"storage_bytes_max": 16 * 2**20, "retry_ms_max": 2_000}
LINES = 1_000
QUIET_COMMITS = 200
"""Batches in the time in which this many were watched, most of them ticks that write nothing."""


async def batch(members: Members, member: Member, lines: list[dict[str, object]]) -> list[int]:
    """The status of each line."""
    body = "\n".join(map(json.dumps, lines))
    url = f"{member.url}/v1/usr/tables/t/rows:batch"
    async with members.session.post(url, data=body, timeout=None) as response:
        assert response.status == 200
        return [json.loads(line)["status"] for line in (await response.text()).splitlines()]


def logged(member: Member) -> Counter[str]:
    lines = filter(None, member.log_path.read_text().splitlines())
    return Counter(json.loads(line)["event"] for line in lines)


async def test_members_filled_up_are_quiet_equal_and_take_deletes(tmp_path: Path) -> None:
    async with Members(tmp_path, **SETTINGS) as members:
        stored: list[str] = []
        is_full = False
        number = 0
        while not is_full:
            for member in members.all:
                rows = [f"{(number + n) * 7919 % 1_000_003}" for n in range(LINES)]
                number += LINES
                statuses = await batch(members, member, [{"row": row, "value": "v" * 700} for row in rows])
                assert set(statuses) <= {201, 503, 507}
                stored += [row for row, status in zip(rows, statuses, strict=True) if status == 201]
                is_full = 507 in statuses

        async def are_equal() -> bool:
            try:
                return await members.are_equal()
            except AssertionError:
                # The storage of a member has not answered in time: it writes in small pieces.
                return False

        await eventually(are_equal, "the members hold the same rows")

        # Nothing is left to do: commits are those of ticks and comparisons, whose pace a hot loop would multiply.
        member = members.all[0]

        async def batches() -> float:
            return sum([await members.metric(member, f'gossipkv_commits_total{{result="{r}"}}') for r in RESULTS])

        rounds = [await members.metric(member, f'gossipkv_sync_rounds_total{{result="{r}"}}') for r in ROUNDS]
        before = await batches()

        async def has_compared() -> bool:
            now = [await members.metric(member, f'gossipkv_sync_rounds_total{{result="{r}"}}') for r in ROUNDS]
            return sum(now) >= sum(rounds) + 10

        await eventually(has_compared, "ten rounds")
        assert await batches() - before < QUIET_COMMITS

        assert await members.metric(member, "gossipkv_short_of_room") == 1
        storage = (await members.json(member, "/v1/cluster"))["storage"]
        assert storage["room"] == "scarce" or storage["short_of_room"]
        assert sum(logged(each)["storage_short_of_room"] for each in members.all) in (1, 2, 3)

        deletes: list[dict[str, object]] = [{"row": row, "delete": True} for row in stored[:8_000]]
        assert Counter(await batch(members, member, deletes)) == {204: len(deletes)}
        async with members.session.put(f"{member.url}/v1/usr/tables/other", json={"w": 1}) as response:
            assert response.status < 300
        await eventually(are_equal, "the members hold the same rows again")


RESULTS = ("committed", "failed")
ROUNDS = ("in_sync", "delta", "walk")
