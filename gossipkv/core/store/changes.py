"""The changes of one batch in a shard, for the watchers of its rows."""

from __future__ import annotations

from typing import NamedTuple

from gossipkv.core.model.causality import Context
from gossipkv.core.model.row import StoredRow
from gossipkv.core.protocol.base import NO_BASE, Base


class Changes(NamedTuple):
    """What one batch changed in a shard; valid once the batch is durable."""

    shard: str
    revision: int
    """The revision of the storage after the batch."""
    rows: dict[bytes, StoredRow]
    """The changed rows as they now stand, by address."""
    context: Context
    base: Base = NO_BASE
    """The retired replicas that event ids omit."""
    unreadable: frozenset[bytes] = frozenset()
    """The addresses of the rows in quarantine."""
    has_dropped: bool = False
    """Whether rows have been dropped without an event, because they were deleted for good elsewhere."""
