"""A member whose data are outdated sends nothing and acknowledges nothing, from the batch on that shows it."""

from __future__ import annotations

from collections.abc import Sequence

from gossipkv.core.model.write import Operation, Result
from gossipkv.core.protocol.messages import Envelope
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.world.host import Host


class FencesChecker(Checker):
    name = "fences"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._fenced: Host | None = None
        """The member whose batch has shown it, until it sets its data aside."""

    def fencing(self, host: Host) -> None:
        self._fenced = host

    def fenced(self, host: Host) -> None:  # noqa: ARG002
        self._fenced = None

    def acknowledged(
        self,
        host: Host,
        shard: str,  # noqa: ARG002
        operations: Sequence[Operation],  # noqa: ARG002
        results: list[Result],
    ) -> None:
        self.require(host is not self._fenced, host.name, "acknowledges", results, "among data that are outdated")

    def leaving(self, host: Host, envelope: Envelope) -> None:
        self.require(host is not self._fenced, host.name, "sends", envelope, "though its data are outdated")
