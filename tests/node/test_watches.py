"""What watchers are sent next, decided without an event loop."""

from __future__ import annotations

import pytest

from gossipkv.core.inputs import FollowChanges as Watched
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.write import Operation
from gossipkv.core.watch.watching import Tail, WatchEvent, WatchResetError
from gossipkv.intake.bound import Bound
from gossipkv.member.watches import ControlEvent, OpenWatch, Signal, Watches, WatchReading
from gossipkv.simulation.world.unlogged import UnloggedRefusals
from tests.core.cluster import Cluster

TABLE = address_of("t", b"")
ROW_BYTES = 205
"""What one event of these tests counts, about."""


class Member:
    """A member with its watches."""

    def __init__(self, buffer_bytes_max: int = 10_000) -> None:
        self.dropped = self.resets = 0
        self.cluster = Cluster()
        self._disk = self.cluster.start("a").disk
        self.cluster.run("a", Watched(is_watched=True))
        self.cluster.members["a"].changes.clear()
        self.bound = Bound("watch_buffers_bytes_max", 1_000_000, "", UnloggedRefusals())
        self.watches = Watches(
            self._disk.view, lambda: self.cluster.now_ms, self.bound, buffer_bytes_max, self._drop, self._reset
        )

    def _drop(self) -> None:
        self.dropped += 1

    def _reset(self) -> None:
        self.resets += 1

    def put(self, *names: str) -> None:
        """Write rows in one batch, and publish it."""
        self.cluster.write("a", *(Operation(TABLE + name.encode(), b"v") for name in names))
        changes, self.cluster.members["a"].changes = self.cluster.members["a"].changes, []
        self.watches.publish(changes)

    def watch(self) -> OpenWatch:
        """A watcher that starts with the current rows."""
        self.watches.expect()
        self.watches.open()
        watch = OpenWatch(self.watches, USER, TABLE, None)
        self.watches.admit(watch)
        return watch

    def watch_live(self) -> OpenWatch:
        watch = self.watch()
        self.read(WatchReading(watch, self.watches))
        assert watch.is_live
        return watch

    def read(self, reading: WatchReading) -> list[WatchEvent | ControlEvent]:
        items = reading.page()
        self.watches.held.release(items)
        return items

    def take(self, watch: OpenWatch) -> list[WatchEvent | ControlEvent]:
        items = watch.take()
        self.watches.held.release(items)
        return items


def rows(items: list[WatchEvent | ControlEvent]) -> list[str]:
    return [item.address.removeprefix(TABLE).decode() for item in items if isinstance(item, WatchEvent)]


def signals(items: list[WatchEvent | ControlEvent]) -> list[Signal]:
    return [item.signal for item in items if isinstance(item, ControlEvent)]


def test_a_watcher_reads_what_is_there_and_then_gets_events() -> None:
    member = Member()
    member.put("old")
    watch = member.watch()
    member.put("missed")
    assert not watch.has_events
    items = member.read(WatchReading(watch, member.watches))
    assert (rows(items), signals(items)) == (["missed", "old"], [Signal.CURRENT])
    member.put("new", "newer")
    assert rows(member.take(watch)) == ["new", "newer"]
    assert member.bound.used == 0, "what was passed on is given back"


def test_a_watcher_joins_a_tail_only_where_its_reading_ended() -> None:
    member = Member()
    watch = member.watch()
    reading = WatchReading(watch, member.watches)
    member.put("between")
    assert rows(member.read(reading)) == [], "it is beyond what the reading is for"
    assert not watch.is_live
    assert rows(member.read(WatchReading(watch, member.watches))) == ["between"]
    assert watch.is_live


def test_a_watcher_that_is_told_to_begin_anew_stops_reading_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    member = Member()
    reader, live = member.watch(), member.watch_live()
    reading = WatchReading(reader, member.watches)

    def begin_anew(*_: object) -> None:
        raise WatchResetError("rows are gone")

    with monkeypatch.context() as patched:
        patched.setattr(Tail, "take", begin_anew)
        member.put("row")
    assert reading.is_over
    for watch in (reader, live):
        assert not watch.is_live
        assert member.take(watch) == [ControlEvent(Signal.RESET, "anew", "rows are gone")]
    assert member.resets == 2


def test_only_a_watcher_that_takes_nothing_is_dropped() -> None:
    member = Member(buffer_bytes_max=3 * ROW_BYTES)
    idle, busy = member.watch_live(), member.watch_live()
    for number in range(5):
        member.put(f"k{number}")
        assert rows(member.take(busy)) == [f"k{number}"]
    assert idle.last is not None
    assert (idle.last.signal, idle.has_events, busy.last) == (Signal.OVERFLOW, False, None)
    assert (member.dropped, member.bound.used) == (1, 0)


def test_the_core_reports_changes_while_a_watcher_is_there_or_about_to_come() -> None:
    member = Member()
    watch = member.watch_live()
    member.watches.expect()
    member.watches.leave(watch)
    assert not member.watches.rest(), "another one is about to come"
    member.watches.expect_no_longer()
    assert member.watches.rest()
    assert not member.watches.is_open
    assert not member.watches.rest(), "the core is told once"


def test_who_comes_after_the_end_is_sent_away() -> None:
    member = Member()
    before = member.watch_live()
    member.watches.close()
    after = member.watch()
    assert [watch.last and watch.last.signal for watch in (before, after)] == [Signal.END] * 2


def test_heartbeats_tell_only_a_live_watcher_its_position() -> None:
    member = Member()
    member.put("row")
    reader, live = member.watch(), member.watch_live()
    for _ in range(2):
        member.watches.beat()
    position = member.watches.position(USER).event_id()
    assert member.take(live) == [ControlEvent(Signal.HEARTBEAT, position)]
    assert member.take(reader) == [ControlEvent(Signal.HEARTBEAT)]
