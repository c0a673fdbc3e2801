"""Members converge: after the faults, all become ready and hold the same rows under the same contexts."""

from __future__ import annotations

from collections.abc import Sequence

from gossipkv.core.model.address import NAMESPACES, RETIRED_TABLE, table_of
from gossipkv.core.model.row import Row, Version
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.derived import stored_rows
from gossipkv.simulation.history import History
from gossipkv.simulation.host import Host

Versions = tuple[Version, ...]


class Convergence(Checker):
    name = "convergence"
    counts_tombstones = True
    """Not among copies of volumes: a tombstone that the last write wins by may stay beside values at one member alone,
    because a name that covers it stands for another write there."""

    def ended(self, hosts: Sequence[Host]) -> None:
        for shard in NAMESPACES:
            expected = self._versions(hosts[0], shard)
            for host in hosts[1:]:
                found = self._versions(host, shard)
                different = {a for a in {*expected, *found} if not _agree(expected.get(a, ()), found.get(a, ()))}
                self.require(not different, host.name, "differs from", hosts[0].name, "at", sorted(different))
                covers_the_same = host.disk.context(shard) == hosts[0].disk.context(shard)
                self.require(covers_the_same or self.history.has_stranger, host.name, "covers less or more")

    def _versions(self, host: Host, shard: str) -> dict[bytes, Versions | None]:
        """All rows. None for one whose tombstone runs ahead of the context: nothing is claimed of that yet, and it may
        have taken the place of a tombstone that others still hold. Nor does a tombstone count that someone has
        collected."""
        context = host.disk.context(shard)

        def is_nothing(address: bytes, version: Version) -> bool:
            is_known = context.covers(version.dot) and not self.history.is_buried(shard, address, version.dot)
            return version.value is None and not (is_known and self.counts_tombstones)

        def counting(address: bytes, row: Row) -> Versions | None:
            return tuple([version for version in row.versions if not is_nothing(address, version)]) or None

        # What a stranger has invented is retired bit by bit, and that is not waited for.
        return {
            address: counting(address, row)
            for address, row in stored_rows(host, shard).items()
            if not (self.history.has_stranger and table_of(address) == RETIRED_TABLE)
        }


def _agree(ours: Versions | None, theirs: Versions | None) -> bool:
    if ours is None or theirs is None:
        return all(version.value is None for version in (*(ours or ()), *(theirs or ())))
    return ours == theirs


class Rounds(Checker):
    """Every member keeps comparing itself with others, even if its clock has jumped."""

    name = "rounds"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._rounds: list[int] = []

    def converged(self, hosts: Sequence[Host]) -> None:
        self._rounds = [self._finished(host) for host in hosts]

    def ended(self, hosts: Sequence[Host]) -> None:
        for host, rounds in zip(hosts, self._rounds, strict=True):
            self.require(self._finished(host) > rounds, host.name, "has stopped its rounds")

    def _finished(self, host: Host) -> int:
        assert host.process is not None
        # A member that lacks a row, which one that is gone may have, is never in sync.
        rounds = host.process.replica.tally.rounds
        return rounds["in_sync"] + rounds["delta"]
