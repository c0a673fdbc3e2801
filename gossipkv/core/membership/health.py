"""The state of another member in the failure detector of this one."""

from __future__ import annotations

from dataclasses import dataclass

from gossipkv.core.membership.suspicion import Suspicion
from gossipkv.core.model.member import ALIVE, SUSPECT
from gossipkv.core.protocol.rumours import UNBORN, Life, Rumour


@dataclass(slots=True)
class MemberHealth:
    """The state of one other member in the failure detector."""

    status: str = ALIVE
    life: Life = UNBORN
    since_ms: int = 0
    """The wall clock of this member when the status last changed."""
    suspicion: Suspicion | None = None
    is_probed: bool = True
    """Whether the member exists, as far as discovery knows."""
    heard_ms: int | None = None
    """The time of its last answer, in the failure detector's own time; None before the first."""
    told_ms: int | None = None
    """The time of the last ping outside of probes, in the failure detector's own time. Such pings report a rumour about
    one of the two."""
    has_signed_off: bool = False
    """Whether its record says that it left in this life. A rumour alone may be false."""
    former: Life = UNBORN
    """The last state of the previous life. It is kept because the later life may turn out to be the older one."""

    @property
    def is_living(self) -> bool:
        """Whether it counts as alive. A suspect does until its suspicion times out."""
        return self.is_probed and self.status in (ALIVE, SUSPECT)

    def accusation(self, member: str, accuser: str) -> tuple[Rumour, ...]:
        """Return the rumour that the member is suspect, dead or left, as a rumour from this member; empty if it is
        alive."""
        if self.status == ALIVE:
            return ()
        return (Rumour(member, self.status, self.life, accuser if self.status == SUSPECT else ""),)
