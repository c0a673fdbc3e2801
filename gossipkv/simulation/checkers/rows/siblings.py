"""In a table that keeps siblings, a row holds exactly the writes that no other write known to the copy has seen.

What a writer had seen follows from its request alone: it had seen the context that it gave. Without a context it had
seen nothing; or, if the member had no visible value, what the member held. A member that has not learned the setting of
the table replaces with each write what it holds. It keeps the writes that it has not seen as siblings. If a member
adopts a write of a replica that is gone, its new write has seen both that write and what that write had seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from gossipkv.core.model.address import SYSTEM, USER, table_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.store.tables import settings_address, settings_in
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.scenarios.scenario import BESIDE
from gossipkv.simulation.world.disk import Commit, Disk


class SiblingsChecker(Checker):
    """The checker that siblings stay until a write that has seen them replaces them."""

    name = "siblings"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._seen: dict[bytes, dict[Dot, frozenset[Dot]]] = defaultdict(dict)
        """The writes that a writer had seen, by row and write."""
        self._is_setting_lost = False
        """Whether no disk holds the setting any longer. From then on the last write wins in the table."""
        self._excused: set[bytes] = set()
        """The rows written as last-write-wins by a member that had met others, but none that knew the setting."""

    def committed(self, commit: Commit) -> None:
        """Check each row of the table that keeps siblings as it is stored."""
        stood = dict(commit.before)
        for shard, address, row in commit.puts:
            if table_of(address) == BESIDE and row is not None:
                self._check(commit, address, stood[shard, address], row)
            stood[shard, address] = row

    def _check(self, commit: Commit, address: bytes, before: StoredRow | None, row: StoredRow) -> None:
        member, writes = commit.disk.member, self._seen[address]
        # A copy still covers the writes of retired replicas, although its context no longer names them.
        settled = commit.disk.settled(USER)
        row = StoredRow(row.versions, row.context.joined(settled))
        before = None if before is None else StoredRow(before.versions, before.context.joined(settled))
        found = {version.dot for version in row.versions if not self._is_buried(address, version.dot)}
        fresh = [version for version in row.versions if version.dot not in writes]
        explained = [version for version in fresh if self._explains_adoption(address, before, row, version)]
        fresh = [version for version in fresh if version not in explained]
        if not fresh and (found == self._maximal(address, row.context) or len(explained) != 1):
            self._require(found == self._maximal(address, row.context), member, "holds", row, "at", address)
            return
        # A version that repeats a delete may be the delete of a client whose clock is behind.
        (written,) = fresh or explained
        knows = knew_the_setting(commit)
        if written.siblings_above is None and not knows and (self._is_setting_lost or _has_met_others(commit)):
            self._excused.add(address)
        # Deletes have no values to tell them apart. One of the requested deletes must explain the row, and the row
        # covers the context that its writer gave. First try the delete that also explains the row's context. Another
        # one may claim to have seen writes that this copy does not know of.
        given = self.history.contexts_given[address, written.value]
        known = [seen for seen in given if seen is None or row.context.covers_all(seen)]
        contexts = [self._context_of(before, context) for context in known]
        if not knows:
            contexts += [(seen or Context()).joined(before.context if before else {}) for seen in known]
        for seen in sorted(contexts, key=lambda seen: _context_after(before, seen, written.dot) != row.context):
            writes[written.dot] = _covered(writes, seen)
            if found == self._maximal(address, row.context):
                break
        self._require(
            found == self._maximal(address, row.context), member, "wrote", written, "and holds", row, "at", address
        )

    def _explains_adoption(self, address: bytes, before: StoredRow | None, row: StoredRow, version: Version) -> bool:
        """Return whether the version repeats one that was here and is gone; if so, record what it has seen."""
        for old in before.versions if before is not None else ():
            is_gone = old.dot not in [kept.dot for kept in row.versions]
            is_restamped = self.history.rank_now(USER, address, old.rank) == version.rank != old.rank
            is_adopted = version.timestamp - old.timestamp in (0, 1)
            if is_gone and old.value == version.value and (is_restamped or is_adopted):
                seen = self._seen[address]
                seen[version.dot] = seen.get(old.dot, frozenset()) | {old.dot}
                return True
        return False

    def disk_lost(self, surviving: Sequence[Disk]) -> None:
        """Record whether the setting of the table is lost with all disks that held it."""
        address = settings_address(BESIDE)
        self._is_setting_lost |= all(disk.committed_row(SYSTEM, address) is None for disk in surviving)

    def _require(self, is_so: bool, member: str, *words: object) -> None:
        address = words[-1]
        self.require(is_so or address in self._excused, member, *words)

    def _is_buried(self, address: bytes, dot: Dot) -> bool:
        """Return whether a write was collected somewhere: one member may omit it while another still holds it."""
        return self.history.is_buried(USER, address, dot)

    def _maximal(self, address: bytes, context: Context) -> set[Dot]:
        """Return the writes that a copy knows and that no other write known to it has seen."""
        writes = self._seen[address]
        known = {dot for dot in writes if context.covers(dot)}
        maximal = known - {old for dot in known for old in writes[dot] if old != dot}
        return {dot for dot in maximal if not self._is_buried(address, dot)}

    def _context_of(self, before: StoredRow | None, given: Context | None) -> Context:
        if given is not None:
            return given
        return before.context if before is not None and not before.is_visible else Context()


def knew_the_setting(commit: Commit) -> bool:
    """Return whether the member had the table's setting on disk before this batch."""
    key = (SYSTEM, settings_address(BESIDE))
    before = commit.before[key] if key in commit.before else commit.disk.committed_row(*key)
    return settings_in(before) is not None


def _has_met_others(commit: Commit) -> bool:
    """Return whether the member covers anything in `sys` that others wrote."""
    return any(origin != commit.disk.replica for origin in commit.disk.context(SYSTEM))


def _covered(writes: dict[Dot, frozenset[Dot]], context: Context) -> frozenset[Dot]:
    return frozenset(dot for dot in writes if context.covers(dot))


def _context_after(before: StoredRow | None, seen: Context, dot: Dot) -> Context:
    context = seen.joined(before.context) if before is not None else Context(seen)
    context.advance({dot.replica: dot.sequence})
    return context
