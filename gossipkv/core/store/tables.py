"""The settings of tables, as rows of `sys.tables` hold them: one row of JSON per table of `usr`, with the table's name
as its key.

A setting applies to a member's writes from the time when the row has reached that member. Existing rows do not change:
each version records the setting that it was written under. In a table that changed from siblings to last-write-wins,
readers of a row with several versions find its winner. The next write replaces them all. In a table that changed the
other way, rows keep siblings from their next write on.

Until a member has learned the settings of others after its start, it does not know the setting of a table without a row
here. It then writes in a form that suits both settings (`Store.knows_settings`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from gossipkv.core.model.address import SYSTEM, TABLES_TABLE, address_of, key_of, table_of
from gossipkv.core.model.row import Conflicts, StoredRow
from gossipkv.core.protocol.messages import RowCopy
from gossipkv.core.store.storage import Reader
from gossipkv.rows.arguments.copies import copies_of, is_copies
from gossipkv.rows.arguments.invalid import InvalidInputError


class TableSettings(NamedTuple):
    """The settings of one table."""

    conflicts: Conflicts = Conflicts.LAST_WRITE_WINS
    w: int = 1
    """The number of durable copies before a write is answered, unless the request says otherwise."""
    r: int = 1
    """The number of members asked for a read, unless the request says otherwise."""

    def to_json(self) -> bytes:
        """Return the settings as a JSON object in UTF-8."""
        return json.dumps({"conflicts": self.conflicts.value, "w": self.w, "r": self.r}).encode()

    @classmethod
    def from_json(cls, stored: bytes) -> TableSettings:
        """Parse stored settings. A field that is absent or unknown to this member has its default. A newer member may
        have written it, and one wrong field must not change the meaning of the others."""
        try:
            fields = json.loads(stored)
        except (ValueError, RecursionError):
            return cls()
        if not isinstance(fields, dict):
            return cls()
        conflicts, w, r = fields.get("conflicts"), fields.get("w"), fields.get("r")
        return cls(
            _KINDS.get(conflicts if isinstance(conflicts, str) else "", Conflicts.LAST_WRITE_WINS),
            w if is_copies(w) else 1,
            r if is_copies(r) else 1,
        )

    def changed(self, given: object) -> TableSettings:
        """Return the settings with those that are given. Raises InvalidInputError, whose field is the setting."""
        if not isinstance(given, dict):
            raise InvalidInputError("settings", "are a JSON object in UTF-8")
        if unknown := sorted(str(name) for name in given.keys() - set(self._fields)):
            raise InvalidInputError(
                unknown[0], f"is not a setting of a table; the settings are: {', '.join(self._fields)}"
            )
        settings = self
        if "conflicts" in given:
            chosen = given["conflicts"]
            if not isinstance(chosen, str) or chosen not in _KINDS:
                raise InvalidInputError("conflicts", "is `lww` or `siblings`")
            settings = settings._replace(conflicts=_KINDS[chosen])
        if "w" in given:
            settings = settings._replace(w=copies_of("w", given["w"]))
        if "r" in given:
            settings = settings._replace(r=copies_of("r", given["r"]))
        return settings


DEFAULTS = TableSettings()
_KINDS = {kind.value: kind for kind in Conflicts}


def settings_address(table: str) -> bytes:
    """Return the address in `sys` of a table's settings."""
    return address_of(TABLES_TABLE, table.encode())


def settings_in(row: StoredRow | None) -> TableSettings | None:
    """Return the settings that a row of `sys.tables` holds; None if it has none."""
    return None if row is None or row.winner.value is None else TableSettings.from_json(row.winner.value)


def settings_of(reader: Reader, table: str) -> TableSettings | None:
    """Return the stored settings of a table; None if it has none."""
    return settings_in(reader.row(SYSTEM, settings_address(table)))


class Tables:
    """The settings of all tables that have any, in memory."""

    def __init__(self) -> None:
        self.settings: Mapping[str, TableSettings] = MappingProxyType({})
        """The settings by table. Replaced, never changed: snapshots hold it."""
        self.with_siblings: frozenset[bytes] = frozenset()
        """Names of the tables that keep siblings. Replaced, never changed: other threads may read it."""

    def load(self, reader: Reader) -> None:
        """Replace what is known by what is stored. A table whose settings cannot be read counts as one that keeps
        siblings."""
        prefix = address_of(TABLES_TABLE, b"")
        end = prefix[:-1] + b"\1"
        # A write that replaces nothing unseen is safe even if the settings cannot be read.
        unreadable = [
            key_of(address).decode(errors="replace") for address, _ in reader.quarantined(SYSTEM, prefix, end)
        ]
        self._follow(
            dict.fromkeys(unreadable, TableSettings(Conflicts.SIBLINGS)),
            (RowCopy(address, row) for address, row in reader.rows(SYSTEM, prefix, end)),
        )

    def follow(self, changed: Iterable[RowCopy]) -> None:
        """Learn from the current rows of `sys`."""
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
        """Return whether a row of settings is known for the table."""
        return table.decode() in self.settings
