"""A watcher that resumes from its last id at another member whenever its connection breaks, even in the middle of a
catch-up."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from gossipkv.core.inputs import Answer, Watch
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.store.storage import UnreadableRowError
from gossipkv.core.watch.watch_position import ANEW, WatchPosition
from gossipkv.core.watch.watching import AHEAD_ROWS_MAX, CatchUp, Footing, Snapshot, Told, standing
from gossipkv.simulation.checkers import Checker
from gossipkv.simulation.cluster import Cluster
from gossipkv.simulation.feed import Feed
from gossipkv.simulation.process import Process
from gossipkv.simulation.timeline import Timeline

STEP_MS = 15
RESUME_TIMEOUT_MS = 600
BREAK_SHARE = 0.15
"""Probability that the connection breaks in the middle of some events."""
FEW_ROWS = 3
"""Maximum number of rows ahead of the context that a tail tracks, in a share of the seeds."""
FEW_SHARE = 0.2


class Watcher:
    def __init__(
        self,
        name: str,
        table: str,
        rng: random.Random,
        cluster: Cluster,
        timeline: Timeline,
        checkers: Sequence[Checker],
    ) -> None:
        self.name = name
        self.prefix = address_of(table, b"")
        self.seen_kinds: Counter[str] = Counter()
        self._rng = rng
        self._cluster = cluster
        self._timeline = timeline
        self._checkers = checkers
        self._break_share = BREAK_SHARE
        self._ahead_rows_max = FEW_ROWS if rng.random() < FEW_SHARE else AHEAD_ROWS_MAX
        self._last_id = WatchPosition().event_id()
        self._connection = 0
        self._process: Process | None = None
        self._feed: Feed | None = None
        self._began_ms = 0
        self._position: WatchPosition | None = WatchPosition()
        """The position to resume from; None: current rows come first."""
        self._is_held = False
        self.is_live = False

    def step(self) -> None:
        """Connect or read, and schedule the next step."""
        self._timeline.after(self._rng.randint(1, 2 * STEP_MS), self.step)
        if self._process is None or not self._process.is_running:
            self._connect()
        elif self._feed is not None and not self.is_live:
            self._read()

    @property
    def has_been_told_all(self) -> bool:
        return self.is_live and self._feed is not None and self._feed.tail.is_complete

    def calm(self) -> None:
        """Stop breaking connections, and let tails track all rows ahead of the context, so that the watcher can catch
        up."""
        self._break_share = 0.0
        self._ahead_rows_max = AHEAD_ROWS_MAX
        if self._feed is not None:
            self._feed.tail.ahead_rows_max = AHEAD_ROWS_MAX

    def _connect(self) -> None:
        running = self._cluster.running()
        if not running:
            return
        process = self._rng.choice(running).process
        assert process is not None
        self._process, self._feed = process, None
        self._began_ms = self._timeline.now_ms
        self._connection += 1
        connection = self._connection
        self._is_held = self.is_live = False
        self._position = WatchPosition.of_event(self._last_id)
        if self._position is None:
            self._reset()
        process.submit(Watch(is_watched=True), lambda outcome: self._begin(process, connection, outcome))

    def _begin(self, process: Process, connection: int, outcome: Answer | Exception) -> None:
        if self._connection != connection or self._process is not process:
            return
        if isinstance(outcome, Exception):
            self._process = None
            return
        try:
            process.feed = process.feed or Feed(process.host.disk)
        except UnreadableRowError:
            # The request fails; by the next one the row is in quarantine.
            self._process = None
            return
        self._feed = process.feed
        self._feed.tail.ahead_rows_max = self._ahead_rows_max
        self.seen_kinds["watches"] += 1
        self._feed.followers.append(lambda before, told: self._follow(connection, before, told))

    def _follow(self, connection: int, before: WatchPosition | None, told: list[Told] | None) -> None:
        if self._connection != connection:
            return
        if before is None:
            self.is_live = False
            self._reset()
        elif self.is_live and told is None:
            self.is_live = False
            self._position = before
        elif self.is_live and told is not None:
            self._tell([one for one in told if one.address.startswith(self.prefix)])

    def _read(self) -> None:
        try:
            self._catch_up()
        except UnreadableRowError:
            # The request fails, and the client connects again; by then the row is in quarantine.
            self._process = None
            self._connection += 1

    def _catch_up(self) -> None:
        assert self._process is not None
        assert self._feed is not None
        host, tail = self._process.host, self._feed.tail
        target = tail.position
        with host.disk.view() as view:
            if self._position is not None and not self._is_held:
                found = standing(view, USER, self._position, tail)
                if found is Footing.AHEAD and self._timeline.now_ms <= self._began_ms + RESUME_TIMEOUT_MS:
                    return
                if found is Footing.HELD:
                    self._is_held = True
                    self.seen_kinds["watches_resumed_ahead"] += bool(self._position.dots)
                else:
                    self._reset()
            position = self._position
            reading: Snapshot | CatchUp
            if position is None:
                reading = Snapshot(target, self.prefix, host.now_ms())
            else:
                reading = CatchUp(position, target, self.prefix)
            told: list[Told] = []
            while not reading.is_finished:
                told += reading.page(view, USER)
        self._position = target
        self.is_live = self._is_held = True
        if self._tell(told) and isinstance(reading, Snapshot):
            self._last_id = target.event_id()

    def _reset(self) -> None:
        self.seen_kinds["watch_resets"] += 1
        self._position = None
        self._last_id = ANEW
        for checker in self._checkers:
            checker.watch_reset(self.name)

    def _tell(self, told: list[Told]) -> bool:
        """Send the events; returns whether the connection held."""
        for one in told:
            for checker in self._checkers:
                checker.told(self.name, one)
            self.seen_kinds["watch_events"] += 1
            self.seen_kinds["watch_events_with_siblings"] += len(one.row.versions) > 1
            self._last_id = one.event_id or self._last_id
            if self._rng.random() < self._break_share:
                self._process = None
                self.is_live = False
                self._connection += 1
                return False
        return True
