"""I1: a version is dropped only for one of greater rank. I3: a dot names one write, forever."""

from __future__ import annotations

from gossipkv.core.address import USER
from gossipkv.core.row import Version
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.disk import Commit


class Successors(Checker):
    name = "I1_successors"

    def committed(self, commit: Commit) -> None:
        stood = dict(commit.before)
        for shard, address, row in commit.puts:
            old = stood[shard, address]
            self.require(
                old is None or row is None or row.winner.rank >= old.winner.rank,
                commit.disk.member, "dropped", old and old.winner, "for", row and row.winner, "at", address,
            )  # fmt: skip
            stood[shard, address] = row


def _is_expiry(version: Version) -> bool:
    return version.value is None and version.expires_ms is not None


class Dots(Checker):
    name = "I3_dots"

    def committed(self, commit: Commit) -> None:
        for shard, address, row in commit.puts:
            for version in row.versions if row else ():
                self._check(commit, shard, address, version)

    def _check(self, commit: Commit, shard: str, address: bytes, version: Version) -> None:
        dot = version.dot
        known = self.history.find(shard, dot)
        if known is None and dot.replica == commit.disk.replica:
            self.require(
                dot.sequence == self.history.sequence_of(shard, dot.replica) + 1,
                commit.disk.member, "left out sequences before", dot,
            )  # fmt: skip
            self.require(
                shard != USER or _is_expiry(version) or (address, version.value) in self.history.requested,
                commit.disk.member, "wrote", version, "at", address, "that no client asked for",
            )  # fmt: skip
            self.history.add(shard, address, version)
            return
        self.require(
            known is not None and known[:3] == (address, version.timestamp, version.value),
            commit.disk.member, "holds", version, "at", address, "where", dot, "names", known,
        )  # fmt: skip
