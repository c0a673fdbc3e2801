"""A write that asks for several copies: what follows from each outcome. Does no I/O.

1. It is stored only where enough members are alive for its copies. If too few are, nothing is stored.
2. It then waits for members. Once enough are alive, it is tried again, as often as its deadline allows.
3. If it is stored, it waits for the copies. Who covers the last of its writes covers all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gossipkv.core.inputs import Answer, Await
from gossipkv.core.model.write import Operation, StoredWrite
from gossipkv.core.waits.answers import Coverage, Found, Reach, Receipt


@dataclass(frozen=True, slots=True)
class QuorumWrite:
    shard: str
    operations: Sequence[Operation]
    copies: int
    deadline_ms: int

    def wait_after(self, outcome: Answer | Exception, tickets: Iterator[int]) -> Await | None:
        """What to wait for after a try: members if nothing was stored, copies if a write was. None: the end is reached,
        because it has failed, or no operation of it was carried out."""
        if isinstance(outcome, Reach):
            return Await(next(tickets), self.copies, deadline_ms=self.deadline_ms)
        if not isinstance(outcome, list):
            return None
        written = {
            operation.address: result.dot
            for operation, result in zip(self.operations, outcome, strict=True)
            if isinstance(result, StoredWrite)
        }
        if not written:
            return None
        receipt = Receipt(self.shard, max(written.values()))
        return Await(next(tickets), self.copies, receipt, written, self.deadline_ms)

    def is_to_be_tried_again(self, reached: Coverage | Reach | Found | None) -> bool:
        """Whether enough members are alive at the end of the wait for members."""
        return isinstance(reached, Reach) and reached.answering >= self.copies
