"""The time that a member may be suspect before it is declared dead.

This is Lifeguard's suspicion. It begins long, because the suspecting member may itself be at fault. It shrinks with
each other member that could not reach the suspect either. Source: Dadgar, Phillips, Currey, "Lifeguard: Local Health
Awareness for More Accurate Failure Detection", 2018. The shortest one is that of SWIM with suspicion (Das, Gupta,
Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol", 2002, section 4.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

LONGEST = 6
"""The longest suspicion, in multiples of the shortest; beta of the Lifeguard paper."""


def shortest_ms(multiplier: int, members: int, period_ms: int) -> int:
    """Return multiplier * log10(n + 1) * period: time for the suspicion to reach the suspect and for its refutation to
    return."""
    return round(multiplier * math.log10(members + 1) * period_ms)


def confirmations_needed(multiplier: int, members: int) -> int:
    """Return the number of confirmations by others for the shortest suspicion; 0 if there are not enough others."""
    needed = max(0, multiplier - 2)
    return needed if needed <= members - 2 else 0


@dataclass(slots=True)
class Suspicion:
    """The suspicion of one member. Times are in the failure detector's own time."""

    began_ms: int
    shortest_ms: int
    needed: int
    accusers: set[str] = field(default_factory=set)

    def confirm(self, accuser: str) -> bool:
        """Note that a member confirms the suspicion; return whether this is new and still counts."""
        if accuser in self.accusers or len(self.accusers) > self.needed:
            return False
        self.accusers.add(accuser)
        return True

    @property
    def ends_ms(self) -> int:
        """The time at which the suspect counts as dead, unless it has refuted. Each confirmation makes it earlier."""
        if self.needed == 0:
            return self.began_ms + self.shortest_ms
        share = math.log(len(self.accusers)) / math.log(self.needed + 1) if self.accusers else 0.0
        longest_ms = LONGEST * self.shortest_ms
        return self.began_ms + max(self.shortest_ms, round(longest_ms - share * (longest_ms - self.shortest_ms)))
