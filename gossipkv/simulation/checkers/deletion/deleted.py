"""A version that a write has replaced does not come back where that write is known, even after its tombstone has been
collected. Moreover, only deleted rows are collected.

The versions that a write replaced are recorded when its writer commits it. From then on, no replica that covers the
write may hold one of them. This holds even after the tombstone is collected, a message arrives late, or a member
comes back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.collected import NOTHING_COLLECTED
from gossipkv.core.model.lacking import Lacking
from gossipkv.core.model.row import StoredRow
from gossipkv.core.protocol.messages import RowCopy
from gossipkv.core.store.forgotten import forgotten_in
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.checkers.rows.derived import stored_rows
from gossipkv.simulation.checkers.rows.rows import restamped
from gossipkv.simulation.world.disk import Commit
from gossipkv.simulation.world.host import Host


class DeletedChecker(Checker):
    """The checker that replaced versions do not come back."""

    name = "deleted"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._known: set[tuple[str, Dot]] = set()
        self._replaced_by: dict[tuple[str, Dot], set[Dot]] = defaultdict(set)

    def committed(self, commit: Commit) -> None:
        """Record what each write replaced, and check the rows that were written or removed."""
        stood = dict(commit.before)
        for shard, address, row in commit.puts:
            old = stood[shard, address]
            if row is None:
                assert old is not None, "a row is removed that is not there"
                self._check_removal(commit, shard, address, old)
            else:
                self._note_write(commit, shard, old, row)
            stood[shard, address] = row
        for (shard, address), row in stood.items():
            # If a row is no longer lacking, `ContextsChecker` finds out in this commit whether a write was lost.
            if (shard, address) not in commit.recalled:
                context, lacking = commit.disk.context(shard), commit.disk.lacking_of(shard)
                self._check(commit.disk.member, shard, address, row, context, lacking)

    def _check_removal(self, commit: Commit, shard: str, address: bytes, old: StoredRow) -> None:
        if not old.is_visible:
            self.history.note_buried(shard, address, old)
        self.require(
            all(self.history.is_buried(shard, address, version.dot) for version in old.versions),
            commit.disk.member, "removes", old, "at", address, "which no member has collected",
        )  # fmt: skip

    def _note_write(self, commit: Commit, shard: str, old: StoredRow | None, row: StoredRow) -> None:
        kept = {version.dot for version in row.versions}
        for version in row.versions:
            if (shard, version.dot) not in self._known:
                self._known.add((shard, version.dot))
                former = restamped(commit, old, row, version)
                for replaced in old.versions if old else ():
                    if replaced.dot not in kept and replaced != former:
                        self._replaced_by[shard, replaced.dot].add(version.dot)

    def _check(
        self, member: str, shard: str, address: bytes, row: StoredRow | None, context: Context, lacking: Lacking
    ) -> None:
        if (shard, address) in self.history.given_up or address in lacking:
            return
        for version in row.versions if row else ():
            again = [dot for dot in sorted(self._replaced_by.get((shard, version.dot), ())) if context.covers(dot)]
            self.require(not again, member, "has again", version, "at", address, "which was replaced by", again)

    def examined(self, host: Host) -> None:
        """Check all rows of `usr`."""
        for address, row in stored_rows(host, USER).items():
            self._check(host.name, USER, address, row, host.disk.context(USER), host.disk.lacking_of(USER))


class TombstoneCollectionChecker(Checker):
    """The checker that tombstones are collected once all members have heard of them, and that only outdated data are
    fenced.

    Data are outdated if their replica was forgotten, if they are an old volume, or if they descend from such data. The
    replica that a member had at that time counts as forgotten too. The member that is told to forget it may not have
    heard yet that it lost its disk.
    """

    name = "collection"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self.is_blocked = False
        """Whether a member is gone and has not been forgotten."""
        self._old: set[ReplicaId] = set()
        """The replicas that were forgotten, or whose disk was set back to an old copy."""
        self._names: dict[ReplicaId, str] = {}
        self._replicas: dict[str, ReplicaId] = {}
        """The last replica that committed something under each name."""

    def committed(self, commit: Commit) -> None:
        """Record which replica runs under which name, and which are forgotten."""
        self._names[commit.disk.replica] = commit.disk.member
        self._replicas[commit.disk.member] = commit.disk.replica
        copies = [RowCopy(address, row) for shard, address, row in commit.puts if shard == SYSTEM and row is not None]
        for replica in set(forgotten_in(copies)) - self._old:
            self._old |= {replica, self._replicas.get(self._names.get(replica, ""), replica)}

    def set_back(self, host: Host) -> None:
        """Record that the replica of the old copy may be fenced."""
        self._old.add(host.disk.replica)

    def fenced(self, host: Host) -> None:
        """Check that the data are outdated."""
        with host.disk.view() as view:
            collected = view.collected(USER) or NOTHING_COLLECTED
        ids = {host.disk.replica, *collected.lineage}
        self.require(bool(ids & self._old), host.name, "is fenced, but its data are neither forgotten nor old")

    def ended(self, hosts: Sequence[Host]) -> None:
        """Check that no member holds a tombstone that should have been collected."""
        for host in [] if self.is_blocked else hosts:
            left = list(overdue(host))
            self.require(not left, host.name, "has not collected", left)


def overdue(host: Host) -> Iterator[tuple[bytes, StoredRow]]:
    """Iterate over the tombstones that should have been collected. A tombstone that runs ahead of a lost disk is
    adopted first. A tombstone may wait for a replica that no member knows, if all members that had its record have lost
    their disks."""
    context, members = host.disk.context(USER), host.disk.context(SYSTEM)
    for address, row in stored_rows(host, USER).items():
        unknown = [origin for origin in row.context.missing_from(context) if origin not in members]
        if not row.is_visible and not unknown:
            yield address, row
