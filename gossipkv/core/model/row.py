"""Versions, rows, and the merge rule.

A row holds one or more versions, and a context. The context covers every write to this row that the copy knows of,
superseded ones included.

Merge of two copies: a version survives if both copies have it, or if the other copy's context does not cover its dot.
Contexts join. Then outranked versions are dropped. A last-write-wins version outranks all versions with a lower
`(timestamp, replica id)`. A version that keeps siblings outranks what was outranked by the last-write-wins versions
that it replaced, directly or through other versions.

A member may not know the setting of a table. It then writes in the form that keeps siblings, so that its write drops no
version that was meant to be kept. If the last write wins in the table, readers find the winner: the write of the
greatest rank, in either form.

So merge depends only on the copies, not on what a member knows of the table's settings. Rows written under both
settings merge the same way everywhere. The timestamp of a write exceeds those of all versions that it replaces. So no
version is outranked by what it replaced, and a replacement never loses what its predecessors outranked. Merge is
commutative, associative and idempotent.

A dot names one write, unless two processes run on copies of one volume. Then two versions with one dot may meet (a
*collision*), and a context that covers a dot may mean either. Merge stays a function that all members compute alike:

- Of two versions with one dot, the one of greater `strength` stays.
- A last-write-wins version that the other copy covers and lacks is dropped only if it is outranked there. Without
  collisions it always is, because its replacement ranks higher. With a collision, the copy may have replaced the other
  version of the dot: `{D ts 20}`, and `{E ts 15}` that replaced `{D ts 10}`. If E stayed in one order of merges and D
  in another, members would always differ.
- Of last-write-wins versions of equal rank, one stays: two processes with one replica id may give one timestamp to two
  writes.

With collisions, merge is still commutative. It is associative and idempotent in a table whose setting does not change.
The owner of the dot restores what a collision has lost (`Store.take_in`).

Source: Bieniusa, Zawirski, Preguiça, Shapiro, Baquero, Balegas, Duarte, "An Optimized Conflict-Free Replicated Set",
2012 (add-wins survival by dots); Thomas, "A Majority Consensus Approach", 1979 (last write wins).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

import xxhash

from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.clock import milliseconds

_REPLICA_MAX = 2**64 - 1
_ETAG_DOTS_MAX = 64


class Conflicts(enum.Enum):
    """The choice of what a table does with concurrent writes to one row."""

    LAST_WRITE_WINS = "lww"
    SIBLINGS = "siblings"


class InconsistentRowError(ValueError):
    """The error of a merge: each copy claims to have superseded all versions of the other. No sequence of writes can
    cause this."""


class Version(NamedTuple):
    """A write: a value, or a tombstone if `value` is None. An expiry turns a version into a tombstone that keeps the
    version's `expires_ms`."""

    dot: Dot
    timestamp: int
    value: bytes | None
    expires_ms: int | None = None
    siblings_above: int | None = None
    """None: the last write wins. Otherwise the version keeps siblings with timestamps above this; what it replaced
    outranks the others."""

    @property
    def is_tombstone(self) -> bool:
        """Whether the version says that the row was deleted or has expired."""
        return self.value is None

    @property
    def rank(self) -> tuple[int, ReplicaId]:
        """The order of last-write-wins: timestamp, then replica id."""
        return self.timestamp, self.dot.replica

    @property
    def outranks(self) -> tuple[int, ReplicaId]:
        """The rank below which concurrent versions are dropped."""
        return self.rank if self.siblings_above is None else (self.siblings_above, _REPLICA_MAX)

    @property
    def strength(self) -> tuple[bool, int, bool, bytes, bool, int, int]:
        """The order of versions with the same dot; equal only for equal versions."""
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
        """Return whether a reader at this time finds a value that has not expired."""
        return self.value is not None and (self.expires_ms is None or self.expires_ms > now_ms)


class Seen(NamedTuple):
    """The part of a row that a writer has read and replaces."""

    context: Context
    timestamp: int
    """The greatest timestamp that the context covers."""
    siblings_above: int
    """The timestamp of the greatest rank that the versions read outrank."""


class StoredRow(NamedTuple):
    """The versions of a row in descending rank, at least one. The context covers each version's dot."""

    versions: tuple[Version, ...]
    context: Context

    @property
    def winner(self) -> Version:
        """The version of the greatest rank."""
        return self.versions[0]

    @property
    def is_visible(self) -> bool:
        """Whether any version is a value. Expiry does not count: only readers have a clock."""
        for version in self.versions:  # noqa: SIM110 (a loop costs a quarter of any() here, and writes ask it)
            if version.value is not None:
                return True
        return False

    def is_visible_at(self, now_ms: int) -> bool:
        """Return whether a reader finds the row at this time."""
        for version in self.versions:
            if version.value is not None and (version.expires_ms is None or version.expires_ms > now_ms):
                return True
        return False

    def visible_at(self, now_ms: int) -> tuple[Version, ...]:
        """Return the versions that a reader finds at this time, in descending rank."""
        return tuple([version for version in self.versions if version.is_visible_at(now_ms)])

    @property
    def deleted_ms(self) -> int:
        """The time of deletion of a deleted row. The tombstone of an expiry has the time when the value expired."""
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
        """The bytes of all values, visible to readers or not."""
        total = 0
        for version in self.versions:
            if version.value is not None:
                total += len(version.value)
        return total

    @property
    def seen(self) -> Seen:
        """The context that a reader of the row returns with its next write."""
        return Seen(self.context, self.versions[0].timestamp, max([version.outranks for version in self.versions])[0])

    @property
    def etag(self) -> str:
        """The entity tag, without quotes: the dots of the versions, or their number and a hash if there are more than
        64. Headers and batch lines are bounded; the number of versions is not."""
        first, *others = self.versions
        if not others:
            return str(first.dot)
        dots = "+".join([str(version.dot) for version in self.versions])
        if len(self.versions) <= _ETAG_DOTS_MAX:
            return dots
        return f"{len(self.versions)}-{xxhash.xxh3_128_hexdigest(dots.encode())}"

    def has_same_versions(self, other: StoredRow) -> bool:
        """Return whether both copies hold equal versions; contexts may differ."""
        return self.versions == other.versions


def known_part(seen: Seen, current: StoredRow | None, marks: Context, collected: int) -> Seen:
    """Return what a writer has read, without what the copy of the row cannot confirm.

    The replica covers all writes that `seen` names. It has collected tombstones up to `marks`, with timestamps up to
    `collected`. An entry above what the copy covers has one of two causes. It does not belong to the row. Or every
    member has superseded what it names, and has dropped the entry (`without_stable`, `without_retired`). In both cases
    merge does not need it. Entries up to the marks stay, because another member may still hold the tombstone.
    Timestamps grow with each write that replaces others, so those of an honest context never exceed the ones here.
    """
    here = current.seen if current is not None else Seen(Context(), 0, 0)
    kept = {o: s for o, s in seen.context.items() if here.context.get(o, 0) >= s or marks.get(o, 0) >= s}
    siblings_above = min(seen.siblings_above, max(here.siblings_above, collected))
    return Seen(Context(kept), min(seen.timestamp, max(here.timestamp, collected)), siblings_above)


def written(current: StoredRow | None, version: Version) -> StoredRow:
    """Return the row after a local write that replaces everything the copy holds."""
    if current is None:
        return StoredRow((version,), Context({version.dot.replica: version.dot.sequence}))
    context = Context(current.context)
    context[version.dot.replica] = version.dot.sequence
    return StoredRow((version,), context)


def written_beside(current: StoredRow | None, version: Version, seen: Seen | None) -> StoredRow:
    """Return the row after a local write that keeps siblings: it replaces exactly what its writer had seen."""
    if current is None:
        current = StoredRow((), Context())
    context = current.context.joined(seen.context) if seen else Context(current.context)
    context[version.dot.replica] = version.dot.sequence
    kept = [held for held in current.versions if seen is None or not seen.context.covers(held.dot)]
    return StoredRow(resolved([version, *kept]), context)


def written_for_any_table(current: StoredRow | None, version: Version, seen: Seen | None) -> StoredRow:
    """Return the row after a local write into a table whose setting is not known.

    The write replaces everything that the copy holds, as in last-write-wins, and what its writer had seen. Merge keeps
    it and the writes of others as siblings. If the last write wins in the table, readers still find the winner.
    """
    dot, timestamp, value, expires_ms, _ = version
    context = Context()
    above = 0
    for read in (current.seen if current else None, seen):
        if read is not None:
            context.advance(read.context)
            above = max(above, read.siblings_above)
    context[dot.replica] = dot.sequence
    return StoredRow((Version(dot, timestamp, value, expires_ms, above),), context)


def expired(current: StoredRow, dot: Dot, now_ms: int) -> StoredRow:
    """Return the row after its expired versions, at least one, have become one tombstone.

    The tombstone ranks just above them, not at the current time. So a concurrent write that renews the row wins, even
    if it was made before the expiry.
    """
    gone = [version for version in current.versions if _has_expired(version, now_ms)]
    kept = [version for version in current.versions if not _has_expired(version, now_ms)]
    last = gone[0]
    above = max([version.outranks for version in gone])[0] if current.keeps_siblings else None
    tombstone = Version(dot, last.timestamp + 1, None, last.expires_ms, above)
    context = Context(current.context)
    context[dot.replica] = dot.sequence
    return StoredRow(resolved([tombstone, *kept]), context)


def _has_expired(version: Version, now_ms: int) -> bool:
    return version.value is not None and version.expires_ms is not None and version.expires_ms <= now_ms


def merge(ours: StoredRow, theirs: StoredRow) -> StoredRow:
    """Return the row that holds what either copy knows. Raises InconsistentRowError."""
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
    return StoredRow(resolved(survivors), ours.context.joined(theirs.context))


def _strength(version: Version) -> tuple[bool, int, bool, bytes, bool, int, int]:
    return version.strength


def _survives(version: Version, other: StoredRow) -> bool:
    """Return whether a version stays in a merge with a copy that lacks it."""
    if not other.context.covers(version.dot):
        return True
    return version.siblings_above is None and version.rank >= max([held.outranks for held in other.versions])


def collisions(ours: StoredRow, theirs: StoredRow) -> list[tuple[Version, Version]]:
    """Return the pairs of versions, one of each copy, that have the same dot and differ."""
    if ours.versions == theirs.versions:
        return []
    their_versions = {version.dot: version for version in theirs.versions}
    pairs = [(version, their_versions.get(version.dot, version)) for version in ours.versions]
    return [(ours, theirs) for ours, theirs in pairs if ours != theirs]


def resolved(survivors: list[Version]) -> tuple[Version, ...]:
    """Return those of concurrent versions that stay, in descending rank."""
    if len(survivors) == 1:
        return (survivors[0],)
    least = max([version.outranks for version in survivors])
    kept = [version for version in survivors if version.rank >= least]
    last = [version for version in kept if version.siblings_above is None]
    if len(last) > 1:
        strongest = max(last, key=lambda version: (version.dot, version.strength))
        kept = [version for version in kept if version.siblings_above is not None or version is strongest]
    return tuple(sorted(kept, key=lambda version: (version.rank, version.dot), reverse=True))


def lost(ours: StoredRow, theirs: StoredRow, merged: StoredRow) -> int:
    """Return the number of versions that a merge dropped although neither copy had superseded them."""
    kept = {version.dot for version in merged.versions}
    return sum(
        version.dot not in kept and not other.context.covers(version.dot)
        for one, other in ((ours, theirs), (theirs, ours))
        for version in one.versions
    )


def without_stable(row: StoredRow, stable: Mapping[ReplicaId, int]) -> StoredRow:
    """Return a last-write-wins row without the context entries that every member covers and that name no live version.

    Every member holds such a write or something that superseded it. Last-write-wins ranks the survivor above it
    wherever it is still held. So the entry can no longer decide a merge. Among siblings it can, so a row that keeps
    siblings is unchanged.
    """
    if row.keeps_siblings:
        return row
    live = {version.dot.replica for version in row.versions}
    kept = {
        replica: sequence
        for replica, sequence in row.context.items()
        if replica in live or sequence > stable.get(replica, 0)
    }
    return row if len(kept) == len(row.context) else StoredRow(row.versions, Context(kept))


def without_retired(
    old: StoredRow | None, new: StoredRow, settled: Mapping[ReplicaId, int], stable: Mapping[ReplicaId, int]
) -> StoredRow:
    """Return a row that keeps siblings without the entries of replicas that are gone. This replica covers these entries
    (`settled`).

    An entry that names no live version shows that the write was superseded. If everything that the old copy knew is
    stable, so is what superseded the write, and no member holds the write any longer. A volume that was set back may
    still hold it. So the sender of a copy states what is settled there (`superseding`), and the receiver takes in
    nothing that is settled here (`without_settled`).
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
    return new if len(kept) == len(new.context) else StoredRow(new.versions, Context(kept))


def superseding(arrived: StoredRow, current: StoredRow, settled: Mapping[ReplicaId, int]) -> StoredRow:
    """Return a copy of a row with the entries that its sender has omitted.

    The sender covers what is settled there. If it does not hold such a write, it has superseded the write. Only entries
    that the current copy names matter.
    """
    left_out = {
        replica: sequence
        for replica, sequence in current.context.items()
        if arrived.context.get(replica, 0) < sequence <= settled.get(replica, 0)
    }
    return StoredRow(arrived.versions, arrived.context.joined(left_out)) if left_out else arrived


def without_settled(arrived: StoredRow, current: StoredRow, settled: Context) -> StoredRow | None:
    """Return the part of an incoming copy that is new to a replica that covers what is settled; None if nothing is.

    A settled version that the current copy does not hold has been superseded here.
    """
    held = {version.dot for version in current.versions}
    kept = tuple([version for version in arrived.versions if version.dot in held or not settled.covers(version.dot)])
    if len(kept) == len(arrived.versions):
        return arrived
    return StoredRow(kept, arrived.context) if kept else None


def without_superseded(
    current: StoredRow, theirs: tuple[Version, ...], claim: Context, own: ReplicaId
) -> StoredRow | None:
    """Return what stays of a copy if a peer covers the claim and holds these versions of the row; None if nothing
    stays.

    A version that the peer covers and does not hold was superseded there, unless this replica wrote it. The result's
    context omits what the peer covers: the peer's copy brings that.
    """
    held = {version.dot for version in theirs}
    kept = tuple([v for v in current.versions if v.dot in held or v.dot.replica == own or not claim.covers(v.dot)])
    if len(kept) == len(current.versions):
        return current
    context = Context({o: s for o, s in current.context.items() if o == own or s > claim.get(o, 0)})
    for version in kept:
        context.advance({version.dot.replica: version.dot.sequence})
    return StoredRow(kept, context) if kept else None


def without_collected(
    arrived: StoredRow, current: StoredRow | None, marks: Context, *, is_repair: bool
) -> StoredRow | None:
    """Return the part of an incoming copy that is new to a replica with these marks; None if nothing is.

    A version up to the marks that is not held here has been superseded here. There are two exceptions. If the sender
    also covers the marks and still holds a value, the value is not superseded: its absence here is a loss to repair.
    And a tombstone may have to outrank what is here now.
    """
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
    return StoredRow(kept, arrived.context) if kept else None
