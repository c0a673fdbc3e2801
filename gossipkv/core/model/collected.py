"""What a replica remembers of the tombstones that have been collected, and how it recognises an old volume.

Collecting a tombstone leaves a **proof**: the *marks*, which cover the contexts of all rows collected; the replicas
that were *listed*, every one of which covered the marks at that moment; and all replicas that were *known*, which
includes those that had been forgotten or whose disk had been replaced. It follows that a known replica that does not
cover the marks is an old volume: a disk that was replaced and has come back, or one that was set back to an old copy.
It may hold what was deleted, so it is **outdated**: it sets its data aside and joins as a new replica. A newcomer
covers as little, but no proof knows it.

- A replica takes over the proofs of every peer as soon as it covers their marks. A member that lost its disk and filled
  itself again recognises old volumes as those do that have collected.
- A proof is joined with another only when every listed member covers the marks of both. Counterexample: two parts of a
  cluster that never met each collect. A member of the first part must not be judged by the marks of the second before
  it has met that part, although it is known to the first.
- Data have a **lineage**: the ids of the replicas that they were brought up to date from, or had before. A newcomer
  that filled itself from an old volume while all others were down holds the same deleted rows; it is as outdated as its
  source. A lineage counts only if the source was listed. Counterexample: a and b exchange rows, b loses its disk and
  goes on among newcomers that never meet a. They know the old b, and must not judge by it a, which alone has the rows.
  The lineage is dropped when a proof knows the replica itself.
- A fill that was interrupted leaves no lineage, nor does one from a source that lacks rows: neither covers what the
  source had collected. Counterexample to leaving it at that: k was deleted and collected
  everywhere, and c is set back to an old copy while the others are down. A newcomer begins to fill itself from c, takes
  in k, and c stops before the end. The others return. No proof knows the newcomer and it has no lineage, so it brings k
  back. Counterexample to noting the lineage with the first row: a newcomer begins to fill itself from a, which is sound
  and listed, and is interrupted. It does not cover the marks yet, and would be outdated with all that it wrote itself.
  So such a newcomer is not judged. What it took in, for which it has vouched to no one, is judged row by row:
  - A replica with proofs takes no version that it covers and does not hold from a peer that does not cover its marks
    (`Store.take_in`). Marks alone do not tell: a tombstone may have dropped the entry of what it replaced.
  - A replica that walks a peer whose marks it does not cover yields to the peer (`core/walk.py`). It drops the versions
    that the peer covers and does not hold, before it covers the marks itself. No context passes the marks otherwise:
    journals do not serve a peer that is below what was collected.
  - It adopts no write of a replica that is gone before all listed members have said what they cover
    (`core/adoption.py`).

  What remains: an old volume that takes a new id writes rows again whose names were in doubt when it was copied. A
  newcomer that has taken in such rows in part holds them under names that no one covers, and they count as new.
- Anyone who reaches the gossip port can invent a proof, and marks that name writes which no one has made. Which proofs
  are believed, and what remains, is in `core/witnesses.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

import xxhash

from gossipkv.core.model.causality import Context, ReplicaId

LINEAGE_MAX = 16
"""Replica ids in a lineage; the latest count."""

PROOFS_MAX = 16
"""Proofs of one shard. A replica has one, except while parts of a cluster that never met come together."""

PROOF_IDS_MAX = 16_000
"""Maximum number of replicas that a proof lists or knows, without those that messages leave out: a message holds
16,384."""

PROOFS_IDS_MAX = 65_536
"""The same of all proofs together, marks included: they go into one message of bounded size."""

_DIGESTS = struct.Struct(">QQQ")
_ID = struct.Struct(">Q")


class Proof(NamedTuple):
    """That tombstones could be collected."""

    marks: Context
    """Covers the contexts of all rows collected. A version up to the marks that is not held by a replica that covers
    them was superseded, and is not taken in again."""
    listed: frozenset[ReplicaId]
    """The collector's own and those of all members that had a record."""
    known: frozenset[ReplicaId]
    """All replicas that the collector had heard of. Empty in data of version 0.1.0: then all that are known now."""

    def joined(self, other: Proof) -> Proof:
        return Proof(self.marks.joined(other.marks), self.listed | other.listed, self.known | other.known)

    def implies(self, other: Proof) -> bool:
        """Whether all data that the other finds outdated are outdated by this one too."""
        return other.known <= self.known and other.listed <= self.listed and self.marks.covers_all(other.marks)

    def finds_outdated(self, replica: ReplicaId, lineage: Iterable[ReplicaId], context: Context) -> bool:
        """Whether data of this replica and lineage that cover this context may hold what was deleted."""
        is_concerned = replica in self.known or any(source in self.listed for source in lineage)
        return is_concerned and not context.covers_all(self.marks)

    def digest(self) -> bytes:
        return _DIGESTS.pack(self.marks.digest(), _digest(self.listed), _digest(self.known))


Proofs = tuple[Proof, ...]


class Collected(NamedTuple):
    """Of one shard of one replica."""

    proofs: Proofs = ()
    timestamp: int = 0
    """The greatest of all tombstones collected. What is written where nothing is left must outrank what was there, for
    others may still hold its tombstone."""
    lineage: tuple[ReplicaId, ...] = ()
    """Replica ids that the data descend from, besides the present one, oldest first."""

    @property
    def marks(self) -> Context:
        """What any proof covers; not to be changed."""
        if len(self.proofs) == 1:
            return self.proofs[0].marks
        marks = Context()
        for proof in self.proofs:
            marks.advance(proof.marks)
        return marks

    def digest(self) -> int:
        """64-bit hash of the proofs, equal for equal ones."""
        return xxhash.xxh3_64_intdigest(b"".join(sorted([proof.digest() for proof in self.proofs])))

    def extended(
        self, proof: Proof, timestamp: int, settled: Context, fits: Callable[[Proofs], bool] = lambda _: True
    ) -> Collected:
        """After a collection. `settled` is what every listed member covers: proofs up to there become one, if that
        fits into a message."""
        others: Proofs = ()
        for held in self.proofs:
            if settled.covers_all(held.marks) and fits((proof.joined(held),)):
                proof = proof.joined(held)
            else:
                others = (*others, held)
        return self._replace(proofs=_with(others, proof), timestamp=max(timestamp, self.timestamp))

    def adopting(self, proofs: Proofs, context: Context, fits: Callable[[Proofs], bool] = lambda _: True) -> Collected:
        """With the proofs of a peer, as far as a replica of this context covers them and messages can hold them."""
        held = self.proofs
        for proof in proofs:
            if context.covers_all(proof.marks) and fits(found := _with(held, proof)):
                held = found
        return self._replace(proofs=held)

    def inheriting(self, replicas: Iterable[ReplicaId], own: ReplicaId) -> Collected:
        """With these ids in the lineage, which is of use until a proof knows the replica itself."""
        if any(own in proof.known for proof in self.proofs):
            return self._replace(lineage=())
        ids = dict.fromkeys(self.lineage) | dict.fromkeys(replicas)
        ids.pop(own, None)
        return self._replace(lineage=tuple(ids)[-LINEAGE_MAX:])


NOTHING_COLLECTED = Collected()


def _with(proofs: Proofs, proof: Proof) -> Proofs:
    """With one more proof, without those that another implies, and at most PROOFS_MAX: to join two finds no less
    outdated than both do, and perhaps more."""
    if any(each.implies(proof) for each in proofs):
        return proofs
    proofs = (*[each for each in proofs if not proof.implies(each)], proof)
    while len(proofs) > PROOFS_MAX:
        proofs = (proofs[0].joined(proofs[1]), *proofs[2:])
    return proofs


def _digest(replicas: frozenset[ReplicaId]) -> int:
    return xxhash.xxh3_64_intdigest(b"".join(map(_ID.pack, sorted(replicas))))


def is_outdated(proofs: Proofs, replica: ReplicaId, lineage: tuple[ReplicaId, ...], context: Context) -> bool:
    """Whether any proof finds data of this replica, lineage and context outdated."""
    return any(proof.finds_outdated(replica, lineage, context) for proof in proofs)
