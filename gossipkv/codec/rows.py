"""Rows on the wire: the bulk of all traffic, and what takes the time of a catch-up.

A row is the number of its versions, its address, its context, and for each version the dot with the
timestamp (and `siblings_above`, if the version keeps siblings), the value and the expiry.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from gossipkv.codec.limits import MALFORMED, DecodeError, Limits
from gossipkv.core.address import is_address
from gossipkv.core.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.messages import RefusedRow, RowCopy
from gossipkv.core.row import Row, Version

UNDECODABLE = "undecodable"
VALUE_TOO_LARGE = "value_too_large"
"""Why a single row was refused."""

PAIR = struct.Struct(">QQ")
TRIPLE = struct.Struct(">QQQ")
_QUADRUPLE = struct.Struct(">QQQQ")

ROW_BYTES_MIN = 24
"""The number of versions, the shortest address, a context of one replica."""

_ITEMS_OF_ONE_VERSION = 5
_EXPIRES_MS_MAX = 2**63 - 1


def packed(packing: struct.Struct, groups: Iterable[tuple[int, ...]]) -> bytes:
    return b"".join([packing.pack(*group) for group in groups])


def write_rows(items: list[Any], copies: tuple[RowCopy, ...]) -> None:
    items.append(len(copies))
    for address, row in copies:
        items += (len(row.versions), address, packed(PAIR, row.context.items()))
        for dot, timestamp, value, expires_ms, above in row.versions:
            stamp = TRIPLE.pack(*dot, timestamp) if above is None else _QUADRUPLE.pack(*dot, timestamp, above)
            items += (stamp, value, expires_ms)


def read_row(items: list[Any], limits: Limits) -> RowCopy | RefusedRow:
    """The row in these items, its address first."""
    try:
        return _row_copy(items, limits)
    except DecodeError as error:
        reason = VALUE_TOO_LARGE if error.reason == VALUE_TOO_LARGE else UNDECODABLE
        return RefusedRow(_origins(items, limits), reason)


def _row_copy(row: list[Any], limits: Limits) -> RowCopy:
    address = row[0]
    if type(address) is not bytes or not is_address(address):
        raise DecodeError(MALFORMED, "not an address")
    context = read_context(row[1], limits)
    if len(row) == _ITEMS_OF_ONE_VERSION:
        # Nearly every row: a third of a microsecond less than the loop takes.
        return RowCopy(address, Row((_version(row, 2, context, limits),), context))
    versions = tuple([_version(row, place, context, limits) for place in range(2, len(row), 3)])
    if not versions:
        raise DecodeError(MALFORMED, "no versions")
    ranks = [(version.rank, version.dot) for version in versions]
    if any(lower >= higher for higher, lower in pairwise(ranks)):
        raise DecodeError(MALFORMED, "versions out of order")
    return RowCopy(address, Row(versions, context))


def _version(row: list[Any], place: int, context: Context, limits: Limits) -> Version:
    stamp = row[place]
    value = row[place + 1]
    expires_ms = row[place + 2]
    siblings_above = None
    if type(stamp) is bytes and len(stamp) == TRIPLE.size:
        replica, sequence, timestamp = TRIPLE.unpack(stamp)
    elif type(stamp) is bytes and len(stamp) == _QUADRUPLE.size:
        replica, sequence, timestamp, siblings_above = _QUADRUPLE.unpack(stamp)
        if siblings_above >= timestamp:
            raise DecodeError(MALFORMED, "a version that outranks itself")
    else:
        raise DecodeError(MALFORMED, "not a dot and a timestamp")
    if not 1 <= sequence <= context.get(replica, 0):
        raise DecodeError(MALFORMED, "a dot that the context does not cover")
    if value is not None:
        if type(value) is not bytes:
            raise DecodeError(MALFORMED, "not a value")
        if len(value) > limits.value_bytes_max:
            raise DecodeError(VALUE_TOO_LARGE, f"a value of {len(value)} bytes")
    if expires_ms is not None and (type(expires_ms) is not int or not 0 <= expires_ms <= _EXPIRES_MS_MAX):
        raise DecodeError(MALFORMED, "not an expiry")
    return Version(Dot(replica, sequence), timestamp, value, expires_ms, siblings_above)


def read_context(item: object, limits: Limits) -> Context:
    """A context, of a row or of a message. Raises DecodeError."""
    if type(item) is not bytes or len(item) % PAIR.size:
        raise DecodeError(MALFORMED, "not a context")
    if len(item) > PAIR.size * limits.context_entries_max:
        raise DecodeError(MALFORMED, "a context of too many replicas")
    context = Context(PAIR.iter_unpack(item))
    if PAIR.size * len(context) != len(item):
        raise DecodeError(MALFORMED, "a replica twice in a context")
    for sequence in context.values():
        if not 1 <= sequence <= SEQUENCE_MAX:
            raise DecodeError(MALFORMED, "not a sequence")
    return context


def _origins(row: list[Any], limits: Limits) -> tuple[int, ...] | None:
    """Whose ranges a refused row holds back: all its context and its dots name. None: there is no telling."""
    try:
        origins = set(read_context(row[1], limits))
    except DecodeError:
        return None
    for stamp in row[2::3]:
        if type(stamp) is not bytes or len(stamp) not in (TRIPLE.size, _QUADRUPLE.size):
            return None
        origins.add(TRIPLE.unpack_from(stamp)[0])
    return tuple(sorted(origins)) or None
