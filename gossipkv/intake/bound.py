"""Bounds on what a member holds at once, and the accounts of what they refuse.

A bound refuses; it never waits. Each refusal is counted. The log has one warning when refusals begin and one when they
have ended, however many there are in between. Everything here is called on the event loop.
"""

from __future__ import annotations

import asyncio

import structlog

QUIET_SECONDS = 10.0
"""Refusals have ended when there has been none for this long."""
SMALL_BYTES = 16 * 1024
SMALL_SHARE = 8
"""The last of this many equal parts of a bound is kept for holders of at most `SMALL_BYTES`. So probes and small writes
are still taken while large requests use up the rest."""

log = structlog.get_logger("gossipkv.intake")


class Refusals:
    """The refusals for one cause."""

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause = cause
        self.remedy = remedy
        self.total = 0
        self._begun = 0.0
        self._last = 0.0
        self._total_before = 0
        self._timer: asyncio.TimerHandle | None = None

    def count(self, **details: object) -> None:
        """Count a refusal. The first one after a quiet time is logged, with these details."""
        loop = asyncio.get_running_loop()
        self.total += 1
        self._last = loop.time()
        if self._timer is None:
            self._begun, self._total_before = self._last, self.total - 1
            self._timer = loop.call_later(QUIET_SECONDS, self._look, loop)
            log.warning("refusing", cause=self.cause, remedy=self.remedy, **details)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        quiet_at = self._last + QUIET_SECONDS
        if loop.time() < quiet_at:
            self._timer = loop.call_at(quiet_at, self._look, loop)
            return
        self._timer = None
        log.warning(
            "refusing_ended",
            cause=self.cause,
            refused=self.total - self._total_before,
            seconds=round(self._last - self._begun, 1),
            remedy=f"if it happens again: {self.remedy}",
        )


class Bound:
    """A maximum of something that is held. `name` is the setting that sets the limit."""

    def __init__(self, name: str, limit: int, remedy: str, refusals: Refusals | None = None) -> None:
        self.name = name
        self.limit = limit
        self.used = 0
        self.refusals = refusals or Refusals(name, remedy)

    def has_room(self, amount: int, held: int = 0) -> bool:
        """Return whether this amount fits, for a holder of `held`. An amount that exceeds the whole bound fits while no
        one else holds anything."""
        used = self.used + amount
        if amount + held > SMALL_BYTES:
            used += self.limit // SMALL_SHARE
        return used <= self.limit or self.used == held

    def take(self, amount: int, held: int = 0) -> bool:
        """Take this amount and return True if there is room for it. Otherwise count the refusal and return False."""
        if not self.has_room(amount, held):
            self.refusals.count(used=self.used, limit=self.limit)
            return False
        self.used += amount
        return True

    def give_back(self, amount: int) -> None:
        """Give back an amount that was taken."""
        self.used -= amount
        assert self.used >= 0, f"more of {self.name} was given back than was taken"


class Share:
    """The part of a bound that one holder has taken."""

    __slots__ = ("_bound", "held")

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self.held = 0

    @property
    def bound(self) -> Bound:
        """The bound that this is a part of."""
        return self._bound

    def take(self, amount: int) -> bool:
        """Take more. Returns False, and counts the refusal, if there is no room."""
        if not self._bound.take(amount, self.held):
            return False
        self.held += amount
        return True

    def keep(self, amount: int) -> None:
        """Give back all but this amount."""
        self._bound.give_back(self.held - amount)
        self.held = amount
