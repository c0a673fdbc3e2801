"""The rows in one message.

Every member must accept the frames of every other member, whatever their settings. So two sizes are constants of the
protocol: the maximum size of a frame, and the size up to which a row is sent in one piece. A larger row is named by its
outline (all but the values), and the receiver fetches the values that it lacks (`core/transfer/fetch.py`).
"""

from __future__ import annotations

import xxhash

from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.messages import LargeRow, Outline, RowCopy

MEBIBYTE = 1024 * 1024

WHOLE_ROW_BYTES_MAX = 5 * MEBIBYTE // 4
"""Maximum size of a row sent in one piece. A value of 1 MiB, the default maximum, fits."""

VALUE_BYTES_MAX = 4 * MEBIBYTE
"""Maximum size of a value that any member may accept from its clients, whatever its settings."""

ROW_BYTES_MAX = 72 * MEBIBYTE
"""Maximum size of a row after a write: room for 64 values of 1 MiB, which the default settings allow."""

OUTLINE_BYTES_MAX = MEBIBYTE
"""Maximum size of a row after a write, without its values: an outline is sent in one piece."""

CARRIED_ROW_BYTES_MAX = 1024 * MEBIBYTE
"""Maximum size of a row from another member. A merge may hold what several members each allowed."""

_VERSION_BYTES = 50
"""Upper bound of the size of a version in a message, without its value."""

_ROW_BYTES = 15
"""Upper bound of the size of a row in a message, without address, context and versions."""


def row_bytes(copy: RowCopy) -> int:
    """Return an upper bound of the bytes that a row takes in a message."""
    address, row = copy
    return (
        _ROW_BYTES
        + len(address)
        + 16 * len(row.context)
        + sum([_VERSION_BYTES + len(version.value or b"") for version in row.versions])
    )


def outline_bytes(large: LargeRow) -> int:
    """Return an upper bound of the bytes that an outline takes in a message."""
    return _ROW_BYTES + len(large.address) + 16 * len(large.context) + 2 * _VERSION_BYTES * len(large.versions)


def is_carriable(copy: RowCopy) -> bool:
    """Return whether a write may leave a row of this size, so that the row can be sent to all members."""
    address, (versions, context) = copy
    outline = _ROW_BYTES + len(address) + 16 * len(context) + 2 * _VERSION_BYTES * len(versions)
    total = outline
    for version in versions:
        value_bytes = len(version.value or b"")
        if value_bytes > VALUE_BYTES_MAX:
            return False
        total += value_bytes
    return outline <= OUTLINE_BYTES_MAX and total <= ROW_BYTES_MAX


def outlined(address: bytes, row: StoredRow) -> LargeRow:
    """Return the row without its values, with the size and digest of each."""
    return LargeRow(address, tuple(map(_outline, row.versions)), row.context)


def _outline(version: Version) -> Outline:
    dot, timestamp, value, expires_ms, above = version
    if value is None:
        return Outline(dot, timestamp, None, 0, expires_ms, above)
    return Outline(dot, timestamp, len(value), xxhash.xxh3_64_intdigest(value), expires_ms, above)


class Parcel:
    """The rows for one message, up to a number of bytes; a single row may exceed it.

    A large row counts with its values, although these are not sent along. So a parcel names at most one large row, and
    what a receiver has to fetch before it continues is bounded.
    """

    def __init__(self, bytes_max: int, whole_row_bytes_max: int = WHOLE_ROW_BYTES_MAX) -> None:
        self.rows: dict[bytes, StoredRow] = {}
        self._room = bytes_max
        self._whole_row_bytes_max = whole_row_bytes_max
        self._large: tuple[LargeRow, ...] = ()

    def add(self, address: bytes, row: StoredRow) -> bool:
        """Add a row if it fits; return whether it did. The first row always fits."""
        size = row_bytes(RowCopy(address, row))
        if self.rows and size > self._room:
            return False
        self._room -= size
        self.rows[address] = row
        if size > self._whole_row_bytes_max:
            self._large += (outlined(address, row),)
        return True

    def copies(self) -> tuple[RowCopy, ...]:
        """Return the rows that are sent in one piece."""
        named = {large.address for large in self._large}
        return tuple([RowCopy(address, row) for address, row in self.rows.items() if address not in named])

    def large(self) -> tuple[LargeRow, ...]:
        """Return the outlines of the other rows."""
        return self._large
