"""Old volumes bring back no deleted rows, and cause no loss of acknowledged writes.

A volume that was set back reuses names that stand for other writes elsewhere. So writes are tracked by their values,
which are unique, and by their timestamps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gossipkv.core.model.address import USER, table_of
from gossipkv.core.model.causality import Dot, ReplicaId
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.write import Operation, Result, StoredWrite
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.checkers.rows.rows import restamped
from gossipkv.simulation.scenarios.scenario import BESIDE
from gossipkv.simulation.world.disk import Commit, Disk
from gossipkv.simulation.world.host import Host


class CollectedValue(NamedTuple):
    """A value that was replaced by a tombstone that has been collected since."""

    address: bytes
    value: bytes


class AcknowledgedPut(NamedTuple):
    """A write acknowledged to a client, in a table where the last write wins."""

    address: bytes
    timestamp: int
    is_delete: bool
    member: str


class OldVolumesChecker(Checker):
    """The checker that old volumes do no harm."""

    name = "old_volumes"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._replaced: dict[tuple[bytes, Dot], set[bytes]] = {}
        """The values that a tombstone replaced, by address and tombstone."""
        self._deleted: dict[CollectedValue, Dot] = {}
        """The deleted values, each with its tombstone."""
        self._buried: dict[bytes, int] = {}
        """The greatest timestamp of a collected tombstone, by row."""
        self._told: set[AcknowledgedPut] = set()
        self._set_back: dict[str, ReplicaId] = {}
        """The replica of the old copy, for each member that was set back to one."""
        self._written_again: set[CollectedValue] = set()
        """The values that such a member has written again under a new replica id. A newcomer that was interrupted while
        it filled itself from that member brings them back: see `core/model/collected.py`, what remains."""

    def set_back(self, host: Host) -> None:
        """Record the replica of the old copy."""
        self._set_back[host.name] = host.disk.replica

    def committed(self, commit: Commit) -> None:
        """Follow which values tombstones replace, which are collected, and which are written again."""
        stood = dict(commit.before)
        for shard, address, row in commit.puts:
            if shard == USER:
                self._note_written_again(commit.disk, address, row)
                self._follow(address, stood[shard, address], row)
                self._follow_restamped(commit, address, stood[shard, address], row)
            stood[shard, address] = row

    def _note_written_again(self, disk: Disk, address: bytes, row: StoredRow | None) -> None:
        is_renewed = self._set_back.get(disk.member, disk.replica) != disk.replica
        for version in row.versions if row is not None and is_renewed and self.history.fills_in_part else ():
            if version.dot.replica == disk.replica and version.value is not None:
                self._written_again.add(CollectedValue(address, version.value))

    def _follow(self, address: bytes, old: StoredRow | None, row: StoredRow | None) -> None:
        if row is None:
            assert old is not None, "a row is removed that is not there"
            winner = old.winner
            self.history.note_buried(USER, address, old)
            self._buried[address] = max(winner.timestamp, self._buried.get(address, 0))
            for value in self._replaced.pop((address, winner.dot), ()):
                self._deleted[CollectedValue(address, value)] = winner.dot
        elif old is not None and not row.is_visible:
            values = {version.value for version in old.versions if version.value is not None}
            earlier = self._replaced.get((address, old.winner.dot), set())
            self._replaced.setdefault((address, row.winner.dot), set()).update(values | earlier)

    def _follow_restamped(self, commit: Commit, address: bytes, old: StoredRow | None, row: StoredRow | None) -> None:
        """Let a write that was stamped again take along the writes that it had outranked."""
        for version in row.versions if row is not None else ():
            former = restamped(commit, old, row, version)
            if former is not None:
                within = range(version.timestamp + 1, former.timestamp + 1)
                moved = {told for told in self._told if told.address == address and told.timestamp in within}
                self._told -= moved
                self._told |= {told._replace(timestamp=version.timestamp) for told in moved}

    def acknowledged(self, host: Host, shard: str, operations: Sequence[Operation], results: list[Result]) -> None:
        """Follow the write from now on, if the last write wins in its table."""
        for operation, result in zip(operations, results, strict=True):
            is_followed = shard == USER and table_of(operation.address) != BESIDE
            if is_followed and isinstance(result, StoredWrite) and host.is_up:
                timestamp = max(version.timestamp for version in result.row.versions if version.dot == result.dot)
                self._told.add(AcknowledgedPut(operation.address, timestamp, operation.value is None, host.name))

    def fenced(self, host: Host) -> None:
        """Give up the acknowledged writes that the member's data hold or have superseded: these data are kept where
        they are set aside. A copy elsewhere has a name that may stand for another write, and may give way to that
        write."""
        self._told = {told for told in self._told if not self._is_set_aside(host, told)}

    def _is_set_aside(self, host: Host, told: AcknowledgedPut) -> bool:
        row = host.disk.committed_row(USER, told.address)
        if row is None:
            return False
        kept = row.winner.timestamp
        return kept == told.timestamp or (told.member == host.name and kept > told.timestamp)

    def disk_lost(self, surviving: Sequence[Disk]) -> None:
        """Give up the writes that no disk holds any longer, and the deletions that no disk knows of."""
        self._told = {told for told in self._told if any(self._holds(disk, told) for disk in surviving)}
        for deleted, dot in list(self._deleted.items()):
            if not any(disk.context(USER).covers(dot) for disk in surviving):
                del self._deleted[deleted]

    def _holds(self, disk: Disk, told: AcknowledgedPut) -> bool:
        row = disk.committed_row(USER, told.address)
        return (row is not None and row.winner.timestamp >= told.timestamp) or self._is_buried(told)

    def _is_buried(self, told: AcknowledgedPut) -> bool:
        return self._buried.get(told.address, 0) >= told.timestamp

    def ended(self, hosts: Sequence[Host]) -> None:
        """Check that every member holds the writes that were not given up, and none of the deleted values."""
        for host in hosts:
            for address, value in self._deleted.keys() - self._written_again:
                row = host.disk.committed_row(USER, address)
                values = [version.value for version in row.versions] if row is not None else []
                self.require(value not in values, host.name, "has again", value, "at", address, "which was deleted")
            for told in self._told:
                # If there was nothing to delete, a tombstone that runs ahead of a lost disk need not arrive.
                is_gone = told.is_delete and host.disk.committed_row(USER, told.address) is None
                self.require(
                    is_gone or self._holds(host.disk, told), host.name, "holds less than was acknowledged:", told,
                    host.disk.committed_row(USER, told.address),
                )  # fmt: skip
