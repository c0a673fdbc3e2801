"""How rows and records are laid out as bytes on a volume.

Each record is one flat msgpack list. Nested lists would cost twice the time to read and to write, and reading rows
is what a store does most. A row is

    [versions, replica, sequence, timestamp, value, expires_ms, ..., replica, sequence, ...]

the number of versions, five fields for each of them, then the row's context as pairs. The pairs are left out
if the context is just the dot of a lone version, as in most rows. A tombstone's value is nil, and so is
an absent expiry. If any version keeps siblings, the number of versions is negative, and each version has a sixth
field, `siblings_above`.

Decoding checks what is read as strictly as the codec checks a peer: a row that is read can be shown, merged and sent.
Version 0.1.0 acknowledged two kinds of invalid rows through its embedded member. They are read as their writer meant
them. A value stored as text is its UTF-8 bytes. An expiry beyond what a message can hold is the latest that it can
hold. The next write of such a row stores it in the right form.

`FORMAT_VERSION` grows whenever a store written by this code cannot be read by older code. The storage keeps the number
beside the data, refuses data that are newer than itself, and brings older data up to date (`storage/upgrade.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, pairwise
from typing import Any

import msgpack

from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.model.collected import Collected, Proof
from gossipkv.core.model.lacking import Lack, Lacking
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.store.storage import DAMAGE_REMEDY, Counts, Identity, Quarantined, ShardRecord, StorageError
from gossipkv.rows.arguments.limits import TIME_MS_MAX

FORMAT_VERSION = 4

_INTEGER_MAX = 2**64 - 1
_VERSION_FIELDS = 5
_LONE_VERSION_LENGTH = 1 + _VERSION_FIELDS
_LONE_SIBLING_LENGTH = _LONE_VERSION_LENGTH + 1
"""The lengths of rows with one version whose context is just its dot. No other rows have these lengths."""

_pack: Callable[[object], bytes] = msgpack.packb
_unpack: Callable[[bytes], Any] = msgpack.unpackb

# Named tuples are built without their constructor, which checks arguments and takes twice as long.
_new = tuple.__new__


class UndecodableRecordError(StorageError):
    """The error for bytes that are not a record of this format: the volume or another program has damaged them."""


def encode_row(row: StoredRow) -> bytes:
    """Return the stored form of a row, which must satisfy the invariants of its type."""
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


def decode_row(stored: bytes) -> StoredRow:
    """Return the row that `encode_row` was given. Raises UndecodableRecordError."""
    try:
        fields = _unpack(stored)
        if len(fields) == _LONE_VERSION_LENGTH and fields[0] == 1:
            _, replica, sequence, timestamp, value, expires_ms = fields
            if not type(replica) is type(sequence) is type(timestamp) is int:
                raise ValueError("a dot or a timestamp is not a number")
            if not (0 <= replica <= _INTEGER_MAX and 0 < sequence <= SEQUENCE_MAX and 0 <= timestamp <= _INTEGER_MAX):
                raise ValueError("a dot or a timestamp is out of range")
            if value is not None and type(value) is not bytes:
                value = _value_of(value)
            if expires_ms is not None:
                expires_ms = _time_of(expires_ms)
            version = _new(Version, (_new(Dot, (replica, sequence)), timestamp, value, expires_ms, None))
            context = Context()
            context[replica] = sequence
            return _new(StoredRow, ((version,), context))
        if len(fields) == _LONE_SIBLING_LENGTH and fields[0] == -1:
            _, replica, sequence, timestamp, value, expires_ms, above = fields
            version = _new(Version, (_new(Dot, (replica, sequence)), timestamp, value, expires_ms, above))
            context = Context()
            context[replica] = sequence
            return _new(StoredRow, ((version,), context))
        length = _VERSION_FIELDS if fields[0] > 0 else _VERSION_FIELDS + 1
        end = 1 + length * abs(fields[0])
        if not 1 < end <= len(fields):
            raise ValueError("fewer fields than versions need")
        context = _context_of(fields[end:]) if end < len(fields) else Context({fields[1]: fields[2]})
        versions = tuple([_version_of(context, *fields[at : at + length]) for at in range(1, end, length)])
        if len(versions) > 1:
            ranks = [(version.rank, version.dot) for version in versions]
            if any(lower >= higher for higher, lower in pairwise(ranks)):
                raise ValueError("versions are out of order")
        return StoredRow(versions, context)
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise UndecodableRecordError(f"its {len(stored)} bytes cannot be decoded: {error}") from error


def _version_of(
    context: Context,
    replica: Any,
    sequence: Any,
    timestamp: Any,
    value: Any,
    expires_ms: Any,
    siblings_above: Any = None,
) -> Version:
    if not type(replica) is type(sequence) is type(timestamp) is int:
        raise ValueError("a dot or a timestamp is not a number")
    if not (0 <= replica <= _INTEGER_MAX and 0 < sequence <= SEQUENCE_MAX and 0 <= timestamp <= _INTEGER_MAX):
        raise ValueError("a dot or a timestamp is out of range")
    if sequence > context.get(replica, 0):
        raise ValueError("the context does not cover a dot")
    if siblings_above is not None and not (type(siblings_above) is int and 0 <= siblings_above < timestamp):
        raise ValueError("a version outranks itself")
    if value is not None and type(value) is not bytes:
        value = _value_of(value)
    if expires_ms is not None:
        expires_ms = _time_of(expires_ms)
    return _new(Version, (_new(Dot, (replica, sequence)), timestamp, value, expires_ms, siblings_above))


def _value_of(value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"a value is a {type(value).__name__}")
    return value.encode()


def _time_of(expires_ms: object) -> int:
    if type(expires_ms) is not int or expires_ms < 0:
        raise ValueError("an expiry is not a time")
    return min(expires_ms, TIME_MS_MAX)


def encode_identity(identity: Identity) -> bytes:
    """Return the stored form of a store's identity."""
    return _pack(identity)


def decode_identity(stored: bytes) -> Identity:
    """Return the identity of a store. Raises UndecodableRecordError."""
    try:
        identity = Identity(*_unpack(stored))
        _check_types(identity, str, str, int, int)
    except (ValueError, TypeError) as error:
        raise UndecodableRecordError(f"the identity of the store cannot be decoded{DAMAGE_REMEDY}") from error
    return identity


def encode_counts(counts: Counts) -> bytes:
    """Return the stored form of a table's counts."""
    return _pack(counts)


def decode_counts(stored: bytes) -> Counts:
    """Return the counts of a table. Raises UndecodableRecordError."""
    try:
        fields = _unpack(stored)
        _check_types(fields, int, int, int)
    except (ValueError, TypeError) as error:
        raise UndecodableRecordError(f"the counts of a table cannot be decoded{DAMAGE_REMEDY}") from error
    return Counts(*fields)


def encode_shard_record(record: ShardRecord) -> bytes:
    """Return the stored form of a shard's record. It begins with the number of pairs of the context, with all bits
    inverted (so negative) if the two numbers of `core/protocol/names.py` follow."""
    context, floors, told, certain = record
    head = [len(context)] if told is None or certain is None else [~len(context), told, certain]
    return _pack([*head, *_pairs(context), *_pairs(floors)])


def decode_shard_record(stored: bytes) -> ShardRecord:
    """Return the record of a shard; `told` and `certain` are None in data of format 3. Raises
    UndecodableRecordError."""
    try:
        length, *fields = _unpack(stored)
        names: list[int | None] = [None, None]
        if length < 0:
            length, names, fields = ~length, fields[:2], fields[2:]
        told, certain = names
        return ShardRecord(_context_of(fields[: 2 * length]), _context_of(fields[2 * length :]), told, certain)
    except (ValueError, TypeError, LookupError) as error:
        raise UndecodableRecordError(f"the record of a shard cannot be decoded{DAMAGE_REMEDY}") from error


def encode_context(context: Context) -> bytes:
    """Return the stored form of a context: replicas and sequences in turn."""
    return _pack(list(_pairs(context)))


def decode_context(stored: bytes) -> Context:
    """Return a context. Raises UndecodableRecordError."""
    try:
        return _context_of(_unpack(stored))
    except (ValueError, TypeError) as error:
        raise UndecodableRecordError("a context cannot be decoded") from error


def encode_collected(collected: Collected) -> bytes:
    """Return the stored form of what a replica has collected."""
    fields: list[int] = [collected.timestamp, len(collected.lineage), *collected.lineage]
    for marks, listed, known in collected.proofs:
        fields += (len(marks), *_pairs(marks), len(listed), *sorted(listed), len(known), *sorted(known))
    return _pack(fields)


def decode_collected(stored: bytes) -> Collected:
    """Return what a replica has collected, also from the form of version 0.1.0. Raises UndecodableRecordError."""
    try:
        timestamp, length, *fields = _unpack(stored)
        _check_types((timestamp,), int)
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
        _check_types(lineage, *[int] * length)
        for proof in proofs:
            _check_types([*proof.listed, *proof.known], *[int] * (len(proof.listed) + len(proof.known)))
        return Collected(tuple(proofs), timestamp, lineage)
    except (ValueError, TypeError, LookupError) as error:
        raise UndecodableRecordError(f"the record of what was collected cannot be decoded{DAMAGE_REMEDY}") from error


def encode_quarantined(held: Quarantined, stored: bytes) -> bytes:
    """Return a quarantine record, which includes the bytes of the row for a manual repair."""
    return _pack([held.reason, stored, *_pairs(held.context)])


def decode_quarantined(stored: bytes) -> Quarantined:
    """Return what is known of a quarantined row, without its bytes. Raises UndecodableRecordError."""
    try:
        reason, _, *pairs = _unpack(stored)
        _check_types((reason,), str)
        return Quarantined(reason, _context_of(pairs))
    except (ValueError, TypeError) as error:
        raise UndecodableRecordError(f"the record of a quarantined row cannot be decoded{DAMAGE_REMEDY}") from error


def _check_types(fields: Iterable[object], *kinds: type) -> None:
    """Check that the fields are exactly of these types. Raises ValueError."""
    if [type(field) for field in fields] != list(kinds):
        raise ValueError("a field is of another type")


def encode_lacking(lacking: Lacking) -> bytes:
    """Return the stored form of the rows that a replica lacks."""
    fields: list[Any] = []
    for address, (through, after, reason) in lacking.items():
        fields += (address, reason, len(through), *_pairs(through), len(after), *_pairs(after))
    return _pack(fields)


def decode_lacking(stored: bytes) -> Lacking:
    """Return the rows that a replica lacks. Raises UndecodableRecordError."""
    try:
        fields, lacking = _unpack(stored), Lacking()
        place = 0
        while place < len(fields):
            address, reason = fields[place : place + 2]
            contexts = []
            place += 2
            for _ in range(2):
                end = place + 1 + 2 * fields[place]
                contexts.append(_context_of(fields[place + 1 : end]))
                place = end
            through, after = contexts
            lacking[address] = Lack(through, after, reason)
    except (ValueError, TypeError, LookupError) as error:
        raise UndecodableRecordError("the record of lacking rows cannot be decoded") from error
    return lacking


def _pairs(context: Context) -> Iterable[int]:
    return chain.from_iterable(context.items())


def _context_of(pairs: list[int]) -> Context:
    context = Context(zip(pairs[0::2], pairs[1::2], strict=True))
    if 2 * len(context) != len(pairs):
        raise ValueError("a context names a replica twice")
    for replica, sequence in context.items():
        if not type(replica) is type(sequence) is int:
            raise ValueError("a context holds something other than numbers")
        if not (0 <= replica <= _INTEGER_MAX and 0 <= sequence <= SEQUENCE_MAX):
            raise ValueError("a context is out of range")
    return context
