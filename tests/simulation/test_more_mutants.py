"""The other half of the mutants, in a file of its own: tests are shared out among processes by file."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.test_mutants import assert_caught, name_of


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS[1::2], ids=name_of)
def test_the_simulation_catches_that(mutant: Mutant) -> None:
    assert_caught(mutant)
