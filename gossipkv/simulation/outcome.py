"""The result of running one seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


class ViolationError(Exception):
    """A promise of the store is broken; ends the run."""

    def __init__(self, checker: str, text: str) -> None:
        super().__init__(f"{checker}: {text}")
        self.checker = checker


@dataclass(frozen=True, slots=True)
class Violation:
    seed: int
    at_ms: int
    checker: str
    text: str

    def __str__(self) -> str:
        return f"seed {self.seed}, at {self.at_ms} ms: {self.text}"


@dataclass(slots=True)
class Outcome:
    seed: int
    digest: str = ""
    """The digest of the trace, equal for equal runs."""
    events: int = 0
    converged_ms: int | None = None
    """Time from the end of the faults until all members were equal."""
    violations: list[Violation] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    """Messages sent, by type."""
    seen: Counter[str] = field(default_factory=Counter)
    """What the core and the client did, by kind; shows that a run exercises what it should."""
