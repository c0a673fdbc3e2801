"""The environment of a demonstration: members in separate processes, the network between them, and output."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from gossipkv.client import Client, ClientError
from gossipkv.demo.wire import Wire, relay_host
from gossipkv.dev import plan
from gossipkv.dev.plan import PlannedMember
from gossipkv.dev.process import MemberProcess

DEADLINE_SECONDS = 30.0
_POLL_SECONDS = 0.05

Say = Callable[[str], None]


class DemoFailedError(Exception):
    """The error if the expected effect did not happen in time."""


class Stage:
    """A running cluster; see `open_stage`."""

    def __init__(self, members: list[PlannedMember], environment: Mapping[str, str], wire: Wire, say: Say) -> None:
        self.say = say
        self.wire = wire
        self.names = [member.name for member in members]
        self._processes = {member.name: MemberProcess(member, environment) for member in members}
        self._clients = {member.name: Client([member.url], passes=1) for member in members}

    async def start(self, name: str) -> None:
        """Start a member and wait until it is ready. Raises DemoFailedError."""
        await self._processes[name].start()
        await self.until(self._clients[name].is_ready, f"{name} is ready")

    async def kill(self, name: str) -> None:
        """Kill a member, like a power cut: it cannot tell the others. Returns once it has ended."""
        self._processes[name].kill()
        await self._processes[name].ended()

    async def stop(self, name: str) -> None:
        """Stop a member gracefully, so that it leaves. Returns once it has ended."""
        self._processes[name].stop()
        await self._processes[name].ended()

    def client(self, name: str) -> Client:
        """Return a client that asks only this member."""
        return self._clients[name]

    async def value(self, name: str, table: str, key: str, *, r: int | None = None) -> str | None:
        """Return what a member answers for a row; None if there is no row."""
        row = await self._clients[name].table(table).get(key, r=r)
        return None if row is None else (row.value or b"").decode()

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait for a condition. `what` names it in the error. Raises DemoFailedError."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not await _tried(holds):
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            raise DemoFailedError(f"after {DEADLINE_SECONDS:.0f} s, this does not hold yet: {what}") from error

    async def statuses(self, seen_by: str) -> dict[str, str]:
        """Return the status of every member, according to one member."""
        return {each["member"]: each["status"] for each in (await self._account(seen_by))["members"]}

    async def until_status(self, seen_by: str, name: str, status: str) -> None:
        """Wait until one member counts another as `status`. Raises DemoFailedError."""

        async def holds() -> bool:
            return (await self.statuses(seen_by)).get(name) == status

        await self.until(holds, f"{seen_by} counts {name} as {status}")

    async def fingerprint(self, name: str) -> str:
        """Return the fingerprint of the rows of `usr` that a member holds."""
        own = next(each for each in (await self._account(name))["members"] if each["self"])
        fingerprint: str = own["shards"]["usr"]["fingerprint"]
        return fingerprint

    async def are_equal(self) -> bool:
        """Return whether all members hold the same rows of `usr`, by their fingerprints."""
        return len({await self.fingerprint(name) for name in self.names}) == 1

    async def _account(self, name: str) -> dict[str, Any]:
        return await self._clients[name].cluster()

    async def _opened(self, stack: AsyncExitStack) -> None:
        for client in self._clients.values():
            await stack.enter_async_context(client)
        stack.push_async_callback(self._end)

    async def _end(self) -> None:
        for process in self._processes.values():
            process.kill()
        await asyncio.gather(*(process.ended() for process in self._processes.values()))


async def _tried(holds: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await holds()
    except ClientError:
        return False


@asynccontextmanager
async def open_stage(nodes: int, http_port: int, environment: Mapping[str, str], say: Say) -> AsyncIterator[Stage]:
    """Start members in a temporary directory. Stops the members and removes the directory in the end. Raises OSError,
    DemoFailedError."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="gossipkv-demo-"))
        members = plan.plan(nodes, Path(directory), http_port)
        advertised = {member.name: relay_host(index) for index, member in enumerate(members)}
        plan.write(members, advertised)
        wire = await stack.enter_async_context(Wire(members))
        stage = Stage(members, environment, wire, say)
        await stage._opened(stack)
        say(f"Starting {nodes} members, each a process of its own: {', '.join(stage.names)}.")
        await asyncio.gather(*(stage.start(name) for name in stage.names))
        yield stage
