"""Merges the values that concurrent writes left in a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gossipkv.client.arguments import checked
from gossipkv.client.errors import UnresolvedSiblingsError
from gossipkv.rows.arguments.values import value_bytes
from gossipkv.rows.row import Row

Resolve = Callable[[Sequence[bytes]], bytes]
"""Merges several values into one. Every client of a table must use the same function."""


def resolved(row: Row | None, resolve: Resolve | None) -> Row | None:
    """The row with one value. Raises UnresolvedSiblingsError if it has several and there is no function, and
    InvalidArgumentError if the function returns no bytes."""
    if row is None or not row.siblings:
        return row
    if resolve is None:
        raise UnresolvedSiblingsError(row)
    return replace(row, value=checked(value_bytes, resolve(row.siblings)))
