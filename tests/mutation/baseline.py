"""What runs in which test and seed while no fault is planted, kept on disk until the sources change."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pytest

import gossipkv
from gossipkv.simulation.scenarios.aims import Aim
from tests.mutation import seeds, units
from tests.mutation.child import in_child
from tests.mutation.marks import Marked
from tests.mutation.progress import Progress
from tests.mutation.seeds import Seed
from tests.mutation.units import UnitTest

FILE = Path(".mutation/baseline.pickle")
SECONDS_MAX = 1_800.0
"""For the tests of one file, or one seed, on a busy machine."""


@dataclass
class Recorded:
    sources: str
    """The hash of the sources that ran."""
    tests: dict[str, dict[str, tuple[float, bytes]]] = field(default_factory=dict)
    """How long each test took and what ran in it, by the hash of its file."""
    simulation: str = ""
    """The hash of the sources of the simulation that ran the seeds."""
    seeds: dict[tuple[int, str | None], Seed] = field(default_factory=dict)


class Baseline:
    def __init__(self, marked: Marked, progress: Progress) -> None:
        self._marked = marked
        self._progress = progress
        package = Path(gossipkv.__path__[0])
        simulated = set((package / "simulation").rglob("*.py"))
        sources, simulation = _hash(set(package.rglob("*.py")) - simulated), _hash(simulated)
        self._recorded = Recorded(sources)
        if FILE.exists():
            kept = _kept()
            if kept is not None and kept.sources == sources:
                self._recorded = kept
        if self._recorded.simulation != simulation:
            self._recorded.simulation, self._recorded.seeds = simulation, {}

    def tests(self, items: list[pytest.Item]) -> list[UnitTest]:
        """These tests with what runs in them."""
        found = []
        for path, group in groupby(items, lambda item: item.path):
            of_file = list(group)
            known = self._tests_of(path, of_file)
            found += [UnitTest(item, *known[item.nodeid]) for item in of_file]
        return found

    def _tests_of(self, path: Path, items: list[pytest.Item]) -> dict[str, tuple[float, bytes]]:
        known = self._recorded.tests.setdefault(_hash([path]), {})
        missing = [item for item in items if item.nodeid not in known]
        if missing:
            self._progress.say(f"records {path.name}")
            found = in_child(lambda: units.recorded(missing, self._marked.plant()), SECONDS_MAX)
            known.update({name: (seconds, marks) for name, seconds, marks in found})
            self._keep()
        return known

    def seeds(self, number: int, number_aimed: int) -> list[Seed]:
        """This many seeds, and this many of each aim, with what runs in them."""
        aimed = [self._seed(each, aim) for aim in Aim for each in range(number_aimed)]
        return [self._seed(each, None) for each in range(number)] + aimed

    def _seed(self, number: int, aim: Aim | None) -> Seed:
        key = number, aim.value if aim else None
        if key not in self._recorded.seeds:
            self._progress.say(f"records seed {number}" + (f" aimed at {aim.value}" if aim else ""))
            self._recorded.seeds[key] = in_child(lambda: seeds.recorded(number, aim, self._marked.plant()), SECONDS_MAX)
            self._keep()
        return self._recorded.seeds[key]

    def _keep(self) -> None:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_bytes(pickle.dumps(self._recorded))


def _kept() -> Recorded | None:
    """What an earlier run recorded; None if its modules have moved since."""
    try:
        kept: Recorded = pickle.loads(FILE.read_bytes())
    except (ImportError, AttributeError):
        return None
    return kept


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()
