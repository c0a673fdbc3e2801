"""The room of an envelope.

A frame has a maximum size, which no member exceeds and every member accepts. Each message is bounded by itself, but an
envelope holds several: pushes, a pull and a walk for each shard, and answers to everything that a peer asks at once. So
messages are added to an envelope while there is room. What does not fit is left out: a push waits for the next
envelope, and a question without an answer is asked again.
"""

from __future__ import annotations

from collections.abc import Iterable

from gossipkv.core.model.address import ROW_KEY_BYTES_MAX
from gossipkv.core.model.collected import Proofs
from gossipkv.core.model.lacking import LackedRow
from gossipkv.core.protocol.messages import (
    Ack,
    Covered,
    Delta,
    LargeRow,
    Message,
    Ping,
    PingRequest,
    Pull,
    RowCopy,
    State,
    ValuePart,
    WalkEntries,
    WalkFetch,
    WalkFetchRows,
    WalkList,
    WalkNodes,
    WalkRoot,
    WalkRows,
    WalkSums,
)
from gossipkv.core.protocol.parcel import MEBIBYTE, outline_bytes, row_bytes

FRAME_BYTES_MAX = 2 * MEBIBYTE
"""Maximum size of a frame."""

ENVELOPE_BYTES_MAX = FRAME_BYTES_MAX - MEBIBYTE // 16
"""Maximum size of the messages in one envelope; the rest is for the envelope's own fields and for probes."""

_MESSAGE_BYTES = 2 * (ROW_KEY_BYTES_MAX + 112)
"""Upper bound of the fields of a message that vary little in size: two addresses, and numbers."""

_RUMOUR_BYTES = 560


def bytes_of(message: Message) -> int:
    """Return an upper bound of the bytes that a message takes in a frame."""
    size = _MESSAGE_BYTES
    match message:
        case State():
            size += (
                16 * (len(message.context) + len(message.lacking)) + 8 * len(message.lineage) + _proofs(message.proofs)
            )
        case Covered() | Pull():
            size += 16 * (len(message.context) + len(message.lacking))
        case Delta():
            size += _lacking(message.lacking)
            size += 24 * len(message.ranges) + _rows(message.rows, message.large)
        case WalkRows():
            size += _rows(message.rows, message.large)
        case ValuePart():
            size += len(message.data) + _rows(message.rows, message.large)
        case WalkRoot():
            size += 16 * (len(message.context) + len(message.nodes))
            size += _lacking(message.lacking) + 8 * len(message.collected.lineage) + _proofs(message.collected.proofs)
        case WalkNodes():
            size += len(message.nodes)
        case WalkSums():
            size += len(message.nodes) + len(message.leaves)
        case WalkList() | WalkFetch():
            size += 2 * len(message.leaves)
        case WalkEntries():
            size += sum([8 + len(entry.address) + 24 * len(entry.versions) for entry in message.entries])
        case WalkFetchRows():
            size += sum([3 + len(address) for address in message.addresses])
        case Ping() | PingRequest() | Ack():
            size += _RUMOUR_BYTES * len(message.rumours)
        case _:
            pass
    return size


def _rows(rows: Iterable[RowCopy], large: Iterable[LargeRow]) -> int:
    return sum(map(row_bytes, rows)) + sum(map(outline_bytes, large))


def _lacking(rows: Iterable[LackedRow]) -> int:
    return sum([10 + len(row.address) + 16 * len(row.through) for row in rows])


def _proofs(proofs: Proofs) -> int:
    return sum([16 + 16 * len(marks) + 8 * (len(listed) + len(known)) for marks, listed, known in proofs])


class EnvelopeRoom:
    """The room of one envelope."""

    def __init__(self) -> None:
        self.bytes_left = ENVELOPE_BYTES_MAX

    def takes(self, messages: Iterable[Message]) -> bool:
        """Reserve room for the messages if all of them fit; return whether they do."""
        size = sum(map(bytes_of, messages))
        if size > self.bytes_left:
            return False
        self.bytes_left -= size
        return True
