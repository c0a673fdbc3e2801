"""Why a replica is fenced, and what is then known of other members' copies of its writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gossipkv.core.model.causality import Context

FORGOTTEN = "the cluster was told to forget this member's data, which may hold rows that were deleted since"
OUTDATED = "this member had not heard of deleted rows that others have forgotten since: its data may still hold them"


@dataclass(frozen=True, slots=True)
class Fence:
    """The reason why a replica is fenced, and what other members have of its data."""

    reason: str
    covered: Mapping[str, Context] = field(default_factory=dict)
    """What other members are known to cover, per shard. It may be too little, but never too much, except for
    `ambiguous_after`."""
    ambiguous_after: Mapping[str, int] = field(default_factory=dict)
    """A sequence per shard, if the data may be an old copy. This replica's names above it may stand for other writes
    elsewhere. So members that cover such a name do not necessarily have the write."""
