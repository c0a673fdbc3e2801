"""Every scenario says today what its file says. `--rewrite`, or GOSSIPKV_REWRITE=1, writes what it says now."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.transcript import Transcript, retold

SCENARIOS = sorted(Path(__file__).parent.glob("*.txt"))


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 8


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_scenario_goes_as_it_is_told(path: Path, is_rewriting: bool) -> None:
    told = path.read_text()
    now = retold(told)
    if is_rewriting:
        path.write_text(now)
    else:
        assert now == told


def test_a_scenario_that_goes_otherwise_is_noticed() -> None:
    told = "members a\n----\nmembers hold the same rows\n\nstate\n----\nnothing of the kind\n"
    assert retold(told) != told
    assert retold(retold(told)) == retold(told)


@pytest.mark.parametrize("line", ["dance a b", "put a", "deliver a b"])
def test_a_command_that_makes_no_sense_is_an_error_and_not_a_line_of_output(line: str) -> None:
    with pytest.raises((ValueError, AssertionError, TypeError)):
        Transcript().perform(f"members a b\n{line}")
