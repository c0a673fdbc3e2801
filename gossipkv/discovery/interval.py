"""The pause between two look-ups of a source that must be polled."""

from __future__ import annotations

import random
from asyncio import sleep

JITTER = 0.2
"""The share by which an interval varies, so that members that start at the same time do not stay synchronised."""


class Interval:
    """A pause of this many seconds, with jitter. The first time there is none."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_first = True

    async def wait(self) -> None:
        """Return immediately the first time; later after the interval, with jitter."""
        if self._is_first:
            self._is_first = False
            return
        await sleep(self._seconds * random.uniform(1 - JITTER, 1 + JITTER))
