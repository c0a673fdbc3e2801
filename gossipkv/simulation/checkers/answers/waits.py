"""Every wait for copies, answers, members or a receipt ends with an answer by its deadline, unless the member crashes.

A process stops gracefully if its member leaves or sets its data aside. Before it stops, it tells every client the state
of its wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.world.host import Host


class WaitsChecker(Checker):
    """The checker that every wait ends with an answer."""

    name = "waits"

    def stopped(self, host: Host, waiting: Sequence[int]) -> None:
        """Check that no client still waits when its process stops gracefully."""
        self.require(not waiting, host.name, "stops before it has answered the waits under", waiting)

    def looked(self, host: Host, ticket: int, *, has_ended: bool) -> None:
        """Check that a wait whose deadline has passed has ended."""
        self.require(has_ended, host.name, "has told nothing to the client that waits under", ticket)
