"""The feed of changes: sends the watchers of this member what has become durable.

`watches.py` decides what each watcher is sent; this module waits, on the event loop. A watcher reads at its own pace.
An idle one is a few objects, and one loop sends the heartbeats of all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gossipkv.core.store.storage import View
from gossipkv.core.watch.watch_position import WatchPosition
from gossipkv.core.watch.watching import BYTES_PER_PAGE, WatchEvent
from gossipkv.intake.bound import Bound
from gossipkv.member.metrics import Metrics
from gossipkv.member.watches import ControlEvent, OpenWatch, Watches, WatchReading

_ROOM_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class FeedOptions:
    heartbeat_seconds: float = 15.0
    buffer_bytes_max: int = 4 * 1024 * 1024
    """Maximum size of the events buffered for one watcher."""
    resume_timeout_seconds: float = 10.0
    """How long a resumed watcher waits for this member to hold what it was sent elsewhere."""
    buffers_bytes_max: int = 32 * 1024 * 1024
    """Maximum size of the events buffered for all watchers."""


class Watcher(OpenWatch):
    """One watch, from `Feed.watched`; `items` may be iterated once."""

    def __init__(self, feed: Feed, shard: str, prefix: bytes, position: WatchPosition | None) -> None:
        super().__init__(feed.watches, shard, prefix, position)
        self._feed = feed
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    def keep_text(self, told: WatchEvent, text: bytes) -> None:
        """Keep the formatted event for all watchers that are sent it."""
        told.text = text
        self._feed.watches.held.note_text(told)

    async def may_format(self, told: WatchEvent, text_bytes_max: int) -> bool:
        """Wait until there is room for the formatted event, which may be several times as large as its row. Returns
        False if there is none in time: the watch ends then."""
        held = self._feed.watches.held
        bound, held_bytes = held.bound, held.size_of(told)
        waited_seconds = 0.0
        while not told.text and not bound.has_room(text_bytes_max, held_bytes):
            if waited_seconds >= self._feed.options.resume_timeout_seconds:
                bound.refusals.count(used=bound.used, limit=bound.limit)
                self._feed.watches.count_dropped()
                return False
            await asyncio.sleep(_ROOM_POLL_SECONDS)
            waited_seconds += _ROOM_POLL_SECONDS
        return True

    async def items(self) -> AsyncGenerator[list[WatchEvent | ControlEvent]]:
        """The events of the watch, in order. The last one says that the watch ends."""
        if self.position is not None:
            reason = await self._hindered(self.position)
            if reason:
                self.begin_anew(reason)
        reading: WatchReading | None = None
        while self.last is None:
            if reading is not None and not reading.is_over:
                items = await self._page(reading)
            elif self.has_events:
                items = self.take()
            elif self.is_live:
                self._woken.clear()
                await self._woken.wait()
                continue
            else:
                reading = WatchReading(self, self._feed.watches)
                continue
            if not items:
                continue
            self._feed.metrics.watch_events.inc(len(items))
            try:
                yield items
            finally:
                self._feed.watches.held.release(items)
                items.clear()
        yield [self.last]

    async def _hindered(self, position: WatchPosition) -> str:
        """Why the watch cannot resume here from a position; empty once it can."""
        turns = self.turns
        try:
            async with asyncio.timeout(self._feed.options.resume_timeout_seconds):
                while self.turns == turns:
                    self._woken.clear()
                    reason = self.hindrance(position)
                    if reason is not None:
                        return reason
                    await self._woken.wait()
        except TimeoutError:
            return "this member has not come to hold what the id names in time"
        return ""

    async def _page(self, reading: WatchReading) -> list[WatchEvent | ControlEvent]:
        """The next page, once there is room for it. No page is read before the previous one has been taken."""
        held = self._feed.watches.held
        waited_seconds = 0.0
        while not held.bound.has_room(BYTES_PER_PAGE):
            if waited_seconds >= self._feed.options.resume_timeout_seconds:
                held.bound.refusals.count(limit=held.bound.limit)
                self.overflow("too many watchers are slow; go on from the last id")
            if reading.is_over:
                return []
            await asyncio.sleep(_ROOM_POLL_SECONDS)
            waited_seconds += _ROOM_POLL_SECONDS
        return reading.page()


class Feed:
    """All watches of one member. Everything is called on one event loop."""

    def __init__(
        self,
        view: Callable[[], View],
        switch: Callable[[bool], Awaitable[None]],
        now_ms: Callable[[], int],
        metrics: Metrics,
        options: FeedOptions,
    ) -> None:
        self.options = options
        self.metrics = metrics
        buffers = Bound(
            "watch_buffers_bytes_max",
            options.buffers_bytes_max,
            "look for clients that do not read their watches, or raise watch_buffers_bytes_max and the memory limit",
        )
        metrics.account_for(buffers)
        self.watches = Watches(
            view, now_ms, buffers, options.buffer_bytes_max, metrics.watches_dropped.inc, metrics.watch_resets.inc
        )
        self._switch = switch
        """Starts or stops the reports of changes by the core."""

    @asynccontextmanager
    async def watched(
        self, shard: str, prefix: bytes, after: WatchPosition | None, *, snapshot: bool
    ) -> AsyncIterator[Watcher]:
        """Watch the rows of a shard whose address begins with the prefix, which names a table. Resumes from a position
        if one is given. Otherwise starts now, with the current rows first if wanted. Raises StorageError."""
        await self._open()
        position = self.watches.position(shard) if after is None and not snapshot else after
        watcher = Watcher(self, shard, prefix, position)
        self.watches.admit(watcher)
        self.metrics.watchers.inc()
        try:
            yield watcher
        finally:
            self.metrics.watchers.dec()
            self.watches.leave(watcher)
            await self._rest()

    async def _open(self) -> None:
        """Let the core report changes, and begin the tails."""
        self.watches.expect()
        try:
            if not self.watches.is_open:
                await self._switch(True)
                self.watches.open()
        except BaseException:
            self.watches.expect_no_longer()
            await self._rest()
            raise

    async def _rest(self) -> None:
        if self.watches.rest():
            await self._switch(False)

    async def beat(self) -> None:
        """Send heartbeats; runs as a separate task."""
        while True:
            await asyncio.sleep(self.options.heartbeat_seconds)
            self.watches.beat()

    def close(self) -> None:
        """End all watches, also those that begin later: they should resume at another member."""
        self.watches.close()
