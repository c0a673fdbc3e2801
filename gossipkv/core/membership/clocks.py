"""Compares this member's clock with the clocks of the others, and decides whether it is off.

A row that is stamped more than `clock_skew_ms_max` ahead of a member's clock is refused there. So a member whose clock
is that far ahead would acknowledge writes that no other member takes in. A member whose clock is that far behind
refuses the rows of all others, and its own writes lose against rows that it has not seen. Either takes no write of a
client until its clock is right. It still serves reads, gossips and writes its own record.

*How a clock is compared.* Only the answer to an exchange that this member began counts. The peer's clock was read
between the beginning and the end of the exchange, so the difference lies between two bounds. The one closer to zero
counts. Counterexample for requests of peers: a process is paused for 20 minutes, and a request waits for it in the
kernel. The request says nothing of the peer's clock, which seems to be 20 minutes behind.

*Whose clock is off.* The reference is the median of all clocks compared, this member's own included; of an even number,
the lower of the two in the middle. A member is off if its clock differs from the reference by more than the limit.

- Of three members, the one that differs from the other two is off.
- Of two members, nobody can tell whose clock is wrong. The later one is off: the other one would refuse its rows, while
  it takes in the other one's. Counterexample for a rule that stops both, or that stops the earlier one: both members
  refuse writes, or the only one that goes on writes rows that the other one refuses.
- The member with the reference clock is never off. So among members that reach each other, one always takes writes.

*How long it holds.* A comparison counts for `COMPARED_INTERVALS` gossip intervals. When the clock is set back, earlier
comparisons say nothing any more. That a member is off then stands for as long, until as many clocks have been compared
as before. Counterexample to judging by the next comparison: the clock of one of three members is far behind and is set
back a little further; against the first of the other two nobody could tell whose clock is wrong, and it takes a write.
A member that reaches nobody for as long takes writes.

*When the log calls a peer off.* Once the two clocks have differed for as long, and this one has not been off meanwhile.
By then all peers that answer have been compared. Counterexample for a rule that calls it off at once: the clock of this
member falls behind, the first peer that answers is called off, and the second answer shows that it is this clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.tally import Notice

COMPARED_INTERVALS = 10
RETURN_SHARE = 0.1
"""Hysteresis: a clock is right again when it is this share of the limit closer than that."""


class ClockOffError(Exception):
    """The clock of this member is off, so it takes no writes. Nothing was stored."""


class Compared(NamedTuple):
    ahead_ms: int
    """How far the peer's clock is ahead of this one's, at least."""
    at_ms: int


@dataclass(frozen=True, slots=True)
class ClockStatus:
    """A member's report on its clock."""

    ahead_ms: int | None
    """How far its clock is ahead of the reference; None if no other clock was compared with."""
    is_off: bool
    """Whether it takes no writes because of that."""
    compared: int
    """The number of other clocks compared with."""


class Clocks:
    """The comparisons of one member."""

    def __init__(self, skew_ms_max: int, gossip_interval_ms: int, outbox: Outbox, now_ms: int) -> None:
        self.is_off = False
        self.has_compared = False
        """Whether any clock has been compared since the process began."""
        self._skew_ms_max = skew_ms_max
        self._life_ms = COMPARED_INTERVALS * gossip_interval_ms
        self._began: dict[int, int] = {}
        """When each exchange under way began, by number."""
        self._peers: dict[str, Compared] = {}
        self._off_ms = 0
        """How far this clock was ahead of the reference when it was last compared."""
        self._now_ms = now_ms
        self._compared_with = 0
        """The number of clocks compared with when this one was last found off."""
        self._stands_until_ms = now_ms
        """Until then what was found before the clock was set back stands against fewer comparisons."""
        self._compared_ms = now_ms
        """When a clock was last compared."""
        self._beyond_since_ms: dict[str, int] = {}
        """Since when each peer has differed from this clock by more than the limit."""
        self._peers_off: set[str] = set()
        """Peers that the log calls off."""
        self.outbox = outbox

    # Comparisons

    def began(self, exchange: int, now_ms: int) -> None:
        self._began[exchange] = now_ms

    def ended(self, exchanges: Iterable[int]) -> None:
        """These exchanges have failed, or will never be known to have begun."""
        for exchange in exchanges:
            self._began.pop(exchange, None)

    def answered(self, exchange: int, peer: str, peer_ms: int, now_ms: int) -> None:
        """A peer has answered an exchange at this time of its own clock."""
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
            # The clock was put forward, or the process was paused: that no peer has answered meanwhile means nothing.
            self._compared_ms = now_ms
        self._now_ms = now_ms
        for peer in [each for each, compared in self._peers.items() if now_ms - compared.at_ms > self._life_ms]:
            del self._peers[peer]
        if not self._peers and now_ms - self._compared_ms > self._life_ms:
            self._conclude(is_off=False)
            self._beyond_since_ms.clear()

    def tick(self, now_ms: int) -> None:
        self.advance(now_ms)
        if self._peers:
            self._judge()

    # Decisions

    def _reference_ms(self) -> int:
        """How far the reference is ahead of this clock."""
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
            # Then the others seem to be off, and are not.
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
        """Raises ClockOffError."""
        if self.is_off:
            raise ClockOffError(
                f"the clock of this member is {self._text()}, and at most {_duration(self._skew_ms_max)} is tolerated; "
                f"{self._consequence}: {_REMEDY}, or write to another member"
            )

    def compared(self, peer: str) -> Compared | None:
        """The last comparison with a peer, while it counts."""
        return self._peers.get(peer)

    def status(self) -> ClockStatus:
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
