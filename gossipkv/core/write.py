"""What a client asks of a replica, and what it is told."""

from __future__ import annotations

from typing import NamedTuple

from gossipkv.core.causality import Dot


class Operation(NamedTuple):
    """One put, or a delete where `value` is None."""

    address: bytes
    value: bytes | None
    if_match: tuple[str, ...] | None = None
    """Only if the row's etag is one of these; `*`: only if the row exists."""
    if_absent: bool = False
    """Only if the row does not exist."""


class Written(NamedTuple):
    """The operation stands, under this name."""

    dot: Dot
    etag: str
    existed: bool
    """Whether there was a visible row before."""


class NotMatched(NamedTuple):
    """The operation's condition does not hold; nothing was changed."""

    etag: str | None
    """The row's etag now; None when it does not exist."""


Result = Written | NotMatched
