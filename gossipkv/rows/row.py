"""A row as clients see it, and what they are told of a write."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    row: str
    value: bytes | None
    """None if only keys were requested. If there are several values: the result of `resolve`, otherwise the one that
    would win."""
    etag: str | None
    context: str | None = None
    """What the reader has seen: a write with it replaces exactly that. Listings have it only for siblings."""
    siblings: tuple[bytes, ...] = ()
    """All values if the row has several; the one that would win comes first."""


@dataclass(frozen=True, slots=True)
class Written:
    """A stored write."""

    etag: str | None
    """None after a delete."""
    context: str | None
    receipt: str | None
    """The receipt of the write: any member can tell from it which members have the write."""
