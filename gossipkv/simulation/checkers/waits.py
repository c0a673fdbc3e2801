"""Every wait for copies, answers, members or a receipt ends with an answer, unless the member crashes.

A process that stops gracefully, because its member leaves or sets its data aside, first tells every client the state of
its wait. A client that withdraws is told the state of its wait; a member that does not know the wait has lost it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.host import Host


class Waits(Checker):
    name = "waits"

    def stopped(self, host: Host, waiting: Sequence[int]) -> None:
        self.require(not waiting, host.name, "stops, and has told nothing to those who wait under", waiting)

    def withdrawn(self, host: Host, ticket: int, standing: object) -> None:
        """A client without an answer withdraws, and is told the state of its wait."""
        self.require(standing is not None, host.name, "knows nothing of the wait under", ticket)
