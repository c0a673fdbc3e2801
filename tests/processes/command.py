"""Running `gossipkv` commands. Everything waits for a condition with a deadline."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

DEADLINE_S = 60.0
_POLL_S = 0.05


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(_POLL_S)


def free_ports(count: int) -> list[int]:
    """Ports that no one listens on now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that ended and is not yet waited for does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def free_range(count: int, offset: int) -> int:
    """The first of so many consecutive free ports, with as many free ones so far above; the one before is free too."""
    # From a place of this process's own, for several run at once.
    begin = 20_000 + os.getpid() * 250 % 10_000
    for start in range(begin, begin + 2_000, 8):
        if all(_is_free(start + index + above) for index in range(-1, count) for above in (0, offset)):
            return start
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


class Command:
    """A running `gossipkv`, whose output goes to a file."""

    def __init__(self, output: Path, *arguments: object, stdin: int = subprocess.DEVNULL) -> None:
        self._output = output
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GOSSIPKV_")}
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gossipkv", *map(str, arguments)],
                stdin=stdin,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def says(self, text: str) -> None:
        """Wait until it has written a text."""

        def has_said() -> bool:
            assert self.process.poll() is None or text in self.output, self.output
            return text in self.output

        until(has_said, f"{text!r} in {self._output}")

    def write(self, content: bytes) -> None:
        """Give it input."""
        assert self.process.stdin is not None
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def close_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def ends(self) -> int:
        """Wait for its exit code."""
        return self.process.wait(DEADLINE_S)

    def end_for_sure(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)
        if self.process.stdin is not None:
            self.process.stdin.close()
