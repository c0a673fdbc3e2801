"""Divides a batch that needs more room than one transaction should take.

LMDB writes a changed page to a free one and frees the old page two commits later. A transaction that took the last free
page would leave none for the next one, and without a next one no page becomes free. So a transaction takes only a share
of what is free. What may be divided, and how:

- inputs, into runs of neighbours: their order stays;
- a write, into its operations, which stay in order;
- rows from a peer, into any number of pieces. The pieces come without ranges, so they claim nothing. Afterwards the
  whole is taken in as it came: its rows are here already, and it says what is covered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gossipkv.core.inputs import Answered, Input, Received, Write
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Delta, Envelope, RowCopy, WalkRows

PAGE_BYTES = 4096
PAGES_PER_ROW = 4
"""The number of pages that only one row changes: leaves of rows, journal, leaves (or deadlines) and fingerprint. The
rows of a transaction share the branches above, and entries that are written in order (journal, tombstones)."""
ROW_BYTES = PAGES_PER_ROW * PAGE_BYTES
TRANSACTION_SHARE = 0.4
"""The share of free room that one transaction may take. The pages that it replaces become free two commits later."""


def rows_max(free_bytes: int) -> int:
    """Return the maximum number of rows that a transaction may write, not counting their values; at least 1."""
    return max(1, int(free_bytes * TRANSACTION_SHARE) // ROW_BYTES)


def weight(happened: Input) -> int:
    """Return the estimated size of the pages that an input may change, in bytes; 0 for inputs without rows."""
    match happened:
        case Write(operations=tuple() as operations):
            # The input has not been admitted yet, so operations and values may be of any type.
            total = ROW_BYTES * len(operations)
            for operation in operations:
                value = getattr(operation, "value", None)
                if isinstance(value, bytes):
                    total += len(value)
            return total
        case Received(envelope=envelope) | Answered(envelope=envelope):
            return sum(_copy_weight(copy) for _, copy in _copies(envelope))
        case _:
            return 0


def runs(inputs: Sequence[Input], bytes_max: int) -> list[Sequence[Input]]:
    """Return the inputs in order, in runs of at most this weight. An input that weighs more is alone."""
    found: list[Sequence[Input]] = []
    run: list[Input] = []
    total = 0
    for one in inputs:
        own = weight(one)
        if run and total + own > bytes_max:
            found.append(run)
            run, total = [], 0
        run.append(one)
        total += own
    return [*found, run] if run else found


def writes(whole: Write, bytes_max: int) -> list[Write]:
    """Divide a write into writes of at most this weight. Only the first one checks whether enough members are alive."""
    single = [_of(whole, (operation,)) for operation in whole.operations]
    parts = [
        _of(whole, tuple(o for part in run if isinstance(part, Write) for o in part.operations))
        for run in runs(single, bytes_max)
    ]
    return [part if place == 0 else part._replace(copies=1) for place, part in enumerate(parts)]


def _of(whole: Write, operations: tuple[Operation, ...]) -> Write:
    return whole._replace(operations=operations)


def pieces(happened: Received | Answered, bytes_max: int) -> Iterator[Received]:
    """Iterate over the rows of an envelope, in pieces of at most this weight that claim nothing."""
    envelope = happened.envelope
    piece: list[RowCopy] = []
    total, of_shard = 0, ""
    for shard, copy in _copies(envelope):
        own = _copy_weight(copy)
        if piece and (total + own > bytes_max or shard != of_shard):
            yield _piece(envelope, of_shard, piece)
            piece, total = [], 0
        piece.append(copy)
        total += own
        of_shard = shard
    if piece:
        yield _piece(envelope, of_shard, piece)


def _piece(envelope: Envelope, shard: str, piece: list[RowCopy]) -> Received:
    return Received(replace(envelope, messages=(Delta(shard, {}, tuple(piece)),)))


def _copies(envelope: Envelope) -> Iterator[tuple[str, RowCopy]]:
    for message in envelope.messages:
        if isinstance(message, Delta | WalkRows):
            for copy in message.rows:
                yield message.shard, copy


def _copy_weight(copy: RowCopy) -> int:
    return ROW_BYTES + sum(len(version.value or b"") for version in copy.row.versions)
