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

from gossipkv.core.address import NAMESPACES, table_of
from gossipkv.core.causality import Context
from gossipkv.core.seen import Seen
from gossipkv.core.storage import View
from gossipkv.core.watching import CatchUp, Changes, ContextWentBackError, Snapshot, Tail, Told
from gossipkv.metrics import Metrics


@dataclass(frozen=True, slots=True)
class FeedOptions:
    heartbeat_seconds: float = 15.0
    buffer_bytes_max: int = 4 * 1024 * 1024
    """Of events that a watcher has not taken off."""
    resume_timeout_seconds: float = 10.0
    """How long a watcher waits for this member to cover what it has seen elsewhere."""


ANEW = "anew"
"""The id of a watcher that has been reset and not been told all current rows since: only those help it."""


class Signal(Enum):
    """What is told besides rows."""

    HEARTBEAT = "heartbeat"
    RESET = "reset"
    """What the watcher has seen cannot be gone on from: current rows follow, then what comes next."""
    CURRENT = "current"
    """All current rows have been told."""
    OVERFLOW = "overflow"
    END = "end"


@dataclass(frozen=True, slots=True)
class Word:
    signal: Signal
    event_id: str = ""
    """What the watcher has seen by now; empty where that has not changed."""
    reason: str = ""


class Watcher:
    """One watch, from `Feed.watched`; `items` is to be iterated once."""

    def __init__(self, feed: Feed, shard: str, prefix: bytes, seen: Seen | None) -> None:
        self.shard = shard
        self.prefix = prefix
        self.is_live = False
        self._feed = feed
        self._seen = seen
        """None: the current rows come first."""
        self._buffer: list[Told | Word] = []
        self._buffer_bytes = 0
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

    def fall_behind(self, position: Context) -> None:
        """Read on from this position, after what is in the buffer."""
        if self.is_live:
            self.is_live = False
            self._seen = Seen(position)
        self._woken.set()

    def begin_anew(self, reason: str) -> None:
        self.is_live = False
        self._seen = None
        self._buffer.append(Word(Signal.RESET, ANEW, reason))
        self._feed.metrics.watch_resets.inc()
        self._woken.set()

    def end(self, word: Word) -> None:
        """Whatever is still in the buffer is dropped: the watcher goes on from the last id it got."""
        self.is_live = False
        self._buffer.clear()
        self._last = word
        self._woken.set()

    # For whoever passes it on

    async def items(self) -> AsyncIterator[list[Told | Word]]:
        """What to tell next, as long as the watch lasts. Its end is a word of its own."""
        if self._seen is not None and not await self._is_covered(self._seen):
            self.begin_anew("this member has not come to cover the id in time")
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

    async def _is_covered(self, seen: Seen) -> bool:
        try:
            async with asyncio.timeout(self._feed.options.resume_timeout_seconds):
                while self._last is None and not seen.is_covered_by(self._feed.context(self.shard)):
                    self._woken.clear()
                    await self._woken.wait()
        except TimeoutError:
            return False
        return True

    async def _read(self) -> AsyncIterator[list[Told | Word]]:
        """Come to where the tail stands now, and join it if it is still there. No page is read before the one before it
        has been taken off."""
        through = self._feed.context(self.shard)
        reading = Snapshot(through, self.prefix) if self._seen is None else CatchUp(self._seen, through, self.prefix)
        self._seen = reading.seen
        is_snapshot = isinstance(reading, Snapshot)
        while self._last is None:
            with self._feed.view() as view:
                items: list[Told | Word] = [*reading.page(view, self.shard)]
            if self._seen is not reading.seen:
                # It has to begin anew.
                return
            if reading.is_finished:
                self.is_live = self._feed.context(self.shard) == through
                if is_snapshot:
                    items.append(Word(Signal.CURRENT, Seen(through).encoded()))
            elif is_snapshot:
                # What has been seen of a snapshot counts only when it is whole.
                self._seen = reading.seen
            if items:
                self._feed.metrics.watch_events.inc(len(items))
                yield items
            if reading.is_finished:
                return


class Feed:
    """All watches of one member. Everything is called on one event loop."""

    def __init__(
        self,
        view: Callable[[], View],
        switch: Callable[[bool], Awaitable[None]],
        metrics: Metrics,
        options: FeedOptions,
    ) -> None:
        self.view = view
        self.options = options
        self.metrics = metrics
        self._switch = switch
        """Lets the core tell of changes from here on, or no longer."""
        self._tails: dict[str, Tail] = {}
        self._watchers: dict[tuple[str, str], dict[Watcher, None]] = {}
        """By shard and table, in order of their coming."""
        self._switching = asyncio.Lock()
        self._is_closed = False

    def context(self, shard: str) -> Context:
        return self._tails[shard].context

    @asynccontextmanager
    async def watched(self, shard: str, prefix: bytes, after: Seen | None, *, snapshot: bool) -> AsyncIterator[Watcher]:
        """Watch the rows of a shard whose address begins with the prefix, which names a table: from what has been seen
        on, else from now on, with the current rows first if wanted. Raises StorageError."""
        async with self._switching:
            if not self._tails:
                await self._switch(True)
                with self.view() as view:
                    self._tails = {name: Tail(view, name) for name in NAMESPACES}
            seen = Seen(self.context(shard)) if after is None and not snapshot else after
            watcher = Watcher(self, shard, prefix, seen)
            key = shard, table_of(prefix)
            self._watchers.setdefault(key, {})[watcher] = None
            self.metrics.watchers.inc()
        if self._is_closed:
            watcher.end(_END)
        try:
            yield watcher
        finally:
            self.metrics.watchers.dec()
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
            before = tail.context
            try:
                told = tail.take(changes)
            except ContextWentBackError:
                for watcher in self._of(changes.shard):
                    watcher.begin_anew("this member has renounced writes of its own")
                continue
            for watcher in self._of(changes.shard):
                if told is None or not watcher.is_live:
                    watcher.fall_behind(before)
            for one in told or ():
                for watcher in self._watchers.get((changes.shard, table_of(one.address)), ()):
                    if watcher.is_live and one.address.startswith(watcher.prefix):
                        watcher.put(one)
            if not tail.is_complete:
                with self.view() as view:
                    tail.recover(view)

    def _of(self, shard: str) -> list[Watcher]:
        return [watcher for (of, _), watchers in self._watchers.items() if of == shard for watcher in watchers]

    async def beat(self) -> None:
        """Run beside the feed."""
        while True:
            await asyncio.sleep(self.options.heartbeat_seconds)
            for shard, tail in self._tails.items():
                word = Word(Signal.HEARTBEAT, Seen(tail.context).encoded())
                for watcher in self._of(shard):
                    watcher.beat(word)

    def close(self) -> None:
        """End all watches, and those that begin from here on: they are to go on at another member."""
        self._is_closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end(_END)


_END = Word(Signal.END, reason="the member is stopping; go on at another one")
