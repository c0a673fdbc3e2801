"""The pause between two look-ups, for a source that must be polled."""

from __future__ import annotations

import random
from asyncio import sleep

JITTER = 0.2
"""Jitter, so that members which start at the same time do not stay synchronised."""


class Interval:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_first = True

    async def wait(self) -> None:
        """Return immediately the first time; later after the interval, with jitter."""
        if self._is_first:
            self._is_first = False
            return
        await sleep(self._seconds * random.uniform(1 - JITTER, 1 + JITTER))
