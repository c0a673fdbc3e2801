"""Rumours about members: which one overrides which, and how often each is sent.

A member's life is named by a pair: the incarnation that it started with, which is also in its record in `sys.members`,
and its number of refutations since. So a refutation never uses an incarnation that a later start, or another record
under the same name, could claim.

Of two rumours about a member, the one about the later start wins. Within one start, `left` overrides everything.
Otherwise the greater number of refutations wins, and at equal numbers `dead` overrides `suspect`, and `suspect`
overrides `alive`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from gossipkv.core.model.member import ALIVE, DEAD, LEFT, SUSPECT

RUMOURS_PER_MESSAGE_MAX = 12
"""Maximum number of rumours in a message. It keeps a message below 1.5 kB with names like those of pods."""

RETRANSMISSIONS = 4
"""A member sends a rumour this many times log10(n + 1), rounded up. `lambda` of the SWIM paper, section 4.1."""

STATUSES = (ALIVE, SUSPECT, DEAD, LEFT)
"""The statuses in ascending precedence; the index is the number on the wire."""


class Life(NamedTuple):
    """A run of a member: the incarnation at its start, and the number of its refutations since."""

    start: int
    refutations: int


UNBORN = Life(0, 0)
"""A life that is less than any other."""


class Rumour(NamedTuple):
    """A statement about the status of a member in one life."""

    member: str
    status: str
    life: Life
    accuser: str = ""
    """The member that could not reach it, if the status is suspect. Several accusers shorten the suspicion."""

    @property
    def rank(self) -> tuple[int, bool, int, int]:
        """The order of rumours about a member: the greater one wins."""
        return rank(self.status, self.life)


def rank(status: str, life: Life) -> tuple[int, bool, int, int]:
    """Return the order of rumours about a member: the greater one wins."""
    if status == LEFT:
        return (life.start, True, 0, 0)
    return (life.start, False, life.refutations, STATUSES.index(status))


@dataclass(slots=True)
class _Spreading:
    rumour: Rumour
    times: int = 0


class Rumours:
    """The rumours that this member still sends."""

    def __init__(self) -> None:
        self._spreading: dict[tuple[str, str], _Spreading] = {}

    def __bool__(self) -> bool:
        return bool(self._spreading)

    def add(self, rumour: Rumour) -> None:
        """Send this rumour from now on, instead of those that it overrides."""
        stale = [key for key, old in self._spreading.items() if self._is_outdone(old.rumour, rumour)]
        for key in stale:
            del self._spreading[key]
        self._spreading[rumour.member, rumour.accuser] = _Spreading(rumour)

    def drop(self, member: str) -> None:
        """Send nothing about a member any longer."""
        for key in [key for key in self._spreading if key[0] == member]:
            del self._spreading[key]

    def take(self, members: int) -> tuple[Rumour, ...]:
        """Return the rumours for the next message in a cluster of this size, and count them as sent. Those sent least
        often come first."""
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
