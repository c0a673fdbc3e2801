"""Rows in set-aside data that no other member is known to have.

A row counts if it has a version whose name no other member was known to cover. A write that is not known to be covered
counts as not covered. So there may be too many rows here, but never too few. If nothing is known of other members, the
writes of the replica itself count. In `sys`, only settings of tables count, because only these come from clients.

`rows.ndjson`, next to the data, lists the rows, one per line, in the format of `export` and of batches. A put has its
`value`, and `siblings` if there are several. A delete has `"delete": true`. `expires` is the expiry time of the value.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from gossipkv.client.tables.row import value_to_json
from gossipkv.core.model.address import NAMESPACES, SYSTEM, TABLES_TABLE, key_of, table_of
from gossipkv.core.model.causality import Dot, ReplicaId
from gossipkv.core.model.clock import milliseconds
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.store.storage import View
from gossipkv.storage.account import Account
from gossipkv.storage.directory import open_private
from gossipkv.storage.lmdb import LmdbStorage

ROWS_FILE = "rows.ndjson"
NAMED_MAX = 5
"""The maximum number of rows named in the log."""
_PAGE_ROWS = 500
_TIME_MS_MAX = 253_402_300_799_999


class UnsharedRow(NamedTuple):
    """A row with versions that no other member is known to have."""

    namespace: str
    table: str
    row: str
    versions: tuple[Version, ...]
    """The versions that no other member is known to have, in descending rank. If any is a value, only the values."""

    @property
    def is_delete(self) -> bool:
        """Whether the row was deleted: it then has no value among these versions."""
        return self.versions[0].value is None

    @property
    def name(self) -> str:
        """The row's name in the log: namespace, table and key."""
        return f"{self.namespace}/{self.table}/{self.row}"

    @property
    def etag(self) -> str:
        """The etag of these versions, as HTTP shows it."""
        return "+".join(str(version.dot) for version in self.versions)

    def to_json(self) -> dict[str, object]:
        """Return the row as a line of the file. Siblings are listed with the etag of each."""
        first = self.versions[0]
        item: dict[str, object] = {"namespace": self.namespace, "table": self.table, "row": self.row}
        if self.is_delete:
            item |= {"kind": "delete", "delete": True}
        else:
            item |= {"kind": "put", "value": value_to_json(first.value or b"")}
        item |= {"etag": self.etag, "timestamp": time_text(milliseconds(first.timestamp))}
        if first.expires_ms is not None and not self.is_delete:
            item["expires"] = time_text(first.expires_ms)
        if len(self.versions) > 1:
            item["siblings"] = [{"value": value_to_json(v.value or b""), "etag": str(v.dot)} for v in self.versions]
        return item


class WrittenRows(NamedTuple):
    """The result of writing the file of rows."""

    rows: int
    first: list[str]
    """The names of the first rows, at most `NAMED_MAX`."""


def time_text(ms: int) -> str:
    """Return a time as RFC 3339. Times beyond its range become the end of the range."""
    ms = min(ms, _TIME_MS_MAX)
    return datetime.fromtimestamp(ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unshared_rows(storage: LmdbStorage, account: Account) -> Iterator[list[UnsharedRow]]:
    """Iterate over all unshared rows, a few hundred at a time, by origin in the order of its writes. Raises
    StorageError."""
    for shard in NAMESPACES:
        with storage.view() as view:
            origins = sorted(view.journal_heads(shard))
        for origin in origins:
            if account.knows_others(shard) or origin == account.replica:
                yield from _rows_of(storage, shard, origin, account)


def _rows_of(storage: LmdbStorage, shard: str, origin: ReplicaId, account: Account) -> Iterator[list[UnsharedRow]]:
    after: int | None = account.covered_through(shard, origin)
    while after is not None:
        with storage.view() as view:
            page, after = _page(view, shard, origin, after, account)
        yield page


def _page(
    view: View, shard: str, origin: ReplicaId, after: int, account: Account
) -> tuple[list[UnsharedRow], int | None]:
    """Return some rows, and the sequence after which to continue (None at the end)."""
    page: list[UnsharedRow] = []
    for examined, (sequence, address) in enumerate(view.journal(shard, origin, after)):
        if examined == _PAGE_ROWS:
            return page, after
        after = sequence
        stored = view.row(shard, address)
        if stored is None or (shard == SYSTEM and table_of(address) != TABLES_TABLE):
            continue
        versions = _unshared_versions(stored, shard, account)
        # A row has an entry for each origin that wrote it. Count it only at the entry of its first version.
        if versions and versions[0].dot == Dot(origin, sequence):
            page.append(UnsharedRow(shard, table_of(address), key_of(address).decode(), versions))
    return page, None


def _unshared_versions(row: StoredRow, shard: str, account: Account) -> tuple[Version, ...]:
    unshared = [
        version
        for version in row.versions
        if version.dot.sequence > account.covered_through(shard, version.dot.replica)
        and (account.knows_others(shard) or version.dot.replica == account.replica)
    ]
    values = [version for version in unshared if version.value is not None]
    return tuple(values or unshared)


def write_unshared_rows(directory: Path, account: Account) -> WrittenRows:
    """Write the rows to a file next to the data, in place of an earlier one. Raises StorageError, OSError."""
    rows = 0
    first: list[str] = []
    temporary = directory / f".{ROWS_FILE}.new"
    storage = LmdbStorage(directory, must_exist=True)
    try:
        with open_private(temporary, "wb") as file:
            for page in unshared_rows(storage, account):
                for row in page:
                    line = json.dumps(row.to_json(), ensure_ascii=False, separators=(",", ":"))
                    file.write(line.encode() + b"\n")
                    first += [row.name] if rows < NAMED_MAX else []
                    rows += 1
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(directory / ROWS_FILE)
    finally:
        storage.close()
    return WrittenRows(rows, first)
