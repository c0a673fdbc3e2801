"""I1: a version is dropped only for one of greater rank, or for itself when its replica stamps it again. I3: a dot
names one write, forever.
"""

from __future__ import annotations

from gossipkv.core.model.address import USER
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.world.disk import Commit


class SuccessorsChecker(Checker):
    """The checker of I1: the rank of a row never falls."""

    name = "I1_successors"

    def committed(self, commit: Commit) -> None:
        """Check that each new copy of a row has at least the rank of the copy before. Rows of invented replicas do not
        count."""
        stood = dict(commit.before)
        for shard, address, row in commit.puts:
            old = stood[shard, address]
            if old is not None and old.winner.dot.replica in self.history.invented:
                stood[shard, address] = row
                continue
            if row is not None and row.winner.dot.replica in self.history.invented:
                stood[shard, address] = row
                continue
            # A tombstone beside values counts as replaced if it has been collected elsewhere.
            held = [
                version
                for version in (old.versions if old is not None else ())
                if not (version.is_tombstone and self.history.is_buried(shard, address, version.dot))
            ]
            self.require(
                not held or row is None or row.winner.rank >= self.history.rank_now(shard, address, held[0].rank),
                commit.disk.member, "dropped", held and held[0], "for", row and row.winner, "at", address,
            )  # fmt: skip
            stood[shard, address] = row


def _is_expiry(version: Version) -> bool:
    return version.value is None and version.expires_ms is not None


def restamped(commit: Commit, old: StoredRow | None, row: StoredRow | None, version: Version) -> Version | None:
    """Return the version that this one repeats with an earlier timestamp, if the same replica wrote both; otherwise
    None."""
    if old is None or row is None or version.dot.replica != commit.disk.replica:
        return None
    kept = {held.dot for held in row.versions}
    for held in old.versions:
        is_own = held.dot.replica == version.dot.replica and held.dot.sequence < version.dot.sequence
        if is_own and held.dot not in kept and held.value == version.value and held.timestamp > version.timestamp:
            return held
    return None


class DotsChecker(Checker):
    """The checker of I3. It also adds each new write to the history."""

    name = "I3_dots"

    def committed(self, commit: Commit) -> None:
        """Check each version against the write that its dot names, and add new writes to the history."""
        stood = dict(commit.before)
        for shard, address, row in commit.puts:
            old = stood[shard, address]
            for version in sorted(row.versions, key=lambda version: version.dot) if row else ():
                former = restamped(commit, old, row, version)
                if former is not None and self.history.find(shard, version.dot) is None:
                    self.history.note_restamped(shard, address, former, version)
                self._check(commit, shard, address, version)
            stood[shard, address] = row

    def _check(self, commit: Commit, shard: str, address: bytes, version: Version) -> None:
        dot = version.dot
        if dot.replica in self.history.invented:
            return
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
            commit.disk.member, "holds", version, "at", address, "but", dot, "names", known,
        )  # fmt: skip
