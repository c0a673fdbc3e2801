"""The rows that a program wants listed."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from gossipkv.client.arguments import check_known, checked
from gossipkv.rows.arguments import arguments, names
from gossipkv.rows.arguments.limits import PAGE_ROWS_MAX


class Bounds(TypedDict, total=False):
    """The rows to list."""

    prefix: str | None
    start: str | None
    """The first key."""
    end: str | None
    """The end; excluded."""
    keys_only: bool
    page_rows: int
    """Maximum number of rows held in memory."""


_BOUNDS = frozenset(Bounds.__annotations__)
_PAGE_ROWS_DEFAULT = 500
_LIMIT_MAX = 2**53


class CheckedBounds(NamedTuple):
    """Checked bounds; an empty one is none."""

    prefix: bytes
    start: bytes
    end: bytes
    keys_only: bool
    page_rows: int


def listed(limit: int | None, bounds: Bounds) -> CheckedBounds:
    """Raises InvalidArgumentError, and TypeError for an unknown bound."""
    check_known("range", bounds, _BOUNDS)
    page_rows = checked(arguments.count, "page_rows", bounds.get("page_rows", _PAGE_ROWS_DEFAULT), 1, PAGE_ROWS_MAX)
    if limit is not None:
        checked(arguments.count, "limit", limit, 1, _LIMIT_MAX)
    return CheckedBounds(
        _key("prefix", bounds.get("prefix")),
        _key("start", bounds.get("start")),
        _key("end", bounds.get("end")),
        checked(arguments.flag, "keys_only", bounds.get("keys_only", False)),
        page_rows,
    )


def _key(name: str, text: str | None) -> bytes:
    return b"" if text is None else checked(names.key_bound, name, text)
