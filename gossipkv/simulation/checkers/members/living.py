"""No member is declared dead before its suspicion has timed out, a refuted suspicion has no effect, and a running
member does not stay dead.

A rumour of a death names the life that it is about. Some member must have suspected the same life before, at least for
the time of the shortest suspicion. Clocks that jump may shorten this time here.
"""

from __future__ import annotations

from collections.abc import Sequence

from gossipkv.core.model.member import ALIVE, DEAD, SUSPECT
from gossipkv.core.model.tally import Notice
from gossipkv.core.protocol.rumours import Life
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.world.host import Host

SUSPICION_PERIODS_MIN = 0.5
"""The minimum duration of a suspicion, in protocol periods. The shortest suspicion lasts 1.9 periods, and clocks that
are put forward by less than a period shorten it."""


class LivingChecker(Checker):
    """The checker that deaths are declared rightly."""

    name = "living"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._suspected_ms: dict[tuple[str, Life], int] = {}
        """The true time at which a life of a member was first suspected."""
        self._refuted: dict[tuple[object, str, int], int] = {}
        """The greatest number of refutations heard of, by process, member and start of a life."""

    def noticed(self, host: Host, notices: Sequence[Notice]) -> None:
        """Follow suspicions and refutations, and check each death."""
        process = host.process
        for notice in notices:
            if process is None or notice.event not in (f"member_{ALIVE}", f"member_{SUSPECT}", f"member_{DEAD}"):
                continue
            member = str(notice.fields["peer"])
            life = Life(int(str(notice.fields["incarnation"])), int(str(notice.fields["refutations"])))
            now_ms = host.now_ms() - host.skew_ms
            key = (process, member, life.start)
            if notice.event == f"member_{SUSPECT}":
                self._suspected_ms.setdefault((member, life), now_ms)
            elif notice.event == f"member_{ALIVE}":
                self._refuted[key] = max(life.refutations, self._refuted.get(key, 0))
            elif not self.history.has_stranger:
                self._check_death(host, member, life, now_ms, self._refuted.get(key, 0))

    def _check_death(self, host: Host, member: str, life: Life, now_ms: int, refuted: int) -> None:
        assert host.process is not None
        since_ms = self._suspected_ms.get((member, life), now_ms)
        least_ms = SUSPICION_PERIODS_MIN * host.process.replica.options.protocol_period_ms
        self.require(
            now_ms - since_ms >= least_ms,
            host.name, "takes", member, "in", life, "for dead after", now_ms - since_ms, "ms of suspicion",
        )  # fmt: skip
        self.require(life.refutations >= refuted, host.name, "takes", member, "for dead, which has refuted", life)

    def ended(self, hosts: Sequence[Host]) -> None:
        """Check that no member holds a running one to be dead."""
        running = {host.name for host in hosts if host.is_up}
        for host in hosts:
            for peer in host.process.replica.peers if host.process is not None else ():
                is_wrong = peer.member in running and peer.status == DEAD
                self.require(not is_wrong, host.name, "still takes", peer.member, "for dead, which runs")
