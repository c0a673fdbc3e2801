"""Runs the `gossipkv` command line with a wall clock that is off, by the milliseconds that a file holds.

The file is read again at each look at the clock, so the clock can be set while the process runs. What measures
durations (`time.monotonic`, the event loop) is left alone, and so are the times of log lines.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

OFFSET_FILE = "SHIFTED_CLOCK_OFFSET_FILE"


def shift_clock(offset_file: Path) -> None:
    """Replace the functions with which this process reads the time of day."""
    true_ns = time.time_ns

    def shifted_ns() -> int:
        return true_ns() + int(offset_file.read_text()) * 1_000_000

    time.time_ns = shifted_ns
    time.time = lambda: shifted_ns() / 1e9


if __name__ == "__main__":
    shift_clock(Path(os.environ[OFFSET_FILE]))
    # What it imports may keep the functions it finds.
    from gossipkv.cli import main

    main()
