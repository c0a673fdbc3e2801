"""How another member stands with the failure detector of this one."""

from __future__ import annotations

from dataclasses import dataclass

from gossipkv.core.member import ALIVE, DEAD, SUSPECT
from gossipkv.core.rumours import UNBORN, Life, Rumour
from gossipkv.core.suspicion import Suspicion


@dataclass(slots=True)
class Standing:
    """How one other member is taken to be."""

    status: str = ALIVE
    life: Life = UNBORN
    since_ms: int = 0
    """Wall clock of this member when the status last changed."""
    suspicion: Suspicion | None = None
    is_probed: bool = True
    """Whether it exists, as far as discovery knows."""
    heard_ms: int | None = None
    """In the time of this machine: when it last answered."""
    told_ms: int | None = None
    """And when it was last pinged beside the probes, for what either had said of the other."""
    former: Life = UNBORN
    """The life before this one, as it last was: the later one may turn out to be the older."""

    @property
    def is_living(self) -> bool:
        """A suspect is, until its suspicion has run out."""
        return self.is_probed and self.status in (ALIVE, SUSPECT)

    def accusation(self, member: str, accuser: str) -> tuple[Rumour, ...]:
        """What is held against it, if anything, as this member says it."""
        if self.status not in (SUSPECT, DEAD):
            return ()
        return (Rumour(member, self.status, self.life, accuser if self.status == SUSPECT else ""),)
