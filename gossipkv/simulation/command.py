"""The command `simulate`: many seeds over all processors, or one seed with its trace."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gossipkv.simulation.outcome import Outcome, Violation
from gossipkv.simulation.scenarios.aims import Aim
from gossipkv.simulation.simulation import run_seed

SEEDS_PER_TASK = 4
FAILURES_SHOWN = 10

VIOLATED = 1


def run(seeds: int, first_seed: int, jobs: int, seed: int | None, aim: Aim | None = None) -> int:
    """Run `seeds` seeds from `first_seed` on, in `jobs` processes; or only `seed`, showing what happens in it. Returns
    the exit code: 1 if any seed violated a promise or did not converge in its bound, else 0."""
    console = Console()
    if seed is not None:
        return _replay(console, seed, aim)
    outcomes = []
    failed = []
    with _finished(range(first_seed, first_seed + seeds), jobs, console, aim) as finished:
        for outcome in finished:
            outcomes.append(outcome)
            if outcome.violations:
                failed.append(outcome)
                if len(failed) <= FAILURES_SHOWN:
                    _tell(console, outcome, aim)
    console.print(summary(outcomes), highlight=False, soft_wrap=True)
    return VIOLATED if failed else 0


def _replay(console: Console, seed: int, aim: Aim | None) -> int:
    outcome = run_seed(seed, lambda line: console.out(line, highlight=False), aim=aim)
    console.print(summary([outcome]), highlight=False, soft_wrap=True)
    console.out(f"trace digest {outcome.digest}", highlight=False)
    return VIOLATED if outcome.violations else 0


@contextmanager
def _finished(seeds: range, jobs: int, console: Console, aim: Aim | None) -> Iterator[Iterator[Outcome]]:
    """The outcomes in order of seed, under a progress bar where someone watches."""
    columns = (TextColumn("seeds"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("seeds", total=len(seeds))

        def watched(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
            for outcome in outcomes:
                progress.advance(task)
                yield outcome

        if jobs == 1:
            yield watched(map(partial(_outcome, aim), seeds))
        else:
            # A new process for each task, so that no state of this one can leak into a run.
            with multiprocessing.get_context("spawn").Pool(jobs) as pool:
                yield watched(pool.imap(partial(_outcome, aim), seeds, SEEDS_PER_TASK))


def _outcome(aim: Aim | None, seed: int) -> Outcome:
    """An error of the simulation itself fails its seed, and the other seeds go on. The replay shows where it arose."""
    try:
        return run_seed(seed, aim=aim)
    except Exception as error:
        return Outcome(seed, violations=[Violation(seed, 0, "simulation", f"{type(error).__name__}: {error}")])


def _tell(console: Console, outcome: Outcome, aim: Aim | None) -> None:
    options = f"--seed {outcome.seed}" + (f" --aim {aim.value}" if aim else "")
    for violation in outcome.violations:
        console.out(f"{violation}\n  replay: gossipkv simulate {options}", highlight=False)


def total(outcomes: Iterable[Outcome]) -> Outcome:
    """The counts of many runs in one; its seed means nothing."""
    sums = Outcome(seed=-1)
    for outcome in outcomes:
        sums.events += outcome.events
        sums.violations += outcome.violations
        sums.faults += outcome.faults
        sums.checks += outcome.checks
        sums.messages += outcome.messages
        sums.seen += outcome.seen
    return sums


def summary(outcomes: list[Outcome]) -> str:
    """One line: how much was run, which faults fired, which checks were made."""
    sums = total(outcomes)
    failed = sum(1 for outcome in outcomes if outcome.violations)
    verdict = f"{failed} seeds FAILED" if failed else "no violation"
    return (
        f"{len(outcomes)} seeds, {sums.events} events, {verdict}; "
        f"faults: {_listed(sums.faults)}; checks: {_listed(sums.checks)}"
    )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))
