"""The process of one member.

It has its own session, so that Ctrl-C in the terminal reaches only the supervisor, which then stops the members. Its
standard input is a pipe that the supervisor holds open and never writes to. When the supervisor ends, for any reason,
the kernel closes the pipe, and `serve --stop-with-stdin` stops.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping

from gossipkv.config.settings import ENVIRONMENT_PREFIX
from gossipkv.dev.plan import PlannedMember

_LOG_LINE_BYTES_MAX = 2**24


class MemberProcess:
    """A process that runs at most once at a time. Its log lines go to the member's log, each behind the member's
    name."""

    def __init__(self, member: PlannedMember, environment: Mapping[str, str]) -> None:
        self._member = member
        # The settings file must decide, but the user's environment would override it.
        self._environment = {
            name: value for name, value in environment.items() if not name.startswith(ENVIRONMENT_PREFIX)
        }
        self._process: asyncio.subprocess.Process | None = None
        self._copying: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id; None unless the process runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last run; negative if a signal ended it; None while the process runs or before its first
        run."""
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        """Start the process, which must not run. Returns before the member is ready."""
        assert self.pid is None
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gossipkv", "serve", "--stop-with-stdin", "--config", str(self._member.config)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
            limit=_LOG_LINE_BYTES_MAX,
        )
        assert self._process.stderr is not None
        self._copying = asyncio.create_task(self._copy_log(self._process.stderr))

    def stop(self) -> None:
        """Ask the process to stop gracefully. Does nothing if it does not run."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process, as `kill -9` does. Does nothing if it does not run."""
        self._signal(signal.SIGKILL)

    async def ended(self) -> None:
        """Wait until the process has stopped and its log is written."""
        if self._process is not None and self._copying is not None:
            await self._process.wait()
            await self._copying

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.pid is not None:
            self._process.send_signal(number)

    async def _copy_log(self, lines: asyncio.StreamReader) -> None:
        prefix = f"{self._member.name} ".encode()
        with self._member.log.open("ab", buffering=0) as log:
            async for line in lines:
                log.write(prefix + line)
