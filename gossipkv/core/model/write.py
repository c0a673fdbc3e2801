"""The write operations of clients, and their results."""

from __future__ import annotations

from typing import NamedTuple

from gossipkv.core.model.causality import Dot
from gossipkv.core.model.room import CATCHING_UP as CATCHING_UP
from gossipkv.core.model.room import NO_ROOM as NO_ROOM
from gossipkv.core.model.row import Row, Seen


class Operation(NamedTuple):
    """One put; a delete if `value` is None."""

    address: bytes
    value: bytes | None
    if_match: tuple[str, ...] | None = None
    """Only if the row's etag is one of these; `*`: only if the row exists."""
    if_absent: bool = False
    """Only if the row does not exist."""
    seen: Seen | None = None
    """What the writer has read of the row. In a table that keeps siblings, the write replaces exactly that, and other
    versions stay as siblings. Without it, the write replaces nothing, or what `if_match` names."""
    ttl_ms: int | None = None
    """Only for a put: the row expires after this time."""

    @property
    def names_versions(self) -> bool:
        """Whether its condition names the versions that its writer has read."""
        return self.if_match is not None and "*" not in self.if_match


class Written(NamedTuple):
    """The operation was stored, under this name."""

    dot: Dot
    etag: str
    existed: bool
    """Whether there was a visible row before."""
    row: Row
    """The row after the operation."""


class NotMatched(NamedTuple):
    """The operation's condition does not hold; nothing was changed."""

    etag: str | None
    """The row's etag now; None when it does not exist."""


class Declined(NamedTuple):
    """The operation was declined because of the state of the row or the member; nothing was changed."""

    reason: str
    """`too_many_siblings`; `context_required`: a delete beside siblings that its writer has not read would delete
    nothing; `context_ahead`: what the writer has seen is further ahead than this member's clock allows;
    `context_unknown`: it names writes that neither this member nor its copy of the row covers;
    `unreadable`: the row that the condition is about cannot be read; `no_room`: the storage has no room for it;
    `catching_up`: it may have none once rows that are on their way have come; `row_too_large`: with this write the row
    could not be given to other members."""
    etag: str | None
    siblings: int


TOO_MANY_SIBLINGS = "too_many_siblings"
CONTEXT_REQUIRED = "context_required"
CONTEXT_AHEAD = "context_ahead"
CONTEXT_UNKNOWN = "context_unknown"
UNREADABLE = "unreadable"
ROW_TOO_LARGE = "row_too_large"

Result = Written | NotMatched | Declined
