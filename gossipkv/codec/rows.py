"""Rows on the wire: most of the traffic, and most of the time of a catch-up.

A row is the number of its versions, its address, its context, and the fields of each version. These are the dot with
the timestamp (and `siblings_above`, if the version keeps siblings), the value and the expiry. The outline of a large
row has the value's size and digest instead of the value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise, starmap
from typing import Any

from gossipkv.codec.limits import MALFORMED, DecodeError, Limits
from gossipkv.core.model.address import is_address
from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.messages import LargeRow, Outline, RefusedRow, RowCopy

UNDECODABLE = "undecodable"
VALUE_TOO_LARGE = "value_too_large"
ROW_TOO_LARGE = "row_too_large"
"""Reasons for refusing a single row."""

PAIR = struct.Struct(">QQ")
TRIPLE = struct.Struct(">QQQ")
_QUADRUPLE = struct.Struct(">QQQQ")

ROW_BYTES_MIN = 24
"""The size of a row without versions: their number, the shortest address, a context of one replica."""

VERSION_BYTES_MIN = 28
"""The size of the smallest version: the dot with the timestamp, an empty value or none, no expiry."""

VERSION_ITEMS = 3
OUTLINE_ITEMS = 4

_ITEMS_OF_ONE_VERSION = 5
_EXPIRES_MS_MAX = 2**63 - 1


def packed(packing: struct.Struct, groups: Iterable[tuple[int, ...]]) -> bytes:
    """Pack groups of numbers one behind the other."""
    return b"".join(starmap(packing.pack, groups))


def write_rows(items: list[Any], copies: tuple[RowCopy, ...]) -> None:
    """Append the number of rows and their fields to the items of a frame."""
    items.append(len(copies))
    for address, row in copies:
        items += (len(row.versions), address, packed(PAIR, row.context.items()))
        for dot, timestamp, value, expires_ms, above in row.versions:
            stamp = TRIPLE.pack(*dot, timestamp) if above is None else _QUADRUPLE.pack(*dot, timestamp, above)
            items += (stamp, value, expires_ms)


def read_row(items: list[Any], limits: Limits) -> RowCopy | RefusedRow:
    """Return the row in these items, its address first. A row that breaks a rule is returned as refused."""
    try:
        return _row_copy(items, limits)
    except DecodeError as error:
        return _refused(items, VERSION_ITEMS, error)


def _reason(error: DecodeError) -> str:
    return error.reason if error.reason in (VALUE_TOO_LARGE, ROW_TOO_LARGE) else UNDECODABLE


def _row_copy(row: list[Any], limits: Limits) -> RowCopy:
    address, context = _address_and_context(row)
    if len(row) == _ITEMS_OF_ONE_VERSION:
        # Nearly every row has one version. This saves a third of a microsecond over the loop.
        return RowCopy(address, StoredRow((_version(row, 2, context, limits),), context))
    versions = tuple([_version(row, place, context, limits) for place in range(2, len(row), VERSION_ITEMS)])
    _check_order(versions)
    return RowCopy(address, StoredRow(versions, context))


def _address_and_context(row: list[Any]) -> tuple[bytes, Context]:
    address = row[0]
    if type(address) is not bytes or not is_address(address):
        raise DecodeError(MALFORMED, "not an address")
    return address, read_context(row[1])


def _check_order(versions: Sequence[Version | Outline]) -> None:
    if not versions:
        raise DecodeError(MALFORMED, "no versions")
    ranks = [(version.timestamp, version.dot.replica, version.dot) for version in versions]
    if any(lower >= higher for higher, lower in pairwise(ranks)):
        raise DecodeError(MALFORMED, "versions out of order")


def _version(row: list[Any], place: int, context: Context, limits: Limits) -> Version:
    dot, timestamp, siblings_above = _stamp(row[place], context)
    value = row[place + 1]
    if value is not None:
        if type(value) is not bytes:
            raise DecodeError(MALFORMED, "not a value")
        if len(value) > limits.value_bytes_max:
            raise DecodeError(VALUE_TOO_LARGE, f"a value of {len(value)} bytes")
    return Version(dot, timestamp, value, _expiry(row[place + 2]), siblings_above)


def _stamp(stamp: object, context: Context) -> tuple[Dot, int, int | None]:
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
    return Dot(replica, sequence), timestamp, siblings_above


def _expiry(expires_ms: object) -> int | None:
    if expires_ms is None or (type(expires_ms) is int and 0 <= expires_ms <= _EXPIRES_MS_MAX):
        return expires_ms
    raise DecodeError(MALFORMED, "not an expiry")


def write_large(items: list[Any], rows: tuple[LargeRow, ...]) -> None:
    """Append the number of outlines and their fields to the items of a frame."""
    items.append(len(rows))
    for address, versions, context in rows:
        items += (len(versions), address, packed(PAIR, context.items()))
        for dot, timestamp, size, digest, expires_ms, above in versions:
            stamp = TRIPLE.pack(*dot, timestamp) if above is None else _QUADRUPLE.pack(*dot, timestamp, above)
            items += (stamp, size, digest, expires_ms)


def read_large(items: list[Any], limits: Limits) -> LargeRow | RefusedRow:
    """Return the outline in these items, its address first. An outline that breaks a rule is returned as refused."""
    try:
        address, context = _address_and_context(items)
        places = range(2, len(items), OUTLINE_ITEMS)
        versions = tuple([_outline(items, place, context, limits) for place in places])
        _check_order(versions)
        if sum(version.size or 0 for version in versions) > limits.row_bytes_max:
            raise DecodeError(ROW_TOO_LARGE, "a row of more bytes than any member takes in")
        return LargeRow(address, versions, context)
    except DecodeError as error:
        return _refused(items, OUTLINE_ITEMS, error)


def _outline(row: list[Any], place: int, context: Context, limits: Limits) -> Outline:
    dot, timestamp, siblings_above = _stamp(row[place], context)
    size, digest = row[place + 1], row[place + 2]
    if type(digest) is not int or not 0 <= digest < 2**64:
        raise DecodeError(MALFORMED, "not a digest")
    if size is not None:
        if type(size) is not int or size < 0:
            raise DecodeError(MALFORMED, "not a size")
        if size > limits.value_bytes_max:
            raise DecodeError(VALUE_TOO_LARGE, f"a value of {size} bytes")
    return Outline(dot, timestamp, size, digest, _expiry(row[place + 3]), siblings_above)


def read_context(item: object) -> Context:
    """Return the context of a row or of a message. Raises DecodeError."""
    if type(item) is not bytes or len(item) % PAIR.size:
        raise DecodeError(MALFORMED, "not a context")
    context = Context(PAIR.iter_unpack(item))
    if PAIR.size * len(context) != len(item):
        raise DecodeError(MALFORMED, "a replica twice in a context")
    for sequence in context.values():
        if not 1 <= sequence <= SEQUENCE_MAX:
            raise DecodeError(MALFORMED, "not a sequence")
    return context


def _refused(row: list[Any], version_items: int, error: DecodeError) -> RefusedRow:
    """Return the readable part of a row that breaks a rule: its address, and all writes that it may contain. Without
    the writes, it is unknown which origins' ranges the row holds back."""
    reason = _reason(error)
    try:
        context = read_context(row[1])
    except DecodeError:
        return RefusedRow(None, reason)
    origins = set(context)
    for stamp in row[2::version_items]:
        if type(stamp) is not bytes or len(stamp) not in (TRIPLE.size, _QUADRUPLE.size):
            return RefusedRow(None, reason)
        replica, sequence, _ = TRIPLE.unpack_from(stamp)
        origins.add(replica)
        if 1 <= sequence <= SEQUENCE_MAX:
            context.advance({replica: sequence})
    if not origins:
        return RefusedRow(None, reason)
    address = row[0]
    is_named = type(address) is bytes and is_address(address) and origins == set(context)
    return RefusedRow(tuple(sorted(origins)), reason, *((address, context) if is_named else ()))
