"""An expired value becomes a tombstone at every member, and does not come back to a replica where it was one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from gossipkv.core.address import USER
from gossipkv.core.causality import Dot, ReplicaId
from gossipkv.core.row import Version
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.derived import stored_rows
from gossipkv.simulation.disk import Commit
from gossipkv.simulation.history import History
from gossipkv.simulation.host import Host


class Expiries(Checker):
    name = "expiry"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._gone: dict[ReplicaId, set[Dot]] = defaultdict(set)

    def committed(self, commit: Commit) -> None:
        stood = dict(commit.before)
        gone = self._gone[commit.disk.replica]
        for shard, address, row in commit.puts:
            if shard != USER or row is None:
                stood[shard, address] = row
                continue
            for version in row.versions:
                self.require(version.dot not in gone, commit.disk.member, "has again what had expired:", version)
            old = stood[shard, address]
            if old is not None and any(version.is_tombstone and version.expires_ms for version in row.versions):
                kept = {version.dot for version in row.versions}
                gone |= {version.dot for version in old.versions if _expires(version) and version.dot not in kept}
            stood[shard, address] = row

    def ended(self, hosts: Sequence[Host]) -> None:
        for host in hosts:
            left = [row for row in stored_rows(host, USER).values() if any(map(_expires, row.versions))]
            self.require(not left, host.name, "still holds what has expired:", left)


def _expires(version: Version) -> bool:
    return version.value is not None and version.expires_ms is not None
