"""Reads on one replica never go back in time, even across crashes, and return only values that were written."""

from __future__ import annotations

from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.row import StoredRow
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.world.host import Host


class ReadsChecker(Checker):
    """The checker that reads on one replica are monotonic."""

    name = "reads"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._latest: dict[tuple[ReplicaId, str, bytes], tuple[int, ReplicaId]] = {}

    def read(self, host: Host, shard: str, address: bytes, row: StoredRow | None) -> None:
        """Check a read against the latest read of the row on the same replica. A row that cannot be read starts
        again."""
        key = (host.disk.replica, shard, address)
        latest = self._latest.get(key)
        if latest is not None:
            latest = self.history.rank_now(shard, address, latest)
        if host.disk.is_missing(shard, address) or (shard, address) in self.history.given_up:
            self._latest.pop(key, None)
            return
        if row is None:
            self.require(
                latest is None or self.history.is_outranked_by_collected(shard, address, latest),
                host.name, "has forgotten the row", address,
            )  # fmt: skip
            self._latest.pop(key, None)
            return
        winner = row.winner
        self.require(
            latest is None or winner.rank >= latest, host.name, "went back at", address, "from", latest, "to", winner
        )
        self.require(
            (address, winner.value) in self.history.requested
            or (winner.is_tombstone and winner.expires_ms is not None),
            host.name,
            "reads",
            winner,
            "that no client wrote",
        )
        self._latest[key] = winner.rank
