"""The simulation as judge, seed by seed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from gossipkv.simulation import run_seed
from gossipkv.simulation.scenarios.aims import Aim
from tests.mutation.child import limit_cpu

CPU_SECONDS_MIN = 10.0
CPU_FACTOR = 10


@dataclass(frozen=True, slots=True)
class Seed:
    """What a seed comes to without a fault."""

    number: int
    aim: Aim | None
    seconds: float
    digest: str
    marks: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    killer: str | None
    """The seed that objects, and what it says."""
    changed: int
    """The number of seeds whose traces are not what they were."""


def recorded(number: int, aim: Aim | None, marks: bytearray) -> Seed:
    marks[:] = bytes(len(marks))
    began = time.process_time()
    outcome = run_seed(number, aim=aim)
    if outcome.violations:
        raise AssertionError(f"seed {number} is violated without any fault")
    return Seed(number, aim, time.process_time() - began, outcome.digest, bytes(marks))


def verdict(seeds: Iterable[Seed]) -> Verdict:
    """Run these seeds up to the first that objects."""
    changed = 0
    for seed in seeds:
        limit_cpu(CPU_SECONDS_MIN + CPU_FACTOR * seed.seconds)
        try:
            outcome = run_seed(seed.number, aim=seed.aim)
        except Exception as error:
            return Verdict(f"{_name(seed)}: {type(error).__name__}", changed + 1)
        changed += outcome.digest != seed.digest
        if outcome.violations:
            return Verdict(f"{_name(seed)}: {outcome.violations[0].checker}", changed)
    return Verdict(None, changed)


def _name(seed: Seed) -> str:
    return f"seed {seed.number}" + (f" aimed at {seed.aim.value}" if seed.aim else "")
