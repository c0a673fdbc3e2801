"""The feed of changes: what watchers of this member are told, as it becomes durable.

Watchers that are up to date stand at the tail of their shard: each change is made into an event once and put into the
buffers of those whom it concerns. Whoever is behind reads the storage at its own pace, a page at a time, until it has
come to the tail. An idle watcher is a few objects; one loop beats for all of them.

A buffer is bounded by bytes. Whoever does not take its events off is told that it has been dropped, and goes on from
the last id it got.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial

from gossipkv.core.address import NAMESPACES, table_of
from gossipkv.core.storage import View
from gossipkv.core.watch_position import ANEW, WatchPosition
from gossipkv.core.watching import BeginAnewError, CatchUp, Changes, Snapshot, Standing, Tail, Told, standing
from gossipkv.metrics import Metrics


@dataclass(frozen=True, slots=True)
class FeedOptions:
    heartbeat_seconds: float = 15.0
    buffer_bytes_max: int = 4 * 1024 * 1024
    """Of events that a watcher has not taken off."""
    resume_timeout_seconds: float = 10.0
    """How long a watcher waits for this member to hold what it has been told elsewhere."""


class Signal(Enum):
    """What is told besides rows."""

    HEARTBEAT = "heartbeat"
    RESET = "reset"
    """The watcher cannot go on from where it is: current rows follow, then what comes next."""
    CURRENT = "current"
    """All current rows have been told."""
    OVERFLOW = "overflow"
    END = "end"


@dataclass(frozen=True, slots=True)
class Word:
    signal: Signal
    event_id: str = ""
    """The watcher's position by now; empty where that has not changed."""
    reason: str = ""


class Watcher:
    """One watch, from `Feed.watched`; `items` is to be iterated once."""

    def __init__(self, feed: Feed, shard: str, prefix: bytes, position: WatchPosition | None) -> None:
        self.shard = shard
        self.prefix = prefix
        self.first_id = ANEW if position is None else position.event_id()
        """Who breaks off before the first event goes on from here."""
        self.is_live = False
        self._feed = feed
        self._position = position
        """Where it reads on while it is not live. None: the current rows come first."""
        self._buffer: list[Told | Word] = []
        self._buffer_bytes = 0
        self._turns = 0
        """How often it has been told to read from elsewhere."""
        self._last: Word | None = None
        self._woken = asyncio.Event()

    # Called by the feed

    def put(self, told: Told) -> None:
        self._buffer_bytes += told.size_bytes
        if self._buffer and self._buffer_bytes > self._feed.options.buffer_bytes_max:
            self._feed.metrics.watches_dropped.inc()
            self.end(Word(Signal.OVERFLOW, reason="events were not taken off in time; go on from the last id"))
            return
        self._buffer.append(told)
        self._woken.set()

    def beat(self, word: Word) -> None:
        """Show that the connection is alive, where nothing else does."""
        if not self._buffer and self._last is None:
            self._buffer.append(word if self.is_live else Word(Signal.HEARTBEAT))
            self._woken.set()

    def wake(self) -> None:
        self._woken.set()

    def fall_behind(self, position: WatchPosition) -> None:
        """Read on from this position, after what is in the buffer."""
        if self.is_live:
            self._turn(position)

    def begin_anew(self, reason: str) -> None:
        self._turn(None)
        self._buffer.append(Word(Signal.RESET, ANEW, reason))
        self._feed.metrics.watch_resets.inc()

    def end(self, word: Word) -> None:
        """Whatever is still in the buffer is dropped: the watcher goes on from the last id it got."""
        self._turn(None)
        self._buffer.clear()
        self._last = word

    def _turn(self, position: WatchPosition | None) -> None:
        """Read from here on, rather than be told."""
        self.is_live = False
        self._position = position
        self._turns += 1
        self._feed.behind[self] = None
        self._woken.set()

    # For whoever passes it on

    async def items(self) -> AsyncIterator[list[Told | Word]]:
        """What to tell next, as long as the watch lasts. Its end is a word of its own."""
        if self._position is not None:
            reason = await self._hindrance(self._position)
            if reason:
                self.begin_anew(reason)
        while self._last is None:
            if self._buffer:
                items, self._buffer, self._buffer_bytes = self._buffer, [], 0
                self._feed.metrics.watch_events.inc(len(items))
                yield items
            elif self.is_live:
                self._woken.clear()
                await self._woken.wait()
            else:
                async for page in self._read():
                    yield page
        yield [self._last]

    async def _hindrance(self, position: WatchPosition) -> str:
        """Why the watch cannot go on here from a position; empty once it can."""
        turns = self._turns
        try:
            async with asyncio.timeout(self._feed.options.resume_timeout_seconds):
                while self._turns == turns:
                    self._woken.clear()
                    match self._feed.standing(self.shard, position):
                        case Standing.HELD:
                            break
                        case Standing.FORGOTTEN:
                            return "this member has forgotten deleted rows since"
                        case Standing.AHEAD:
                            await self._woken.wait()
        except TimeoutError:
            return "this member has not come to hold what the id names in time"
        return ""

    async def _read(self) -> AsyncIterator[list[Told | Word]]:
        """Come to where the tail stands now, and join it if it is still there. No page is read before the one before it
        has been taken off."""
        feed, target = self._feed, self._feed.position(self.shard)
        position, turns = self._position, self._turns
        reading: Snapshot | CatchUp
        if position is None:
            reading = Snapshot(target, self.prefix, feed.now_ms())
        else:
            reading = CatchUp(position, target, self.prefix)
        while True:
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
                yield items
            if reading.is_finished or self._turns != turns:
                return


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
        self.behind: dict[Watcher, None] = {}
        """Those that read by themselves, in order of their falling behind."""
        self._switch = switch
        """Lets the core tell of changes from here on, or no longer."""
        self._tails: dict[str, Tail] = {}
        self._watchers: dict[tuple[str, str], dict[Watcher, None]] = {}
        """By shard and table, in order of their coming."""
        self._switching = asyncio.Lock()
        self._is_closed = False

    def position(self, shard: str) -> WatchPosition:
        return self._tails[shard].position

    def standing(self, shard: str, position: WatchPosition) -> Standing:
        with self.view() as view:
            return standing(view, shard, position, self._tails[shard])

    @asynccontextmanager
    async def watched(
        self, shard: str, prefix: bytes, after: WatchPosition | None, *, snapshot: bool
    ) -> AsyncIterator[Watcher]:
        """Watch the rows of a shard whose address begins with the prefix, which names a table: from a position on, else
        from now on, with the current rows first if wanted. Raises StorageError."""
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
        """Tell of a batch that is durable."""
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
                with self.view() as view:
                    tail.recover(view)
                for watcher in self._of(changes.shard):
                    watcher.fall_behind(before)
        # Those that wait for what they have been told elsewhere look again.
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
        """Run beside the feed."""
        while True:
            await asyncio.sleep(self.options.heartbeat_seconds)
            for shard, tail in self._tails.items():
                event_id = tail.position.event_id()
                # Whoever has been told nothing lately can still go on from where it is.
                word = Word(Signal.HEARTBEAT, "" if event_id == ANEW else event_id)
                for watcher in self._of(shard):
                    watcher.beat(word)

    def close(self) -> None:
        """End all watches, and those that begin from here on: they are to go on at another member."""
        self._is_closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end(_END)


_END = Word(Signal.END, reason="the member is stopping; go on at another one")
