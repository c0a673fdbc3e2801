"""Why a replica was fenced, and what is known then of other members' copies of its writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gossipkv.core.model.causality import Context

FORGOTTEN = "the cluster was told to forget this member's data, which may hold rows that were deleted since"
OUTDATED = "deleted rows have been forgotten of which this member had not heard: its data may hold them"


@dataclass(frozen=True, slots=True)
class Fence:
    reason: str
    covered: Mapping[str, Context] = field(default_factory=dict)
    """Per shard, what other members are known to cover. It may be too little, but never too much, except as below."""
    ambiguous_after: Mapping[str, int] = field(default_factory=dict)
    """Per shard, if the data may be an old copy: the names of this replica's writes above this sequence may stand for
    other writes elsewhere. If others cover such a name, they need not have the write."""
