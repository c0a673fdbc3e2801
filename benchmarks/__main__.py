"""`python -m benchmarks`: measure, print, and write docs/benchmarks.md.

Every step has a deadline. A section that fails is reported as not measured, and the exit code is then 1; a target that
is missed is a finding, not a failure.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks import batches, bulk, contents, copies, http, machine, propagation, rounds, siblings, watches
from benchmarks.bench import Bench, Scale
from benchmarks.processes import Processes, StepError
from benchmarks.report import Report, to_page
from benchmarks.seeds import Seeds
from benchmarks.table import Line, Outcome, to_markdown

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


class Section(NamedTuple):
    title: str
    method: str
    measure: Callable[[Bench], list[Line]]


SECTIONS = {
    "a": Section(http.TITLE, http.METHOD, http.measure),
    "b": Section(batches.TITLE, batches.METHOD, batches.measure),
    "c": Section(propagation.TITLE, propagation.METHOD, propagation.measure),
    "d": Section(rounds.TITLE, rounds.METHOD, rounds.measure),
    "e": Section(bulk.JOIN_TITLE, bulk.JOIN_METHOD, bulk.measure_join),
    "f": Section(bulk.RESTART_TITLE, bulk.RESTART_METHOD, bulk.measure_restart),
    "g": Section(copies.TITLE, copies.METHOD, copies.measure),
    "h": Section(siblings.TITLE, siblings.METHOD, siblings.measure),
    "i": Section(watches.TITLE, watches.METHOD, watches.measure),
    "j": Section(contents.TITLE, contents.METHOD, contents.measure),
}


@click.command(
    help="Measure gossipkv beside its yardsticks. Sections: "
    + ", ".join(f"{letter}: {section.title}" for letter, section in SECTIONS.items())
)
@click.option("--only", default="", help="Letters of sections, comma separated.  [default: all]")
@click.option("--quick", is_flag=True, help="See that all works. The figures mean nothing.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    default="/var/tmp",
    show_default=True,
    help="On the volume to measure, with 3 GiB of room; not in memory.",
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
    help="Run members under cProfile and write its reports to this directory.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page here.  [default: docs/benchmarks.md, when all is measured and neither quickly nor profiled]",
)
def main(only: str, quick: bool, directory: Path, profile: Path | None, output: Path | None) -> None:
    letters = _chosen(only)
    if machine.is_in_memory(directory):
        raise click.UsageError(f"{directory} is in memory, where fsync means nothing: give another --directory")
    if output is None and not (only or quick or profile):
        output = PAGE
    # Whatever ends this process ends the processes it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if profile is not None:
        profile.mkdir(parents=True, exist_ok=True)
    scale = Scale.quick() if quick else Scale()
    with tempfile.TemporaryDirectory(prefix="gossipkv-bench-", dir=directory) as name:
        described = machine.describe(Path(name), scale.fsyncs)
        seeds = Seeds(Path(name))
        reports = [_report(SECTIONS[letter], scale, seeds, Path(name), profile) for letter in letters]
    page = to_page(described, reports)
    if output is not None:
        output.write_text(page)
        click.echo(f"written to {output}")
    else:
        click.echo(page)
    outcomes = [line.outcome for report in reports for line in report.lines]
    sys.exit(1 if Outcome.NOT_MEASURED in outcomes else 0)


def _chosen(only: str) -> list[str]:
    letters = [letter.strip() for letter in only.split(",")] if only else list(SECTIONS)
    for letter in letters:
        if letter not in SECTIONS:
            raise click.UsageError(f"{letter!r} is no section; there are {', '.join(SECTIONS)}")
    return letters


def _report(section: Section, scale: Scale, seeds: Seeds, directory: Path, profile: Path | None) -> Report:
    click.echo(f"{section.title} …", err=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=directory) as own, Processes(Path(own), profile) as processes:
        bench = Bench(scale, Path(own), processes, seeds)
        try:
            lines = section.measure(bench)
        except StepError as error:
            lines = [Line.not_measured(section.title, str(error))]
    click.echo(f"{to_markdown(lines)}\nin {time.monotonic() - began:.0f} s\n", err=True)
    return Report(section.title, section.method, lines)


if __name__ == "__main__":
    main()
