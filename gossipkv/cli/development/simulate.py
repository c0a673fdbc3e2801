"""`gossipkv simulate`."""

from __future__ import annotations

import os

import click

from gossipkv.cli.terminal.output import echo


@click.command("simulate")
@click.option("--seeds", type=click.IntRange(min=1), default=10, show_default=True, help="Number of seeds to run.")
@click.option("--first-seed", type=click.IntRange(min=0), default=0, show_default=True, help="First seed to run.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default="all cores",
    help="Number of processes.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Replay one seed, in detail.")
@click.option("--aim", metavar="NAME", help="Bring about one situation again and again, such as `collected`.")
@click.option("--membership", is_flag=True, help="Simulate only the failure detector, and print tables of the results.")
@click.option(
    "--replacements",
    type=click.IntRange(min=1),
    help="Replace members N times, and print what grows.",
    metavar="N",
)
@click.pass_context
def simulate_command(
    context: click.Context,
    seeds: int,
    first_seed: int,
    jobs: int,
    seed: int | None,
    aim: str | None,
    membership: bool,
    replacements: int | None,
) -> None:
    """Simulate a cluster in virtual time, with faults chosen by a seed. A failure prints its seed."""
    if membership:
        from gossipkv.simulation.detector.membership_table import SIZES, tables

        for line in tables(SIZES, seeds, first_seed):
            echo(line)
        return
    if replacements is not None:
        from gossipkv.simulation.replacements import run as replace

        context.exit(0 if replace(replacements, echo) else 1)
    from gossipkv.simulation.command import run
    from gossipkv.simulation.scenarios.aims import Aim

    names = [each.value for each in Aim]
    if aim is not None and aim not in names:
        raise click.BadParameter(f"{aim!r} is no aim; choose one of {', '.join(names)}", param_hint="--aim")
    chosen = None if aim is None else Aim(aim)
    context.exit(run(seeds=seeds, first_seed=first_seed, jobs=jobs, seed=seed, aim=chosen))
