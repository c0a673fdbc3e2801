"""The lines of the report.

A line without a target informs. One with a target was reached, was missed, or was not measured; what was not measured
is never taken for reached.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

HEADINGS = ("what", "gossipkv", "yardstick", "ratio", "target", "reached")
NONE = "–"


class Outcome(Enum):
    REACHED = "yes"
    MISSED = "**no**"
    NOT_MEASURED = "not measured"
    NO_TARGET = ""

    @classmethod
    def of(cls, is_reached: bool) -> Outcome:
        return cls.REACHED if is_reached else cls.MISSED


@dataclass(frozen=True, slots=True)
class Line:
    what: str
    gossipkv: str = NONE
    yardstick: str = NONE
    ratio: str = NONE
    target: str = NONE
    outcome: Outcome = Outcome.NO_TARGET

    @classmethod
    def not_measured(cls, what: str, reason: str, target: str = NONE) -> Line:
        return cls(what, target=target, yardstick=reason, outcome=Outcome.NOT_MEASURED)

    def cells(self) -> tuple[str, ...]:
        return (self.what, self.gossipkv, self.yardstick, self.ratio, self.target, self.outcome.value)


def to_markdown(lines: Iterable[Line]) -> str:
    """A table whose columns stand below each other in plain text, too."""
    rows = [HEADINGS, *(line.cells() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    texts = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    rule = " | ".join("-" * width for width in widths)
    return "".join(f"| {text} |\n" for text in [texts[0], rule, *texts[1:]])


def misses(lines: Iterable[Line]) -> list[str]:
    """A sentence for each target that was missed or not measured."""
    sentences = []
    for line in lines:
        if line.outcome is Outcome.MISSED:
            found = line.gossipkv if line.ratio == NONE else f"{line.gossipkv}, ratio {line.ratio}"
            sentences.append(f"{line.what}: the target is {line.target}, measured {found}.")
        elif line.outcome is Outcome.NOT_MEASURED:
            sentences.append(f"{line.what}: not measured. {line.yardstick}")
    return sentences
