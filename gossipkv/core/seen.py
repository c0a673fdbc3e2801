"""What a watcher has been told, and the text that says so: the id of an event.

A context covers every write up to it; dots name writes above it. A row has been seen when all its versions have been.
The id is the whole of it, so a watch goes on at any member that covers the id: whatever that member holds then is what
the watcher has seen, or newer.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable

from gossipkv.core.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.row import Row

_FORM = 1
"""The first byte of an id."""
_REPLICA_BYTES = 8
_ENTRIES_MAX = 10_000


class Seen:
    """A context and dots above it; changed in place by whoever tells the watcher."""

    __slots__ = ("context", "dots")

    def __init__(self, context: Context | None = None, dots: Iterable[Dot] = ()) -> None:
        self.context = Context(context or {})
        self.dots = set(dots)

    def covers(self, dot: Dot) -> bool:
        return self.context.covers(dot) or dot in self.dots

    def is_covered_by(self, context: Context) -> bool:
        """Whether who covers the context holds all of this, or what superseded it."""
        return context.covers_all(self.context) and all(context.covers(dot) for dot in self.dots)

    def add(self, row: Row) -> None:
        for version in row.versions:
            if not self.context.covers(version.dot):
                self.dots.add(version.dot)

    def reach(self, origin: int, sequence: int) -> None:
        """Cover an origin's writes up to a sequence."""
        self.context.advance({origin: sequence})
        if self.dots:
            self.dots = {dot for dot in self.dots if not self.context.covers(dot)}

    def encoded(self) -> str:
        """URL-safe text; equal for equal contents."""
        content = bytearray([_FORM])
        for entries in (sorted(self.context.items()), sorted(self.dots)):
            _put_number(content, len(entries))
            for replica, sequence in entries:
                content += replica.to_bytes(_REPLICA_BYTES, "big")
                _put_number(content, sequence)
        return urlsafe_b64encode(content).rstrip(b"=").decode()

    @classmethod
    def decoded(cls, text: str) -> Seen:
        """Raises ValueError where the text is no id that `encoded` gives."""
        try:
            content = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        except (binascii.Error, UnicodeEncodeError):
            raise ValueError("not base64") from None
        if not content or content[0] != _FORM:
            raise ValueError("of an unknown form")
        context, at = _entries(content, 1)
        dots, at = _entries(content, at)
        seen = cls(Context(context), (Dot(*entry) for entry in dots))
        if at != len(content) or seen.encoded() != text:
            raise ValueError("not as it was given out")
        return seen


def _put_number(content: bytearray, number: int) -> None:
    """Seven bits to a byte, the low ones first."""
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    content.append(number)


def _number(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(content) and shift < 70:
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at
    raise ValueError("cut off")


def _entries(content: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    count, at = _number(content, at)
    if count > _ENTRIES_MAX:
        raise ValueError("too long")
    entries = []
    for _ in range(count):
        replica = int.from_bytes(content[at : at + _REPLICA_BYTES], "big")
        sequence, at = _number(content, at + _REPLICA_BYTES)
        if sequence > SEQUENCE_MAX:
            raise ValueError("beyond all sequences")
        entries.append((replica, sequence))
    return entries, at
