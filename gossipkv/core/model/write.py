"""The write operations of clients, and their results."""

from __future__ import annotations

from typing import NamedTuple

from gossipkv.core.model.causality import Dot
from gossipkv.core.model.room import CATCHING_UP as CATCHING_UP
from gossipkv.core.model.room import NO_ROOM as NO_ROOM
from gossipkv.core.model.row import Seen, StoredRow


class Operation(NamedTuple):
    """A put, or a delete if `value` is None."""

    address: bytes
    value: bytes | None
    if_match: tuple[str, ...] | None = None
    """The condition that the row's etag is one of these; `*`: that the row exists. None: no condition."""
    if_absent: bool = False
    """The condition that the row does not exist."""
    seen: Seen | None = None
    """What the writer has read of the row. In a table that keeps siblings, the write replaces exactly that, and other
    versions stay as siblings. Without it, the write replaces nothing, or what `if_match` names."""
    ttl_ms: int | None = None
    """For puts only: the row expires after this time. None: never."""

    @property
    def names_versions(self) -> bool:
        """Whether the condition names the versions that the writer has read."""
        return self.if_match is not None and "*" not in self.if_match


class StoredWrite(NamedTuple):
    """The result of an operation that was stored under this dot."""

    dot: Dot
    etag: str
    existed: bool
    """Whether there was a visible row before."""
    row: StoredRow
    """The row after the operation."""


class NotMatched(NamedTuple):
    """The result of an operation whose condition does not hold; nothing was changed."""

    etag: str | None
    """The row's present etag; None if the row does not exist."""


class Declined(NamedTuple):
    """The result of an operation that the state of the row or the member does not allow; nothing was changed."""

    reason: str
    """One of these:

    - `too_many_siblings`;
    - `context_required`: the row has siblings that the writer has not read, so its delete would delete nothing;
    - `context_ahead`: what the writer has seen is further ahead than this member's clock allows;
    - `context_unknown`: the context names writes that neither this member nor its copy of the row covers;
    - `unreadable`: the row that the condition is about cannot be read;
    - `no_room`: the storage has no room for the write;
    - `catching_up`: rows that are on their way may take the remaining room;
    - `row_too_large`: with this write, the row could not be given to other members.
    """
    etag: str | None
    siblings: int


TOO_MANY_SIBLINGS = "too_many_siblings"
CONTEXT_REQUIRED = "context_required"
CONTEXT_AHEAD = "context_ahead"
CONTEXT_UNKNOWN = "context_unknown"
UNREADABLE = "unreadable"
ROW_TOO_LARGE = "row_too_large"

Result = StoredWrite | NotMatched | Declined
