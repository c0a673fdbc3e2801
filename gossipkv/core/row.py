"""Versions, rows, and the merge rule.

A row holds one or more versions and a context that covers every write to this row that the copy knows of, the
superseded ones included. Merge of two copies: a version survives if both copies have it, or if the other copy's context
does not cover its dot; contexts join. What each version says of itself then decides which survivors stay: a
last-write-wins version outranks all of lower `(timestamp, replica id)`; one that keeps siblings outranks what the
last-write-wins versions that it replaced, itself or through others, outranked. Those that are outranked go.

A member that does not know the setting of a table writes in the form that keeps siblings: such a write drops no version
that was written to be kept. Where the last write wins, readers find the winner, which is of the greatest rank of all
writes in either form.

So merge is a function of the copies alone, whatever a member knows of the table's settings, and rows written under both
settings merge the same everywhere. A write's timestamp exceeds those of all versions it replaces, so no version is
outranked by what it replaced, and what the greatest known write outranks is never forgotten with it: merge is
commutative, associative and idempotent.

A dot names one write, unless two processes run on copies of one volume. Then two versions of one dot may meet (a
*collision*), and a context that covers a dot may speak of either. Merge stays a function that all members compute
alike:

- Of two versions of one dot the one of greater `strength` stays.
- A last-write-wins version that the other copy covers and lacks goes only if it is outranked there. Without collisions
  it always is, for whatever replaced it ranks higher. With one, the copy may have replaced the other version of the
  dot: `{D ts 20}`, and `{E ts 15}` that replaced `{D ts 10}`. Were E to stay in one order of merges and D in another,
  members would differ for ever.
- Of last-write-wins versions of equal rank one stays: two processes with one replica id may give one timestamp to two
  writes.

Merge is commutative and idempotent then too, and associative in a table whose setting stays. What is lost with a
collision, the owner of the dot puts right (`Store.take_in`).

Source: Bieniusa, Zawirski, Preguiça, Shapiro, Baquero, Balegas, Duarte, "An Optimized Conflict-Free Replicated Set",
2012 (add-wins survival by dots); Thomas, "A Majority Consensus Approach", 1979 (last write wins).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

import xxhash

from gossipkv.core.causality import Context, Dot, ReplicaId
from gossipkv.core.clock import milliseconds

_REPLICA_MAX = 2**64 - 1
_ETAG_DOTS_MAX = 64


class Conflicts(enum.Enum):
    """What a table does with concurrent writes to one row."""

    LAST_WRITE_WINS = "lww"
    SIBLINGS = "siblings"


class InconsistentRowError(ValueError):
    """Two copies each claim to have superseded all versions of the other: no sequence of writes leads there."""


class Version(NamedTuple):
    """One write: a value, or a tombstone where `value` is None. An expiry turns a version into a tombstone that keeps
    the version's `expires_ms`."""

    dot: Dot
    timestamp: int
    value: bytes | None
    expires_ms: int | None = None
    siblings_above: int | None = None
    """None: the last write wins. Else the version was written to keep siblings, but for those whose timestamp is not
    above this: they are outranked by what it replaced."""

    @property
    def is_tombstone(self) -> bool:
        return self.value is None

    @property
    def rank(self) -> tuple[int, ReplicaId]:
        """The order of last-write-wins."""
        return self.timestamp, self.dot.replica

    @property
    def outranks(self) -> tuple[int, ReplicaId]:
        """Concurrent versions below this rank do not stay beside the version."""
        return self.rank if self.siblings_above is None else (self.siblings_above, _REPLICA_MAX)

    @property
    def strength(self) -> tuple[bool, int, bool, bytes, bool, int, int]:
        """The order of versions that bear one dot; equal only for equal versions."""
        return (
            self.siblings_above is None,
            self.timestamp,
            self.value is not None,
            self.value or b"",
            self.expires_ms is None,
            self.expires_ms or 0,
            self.siblings_above or 0,
        )

    def is_visible_at(self, now_ms: int) -> bool:
        return self.value is not None and (self.expires_ms is None or self.expires_ms > now_ms)


class Seen(NamedTuple):
    """What a writer has read of a row, and replaces."""

    context: Context
    timestamp: int
    """The greatest of all that it covers."""
    siblings_above: int
    """Of the greatest rank that it outranks."""


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

    def is_visible_at(self, now_ms: int) -> bool:
        """Whether a reader finds the row at this time."""
        for version in self.versions:
            if version.value is not None and (version.expires_ms is None or version.expires_ms > now_ms):
                return True
        return False

    def visible_at(self, now_ms: int) -> tuple[Version, ...]:
        """What a reader finds in the row at this time, in descending rank."""
        return tuple([version for version in self.versions if version.is_visible_at(now_ms)])

    @property
    def deleted_ms(self) -> int:
        """Since when the row is deleted, which it is. The tombstone of an expiry is stamped as what it replaced."""
        return max([max(milliseconds(version.timestamp), version.expires_ms or 0) for version in self.versions])

    @property
    def keeps_siblings(self) -> bool:
        """Whether any version was written to keep siblings."""
        for version in self.versions:  # noqa: SIM110 (as above)
            if version.siblings_above is not None:
                return True
        return False

    @property
    def value_bytes(self) -> int:
        """Of all versions, seen by readers or not."""
        return sum([len(version.value) for version in self.versions if version.value is not None])

    @property
    def seen(self) -> Seen:
        """What a reader of the row has seen."""
        return Seen(self.context, self.versions[0].timestamp, max([version.outranks for version in self.versions])[0])

    @property
    def etag(self) -> str:
        """The entity tag, without quotes: the dots of the versions, or their number and a hash if they are many. A
        header and a line of a batch have bounds, and the number of versions has none."""
        first, *others = self.versions
        if not others:
            return str(first.dot)
        dots = "+".join([str(version.dot) for version in self.versions])
        if len(self.versions) <= _ETAG_DOTS_MAX:
            return dots
        return f"{len(self.versions)}-{xxhash.xxh3_128_hexdigest(dots.encode())}"

    def has_same_versions(self, other: Row) -> bool:
        return self.versions == other.versions


def written(current: Row | None, version: Version) -> Row:
    """The row after a local write that replaces everything the copy holds."""
    if current is None:
        return Row((version,), Context({version.dot.replica: version.dot.sequence}))
    context = Context(current.context)
    context[version.dot.replica] = version.dot.sequence
    return Row((version,), context)


def written_beside(current: Row | None, version: Version, seen: Seen | None) -> Row:
    """The row after a local write that keeps siblings and replaces what its writer had seen, and that alone."""
    if current is None:
        current = Row((), Context())
    context = current.context.joined(seen.context) if seen else Context(current.context)
    context[version.dot.replica] = version.dot.sequence
    kept = [held for held in current.versions if seen is None or not seen.context.covers(held.dot)]
    return Row(resolved([version, *kept]), context)


def written_for_any_table(current: Row | None, version: Version, seen: Seen | None) -> Row:
    """The row after a local write into a table whose setting is not known. The write replaces everything that the copy
    holds, as the last write does, and what its writer had seen. Merge keeps it beside the writes of others, as siblings
    are kept: a table in which the last write wins reads as its winner all the same."""
    read = [each for each in (current.seen if current else None, seen) if each is not None]
    context = Context()
    for each in read:
        context.advance(each.context)
    context[version.dot.replica] = version.dot.sequence
    above = max([each.siblings_above for each in read], default=0)
    return Row((version._replace(siblings_above=above),), context)


def expired(current: Row, dot: Dot, now_ms: int) -> Row:
    """The row after its expired versions, one at least, have become one tombstone. It ranks just above them and not at
    its own time: a concurrent write that renews the row is the later one, though it may have been made before."""
    gone = [version for version in current.versions if _has_expired(version, now_ms)]
    kept = [version for version in current.versions if not _has_expired(version, now_ms)]
    last = gone[0]
    above = max([version.outranks for version in gone])[0] if current.keeps_siblings else None
    tombstone = Version(dot, last.timestamp + 1, None, last.expires_ms, above)
    context = Context(current.context)
    context[dot.replica] = dot.sequence
    return Row(resolved([tombstone, *kept]), context)


def _has_expired(version: Version, now_ms: int) -> bool:
    return version.value is not None and version.expires_ms is not None and version.expires_ms <= now_ms


def merge(ours: Row, theirs: Row) -> Row:
    """The row that holds what either copy knows. Raises InconsistentRowError."""
    our_versions = {version.dot: version for version in ours.versions}
    their_versions = {version.dot: version for version in theirs.versions}
    survivors = []
    for version in ours.versions:
        other = their_versions.get(version.dot)
        if other is not None:
            survivors.append(version if version == other else max(version, other, key=_strength))
        elif _survives(version, theirs):
            survivors.append(version)
    survivors += [v for v in theirs.versions if v.dot not in our_versions and _survives(v, ours)]
    if not survivors:
        raise InconsistentRowError("each copy of the row supersedes the other")
    return Row(resolved(survivors), ours.context.joined(theirs.context))


def _strength(version: Version) -> tuple[bool, int, bool, bytes, bool, int, int]:
    return version.strength


def _survives(version: Version, other: Row) -> bool:
    """Whether a version stays in a merge with a copy that lacks it."""
    if not other.context.covers(version.dot):
        return True
    return version.siblings_above is None and version.rank >= max([held.outranks for held in other.versions])


def collisions(ours: Row, theirs: Row) -> list[tuple[Version, Version]]:
    """The pairs of versions, one of each copy, that bear one dot and differ."""
    if ours.versions == theirs.versions:
        return []
    their_versions = {version.dot: version for version in theirs.versions}
    pairs = [(version, their_versions.get(version.dot, version)) for version in ours.versions]
    return [(ours, theirs) for ours, theirs in pairs if ours != theirs]


def resolved(survivors: list[Version]) -> tuple[Version, ...]:
    """What stays of concurrent versions, in descending rank."""
    if len(survivors) == 1:
        return (survivors[0],)
    least = max([version.outranks for version in survivors])
    kept = [version for version in survivors if version.rank >= least]
    last = [version for version in kept if version.siblings_above is None]
    if len(last) > 1:
        strongest = max(last, key=lambda version: (version.dot, version.strength))
        kept = [version for version in kept if version.siblings_above is not None or version is strongest]
    return tuple(sorted(kept, key=lambda version: (version.rank, version.dot), reverse=True))


def lost(ours: Row, theirs: Row, merged: Row) -> int:
    """How many versions of two copies went in their merge though neither copy had superseded them."""
    kept = {version.dot for version in merged.versions}
    return sum(
        version.dot not in kept and not other.context.covers(version.dot)
        for one, other in ((ours, theirs), (theirs, ours))
        for version in one.versions
    )


def without_stable(row: Row, stable: Mapping[ReplicaId, int]) -> Row:
    """A last-write-wins row without the context entries that every member covers and that name no live version.

    Every member holds such a write or something that superseded it, and last-write-wins ranks the survivor above it
    wherever it still stands: the entry can decide no merge any more. Among siblings it can: the row stays as it is.
    """
    if row.keeps_siblings:
        return row
    live = {version.dot.replica for version in row.versions}
    kept = {
        replica: sequence
        for replica, sequence in row.context.items()
        if replica in live or sequence > stable.get(replica, 0)
    }
    return row if len(kept) == len(row.context) else Row(row.versions, Context(kept))


def without_retired(
    old: Row | None, new: Row, settled: Mapping[ReplicaId, int], stable: Mapping[ReplicaId, int]
) -> Row:
    """A row that keeps siblings without the entries of replicas that are gone, which this replica covers (`settled`).

    An entry that names no live version says that the write was superseded. What superseded it is stable too if all that
    the old copy knew is, so no member holds the write any more. A volume that was set back may: so the sender of a copy
    says what is settled there (`superseding`), and the receiver takes in nothing that is settled here
    (`without_settled`).
    """
    if old is None or not new.keeps_siblings or not settled:
        return new
    if any(sequence > stable.get(replica, 0) for replica, sequence in old.context.items()):
        return new
    live = {version.dot.replica for version in (*old.versions, *new.versions)}
    kept = {
        replica: sequence
        for replica, sequence in new.context.items()
        if replica in live or sequence > settled.get(replica, 0) or old.context.get(replica) != sequence
    }
    return new if len(kept) == len(new.context) else Row(new.versions, Context(kept))


def superseding(arrived: Row, current: Row, settled: Mapping[ReplicaId, int]) -> Row:
    """A copy of a row, with the entries that its sender has left out: it covers what is settled there, and what it does
    not hold of that it has superseded. Only what the current copy names is of interest."""
    left_out = {
        replica: sequence
        for replica, sequence in current.context.items()
        if arrived.context.get(replica, 0) < sequence <= settled.get(replica, 0)
    }
    return Row(arrived.versions, arrived.context.joined(left_out)) if left_out else arrived


def without_settled(arrived: Row, current: Row, settled: Context) -> Row | None:
    """What of a copy that arrived is news to a replica that covers what is settled; None for nothing. Such a version
    that the current copy does not hold has been superseded here."""
    held = {version.dot for version in current.versions}
    kept = tuple([version for version in arrived.versions if version.dot in held or not settled.covers(version.dot)])
    if len(kept) == len(arrived.versions):
        return arrived
    return Row(kept, arrived.context) if kept else None


def without_superseded(current: Row, theirs: tuple[Version, ...], claim: Context, own: ReplicaId) -> Row | None:
    """What stays of a copy where a peer covers the claim and holds these versions of the row; None for nothing. A
    version that the peer covers and does not hold was superseded there, unless this replica wrote it. What stays says
    nothing of what the peer covers: the peer's copy does."""
    held = {version.dot for version in theirs}
    kept = tuple([v for v in current.versions if v.dot in held or v.dot.replica == own or not claim.covers(v.dot)])
    if len(kept) == len(current.versions):
        return current
    context = Context({o: s for o, s in current.context.items() if o == own or s > claim.get(o, 0)})
    for version in kept:
        context.advance({version.dot.replica: version.dot.sequence})
    return Row(kept, context) if kept else None


def without_collected(arrived: Row, current: Row | None, marks: Context, *, is_repair: bool) -> Row | None:
    """What of a copy that arrived is news to a replica with these marks; None for nothing. A version up to the marks
    that is not here has been superseded here. But a value that a replica still holds which covers the marks too is not
    gone, and one that is missing here is a loss to repair; and a tombstone may have to outrank what is here now."""
    held = {version.dot for version in current.versions} if current is not None else set()
    kept = tuple(
        [
            version
            for version in arrived.versions
            if version.dot in held
            or not marks.covers(version.dot)
            or (is_repair if version.value is not None else current is not None)
        ]
    )
    if len(kept) == len(arrived.versions):
        return arrived
    return Row(kept, arrived.context) if kept else None
