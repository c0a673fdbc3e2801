"""docs/benchmarks.md, and the same on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.table import Line, misses, to_markdown

_HEAD = """# Benchmarks

<!-- Written by `make bench`. -->

One run measures gossipkv beside its yardsticks on the same machine, in the same minutes. Across machines compare
ratios, not figures.

- `make bench` measures everything and rewrites this page (a quarter of an hour; needs `wrk` and, to compare with etcd,
  `etcd-server`: `apt-get install wrk etcd-server`).
- `make bench ARGS="--only a,c"` measures some sections (letters: `ARGS=--help`), `ARGS=--quick` sees within a minute
  that all of them work; neither touches this page.
- `make bench ARGS="--only a --profile DIRECTORY"` runs the members under cProfile and writes there what their event
  loop and their storage thread spend CPU time on. The figures are then not to be used.
"""


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of one section."""

    title: str
    method: str
    lines: list[Line]


def to_page(machine: Sequence[tuple[str, str]], reports: Sequence[Report]) -> str:
    """The whole page."""
    parts = [_HEAD, "\n## Machine\n\n| | |\n| --- | --- |\n"]
    parts += [f"| {what} | {value} |\n" for what, value in machine]
    parts += ["\n## Targets that are not reached\n\n", _missed([line for report in reports for line in report.lines])]
    parts += [f"\n## {each.title}\n\n{each.method}\n\n{to_markdown(each.lines)}" for each in reports]
    return "".join(parts)


def _missed(lines: Sequence[Line]) -> str:
    sentences = misses(lines)
    return "".join(f"- {sentence}\n" for sentence in sentences) or "None: all are reached.\n"
