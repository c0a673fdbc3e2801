"""The state of another member in the failure detector of this one."""

from __future__ import annotations

from dataclasses import dataclass

from gossipkv.core.membership.suspicion import Suspicion
from gossipkv.core.model.member import ALIVE, SUSPECT
from gossipkv.core.protocol.rumours import UNBORN, Life, Rumour


@dataclass(slots=True)
class Standing:
    """The state of one other member."""

    status: str = ALIVE
    life: Life = UNBORN
    since_ms: int = 0
    """Wall clock of this member when the status last changed."""
    suspicion: Suspicion | None = None
    is_probed: bool = True
    """Whether it exists, as far as discovery knows."""
    heard_ms: int | None = None
    """When it last answered, in the failure detector's own time."""
    told_ms: int | None = None
    """When it was last pinged outside of probes, because of a rumour about one of the two."""
    has_signed_off: bool = False
    """Whether its record says that it left in this life. A rumour alone may be false."""
    former: Life = UNBORN
    """The last state of the previous life: the later life may turn out to be the older one."""

    @property
    def is_living(self) -> bool:
        """Whether it counts as alive. A suspect does until its suspicion times out."""
        return self.is_probed and self.status in (ALIVE, SUSPECT)

    def accusation(self, member: str, accuser: str) -> tuple[Rumour, ...]:
        """What is held against it, if anything, as a rumour from this member."""
        if self.status == ALIVE:
            return ()
        return (Rumour(member, self.status, self.life, accuser if self.status == SUSPECT else ""),)
