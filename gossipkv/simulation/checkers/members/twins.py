"""All members notice two processes on copies of one volume. At most one of the processes keeps the replica id, and no
acknowledged write of either is lost.

Writes are tracked by their values, which are unique, and by their timestamps, because a dot may name two writes here. A
member that does not know that a table keeps siblings replaces with a write everything in its own copy, and nothing
else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gossipkv.core.model.address import USER, table_of
from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.tally import Notice
from gossipkv.core.model.write import Operation, Result, StoredWrite
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.checkers.rows.siblings import knew_the_setting
from gossipkv.simulation.scenarios.scenario import BESIDE
from gossipkv.simulation.world.disk import Commit
from gossipkv.simulation.world.host import Host


class TwinWrite(NamedTuple):
    """A write acknowledged to a client."""

    address: bytes
    value: bytes | None
    timestamp: int


class TwinsChecker(Checker):
    """The checker that two processes on copies of one volume are noticed and do no harm."""

    name = "twins"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self.copied: dict[str, ReplicaId] = {}
        """The members with a twin, each with the replica id that both processes had."""
        self._noticed: set[tuple[Host, str]] = set()
        """The hosts that have logged that a member runs twice, with the name of that member."""
        self._told: list[TwinWrite] = []
        self._stored: set[tuple[bytes, bytes | None]] = set()
        """The addresses and values of all versions that have been on a disk, in the table that keeps siblings."""
        self._replaced: set[tuple[bytes, bytes | None]] = set()
        """The addresses and values of versions replaced by a member that did not know the table's setting."""

    def committed(self, commit: Commit) -> None:
        """Record the values in the table that keeps siblings, and those that a member without its setting replaces."""
        knows = knew_the_setting(commit)
        stood = dict(commit.before)
        for shard, address, row in commit.puts:
            before = stood[shard, address]
            if table_of(address) == BESIDE and row is not None:
                if not knows and before is not None and self._is_written_here(commit, address, row):
                    self._replaced.update((address, old.value) for old in before.versions)
                self._stored.update((address, version.value) for version in row.versions)
            stood[shard, address] = row

    def _is_written_here(self, commit: Commit, address: bytes, row: StoredRow) -> bool:
        """Return whether a client has just written the only version of the row at this member. The version then has a
        new dot of the member, and its value has never been on a disk. Merged and renewed rows do not count."""
        (origin, sequence), value = row.winner.dot, row.winner.value
        covered, _ = commit.advanced.get(USER, (Context(), Context()))
        is_new = origin == commit.disk.replica and sequence > covered.get(origin, 0)
        return len(row.versions) == 1 and is_new and (value is None or (address, value) not in self._stored)

    def has_noticed(self, host: Host, member: str) -> bool:
        """Return whether a host has logged that a member runs twice."""
        return (host, member) in self._noticed

    def noticed(self, host: Host, notices: Sequence[Notice]) -> None:
        """Record that a host logs that a member runs twice."""
        for notice in notices:
            if notice.event == "member_runs_twice":
                self._noticed.add((host, str(notice.fields["peer"])))

    def acknowledged(self, host: Host, shard: str, operations: Sequence[Operation], results: list[Result]) -> None:
        """Follow the write from now on."""
        for operation, result in zip(operations, results, strict=True):
            if shard == USER and isinstance(result, StoredWrite) and host.is_up:
                timestamp = max(version.timestamp for version in result.row.versions if version.dot == result.dot)
                self._told.append(TwinWrite(operation.address, operation.value, timestamp))

    def parted(self, hosts: Sequence[Host]) -> None:
        """Check that at most one process keeps the replica id, and that all have noticed. Called when all members are
        equal and the second processes still run."""
        for member, replica in sorted(self.copied.items()):
            keeping = [host.endpoint for host in hosts if host.name == member and host.disk.replica == replica]
            self.require(len(keeping) <= 1, keeping, "all run as", member, "with replica", f"{replica:016x}")
            for host in hosts:
                self.require(
                    self.has_noticed(host, member), host.endpoint, "has not noticed that", member, "runs twice"
                )

    def ended(self, hosts: Sequence[Host]) -> None:
        """Check that every member holds each acknowledged write, or a later one that replaced it."""
        if not self.copied:
            return
        for told in self._told:
            for host in hosts:
                row = host.disk.committed_row(USER, told.address)
                self.require(self._stands(told, row), host.endpoint, "holds", row, "but", told, "was acknowledged")

    def _stands(self, told: TwinWrite, row: StoredRow | None) -> bool:
        if row is None:
            return False
        if table_of(told.address) != BESIDE:
            # Between two writes with the same timestamp, the replica id decides.
            return row.winner.timestamp >= told.timestamp
        if any(version.value == told.value for version in row.versions):
            return True
        if (told.address, told.value) in self._replaced:
            return True
        # A write replaced it, and the writer had read the row, or had found nothing to read.
        return (
            any(
                given is not None or value is None
                for (address, value), contexts in self.history.contexts_given.items()
                if address == told.address
                for given in contexts
            )
            and max(version.timestamp for version in row.versions) > told.timestamp
        )
