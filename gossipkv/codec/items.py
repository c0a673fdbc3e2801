"""The items of a frame, unpacked as they are read.

A frame of 2 MiB may hold 2 million items, and an item takes up to 60 bytes in memory. So only a few are unpacked ahead,
and a frame that is not an envelope is refused before the rest of it is unpacked.
"""

from __future__ import annotations

from itertools import islice
from typing import NoReturn

import msgpack

from gossipkv.codec.limits import MALFORMED, DecodeError, Limits

_TEXT_BYTES_MAX = 255
_AHEAD = 8192
"""The number of items to unpack at once."""
_NIL = b"\xc0"


class Items:
    """The reader of a frame's items, in order. Each method raises DecodeError."""

    __slots__ = ("_bytes_max", "_unpacker", "at", "unpacked")

    def __init__(self, frame: bytes, limits: Limits) -> None:
        # A value may be longer here than its limit, so that a value that is too large refuses its row, not the frame.
        self._unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=True,
            list_hook=_refuse_container,
            object_hook=_refuse_container,
            ext_hook=_refuse_container,
            max_buffer_size=limits.frame_bytes_max,
            max_str_len=_TEXT_BYTES_MAX,
            max_bin_len=limits.frame_bytes_max,
            max_array_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
        self._unpacker.feed(memoryview(frame)[1:])
        self._bytes_max = len(frame) - 1
        self.unpacked: list[object] = []
        self.at = 0
        """The place of the next item in `unpacked`."""

    def next(self) -> object:
        """Return the next item, a msgpack scalar."""
        at = self.at
        if at == len(self.unpacked):
            self.unpack(1)
            at = 0
        self.at = at + 1
        return self.unpacked[at]

    def unpack(self, count: int) -> None:
        """Unpack until `unpacked` holds at least this many items from `at` on; then `at` is 0."""
        left = self.unpacked[self.at :]
        self.unpacked, self.at = left, 0
        try:
            left += islice(self._unpacker, max(_AHEAD, count - len(left)))
        except (ValueError, msgpack.UnpackException) as error:
            raise DecodeError(MALFORMED, f"not msgpack scalars: {error}") from None
        if len(left) < count:
            raise DecodeError(MALFORMED, "an item is missing")

    @property
    def count_max(self) -> int:
        """The maximum number of items that can follow: each takes at least a byte."""
        return len(self.unpacked) - self.at + self.left_bytes

    @property
    def left_bytes(self) -> int:
        """The number of bytes that are not unpacked yet."""
        return self._bytes_max - int(self._unpacker.tell())

    def end(self) -> None:
        """Check that no item follows, and that no item is cut short."""
        if self.at < len(self.unpacked):
            raise DecodeError(MALFORMED, "items behind the last message")
        # An unpacker cannot tell a stream that ended from one that is cut short within an item. So feed it one more
        # nil. It unpacks that nil only if the stream ended; otherwise the byte becomes a part of the item.
        try:
            self._unpacker.feed(_NIL)
            is_whole = list(islice(self._unpacker, 2)) == [None]
        except (ValueError, msgpack.UnpackException) as error:
            raise DecodeError(MALFORMED, f"not msgpack scalars: {error}") from None
        if not is_whole:
            raise DecodeError(MALFORMED, "items behind the last message, or an item cut short")


def _refuse_container(*_: object) -> NoReturn:
    raise ValueError("not a scalar")
