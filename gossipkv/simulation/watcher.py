"""A watcher that goes on from its last id at another member whenever the connection breaks, in the midst of what it is
told, too."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from gossipkv.core.address import USER, address_of
from gossipkv.core.causality import Context
from gossipkv.core.inputs import Answer, Watch
from gossipkv.core.seen import Seen
from gossipkv.core.watching import CatchUp, Snapshot, Told
from gossipkv.simulation.checkers import Checker
from gossipkv.simulation.cluster import Cluster
from gossipkv.simulation.feed import Feed
from gossipkv.simulation.process import Process
from gossipkv.simulation.timeline import Timeline

STEP_MS = 15
RESUME_TIMEOUT_MS = 600
BREAK_SHARE = 0.02
"""Of what it is told, how often the connection breaks in the midst of it."""


class Watcher:
    def __init__(
        self, name: str, rng: random.Random, cluster: Cluster, timeline: Timeline, checkers: Sequence[Checker]
    ) -> None:
        self.name = name
        self.seen_kinds: Counter[str] = Counter()
        self._rng = rng
        self._cluster = cluster
        self._timeline = timeline
        self._checkers = checkers
        self._last_id: str | None = Seen().encoded()
        """None: it has been reset, and not been told all current rows since."""
        self._connection = 0
        self._prefix = address_of("table0", b"")
        self._process: Process | None = None
        self._feed: Feed | None = None
        self._began_ms = 0
        self._position: Seen | None = Seen()
        """What has been seen here; None: current rows come first."""
        self._is_covered = False
        self._is_live = False

    def step(self) -> None:
        """Do what comes next, again and again."""
        self._timeline.after(self._rng.randint(1, 2 * STEP_MS), self.step)
        if self._process is None or not self._process.is_running:
            self._connect()
        elif self._feed is not None and not self._is_live:
            self._read()

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
        self._is_covered = self._is_live = False
        self._position = None
        if self._last_id is None:
            self._reset()
        else:
            self._position = Seen.decoded(self._last_id)
        process.submit(Watch(is_watched=True), lambda outcome: self._begin(process, connection, outcome))

    def _begin(self, process: Process, connection: int, outcome: Answer | Exception) -> None:
        if self._connection != connection or self._process is not process:
            return
        if isinstance(outcome, Exception):
            self._process = None
            return
        if process.feed is None:
            process.feed = Feed(process.host.disk)
        self._feed = process.feed
        self.seen_kinds["watches"] += 1
        self._feed.followers.append(lambda before, told: self._follow(connection, before, told))

    def _follow(self, connection: int, before: Context, told: list[Told] | None) -> None:
        if self._connection != connection or not self._is_live:
            return
        if told is None:
            self._is_live = False
            self._position = Seen(before)
            return
        self._tell([one for one in told if one.address.startswith(self._prefix)])

    def _read(self) -> None:
        assert self._process is not None
        assert self._feed is not None
        through = self._feed.tail.context
        if self._position is not None and not self._is_covered:
            self._is_covered = self._position.is_covered_by(through)
            if not self._is_covered:
                if self._timeline.now_ms > self._began_ms + RESUME_TIMEOUT_MS:
                    self._reset()
                return
        reading = (
            Snapshot(through, self._prefix)
            if self._position is None
            else CatchUp(self._position, through, self._prefix)
        )
        told: list[Told] = []
        with self._process.host.disk.view() as view:
            while not reading.is_finished:
                told += reading.page(view, USER)
        self._position = reading.seen
        self._is_live = self._is_covered = True
        if self._tell(told) and isinstance(reading, Snapshot):
            self._last_id = reading.seen.encoded()

    def _reset(self) -> None:
        self.seen_kinds["watch_resets"] += 1
        self._position = self._last_id = None
        for checker in self._checkers:
            checker.watch_reset(self.name)

    def _tell(self, told: list[Told]) -> bool:
        """Whether the connection held."""
        for one in told:
            for checker in self._checkers:
                checker.told(self.name, one)
            self.seen_kinds["watch_events"] += 1
            self._last_id = one.event_id or self._last_id
            if one.event_id and self._rng.random() < BREAK_SHARE:
                self._process = None
                self._is_live = False
                return False
        return True
