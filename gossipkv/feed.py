"""The feed of changes: sends the watchers of this member what has become durable.

Watchers that are up to date are at the tail of their shard: each change is formatted as an event once, and put into the
buffers of the watchers that it concerns. A watcher that is behind reads the storage at its own pace, a page at a time,
until it reaches the tail. An idle watcher is a few objects, and one loop sends the heartbeats of all.

Each buffer is bounded in bytes, and so are all together. An event counts once, until the last watcher has passed it on.
A watcher that does not take its events is told that it has been dropped, and can resume from the last id that it got.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial

from gossipkv.core.model.address import NAMESPACES, table_of
from gossipkv.core.store.changes import Changes
from gossipkv.core.store.storage import UnreadableRowError, View
from gossipkv.core.watch.watch_position import ANEW, WatchPosition
from gossipkv.core.watch.watching import (
    BYTES_PER_PAGE,
    BeginAnewError,
    CatchUp,
    Footing,
    Snapshot,
    Tail,
    Told,
    standing,
)
from gossipkv.intake.bound import Bound
from gossipkv.metrics import Metrics

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


class Signal(Enum):
    """Events that are not about a row."""

    HEARTBEAT = "heartbeat"
    RESET = "reset"
    """The watcher cannot resume from its position: the current rows follow, then new changes."""
    CURRENT = "current"
    """All current rows have been sent."""
    OVERFLOW = "overflow"
    END = "end"


@dataclass(frozen=True, slots=True)
class Word:
    signal: Signal
    event_id: str = ""
    """The watcher's current position; empty if it has not changed."""
    reason: str = ""


class Watcher:
    """One watch, from `Feed.watched`; `items` may be iterated once."""

    def __init__(self, feed: Feed, shard: str, prefix: bytes, position: WatchPosition | None) -> None:
        self.shard = shard
        self.prefix = prefix
        self.first_id = ANEW if position is None else position.event_id()
        """The position to resume from if the watch breaks off before its first event."""
        self.is_live = False
        self._feed = feed
        self._position = position
        """The position from which it reads while it is not live; None: the current rows come first."""
        self._buffer: list[Told | Word] = []
        self._buffer_bytes = 0
        self._turns = 0
        """Number of times that it was told to read from another position."""
        self._last: Word | None = None
        self._woken = asyncio.Event()

    # Called by the feed

    def put(self, told: Told) -> None:
        self._buffer_bytes += told.size_bytes
        feed = self._feed
        if self._buffer and (self._buffer_bytes > feed.options.buffer_bytes_max or not feed.held.has_room_for(told)):
            self._feed.metrics.watches_dropped.inc()
            self.end(Word(Signal.OVERFLOW, reason="events were not taken off in time; go on from the last id"))
            return
        feed.held.hold(told)
        self._buffer.append(told)
        self._woken.set()

    def beat(self, word: Word) -> None:
        """Send a heartbeat, unless other events show that the connection is alive."""
        if not self._buffer and self._last is None:
            self._buffer.append(word if self.is_live else Word(Signal.HEARTBEAT))
            self._woken.set()

    def wake(self) -> None:
        self._woken.set()

    def fall_behind(self, position: WatchPosition) -> None:
        """Continue to read from this position, after the buffered events."""
        if self.is_live:
            self._turn(position)

    def begin_anew(self, reason: str) -> None:
        self._turn(None)
        self._buffer.append(Word(Signal.RESET, ANEW, reason))
        self._feed.metrics.watch_resets.inc()

    def end(self, word: Word) -> None:
        """Drop the buffered events: the watcher resumes from the last id that it got."""
        self._turn(None)
        self.drop()
        self._last = word

    def drop(self) -> None:
        """Drop the buffered events."""
        self._feed.held.release(self._buffer)
        self._buffer = []

    def _turn(self, position: WatchPosition | None) -> None:
        """Read the storage from now on, instead of getting events."""
        self.is_live = False
        self._position = position
        self._turns += 1
        self._feed.behind[self] = None
        self._woken.set()

    # Called by the consumer of the events

    def keep_text(self, told: Told, text: bytes) -> None:
        """Keep the formatted event for all watchers that are sent it."""
        told.text = text
        self._feed.held.note_text(told)

    async def may_format(self, told: Told, text_bytes_max: int) -> bool:
        """Wait until there is room for the formatted event, which may be several times as large as its row. Returns
        False if there is none in time: the watch ends then."""
        bound, held_bytes = self._feed.held.bound, self._feed.held.size_of(told)
        waited_seconds = 0.0
        while not told.text and not bound.has_room(text_bytes_max, held_bytes):
            if waited_seconds >= self._feed.options.resume_timeout_seconds:
                bound.refusals.count(used=bound.used, limit=bound.limit)
                self._feed.metrics.watches_dropped.inc()
                return False
            await asyncio.sleep(_ROOM_POLL_SECONDS)
            waited_seconds += _ROOM_POLL_SECONDS
        return True

    async def items(self) -> AsyncGenerator[list[Told | Word]]:
        """The events of the watch, in order. The last one says that the watch ends."""
        if self._position is not None:
            reason = await self._hindrance(self._position)
            if reason:
                self.begin_anew(reason)
        while self._last is None:
            if self._buffer:
                items, self._buffer, self._buffer_bytes = self._buffer, [], 0
                self._feed.metrics.watch_events.inc(len(items))
                try:
                    yield items
                finally:
                    self._feed.held.release(items)
                    items.clear()
            elif self.is_live:
                self._woken.clear()
                await self._woken.wait()
            else:
                async with aclosing(self._read()) as pages:
                    async for page in pages:
                        yield page
        yield [self._last]

    async def _hindrance(self, position: WatchPosition) -> str:
        """Why the watch cannot resume here from a position; empty once it can."""
        turns = self._turns
        try:
            async with asyncio.timeout(self._feed.options.resume_timeout_seconds):
                while self._turns == turns:
                    self._woken.clear()
                    match self._feed.standing(self.shard, position):
                        case Footing.HELD:
                            break
                        case Footing.FORGOTTEN:
                            return "this member has forgotten deleted rows since"
                        case Footing.AHEAD:
                            await self._woken.wait()
        except TimeoutError:
            return "this member has not come to hold what the id names in time"
        return ""

    async def _read(self) -> AsyncGenerator[list[Told | Word]]:
        """Read up to the current position of the tail, and join the tail if it has not moved. No page is read before
        the previous one has been taken."""
        feed, target = self._feed, self._feed.position(self.shard)
        position, turns = self._position, self._turns
        reading: Snapshot | CatchUp
        if position is None:
            reading = Snapshot(target, self.prefix, feed.now_ms())
        else:
            reading = CatchUp(position, target, self.prefix)
        while True:
            if not await self._room_for_page(turns):
                return
            with feed.view() as view:
                items: list[Told | Word] = [*reading.page(view, self.shard)]
            if reading.is_finished:
                if isinstance(reading, Snapshot):
                    items.append(Word(Signal.CURRENT, target.event_id()))
                self._position = target
                if feed.position(self.shard) is target:
                    self.is_live = True
                    feed.behind.pop(self, None)
            if items:
                feed.metrics.watch_events.inc(len(items))
                for item in items:
                    feed.held.hold(item)
                try:
                    yield items
                finally:
                    feed.held.release(items)
                    items.clear()
            if reading.is_finished or self._turns != turns:
                return

    async def _room_for_page(self, turns: int) -> bool:
        """Wait until a page may be read. Returns False if there is something else to do first."""
        held = self._feed.held
        waited_seconds = 0.0
        while not held.bound.has_room(BYTES_PER_PAGE):
            if waited_seconds >= self._feed.options.resume_timeout_seconds:
                held.bound.refusals.count(limit=held.bound.limit)
                self._feed.metrics.watches_dropped.inc()
                self.end(Word(Signal.OVERFLOW, reason="too many watchers are slow; go on from the last id"))
            if self._turns != turns:
                return False
            await asyncio.sleep(_ROOM_POLL_SECONDS)
            waited_seconds += _ROOM_POLL_SECONDS
        return True


class HeldEvents:
    """The events that some watcher still has to pass on; each counts once."""

    def __init__(self, bytes_max: int) -> None:
        self.bound = Bound(
            "watch_buffers_bytes_max",
            bytes_max,
            "look for clients that do not read their watches, or raise watch_buffers_bytes_max and the memory limit",
        )
        self._holders: dict[Told, int] = {}
        self._sizes: dict[Told, int] = {}

    def has_room_for(self, told: Told) -> bool:
        if told in self._holders or self.bound.has_room(told.size_bytes):
            return True
        self.bound.refusals.count(used=self.bound.used, limit=self.bound.limit)
        return False

    def size_of(self, told: Told) -> int:
        """What is counted for an event."""
        return self._sizes.get(told, 0)

    def hold(self, item: Told | Word) -> None:
        if isinstance(item, Word):
            return
        holders = self._holders.get(item, 0)
        if not holders:
            self._sizes[item] = size = item.size_bytes
            self.bound.used += size
        self._holders[item] = holders + 1

    def note_text(self, told: Told) -> None:
        """Count the text that was kept with an event."""
        if told in self._sizes:
            self._sizes[told] += len(told.text)
            self.bound.used += len(told.text)

    def release(self, items: Iterable[Told | Word]) -> None:
        for item in items:
            if isinstance(item, Word):
                continue
            self._holders[item] -= 1
            if not self._holders[item]:
                del self._holders[item]
                self.bound.give_back(self._sizes.pop(item))
                # The traceback of a watch that was cut off may hold the event for a while.
                item.text = b""


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
        self.view = view
        self.now_ms = now_ms
        self.options = options
        self.metrics = metrics
        self.held = HeldEvents(options.buffers_bytes_max)
        metrics.account_for(self.held.bound)
        self.behind: dict[Watcher, None] = {}
        """Watchers that read by themselves, in the order in which they fell behind."""
        self._switch = switch
        """Starts or stops the reports of changes by the core."""
        self._tails: dict[str, Tail] = {}
        self._watchers: dict[tuple[str, str], dict[Watcher, None]] = {}
        """Watchers by shard and table, in order of arrival."""
        self._switching = asyncio.Lock()
        self._is_closed = False

    def position(self, shard: str) -> WatchPosition:
        return self._tails[shard].position

    def standing(self, shard: str, position: WatchPosition) -> Footing:
        with self.view() as view:
            return standing(view, shard, position, self._tails[shard])

    @asynccontextmanager
    async def watched(
        self, shard: str, prefix: bytes, after: WatchPosition | None, *, snapshot: bool
    ) -> AsyncIterator[Watcher]:
        """Watch the rows of a shard whose address begins with the prefix, which names a table. Resumes from a position
        if one is given. Otherwise starts now, with the current rows first if wanted. Raises StorageError."""
        async with self._switching:
            if not self._tails:
                await self._switch(True)
                with self.view() as view:
                    self._tails = {name: Tail(view, name) for name in NAMESPACES}
            position = self.position(shard) if after is None and not snapshot else after
            watcher = Watcher(self, shard, prefix, position)
            key = shard, table_of(prefix)
            self._watchers.setdefault(key, {})[watcher] = None
            self.behind[watcher] = None
            self.metrics.watchers.inc()
        if self._is_closed:
            watcher.end(_END)
        try:
            yield watcher
        finally:
            self.metrics.watchers.dec()
            self.behind.pop(watcher, None)
            watcher.drop()
            del self._watchers[key][watcher]
            if not self._watchers[key]:
                del self._watchers[key]
            await self._rest()

    async def _rest(self) -> None:
        async with self._switching:
            if self._tails and not self._watchers:
                self._tails = {}
                await self._switch(False)

    def publish(self, batch: list[Changes]) -> None:
        """Send the changes of a durable batch."""
        for changes in batch:
            tail = self._tails.get(changes.shard)
            if tail is None:
                continue
            before = tail.position
            try:
                self._tell(changes.shard, before, tail.take(changes, partial(self._is_watched, changes.shard)))
            except BeginAnewError as error:
                for watcher in self._of(changes.shard):
                    watcher.begin_anew(str(error))
            if tail.is_recovery_due:
                before = tail.position
                try:
                    with self.view() as view:
                        tail.recover(view)
                except UnreadableRowError:
                    # By the next batch the row is in quarantine.
                    continue
                for watcher in self._of(changes.shard):
                    watcher.fall_behind(before)
        # Watchers that wait for what they were sent elsewhere check again.
        for watcher in self.behind:
            watcher.wake()

    def _is_watched(self, shard: str, address: bytes) -> bool:
        return (shard, table_of(address)) in self._watchers

    def _tell(self, shard: str, before: WatchPosition, told: list[Told] | None) -> None:
        if told is None:
            for watcher in self._of(shard):
                watcher.fall_behind(before)
        for one in told or ():
            for watcher in self._watchers.get((shard, table_of(one.address)), ()):
                if watcher.is_live and one.address.startswith(watcher.prefix):
                    watcher.put(one)

    def _of(self, shard: str) -> list[Watcher]:
        return [watcher for (of, _), watchers in self._watchers.items() if of == shard for watcher in watchers]

    async def beat(self) -> None:
        """Send heartbeats; runs as a separate task."""
        while True:
            await asyncio.sleep(self.options.heartbeat_seconds)
            for shard, tail in self._tails.items():
                event_id = tail.position.event_id()
                # A watcher that got no event recently can still resume from its position.
                word = Word(Signal.HEARTBEAT, "" if event_id == ANEW else event_id)
                for watcher in self._of(shard):
                    watcher.beat(word)

    def close(self) -> None:
        """End all watches, also those that begin later: they should resume at another member."""
        self._is_closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end(_END)


_END = Word(Signal.END, reason="the member is stopping; go on at another one")
