"""Programs that are run to their end within a deadline, and daemons that outlive the command which started them.

A daemon is known by its process id and the tick at which it started, so that a number which the machine has given to
another process since is never signalled. Daemons are not waited for: who started them may be gone by the time they end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.05
_LOG_LINES_MAX = 30


class ClusterError(Exception):
    """The test cluster could not do what was asked. The text says what to do next, where that is known."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """One process, for as long as it lives. It can be written to a file and read back."""

    pid: int
    started_ticks: int

    @classmethod
    def of(cls, pid: int) -> Daemon | None:
        """The living process with this id, or None."""
        started_ticks = _started_ticks(pid)
        return None if started_ticks is None else cls(pid, started_ticks)

    def is_alive(self) -> bool:
        return _started_ticks(self.pid) == self.started_ticks

    def signal(self, number: int) -> None:
        """Nothing happens when the process is gone."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, timeout_s: float) -> None:
        """Asks it to terminate, then kills it. Returns when it is gone."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(ClusterError):
            wait_until(lambda: not self.is_alive(), f"process {self.pid} ends", timeout_s)
        self.signal(signal.SIGKILL)
        wait_until(lambda: not self.is_alive(), f"process {self.pid} is killed", timeout_s)


def _started_ticks(pid: int) -> int | None:
    """Field 22 of the process' stat file, or None when it does not exist or waits as a zombie to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name of the program, in parentheses, may hold blanks; what follows it does not.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def ending_with_caller(argv: Sequence[str]) -> list[str]:
    """The command that runs this one and is killed when the thread that started it ends, however that happens."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv]


def only_child(parent: Daemon) -> Daemon | None:
    """The process that this one forked, once there is one."""
    try:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Daemon.of(int(children[0])) if children else None


def start(argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Daemon:
    """Starts a daemon in a session of its own; what it prints is appended to the log.

    Not `subprocess.Popen`, which warns when it is forgotten before its process ends.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    pid = os.posix_spawnp(
        argv[0],
        list(argv),
        dict(os.environ if environment is None else environment),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    daemon = Daemon.of(pid)
    if daemon is None:
        raise ClusterError(f"{argv[0]} ended at once\n{tail(log)}")
    return daemon


def run(
    argv: Sequence[str],
    timeout_s: float,
    text_in: str | None = None,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """What the program prints on its standard output. Raises ClusterError with what it says when it fails."""
    try:
        done = subprocess.run(
            list(argv),
            input=text_in if text_in is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            cwd=directory,
            env=dict(environment) if environment is not None else None,
            check=False,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"`{argv[0]}` is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{' '.join(argv[:4])} ...` took longer than {timeout_s:.0f} s") from error
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_LOG_LINES_MAX:])
        raise ClusterError(f"`{' '.join(argv)}` failed with {done.returncode}\n{said}")
    return done.stdout


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float, poll_s: float = _POLL_S) -> None:
    """Raises ClusterError at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"in vain for {timeout_s:.0f} s: {what}")
        time.sleep(poll_s)


def tail(log: Path) -> str:
    """The last lines of a log, under its name."""
    with contextlib.suppress(FileNotFoundError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES_MAX:]
        return "\n".join([f"--- {log}", *lines])
    return f"--- {log} does not exist"
