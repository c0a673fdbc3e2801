"""The machine that was measured on: what bears on the figures, and nothing that names it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

import lmdb

from benchmarks.figures import median, milliseconds, percentile

_PACKAGES = ("gossipkv", "aiohttp", "uvloop", "lmdb", "msgpack", "xxhash")
_IN_MEMORY = ("tmpfs", "ramfs")
_FSYNC_BYTES = 4096


def describe(directory: Path, fsync_count: int) -> list[tuple[str, str]]:
    """What is what, for the report. `directory` is where the data are."""
    fsyncs_ms = fsync_latencies_ms(directory, fsync_count)
    return [
        ("cores", f"{len(os.sched_getaffinity(0))} × {_processor()}"),
        ("memory", f"{_memory_bytes() / 2**30:.0f} GiB"),
        ("kernel", f"{platform.system()} {platform.release().partition('-')[0]}"),
        ("file system", file_system(directory)),
        (
            "fsync of 4 KiB",
            f"median {milliseconds(median(fsyncs_ms))}, p99 {milliseconds(percentile(fsyncs_ms, 0.99))}",
        ),
        ("load when it began", f"{os.getloadavg()[0]:.1f} (1 minute)"),
        ("Python", platform.python_version()),
        ("packages", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)),
        ("LMDB", ".".join(map(str, lmdb.version()))),
        ("yardsticks", f"{_wrk_version()}, {_etcd_version()}"),
    ]


def fsync_latencies_ms(directory: Path, count: int) -> list[float]:
    """Of so many small writes to a file that is there already, one after the other."""
    path = directory / "fsync"
    latencies_ms = []
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, bytes(64 * _FSYNC_BYTES), 0)
        os.fsync(descriptor)
        for number in range(count):
            began = time.perf_counter()
            os.pwrite(descriptor, number.to_bytes(8, "big") * (_FSYNC_BYTES // 8), number % 64 * _FSYNC_BYTES)
            os.fdatasync(descriptor)
            latencies_ms.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    return latencies_ms


def file_system(directory: Path) -> str:
    """The kind of the volume that a directory is on."""
    found = Path("/"), "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        place = Path(mount.replace("\\040", " "))
        if directory.resolve().is_relative_to(place) and len(place.parts) >= len(found[0].parts):
            found = place, kind
    return found[1]


def is_in_memory(directory: Path) -> bool:
    """Whether fsync means nothing there."""
    return file_system(directory) in _IN_MEMORY


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _wrk_version() -> str:
    return _version("wrk", "-v", r"wrk \S*?(\d+\.\d+\.\d+)")


def _etcd_version() -> str:
    return _version("etcd", "--version", r"etcd Version: (\S+)")


def _version(program: str, flag: str, pattern: str) -> str:
    if shutil.which(program) is None:
        return f"{program} not installed"
    done = subprocess.run([program, flag], capture_output=True, text=True, timeout=30, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return f"{program} {found[1] if found else 'of unknown version'}"
