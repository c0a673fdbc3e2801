"""A member that has reported that its clock is off acknowledges no write until it reports that the clock is right
again."""

from __future__ import annotations

from collections.abc import Sequence

from gossipkv.core.model.tally import Notice
from gossipkv.core.model.write import Operation, Result, StoredWrite
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.world.host import Host

COMMIT_MS_MAX = 100
"""Writes under way when the member notices are acknowledged within this time."""


class ClocksChecker(Checker):
    """The checker that a member whose clock is off acknowledges no write."""

    name = "clocks"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._off_ms: dict[object, int] = {}
        """The true time since which each process has known that its clock is off."""

    def noticed(self, host: Host, notices: Sequence[Notice]) -> None:
        """Record when a member reports that its clock is off, or right again."""
        for notice in notices:
            if notice.event == "clock_off":
                self._off_ms[host.process] = host.now_ms() - host.skew_ms
            elif notice.event in ("clock_right_again", "clock_no_longer_off"):
                self._off_ms.pop(host.process, None)

    def acknowledged(self, host: Host, shard: str, operations: Sequence[Operation], results: list[Result]) -> None:
        """Check that the member has not known for long that its clock is off."""
        now_ms = host.now_ms() - host.skew_ms
        off_ms = self._off_ms.get(host.process, now_ms)
        self.require(
            now_ms - off_ms <= COMMIT_MS_MAX or not any(isinstance(result, StoredWrite) for result in results),
            host.name, "acknowledges writes to", shard, "though it has known for", now_ms - off_ms,
            "ms that its clock is off:", operations,
        )  # fmt: skip
