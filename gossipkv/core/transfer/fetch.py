"""How the values of rows that are too large for a message are fetched.

A sender names such a row by its outline: dots, timestamps, sizes and digests of its versions, and its context. The
receiver fetches the values that it does not hold, one fragment per exchange. When it has all of them, it merges the row
as if the row had come in one piece. The sender keeps no state: a version never changes, so a fragment may be requested
at any time, and again. If the row no longer holds the version, the sender answers with the current row. Values that
have been fetched and are still in the row are not fetched again.

Until the row is merged, the transfer that named it claims nothing. A pull covers no range, and a walk is not finished.
A read of several members counts no answer, and a hand-over counts no copy.

A transfer fetches one row at a time, which bounds the memory that it needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import xxhash

from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.messages import FetchValue, LargeRow, Outline, RefusedRow, RowCopy, ValuePart
from gossipkv.core.protocol.parcel import Parcel
from gossipkv.core.store.storage import Reader

DAMAGED = "damaged_value"
"""The reason for refusing a row: the bytes from a peer are not the value that its outline described."""


class Fetching:
    """The receiver's side: large rows that a peer has named and that have not been fetched yet.

    After each `want` and `take`, merge what `assembled` returns until it returns None. Then `asked` is the next
    question, or None if nothing is wanted any longer.
    """

    def __init__(self) -> None:
        self.asked: FetchValue | None = None
        self._wanted: dict[bytes, LargeRow] = {}
        self._named: dict[bytes, Context] = {}
        """What the rows cover according to the peer, over all copies that it has named."""
        self._values: dict[tuple[Dot, int], bytes] = {}
        """The completely fetched values, by dot and digest."""
        self._part = bytearray()
        """The fetched part of the requested value."""

    @property
    def is_finished(self) -> bool:
        """Whether no row is wanted."""
        return not self._wanted

    def __len__(self) -> int:
        return len(self._wanted)

    def want(self, large: Iterable[LargeRow]) -> None:
        """Add the rows that a peer has named, replacing those that it named before."""
        for row in large:
            self._wanted[row.address] = row
            self._named[row.address] = self._named.get(row.address, Context()).joined(row.context)
            asked = self.asked
            if asked is not None and asked.address == row.address and _asked_of(row, asked) is None:
                self._part.clear()
                self.asked = None

    def assembled(self, reader: Reader, shard: str) -> RowCopy | None:
        """Return a complete row, or None if there is none yet. The row is no longer wanted: merge it within the same
        transaction."""
        is_amid_a_value = self.asked is not None and bool(self._part)
        if is_amid_a_value or not self._wanted:
            return None
        large = next(iter(self._wanted.values()))
        missing = self._fill(large, reader.row(shard, large.address))
        if isinstance(missing, RowCopy):
            self._drop(large.address)
            return missing
        self.asked = FetchValue(shard, large.address, missing.dot, missing.digest, 0)
        return None

    def _fill(self, large: LargeRow, ours: StoredRow | None) -> RowCopy | Outline:
        """Return the row, or the first version whose value is missing."""
        held = {version.dot: version.value for version in ours.versions} if ours else {}
        versions = []
        for outline in large.versions:
            dot, timestamp, size, digest, expires_ms, above = outline
            value: bytes | None
            if size is None:
                value = None
            elif _is_value(held.get(dot), size, digest):
                value = held[dot]
            elif (dot, digest) in self._values:
                value = self._values[dot, digest]
            elif ours is not None and dot not in held and ours.context.covers(dot):
                # It has been superseded here, so merge drops it, whatever its value is.
                value = b""
            elif size == 0:
                value = b""
            else:
                return outline
            versions.append(Version(dot, timestamp, value, expires_ms, above))
        return RowCopy(large.address, StoredRow(tuple(versions), large.context))

    def take(self, part: ValuePart) -> list[RefusedRow] | None:
        """Note the answer to `asked`, and return the rows that are refused; None if it is no answer to that.

        If the peer sent a newer row instead of the value, that row is wanted instead. A damaged row is refused, and no
        longer wanted.
        """
        asked = self.asked
        if asked is None or (part.address, part.dot, part.offset) != (asked.address, asked.dot, asked.offset):
            return None
        if not part.data:
            self._replace(asked.address, part.large)
            return []
        large = self._wanted[asked.address]
        outline = _asked_of(large, asked)
        assert outline is not None, "what is asked for is wanted"
        assert outline.size is not None, "a tombstone has no value to ask for"
        self._part += part.data
        if len(self._part) < outline.size:
            self.asked = replace(asked, offset=len(self._part))
            return []
        value = bytes(self._part)
        self._part.clear()
        self.asked = None
        if not _is_value(value, outline.size, outline.digest):
            self._drop(asked.address)
            return [RefusedRow(tuple(sorted(large.context)), DAMAGED, large.address, large.context)]
        self._values[outline.dot, outline.digest] = value
        return []

    def refusing(self, refused: Iterable[RefusedRow]) -> list[RefusedRow]:
        """Return these refused rows with everything that they stand for. Call it after each answer, with what was
        refused of it.

        Counterexample to returning what the last copy covers alone: a range is named with a large row of its origin.
        While the row is fetched, the peer merges it with a later one. That one is refused here and no longer names the
        origin. The range is covered without the row.
        """
        found = []
        for row in refused:
            named = None if row.address is None else self._named.get(row.address)
            if named is not None and row.origins is not None:
                context = named if row.context is None else named.joined(row.context)
                row = row._replace(origins=tuple(sorted({*row.origins, *named})), context=context)
            found.append(row)
        self._named = {address: context for address, context in self._named.items() if address in self._wanted}
        return found

    def _replace(self, address: bytes, large: tuple[LargeRow, ...]) -> None:
        """Want the peer's current row instead, or nothing if it is no longer large."""
        del self._wanted[address]
        self.want([row for row in large if row.address == address])
        if address not in self._wanted:
            self._drop(address)

    def _drop(self, address: bytes) -> None:
        self._wanted.pop(address, None)
        self._values.clear()
        self._part.clear()
        self.asked = None


def _asked_of(large: LargeRow, asked: FetchValue) -> Outline | None:
    """Return the version of the row that was requested; None if the row no longer has it."""
    for outline in large.versions:
        if (outline.dot, outline.digest) == (asked.dot, asked.digest):
            return outline
    return None


def _is_value(value: bytes | None, size: int, digest: int) -> bool:
    return value is not None and len(value) == size and xxhash.xxh3_64_intdigest(value) == digest


def serve(reader: Reader, question: FetchValue, fragment_bytes_max: int, whole_row_bytes_max: int) -> ValuePart:
    """Answer a receiver from the current row."""
    shard, address, dot, digest, offset = (
        question.shard, question.address, question.dot, question.digest, question.offset,
    )  # fmt: skip
    row = reader.row(shard, address)
    value = _value_at(row, dot) if row is not None else None
    if value is not None and offset < len(value) and xxhash.xxh3_64_intdigest(value) == digest:
        return ValuePart(shard, address, dot, offset, value[offset : offset + fragment_bytes_max])
    parcel = Parcel(0, whole_row_bytes_max)
    if row is not None:
        parcel.add(address, row)
    return ValuePart(shard, address, dot, offset, b"", parcel.copies(), parcel.large())


def _value_at(row: StoredRow, dot: Dot) -> bytes | None:
    for version in row.versions:
        if version.dot == dot:
            return version.value
    return None
