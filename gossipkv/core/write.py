"""What a client asks of a replica, and what it is told."""

from __future__ import annotations

from typing import NamedTuple

from gossipkv.core.causality import Dot
from gossipkv.core.room import CATCHING_UP as CATCHING_UP
from gossipkv.core.room import NO_ROOM as NO_ROOM
from gossipkv.core.row import Row, Seen


class Operation(NamedTuple):
    """One put, or a delete where `value` is None."""

    address: bytes
    value: bytes | None
    if_match: tuple[str, ...] | None = None
    """Only if the row's etag is one of these; `*`: only if the row exists."""
    if_absent: bool = False
    """Only if the row does not exist."""
    seen: Seen | None = None
    """What the writer has read of the row. In a table that keeps siblings the write replaces that and stands beside
    the rest; without it, beside all, unless `if_match` names what is here: that is then what it replaces."""
    ttl_ms: int | None = None
    """A put alone: the row expires so long after it."""

    @property
    def names_versions(self) -> bool:
        """Whether its condition says which versions its writer has read."""
        return self.if_match is not None and "*" not in self.if_match


class Written(NamedTuple):
    """The operation stands, under this name."""

    dot: Dot
    etag: str
    existed: bool
    """Whether there was a visible row before."""
    row: Row
    """As it stands now."""


class NotMatched(NamedTuple):
    """The operation's condition does not hold; nothing was changed."""

    etag: str | None
    """The row's etag now; None when it does not exist."""


class Declined(NamedTuple):
    """The operation is not carried out, for what the row holds; nothing was changed."""

    reason: str
    """`too_many_siblings`; `context_required`: a delete beside siblings that its writer has not read would delete
    nothing; `context_ahead`: what the writer has seen is further ahead than this member's clock allows;
    `unreadable`: the row that the condition is about cannot be read; `no_room`: the storage has no room for it;
    `catching_up`: it may have none once rows that are on their way have come; `row_too_large`: with this write the row
    could not be given to other members."""
    etag: str | None
    siblings: int


TOO_MANY_SIBLINGS = "too_many_siblings"
CONTEXT_REQUIRED = "context_required"
CONTEXT_AHEAD = "context_ahead"
UNREADABLE = "unreadable"
ROW_TOO_LARGE = "row_too_large"

Result = Written | NotMatched | Declined
