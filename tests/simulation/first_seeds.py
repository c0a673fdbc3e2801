"""The seed with which the search for each mutant begins, so that the tests do not run dozens of seeds for one fault.

python -m tests.simulation.first_seeds

Run this when the traces have changed: it searches all seeds in their usual order and writes `first_seeds.json`. A seed
that no longer shows its mutant costs time and nothing else, because the usual order follows it.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path

from gossipkv.simulation import run_seed
from tests.simulation.driver_mutants import DRIVER_MUTANTS
from tests.simulation.mutants import MUTANTS as CORE_MUTANTS
from tests.simulation.mutants import Mutant

MUTANTS = (*CORE_MUTANTS, *DRIVER_MUTANTS)
SEEDS = (*range(1, 6), 0, *range(6, 60))
"""Seed 0 has four times as many events as others: not every mutant begins with it, and few need many more."""

PATH = Path(__file__).with_suffix(".json")
SEARCHED_MIN = 3
"""A mutant that fewer seeds than this show is not listed."""
PROCESSES = 2


def name_of(mutant: Mutant) -> str:
    return f"{mutant.fault} ({mutant.checker})"


def first_seeds() -> dict[str, int]:
    """The listed seeds, by the name of the mutant."""
    found: dict[str, int] = json.loads(PATH.read_text())
    return found


def seeds_of(mutant: Mutant, first: dict[str, int]) -> tuple[int, ...]:
    """All seeds to try, in order."""
    usual = mutant.seeds or SEEDS
    return (first[name_of(mutant)], *usual) if name_of(mutant) in first else usual


def is_shown(mutant: Mutant, seed: int) -> bool:
    """Whether the mutant's checker objects in a run with this seed. The mutant must be planted."""
    outcome = run_seed(
        seed,
        objecting={mutant.checker},
        emphasis=mutant.emphasis,
        frequent_faults=mutant.frequent_faults,
        aim=mutant.aim,
    )
    return any(violation.checker == mutant.checker for violation in outcome.violations)


def search(number: int) -> tuple[str, int, int | None]:
    """The name of a mutant, the number of seeds that it took, and the one that shows it."""
    mutant = MUTANTS[number]
    with mutant.planted():
        for place, seed in enumerate(mutant.seeds or SEEDS, 1):
            if is_shown(mutant, seed):
                return name_of(mutant), place, seed
    return name_of(mutant), 0, None


def main() -> int:
    found: dict[str, int] = {}
    not_shown = []
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for done, (name, searched, seed) in enumerate(pool.imap_unordered(search, range(len(MUTANTS))), 1):
            sys.stdout.write(f"{done}/{len(MUTANTS)} {name}: {seed}\n")
            if seed is None:
                not_shown.append(name)
            elif searched >= SEARCHED_MIN:
                found[name] = seed
    PATH.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")
    sys.stdout.write("".join(f"not shown: {name}\n" for name in not_shown))
    return 1 if not_shown else 0


if __name__ == "__main__":
    sys.exit(main())
