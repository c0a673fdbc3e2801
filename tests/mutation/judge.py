"""Judges one mutant: by the unit tests in which its statement runs, then by the seeds in which it does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tests.mutation import seeds, units
from tests.mutation.child import EndedEarlyError, in_child
from tests.mutation.live import UnplantableError, replace_code
from tests.mutation.marks import Marked
from tests.mutation.places import Mutant, planted
from tests.mutation.seeds import Seed, Verdict
from tests.mutation.units import UnitTest

SECONDS_MAX = 1_200.0
"""For all tests, or all seeds, of one mutant."""


class Fate(Enum):
    UNITS = "killed by a unit test"
    SIMULATION = "killed by a seed"
    SURVIVED = "SURVIVED"
    EQUIVALENT = "listed as equivalent"
    UNPLANTABLE = "cannot be planted"


@dataclass(frozen=True, slots=True)
class Judged:
    mutant: Mutant
    fate: Fate
    says: str = ""

    def __str__(self) -> str:
        return f"{self.fate.value}: {self.mutant}" + (f" ({self.says})" if self.says else "")


class Judge:
    def __init__(self, marked: Marked, tests: list[UnitTest], seeds: list[Seed]) -> None:
        self._marked = marked
        self._tests = tests
        self._seeds = seeds

    def judged(self, mutant: Mutant) -> Judged:
        """Let the tests judge, and if none fails, the seeds."""
        mark = self._marked.number[mutant.path, mutant.statement]
        tests = sorted((test for test in self._tests if test.marks[mark]), key=lambda test: test.seconds)
        chosen = sorted((seed for seed in self._seeds if seed.marks[mark]), key=lambda seed: seed.seconds)
        try:
            killer = in_child(lambda: self._plant(mutant) or units.killer(tests), SECONDS_MAX)
        except EndedEarlyError:
            return Judged(mutant, Fate.UNITS, "a test does not end")
        if isinstance(killer, UnplantableError):
            return Judged(mutant, Fate.UNPLANTABLE, str(killer))
        if killer is not None:
            return Judged(mutant, Fate.UNITS, killer)
        return self._judged_by_seeds(mutant, f"{len(tests)} tests", chosen)

    def _judged_by_seeds(self, mutant: Mutant, says: str, chosen: list[Seed]) -> Judged:
        if not self._seeds:
            return Judged(mutant, Fate.SURVIVED, says)
        try:
            verdict: Verdict = in_child(lambda: self._plant(mutant) or seeds.verdict(chosen), SECONDS_MAX)
        except EndedEarlyError:
            return Judged(mutant, Fate.SIMULATION, "a seed does not end")
        if verdict.killer is not None:
            return Judged(mutant, Fate.SIMULATION, verdict.killer)
        return Judged(
            mutant, Fate.SURVIVED, f"{says}; {len(chosen)} seeds run it, and {verdict.changed} traces are others"
        )

    def _plant(self, mutant: Mutant) -> UnplantableError | None:
        try:
            replaced = replace_code({mutant.path: planted(self._marked.sources[mutant.path], mutant)})
        except UnplantableError as error:
            return error
        return None if replaced else UnplantableError("no function of the module is loaded")
