"""Starts the members, watches them, and stops them.

A member is watched through its process and through its API. So a member that died and was restarted by hand is
also seen. The supervisor itself restarts members only if that option is set.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from gossipkv.client import Client, ClientError
from gossipkv.client.survey import own_account
from gossipkv.dev.plan import PlannedMember
from gossipkv.dev.process import MemberProcess

_POLL_S = 0.5
_ANSWER_TIMEOUT_S = 2.0
_STOP_TIMEOUT_S = 15.0
"""The time for a graceful stop of all members; members that still run are then killed."""
_RESTART_PAUSE_POLLS = 4

STARTING = "starting"
SYNCING = "not ready"
READY = "ready"
SILENT = "no answer"
ENDED = "ended"


@dataclass(frozen=True, slots=True)
class MemberSight:
    """The last known state of a member."""

    member: PlannedMember
    pid: int | None
    """The process id; None if the supervisor's process of this member does not run."""
    state: str
    exit_code: int | None
    """The exit code of a member that ended; otherwise None."""
    shards: dict[str, Any] | None
    """The member's own figures; None if it does not answer."""


class _Watched:
    def __init__(self, member: PlannedMember, process: MemberProcess, client: Client) -> None:
        self.member = member
        self.process = process
        self.polls_since_end = 0
        self._client = client
        self._has_answered = False

    async def look(self) -> MemberSight:
        try:
            account = await own_account(self._client)
        except ClientError:
            account = None
        pid, exit_code = self.process.pid, self.process.exit_code
        if account is not None and account["member"] == self.member.name:
            self._has_answered = True
            state = READY if account["ready"] else SYNCING
            return MemberSight(self.member, pid, state, None, account["own"]["shards"])
        if pid is None:
            self._has_answered = False
            return MemberSight(self.member, None, ENDED, exit_code, None)
        return MemberSight(self.member, pid, SILENT if self._has_answered else STARTING, None, None)


class Supervisor:
    """The parent of all members of a local cluster. It calls `show` with their states twice per second. `environment`
    is passed on to the members, without settings of gossipkv."""

    def __init__(
        self,
        members: Sequence[PlannedMember],
        environment: Mapping[str, str],
        show: Callable[[list[MemberSight]], None],
        *,
        restarts: bool,
    ) -> None:
        self._members = members
        self._environment = environment
        self._show = show
        self._restarts = restarts
        self._stopping = asyncio.Event()
        self._processes: list[MemberProcess] = []

    async def run(self) -> None:
        """Run until SIGINT, SIGTERM or SIGHUP. A second signal kills the members."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop_requested)
        try:
            async with AsyncExitStack() as clients:
                watched = [await self._started(member, clients) for member in self._members]
                while not self._stopping.is_set():
                    sights = list(await asyncio.gather(*(each.look() for each in watched)))
                    self._show(sights)
                    for each, sight in zip(watched, sights, strict=True):
                        if self._restarts and sight.state == ENDED:
                            await self._restart(each)
                    await self._pause()
        finally:
            await self._stop()

    async def _started(self, member: PlannedMember, clients: AsyncExitStack) -> _Watched:
        client = Client([member.url], timeout_s=_ANSWER_TIMEOUT_S, connect_timeout_s=_ANSWER_TIMEOUT_S, passes=1)
        await clients.enter_async_context(client)
        process = MemberProcess(member, self._environment)
        self._processes.append(process)
        await process.start()
        return _Watched(member, process, client)

    async def _restart(self, watched: _Watched) -> None:
        """Restart a member after a pause: a member that keeps ending immediately must not keep the machine busy."""
        watched.polls_since_end += 1
        if watched.polls_since_end > _RESTART_PAUSE_POLLS and not self._stopping.is_set():
            watched.polls_since_end = 0
            await watched.process.start()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_POLL_S):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _stop_requested(self) -> None:
        if self._stopping.is_set():
            self._kill()
        self._stopping.set()

    async def _stop(self) -> None:
        for process in self._processes:
            process.stop()
        ended = asyncio.gather(*(process.ended() for process in self._processes))
        _, late = await asyncio.wait([ended], timeout=_STOP_TIMEOUT_S)
        if late:
            self._kill()
        await ended

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()
