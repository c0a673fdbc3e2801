"""I2: a context covers a write only if the replica holds it or something of greater rank, or has noted that it lacks
the row.

This is checked whenever a context advances, against all writes that ever became durable, including those on lost disks.
After that, the rank of what the replica holds never falls, which I1 checks.
"""

from __future__ import annotations

from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.protocol.messages import (
    Ack,
    Covered,
    Delta,
    Envelope,
    Message,
    OfShard,
    Ping,
    PingRequest,
    Pull,
    State,
    ValuePart,
    WalkRoot,
    WalkRows,
)
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import WriteRecord
from gossipkv.simulation.world.disk import Commit, Disk
from gossipkv.simulation.world.host import Host


class ContextsChecker(Checker):
    """The checker of I2: contexts cover only what is held, superseded, collected or lacking."""

    name = "I2_contexts"

    def committed(self, commit: Commit) -> None:
        """Check each advance of a context, and each row that is no longer lacking."""
        for shard, address in commit.recalled:
            self._check_recalled(commit, shard, address)
        for shard, (before, after) in commit.advanced.items():
            self.history.note_covered(shard, commit.disk.replica, after)
            for origin, through in after.items():
                covered = before.get(origin, 0)
                if through == covered or origin in self.history.invented:
                    continue
                self.require(through >= covered, commit.disk.member, "covers less of", f"{origin:016x}", "than before")
                self._check(commit, shard, origin, covered, through)

    def _check_recalled(self, commit: Commit, shard: str, address: bytes) -> None:
        """Check that a row that is no longer lacking is held as far as the context says."""
        context = commit.disk.context(shard)
        row = commit.disk.committed_row(shard, address)
        for origin, through in context.items():
            for place, write in enumerate(self.history.between(shard, origin, 0, through)):
                if write.address == address and self._is_lost(commit.disk, shard, Dot(origin, place + 1), write):
                    self.history.given_up.add((shard, address))
                self.require(
                    write.address != address
                    or (shard, address) in self.history.given_up
                    or (row is not None and row.winner.rank >= self._rank(shard, write))
                    or self.history.is_outranked_by_collected(shard, address, self._rank(shard, write)),
                    commit.disk.member, "lacks", address, "no longer and holds", row, "instead of", write,
                )  # fmt: skip

    def _is_lost(self, recalling: Disk, shard: str, dot: Dot, write: WriteRecord) -> bool:
        """Return whether no disk holds the write or anything that superseded it. A row of greater rank proves nothing
        if its holder has not heard of the write, or covers it and lacks the row."""
        for disk in self.history.disks():
            row = disk.committed_row(shard, write.address)
            is_whole = disk is not recalling and write.address not in disk.lacking_of(shard)
            if (
                row is not None
                and row.winner.rank >= self._rank(shard, write)
                and (row.context.covers(dot) or (is_whole and disk.context(shard).covers(dot)))
            ):
                return False
        return True

    def _rank(self, shard: str, write: WriteRecord) -> tuple[int, ReplicaId]:
        return self.history.rank_now(shard, write.address, write.rank)

    def _check(self, commit: Commit, shard: str, origin: ReplicaId, covered: int, through: int) -> None:
        disk = commit.disk
        lacking = disk.lacking_of(shard)
        self.require(
            through <= self.history.sequence_of(shard, origin),
            disk.member, "covers writes of", f"{origin:016x}", "that never became durable",
        )  # fmt: skip
        for place, write in enumerate(self.history.between(shard, origin, covered, through)):
            row = disk.committed_row(shard, write.address)
            self.require(
                write.address in lacking
                # The row has become unreadable during this commit.
                or (shard, write.address) in disk.unreadable
                or (shard, write.address) in self.history.given_up
                or (row is not None and row.winner.rank >= self._rank(shard, write))
                or self.history.is_outranked_by_collected(shard, write.address, self._rank(shard, write)),
                disk.member, "covers", f"{origin:016x}-{covered + 1 + place:x}", "and holds", row,
                "instead of", write, "in", shard,
            )  # fmt: skip


class KnowledgeChecker(Checker):
    """The checker that a replica believes that a peer covers something only if the peer has committed it."""

    name = "peer_contexts"

    def examined(self, host: Host) -> None:
        """Check what the member believes of each peer against what the peer has committed."""
        assert host.process is not None
        for peer in host.process.replica.peers:
            if peer.replica is None:
                continue
            for shard, context in peer.conversation.contexts.items():
                committed = self.history.covered_by(shard, peer.replica)
                believed = Context({o: s for o, s in context.items() if o not in self.history.invented})
                self.require(
                    committed.covers_all(believed),
                    host.name, "believes that", peer.member, "covers", context, "of", shard,
                    "but it covers", committed,
                )  # fmt: skip


class DurabilityChecker(Checker):
    """The checker of I5: a member sends only what is committed in its storage."""

    name = "I5_durability"

    def leaving(self, host: Host, envelope: Envelope) -> None:
        """Check the rows and the contexts in the messages against the sender's disk."""
        for message in envelope.messages:
            if isinstance(message, Ping | PingRequest | Ack):
                continue
            self._check_rows(host, message)
            context = _claimed(message)
            if context is not None:
                assert host.process is not None, "it is up"
                shard = host.process.replica.shards[message.shard]
                context = shard.base.resolved(context)
                self.require(
                    host.disk.context(message.shard).covers_all(context),
                    host.name, "claims to cover", context, "before it is durable",
                )  # fmt: skip

    def _check_rows(self, host: Host, message: OfShard) -> None:
        if not isinstance(message, Delta | WalkRows | ValuePart):
            return
        ranks = [(address, row.winner.rank) for address, row in message.rows]
        ranks += [(address, (first.timestamp, first.dot.replica)) for address, (first, *_), _ in message.large]
        for address, rank in ranks:
            committed = host.disk.committed_row(message.shard, address)
            rank = self.history.rank_now(message.shard, address, rank)
            self.require(
                (committed is not None and committed.winner.rank >= rank)
                # The row may have become unreadable after the step that made the message.
                or host.disk.is_missing(message.shard, address)
                or self.history.is_outranked_by_collected(message.shard, address, rank),
                host.name, "sends a version of rank", rank, "at", address, "and has committed", committed,
            )  # fmt: skip


def _claimed(message: Message) -> Context | None:
    match message:
        case State() | Covered() | Pull() | WalkRoot():
            return message.context
        case Delta():
            return Context({origin: through for origin, (_, through) in message.ranges.items()})
    return None
