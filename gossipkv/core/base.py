"""Contexts without the entries that go without saying: what replicas that are gone have written.

A replica that is gone writes nothing more. When all listed members cover what it has written, `sys.retired` says so
(`core/retired.py`), and its entry need not be repeated in every context for ever. A member leaves such entries out of
the contexts that it sends, and names what it left out by a number: the *base*, a sum of hashes of the entries. The
retired replicas have an order, so a receiver looks for the base among the sums of the first n of them, and puts the n
entries back.

- A member leaves an entry out of a context only if the context covers it. So the entries that a receiver puts back are
  true, whoever has retired the replica and whenever.
- A context whose base the receiver does not recognise says less than its sender covers, never more. It costs work (a
  walk of `sys` brings what is missing) and breaks nothing.
- A retired replica that comes back and writes has an entry again, which counts above the one that was left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gossipkv.core.causality import HASH_END, Context, Dot, ReplicaId, entry_hash


class Abridged(Context):
    """A context without the entries of its base. As it stands it covers less than was meant: it is a lower bound."""

    __slots__ = ("base",)

    def __init__(self, entries: Mapping[ReplicaId, int], base: int) -> None:
        super().__init__(entries)
        self.base = base


class AbridgedIds(frozenset[ReplicaId]):
    """A set of replicas without those of its base, which `runs` tells: how many of them, in order, are not in the set,
    how many then are, and so on."""

    __slots__ = ("base", "runs")

    base: int
    runs: tuple[int, ...]

    def __new__(cls, replicas: Iterable[ReplicaId], base: int, runs: tuple[int, ...]) -> AbridgedIds:
        abridged = super().__new__(cls, replicas)
        abridged.base = base
        abridged.runs = runs
        return abridged


class Base:
    """The retired replicas known to a member, in order, and how many of them it leaves out of its contexts. Of one
    shard; a value that nothing changes."""

    __slots__ = ("_lengths", "_sums", "entries", "length", "settled")

    def __init__(self, entries: tuple[Dot, ...] = (), length: int = 0, sums: tuple[int, ...] = (0,)) -> None:
        """`sums`: of the first entries, if they are known already."""
        assert length <= len(entries), "a member leaves out what it knows"
        self.entries = entries
        """What each retired replica had written: sequence 0 if nothing."""
        self.length = length
        self._sums = _extended(sums, entries)
        self._lengths = {total: place for place, total in enumerate(self._sums)}
        self.settled = _joined(entries[:length])
        """What this member leaves out."""

    @property
    def number(self) -> int:
        """Names what is left out; 0: nothing."""
        return self._sums[self.length]

    def of_length(self, length: int) -> Base:
        """Leave out the first so many entries."""
        return Base(self.entries, length, self._sums)

    def of_entries(self, entries: tuple[Dot, ...]) -> Base:
        """Know these retired replicas; leave out what was left out before, if it still comes first."""
        same = min(len(entries), len(self.entries))
        if entries[:same] != self.entries[:same]:
            same = next(place for place in range(same) if entries[place] != self.entries[place])
        return Base(entries, min(self.length, same), self._sums[: same + 1])

    def within(self, context: Context) -> Base:
        """Leave out no more than this context covers."""
        length = self._covered_by(context)
        return self if length == self.length else self.of_length(length)

    def settled_at(self, number: int) -> Context:
        """What a member covers that leaves out this base; nothing if it is not recognised."""
        length = self._lengths.get(number)
        return self.settled if length == self.length else _joined(self.entries[: length or 0])

    def length_of(self, number: int) -> int | None:
        """How many entries a base stands for; None if it is not recognised."""
        return self._lengths.get(number)

    def abridged(self, context: Context) -> Context:
        """The context without what this member leaves out, as far as the context covers it."""
        length = self._covered_by(context)
        number = self._sums[length]
        if not number:
            return context
        settled = self.settled if length == self.length else _joined(self.entries[:length])
        return Abridged({o: sequence for o, sequence in context.items() if sequence > settled.get(o, 0)}, number)

    def resolved(self, context: Context) -> Context:
        """The context with what its sender left out; as it was given if its base is not recognised."""
        if not isinstance(context, Abridged):
            return context
        length = self._lengths.get(context.base)
        if length is None:
            return context
        resolved = Context(self.settled) if length == self.length else _joined(self.entries[:length])
        resolved.advance(context)
        return resolved

    def abridged_ids(self, replicas: frozenset[ReplicaId]) -> frozenset[ReplicaId]:
        """A set of replicas without those that this member leaves out."""
        if not self.number:
            return replicas
        runs = [0]
        for replica, _ in self.entries[: self.length]:
            if (replica in replicas) != (len(runs) % 2 == 0):
                runs.append(0)
            runs[-1] += 1
        return AbridgedIds(replicas.difference(self.settled), self.number, tuple(runs))

    def resolved_ids(self, replicas: frozenset[ReplicaId]) -> frozenset[ReplicaId] | None:
        """The set with what its sender left out; None if its base is not recognised."""
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
        """How many of the entries that are left out the context covers, from the first on."""
        sequence_of = context.get
        for place in range(self.length):
            replica, sequence = self.entries[place]
            if sequence_of(replica, 0) < sequence:
                return place
        return self.length


def _extended(sums: tuple[int, ...], entries: tuple[Dot, ...]) -> tuple[int, ...]:
    """The sums of the first n entries, for all n; those of the first few are given."""
    if len(sums) > len(entries):
        return sums[: len(entries) + 1]
    total = sums[-1]
    added = []
    for replica, sequence in entries[len(sums) - 1 :]:
        total = (total + entry_hash(replica, sequence)) % HASH_END
        added.append(total)
    return sums + tuple(added)


def _joined(entries: tuple[Dot, ...]) -> Context:
    joined = Context()
    for replica, sequence in entries:
        if sequence > joined.get(replica, 0):
            joined[replica] = sequence
    return joined


NO_BASE = Base()
