"""The namespaces that make one process tree a node: network, mounts, processes, host name, IPC.

Process 1 of the node is the pause program. When it dies, the kernel kills every process of the node and takes away its
mounts and interfaces, so that ending a node is one signal and cannot be half done.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.cluster.processes import (
    ClusterError,
    Daemon,
    ending_with_caller,
    only_child,
    run,
    start,
    tail,
    wait_until,
)

_START_TIMEOUT_S = 10.0
_END_TIMEOUT_S = 120.0
"""Unmounting what containers wrote to waits for a busy disk."""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Process 1 of a node, as the machine sees it."""

    first_process: Daemon

    @classmethod
    def create(cls, pause: Path, log: Path, ends_with_caller: bool) -> Namespaces:
        kinds = ["--net", "--mount", "--pid", "--uts", "--ipc"]
        argv = ["unshare", *kinds, "--fork", "--kill-child", "--mount-proc", str(pause)]
        parent = start(ending_with_caller(argv) if ends_with_caller else argv, log)
        found: list[Daemon] = []

        def is_running() -> bool:
            child = only_child(parent)
            # The child is unshare's own copy until it has mounted /proc and become the pause program.
            if child and Path(f"/proc/{child.pid}/comm").read_text(encoding="utf-8").strip() == pause.name:
                found.append(child)
            if not parent.is_alive():
                raise ClusterError(f"no new namespaces; this needs root with CAP_SYS_ADMIN\n{tail(log)}")
            return bool(found)

        try:
            wait_until(is_running, "the node's first process runs", _START_TIMEOUT_S)
        except BaseException:
            parent.signal(signal.SIGKILL)
            raise
        return cls(found[0])

    def entering(self, argv: Sequence[str]) -> list[str]:
        """The command that runs this one inside the node."""
        kinds = ["--net", "--mount", "--pid", "--uts", "--ipc"]
        return ["nsenter", "--target", str(self.first_process.pid), *kinds, "--wd=/", "--", *argv]

    def run(self, argv: Sequence[str], timeout_s: float, text_in: str | None = None) -> str:
        """What a program prints that runs to its end inside the node."""
        return run(self.entering(argv), timeout_s, text_in)

    def start(self, argv: Sequence[str], log: Path) -> Daemon:
        """Starts a daemon inside the node."""
        parent = start(self.entering(argv), log)
        found: list[Daemon] = []

        def has_forked() -> bool:
            child = only_child(parent)
            if child:
                found.append(child)
            elif not parent.is_alive():
                raise ClusterError(f"{argv[0]} ended at once\n{tail(log)}")
            return bool(found)

        wait_until(has_forked, f"{argv[0]} runs", _START_TIMEOUT_S)
        return found[0]

    def end(self) -> None:
        """Kills every process of the node. Returns when the last is gone."""
        self.first_process.signal(signal.SIGKILL)
        wait_until(lambda: not self.first_process.is_alive(), "the node ends", _END_TIMEOUT_S)
