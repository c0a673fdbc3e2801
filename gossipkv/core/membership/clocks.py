"""Compares this member's clock with the clocks of the others, and decides whether it is off.

A row that is stamped more than `clock_skew_ms_max` ahead of a member's clock is refused there. So a member whose clock
is that far ahead would acknowledge writes that no other member takes in. A member whose clock is that far behind
refuses the rows of all others. Its own writes lose against rows that it has not seen. Either takes no write of a client
until its clock is right. It still serves reads, gossips and writes its own record.

*How a clock is compared.* Only the answer to an exchange that this member began counts. The peer's clock was read
between the beginning and the end of the exchange, so the difference lies between two bounds. The one closer to zero
counts. Counterexample to counting requests of peers: a process is paused for 20 minutes, and a request waits for it in
the kernel. The request says nothing of the peer's clock, which seems to be 20 minutes behind.

*Whose clock is off.* The reference is the median of all clocks compared, this member's own included; of an even number,
the lower of the two in the middle. A member is off if its clock differs from the reference by more than the limit.

- Of three members, the one that differs from the other two is off.
- Of two members, nobody can tell whose clock is wrong. The later one is off: the other member would refuse its rows,
  while it takes in the other's. Counterexample to stopping both, or the earlier one: both members refuse writes, or the
  only one that takes writes makes rows that the other refuses.
- The member with the reference clock is never off. So among members that reach each other, one always takes writes.

*How long it holds.* A comparison counts for `COMPARED_INTERVALS` gossip intervals. When the clock is set back, earlier
comparisons no longer say anything. A member that was off then stays off for that time, until as many clocks have been
compared as before. Counterexample to judging by the next comparison: the clock of one of three members is far behind
and is set back a little further. Against the first of the other two, nobody could tell whose clock is wrong, and the
member takes a write. A member that reaches nobody for that time takes writes.

*When the log calls a peer off.* The two clocks must have differed for that time, and this one must have been right. By
then all peers that answer have been compared. Counterexample to calling a peer off at once: the clock of this member
falls behind. The first peer that answers is called off, and the second answer shows that this clock is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.tally import Notice
from gossipkv.rows.errors import ErrorKind, RequestError

COMPARED_INTERVALS = 10
"""The number of gossip intervals for which a comparison counts."""
RETURN_SHARE = 0.1
"""The hysteresis: a clock is right again once it is closer than the limit by this share of the limit."""


class OwnClockOffError(RequestError):
    """The error of a write at a member whose clock is off. Nothing was stored."""

    kind = ErrorKind.CLOCK_OFF


class Compared(NamedTuple):
    """A comparison with one peer."""

    ahead_ms: int
    """The least amount by which the peer's clock is ahead of this one's; negative if it is behind."""
    at_ms: int


@dataclass(frozen=True, slots=True)
class ClockStatus:
    """A member's report on its clock."""

    ahead_ms: int | None
    """How far the member's clock is ahead of the reference; None if no other clock was compared."""
    is_off: bool
    """Whether the member takes no writes because of that."""
    compared: int
    """The number of other clocks that count in the comparison."""


class Clocks:
    """The clock comparisons of one member."""

    def __init__(self, skew_ms_max: int, gossip_interval_ms: int, outbox: Outbox, now_ms: int) -> None:
        self.is_off = False
        self.has_compared = False
        """Whether any clock has been compared since the process began."""
        self._skew_ms_max = skew_ms_max
        self._life_ms = COMPARED_INTERVALS * gossip_interval_ms
        self._began: dict[int, int] = {}
        """The time at which each exchange under way began, by number."""
        self._peers: dict[str, Compared] = {}
        self._off_ms = 0
        """The amount by which this clock was ahead of the reference when last compared."""
        self._now_ms = now_ms
        self._compared_with = 0
        """The number of clocks compared when this one was last found off."""
        self._stands_until_ms = now_ms
        """The time until which an earlier finding stands against fewer comparisons, after the clock was set back."""
        self._compared_ms = now_ms
        """The time at which a clock was last compared."""
        self._beyond_since_ms: dict[str, int] = {}
        """The time since which each peer has differed from this clock by more than the limit."""
        self._peers_off: set[str] = set()
        """Peers that the log calls off."""
        self.outbox = outbox

    # Comparisons

    def began(self, exchange: int, now_ms: int) -> None:
        """Note that an exchange with this number begins."""
        self._began[exchange] = now_ms

    def ended(self, exchanges: Iterable[int]) -> None:
        """Drop exchanges that have failed, or whose beginning is not known."""
        for exchange in exchanges:
            self._began.pop(exchange, None)

    def answered(self, exchange: int, peer: str, peer_ms: int, now_ms: int) -> None:
        """Compare with a peer that has answered an exchange at this time of its own clock."""
        self.advance(now_ms)
        began_ms = self._began.pop(exchange, None)
        if began_ms is None or began_ms > now_ms:
            return
        ahead_ms = max(0, peer_ms - now_ms) + min(0, peer_ms - began_ms)
        self._peers[peer] = Compared(ahead_ms, now_ms)
        self._compared_ms = now_ms
        self.has_compared = True
        self._judge()

    def advance(self, now_ms: int) -> None:
        """Advance the time, and drop comparisons that no longer count."""
        if now_ms < self._now_ms:
            self._peers.clear()
            self._began.clear()
            self._beyond_since_ms.clear()
            self._compared_ms = min(self._compared_ms, now_ms)
            self._stands_until_ms = now_ms + self._life_ms
        elif now_ms - self._now_ms > self._life_ms:
            # The clock was put forward, or the process was paused. That no peer has answered meanwhile means nothing.
            self._compared_ms = now_ms
        self._now_ms = now_ms
        for peer in [each for each, compared in self._peers.items() if now_ms - compared.at_ms > self._life_ms]:
            del self._peers[peer]
        if not self._peers and now_ms - self._compared_ms > self._life_ms:
            self._conclude(is_off=False)
            self._beyond_since_ms.clear()

    def tick(self, now_ms: int) -> None:
        """Advance the time, and judge this clock and those of the peers again."""
        self.advance(now_ms)
        if self._peers:
            self._judge()

    # Decisions

    def _reference_ms(self) -> int:
        """Return how far the reference is ahead of this clock."""
        clocks = sorted([0, *(compared.ahead_ms for compared in self._peers.values())])
        return clocks[(len(clocks) - 1) // 2]

    def _judge(self) -> None:
        off_ms = -self._reference_ms()
        is_off = self._is_beyond(off_ms, was_beyond=self.is_off)
        is_early = self._now_ms <= self._stands_until_ms and len(self._peers) < self._compared_with
        if self.is_off and not is_off and is_early:
            return
        if is_off and not is_early:
            self._compared_with = len(self._peers)
        self._off_ms = off_ms
        self._conclude(is_off=is_off)
        if self.is_off:
            # While this clock is off, the others only seem to be.
            self._beyond_since_ms.clear()
            return
        for peer, compared in sorted(self._peers.items()):
            self._judge_peer(peer, compared.ahead_ms)

    def _judge_peer(self, peer: str, ahead_ms: int) -> None:
        was_off = peer in self._peers_off
        if not self._is_beyond(ahead_ms, was_beyond=was_off):
            self._beyond_since_ms.pop(peer, None)
            if was_off:
                self._peers_off.remove(peer)
                self._note(Notice("peer_clock_right_again", {"peer": peer}, is_warning=True))
            return
        since_ms = self._beyond_since_ms.setdefault(peer, self._now_ms)
        if not was_off and self._now_ms - since_ms >= self._life_ms:
            self._peers_off.add(peer)
            fields: dict[str, object] = {
                "peer": peer,
                "clock": f"{_apart(ahead_ms)} this member's",
                "consequence": _PEER_IS_AHEAD if ahead_ms > 0 else _PEER_IS_BEHIND,
                "remedy": _REMEDY,
            }
            self._note(Notice("peer_clock_off", fields, is_warning=True))

    def _note(self, notice: Notice) -> None:
        self.outbox.say_lasting(notice)

    def _is_beyond(self, ahead_ms: int, *, was_beyond: bool) -> bool:
        limit_ms = self._skew_ms_max * (1 - RETURN_SHARE) if was_beyond else self._skew_ms_max
        return abs(ahead_ms) > limit_ms

    def _conclude(self, *, is_off: bool) -> None:
        if is_off == self.is_off:
            return
        self.is_off = is_off
        if is_off:
            fields = {"clock": self._text(), "compared_with": len(self._peers), "consequence": self._consequence}
            self._note(Notice("clock_off", {**fields, "remedy": _REMEDY}, is_warning=True))
        elif self._peers:
            self._note(Notice("clock_right_again", {"consequence": _AGAIN}, is_warning=True))
        else:
            reason = "no other member answers, so its clock cannot be compared"
            self._note(Notice("clock_no_longer_off", {"reason": reason, "consequence": _AGAIN}, True))

    def _text(self) -> str:
        return f"{_apart(self._off_ms)} the others'"

    @property
    def _consequence(self) -> str:
        return _IS_AHEAD if self._off_ms > 0 else _IS_BEHIND

    # Questions

    def check(self) -> None:
        """Do nothing if this member may take writes. Raises OwnClockOffError, which says what to do, if its clock is
        off."""
        if self.is_off:
            raise OwnClockOffError(
                f"the clock of this member is {self._text()}, and at most {_duration(self._skew_ms_max)} is tolerated; "
                f"{self._consequence}: {_REMEDY}, or write to another member",
                stored=False,
            )

    def compared(self, peer: str) -> Compared | None:
        """Return the last comparison with a peer; None once it no longer counts."""
        return self._peers.get(peer)

    def status(self) -> ClockStatus:
        """Return the report on this member's clock."""
        ahead_ms = self._off_ms if self._peers or self.is_off else None
        return ClockStatus(ahead_ms, self.is_off, len(self._peers))


def _apart(ahead_ms: int) -> str:
    return f"{_duration(abs(ahead_ms))} {'ahead of' if ahead_ms > 0 else 'behind'}"


def _duration(duration_ms: int) -> str:
    if duration_ms < 100_000:
        return f"{duration_ms / 1_000:.1f} s"
    return f"{duration_ms / 60_000:.0f} min" if duration_ms < 6_000_000 else f"{duration_ms / 3_600_000:.0f} h"


_IS_AHEAD = "it refuses writes, because the other members would refuse these rows"
_IS_BEHIND = "it refuses writes, because they would lose against rows that it has not seen"
_PEER_IS_AHEAD = "rows that it has stamped too far ahead are refused here"
_PEER_IS_BEHIND = "it refuses rows of this member"
_AGAIN = "it takes writes again"
_REMEDY = "set the clock right (chrony, NTP on its node)"
