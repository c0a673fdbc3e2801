"""The control groups under which a node's containers are counted and limited.

With version 1 each controller is a tree of its own, with version 2 there is one tree. The kubelet expects its root
group to exist in all of them; whoever made it takes it away again, the innermost groups first.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.kubernetes.cluster.processes import wait_until

_ROOT = Path("/sys/fs/cgroup")
_REMOVAL_TIMEOUT_S = 60.0


def _trees() -> list[Path]:
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return sorted(path for path in _ROOT.iterdir() if path.is_dir() and not path.is_symlink())


def create(name: str) -> None:
    """Makes the group in every tree. A cpuset takes no process until it is told its processors and memory."""
    for tree in _trees():
        group = tree / name
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            source = tree / setting
            if source.exists():
                (group / setting).write_text(source.read_text(encoding="ascii"), encoding="ascii")


def remove(name: str) -> None:
    """Removes the group and all below it. A group stays for a moment after its last process has died."""
    wait_until(lambda: all(_removed(tree / name) for tree in _trees()), f"control groups {name} go", _REMOVAL_TIMEOUT_S)


def _removed(group: Path) -> bool:
    if not group.exists():
        return True
    for child in sorted(group.rglob("*/"), key=lambda path: len(path.parts), reverse=True):
        if child.is_dir():
            with contextlib.suppress(OSError):
                child.rmdir()
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def memory_bytes(name: str) -> int:
    """What all containers of the node use together, page cache included."""
    for setting in (_ROOT / "memory" / name / "memory.usage_in_bytes", _ROOT / name / "memory.current"):
        if setting.exists():
            return int(setting.read_text(encoding="ascii"))
    return 0
