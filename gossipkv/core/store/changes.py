"""The changes of one batch in a shard, for the watchers of its rows."""

from __future__ import annotations

from typing import NamedTuple

from gossipkv.core.model.causality import Context
from gossipkv.core.model.row import Row
from gossipkv.core.protocol.base import NO_BASE, Base


class Changes(NamedTuple):
    """What one batch changed in a shard, as it is when the batch is durable."""

    shard: str
    revision: int
    """Of the storage, as it is then."""
    rows: dict[bytes, Row]
    context: Context
    base: Base = NO_BASE
    """The retired replicas that ids omit."""
    unreadable: frozenset[bytes] = frozenset()
    """Addresses of the rows in quarantine."""
    has_dropped: bool = False
    """Whether rows have gone without an event, because they were deleted for good elsewhere."""
