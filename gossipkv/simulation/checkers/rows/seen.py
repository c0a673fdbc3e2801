"""A write is taken only with a context whose writes its member had seen. The member covers these writes, or its copy of
the row has named them. Otherwise a forged context would supersede writes that are still to be made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.write import Operation, Result, StoredWrite
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.world.disk import Commit
from gossipkv.simulation.world.host import Host


class SeenContextsChecker(Checker):
    """The checker that contexts of clients name only writes that exist."""

    name = "seen"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._named: dict[tuple[ReplicaId, str, bytes], Context] = defaultdict(Context)
        """The writes that a replica's copies of a row named before they were replaced, by replica and row. A copy that
        was taken in and replaced in one transaction counts. A copy that a client's write made in that transaction does
        not count, because it names what the client gave."""

    def committed(self, commit: Commit) -> None:
        """Record what each replaced copy of a row named."""
        replica = commit.disk.replica
        current = dict(commit.before)
        for put in commit.puts:
            place = put.shard, put.address
            replaced = current[place]
            if replaced is not None and not _holds_new_write(commit, put.shard, replaced):
                self._named[replica, *place].advance(replaced.context)
            current[place] = put.row

    def acknowledged(self, host: Host, shard: str, operations: Sequence[Operation], results: list[Result]) -> None:
        """Check that the member had seen all writes that the client's context names."""
        covered = host.disk.context(shard)
        for operation, result in zip(operations, results, strict=True):
            if isinstance(result, StoredWrite) and operation.seen is not None:
                named = self._named[host.disk.replica, shard, operation.address]
                seen = [Dot(*entry) for entry in sorted(operation.seen.context.items())]
                unknown = [dot for dot in seen if not covered.covers(dot) and not named.covers(dot)]
                self.require(not unknown, host.name, "takes", operation, "whose context names", unknown)


def _holds_new_write(commit: Commit, shard: str, row: StoredRow) -> bool:
    """Return whether a copy holds a write that this transaction has made."""
    if shard not in commit.advanced:
        return False
    covered, _ = commit.advanced[shard]
    return any(
        version.dot.replica == commit.disk.replica and not covered.covers(version.dot) for version in row.versions
    )
