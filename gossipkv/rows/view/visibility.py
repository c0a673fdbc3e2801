"""What a reader finds in a row: its values that have not expired. If there are several, a reader finds all in a table
that keeps siblings. In a table where the last write wins, which may hold siblings from before a change of its setting,
it finds the winner."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gossipkv.core.model.address import USER, table_of
from gossipkv.core.model.row import Conflicts, StoredRow, Version
from gossipkv.core.store.storage import View
from gossipkv.core.store.tables import settings_of


def readable(view: View, namespace: str, address: bytes, row: StoredRow, now_ms: int) -> tuple[Version, ...]:
    """The visible versions, greatest rank first; empty if a reader finds no row."""
    if len(row.versions) == 1:
        return row.versions if row.versions[0].is_visible_at(now_ms) else ()
    if keeps_siblings(view, namespace, address):
        return row.visible_at(now_ms)
    return row.versions[:1] if row.winner.is_visible_at(now_ms) else ()


def keeps_siblings(view: View, namespace: str, address: bytes) -> bool:
    """Whether the row's table keeps siblings, by its settings."""
    settings = settings_of(view, table_of(address)) if namespace == USER else None
    return settings is not None and settings.conflicts is Conflicts.SIBLINGS


class Sight(NamedTuple):
    """What a watcher finds in a row that has changed."""

    visible: tuple[Version, ...]
    """Greatest rank first; empty if a reader finds no row."""
    keeps_siblings: bool
    """Whether the table keeps siblings, so that a write gives the context of this change."""

    def has_expired(self, row: StoredRow) -> bool:
        """Whether a row that no reader finds has expired, even if its tombstone does not exist yet."""
        return not self.visible and row.winner.expires_ms is not None


def sight_of(open_view: Callable[[], View], namespace: str, address: bytes, row: StoredRow, now_ms: int) -> Sight:
    if not row.keeps_siblings and len(row.versions) == 1:
        return Sight(row.visible_at(now_ms), False)
    with open_view() as view:
        return Sight(readable(view, namespace, address, row, now_ms), keeps_siblings(view, namespace, address))
