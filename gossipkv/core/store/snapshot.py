"""The state of a replica that code outside a batch may read.

A replica changes in the middle of a batch, and a batch may fail. So nothing outside a batch reads the replica itself.
Each batch leaves a snapshot among its effects, which is handed out once the batch is durable. After a failed batch the
previous snapshot stays valid, and the replica returns to it.

A snapshot is immutable, with everything in it. A batch that changes a mapping in it copies the mapping; batches that
change nothing pass the same object on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gossipkv.core.store.fence import Fence
from gossipkv.core.store.storage import Identity
from gossipkv.core.store.tables import DEFAULTS, TableSettings


@dataclass(frozen=True, slots=True)
class ReplicaSnapshot:
    """The state of a replica after one batch."""

    identity: Identity
    is_ready: bool
    is_fenced: bool
    """Whether the data are outdated; see `Effects.is_fenced`."""
    zone: str | None
    settings: Mapping[str, TableSettings]
    """The settings of the tables of `usr` that have any, by table."""
    conflicts: Mapping[tuple[str, str], int]
    """See `Tally.conflicts`."""
    alone_since_ms: int | None = None
    """When another member was last heard, or when this one started; None while it is not alone."""
    fence: Fence | None = None
    """Why the replica is fenced, and what other members are known to have; None while it is not."""

    def settings_of(self, table: str) -> TableSettings:
        """Return the settings of a table of the users; the defaults if it has none."""
        return self.settings.get(table, DEFAULTS)
