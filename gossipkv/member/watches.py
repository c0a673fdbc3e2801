"""The watches of one member: what each watcher is sent next. Decides, and does no I/O.

Watchers that are up to date are at the tail of their shard: each change becomes one event, which goes into the buffers
of the watchers that it concerns. A watcher that is behind reads the storage, a page at a time, until it reaches the
tail.

- The tails advance when a batch is durable, by what it changed. So an event never names a row that cannot be read yet.
- Buffered events come first. What a watcher reads itself begins behind them.
- A watcher joins the tail only if the tail stands where the reading ended. Otherwise it reads on from there.
- The core reports changes from before the tails begin until no watcher is left and none is about to come.

Each buffer is bounded in bytes, and so are all together. An event counts once, until the last watcher has passed it on.
A watcher that does not take its events is told that it has been dropped, and can resume from the last id that it got.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import partial

from gossipkv.core.model.address import NAMESPACES, table_of
from gossipkv.core.store.changes import Changes
from gossipkv.core.store.storage import UnreadableRowError, View
from gossipkv.core.watch.watch_position import ANEW, WatchPosition
from gossipkv.core.watch.watching import CatchUp, ResumeState, Snapshot, Tail, WatchEvent, WatchResetError, standing
from gossipkv.intake.bound import Bound


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
class ControlEvent:
    signal: Signal
    event_id: str = ""
    """The watcher's current position; empty if it has not changed."""
    reason: str = ""


class OpenWatch:
    """One watch, from its start to its end."""

    def __init__(self, watches: Watches, shard: str, prefix: bytes, position: WatchPosition | None) -> None:
        self.shard = shard
        self.prefix = prefix
        self.first_id = ANEW if position is None else position.event_id()
        """The position to resume from if the watch breaks off before its first event."""
        self.is_live = False
        self.turns = 0
        """Number of times that it was told to read from another position."""
        self.last: ControlEvent | None = None
        """Why the watch ends, once it does."""
        self.position = position
        """The position from which it reads while it is not live; None: the current rows come first."""
        self._watches = watches
        self._buffer: list[WatchEvent | ControlEvent] = []
        self._buffer_bytes = 0

    def wake(self) -> None:
        """Called when there may be something to take or to read."""

    # What it is sent

    def put(self, told: WatchEvent) -> None:
        """Send an event; drop the watcher if its buffer does not hold it."""
        self._buffer_bytes += told.size_bytes
        watches = self._watches
        is_full = self._buffer_bytes > watches.buffer_bytes_max
        if self._buffer and (is_full or not watches.held.has_room_for(told)):
            self.overflow("events were not taken off in time; go on from the last id")
            return
        watches.held.hold(told)
        self._buffer.append(told)
        self.wake()

    def beat(self, word: ControlEvent) -> None:
        """Send a heartbeat, unless other events show that the connection is alive."""
        if not self._buffer and self.last is None:
            self._buffer.append(word if self.is_live else ControlEvent(Signal.HEARTBEAT))
            self.wake()

    def fall_behind(self, position: WatchPosition) -> None:
        """Continue to read from this position, after the buffered events."""
        if self.is_live:
            self._turn(position)

    def begin_anew(self, reason: str) -> None:
        self._turn(None)
        self._buffer.append(ControlEvent(Signal.RESET, ANEW, reason))
        self._watches.count_reset()

    def overflow(self, reason: str) -> None:
        """End the watch, because the watcher takes too little."""
        self._watches.count_dropped()
        self.end(ControlEvent(Signal.OVERFLOW, reason=reason))

    def end(self, word: ControlEvent) -> None:
        """Drop the buffered events: the watcher resumes from the last id that it got."""
        self._turn(None)
        self.drop()
        self.last = word

    def drop(self) -> None:
        """Drop the buffered events."""
        self._watches.held.release(self._buffer)
        self._buffer = []

    def _turn(self, position: WatchPosition | None) -> None:
        """Read the storage from now on, instead of getting events."""
        self.is_live = False
        self.position = position
        self.turns += 1
        self._watches.behind[self] = None
        self.wake()

    # What its watcher does

    @property
    def has_events(self) -> bool:
        return bool(self._buffer)

    @property
    def has_news(self) -> bool:
        """Whether anything but a heartbeat waits to be taken."""
        return any(not isinstance(item, ControlEvent) or item.signal is not Signal.HEARTBEAT for item in self._buffer)

    def take(self) -> list[WatchEvent | ControlEvent]:
        """The buffered events, to be released once they have been passed on."""
        items, self._buffer, self._buffer_bytes = self._buffer, [], 0
        return items

    def hindrance(self, position: WatchPosition) -> str | None:
        """Why the watch cannot resume from a position; None while this member may still come to hold it, and empty once
        the watch can."""
        match self._watches.standing(self.shard, position):
            case ResumeState.HELD:
                return ""
            case ResumeState.FORGOTTEN:
                return "this member has forgotten deleted rows since"
            case ResumeState.AHEAD:
                return None

    def join(self, position: WatchPosition) -> None:
        """The watcher has been sent everything up to this position: get events from now on if the tail stands there."""
        self.position = position
        if self._watches.position(self.shard) is position:
            self.is_live = True
            self._watches.behind.pop(self, None)


class WatchReading:
    """What a watch that is behind reads: pages up to the tail's position of now."""

    def __init__(self, watch: OpenWatch, watches: Watches) -> None:
        self._watch = watch
        self._watches = watches
        self._turns = watch.turns
        self._target = watches.position(watch.shard)
        self._pages: Snapshot | CatchUp
        if watch.position is None:
            self._pages = Snapshot(self._target, watch.prefix, watches.now_ms())
        else:
            self._pages = CatchUp(watch.position, self._target, watch.prefix)

    @property
    def is_over(self) -> bool:
        """Whether all has been read, or the watch is to read from another position."""
        return self._pages.is_finished or self._watch.turns != self._turns

    def page(self) -> list[WatchEvent | ControlEvent]:
        """The next events, to be released once they have been passed on. With the last of them the watch joins the
        tail. Raises StorageError."""
        with self._watches.view() as view:
            items: list[WatchEvent | ControlEvent] = [*self._pages.page(view, self._watch.shard)]
        if self._pages.is_finished:
            if isinstance(self._pages, Snapshot):
                items.append(ControlEvent(Signal.CURRENT, self._target.event_id()))
            self._watch.join(self._target)
        for item in items:
            self._watches.held.hold(item)
        return items


class HeldEvents:
    """The events that some watcher still has to pass on; each counts once."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self._holders: dict[WatchEvent, int] = {}
        self._sizes: dict[WatchEvent, int] = {}

    def has_room_for(self, told: WatchEvent) -> bool:
        if told in self._holders or self.bound.has_room(told.size_bytes):
            return True
        self.bound.refusals.count(used=self.bound.used, limit=self.bound.limit)
        return False

    def size_of(self, told: WatchEvent) -> int:
        """What is counted for an event."""
        return self._sizes.get(told, 0)

    def hold(self, item: WatchEvent | ControlEvent) -> None:
        if isinstance(item, ControlEvent):
            return
        holders = self._holders.get(item, 0)
        if not holders:
            self._sizes[item] = size = item.size_bytes
            self.bound.used += size
        self._holders[item] = holders + 1

    def note_text(self, told: WatchEvent) -> None:
        """Count the text that was kept with an event."""
        if told in self._sizes:
            self._sizes[told] += len(told.text)
            self.bound.used += len(told.text)

    def release(self, items: Iterable[WatchEvent | ControlEvent]) -> None:
        for item in items:
            if isinstance(item, ControlEvent):
                continue
            self._holders[item] -= 1
            if not self._holders[item]:
                del self._holders[item]
                self.bound.give_back(self._sizes.pop(item))
                # The traceback of a watch that was cut off may hold the event for a while.
                item.text = b""


class Watches:
    """All watches of one member, and the tails of its shards."""

    def __init__(
        self,
        view: Callable[[], View],
        now_ms: Callable[[], int],
        buffers: Bound,
        buffer_bytes_max: int,
        count_dropped: Callable[[], None],
        count_reset: Callable[[], None],
    ) -> None:
        self.view = view
        self.now_ms = now_ms
        self.buffer_bytes_max = buffer_bytes_max
        """Maximum size of the events buffered for one watcher."""
        self.count_dropped = count_dropped
        self.count_reset = count_reset
        self.held = HeldEvents(buffers)
        self.behind: dict[OpenWatch, None] = {}
        """Watches that read by themselves, in the order in which they fell behind."""
        self.is_closed = False
        self._tails: dict[str, Tail] = {}
        self._watches: dict[tuple[str, str], dict[OpenWatch, None]] = {}
        """By shard and table, in order of arrival."""
        self._expected = 0
        """Number of watchers that are about to come."""

    # Watchers come and go

    @property
    def is_open(self) -> bool:
        """Whether there are tails. Before they begin, the core must report changes."""
        return bool(self._tails)

    def expect(self) -> None:
        """A watcher is about to come: the core must not be told meanwhile to stop reporting changes."""
        self._expected += 1

    def admit(self, watch: OpenWatch) -> None:
        """The expected watcher is here; `open` comes before."""
        self._expected -= 1
        self._watches.setdefault((watch.shard, table_of(watch.prefix)), {})[watch] = None
        self.behind[watch] = None
        if self.is_closed:
            watch.end(END)

    def expect_no_longer(self) -> None:
        """The expected watcher does not come."""
        self._expected -= 1

    def open(self) -> None:
        """Begin the tails, unless they have begun. Raises StorageError."""
        if not self._tails:
            with self.view() as view:
                self._tails = {name: Tail(view, name) for name in NAMESPACES}

    def leave(self, watch: OpenWatch) -> None:
        """A watcher has gone."""
        key = watch.shard, table_of(watch.prefix)
        self.behind.pop(watch, None)
        watch.drop()
        del self._watches[key][watch]
        if not self._watches[key]:
            del self._watches[key]

    def rest(self) -> bool:
        """End the tails if no watcher is left. Returns whether the core may stop reporting changes."""
        is_idle = bool(self._tails) and not self._watches and not self._expected
        if is_idle:
            self._tails = {}
        return is_idle

    # Tails

    def tail(self, shard: str) -> Tail:
        return self._tails[shard]

    def position(self, shard: str) -> WatchPosition:
        return self._tails[shard].position

    def standing(self, shard: str, position: WatchPosition) -> ResumeState:
        with self.view() as view:
            return standing(view, shard, position, self._tails[shard])

    def publish(self, batch: list[Changes]) -> None:
        """Send the changes of a durable batch."""
        for changes in batch:
            tail = self._tails.get(changes.shard)
            if tail is not None:
                self._advance(changes, tail)
                if tail.is_recovery_due:
                    self._recover(changes.shard, tail)
        # Watchers that wait for what they were sent elsewhere check again.
        for watch in self.behind:
            watch.wake()

    def _advance(self, changes: Changes, tail: Tail) -> None:
        before = tail.position
        try:
            told = tail.take(changes, partial(self._is_watched, changes.shard))
        except WatchResetError as error:
            for watch in self._of(changes.shard):
                watch.begin_anew(str(error))
            return
        if told is None:
            for watch in self._of(changes.shard):
                watch.fall_behind(before)
        for one in told or ():
            for watch in self._watches.get((changes.shard, table_of(one.address)), ()):
                if watch.is_live and one.address.startswith(watch.prefix):
                    watch.put(one)

    def _recover(self, shard: str, tail: Tail) -> None:
        before = tail.position
        try:
            with self.view() as view:
                tail.recover(view)
        except UnreadableRowError:
            # By the next batch the row is in quarantine.
            return
        for watch in self._of(shard):
            watch.fall_behind(before)

    def _is_watched(self, shard: str, address: bytes) -> bool:
        return (shard, table_of(address)) in self._watches

    def _of(self, shard: str) -> list[OpenWatch]:
        return [watch for (of, _), watches in self._watches.items() if of == shard for watch in watches]

    def beat(self) -> None:
        """Send heartbeats."""
        for shard, tail in self._tails.items():
            event_id = tail.position.event_id()
            # A watcher that got no event recently can still resume from its position.
            word = ControlEvent(Signal.HEARTBEAT, "" if event_id == ANEW else event_id)
            for watch in self._of(shard):
                watch.beat(word)

    def close(self) -> None:
        """End all watches, also those that begin later: they should resume at another member."""
        self.is_closed = True
        for watches in self._watches.values():
            for watch in watches:
                watch.end(END)


END = ControlEvent(Signal.END, reason="the member is stopping; go on at another one")
