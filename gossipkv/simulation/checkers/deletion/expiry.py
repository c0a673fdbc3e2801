"""An expired value becomes a tombstone at every member. The value does not come back to a replica that held the
tombstone, unless the tombstone could no longer be read there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import Dot, ReplicaId
from gossipkv.core.model.row import Version
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.checkers.rows.derived import stored_rows
from gossipkv.simulation.world.disk import Commit
from gossipkv.simulation.world.host import Host


class ExpiriesChecker(Checker):
    """The checker that expired values go, and do not come back."""

    name = "expiry"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._gone: dict[ReplicaId, set[Dot]] = defaultdict(set)

    def committed(self, commit: Commit) -> None:
        """Check that no value is stored again that a tombstone of its expiry has replaced at this replica."""
        stood = dict(commit.before)
        gone = self._gone[commit.disk.replica]
        for shard, address, row in commit.puts:
            if shard != USER or row is None:
                stood[shard, address] = row
                continue
            if not self._may_be_older(commit, address):
                for version in row.versions:
                    self.require(version.dot not in gone, commit.disk.member, "has again what had expired:", version)
            old = stood[shard, address]
            if old is not None and any(version.is_tombstone and version.expires_ms for version in row.versions):
                kept = {version.dot for version in row.versions}
                gone |= {version.dot for version in old.versions if _expires(version) and version.dot not in kept}
            stood[shard, address] = row

    def _may_be_older(self, commit: Commit, address: bytes) -> bool:
        """Return whether the copy may have replaced a later one that could not be read."""
        return (
            address in commit.disk.lacking_of(USER)
            or (USER, address) in commit.recalled
            or (USER, address) in self.history.given_up
        )

    def ended(self, hosts: Sequence[Host]) -> None:
        """Check that no member holds a value with an expiry: all have expired by now."""
        for host in hosts:
            left = [row for row in stored_rows(host, USER).values() if any(map(_expires, row.versions))]
            self.require(not left, host.name, "still holds what has expired:", left)


def _expires(version: Version) -> bool:
    return version.value is not None and version.expires_ms is not None
