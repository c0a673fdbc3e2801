"""Every write that ever became durable anywhere, by its dot. The checkers compare replicas with this history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation

if TYPE_CHECKING:
    from gossipkv.simulation.world.disk import Disk


Rank = tuple[int, ReplicaId]


class WriteRecord(NamedTuple):
    """A write as it first became durable."""

    address: bytes
    timestamp: int
    value: bytes | None
    replica: ReplicaId

    @property
    def rank(self) -> tuple[int, ReplicaId]:
        """The rank that decides between versions: the timestamp, then the replica."""
        return self.timestamp, self.replica


class Restamped(NamedTuple):
    """A write that its replica has stamped again with an earlier timestamp."""

    old: Rank
    new: Rank
    later: set[Rank]
    """The ranks of writes to the row that became durable later."""


class History:
    """The writes of a run, and what else the checkers must know of it."""

    def __init__(self) -> None:
        self._writes: dict[tuple[str, ReplicaId], list[WriteRecord]] = defaultdict(list)
        self._covered: dict[tuple[str, ReplicaId], Context] = defaultdict(Context)
        self._restamped: dict[tuple[str, bytes], list[Restamped]] = defaultdict(list)
        """The writes that their replica has stamped again, in order, by shard and address."""
        self._buried: dict[tuple[str, bytes], tuple[tuple[int, ReplicaId], Context]] = {}
        self.do_clocks_jump = True
        """Whether any clock may jump at any time."""
        self.disks: Callable[[], list[Disk]] = list
        """The function that returns the current disks of all hosts."""
        self.given_up: set[tuple[str, bytes]] = set()
        """The shards and addresses of rows that a member lacked, if a write of the row was lost with all disks that
        held it."""
        self.fills_in_part = False
        """Whether a member that fills itself from an old volume is interrupted."""
        self.has_stranger = False
        """Whether a stranger spreads forged rumours."""
        self.invented: set[ReplicaId] = set()
        """The replicas that a stranger has invented."""
        self.requested: set[tuple[bytes, bytes | None]] = set()
        """The addresses and values that clients asked to write, whether they were stored or not. Values are unique."""
        self.contexts_given: dict[tuple[bytes, bytes | None], list[Context | None]] = defaultdict(list)
        """The contexts given with these writes, by address and value; None stands for no context."""

    def note_requests(self, operations: Iterable[Operation]) -> None:
        """Record the operations that a client asks for, before their outcome is known."""
        for address, value, _, _, seen, _ in operations:
            self.requested.add((address, value))
            given = None if seen is None else seen.context
            if given not in self.contexts_given[address, value]:
                self.contexts_given[address, value].append(given)

    def sequence_of(self, shard: str, origin: ReplicaId) -> int:
        """Return the greatest sequence that the origin committed; 0 if it committed none."""
        return len(self._writes[shard, origin])

    def find(self, shard: str, dot: Dot) -> WriteRecord | None:
        """Return the write with this name; None if no such write became durable."""
        writes = self._writes[shard, dot.replica]
        return writes[dot.sequence - 1] if 1 <= dot.sequence <= len(writes) else None

    def add(self, shard: str, address: bytes, version: Version) -> None:
        """Record the next durable write of an origin."""
        record = WriteRecord(address, version.timestamp, version.value, version.dot.replica)
        self._writes[shard, version.dot.replica].append(record)
        for restamped in self._restamped.get((shard, address), ()):
            restamped.later.add(record.rank)

    def note_restamped(self, shard: str, address: bytes, old: Version, new: Version) -> None:
        """Record that a replica has stamped its own write again."""
        self._restamped[shard, address].append(Restamped(old.rank, new.rank, set()))

    def rank_now(self, shard: str, address: bytes, rank: Rank) -> Rank:
        """Return the rank that stands for this one by now. A write that was stamped again has taken along the ranks of
        the writes before it that it had outranked."""
        for old, new, later in self._restamped.get((shard, address), ()):
            if new < rank <= old and rank not in later:
                rank = new
        return rank

    def note_buried(self, shard: str, address: bytes, row: StoredRow) -> None:
        """Record that a member has collected a tombstone."""
        rank, context = self._buried.get((shard, address), (row.winner.rank, Context()))
        self._buried[shard, address] = max(rank, row.winner.rank), context.joined(row.context)

    def is_buried(self, shard: str, address: bytes, dot: Dot) -> bool:
        """Return whether a tombstone collected somewhere had seen this write, or was this write."""
        return (shard, address) in self._buried and self._buried[shard, address][1].covers(dot)

    def is_outranked_by_collected(self, shard: str, address: bytes, rank: tuple[int, ReplicaId]) -> bool:
        """Return whether a tombstone collected somewhere outranks a version, or is that version."""
        return (shard, address) in self._buried and self._buried[shard, address][0] >= rank

    def between(self, shard: str, origin: ReplicaId, after: int, through: int) -> list[WriteRecord]:
        """Return the writes of an origin with `after < sequence <= through`."""
        return self._writes[shard, origin][after:through]

    def note_covered(self, shard: str, replica: ReplicaId, context: Context) -> None:
        """Record the context that a replica has committed."""
        self._covered[shard, replica] = context

    def covered_by(self, shard: str, replica: ReplicaId) -> Context:
        """Return the last context that the replica committed, even if its disk is lost."""
        return self._covered[shard, replica]
