"""Every wait for copies, answers, members or a receipt ends with an answer, unless the member crashes.

A process stops gracefully if its member leaves or sets its data aside. Before it stops, it tells every client the state
of its wait. A client that withdraws is told the state of its wait. A member that does not know the wait has lost it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.host import Host


class Waits(Checker):
    """The checker that every wait ends with an answer."""

    name = "waits"

    def stopped(self, host: Host, waiting: Sequence[int]) -> None:
        """Check that no client still waits when its process stops gracefully."""
        self.require(not waiting, host.name, "stops before it has answered the waits under", waiting)

    def withdrawn(self, host: Host, ticket: int, standing: object) -> None:
        """Check that a client that withdraws is told the state of its wait."""
        self.require(standing is not None, host.name, "knows nothing of the wait under", ticket)
