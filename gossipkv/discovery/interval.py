"""The pause between two looks at a source that tells nothing by itself."""

from __future__ import annotations

import random
from asyncio import sleep

JITTER = 0.2
"""Members that started together must not look together for ever."""


class Interval:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_first = True

    async def wait(self) -> None:
        """Return at once the first time, then after the interval, more or less."""
        if self._is_first:
            self._is_first = False
            return
        await sleep(self._seconds * random.uniform(1 - JITTER, 1 + JITTER))
