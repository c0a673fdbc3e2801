"""A member's report on rows that it refuses: it is logged once per reason when it begins, and once when it ends.

A refused row comes again with each push or round. So a refusal has ended when none has been counted for some time:
`QUIET_INTERVALS` gossip intervals plus the longest pause before a peer is tried again. Rows that do not fit are
reported by `core/store/shortage.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from gossipkv.core.model.lacking import CLOCK_SKEW
from gossipkv.core.model.room import NO_ROOM
from gossipkv.core.model.tally import Notice
from gossipkv.core.options import ReplicaOptions

QUIET_INTERVALS = 10
"""The number of gossip intervals without a refusal, besides the longest pause, after which it has ended."""


class RowRefusals:
    """The refusals of one member."""

    def __init__(self, options: ReplicaOptions, now_ms: int) -> None:
        self._quiet_ms = QUIET_INTERVALS * options.gossip_interval_ms + options.retry_ms_max
        self._counted: dict[str, int] = {}
        self._last_ms: dict[str, int] = {}
        """When a refusal was last counted, per reason for which rows are refused."""
        self._now_ms = now_ms

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons for which rows are refused at present."""
        return tuple(sorted(self._last_ms))

    def tick(self, counted: Mapping[str, int], now_ms: int) -> list[Notice]:
        """Compare the counters with those of the last call; return the notices."""
        if now_ms < self._now_ms:
            self._last_ms = {reason: min(at_ms, now_ms) for reason, at_ms in self._last_ms.items()}
        self._now_ms = now_ms
        notices = []
        for reason in sorted(counted):
            if reason == NO_ROOM or counted[reason] == self._counted.get(reason, 0):
                continue
            self._counted[reason] = counted[reason]
            if reason not in self._last_ms:
                remedy = _REMEDIES.get(reason, _OTHER_REMEDY)
                fields: dict[str, object] = {"reason": reason, "consequence": _CONSEQUENCE, "remedy": remedy}
                notices.append(Notice("rows_refused", fields, is_warning=True))
            self._last_ms[reason] = now_ms
        for reason in [each for each, at_ms in self._last_ms.items() if now_ms - at_ms >= self._quiet_ms]:
            del self._last_ms[reason]
            notices.append(Notice("rows_no_longer_refused", {"reason": reason}, is_warning=True))
        return notices


_CONSEQUENCE = "this member lacks what it refuses, and asks for it again"
_OTHER_REMEDY = "finish the upgrade of all members, and see GossipkvRowsRefused in the runbook"
_REMEDIES = {
    CLOCK_SKEW: "compare the clocks of all members, and set those right that differ (chrony, NTP)",
    "inconsistent": "make sure that no two processes run on copies of one volume",
}
