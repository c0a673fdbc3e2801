"""Members converge: after the faults, all become ready and hold the same rows under the same contexts."""

from __future__ import annotations

from collections.abc import Sequence

from gossipkv.core.model.address import NAMESPACES, RETIRED_TABLE, table_of
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.checkers.rows.derived import stored_rows
from gossipkv.simulation.world.host import Host

Versions = tuple[Version, ...]


class ConvergenceChecker(Checker):
    """The checker that all members are equal in the end."""

    name = "convergence"
    counts_tombstones = True
    """Whether tombstones must be equal too. In runs with copied volumes they need not be. There a last-write-wins
    tombstone may stay beside values at one member alone, if a name that covers it stands for another write there."""

    def ended(self, hosts: Sequence[Host]) -> None:
        """Check that all members hold what the first one holds, under the same contexts."""
        for shard in NAMESPACES:
            expected = self._versions(hosts[0], shard)
            for host in hosts[1:]:
                found = self._versions(host, shard)
                different = {a for a in {*expected, *found} if not _agree(expected.get(a, ()), found.get(a, ()))}
                self.require(not different, host.name, "differs from", hosts[0].name, "at", sorted(different))
                covers_the_same = host.disk.context(shard) == hosts[0].disk.context(shard)
                self.require(covers_the_same or self.history.has_stranger, host.name, "covers less or more")

    def _versions(self, host: Host, shard: str) -> dict[bytes, Versions | None]:
        """Return all rows; None for a row whose tombstone runs ahead of the context. Nothing is claimed of such a
        tombstone yet, and it may have replaced one that others still hold. A tombstone that some member has collected
        does not count either."""
        context = host.disk.context(shard)

        def is_nothing(address: bytes, version: Version) -> bool:
            is_known = context.covers(version.dot) and not self.history.is_buried(shard, address, version.dot)
            return version.value is None and not (is_known and self.counts_tombstones)

        def counting(address: bytes, row: StoredRow) -> Versions | None:
            return tuple([version for version in row.versions if not is_nothing(address, version)]) or None

        # Replicas that a stranger has invented are retired bit by bit. The run does not wait for that.
        return {
            address: counting(address, row)
            for address, row in stored_rows(host, shard).items()
            if not (self.history.has_stranger and table_of(address) == RETIRED_TABLE)
        }


def _agree(ours: Versions | None, theirs: Versions | None) -> bool:
    if ours is None or theirs is None:
        return all(version.value is None for version in (*(ours or ()), *(theirs or ())))
    return ours == theirs


class RoundsChecker(Checker):
    """The checker that every member keeps comparing itself with others, even if its clock has jumped."""

    name = "rounds"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._rounds: list[int] = []

    def converged(self, hosts: Sequence[Host]) -> None:
        """Record how many rounds each member has finished."""
        self._rounds = [self._finished(host) for host in hosts]

    def ended(self, hosts: Sequence[Host]) -> None:
        """Check that each member has finished more rounds since."""
        for host, rounds in zip(hosts, self._rounds, strict=True):
            # A single member has no one to compare itself with.
            self.require(len(hosts) == 1 or self._finished(host) > rounds, host.name, "has stopped its rounds")

    def _finished(self, host: Host) -> int:
        assert host.process is not None
        # A member that lacks a row is never in sync, if only members that are gone have the row.
        rounds = host.process.replica.tally.rounds
        return rounds["in_sync"] + rounds["delta"]
