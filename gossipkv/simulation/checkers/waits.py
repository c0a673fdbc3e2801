"""A wait for copies, for answers, for members or for a receipt ends with an answer.

Only a crash takes the answer away. A process that stops of its own will, because its member leaves or sets its data
aside, has told every client how its wait stands. A client that waits no longer is told how its wait stood: a member
that knows nothing of the wait has lost it.
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
        """A client that has been told nothing waits no longer; it is told how its wait stands."""
        self.require(standing is not None, host.name, "knows nothing of the wait under", ticket)
