"""What is told of members, which word outdoes which, and how often each is passed on.

A member's life is named by a pair: the incarnation that it started with, which its record in `sys.members` bears too,
and how often it has refuted a word against it since. So a refutation never needs an incarnation that a later start, or
another record under its name, could claim.

Of two words the later life counts. Within one start `left` outdoes all, and stays until a later start; else more
refutations do, and at equal ones dead outdoes suspect, and suspect alive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from gossipkv.core.member import ALIVE, DEAD, LEFT, SUSPECT

RUMOURS_PER_MESSAGE_MAX = 12
"""A message of theirs stays below 1.5 kB with names as pods have them."""

RETRANSMISSIONS = 4
"""Times log10(n + 1), rounded up: how often one member sends a rumour. `lambda` of the SWIM paper, section 4.1."""

STATUSES = (ALIVE, SUSPECT, DEAD, LEFT)
"""In the order in which they outdo each other, and by number on the wire."""


class Life(NamedTuple):
    start: int
    refutations: int


UNBORN = Life(0, 0)
"""Less than any life."""


class Rumour(NamedTuple):
    member: str
    status: str
    life: Life
    accuser: str = ""
    """Who could not reach it, where the status is suspect: several make it die sooner."""

    @property
    def rank(self) -> tuple[int, bool, int, int]:
        return rank(self.status, self.life)


def rank(status: str, life: Life) -> tuple[int, bool, int, int]:
    """Of two words on a member the greater one counts."""
    if status == LEFT:
        return (life.start, True, 0, 0)
    return (life.start, False, life.refutations, STATUSES.index(status))


@dataclass(slots=True)
class _Spreading:
    rumour: Rumour
    times: int = 0


class Rumours:
    """Those that this member still passes on."""

    def __init__(self) -> None:
        self._spreading: dict[tuple[str, str], _Spreading] = {}

    def __bool__(self) -> bool:
        return bool(self._spreading)

    def add(self, rumour: Rumour) -> None:
        """Pass it on from now on, in place of what it outdoes."""
        stale = [key for key, old in self._spreading.items() if self._is_outdone(old.rumour, rumour)]
        for key in stale:
            del self._spreading[key]
        self._spreading[rumour.member, rumour.accuser] = _Spreading(rumour)

    def drop(self, member: str) -> None:
        for key in [key for key in self._spreading if key[0] == member]:
            del self._spreading[key]

    def take(self, members: int) -> tuple[Rumour, ...]:
        """Those for the next message in a cluster of so many: the ones sent least first."""
        if not self._spreading:
            return ()
        times_max = math.ceil(RETRANSMISSIONS * math.log10(members + 1))
        chosen = sorted(self._spreading.items(), key=lambda entry: (entry[1].times, entry[0]))
        chosen = chosen[:RUMOURS_PER_MESSAGE_MAX]
        for key, spreading in chosen:
            spreading.times += 1
            if spreading.times >= times_max:
                del self._spreading[key]
        return tuple(spreading.rumour for _, spreading in chosen)

    @staticmethod
    def _is_outdone(old: Rumour, new: Rumour) -> bool:
        return old.member == new.member and (old.rank < new.rank or old.accuser == new.accuser)
