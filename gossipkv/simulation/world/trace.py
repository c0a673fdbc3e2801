"""The trace of a run: one line per event worth reading. Equal digests mean equal runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from gossipkv.simulation.world.timeline import Timeline


class Trace:
    """The record of a run, as a digest. `show` gets each line."""

    def __init__(self, timeline: Timeline, show: Callable[[str], None] | None = None) -> None:
        self._timeline = timeline
        self._show = show
        self._hash = hashlib.blake2b(digest_size=16)

    def line(self, who: str, text: str) -> None:
        """Add a line, with the time and the name of the member or actor."""
        line = f"{self._timeline.now_ms:>7} ms  {who:<8} {text}"
        self._hash.update(line.encode())
        if self._show is not None:
            self._show(line)

    def frame(self, who: str, content: bytes) -> None:
        """Add a frame to the digest only; there are too many frames to read."""
        self._hash.update(f"{self._timeline.now_ms} {who} ".encode())
        self._hash.update(content)

    @property
    def digest(self) -> str:
        """The digest of all lines and frames so far, in hexadecimal."""
        return self._hash.hexdigest()
