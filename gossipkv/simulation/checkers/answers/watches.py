"""A watcher is never sent an older state of a row, nor any version twice, and has the current state in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import Dot
from gossipkv.core.model.row import StoredRow
from gossipkv.core.watch.watching import WatchEvent
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.checkers.rows.derived import stored_rows
from gossipkv.simulation.world.host import Host


class WatchesChecker(Checker):
    """The checker that watchers see each row move forward, and see its last state."""

    name = "watches"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._last: dict[str, dict[bytes, StoredRow]] = {}
        """The last state of each row that a watcher was sent since its start or last reset, by watcher."""

    def watch_reset(self, watcher: str) -> None:
        """Forget what the watcher was sent: it starts again."""
        self._last.pop(watcher, None)

    def told(self, host: Host, watcher: str, told: WatchEvent) -> None:
        """Check that the row can be read at the member, and brings a new version. It must not bring a version that the
        watcher has seen superseded."""
        held = host.disk.committed_row(USER, told.address)
        self.require(
            all(host.disk.context(USER).covers(dot) for dot in _dots(told.row))
            or (held is not None and all(held.context.covers(dot) for dot in _dots(told.row))),
            *(watcher, "was told", told.row, "of", told.address, "which cannot be read yet at", host.name),
        )
        rows = self._last.setdefault(watcher, {})
        last = rows.get(told.address)
        if last is not None:
            known = _dots(last)
            fresh = [dot for dot in _dots(told.row) if dot not in known]
            self.require(bool(fresh), watcher, "was told", told.row, "of", told.address, "twice, after", last)
            # A tombstone that was collected here may come back from another member, and stand beside values.
            counted = _values(told.row) if told.row.is_visible else fresh
            self.require(
                not any(last.context.covers(dot) for dot in fresh if dot in counted),
                *(watcher, "was told", told.row, "of", told.address, "after what superseded it,", last),
            )
        rows[told.address] = (
            told.row if last is None else StoredRow(told.row.versions, last.context.joined(told.row.context))
        )

    def watches_ended(self, watchers: Mapping[str, bytes], hosts: Sequence[Host]) -> None:
        """Check that each watcher was last sent the current state of every row under its prefix."""
        rows = stored_rows(hosts[0], USER)
        for watcher in watchers:
            for address, told in self._last.get(watcher, {}).items():
                self.require(
                    # A row that no member can read has not been deleted.
                    not told.is_visible or address in rows or (USER, address) in self.history.given_up,
                    *(watcher, "was last told", told, "of", address, "and neither of its deletion nor of a reset"),
                )
        for address, row in stored_rows(hosts[0], USER).items():
            if self.history.is_outranked_by_collected(USER, address, row.winner.rank):
                # A new member made this write concurrently with a tombstone, which outranked it until it was collected.
                continue
            for watcher in [watcher for watcher, prefix in watchers.items() if address.startswith(prefix)]:
                last = self._last.get(watcher, {}).get(address)
                self.require(
                    _values(last) == _values(row),
                    *(watcher, "was last told", last, "of", address, "but there is", row),
                )


def _values(row: StoredRow | None) -> list[Dot]:
    """Return the values that a reader finds. Members may differ in tombstones, even next to values."""
    return [version.dot for version in row.versions if version.value is not None] if row is not None else []


def _dots(row: StoredRow) -> list[Dot]:
    return [version.dot for version in row.versions]
