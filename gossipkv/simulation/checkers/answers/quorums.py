"""The members that a receipt names have copies. A read that asks a member with a write returns the write, or something
that supersedes it.

Members are identified by replica id, so a copy on a lost disk does not count. A write names the members that have it; a
read names those that answered. If `r + w` exceeds the number of members, the two sets intersect, and the read sees the
write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.row import StoredRow
from gossipkv.core.waits.answers import Coverage
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History, WriteRecord
from gossipkv.simulation.world.disk import Commit, Disk
from gossipkv.simulation.world.host import Host


class ReceiptsChecker(Checker):
    """The checker that a receipt names no member that does not durably have the write."""

    name = "receipts"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._rows: dict[tuple[ReplicaId, str, bytes], Context] = defaultdict(Context)
        """The writes that a replica's committed copies of a row cover, by replica, shard and address."""

    def committed(self, commit: Commit) -> None:
        """Record which writes the replica's copies cover."""
        for shard, address, row in commit.puts:
            if row is None:
                continue
            key = commit.disk.replica, shard, address
            self._rows[key] = self._rows[key].joined(row.context)

    def copied(self, host: Host, coverage: Coverage, asked: int) -> None:
        """Check a receipt that a client has received after asking for this many copies."""
        shard, dot = coverage.receipt
        record = self.history.find(shard, dot)
        self.require(coverage.copies >= asked, host.name, "tells of", coverage, "but", asked, "were asked for")
        self.require(record is not None, host.name, "names members that have", dot, "which was never durable")
        for holder in coverage.holders:
            if holder.has_it and holder.replica is not None and record is not None:
                self.require(
                    self.history.covered_by(shard, holder.replica).covers(dot)
                    or self._rows[holder.replica, shard, record.address].covers(dot),
                    host.name, "says that", holder, "has", dot,
                )  # fmt: skip


class Copied(NamedTuple):
    """An acknowledged write, with the replicas that had it at that time."""

    record: WriteRecord
    holders: frozenset[ReplicaId]


class QuorumReadsChecker(Checker):
    """The checker that a read that began after a write was acknowledged sees it, if a member that it asked had it."""

    name = "quorum_reads"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._writes: dict[tuple[str, bytes], list[Copied]] = defaultdict(list)

    def copied(self, host: Host, coverage: Coverage, asked: int) -> None:  # noqa: ARG002
        """Follow a write for which a client has received this receipt."""
        shard, dot = coverage.receipt
        record = self.history.find(shard, dot)
        if record is not None:
            holders = frozenset(h.replica for h in coverage.holders if h.has_it and h.replica is not None)
            self._writes[shard, record.address].append(Copied(record, holders))

    def acknowledged_copies(self, shard: str, address: bytes) -> list[Copied]:
        """Return the writes that a read that begins now must not miss."""
        return list(self._writes[shard, address])

    def read_by_many(
        self,
        host: Host,
        address: bytes,
        row: StoredRow | None,
        asked: int,
        answered: frozenset[ReplicaId],
        before: Sequence[Copied],
    ) -> None:
        """Check the result of a read: `answered` are the replicas that answered, `before` the writes acknowledged when
        it began."""
        self.require(len(answered) >= asked, host.name, "asked", asked, "members and has heard", answered)
        durable = host.disk.context(USER) if row is None else host.disk.context(USER).joined(self._held(host, address))
        self.require(
            row is None or all(durable.covers(version.dot) for version in row.versions),
            *(host.name, "reads", row, "at", address, "before it is durable there"),
        )
        for copied in before:
            if copied.holders & answered:
                rank = self.history.rank_now(USER, copied.record.address, copied.record.rank)
                self.require(
                    (row is not None and row.winner.rank >= rank)
                    or self.history.is_outranked_by_collected(USER, copied.record.address, rank),
                    host.name, "reads", row, "from", answered, "but", copied, "was acknowledged",
                )  # fmt: skip

    def _held(self, host: Host, address: bytes) -> Context:
        held = host.disk.committed_row(USER, address)
        return Context() if held is None else held.context

    def disk_lost(self, surviving: Sequence[Disk]) -> None:
        """Give up the writes whose holders have all lost their disks."""
        alive = {disk.replica for disk in surviving}
        for key, writes in self._writes.items():
            self._writes[key] = [copied for copied in writes if copied.holders & alive]
