"""Runs that aim at one situation: it is met, and no promise is broken in it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from gossipkv.cli.development.simulate import simulate_command
from gossipkv.simulation import Outcome, run_seed
from gossipkv.simulation.command import run, total
from gossipkv.simulation.scenarios.aims import Aim, aimed

SEEDS = (1, 2)

MET: dict[Aim, Callable[[Outcome], int]] = {
    Aim.COLLECTED: lambda sums: sums.seen["tombstones_collected"] - 20,
    Aim.WRITTEN_AGAIN: lambda sums: sums.faults["written_again"] - 4,
    Aim.STARVED: lambda sums: sums.faults["starved"],
    Aim.SLOW_PULLER: lambda sums: min(sums.faults["slow_puller"], sums.seen["tombstones_collected"] - 10),
    Aim.OLD_DISKS: lambda sums: sums.faults["set_back"] - 4,
    Aim.CLOCKS: lambda sums: min(sums.faults["jump_forward"], sums.faults["jump_back"]) - 4,
    Aim.LEFT_ALONE: lambda sums: sums.faults["lose_disk"] - 2,
    Aim.MANY_PARTS: lambda sums: sums.messages["ValuePart"] - 20,
    Aim.SINGLE: lambda sums: sums.seen["client_puts"],
    Aim.PAIR: lambda sums: sums.seen["in_sync"],
}
"""What says, above zero, that the situation has been met."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("aim", Aim, ids=lambda aim: aim.value)
def test_an_aim_meets_its_situation_and_breaks_no_promise(aim: Aim) -> None:
    outcomes = [run_seed(seed, aim=aim) for seed in SEEDS]
    assert [str(violation) for outcome in outcomes for violation in outcome.violations] == []
    assert MET[aim](total(outcomes)) > 0


def test_a_single_member_and_two_are_aimed_at() -> None:
    rng = random.Random(0)
    assert (aimed(Aim.SINGLE, rng).members, aimed(Aim.PAIR, rng).members) == (1, 2)


def test_a_failing_seed_names_its_aim(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(seed: int, *, aim: Aim | None) -> Outcome:
        raise RuntimeError(f"seed {seed}")

    monkeypatch.setattr("gossipkv.simulation.command.run_seed", fail)
    assert run(seeds=1, first_seed=3, jobs=1, seed=None, aim=Aim.PAIR) == 1
    assert "replay: gossipkv simulate --seed 3 --aim pair" in capsys.readouterr().out


def test_an_unknown_aim_is_refused_with_the_names_that_there_are() -> None:
    result = CliRunner().invoke(simulate_command, ["--aim", "nowhere", "--seeds", "1"])
    assert result.exit_code == 2
    assert "'nowhere' is no aim" in result.output
    assert "slow-puller" in result.output
