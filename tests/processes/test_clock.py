"""A member whose clock is off by 20 minutes: it says so once, takes no writes, and recovers by itself once the clock is
right. No acknowledged write is lost."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.processes import shifted_clock
from tests.processes.members import Member, Members, eventually

pytestmark = pytest.mark.timeout(120)

MINUTE_MS = 60_000
OFF_MINUTES = 20
NOTICED_SECONDS_MAX = 15.0
"""Many gossip intervals; a busy machine may need some of them."""
QUIET_SECONDS = 2.0
"""Several gossip intervals, in which nothing more is logged."""
SETTINGS = {"advertise_host": "127.0.0.1", "gossip_interval_ms": 400}
"""Commands reach each member itself. A comparison of clocks counts for 4 s, and a busy machine misses none."""


class Clock:
    """The clock of one member."""

    def __init__(self, member: Member, directory: Path) -> None:
        self._offset_file = directory / "clock-offset-ms"
        self.set(0)
        member.program = (str(Path(shifted_clock.__file__)),)
        member.environment = {
            shifted_clock.OFFSET_FILE: str(self._offset_file),
            "PYTHONPATH": str(Path(shifted_clock.__file__).parents[2]),
        }

    def set(self, ahead_minutes: int) -> None:
        written = self._offset_file.with_suffix(".new")
        written.write_text(str(ahead_minutes * MINUTE_MS))
        # A reader finds all of the old content, or all of the new.
        written.replace(self._offset_file)


class Writers:
    """Puts at members; remembers what was acknowledged."""

    def __init__(self, members: Members) -> None:
        self.members = members
        self.acknowledged: dict[str, str] = {}

    async def put(self, member: Member) -> dict[str, Any] | None:
        """Put a row of its own. None if it was acknowledged, otherwise the problem."""
        row = f"{member.name}-{len(self.acknowledged)}"
        url = f"{member.url}/v1/usr/tables/t/rows/{row}"
        async with self.members.session.put(url, data=row) as response:
            if response.status == 201:
                self.acknowledged[row] = row
                return None
            assert response.status == 503, await response.text()
            problem: dict[str, Any] = await response.json(content_type=None)
            return problem

    async def refusal(self, member: Member) -> dict[str, Any]:
        """Put until the member refuses."""
        deadline = time.monotonic() + NOTICED_SECONDS_MAX
        while (problem := await self.put(member)) is None:
            assert time.monotonic() < deadline, "it takes writes although its clock is off"
            await asyncio.sleep(0.05)
        return problem

    async def success(self, member: Member) -> None:
        """Put until the member takes it."""
        deadline = time.monotonic() + NOTICED_SECONDS_MAX
        while (problem := await self.put(member)) is not None:
            assert time.monotonic() < deadline, problem
            await asyncio.sleep(0.05)

    async def hold_all(self, *members: Member) -> None:
        async def do_hold_all() -> bool:
            return all([await self.members.rows(member) == self.acknowledged for member in members])

        await eventually(do_hold_all, "all that was acknowledged is at these members, and nothing else")


def logged(member: Member) -> list[str]:
    """The events about clocks, all of which are warnings."""
    lines = [json.loads(line) for line in filter(None, member.log_path.read_text().splitlines())]
    about = [line for line in lines if "clock" in line["event"]]
    assert {line["level"] for line in about} <= {"warning"}
    return [line["event"] for line in about]


async def status(member: Member) -> tuple[int, list[str]]:
    """The exit code of `gossipkv status` and the lines of its standard output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gossipkv", "status", "--server", member.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode().splitlines()


async def is_reported(members: Members, member: Member, side: str, column: str) -> None:
    """`gossipkv status` and the metrics report that the clock is off."""
    code, lines = await status(members.all[0])
    assert code == 6
    [row] = [line for line in lines if line.startswith(member.name)]
    assert column in row
    assert f"{member.name} refuses writes, because its clock is {OFF_MINUTES} min {side} the others'" in lines[-1]
    assert "set it right" in lines[-1]
    assert [await members.metric(each, "gossipkv_clock_off") for each in members.all] == [0, 0, 1]


async def is_well_reported(members: Members) -> None:
    async def is_well() -> bool:
        code, lines = await status(members.all[0])
        return code == 0 and lines[-1] == "3 of 3 members answer and hold the same rows"

    await eventually(is_well, "status reports no trouble")
    assert [await members.metric(each, "gossipkv_clock_off") for each in members.all] == [0, 0, 0]


@pytest.mark.parametrize(("minutes", "side", "column"), [(20, "ahead of", "+20 min"), (-20, "behind", "-20 min")])
async def test_a_member_whose_clock_jumps_refuses_writes_until_it_is_right(
    tmp_path: Path, minutes: int, side: str, column: str
) -> None:
    members = Members(tmp_path, **SETTINGS)
    *others, off = members.all
    clock = Clock(off, tmp_path)
    async with members:
        writers = Writers(members)
        for member in members.all:
            await writers.success(member)
        await writers.hold_all(*members.all)
        assert logged(off) == []

        clock.set(minutes)
        problem = await writers.refusal(off)
        assert problem["type"] == "urn:gossipkv:problem:clock-off"
        assert f"{OFF_MINUTES} min {side} the others'" in problem["detail"]
        assert "set the clock right" in problem["detail"]

        before = dict(writers.acknowledged)
        for other in others:
            await writers.success(other)
        since = writers.acknowledged.keys() - before.keys()
        # A member whose clock is behind refuses the rows of the others until its clock is right.
        receivers = members.all if minutes > 0 else others

        async def have_arrived() -> bool:
            return all([since <= (await members.rows(each)).keys() for each in receivers])

        await eventually(have_arrived, "members go on replicating")
        await is_reported(members, off, side, column)

        async def have_logged() -> bool:
            return all(logged(other) == ["peer_clock_off"] for other in others)

        await eventually(have_logged, "the others name the member")
        await asyncio.sleep(QUIET_SECONDS)
        assert await writers.put(off) is not None
        assert logged(off) == ["clock_off"]
        assert [logged(other) for other in others] == [["peer_clock_off"]] * 2

        clock.set(0)
        await writers.success(off)
        await writers.hold_all(*members.all)
        await is_well_reported(members)
        assert logged(off) == ["clock_off", "clock_right_again"]

        async def have_logged_the_end() -> bool:
            return all(logged(other) == ["peer_clock_off", "peer_clock_right_again"] for other in others)

        await eventually(have_logged_the_end, "the others say that it is right")
        assert '"event": "alone"' not in off.log_path.read_text(), "a clock that is put forward is no silence"


async def test_a_member_that_starts_with_its_clock_ahead_takes_writes_once_it_is_right(tmp_path: Path) -> None:
    members = Members(tmp_path, **SETTINGS)
    *others, off = members.all
    clock = Clock(off, tmp_path)
    async with members:
        writers = Writers(members)
        await writers.success(off)
        await writers.hold_all(*members.all)
        await off.kill()
        clock.set(OFF_MINUTES)
        await off.start(members.all)
        await eventually(members.are_ready, "it is ready to be read")
        await writers.refusal(off)
        for other in others:
            await writers.success(other)
        await writers.hold_all(*members.all)
        await is_reported(members, off, "ahead of", "+20 min")

        clock.set(0)
        await writers.success(off)
        await writers.hold_all(*members.all)
        await is_well_reported(members)
        assert logged(off) == ["clock_off", "clock_right_again"]
