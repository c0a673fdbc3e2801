"""How rows and records are laid out as bytes on a volume.

Each record is one flat msgpack list: flat, because nested lists cost twice the time to read and to write, and
reading rows is what a store does most. A row is

    [versions, replica, sequence, timestamp, value, expires_ms, ..., replica, sequence, ...]

the number of versions, five fields for each of them, then the row's context as pairs. The pairs are left out
where the context is just the dot of a lone version, as it is for most rows. A tombstone's value is nil, as is
an absent expiry. Where any version keeps siblings the number of versions is negative, and each has six fields: the
last one is `siblings_above`.

`FORMAT_VERSION` grows whenever a store written by this code cannot be read by older code. The storage keeps
it beside the data, refuses what is newer than itself, and brings what is older up to date (`storage/upgrade.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import msgpack

from gossipkv.core.causality import Context, Dot
from gossipkv.core.collected import Collected, Proof
from gossipkv.core.row import Row, Version
from gossipkv.core.storage import Counts, Identity, ShardRecord, StorageError

FORMAT_VERSION = 4

_VERSION_FIELDS = 5
_LONE_VERSION_LENGTH = 1 + _VERSION_FIELDS
_LONE_SIBLING_LENGTH = _LONE_VERSION_LENGTH + 1
"""A version whose own dot is all that its row covers says so by its length, which no other row has."""

_pack: Callable[[object], bytes] = msgpack.packb
_unpack: Callable[[bytes], Any] = msgpack.unpackb

# Named tuples are built past their own constructor, which checks arguments and takes twice as long.
_new = tuple.__new__


class UndecodableRecordError(StorageError):
    """The bytes are not a record of this format: the volume or another program has damaged them."""


def encode_row(row: Row) -> bytes:
    versions, context = row
    if row.keeps_siblings:
        if len(versions) == 1:
            (replica, sequence), timestamp, value, expires_ms, above = versions[0]
            if len(context) == 1 and context.get(replica) == sequence:
                return _pack([-1, replica, sequence, timestamp, value, expires_ms, above])
        fields: list[Any] = [-len(versions)]
        for (replica, sequence), *others in versions:
            fields += (replica, sequence, *others)
    elif len(versions) == 1:
        (replica, sequence), timestamp, value, expires_ms, _ = versions[0]
        fields = [1, replica, sequence, timestamp, value, expires_ms]
        if len(context) == 1 and context.get(replica) == sequence:
            return _pack(fields)
    else:
        fields = [len(versions)]
        for (replica, sequence), timestamp, value, expires_ms, _ in versions:
            fields += (replica, sequence, timestamp, value, expires_ms)
    for entry in context.items():
        fields += entry
    return _pack(fields)


def decode_row(stored: bytes) -> Row:
    """The row that `encode_row` was given. Raises UndecodableRecordError."""
    try:
        fields = _unpack(stored)
        if len(fields) == _LONE_VERSION_LENGTH:
            _, replica, sequence, timestamp, value, expires_ms = fields
            version = _new(Version, (_new(Dot, (replica, sequence)), timestamp, value, expires_ms, None))
            context = Context()
            context[replica] = sequence
            return _new(Row, ((version,), context))
        if len(fields) == _LONE_SIBLING_LENGTH and fields[0] == -1:
            _, replica, sequence, timestamp, value, expires_ms, above = fields
            version = _new(Version, (_new(Dot, (replica, sequence)), timestamp, value, expires_ms, above))
            context = Context()
            context[replica] = sequence
            return _new(Row, ((version,), context))
        length = _VERSION_FIELDS if fields[0] > 0 else _VERSION_FIELDS + 1
        end = 1 + length * abs(fields[0])
        if not 1 < end <= len(fields):
            raise ValueError("fewer fields than versions need")
        versions = tuple(
            Version(Dot(fields[at], fields[at + 1]), *fields[at + 2 : at + length]) for at in range(1, end, length)
        )
        return Row(versions, _context_of(fields[end:]))
    except (ValueError, TypeError, LookupError) as error:
        raise UndecodableRecordError(f"a row of {len(stored)} bytes cannot be decoded") from error


def encode_identity(identity: Identity) -> bytes:
    return _pack(identity)


def decode_identity(stored: bytes) -> Identity:
    """Raises UndecodableRecordError."""
    try:
        return Identity(*_unpack(stored))
    except (ValueError, TypeError) as error:
        raise UndecodableRecordError("the identity of the store cannot be decoded") from error


def encode_counts(counts: Counts) -> bytes:
    return _pack(counts)


def decode_counts(stored: bytes) -> Counts:
    """Raises UndecodableRecordError."""
    try:
        return Counts(*_unpack(stored))
    except (ValueError, TypeError) as error:
        raise UndecodableRecordError("the counts of a table cannot be decoded") from error


def encode_shard_record(record: ShardRecord) -> bytes:
    """Begins with the number of pairs of the context; below zero where the two numbers on names come before them."""
    context, floors, told, certain = record
    head = [len(context)] if told is None or certain is None else [~len(context), told, certain]
    return _pack([*head, *_pairs(context), *_pairs(floors)])


def decode_shard_record(stored: bytes) -> ShardRecord:
    """Raises UndecodableRecordError."""
    try:
        length, *fields = _unpack(stored)
        names: list[int | None] = [None, None]
        if length < 0:
            length, names, fields = ~length, fields[:2], fields[2:]
        told, certain = names
        return ShardRecord(_context_of(fields[: 2 * length]), _context_of(fields[2 * length :]), told, certain)
    except (ValueError, TypeError, LookupError) as error:
        raise UndecodableRecordError("the record of a shard cannot be decoded") from error


def encode_collected(collected: Collected) -> bytes:
    fields: list[int] = [collected.timestamp, len(collected.lineage), *collected.lineage]
    for marks, listed, known in collected.proofs:
        fields += (len(marks), *_pairs(marks), len(listed), *sorted(listed), len(known), *sorted(known))
    return _pack(fields)


def decode_collected(stored: bytes) -> Collected:
    """Raises UndecodableRecordError."""
    try:
        timestamp, length, *fields = _unpack(stored)
        if isinstance(length, bool):
            # Version 0.1.0 kept one context of marks, and whether the replica had ever been ready.
            marks = _context_of(fields)
            return Collected((Proof(marks, frozenset(), frozenset()),) if marks else (), timestamp)
        lineage, at = tuple(fields[:length]), length
        proofs = []
        while at < len(fields):
            end = at + 1 + 2 * fields[at]
            marks, at = _context_of(fields[at + 1 : end]), end
            end = at + 1 + fields[at]
            listed, at = frozenset(fields[at + 1 : end]), end
            end = at + 1 + fields[at]
            known, at = frozenset(fields[at + 1 : end]), end
            proofs.append(Proof(marks, listed, known))
        return Collected(tuple(proofs), timestamp, lineage)
    except (ValueError, TypeError, LookupError) as error:
        raise UndecodableRecordError("the record of what was collected cannot be decoded") from error


def _pairs(context: Context) -> Iterable[int]:
    return chain.from_iterable(context.items())


def _context_of(pairs: list[int]) -> Context:
    return Context(zip(pairs[0::2], pairs[1::2], strict=True))
