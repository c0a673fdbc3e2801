"""What every section is given: how much to do, where, and with which processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import Processes
from benchmarks.seeds import Seeds


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done."""

    rounds: int = 5
    """Of everything that is compared: one after the other, then again."""
    load_s: int = 4
    """Of one load in a round."""
    loaded_rows: int = 1_000
    """Rows that a load reads or writes in turn."""
    batch_rows: int = 100_000
    rates_per_second: dict[int, int] = field(default_factory=lambda: {1: 60, 500: 40})
    """Writes per second, and for how many seconds."""
    samples_per_second: int = 25
    watchers: int = 100
    watched_rate_per_second: int = 20
    watched_s: int = 40
    store_rows: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    differing_rows: tuple[int, ...] = (10, 1_000)
    sync_rounds: int = 200
    restarts: int = 5
    fsyncs: int = 500

    @classmethod
    def quick(cls) -> Scale:
        """To see that all works; the figures mean nothing."""
        return cls(
            rounds=1,
            load_s=1,
            loaded_rows=20,
            batch_rows=3_000,
            rates_per_second={20: 2},
            samples_per_second=10,
            watchers=5,
            watched_s=2,
            store_rows=(500, 2_000),
            differing_rows=(5, 50),
            sync_rounds=5,
            restarts=1,
            fsyncs=5,
        )


@dataclass(frozen=True, slots=True)
class Bench:
    scale: Scale
    directory: Path
    """Of this section alone, on a volume; thrown away after it."""
    processes: Processes
    seeds: Seeds

    def new_directory(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir(parents=True)
        return path
