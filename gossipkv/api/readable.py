"""What a reader finds in a row: its values that have not expired. If there are several, a reader finds all in a table
that keeps siblings. In a table where the last write wins, which may hold siblings from before a change of its setting,
it finds the winner."""

from __future__ import annotations

from gossipkv.core.model.address import USER, table_of
from gossipkv.core.model.row import Conflicts, Row, Version
from gossipkv.core.store.storage import View
from gossipkv.core.store.tables import settings_of


def readable(view: View, namespace: str, address: bytes, row: Row, now_ms: int) -> tuple[Version, ...]:
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
