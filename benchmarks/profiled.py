"""`gossipkv` under cProfile: `python -m benchmarks.profiled OUTPUT serve ...`.

Writes what the event loop and the storage thread have spent their CPU time on, when the process is stopped gracefully.
The profiler itself makes calls look dearer than they are: compare the shares, not the seconds. From Python 3.12 on it
takes one thread at a time, which is the event loop's.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gossipkv.cli import main
from gossipkv.member.storage_thread import StorageThread

_LINES = 45


def _report(profile: cProfile.Profile, title: str) -> str:
    text = io.StringIO()
    statistics = pstats.Stats(profile, stream=text).strip_dirs()
    statistics.sort_stats("tottime").print_stats(_LINES)
    statistics.sort_stats("cumulative").print_stats(_LINES)
    return f"{title}\n\n{text.getvalue()}\n"


def _profiled(run: Callable[[StorageThread], None], output: Path) -> Callable[[StorageThread], None]:
    def profiled_run(committer: StorageThread) -> None:
        _run_profiled(run, output.with_suffix(".storage.txt"), "The storage thread", committer)

    return profiled_run


def _run_profiled(call: Callable[..., Any], output: Path, title: str, *arguments: object) -> None:
    profile = cProfile.Profile(time.thread_time)
    try:
        profile.runcall(call, *arguments)
    finally:
        output.write_text(_report(profile, title))


def _start() -> None:
    output = Path(sys.argv.pop(1))
    if sys.version_info < (3, 12):
        StorageThread._run = _profiled(StorageThread._run, output)  # type: ignore[method-assign, assignment]
    _run_profiled(main, output.with_suffix(".loop.txt"), "The event loop")


if __name__ == "__main__":
    _start()
