"""The reader of a frame's fields, which checks each of them."""

from __future__ import annotations

import struct

from gossipkv.codec.items import Items
from gossipkv.codec.limits import MALFORMED, DecodeError, Limits
from gossipkv.codec.rows import (
    OUTLINE_ITEMS,
    PAIR,
    TRIPLE,
    VERSION_BYTES_MIN,
    VERSION_ITEMS,
    read_context,
    read_large,
    read_row,
)
from gossipkv.core.model.address import NAMESPACES, is_address
from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot, ReplicaId
from gossipkv.core.model.collected import LINEAGE_MAX, PROOFS_MAX, Collected, Proof, Proofs
from gossipkv.core.model.fingerprint import LEAF_SUMS, LEAVES, NODES, Pair
from gossipkv.core.model.lacking import LACKING_ROWS_MAX, LackedRow
from gossipkv.core.model.member import INCARNATION_END
from gossipkv.core.protocol.base import Abridged, AbridgedIds
from gossipkv.core.protocol.messages import (
    Cursor,
    LargeRow,
    LeafEntry,
    LeafVersion,
    Position,
    Range,
    RefusedRow,
    RowCopy,
)
from gossipkv.core.protocol.rumours import RUMOURS_PER_MESSAGE_MAX, STATUSES, Life, Rumour
from gossipkv.core.transfer.walk import ADDRESS_BYTES_PER_MESSAGE

LEAF = struct.Struct(">H")
ID = struct.Struct(">Q")
RUN = struct.Struct(">I")

_ADDRESSES_MAX = ADDRESS_BYTES_PER_MESSAGE // 6
"""The shortest address counts as 6 bytes against the limit of a message."""
_INTEGER_64_MAX = 2**64 - 1
_COUNT_MAX = 2**63 - 1


class FrameReader:
    """The reader of a frame's fields, one after the other. Each method raises DecodeError."""

    __slots__ = ("_items", "_limits", "_rows_max", "item", "refused")

    def __init__(self, items: Items, limits: Limits, rows_max: int) -> None:
        self._items = items
        self._limits = limits
        self._rows_max = rows_max
        """The number of rows that the frame still has room for. A larger count is a bad frame, not many bad rows."""
        self.item = items.next
        self.refused: list[RefusedRow] = []
        """The rows of the present message that were left out."""

    def end(self) -> None:
        """Check that the frame ends here."""
        self._items.end()

    def integer(self, largest: int = _INTEGER_64_MAX) -> int:
        """Read an integer of 0 to `largest`, by default of 64 bits."""
        item = self.item()
        if type(item) is not int or not 0 <= item <= largest:
            raise DecodeError(MALFORMED, f"not an integer of 0 to {largest}")
        return item

    def count(self) -> int:
        """Read an integer of 0 to 2^63 - 1."""
        return self.integer(_COUNT_MAX)

    def length(self, largest: int | None = None) -> int:
        """Read how many elements of a list follow. Each element takes at least one item, which bounds the length."""
        length = self.integer(_INTEGER_64_MAX if largest is None else largest)
        if length > self._items.count_max:
            raise DecodeError(MALFORMED, "fewer items than counted")
        return length

    def boolean(self) -> bool:
        """Read true or false; integers are refused."""
        item = self.item()
        if type(item) is not bool:
            raise DecodeError(MALFORMED, "not a boolean")
        return item

    def text(self) -> str:
        """Read a text of at least one character."""
        item = self.item()
        if type(item) is not str or not item:
            raise DecodeError(MALFORMED, "not a name")
        return item

    def optional_text(self) -> str:
        """Read a text; an empty one if it is absent."""
        item = self.item()
        if item is None:
            return ""
        if type(item) is not str:
            raise DecodeError(MALFORMED, "not a text")
        return item

    def rumours(self) -> tuple[Rumour, ...]:
        """Read the rumours of a probe."""
        # Besides the others there may be one rumour about the receiver and one about the sender.
        return tuple([self._rumour() for _ in range(self.length(RUMOURS_PER_MESSAGE_MAX + 2))])

    def _rumour(self) -> Rumour:
        member = self.text()
        status = STATUSES[self.integer(len(STATUSES) - 1)]
        life = Life(self.integer(INCARNATION_END - 1), self.integer(INCARNATION_END - 1))
        accuser = self.item()
        if accuser is None:
            return Rumour(member, status, life)
        if type(accuser) is not str or not accuser:
            raise DecodeError(MALFORMED, "not a name")
        return Rumour(member, status, life, accuser)

    def shard(self) -> str:
        """Read the name of one of the shards."""
        item = self.item()
        if type(item) is not str or item not in NAMESPACES:
            raise DecodeError(MALFORMED, "not a shard")
        return item

    def address(self) -> bytes:
        """Read the address of a row, in its valid form."""
        return _address(self.item())

    def start(self) -> bytes:
        """Read an address after which to begin; an empty one means the beginning."""
        item = self.item()
        return b"" if item == b"" else _address(item)

    def packed(self, item_bytes: int, count_max: int | None = None) -> bytes:
        """Read the bytes of at most `count_max` numbers or groups, each of `item_bytes`."""
        item = self.item()
        if type(item) is not bytes or len(item) % item_bytes:
            raise DecodeError(MALFORMED, f"not bytes in groups of {item_bytes}")
        if count_max is not None and len(item) > item_bytes * count_max:
            raise DecodeError(MALFORMED, f"more than {count_max} groups of {item_bytes} bytes")
        return item

    def context(self) -> Context:
        """Read a context; Abridged if the message leaves out a base."""
        base = self.integer()
        context = self._entries()
        return Abridged(context, base) if base else context

    def _entries(self) -> Context:
        context = read_context(self.item())
        if len(context) > self._limits.context_entries_max:
            raise DecodeError(MALFORMED, "a context of too many replicas")
        return context

    def dot(self) -> Dot:
        """Read a dot, whose sequence is at least 1."""
        item = self.item()
        if type(item) is not bytes or len(item) != PAIR.size:
            raise DecodeError(MALFORMED, "not a dot")
        dot = Dot(*PAIR.unpack(item))
        if not 1 <= dot.sequence <= SEQUENCE_MAX:
            raise DecodeError(MALFORMED, "not a dot's sequence")
        return dot

    def data(self) -> bytes:
        """Read bytes, bounded only by the frame."""
        item = self.item()
        if type(item) is not bytes:
            raise DecodeError(MALFORMED, "not bytes")
        return item

    def proofs(self) -> Proofs:
        """Read the proofs of collected tombstones."""
        return tuple([self._proof() for _ in range(self.length(PROOFS_MAX))])

    def _proof(self) -> Proof:
        return Proof(self.context(), self._replicas(), self._replicas())

    def _replicas(self) -> frozenset[ReplicaId]:
        base = self.integer()
        runs = tuple([run for (run,) in RUN.iter_unpack(self.packed(RUN.size))])
        ids = frozenset(self._ids())
        return AbridgedIds(ids, base, runs) if base else ids

    def lineage(self) -> tuple[ReplicaId, ...]:
        """Read the replicas that the sender's data descend from."""
        lineage = self._ids()
        if len(lineage) > LINEAGE_MAX:
            raise DecodeError(MALFORMED, "a lineage of too many replicas")
        return lineage

    def collected(self) -> Collected:
        """Read the record of what the sender has collected."""
        return Collected(self.proofs(), self.integer(), self.lineage())

    def _ids(self) -> tuple[ReplicaId, ...]:
        ids = tuple([replica for (replica,) in ID.iter_unpack(self.packed(ID.size))])
        if len(ids) > self._limits.context_entries_max:
            raise DecodeError(MALFORMED, "too many replicas")
        return ids

    def ranges(self) -> dict[int, Range]:
        """Read ranges of sequences by origin; each origin occurs once."""
        packed = self.packed(TRIPLE.size)
        ranges = {origin: Range(after, through) for origin, after, through in TRIPLE.iter_unpack(packed)}
        if TRIPLE.size * len(ranges) != len(packed) or len(ranges) > self._limits.context_entries_max:
            raise DecodeError(MALFORMED, "an origin twice in ranges, or too many")
        if not all(after <= through and 1 <= through <= SEQUENCE_MAX for after, through in ranges.values()):
            raise DecodeError(MALFORMED, "not a range")
        return ranges

    def cursor(self) -> Cursor | None:
        """Read the progress of a pull; None if the message names none."""
        item = self.item()
        if item is None:
            return None
        if type(item) is not bytes or len(item) != PAIR.size:
            raise DecodeError(MALFORMED, "not a cursor")
        cursor = Cursor(*PAIR.unpack(item))
        if cursor.sequence > SEQUENCE_MAX:
            raise DecodeError(MALFORMED, "not a cursor's sequence")
        return cursor

    def position(self) -> Position | None:
        """Read the progress of a reply in a walk; None if the reply is complete."""
        place = self.item()
        if place is None:
            return None
        if type(place) is not int or not 0 <= place <= _COUNT_MAX:
            raise DecodeError(MALFORMED, "not a place")
        return Position(place, self.start())

    def sums(self) -> tuple[Pair, ...]:
        """Read the pairs of sums of at most `NODES` nodes."""
        return tuple(PAIR.iter_unpack(self.packed(PAIR.size, NODES)))

    def leaf_sums(self) -> bytes:
        """Read the sums of at most `LEAVES` leaves, packed."""
        return self.packed(LEAF_SUMS.size, LEAVES)

    def lacking(self) -> tuple[LackedRow, ...]:
        """Read the rows that the sender lacks, and up to where."""
        return tuple([LackedRow(self.address(), self._entries()) for _ in range(self.length(LACKING_ROWS_MAX))])

    def nodes(self) -> tuple[int, ...]:
        """Read the numbers of at most `NODES` nodes of the fingerprint."""
        return tuple(self.packed(1, NODES))

    def leaves(self) -> tuple[int, ...]:
        """Read the numbers of at most `LEAVES` leaves of the fingerprint."""
        return tuple([leaf for (leaf,) in LEAF.iter_unpack(self.packed(LEAF.size, LEAVES))])

    def addresses(self) -> tuple[bytes, ...]:
        """Read the addresses of rows to fetch."""
        return tuple([self.address() for _ in range(self.length(_ADDRESSES_MAX))])

    def entries(self) -> tuple[LeafEntry, ...]:
        """Read the rows of leaves: each address with the dots and terms of its versions."""
        return tuple([LeafEntry(self.address(), self.leaf_versions()) for _ in range(self.length())])

    def leaf_versions(self) -> tuple[LeafVersion, ...]:
        """Read the dots and terms of a row's versions; at least one."""
        packed = self.packed(TRIPLE.size)
        versions = [LeafVersion(Dot(replica, sequence), term) for replica, sequence, term in TRIPLE.iter_unpack(packed)]
        if not versions or not all(1 <= version.dot.sequence <= SEQUENCE_MAX for version in versions):
            raise DecodeError(MALFORMED, "not dots")
        return tuple(versions)

    def rows(self) -> tuple[RowCopy, ...]:
        """Read rows. A row that breaks a rule is left out and added to `refused`."""
        copies = []
        for _ in range(self._rows_length()):
            row = read_row(self._row_items(VERSION_ITEMS), self._limits)
            if isinstance(row, RefusedRow):
                self.refused.append(row)
            else:
                copies.append(row)
        return tuple(copies)

    def large(self) -> tuple[LargeRow, ...]:
        """Read the outlines of large rows. An outline that breaks a rule is left out and added to `refused`."""
        outlines = []
        for _ in range(self._rows_length()):
            row = read_large(self._row_items(OUTLINE_ITEMS), self._limits)
            if isinstance(row, RefusedRow):
                self.refused.append(row)
            else:
                outlines.append(row)
        return tuple(outlines)

    def _rows_length(self) -> int:
        length = self.length(self._rows_max)
        self._rows_max -= length
        return length

    def _row_items(self, version_items: int) -> list[object]:
        # Read the number of versions in place: `length` would cost as much as the rest of the row.
        items = self._items
        at = items.at
        unpacked = items.unpacked
        if at >= len(unpacked):
            items.unpack(1)
            at, unpacked = 0, items.unpacked
        versions = unpacked[at]
        if type(versions) is not int or versions < 0:
            raise DecodeError(MALFORMED, "not a number of versions")
        end = at + 3 + version_items * versions
        if end > len(unpacked):
            self._unpack_row(versions, version_items)
            at, end, unpacked = 0, end - at, items.unpacked
        items.at = end
        return unpacked[at + 1 : end]

    def _unpack_row(self, versions: int, version_items: int) -> None:
        items = self._items
        if versions > len(items.unpacked) + items.left_bytes // VERSION_BYTES_MIN:
            raise DecodeError(MALFORMED, "a row is cut short")
        items.unpack(3 + version_items * versions)


def _address(item: object) -> bytes:
    if type(item) is not bytes or not is_address(item):
        raise DecodeError(MALFORMED, "not an address")
    return item
