"""Dots and contexts: they say which writes have been seen.

A dot names one write. A context names many: `{replica id: sequence}` covers every write of that replica up to and
including the sequence. Contexts are values. Once a second object holds a context, only the shard that owns it may
change it in place.

Source: Preguiça, Baquero, Almeida, Fonte, Gonçalves, "Dotted Version Vectors", 2010; Almeida, Shoker, Baquero, "Delta
State Replicated Data Types", 2018.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

import xxhash

_ENTRY = struct.Struct(">QQ")

ReplicaId = int
"""64 random bits, born with a data directory."""

SEQUENCE_MAX = 2**63 - 1


class Dot(NamedTuple):
    """The unique name of one write: the replica that took it and its place among that replica's writes, from 1."""

    replica: ReplicaId
    sequence: int

    def __str__(self) -> str:
        return "%016x-%x" % self  # noqa: UP031 (every answer names a dot; this takes half the time of an f-string)


class Context(dict[ReplicaId, int]):
    """A version vector. An absent replica counts as sequence 0."""

    __slots__ = ()

    def covers(self, dot: Dot) -> bool:
        """Return whether the context covers a write."""
        return self.get(dot.replica, 0) >= dot.sequence

    def covers_all(self, other: Mapping[ReplicaId, int]) -> bool:
        """Return whether the context covers everything that `other` covers."""
        covered = self.get
        for replica, sequence in other.items():  # noqa: SIM110 (a loop costs half of all() here)
            if covered(replica, 0) < sequence:
                return False
        return True

    def joined(self, other: Mapping[ReplicaId, int]) -> Context:
        """Return the context that covers what either covers."""
        joined = Context(self)
        joined.advance(other)
        return joined

    def met(self, other: Mapping[ReplicaId, int]) -> Context:
        """Return the context that covers what both cover."""
        return Context(
            {replica: min(sequence, other[replica]) for replica, sequence in self.items() if replica in other}
        )

    def advance(self, other: Mapping[ReplicaId, int]) -> None:
        """Cover also what `other` covers, in place. Only the owner of a context may call it."""
        covered = self.get
        for replica, sequence in other.items():
            if sequence > covered(replica, 0):
                self[replica] = sequence

    def excess(self, other: Mapping[ReplicaId, int]) -> list[tuple[ReplicaId, int]]:
        """Return the entries of this context that `other` does not cover."""
        covered = other.get
        return [(replica, sequence) for replica, sequence in self.items() if sequence > covered(replica, 0)]

    def missing_from(self, other: Mapping[ReplicaId, int]) -> list[ReplicaId]:
        """Return the replicas for which `other` covers less than this context, in order of their ids."""
        return sorted([replica for replica, _ in self.excess(other)])

    def excess_over(self, other: Mapping[ReplicaId, int]) -> int:
        """Return the number of writes that this context covers and `other` does not."""
        return sum(sequence - other.get(replica, 0) for replica, sequence in self.excess(other))

    def digest(self) -> int:
        """Return a 64-bit hash, equal for equal contexts. It is the sum of the hashes of the entries, so the owner of a
        context can keep it up to date entry by entry."""
        return sum(map(entry_hash, self, self.values())) % HASH_END


HASH_END = 2**64


def entry_hash(replica: ReplicaId, sequence: int) -> int:
    """Return what an entry adds to the hash of a context, modulo `HASH_END`; 0 if its sequence is 0."""
    return xxhash.xxh3_64_intdigest(_ENTRY.pack(replica, sequence)) if sequence else 0
