"""Settings of tables, as rows of `sys.tables` hold them: a row per table of `usr`, named for it, JSON.

A setting counts for a member's writes from when the row has reached it. Rows that are there stay as they are: what a
version says of itself is what it was written under. In a table that went from siblings to last-write-wins a row with
several versions reads as its winner, and the next write replaces them all; in one that went the other way rows keep
siblings from their next write on.

A member that has not yet learned the settings of others since it started does not know what a table without a row of
settings is: there it writes what suits both (`Store.knows_settings`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from gossipkv.core.address import SYSTEM, TABLES_TABLE, address_of, key_of, table_of
from gossipkv.core.messages import RowCopy
from gossipkv.core.row import Conflicts, Row
from gossipkv.core.storage import Reader


class TableSettings(NamedTuple):
    conflicts: Conflicts = Conflicts.LAST_WRITE_WINS
    w: int = 1
    """Durable copies before a write is answered, where the request does not say."""
    r: int = 1
    """Members asked for a read, where the request does not say."""

    def to_json(self) -> bytes:
        return json.dumps({"conflicts": self.conflicts.value, "w": self.w, "r": self.r}).encode()

    @classmethod
    def from_json(cls, stored: bytes) -> TableSettings:
        """What is absent, or not known here, is at its default: a newer member may have written it."""
        try:
            fields = json.loads(stored)
            return cls(Conflicts(fields.get("conflicts", "lww")), int(fields.get("w", 1)), int(fields.get("r", 1)))
        except (ValueError, TypeError, AttributeError):
            return cls()


DEFAULTS = TableSettings()


def settings_address(table: str) -> bytes:
    return address_of(TABLES_TABLE, table.encode())


def settings_in(row: Row | None) -> TableSettings | None:
    """The settings that a row of `sys.tables` holds; None: it has none."""
    return None if row is None or row.winner.value is None else TableSettings.from_json(row.winner.value)


def settings_of(reader: Reader, table: str) -> TableSettings | None:
    return settings_in(reader.row(SYSTEM, settings_address(table)))


class Tables:
    """The settings of all tables that have any, in memory."""

    def __init__(self) -> None:
        self.settings: Mapping[str, TableSettings] = MappingProxyType({})
        """By table. Replaced, never changed: snapshots hold it."""
        self.with_siblings: frozenset[bytes] = frozenset()
        """Names of the tables that keep siblings. Replaced, never changed: other threads may look at it."""

    def load(self, reader: Reader) -> None:
        prefix = address_of(TABLES_TABLE, b"")
        self._follow({}, (RowCopy(address, row) for address, row in reader.rows(SYSTEM, prefix, prefix[:-1] + b"\1")))

    def follow(self, changed: Iterable[RowCopy]) -> None:
        """Learn from rows of `sys` as they now stand."""
        rows = [copy for copy in changed if table_of(copy.address) == TABLES_TABLE]
        if rows:
            self._follow(dict(self.settings), rows)

    def _follow(self, settings: dict[str, TableSettings], rows: Iterable[RowCopy]) -> None:
        for address, row in rows:
            held = settings_in(row)
            if held is None:
                settings.pop(key_of(address).decode(), None)
            else:
                settings[key_of(address).decode()] = held
        self.settings = MappingProxyType(settings)
        self.with_siblings = frozenset(
            table.encode() for table, held in settings.items() if held.conflicts is Conflicts.SIBLINGS
        )

    def has(self, table: bytes) -> bool:
        """Whether a row of settings is known for the table."""
        return table.decode() in self.settings
