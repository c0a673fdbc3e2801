"""A checker that has never failed is not trusted: each deliberate fault must be caught, by the checker named for it."""

from __future__ import annotations

import sys
from collections.abc import Collection

import pytest

from gossipkv.simulation import Outcome, Violation, run_seed
from gossipkv.simulation.checkers import CHECKERS
from tests.simulation.first_seeds import MUTANTS, first_seeds, name_of, seeds_of
from tests.simulation.mutants import Mutant

FIRST_SEEDS = first_seeds()


def caught(mutant: Mutant) -> tuple[int, Violation]:
    """How many seeds it took, with only the mutant's checker objecting, and what it said."""
    with mutant.planted():
        for place, seed in enumerate(seeds := seeds_of(mutant, FIRST_SEEDS)):
            for violation in outcome_of(seed, mutant, objecting={mutant.checker}).violations:
                if violation.checker == mutant.checker:
                    return place + 1, violation
    pytest.fail(f"{len(seeds)} seeds did not show that {mutant.fault}")


def outcome_of(seed: int, mutant: Mutant, objecting: Collection[str] | None = None) -> Outcome:
    """A run in which the mutant matters."""
    return run_seed(
        seed,
        objecting=objecting,
        emphasis=mutant.emphasis,
        frequent_faults=mutant.frequent_faults,
        aim=mutant.aim,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_the_simulation_catches_that(mutant: Mutant) -> None:
    seeds, violation = caught(mutant)
    sound = outcome_of(violation.seed, mutant)
    assert sound.violations == [], "the code breaks a promise without the fault too"
    sys.stdout.write(f"\n{mutant.checker} objects after {seeds} seeds: {str(violation)[:160]}\n")


def test_every_checker_has_a_mutant() -> None:
    assert {checker.name for checker in CHECKERS} - {mutant.checker for mutant in MUTANTS} == set()
