"""The layout of messages, and the encoding of envelopes as frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgpack

from gossipkv.codec.items import Items
from gossipkv.codec.limits import MALFORMED, PROTOCOL, PROTOCOL_VERSION, TOO_LARGE, DecodeError, Limits
from gossipkv.codec.reader import ID, LEAF, RUN, FrameReader
from gossipkv.codec.rows import PAIR, ROW_BYTES_MIN, TRIPLE, packed, write_large, write_rows
from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.collected import Collected, Proofs
from gossipkv.core.model.fingerprint import LEAF_SUMS, LEAVES_PER_NODE, NODES
from gossipkv.core.model.lacking import LackedRow
from gossipkv.core.model.room import Room
from gossipkv.core.protocol.base import Abridged, AbridgedIds
from gossipkv.core.protocol.messages import (
    Ack,
    Covered,
    Delta,
    Digest,
    Envelope,
    FetchValue,
    LeafEntry,
    Message,
    Offer,
    Ping,
    PingRequest,
    Position,
    Pull,
    State,
    TooFar,
    Unlisted,
    ValuePart,
    WalkBegin,
    WalkEntries,
    WalkFetch,
    WalkFetchRows,
    WalkList,
    WalkNodes,
    WalkRoot,
    WalkRows,
    WalkSums,
)
from gossipkv.core.protocol.rumours import STATUSES, Rumour

_ENDPOINT_LENGTH_MAX = 63
"""The number of characters that always fit into a text."""

EncodedFields = list[Any]


def encode(envelope: Envelope) -> bytes:
    """Return the frame of an envelope. Nothing is checked here: the envelope must satisfy the invariants of its
    types."""
    items: EncodedFields = [
        envelope.cluster,
        envelope.member,
        envelope.replica,
        envelope.incarnation,
        envelope.now_ms,
        envelope.is_ready,
        envelope.started,
        envelope.token,
        envelope.born,
        envelope.endpoint[:_ENDPOINT_LENGTH_MAX] or None,
        envelope.is_informed,
        int(envelope.room),
        len(envelope.messages),
    ]
    for message in envelope.messages:
        layout = _LAYOUT_OF_TYPE[type(message)]
        items.append(layout.tag)
        for name, kind in layout.fields.items():
            kind.write(items, getattr(message, name))
    packer = msgpack.Packer(autoreset=False)
    for item in items:
        packer.pack(item)
    stream: bytes = packer.bytes()
    return bytes((PROTOCOL_VERSION,)) + stream


def decode(frame: bytes, limits: Limits) -> Envelope:
    """Return the envelope of a frame; the rows that were left out are in its messages' `refused`. Raises
    DecodeError."""
    if len(frame) > limits.frame_bytes_max:
        raise DecodeError(TOO_LARGE, f"{len(frame)} bytes are more than {limits.frame_bytes_max}")
    if not frame:
        raise DecodeError(MALFORMED, "an empty frame")
    if frame[0] != PROTOCOL_VERSION:
        raise DecodeError(PROTOCOL, f"protocol {frame[0]}, not {PROTOCOL_VERSION}")
    reader = FrameReader(Items(frame, limits), limits, rows_max=len(frame) // ROW_BYTES_MIN)
    envelope = Envelope(
        cluster=reader.text(),
        member=reader.text(),
        replica=reader.integer(),
        incarnation=reader.count(),
        now_ms=reader.count(),
        is_ready=reader.boolean(),
        started=reader.count(),
        token=reader.integer(),
        born=reader.integer(),
        endpoint=reader.optional_text(),
        is_informed=reader.boolean(),
        room=_room(reader),
        messages=tuple([_message(reader) for _ in range(reader.length(limits.messages_max))]),
    )
    reader.end()
    return envelope


def _room(reader: FrameReader) -> Room:
    level = reader.count()
    if level > Room.NONE:
        raise DecodeError(MALFORMED, f"no level of room has the number {level}")
    return Room(level)


def _message(reader: FrameReader) -> Message:
    tag = reader.integer()
    layout = _LAYOUT_OF_TAG.get(tag)
    if layout is None:
        raise DecodeError(MALFORMED, f"no message has tag {tag}")
    reader.refused = []
    fields = {name: kind.read(reader) for name, kind in layout.fields.items()}
    if reader.refused:
        fields["refused"] = tuple(reader.refused)
    message: Message = layout.message(**fields)
    if not _is_consistent(message):
        raise DecodeError(MALFORMED, f"{layout.message.__name__} of fields that disagree")
    return message


def _is_consistent(message: Message) -> bool:
    match message:
        case WalkRoot():
            return len(message.nodes) == NODES
        case WalkSums():
            return len(message.leaves) == LEAF_SUMS.size * LEAVES_PER_NODE * len(message.nodes)
    return True


class _Kind(NamedTuple):
    """The functions that write and read a field."""

    write: Callable[[EncodedFields, Any], None]
    read: Callable[[FrameReader], Any]


class _Layout(NamedTuple):
    """The layout of a message."""

    tag: int
    """The number of the message, which never changes within a protocol version."""
    message: type[Any]
    fields: dict[str, _Kind]
    """The fields, in the order in which they follow the tag."""


def _write_position(items: EncodedFields, position: Position | None) -> None:
    items += position or (None,)


def _write_addresses(items: EncodedFields, addresses: tuple[bytes, ...]) -> None:
    items += (len(addresses), *addresses)


def _write_entries(items: EncodedFields, entries: tuple[LeafEntry, ...]) -> None:
    items.append(len(entries))
    for address, versions in entries:
        items += (address, packed(TRIPLE, [(*dot, term) for dot, term in versions]))


def _write_rumours(items: EncodedFields, rumours: tuple[Rumour, ...]) -> None:
    items.append(len(rumours))
    for member, status, life, accuser in rumours:
        items += (member, STATUSES.index(status), *life, accuser or None)


def _write_context(items: EncodedFields, context: Context) -> None:
    items += (context.base if isinstance(context, Abridged) else 0, packed(PAIR, context.items()))


def _write_proofs(items: EncodedFields, proofs: Proofs) -> None:
    items.append(len(proofs))
    for marks, listed, known in proofs:
        _write_context(items, marks)
        _write_replicas(items, listed)
        _write_replicas(items, known)


def _write_replicas(items: EncodedFields, replicas: frozenset[ReplicaId]) -> None:
    base, runs = (replicas.base, replicas.runs) if isinstance(replicas, AbridgedIds) else (0, ())
    items += (base, b"".join(map(RUN.pack, runs)), _ids(sorted(replicas)))


def _write_lineage(items: EncodedFields, lineage: tuple[ReplicaId, ...]) -> None:
    items.append(_ids(lineage))


def _write_collected(items: EncodedFields, collected: Collected) -> None:
    _write_proofs(items, collected.proofs)
    items.append(collected.timestamp)
    _write_lineage(items, collected.lineage)


def _ids(replicas: Iterable[ReplicaId]) -> bytes:
    return b"".join(map(ID.pack, replicas))


def _write_lacking(items: EncodedFields, rows: tuple[LackedRow, ...]) -> None:
    items.append(len(rows))
    for address, through in rows:
        items += (address, packed(PAIR, through.items()))


_SHARD = _Kind(list.append, FrameReader.shard)
_HASH = _Kind(list.append, FrameReader.integer)
_COUNT = _Kind(list.append, FrameReader.count)
_BOOLEAN = _Kind(list.append, FrameReader.boolean)
_START = _Kind(list.append, FrameReader.start)
_CONTEXT = _Kind(_write_context, FrameReader.context)
_RANGES = _Kind(
    lambda items, ranges: items.append(packed(TRIPLE, [(origin, *ranges[origin]) for origin in ranges])),
    FrameReader.ranges,
)
_CURSOR = _Kind(lambda items, cursor: items.append(cursor and PAIR.pack(*cursor)), FrameReader.cursor)
_POSITION = _Kind(_write_position, FrameReader.position)
_SUMS = _Kind(lambda items, sums: items.append(packed(PAIR, sums)), FrameReader.sums)
_LEAF_SUMS = _Kind(list.append, FrameReader.leaf_sums)
_NODES = _Kind(lambda items, nodes: items.append(bytes(nodes)), FrameReader.nodes)
_LEAVES = _Kind(lambda items, leaves: items.append(b"".join(map(LEAF.pack, leaves))), FrameReader.leaves)
_ADDRESSES = _Kind(_write_addresses, FrameReader.addresses)
_ENTRIES = _Kind(_write_entries, FrameReader.entries)
_ROWS = _Kind(write_rows, FrameReader.rows)
_LARGE = _Kind(write_large, FrameReader.large)
_DOT = _Kind(lambda items, dot: items.append(PAIR.pack(*dot)), FrameReader.dot)
_ADDRESS = _Kind(list.append, FrameReader.address)
_DATA = _Kind(list.append, FrameReader.data)
_NAME = _Kind(list.append, FrameReader.text)
_RUMOURS = _Kind(_write_rumours, FrameReader.rumours)
_PROOFS = _Kind(_write_proofs, FrameReader.proofs)
_LINEAGE = _Kind(_write_lineage, FrameReader.lineage)
_COLLECTED = _Kind(_write_collected, FrameReader.collected)

_LACKING = _Kind(_write_lacking, FrameReader.lacking)

_DIGEST = {
    "shard": _SHARD,
    "context_hash": _HASH,
    "fingerprint": _HASH,
    "rows": _COUNT,
    "tombstones": _COUNT,
    "is_ahead": _BOOLEAN,
    "proofs_hash": _HASH,
    "is_withholding": _BOOLEAN,
    "is_lacking": _BOOLEAN,
}

_FETCH = {"shard": _SHARD, "address": _ADDRESS, "dot": _DOT}

_LAYOUTS = (
    _Layout(1, Digest, _DIGEST),
    _Layout(
        2, State, {"shard": _SHARD, "context": _CONTEXT, "proofs": _PROOFS, "lineage": _LINEAGE, "lacking": _CONTEXT}
    ),
    _Layout(3, Covered, {"shard": _SHARD, "context": _CONTEXT, "lacking": _CONTEXT}),
    _Layout(4, Pull, {"shard": _SHARD, "context": _CONTEXT, "cursor": _CURSOR, "lacking": _CONTEXT}),
    _Layout(
        5,
        Delta,
        {
            "shard": _SHARD,
            "ranges": _RANGES,
            "rows": _ROWS,
            "cursor": _CURSOR,
            "large": _LARGE,
            "lacking": _LACKING,
            "base": _HASH,
        },
    ),
    _Layout(6, Offer, {"shard": _SHARD}),
    _Layout(7, TooFar, {"shard": _SHARD}),
    _Layout(20, Unlisted, {"shard": _SHARD}),
    _Layout(8, WalkBegin, {"shard": _SHARD}),
    _Layout(
        9,
        WalkRoot,
        {"shard": _SHARD, "context": _CONTEXT, "nodes": _SUMS, "collected": _COLLECTED, "lacking": _LACKING},
    ),
    _Layout(10, WalkNodes, {"shard": _SHARD, "nodes": _NODES}),
    _Layout(11, WalkSums, {"shard": _SHARD, "nodes": _NODES, "leaves": _LEAF_SUMS}),
    _Layout(12, WalkList, {"shard": _SHARD, "leaves": _LEAVES, "after": _START}),
    _Layout(13, WalkEntries, {"shard": _SHARD, "entries": _ENTRIES, "resume": _POSITION}),
    _Layout(14, WalkFetch, {"shard": _SHARD, "leaves": _LEAVES, "after": _START}),
    _Layout(15, WalkFetchRows, {"shard": _SHARD, "addresses": _ADDRESSES}),
    _Layout(16, WalkRows, {"shard": _SHARD, "rows": _ROWS, "resume": _POSITION, "large": _LARGE, "base": _HASH}),
    _Layout(21, FetchValue, _FETCH | {"digest": _HASH, "offset": _COUNT}),
    _Layout(22, ValuePart, _FETCH | {"offset": _COUNT, "data": _DATA, "rows": _ROWS, "large": _LARGE, "base": _HASH}),
    _Layout(17, Ping, {"rumours": _RUMOURS}),
    _Layout(18, PingRequest, {"member": _NAME, "rumours": _RUMOURS}),
    _Layout(19, Ack, {"member": _NAME, "rumours": _RUMOURS}),
)

_LAYOUT_OF_TAG = {layout.tag: layout for layout in _LAYOUTS}
_LAYOUT_OF_TYPE = {layout.message: layout for layout in _LAYOUTS}
