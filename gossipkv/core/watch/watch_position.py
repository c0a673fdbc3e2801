"""The position of a watcher, and its text form: the id of an event.

A position is a context and some dots. Every write that the context covers has been sent, or has been superseded by one
that was sent. The dots name versions above the context that have been sent. They are needed for rows that run ahead of
the context. That is so briefly while writes arrive, and permanently if an origin is gone and no member has all of its
writes.

The id encodes the whole position, so a watch can resume at any member that holds everything it names. What that member
holds is what the watcher has been sent, or newer. The length of an id is bounded, because it travels as an HTTP header.
A position that does not fit has no id of its own: a watch that breaks off there is reset.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable

from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot, ReplicaId
from gossipkv.core.model.row import StoredRow
from gossipkv.core.protocol.base import NO_BASE, Abridged, Base

ANEW = "anew"
"""The id of a position that cannot be resumed: the watch must start again with all current rows."""
DOTS_MAX = 256
"""Maximum number of dots in an id."""
EVENT_ID_LENGTH_MAX = 4096
"""Maximum length of an id. Servers and proxies commonly refuse a header, or all headers together, above 8 KiB."""

_FORM = 2
"""The first byte of an id that names all of its context."""
_FORM_OF_BASE = 3
"""The first byte of an id that omits a base; the base follows."""
_BASE_BYTES = 8
_REPLICA_BYTES = 8
_ORIGINS_MAX = 10_000


class WatchPosition:
    """A context and dots above it. Only its creator changes it in place."""

    __slots__ = ("_abridged", "base", "context", "dots")

    def __init__(self, context: Context | None = None, dots: Iterable[Dot] = (), base: Base = NO_BASE) -> None:
        """Take copies. `context` may be abridged if it comes from an id; `complete` puts the omitted entries back."""
        self.context = context if isinstance(context, Abridged) else Context(context or {})
        self.dots = set(dots)
        self.base = base
        """The retired replicas that the id omits."""
        self._abridged: Context | None = None
        """The part of the context that the id names; None if not known yet."""

    def complete(self, base: Base) -> bool:
        """Put the omitted entries back; return whether the base was recognised, now or before."""
        self.context = base.resolved(self.context)
        return not isinstance(self.context, Abridged)

    def covers(self, dot: Dot) -> bool:
        """Return whether a write has been sent, or has been superseded by one that was sent."""
        return self.context.covers(dot) or dot in self.dots

    def covers_row(self, row: StoredRow) -> bool:
        """Return whether the position covers all versions of the row."""
        return all(self.covers(version.dot) for version in row.versions)

    def add(self, row: StoredRow) -> None:
        """Note that the row is sent: add the dots of its versions above the context."""
        self.dots.update([version.dot for version in row.versions if not self.context.covers(version.dot)])

    def reach(self, context: Context) -> None:
        """Cover a context, and drop the dots that it covers."""
        self.context.advance(context)
        self._abridged = None
        if self.dots:
            self.dots = {dot for dot in self.dots if not self.context.covers(dot)}

    def event_id(self) -> str:
        """Return URL-safe text, equal for equal positions; ANEW if the position does not fit into an id."""
        if len(self.dots) > DOTS_MAX:
            return ANEW
        if self._abridged is None:
            is_of_id = isinstance(self.context, Abridged)
            self._abridged = self.context if is_of_id else self.base.abridged(self.context)
        context = self._abridged
        content = bytearray([_FORM])
        if isinstance(context, Abridged):
            content = bytearray([_FORM_OF_BASE]) + context.base.to_bytes(_BASE_BYTES, "big")
        _put_number(content, len(context))
        for replica, sequence in sorted(context.items()):
            content += replica.to_bytes(_REPLICA_BYTES, "big")
            _put_number(content, sequence)
        if self.dots:
            self._put_dots(content)
        text = urlsafe_b64encode(content).rstrip(b"=").decode()
        return text if len(text) <= EVENT_ID_LENGTH_MAX else ANEW

    def _put_dots(self, content: bytearray) -> None:
        """Append the dots, by origin; each sequence is its distance from the one before."""
        origins: dict[ReplicaId, list[int]] = {}
        for replica, sequence in sorted(self.dots):
            origins.setdefault(replica, []).append(sequence)
        _put_number(content, len(origins))
        for replica, sequences in origins.items():
            content += replica.to_bytes(_REPLICA_BYTES, "big")
            _put_number(content, len(sequences))
            last = 0
            for sequence in sequences:
                _put_number(content, sequence - last)
                last = sequence

    @classmethod
    def of_event(cls, event_id: str) -> WatchPosition | None:
        """Return the position that an id names; None if the watch must be reset. Ids above the maximum length need a
        reset too: earlier versions gave out longer ones. Raises ValueError if the text is not an id."""
        if event_id == ANEW or len(event_id) > EVENT_ID_LENGTH_MAX:
            return None
        try:
            content = urlsafe_b64decode(event_id.encode("ascii") + b"=" * (-len(event_id) % 4))
        except (binascii.Error, UnicodeEncodeError):
            raise ValueError("not base64") from None
        if not content or content[0] not in (_FORM, _FORM_OF_BASE):
            raise ValueError("of an unknown form")
        position = _Content(content).position()
        if position.event_id() != event_id:
            raise ValueError("not as it was given out")
        return position


def _put_number(content: bytearray, number: int) -> None:
    """Append a number, seven bits to a byte, low bits first."""
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    content.append(number)


class _Content:
    """The bytes of an id, read from front to back. Every method raises ValueError."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 1

    def position(self) -> WatchPosition:
        base = 0
        if self._content[0] == _FORM_OF_BASE:
            base = self._bytes(_BASE_BYTES)
            if not base:
                raise ValueError("of no base")
        context = Context()
        for _ in range(self._count(_ORIGINS_MAX)):
            replica = self._replica()
            context[replica] = self._sequence(0)
        dots = []
        for _ in range(self._count(DOTS_MAX) if self._at < len(self._content) else 0):
            replica = self._replica()
            sequence = 0
            for _ in range(self._count(DOTS_MAX)):
                sequence = self._sequence(sequence)
                dots.append(Dot(replica, sequence))
        if self._at != len(self._content):
            raise ValueError("with something behind it")
        return WatchPosition(Abridged(context, base) if base else context, dots)

    def _number(self) -> int:
        number = shift = 0
        while self._at < len(self._content) and shift < 70:
            byte = self._content[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number
        raise ValueError("cut off")

    def _count(self, limit: int) -> int:
        count = self._number()
        if count > limit:
            raise ValueError("too long")
        return count

    def _replica(self) -> ReplicaId:
        return self._bytes(_REPLICA_BYTES)

    def _bytes(self, count: int) -> int:
        found = self._content[self._at : self._at + count]
        self._at += count
        return int.from_bytes(found, "big")

    def _sequence(self, last: int) -> int:
        sequence = last + self._number()
        if sequence > SEQUENCE_MAX:
            raise ValueError("beyond all sequences")
        return sequence
