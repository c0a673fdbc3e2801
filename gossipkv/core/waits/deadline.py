"""The deadlines of waits, by the member's clock.

A wait ends in the first batch from its deadline on. If the clock is set back, a deadline moves along: what was due soon
is due as soon as before, not only once the clock has caught up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Timed(Protocol):
    """A wait that may have a deadline."""

    deadline_ms: int | None


def is_late(wait: Timed, now_ms: int) -> bool:
    """Whether the deadline has passed."""
    return wait.deadline_ms is not None and wait.deadline_ms <= now_ms


def earliest(waits: Iterable[Timed]) -> int | None:
    """The earliest deadline; None if no wait has one."""
    return min([wait.deadline_ms for wait in waits if wait.deadline_ms is not None], default=None)


def set_back(waits: Iterable[Timed], by_ms: int) -> None:
    """Move the deadlines along with a clock that was set back."""
    for wait in waits:
        if wait.deadline_ms is not None:
            wait.deadline_ms -= by_ms
