"""Processes that are measured: pinned to a core, waited for with a deadline, and ended whatever happens."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LOOPBACK = "127.0.0.1"
_ROOT = Path(__file__).parent.parent
"""Where `-m benchmarks...` is found."""
_POLL_S = 0.01
_END_TIMEOUT_S = 30.0


class StepError(Exception):
    """A step of a benchmark came to nothing. What it would have measured is not measured."""


class MissingProgramError(StepError):
    """A yardstick is not installed."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the measured and the measuring run: apart where the machine has two cores."""

    server: int
    load: int

    @classmethod
    def available(cls) -> Cores:
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[-1])


@contextlib.contextmanager
def pinned_to(core: int | None) -> Iterator[None]:
    """Children that start meanwhile run on this core alone, all their threads."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def require(program: str, package: str) -> None:
    """Raises MissingProgramError with the Debian package to install."""
    if shutil.which(program) is None:
        raise MissingProgramError(f"`{program}` is not installed: apt-get install {package}")


def free_ports(count: int) -> list[int]:
    """Ports that no one listens on now, all different."""
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float, poll_s: float = _POLL_S) -> None:
    """Raises StepError at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise StepError(f"in vain for {timeout_s:.0f} s: {what}")
        time.sleep(poll_s)


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    """One request on a connection of its own; status 0 where no one answers."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


class Processes:
    """All processes of a run; use as a context manager."""

    def __init__(self, log_directory: Path, profile_directory: Path | None = None) -> None:
        self.cores = Cores.available()
        self._log_directory = log_directory
        self._profile_directory = profile_directory
        self._running: list[subprocess.Popen[bytes]] = []
        self._started = 0

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_all()

    def start(self, arguments: Sequence[str], name: str, core: int | None = None) -> subprocess.Popen[bytes]:
        """A process that runs until it is ended. Its standard input stays open: what watches it ends with this
        process, however that ends."""
        self._started += 1
        with self._log(name).open("wb") as log, pinned_to(core):
            process = subprocess.Popen(
                arguments, stdin=subprocess.PIPE, stdout=log, stderr=log, env=_environment(), cwd=_ROOT, bufsize=0
            )
        self._running.append(process)
        return process

    def start_member(
        self, name: str, data_dir: Path, ports: tuple[int, int], peers: Sequence[int] = (), core: int | None = None
    ) -> subprocess.Popen[bytes]:
        """`gossipkv serve` on an HTTP and a gossip port, with gossip ports of others; profiled if so asked."""
        program = ["gossipkv"]
        if self._profile_directory is not None:
            program = ["benchmarks.profiled", str(self._profile_directory / f"{self._started:03}-{name}.txt")]
        http_port, gossip_port = map(str, ports)
        arguments = ["serve", "--stop-with-stdin", "--member", name, "--data-dir", str(data_dir)]
        arguments += ["--http-port", http_port, "--gossip-port", gossip_port, "--log-level", "warning"]
        arguments += ["--peers", ",".join(f"http://{LOOPBACK}:{peer}" for peer in peers)]
        return self.start([sys.executable, "-m", *program, *arguments], name, core)

    def wait_for_answer(self, process: subprocess.Popen[bytes], port: int, path: str, timeout_s: float = 30) -> None:
        """Until a process answers 200. Raises StepError, at once where it has ended."""

        def has_answered() -> bool:
            if process.poll() is not None:
                raise StepError(f"a process ended with code {process.returncode} instead of serving: {process.args!r}")
            return ask(port, path)[0] == 200

        wait_until(has_answered, f"an answer at {path}", timeout_s)

    def run(self, arguments: Sequence[str], core: int | None, timeout_s: float) -> str:
        """A process that ends by itself; returns what it has printed. Raises StepError."""
        with pinned_to(core):
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                cwd=_ROOT,
            )
        self._running.append(process)
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise StepError(f"{arguments[0]} did not end within {timeout_s:.0f} s") from None
        finally:
            self.end(process)
        if process.returncode != 0:
            raise StepError(f"{arguments[0]} ended with code {process.returncode}: {errors.decode()[-500:]}")
        return output.decode()

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Gracefully only under the profiler, which then writes its report: the data are thrown away."""
        if process.poll() is None and self._profile_directory is not None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_TIMEOUT_S)
        if process.poll() is None:
            process.kill()
        process.wait(_END_TIMEOUT_S)
        for stream in (process.stdin, process.stdout, process.stderr):
            _close(stream)
        if process in self._running:
            self._running.remove(process)

    def end_all(self) -> None:
        for process in reversed(self._running.copy()):
            self.end(process)

    def _log(self, name: str) -> Path:
        return self._log_directory / f"{self._started:03}-{name}.log"


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with contextlib.suppress(BrokenPipeError):
            stream.close()


def _environment() -> dict[str, str]:
    """No settings but those that a benchmark gives."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GOSSIPKV_", "ETCD_"))}
