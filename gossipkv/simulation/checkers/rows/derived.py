"""I4: the data that a shard derives from its rows equal the data computed from the rows from scratch.

These data are the fingerprints, in memory and as stored, the journal, and the counts per table. The journal has exactly
one entry for each entry of each row's context.
"""

from __future__ import annotations

import xxhash

from gossipkv.core.model.address import NAMESPACES, key_of, table_of
from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.fingerprint import EMPTY, LEAVES_PER_NODE, NODES, FingerprintTable, Sums
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.store.storage import EXPIRIES, FIRST_DEADLINE, TOMBSTONES, Counts
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.world.disk import Commit
from gossipkv.simulation.world.host import Host

StoredRows = dict[bytes, StoredRow]
Contents = frozenset[tuple[bytes, Version]]

_MASK = 2**64 - 1
_END = b"\x7f"
"""A key that is greater than every address: table names are ASCII."""


def stored_rows(host: Host, shard: str) -> StoredRows:
    """Return all committed rows of a shard, tombstones included."""
    with host.disk.view() as view:
        return dict(view.rows(shard, b"", _END))


class FingerprintsChecker(Checker):
    """The checker of I4 for fingerprints and counts."""

    name = "I4_fingerprints"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._contents: dict[tuple[str, int], Contents] = {}
        self._roots: dict[tuple[str, Contents], int] = {}

    def examined(self, host: Host) -> None:
        """Compare the fingerprints and counts, in memory and as stored, with those computed from the rows."""
        assert host.process is not None
        for name in NAMESPACES:
            rows = stored_rows(host, name)
            leaves = _leaves(rows)
            self._compare(host, name, leaves, host.process.replica.shards[name].fingerprint)
            self._compare_with_all(host, name, rows, host.process.replica.shards[name].fingerprint.root.visible)
            stored = FingerprintTable()
            with host.disk.view() as view:
                for page, content in view.pages(name):
                    stored.load_page(page, content)
            self._compare(host, name, leaves, stored)
            counts = _counts(rows)
            in_memory = host.process.replica.shards[name].tables
            with host.disk.view() as view:
                self.require(view.table_counts(name) == counts == in_memory, host.name, "miscounts", name, in_memory)

    def _compare(self, host: Host, name: str, leaves: dict[int, list[int]], table: FingerprintTable) -> None:
        root = [sum(column) & _MASK for column in zip(*leaves.values(), strict=True)] or [0, 0]
        self.require(list(table.root) == root, host.name, "has a wrong root sum in", name)
        nodes = [EMPTY] * NODES
        for leaf, sums in leaves.items():
            self.require(table.leaf(leaf) == Sums(*sums), host.name, "has a wrong sum for leaf", leaf, "of", name)
            node = leaf // LEAVES_PER_NODE
            nodes[node] = Sums(*((left + right) & _MASK for left, right in zip(nodes[node], sums, strict=True)))
        self.require(table.nodes() == nodes, host.name, "has wrong node sums in", name)

    def _compare_with_all(self, host: Host, name: str, rows: StoredRows, root: int) -> None:
        """Check that fingerprints are equal exactly if visible contents are equal, over all states seen so far."""
        contents = frozenset(
            (address, version) for address, row in rows.items() for version in row.versions if version.value is not None
        )
        self.require(
            self._contents.setdefault((name, root), contents) == contents,
            host.name, "has a fingerprint that other contents had before",
        )  # fmt: skip
        self.require(
            self._roots.setdefault((name, contents), root) == root,
            host.name, "has another fingerprint than these contents had before",
        )  # fmt: skip


class AnomaliesChecker(Checker):
    """The checker that equal contexts with unequal fingerprints occur in a correct run for one reason only.

    The reason is a write of a new member that is concurrent with a tombstone that outranks it. Some of the members that
    the write reaches have already collected the tombstone. These members then receive the tombstone again.
    """

    name = "anomalies"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._has_cause = False

    def committed(self, commit: Commit) -> None:
        """Record whether the one reason has occurred."""
        for shard, address, row in commit.puts:
            self._has_cause |= row is not None and any(
                version.value is not None and self.history.is_outranked_by_collected(shard, address, version.rank)
                for version in row.versions
            )

    def examined(self, host: Host) -> None:
        """Check that the member has counted no anomaly without that reason."""
        assert host.process is not None
        met = sorted(host.process.replica.tally.anomalies)
        self.require(
            self._has_cause or self.history.has_stranger or not met, host.name, "met what should never be:", *met
        )


class JournalChecker(Checker):
    """The checker of I4 for the journal and the indexes by time."""

    name = "journal"

    def examined(self, host: Host) -> None:
        """Compare the journal and the indexes with those computed from the rows."""
        for name in NAMESPACES:
            expected: dict[ReplicaId, list[tuple[int, bytes]]] = {}
            rows = stored_rows(host, name)
            for address, row in rows.items():
                for origin, sequence in row.context.items():
                    expected.setdefault(origin, []).append((sequence, address))
            with host.disk.view() as view:
                heads = view.journal_heads(name)
                for index in (EXPIRIES, TOMBSTONES):
                    listed = list(view.deadlines(name, index, FIRST_DEADLINE, 2**62))
                    self.require(
                        listed == _deadlines(rows, index),
                        host.name, "has the index of", index, listed, "but its rows give", _deadlines(rows, index),
                    )  # fmt: skip
                self.require(set(heads) == set(expected), host.name, "has a journal of origins that no row names")
                for origin in sorted(expected):
                    entries = [tuple(entry) for entry in view.journal(name, origin, 0)]
                    self.require(
                        entries == sorted(expected[origin]),
                        host.name, "has the journal", entries, "but its rows give", sorted(expected[origin]),
                    )  # fmt: skip


def _deadlines(rows: StoredRows, index: str) -> list[tuple[int, bytes]]:
    found: set[tuple[int, bytes]] = set()
    for address, row in rows.items():
        values = [version for version in row.versions if version.value is not None]
        if index == EXPIRIES:
            found |= {(version.expires_ms, address) for version in values if version.expires_ms is not None}
        elif not values:
            found.add((max(max(v.timestamp >> 16, v.expires_ms or 0) for v in row.versions), address))
    return sorted(found)


def _leaves(rows: StoredRows) -> dict[int, list[int]]:
    """Return the sums of the leaves of some rows, by a second implementation."""
    leaves: dict[int, list[int]] = {}
    for address, row in rows.items():
        sums = leaves.setdefault(xxhash.xxh3_64_intdigest(address) >> 48, [0, 0])
        for version in row.versions:
            which = 1 if version.value is None else 0
            sums[which] = (sums[which] + _term(address, version)) & _MASK
    return leaves


def _term(address: bytes, version: Version) -> int:
    fields = [version.dot.replica, version.dot.sequence, version.timestamp]
    kind = 0 if version.value is None else 1
    if (version.expires_ms, version.siblings_above) != (None, None):
        kind += 2 * (version.expires_ms is not None) + 4 * (version.siblings_above is not None)
        fields += [version.expires_ms or 0, version.siblings_above or 0]
    head = bytes([kind]) + b"".join(field.to_bytes(8, "big") for field in fields)
    seed = xxhash.xxh3_64_intdigest(head + address)
    return seed if version.value is None else xxhash.xxh3_64_intdigest(version.value, seed)


def _counts(rows: StoredRows) -> dict[str, Counts]:
    counts: dict[str, Counts] = {}
    for address, row in rows.items():
        table = table_of(address)
        values = [version.value for version in row.versions if version.value is not None]
        if values:
            one = Counts(1, 0, len(key_of(address)) + sum(map(len, values)))
        else:
            one = Counts(0, 1, 0)
        counts[table] = counts.get(table, Counts()).plus(one)
    return counts
