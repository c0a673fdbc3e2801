"""The rows of a table between two keys: where a listing begins and ends."""

from __future__ import annotations

from typing import NamedTuple

from gossipkv.core.model.address import address_of


class KeyRange(NamedTuple):
    first: bytes
    """The first address."""
    end: bytes
    """The end: addresses are less than this one."""


def key_range(table: str, prefix: bytes = b"", start: bytes = b"", end: bytes = b"") -> KeyRange:
    """The rows whose keys begin with the prefix, from `start` to before `end`. An empty bound is none."""
    of_prefix = address_of(table, prefix)
    ends = [_end_of_prefix(of_prefix)]
    if end:
        ends.append(address_of(table, end))
    return KeyRange(max(of_prefix, address_of(table, start)), min(ends))


def _end_of_prefix(prefix: bytes) -> bytes:
    """The least address above all that begin with a prefix; UTF-8 has no byte 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
