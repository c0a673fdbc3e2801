"""An acknowledged write survives while one member that holds it keeps its disk. This includes deletions.

Whenever a disk is lost, the acknowledged writes are looked up on the remaining disks. A write may be lost if none of
these disks holds it or anything of greater rank. Every other write must in the end be on every member, or be superseded
there. If its replica stamps a write again, the write has the new rank from then on.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from gossipkv.core.model.causality import Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation, Result, StoredWrite
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History, Rank
from gossipkv.simulation.checkers.rows.rows import restamped
from gossipkv.simulation.world.disk import Commit, Disk
from gossipkv.simulation.world.host import Host


class Acknowledged(NamedTuple):
    """An acknowledged write. Writes sort by rank."""

    rank: Rank
    dot: Dot


class AcknowledgedWritesChecker(Checker):
    """The checker that acknowledged writes survive."""

    name = "acknowledged_writes"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._writes: dict[tuple[str, bytes], list[Acknowledged]] = defaultdict(list)

    def acknowledged(self, host: Host, shard: str, operations: Sequence[Operation], results: list[Result]) -> None:
        """Check that each write is durable as it was asked for, and follow it from now on."""
        for operation, result in zip(operations, results, strict=True):
            if not isinstance(result, StoredWrite):
                continue
            record = self.history.find(shard, result.dot)
            self.require(
                record is not None and (record.address, record.value) == (operation.address, operation.value),
                host.name, "acknowledged", result.dot, "which is not what it committed under that dot:", record,
            )  # fmt: skip
            self.require(
                host.disk.context(shard).covers(result.dot),
                host.name, "acknowledged", result.dot, "before it was durable",
            )  # fmt: skip
            if record is not None:
                rank = self.history.rank_now(shard, operation.address, record.rank)
                write = Acknowledged(rank, result.dot)
                insort(self._writes[shard, operation.address], write)

    def committed(self, commit: Commit) -> None:
        """Let writes that were stamped again have their new rank. Check that no other member holds such a write."""
        stood = dict(commit.before)
        for shard, address, row in commit.puts:
            for version in row.versions if row is not None else ():
                former = restamped(commit, stood[shard, address], row, version)
                if former is not None and not self.history.do_clocks_jump:
                    self._check_restamped(commit, shard, address, former)
            stood[shard, address] = row
            writes = self._writes.get((shard, address))
            if writes:
                now = [each._replace(rank=self.history.rank_now(shard, address, each.rank)) for each in writes]
                self._writes[shard, address] = sorted(now)

    def _check_restamped(self, commit: Commit, shard: str, address: bytes, former: Version) -> None:
        """Check that no other member holds a write that is stamped again, because its copy would outrank later writes.
        If clocks may jump at any time, another member may just be taking in a copy, so this is not checked."""
        for disk in self.history.disks():
            row = disk.committed_row(shard, address) if disk is not commit.disk else None
            self.require(
                row is None or not any(version.dot == former.dot for version in row.versions),
                commit.disk.member, "stamps again", former, "at", address, "which", disk.member, "holds",
            )  # fmt: skip

    def disk_lost(self, surviving: Sequence[Disk]) -> None:
        """Give up the writes that no remaining disk holds or supersedes."""
        for (shard, address), writes in self._writes.items():
            best = _best_rank(shard, address, surviving)
            while (
                writes
                and (best is None or writes[-1].rank > best)
                and not self.history.is_outranked_by_collected(shard, address, writes[-1].rank)
            ):
                writes.pop()

    def ended(self, hosts: Sequence[Host]) -> None:
        """Check that every member holds each write that was not given up, or something that supersedes it."""
        for (shard, address), writes in self._writes.items():
            if not writes:
                continue
            rows = [host.disk.committed_row(shard, address) for host in hosts]
            last = max((row.winner for row in rows if row is not None), key=lambda winner: winner.rank, default=None)
            for host, row in zip(hosts, rows, strict=True):
                self.require(
                    (row is not None and row.winner.rank >= writes[-1].rank)
                    or (last is not None and last.rank >= writes[-1].rank and _is_as_good(host, shard, row, last))
                    or self.history.is_outranked_by_collected(shard, address, writes[-1].rank),
                    host.name, "holds", row, "at", address, "but", writes[-1], "was acknowledged",
                )  # fmt: skip


def _is_as_good(host: Host, shard: str, row: StoredRow | None, last: Version) -> bool:
    """Return whether a member without this delete or expiry counts as equal to one that has it. A lost replica may have
    made it, ahead of all contexts. Then it need not reach a member that has no value of the row."""
    is_gone = row is None or row.winner.value is None
    return last.is_tombstone and is_gone and not host.disk.context(shard).covers(last.dot)


def _best_rank(shard: str, address: bytes, disks: Sequence[Disk]) -> Rank | None:
    rows = [disk.committed_row(shard, address) for disk in disks]
    return max((row.winner.rank for row in rows if row is not None), default=None)
