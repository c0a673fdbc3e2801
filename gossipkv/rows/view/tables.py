"""Tables: their counts and settings, and how these are changed.

A table exists if it has rows or settings; putting a row creates it. Settings are in `sys.tables`, one row per table of
`usr`, and replicate like all other rows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from gossipkv.core.model.address import SYSTEM, TABLES_TABLE, USER, is_address, key_of
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.store.storage import Counts, View
from gossipkv.core.store.tables import DEFAULTS, TableSettings, settings_address, settings_in, settings_of
from gossipkv.core.waits.answers import Reach
from gossipkv.rows.arguments.invalid import InvalidInputError, UnsupportedSettingError
from gossipkv.rows.view.key_range import KeyRange, key_range
from gossipkv.rows.view.refusals import written

_DELETES_MAX = 1_000
_EXAMINED_ROWS_MAX = 5_000


class Member(Protocol):
    """What this module asks of a member."""

    def view(self) -> View: ...

    def write(self, shard: str, operations: Sequence[Operation]) -> Awaitable[list[Result]]: ...

    def reach(self) -> Awaitable[Reach]: ...

    def conflicts(self, shard: str, table: str) -> int: ...


def described(member: Member, namespace: str, table: str) -> dict[str, Any] | None:
    """The counts and settings of a table; None if it has neither rows nor settings."""
    with member.view() as view:
        counts = view.table_counts(namespace).get(table, Counts())
        settings = settings_of(view, table) if namespace == USER else None
    if not counts.rows and settings is None:
        return None
    return _described(member, namespace, table, counts, settings)


def all_described(member: Member, namespace: str) -> list[dict[str, Any]]:
    """All tables of a namespace, by name."""
    with member.view() as view:
        counts = {table: held for table, held in view.table_counts(namespace).items() if held.rows}
        settings = _all_settings(view) if namespace == USER else {}
    return [
        _described(member, namespace, table, counts.get(table, Counts()), settings.get(table))
        for table in sorted(counts.keys() | settings.keys())
    ]


def _described(
    member: Member, namespace: str, table: str, counts: Counts, settings: TableSettings | None
) -> dict[str, Any]:
    return {
        "table": table,
        "rows": counts.rows,
        "tombstones": counts.tombstones,
        "value_bytes": counts.value_bytes,
        "conflicts_lost": member.conflicts(namespace, table),
        "settings": json.loads((settings or DEFAULTS).to_json()),
    }


def _all_settings(view: View) -> dict[str, TableSettings]:
    rows = view.rows(SYSTEM, *key_range(TABLES_TABLE))
    found = ((key_of(address).decode(), settings_in(row)) for address, row in rows)
    return {table: settings for table, settings in found if settings is not None}


async def configure(member: Member, table: str, given: dict[str, Any]) -> bool:
    """Change the given settings of a table; others stay. Returns whether it had settings before. Raises
    RequestError."""
    with member.view() as view:
        before = settings_of(view, table) or DEFAULTS
    try:
        settings = before.changed(given)
    except InvalidInputError as error:
        raise UnsupportedSettingError(str(error), error.field) from None
    for name, former, asked in (("w", before.w, settings.w), ("r", before.r, settings.r)):
        # With more than there are members, no write or read would be answered.
        if asked not in (1, former) and asked > (members := (await member.reach()).members):
            detail = f"`{name}` is {asked}, and the number of members is {members}: add members first, or set less"
            raise UnsupportedSettingError(detail, name)
    return written((await member.write(SYSTEM, (Operation(settings_address(table), settings.to_json()),)))[0]).existed


async def drop(member: Member, namespace: str, table: str, *, deletes_max: int = _DELETES_MAX) -> None:
    """Remove the settings of a table and delete all rows, in transactions of at most `deletes_max` rows; rows put in
    the meantime may stay. If interrupted, it has deleted some of the rows; it can be repeated."""
    keys = key_range(table)
    with member.view() as view:
        has_settings = settings_of(view, table) is not None
    if has_settings:
        await member.write(SYSTEM, (Operation(settings_address(table), None),))
    first: bytes | None = keys.first
    while first is not None:
        deletes, first = _deletes(member, namespace, KeyRange(first, keys.end), deletes_max)
        if deletes:
            await member.write(namespace, deletes)
        await asyncio.sleep(0)
    with member.view() as view:
        unreadable = list(view.quarantined(namespace, *keys))
    deletes = [Operation(address, None) for address, _ in unreadable if is_address(address)]
    if deletes:
        await member.write(namespace, deletes)


def _deletes(member: Member, namespace: str, keys: KeyRange, deletes_max: int) -> tuple[list[Operation], bytes | None]:
    """Deletes of some rows with values, and where the next ones begin; None at the end."""
    deletes: list[Operation] = []
    with member.view() as view:
        for examined, (address, row) in enumerate(view.rows(namespace, *keys)):
            if len(deletes) == deletes_max or examined == _EXAMINED_ROWS_MAX:
                return deletes, address
            if row.is_visible:
                deletes.append(Operation(address, None, seen=row.seen))
    return deletes, None
