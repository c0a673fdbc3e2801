"""The result of running one seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


class ViolationError(BaseException):
    """The error for a broken promise of the store. It ends the run. No code that is tested may take it for an error of
    its own, so it is no Exception."""

    def __init__(self, checker: str, text: str) -> None:
        super().__init__(f"{checker}: {text}")
        self.checker = checker


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise, with what is needed to find it again."""

    seed: int
    at_ms: int
    checker: str
    text: str

    def __str__(self) -> str:
        return f"seed {self.seed}, at {self.at_ms} ms: {self.text}"


@dataclass(slots=True)
class Outcome:
    """The result of one run."""

    seed: int
    digest: str = ""
    """The digest of the trace, equal for equal runs."""
    events: int = 0
    converged_ms: int | None = None
    """The time from the end of the faults until all members were equal; None if they did not become equal."""
    violations: list[Violation] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    """The number of messages sent, by type."""
    seen: Counter[str] = field(default_factory=Counter)
    """The number of actions of the core and the client, by kind. It shows that a run exercises what it should."""
