"""Contexts without the entries of retired replicas.

A replica that is gone makes no further writes. When all listed members cover its writes, `sys.retired` lists it
(`core/store/retired.py`). Then its entry does not have to be repeated in every context. A member omits such entries
from the contexts that it sends. It names what it omitted by a number: the *base*, a sum of hashes of the entries. The
retired replicas have an order. So a receiver looks for the base among the sums of the first n entries, for all n, and
puts these n entries back.

- A member omits an entry from a context only if the context covers it. So it is always correct to put the entry back,
  no matter which member retired the replica, or when.
- A context whose base the receiver does not recognise claims less than its sender covers, never more. This costs work
  (a walk of `sys` brings what is missing) and breaks nothing.
- A retired replica that comes back and writes has an entry again, which takes precedence over the omitted one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gossipkv.core.model.causality import HASH_END, Context, Dot, ReplicaId, entry_hash


class Abridged(Context):
    """A context without the entries of its base: a lower bound of what the sender covers."""

    __slots__ = ("base",)

    def __init__(self, entries: Mapping[ReplicaId, int] | Iterable[tuple[ReplicaId, int]], base: int) -> None:
        super().__init__(entries)
        self.base = base


class AbridgedIds(frozenset[ReplicaId]):
    """A set of replicas without those of its base. `runs` encodes the omitted part as run lengths over the base's
    replicas in order: how many are not in the set, how many of the next are, and so on."""

    __slots__ = ("base", "runs")

    base: int
    runs: tuple[int, ...]

    def __new__(cls, replicas: Iterable[ReplicaId], base: int, runs: tuple[int, ...]) -> AbridgedIds:
        abridged = super().__new__(cls, replicas)
        abridged.base = base
        abridged.runs = runs
        return abridged


class Base:
    """The retired replicas of one shard that a member knows, in order, and how many of them it omits from its contexts.
    Immutable."""

    __slots__ = ("_lengths", "_sums", "entries", "length", "settled")

    def __init__(
        self,
        entries: tuple[Dot, ...] = (),
        length: int = 0,
        sums: tuple[int, ...] = (0,),
        lengths: dict[int, int] | None = None,
    ) -> None:
        """Omit the first `length` of these entries. `sums` holds the sums of the first n entries, as far as they are
        known already. `lengths` says of which n each is the sum, if that is known."""
        assert length <= len(entries), "a member omits only what it knows"
        self.entries = entries
        """The last write of each retired replica; sequence 0 if it wrote nothing."""
        self.length = length
        self._sums = _extended(sums, entries)
        self._lengths = lengths if lengths is not None else {total: place for place, total in enumerate(self._sums)}
        self.settled = _joined(entries[:length])
        """The entries that this member omits, as a context."""

    @property
    def number(self) -> int:
        """The name of what is omitted; 0 if nothing is."""
        return self._sums[self.length]

    def of_length(self, length: int) -> Base:
        """Return the same entries, with the first `length` omitted."""
        return Base(self.entries, length, self._sums, self._lengths)

    def of_entries(self, entries: tuple[Dot, ...]) -> Base:
        """Return a base with these entries. It omits what was omitted before, as far as that still comes first."""
        same = min(len(entries), len(self.entries))
        if entries[:same] != self.entries[:same]:
            same = next(place for place in range(same) if entries[place] != self.entries[place])
        return Base(entries, min(self.length, same), self._sums[: same + 1])

    def within(self, context: Context) -> Base:
        """Return a base that omits at most what this context covers."""
        length = self._covered_by(context)
        return self if length == self.length else self.of_length(length)

    def settled_at(self, number: int) -> Context:
        """Return the entries that a base stands for, as a context; empty if the base is not recognised."""
        length = self._lengths.get(number)
        return self.settled if length == self.length else _joined(self.entries[: length or 0])

    def length_of(self, number: int) -> int | None:
        """Return the number of entries that a base stands for; None if the base is not recognised."""
        return self._lengths.get(number)

    def abridged(self, context: Context) -> Context:
        """Return the context without the entries that this member omits, as far as the context covers them."""
        length = self._covered_by(context)
        number = self._sums[length]
        if not number:
            return context
        settled = self.settled if length == self.length else _joined(self.entries[:length])
        return Abridged(context.excess(settled), number)

    def resolved(self, context: Context) -> Context:
        """Return the context with the entries that its sender omitted; unchanged if its base is not recognised."""
        if not isinstance(context, Abridged):
            return context
        length = self._lengths.get(context.base)
        if length is None:
            return context
        resolved = Context(self.settled) if length == self.length else _joined(self.entries[:length])
        resolved.advance(context)
        return resolved

    def abridged_ids(self, replicas: frozenset[ReplicaId]) -> frozenset[ReplicaId]:
        """Return the set without the replicas that this member omits."""
        if not self.number:
            return replicas
        # `settled` does not name replicas that wrote nothing.
        if len(self.settled) == self.length and self.settled.keys() <= replicas:
            return AbridgedIds(replicas.difference(self.settled), self.number, (0, self.length))
        runs = [0]
        for replica, _ in self.entries[: self.length]:
            if (replica in replicas) != (len(runs) % 2 == 0):
                runs.append(0)
            runs[-1] += 1
        return AbridgedIds(replicas.difference(self.settled), self.number, tuple(runs))

    def resolved_ids(self, replicas: frozenset[ReplicaId]) -> frozenset[ReplicaId] | None:
        """Return the set with the replicas that its sender omitted; None if its base is not recognised."""
        if not isinstance(replicas, AbridgedIds):
            return replicas
        length = sum(replicas.runs)
        if length > len(self.entries) or self._sums[length] != replicas.base:
            return None
        found = set(replicas)
        place = 0
        for number, run in enumerate(replicas.runs):
            if number % 2:
                found.update([replica for replica, _ in self.entries[place : place + run]])
            place += run
        return frozenset(found)

    def _covered_by(self, context: Context) -> int:
        """Return the number of omitted entries, counted from the first, that the context covers without a gap."""
        if self.settled.items() <= context.items():
            return self.length
        sequence_of = context.get
        for place in range(self.length):
            replica, sequence = self.entries[place]
            if sequence_of(replica, 0) < sequence:
                return place
        return self.length


def _extended(sums: tuple[int, ...], entries: tuple[Dot, ...]) -> tuple[int, ...]:
    """Return the sums of the first n entries, for all n. `sums` holds the first of them, and none of other entries."""
    total = sums[-1]
    added = []
    for replica, sequence in entries[len(sums) - 1 :]:
        total = (total + entry_hash(replica, sequence)) % HASH_END
        added.append(total)
    return sums + tuple(added)


def _joined(entries: tuple[Dot, ...]) -> Context:
    joined = Context(entries)
    if len(joined) == len(entries) and 0 not in joined.values():
        return joined
    joined = Context()
    for replica, sequence in entries:
        if sequence > joined.get(replica, 0):
            joined[replica] = sequence
    return joined


NO_BASE = Base()
