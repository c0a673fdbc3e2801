"""What of the core runs in the simulation, and what it decides."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from tests.mutation.baseline import Baseline
from tests.mutation.live import core_files
from tests.mutation.marks import Mark, Marked
from tests.mutation.progress import Progress


def report(seeds: int, aimed: int, progress: Progress) -> str:
    """The statements that never run in this many seeds, and the conditions that always go one way."""
    marked = Marked(core_files())
    met = bytearray(len(marked.marks))
    for seed in Baseline(marked, progress).seeds(seeds, aimed):
        for number, is_met in enumerate(seed.marks):
            met[number] |= is_met
    missing: dict[Path, list[Mark]] = defaultdict(list)
    for mark, is_met in zip(marked.marks, met, strict=True):
        if not is_met:
            missing[mark.path].append(mark)
    share = 100 * sum(met) / len(met)
    lines = [
        f"{sum(met)} of {len(met)} statements and outcomes of conditions are met by "
        f"{seeds} seeds and {aimed} of each aim: {share:.1f} %"
    ]
    for path, marks in sorted(missing.items()):
        lines += ["", path.name, *(f"  {mark.line:4} {mark.says}" for mark in sorted(marks, key=lambda m: m.line))]
    return "\n".join(lines) + "\n"
