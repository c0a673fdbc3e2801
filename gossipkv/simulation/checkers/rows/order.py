"""The writes that a member takes get their dots in the order in which they were handed in, and so do the operations of
a write.

A client may hand in a write before it hears of the last one, and the later one then wins. Counterexample: a batch does
not fit, it is divided, and its second half is run first. Then the row keeps the earlier value of the client.
"""

from __future__ import annotations

from collections.abc import Sequence

from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.write import Operation, Result, StoredWrite
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.world.host import Host


class WriteOrderChecker(Checker):
    """The checker that writes keep their order. The outcomes of a batch are told in the order of its inputs."""

    name = "write_order"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._last: dict[tuple[str, ReplicaId], int] = {}
        """The sequence of the last write that was acknowledged, by shard and replica."""

    def acknowledged(self, host: Host, shard: str, operations: Sequence[Operation], results: list[Result]) -> None:  # noqa: ARG002
        """Check that each write comes after the one that was acknowledged before."""
        for result in results:
            if isinstance(result, StoredWrite):
                last = self._last.get((shard, result.dot.replica), 0)
                self.require(last < result.dot.sequence, host.name, "acknowledged", last, "and then", result.dot)
                self._last[shard, result.dot.replica] = result.dot.sequence

    def set_back(self, host: Host) -> None:
        """Start again: the replica has forgotten its last writes."""
        for shard, replica in list(self._last):
            if replica == host.disk.replica:
                del self._last[shard, replica]
