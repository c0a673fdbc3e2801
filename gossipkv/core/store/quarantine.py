"""Rows on disk that cannot be read.

When a reader finds a row unreadable, the row is moved into quarantine in a transaction of its own, before the next
batch. Its bytes and the reason are kept, and it is taken out of all that is derived from rows. From then on the core
treats it as absent, with these exceptions:

- A reader of this row is told that it cannot be read, not that it is absent.
- A put or delete without a condition replaces it everywhere, by last-write-wins: the new row covers everything that the
  old one covered, according to the journal. A condition cannot be judged, so a write with one is declined.
- The row that a peer sends takes its place, whatever has been collected since: it is a loss to repair.

The context still covers writes that only the unreadable row held. Counterexample to relying on that: a and b have a
row, and b's copy cannot be read. c pulls from b and covers what b covers. a loses its disk. Receipts count three copies
of a row that no member has. So a row in quarantine is *lacking* (`core/model/lacking.py`): what it covered counts for
no receipt and vouches for nothing. Peers that rely on the context are told of it, and each round asks the other members
for the row.

The row is lacking until a member that holds all of it has answered, or all members have answered. A replacement does
not end that: a peer's copy may be an older one, and a write here may have a lower timestamp than the one that was lost.
If no member has a readable copy, the row is *given up*: it is no longer lacking, and status names it until something
replaces it. Members are asked once more after each start. That also covers rows that an earlier version has
quarantined.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gossipkv.core.model.address import NAMESPACES, is_address
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.tally import Notice
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Quarantined, Reader, Transaction, UnreadableRowError

SHOWN_MAX = 100
"""Maximum number of quarantined rows that status names."""


class UnreadableRow(NamedTuple):
    """A row in quarantine, as status shows it."""

    namespace: str
    table: str
    row: str
    reason: str


def quarantine(transaction: Transaction, unreadable: Mapping[tuple[str, bytes], str]) -> list[Notice]:
    """Quarantine those of these rows that cannot be read; the replica must be loaded again afterwards. Raises
    UnreadableRowError if another row cannot be read, and StorageError."""
    notices = []
    for name in NAMESPACES:
        found = {
            address: reason
            for (shard, address), reason in sorted(unreadable.items())
            if shard == name and _is_unreadable(transaction, name, address)
        }
        if found:
            shard = Shard.load(transaction, name)
            shard.quarantine(transaction, found)
            shard.save(transaction)
            notices += [_notice(name, address, reason) for address, reason in found.items()]
    return notices


def _is_unreadable(transaction: Transaction, shard: str, address: bytes) -> bool:
    try:
        row = transaction.row(shard, address)
    except UnreadableRowError:
        return True
    return row is not None and not is_address(address)


def shown(namespace: str, address: bytes, reason: str) -> UnreadableRow:
    """Return a row as status shows it, with bytes that are no text escaped."""
    table, _, key = address.partition(b"\0")
    return UnreadableRow(
        namespace, table.decode(errors="backslashreplace"), key.decode(errors="backslashreplace"), reason
    )


def shown_all(shards: Mapping[str, Shard]) -> tuple[UnreadableRow, ...]:
    """Return up to SHOWN_MAX quarantined rows, by shard and address."""
    rows = [shown(name, address, held.reason) for name, shard in shards.items() for address, held in _some(shard)]
    return tuple(rows[:SHOWN_MAX])


def _some(shard: Shard) -> list[tuple[bytes, Quarantined]]:
    return sorted(shard.quarantined.items())[:SHOWN_MAX]


def readable_row(reader: Reader, shard: str, address: bytes) -> StoredRow | None:
    """Return a row to a reader of this one row; None if there is none. Raises UnreadableRowError if it is in
    quarantine."""
    row = reader.row(shard, address)
    if row is None and (held := reader.quarantined_row(shard, address)) is not None:
        raise UnreadableRowError(shard, address, held.reason)
    return row


def _notice(namespace: str, address: bytes, reason: str) -> Notice:
    row = shown(namespace, address, reason)
    return Notice(
        "row_unreadable",
        {
            "namespace": namespace,
            "table": row.table,
            "row": row.row,
            "reason": reason,
            "consequence": "it is in quarantine and asked for; another member's copy, a put or a delete replaces it",
        },
    )
