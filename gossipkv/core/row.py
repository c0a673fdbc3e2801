"""Versions, rows, and the merge rule.

A row holds one or more versions and a context that covers every write to this row that the copy knows of, the
superseded ones included. Merge of two copies: a version survives if both copies have it, or if the other copy's context
does not cover its dot; contexts join. In a last-write-wins table the survivor with the greatest `(timestamp, replica
id)` is then kept alone. A write's timestamp exceeds those of all versions it replaces, so the two rules never
disagree, and merge is commutative, associative and idempotent.

Source: Bieniusa, Zawirski, Preguiça, Shapiro, Baquero, Balegas, Duarte, "An Optimized Conflict-Free Replicated Set",
2012 (add-wins survival by dots); Thomas, "A Majority Consensus Approach", 1979 (last write wins).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from gossipkv.core.causality import Context, Dot, ReplicaId


class Conflicts(enum.Enum):
    """What a table does with concurrent writes to one row."""

    LAST_WRITE_WINS = "lww"
    SIBLINGS = "siblings"


class InconsistentRowError(ValueError):
    """Two copies each claim to have superseded all versions of the other: no sequence of writes leads there."""


class Version(NamedTuple):
    """One write: a value, or a tombstone where `value` is None."""

    dot: Dot
    timestamp: int
    value: bytes | None
    expires_ms: int | None = None

    @property
    def is_tombstone(self) -> bool:
        return self.value is None

    @property
    def rank(self) -> tuple[int, ReplicaId]:
        """The order of last-write-wins."""
        return self.timestamp, self.dot.replica


class Row(NamedTuple):
    """Versions in descending rank, at least one, each with its dot covered by the context."""

    versions: tuple[Version, ...]
    context: Context

    @property
    def winner(self) -> Version:
        return self.versions[0]

    @property
    def is_visible(self) -> bool:
        """Whether any version is a value; expiry is the reader's business, who has a clock."""
        for version in self.versions:  # noqa: SIM110 (a loop costs a quarter of any() here, and writes ask it)
            if version.value is not None:
                return True
        return False

    @property
    def etag(self) -> str:
        """The entity tag, without quotes: the dots of the versions."""
        first, *others = self.versions
        return str(first.dot) if not others else "+".join(str(version.dot) for version in self.versions)

    def has_same_versions(self, other: Row) -> bool:
        return [version.dot for version in self.versions] == [version.dot for version in other.versions]


def written(current: Row | None, version: Version) -> Row:
    """The row after a local write that replaces everything the copy holds."""
    if current is None:
        return Row((version,), Context({version.dot.replica: version.dot.sequence}))
    context = Context(current.context)
    context[version.dot.replica] = version.dot.sequence
    return Row((version,), context)


def merge(ours: Row, theirs: Row, conflicts: Conflicts = Conflicts.LAST_WRITE_WINS) -> Row:
    """The row that holds what either copy knows. Raises InconsistentRowError."""
    our_dots = {version.dot for version in ours.versions}
    their_dots = {version.dot for version in theirs.versions}
    survivors = [v for v in ours.versions if v.dot in their_dots or not theirs.context.covers(v.dot)]
    survivors += [v for v in theirs.versions if v.dot not in our_dots and not ours.context.covers(v.dot)]
    if not survivors:
        raise InconsistentRowError("each copy of the row supersedes the other")
    return Row(resolved(survivors, conflicts), ours.context.joined(theirs.context))


def resolved(survivors: list[Version], conflicts: Conflicts) -> tuple[Version, ...]:
    """What a table keeps of concurrent versions."""
    if conflicts is Conflicts.LAST_WRITE_WINS:
        return (max(survivors, key=lambda version: version.rank),)
    return tuple(sorted(survivors, key=lambda version: (version.rank, version.dot), reverse=True))


def without_stable(row: Row, stable: Mapping[ReplicaId, int]) -> Row:
    """A last-write-wins row without the context entries that every member covers and that name no live version.

    Every member holds such a write or something that superseded it, and last-write-wins ranks the survivor above it
    wherever it still stands: the entry can decide no merge any more.
    """
    live = {version.dot.replica for version in row.versions}
    kept = {
        replica: sequence
        for replica, sequence in row.context.items()
        if replica in live or sequence > stable.get(replica, 0)
    }
    return row if len(kept) == len(row.context) else Row(row.versions, Context(kept))
