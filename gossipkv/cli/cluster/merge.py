"""Puts rows of set-aside data back if the cluster lacks them. It replaces and deletes nothing.

A write that any member knows of is skipped, because its row may have been replaced or deleted since. For the rest:

- a row that the cluster lacks is put if it is absent, with the rest of its `ttl`;
- in a table that keeps siblings, a value that the row lacks is put as another sibling;
- in a table where the last write wins, a row with another value is not changed, and reported;
- a delete is only reported, if the cluster has the row.

A second run finds the rows that the first one put, so it changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from enum import Enum
from typing import NamedTuple

from gossipkv.client import Client, ConditionFailedError, TooManySiblingsError
from gossipkv.client.tables.table import Table
from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.row import Conflicts, Version
from gossipkv.core.store.tables import TableSettings
from gossipkv.core.waits.answers import Receipt
from gossipkv.storage.account import Account
from gossipkv.storage.unshared_rows import UnsharedRow


class Fate(Enum):
    """The outcome for a row; text for people, by number of rows."""

    PUT = "put back"
    SAME = "there already"
    KNOWN = "known to the cluster, which has kept, replaced or deleted them since"
    EXPIRED = "expired"
    GONE = "deleted in both"
    LEFT = "left: the cluster has another value"
    NOT_DELETED = "left: deleted in the set, and not in the cluster"

    @property
    def remains(self) -> bool:
        """Whether the set and the cluster still differ in the row."""
        return self in (Fate.LEFT, Fate.NOT_DELETED)


class Merged(NamedTuple):
    row: UnsharedRow
    fate: Fate


class Merge:
    """The merge of one set into the cluster of a client. A dry run puts nothing."""

    def __init__(self, client: Client, account: Account, now_ms: int, *, is_dry_run: bool) -> None:
        self.fates: Counter[Fate] = Counter()
        self._client = client
        self._account = account
        self._now_ms = now_ms
        self._is_dry_run = is_dry_run
        self._keeps_siblings: dict[str, bool] = {}
        self._known: dict[tuple[str, ReplicaId], tuple[int, int | None]] = {}
        """Per shard and origin, up to which write the cluster knows all, and from which write on it knows none."""

    async def run(self, rows: Iterable[UnsharedRow]) -> AsyncIterator[Merged]:
        """Merge one row after the other. Raises ClientError."""
        for row in rows:
            fate = await self._merge(row)
            self.fates[fate] += 1
            yield Merged(row, fate)

    async def _merge(self, row: UnsharedRow) -> Fate:
        versions = [version for version in row.versions if not await self._knows(row.namespace, version)]
        if not versions:
            return Fate.KNOWN
        if row.namespace == SYSTEM:
            return await self._merge_settings(row, versions[0])
        table = self._client.table(row.table, resolve=lambda values: values[0])
        if row.is_delete:
            return Fate.GONE if await table.get(row.row) is None else Fate.NOT_DELETED
        living = [version for version in versions if version.is_visible_at(self._now_ms)]
        if not living:
            return Fate.EXPIRED
        if await self._does_keep_siblings(row.table):
            return await self._put_beside(table, row.row, living)
        return await self._put_if_absent(table, row.row, living[0])

    async def _put_if_absent(self, table: Table, key: str, version: Version) -> Fate:
        found = await table.get(key)
        if found is None and self._is_dry_run:
            return Fate.PUT
        if found is None:
            try:
                await table.put(key, version.value or b"", if_absent=True, ttl=self._life(version))
            except ConditionFailedError:
                found = await table.get(key)
            else:
                return Fate.PUT
        return Fate.SAME if found is not None and found.value == version.value else Fate.LEFT

    async def _put_beside(self, table: Table, key: str, versions: list[Version]) -> Fate:
        found = await table.get(key)
        held = set() if found is None else set(found.siblings or (found.value,))
        missing = [version for version in versions if version.value not in held]
        if not missing:
            return Fate.SAME
        for version in [] if self._is_dry_run else missing:
            try:
                await table.put(key, version.value or b"", ttl=self._life(version))
            except TooManySiblingsError:
                return Fate.LEFT
        return Fate.PUT

    async def _merge_settings(self, row: UnsharedRow, version: Version) -> Fate:
        """Settings of a table are put back through their own route, which knows what may be set."""
        found = await self._client.table(row.table, namespace=SYSTEM).get(row.row)
        if row.is_delete:
            return Fate.GONE if found is None else Fate.NOT_DELETED
        settings = TableSettings.from_json(version.value or b"")
        if found is not None:
            return Fate.SAME if TableSettings.from_json(found.value or b"") == settings else Fate.LEFT
        if not self._is_dry_run:
            table = self._client.table(row.row)
            await table.configure(conflicts=settings.conflicts.value, w=settings.w, r=settings.r)
        self._keeps_siblings[row.row] = settings.conflicts is Conflicts.SIBLINGS
        return Fate.PUT

    async def _does_keep_siblings(self, table: str) -> bool:
        if table not in self._keeps_siblings:
            found = await self._client.table(table).describe()
            self._keeps_siblings[table] = found is not None and found["settings"]["conflicts"] == "siblings"
        return self._keeps_siblings[table]

    async def _knows(self, namespace: str, version: Version) -> bool:
        """Whether any member has a write, or what replaced it. A member that has one write also has all before it."""
        origin, sequence = version.dot
        if self._account.is_ambiguous(namespace, origin, sequence):
            return False
        known, unknown = self._known.get((namespace, origin), (0, None))
        if sequence > known and (unknown is None or sequence < unknown):
            coverage = await self._client.receipt(str(Receipt(namespace, version.dot)))
            if any(holder["has_it"] for holder in coverage["members"]):
                known = sequence
            else:
                unknown = sequence
            self._known[namespace, origin] = known, unknown
        return sequence <= known

    def _life(self, version: Version) -> float | None:
        """The rest of the `ttl`, in seconds."""
        return None if version.expires_ms is None else max(1, version.expires_ms - self._now_ms) / 1_000


def described(merged: Merged) -> str:
    """A line on a row, for people."""
    return f"{merged.row.name.removeprefix(f'{USER}/')}: {merged.fate.value}"
