"""What a replica remembers of collected tombstones, and how it recognises an old volume.

Collecting a tombstone leaves a **proof** with three parts:

- the *marks*, which cover the contexts of all collected rows;
- the *listed* replicas, each of which covered the marks at that moment;
- the *known* replicas: all that the collector had heard of, including those that were forgotten or lost their disk.

So a known replica that does not cover the marks is an old volume: a disk that was replaced and has come back, or one
that was set back to an old copy. It may hold deleted rows. Such a replica is **outdated**: it sets its data aside and
joins as a new replica. A newcomer covers just as little, but no proof knows it.

- A replica takes over the proofs of every peer as soon as it covers their marks. So a member that lost its disk and
  filled itself again recognises old volumes as the collectors do.
- A proof is joined with another only when every listed member covers the marks of both. Counterexample: two parts of a
  cluster that never met each collect. The joined proof knows the members of the first part. It would judge them by the
  marks of the second part, which they have never met.
- Data have a **lineage**: the ids of the replicas that they were brought up to date from, and the ids that they had
  before. Counterexample to judging by the present id alone: a newcomer fills itself from an old volume while all others
  are down. It holds the same deleted rows, so it is as outdated as its source.
- A lineage counts only if the source was listed. Counterexample: a and b exchange rows. b loses its disk and continues
  among newcomers that never meet a. They know the old b. They must not judge a by it, because only a has the rows. The
  lineage is dropped when a proof knows the replica itself.
- An interrupted fill leaves no lineage, and a source that lacks rows leaves none either: neither covers what the source
  had collected. Counterexample to recording the lineage with the first row: a newcomer begins to fill itself from a,
  which is sound and listed, and is interrupted. It does not cover the marks yet. It would be outdated, with all that it
  wrote itself.

So a newcomer whose fill was interrupted is not judged. Counterexample to leaving it at that: k was deleted and
collected everywhere. While the others are down, c is set back to an old copy. A newcomer begins to fill itself from c
and takes in k; c stops before the end. The others return. No proof knows the newcomer, and it has no lineage, so it
brings k back. The newcomer has vouched to no one for what it took in, so those rows are judged one by one:

- A replica with proofs compares each version that arrives from a peer that does not cover its marks. It refuses
  versions that it covers and does not hold (`Store.take_in`). Marks alone are not enough: a tombstone may have dropped
  the entry of what it replaced.
- A replica that walks a peer whose marks it does not cover yields to the peer (`core/transfer/walk.py`). Before it
  covers the marks itself, it drops the versions that the peer covers and does not hold. There is no other way past the
  marks: journals do not serve a peer that is below what was collected.
- It adopts no write of a replica that is gone before all listed members have said what they cover
  (`core/upkeep/adoption.py`).

What remains: an old volume that takes a new id writes rows again whose names were in doubt when it was copied. A
newcomer may have taken in some of these rows. It holds them under names that no member covers, and they count as new.

Anyone who reaches the gossip port can invent a proof, and marks that name writes that were never made. Which proofs are
believed is in `core/sync/witnesses.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

import xxhash

from gossipkv.core.model.causality import Context, ReplicaId

LINEAGE_MAX = 16
"""Maximum number of replica ids in a lineage; the latest count."""

PROOFS_MAX = 16
"""Maximum number of proofs of one shard. A replica has one, except while parts of a cluster that never met come
together."""

PROOF_IDS_MAX = 16_000
"""Maximum number of replicas that a proof lists or knows, without those that messages omit. A message holds 16,384."""

PROOFS_IDS_MAX = 65_536
"""The same limit for all proofs together, marks included: they go into one message of bounded size."""

_DIGESTS = struct.Struct(">QQQ")
_ID = struct.Struct(">Q")


class Proof(NamedTuple):
    """The record that tombstones up to the marks could be collected."""

    marks: Context
    """The context that covers the contexts of all rows collected. If a replica covers the marks and does not hold a
    version up to them, the version was superseded, and is not taken in again."""
    listed: frozenset[ReplicaId]
    """The collector's own id, and those of all members that had a record."""
    known: frozenset[ReplicaId]
    """All replicas that the collector had heard of. Empty in data of version 0.1.0: then all that are known now."""

    def joined(self, other: Proof) -> Proof:
        """Return one proof in place of both. It finds outdated all that either does, and perhaps more."""
        return Proof(self.marks.joined(other.marks), self.listed | other.listed, self.known | other.known)

    def implies(self, other: Proof) -> bool:
        """Return whether all data that `other` finds outdated are outdated by this proof too."""
        return other.known <= self.known and other.listed <= self.listed and self.marks.covers_all(other.marks)

    def finds_outdated(self, replica: ReplicaId, lineage: Iterable[ReplicaId], context: Context) -> bool:
        """Return whether data of this replica and lineage that cover this context may hold what was deleted."""
        is_concerned = replica in self.known or any(source in self.listed for source in lineage)
        return is_concerned and not context.covers_all(self.marks)

    def digest(self) -> bytes:
        """Return 24 bytes, equal for equal proofs."""
        return _DIGESTS.pack(self.marks.digest(), _digest(self.listed), _digest(self.known))


Proofs = tuple[Proof, ...]


class Collected(NamedTuple):
    """The proofs, the greatest timestamp and the lineage of one shard of one replica."""

    proofs: Proofs = ()
    timestamp: int = 0
    """The greatest timestamp of all tombstones collected. Where a row is gone, a new write must outrank what was there,
    because others may still hold its tombstone."""
    lineage: tuple[ReplicaId, ...] = ()
    """The replica ids that the data descend from, besides the present one, oldest first."""

    @property
    def marks(self) -> Context:
        """The context that covers the marks of all proofs; not to be changed."""
        if len(self.proofs) == 1:
            return self.proofs[0].marks
        marks = Context()
        for proof in self.proofs:
            marks.advance(proof.marks)
        return marks

    def digest(self) -> int:
        """Return a 64-bit hash of the proofs, equal for equal ones."""
        return xxhash.xxh3_64_intdigest(b"".join(sorted([proof.digest() for proof in self.proofs])))

    def extended(
        self, proof: Proof, timestamp: int, settled: Context, fits: Callable[[Proofs], bool] = lambda _: True
    ) -> Collected:
        """Return the state after a collection. `settled` is what every listed member covers: held proofs up to there
        are joined with the new one, if the result fits into a message."""
        others: Proofs = ()
        for held in self.proofs:
            if settled.covers_all(held.marks) and fits((proof.joined(held),)):
                proof = proof.joined(held)
            else:
                others = (*others, held)
        return self._replace(proofs=_with(others, proof), timestamp=max(timestamp, self.timestamp))

    def adopting(self, proofs: Proofs, context: Context, fits: Callable[[Proofs], bool] = lambda _: True) -> Collected:
        """Return the state with a peer's proofs, as far as a replica of this context covers them and messages can hold
        them."""
        held = self.proofs
        for proof in proofs:
            if context.covers_all(proof.marks) and fits(found := _with(held, proof)):
                held = found
        return self._replace(proofs=held)

    def inheriting(self, replicas: Iterable[ReplicaId], own: ReplicaId) -> Collected:
        """Return the state with these ids in the lineage. A proof that knows the replica itself drops the lineage."""
        if any(own in proof.known for proof in self.proofs):
            return self._replace(lineage=())
        ids = dict.fromkeys(self.lineage) | dict.fromkeys(replicas)
        ids.pop(own, None)
        return self._replace(lineage=tuple(ids)[-LINEAGE_MAX:])


NOTHING_COLLECTED = Collected()


def _with(proofs: Proofs, proof: Proof) -> Proofs:
    """Return the proofs with one more, without those that another one implies, and at most PROOFS_MAX. A joined proof
    finds at least as much outdated as the two that it replaces."""
    if any(each.implies(proof) for each in proofs):
        return proofs
    proofs = (*[each for each in proofs if not proof.implies(each)], proof)
    while len(proofs) > PROOFS_MAX:
        proofs = (proofs[0].joined(proofs[1]), *proofs[2:])
    return proofs


def _digest(replicas: frozenset[ReplicaId]) -> int:
    return xxhash.xxh3_64_intdigest(b"".join(map(_ID.pack, sorted(replicas))))


def is_outdated(proofs: Proofs, replica: ReplicaId, lineage: tuple[ReplicaId, ...], context: Context) -> bool:
    """Return whether any proof finds data of this replica, lineage and context outdated."""
    return any(proof.finds_outdated(replica, lineage, context) for proof in proofs)
