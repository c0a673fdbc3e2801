"""Every write that ever became durable anywhere, by its dot: what the checkers measure replicas against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from gossipkv.core.causality import Context, Dot, ReplicaId
from gossipkv.core.row import Version
from gossipkv.core.write import Operation


class WriteRecord(NamedTuple):
    address: bytes
    timestamp: int
    value: bytes | None
    replica: ReplicaId

    @property
    def rank(self) -> tuple[int, ReplicaId]:
        return self.timestamp, self.replica


class History:
    def __init__(self) -> None:
        self._writes: dict[tuple[str, ReplicaId], list[WriteRecord]] = defaultdict(list)
        self._covered: dict[tuple[str, ReplicaId], Context] = defaultdict(Context)
        self.requested: set[tuple[bytes, bytes | None]] = set()
        """What clients asked to be written, whatever became of it; values are unique."""
        self.contexts_given: dict[tuple[bytes, bytes | None], list[Context | None]] = defaultdict(list)
        """With which contexts they did; None: without."""

    def note_requests(self, operations: Iterable[Operation]) -> None:
        for address, value, _, _, seen, _ in operations:
            self.requested.add((address, value))
            given = None if seen is None else seen.context
            if given not in self.contexts_given[address, value]:
                self.contexts_given[address, value].append(given)

    def sequence_of(self, shard: str, origin: ReplicaId) -> int:
        """The greatest sequence that the origin committed."""
        return len(self._writes[shard, origin])

    def find(self, shard: str, dot: Dot) -> WriteRecord | None:
        writes = self._writes[shard, dot.replica]
        return writes[dot.sequence - 1] if 1 <= dot.sequence <= len(writes) else None

    def add(self, shard: str, address: bytes, version: Version) -> None:
        """The next write of its origin."""
        record = WriteRecord(address, version.timestamp, version.value, version.dot.replica)
        self._writes[shard, version.dot.replica].append(record)

    def between(self, shard: str, origin: ReplicaId, after: int, through: int) -> list[WriteRecord]:
        return self._writes[shard, origin][after:through]

    def note_covered(self, shard: str, replica: ReplicaId, context: Context) -> None:
        self._covered[shard, replica] = context

    def covered_by(self, shard: str, replica: ReplicaId) -> Context:
        """The last context that the replica committed, its disk lost or not."""
        return self._covered[shard, replica]
