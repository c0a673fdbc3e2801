"""`account.json`, next to set-aside data: why they were set aside, and what other members were then known to cover.

The file is written before the data are moved, so a crash at any time leaves no set-aside data without it. Sets made by
version 0.1.0 have no such file; then nothing is known of other members.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.store.fence import Fence
from gossipkv.storage.directory import open_private

ACCOUNT_FILE = "account.json"
_UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Account:
    """The account of one set of data that was set aside."""

    replica: ReplicaId
    reason: str
    set_aside_ms: int
    covered: Mapping[str, Context] = field(default_factory=dict)
    """The contexts that other members were known to cover, by shard."""
    ambiguous_after: Mapping[str, int] = field(default_factory=dict)
    """The sequences by shard above which the replica's own names are ambiguous; see `Fence`."""

    @classmethod
    def of(cls, replica: ReplicaId, fence: Fence | None, now_ms: int) -> Account:
        """Return the account of a replica's data; without a fence, nothing is known of other members."""
        if fence is None:
            return cls(replica, _UNKNOWN, now_ms)
        return cls(replica, fence.reason, now_ms, fence.covered, fence.ambiguous_after)

    @classmethod
    def read(cls, directory: Path, replica: ReplicaId) -> Account:
        """Return the account next to a replica's data; an empty one if the file is absent or damaged."""
        try:
            return cls._from_json(json.loads((directory / ACCOUNT_FILE).read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            moved_ms = int(directory.stat().st_mtime * 1_000)
            return cls(replica, _UNKNOWN, moved_ms)

    def write(self, directory: Path) -> None:
        """Write the file durably. Raises OSError."""
        with open_private(directory / ACCOUNT_FILE, "w") as file:
            json.dump(self._to_json(), file, indent=1)
            file.flush()
            os.fsync(file.fileno())

    def knows_others(self, shard: str) -> bool:
        """Return whether anything is known of others' copies of a shard."""
        return bool(self.covered.get(shard))

    def is_ambiguous(self, shard: str, replica: ReplicaId, sequence: int) -> bool:
        """Return whether the name of a write may stand for another write elsewhere."""
        return replica == self.replica and sequence > self.ambiguous_after.get(shard, sequence)

    def covered_through(self, shard: str, origin: ReplicaId) -> int:
        """Return the sequence up to which others are known to have the writes of an origin; 0 if nothing is known."""
        through = self.covered.get(shard, Context()).get(origin, 0)
        return min(through, self.ambiguous_after.get(shard, through)) if origin == self.replica else through

    def _to_json(self) -> dict[str, Any]:
        return {
            "replica": f"{self.replica:016x}",
            "reason": self.reason,
            "set_aside_ms": self.set_aside_ms,
            "covered": {
                shard: {f"{origin:016x}": sequence for origin, sequence in sorted(context.items())}
                for shard, context in self.covered.items()
            },
            "ambiguous_after": dict(self.ambiguous_after),
        }

    @classmethod
    def _from_json(cls, content: dict[str, Any]) -> Account:
        return cls(
            int(content["replica"], 16),
            str(content["reason"]),
            int(content["set_aside_ms"]),
            {
                shard: Context({int(origin, 16): int(sequence) for origin, sequence in entries.items()})
                for shard, entries in content["covered"].items()
            },
            {shard: int(sequence) for shard, sequence in content["ambiguous_after"].items()},
        )
