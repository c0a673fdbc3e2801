"""Watchers are told each row in an order that never goes back, no version twice, and in the end its last one."""

from __future__ import annotations

from collections.abc import Sequence

from gossipkv.core.causality import Dot, ReplicaId
from gossipkv.core.watching import Told
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.derived import stored_rows
from gossipkv.simulation.history import History
from gossipkv.simulation.host import Host

TABLE = b"table0\0"


class Watches(Checker):
    name = "watches"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._told: dict[str, dict[bytes, tuple[tuple[int, ReplicaId], Dot]]] = {}

    def watch_reset(self, watcher: str) -> None:
        self._told.pop(watcher, None)

    def told(self, watcher: str, told: Told) -> None:
        winner = told.row.winner
        rows = self._told.setdefault(watcher, {})
        last = rows.get(told.address)
        self.require(
            last is None or winner.rank > last[0], watcher, "was told", winner, "of", told.address, "after", last
        )
        rows[told.address] = winner.rank, winner.dot

    def watches_ended(self, watchers: Sequence[str], hosts: Sequence[Host]) -> None:
        for address, row in stored_rows(hosts[0], "usr").items():
            for watcher in watchers:
                last = self._told.get(watcher, {}).get(address)
                is_told = last is not None and last[1] == row.winner.dot
                is_absent = last is None and not row.is_visible
                self.require(
                    not address.startswith(TABLE) or is_told or is_absent,
                    *(watcher, "was last told", last, "of", address, "where there is", row.winner),
                )
