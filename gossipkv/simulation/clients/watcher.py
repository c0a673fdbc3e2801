"""A watcher that resumes from its last id at another member whenever its connection breaks, even in the middle of a
catch-up."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from gossipkv.core.inputs import Answer
from gossipkv.core.inputs import FollowChanges as Watched
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.store.storage import UnreadableRowError
from gossipkv.core.watch.watch_position import WatchPosition
from gossipkv.core.watch.watching import AHEAD_ROWS_MAX, WatchEvent
from gossipkv.member.watches import ControlEvent, OpenWatch, Signal, WatchReading
from gossipkv.simulation.checkers import Checker
from gossipkv.simulation.cluster import Cluster
from gossipkv.simulation.world.process import Process
from gossipkv.simulation.world.timeline import Timeline

STEP_MS = 15
RESUME_TIMEOUT_MS = 600
BREAK_SHARE = 0.15
"""Probability that the connection breaks in the middle of some events."""
PROMPT_SHARE = 0.5
"""Share of the readings that are begun and ended at once. The others leave time for changes in between."""
FEW_ROWS = 3
"""Maximum number of rows ahead of the context that a tail tracks, in a share of the seeds."""
FEW_SHARE = 0.2


class SimulatedWatcher:
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
        self._process: Process | None = None
        """Where it is connected, or about to be."""
        self._watch: OpenWatch | None = None
        self._reading: WatchReading | None = None
        self._resumes: WatchPosition | None = None
        """The position to resume from, until the member has come to hold it."""
        self._began_ms = 0

    def step(self) -> None:
        """Connect, or take events, and schedule the next step."""
        self._timeline.after(self._rng.randint(1, 2 * STEP_MS), self.step)
        if self._process is None or not self._process.is_running:
            self._connect()
        elif self._watch is not None:
            try:
                self._go_on(self._process, self._watch)
            except UnreadableRowError:
                # The request fails, and the client connects again; by then the row is in quarantine.
                self._disconnect()

    @property
    def has_been_told_all(self) -> bool:
        watch, process = self._watch, self._process
        if watch is None or process is None or not process.is_running:
            return False
        return watch.is_live and not watch.has_news and process.watches.tail(USER).is_complete

    def calm(self) -> None:
        """Stop breaking connections, and let tails track all rows ahead of the context, so that the watcher can catch
        up."""
        self._break_share = 0.0
        self._ahead_rows_max = AHEAD_ROWS_MAX
        if self._watch is not None and self._process is not None and self._process.is_running:
            self._process.watches.tail(USER).ahead_rows_max = AHEAD_ROWS_MAX

    # The connection

    def _connect(self) -> None:
        running = self._cluster.running()
        self._process = self._watch = self._reading = None
        if not running:
            return
        process = self._rng.choice(running).process
        assert process is not None
        self._process = process
        self._began_ms = self._timeline.now_ms
        process.watches.expect()
        if process.watches.is_open:
            self._begin(process, None)
        else:
            process.submit(Watched(is_watched=True), lambda outcome: self._begin(process, outcome))

    def _begin(self, process: Process, outcome: Answer | Exception) -> None:
        watches = process.watches
        try:
            if isinstance(outcome, Exception):
                raise outcome
            watches.open()
        except Exception:
            # The request fails. If a row cannot be read, it is in quarantine by the next request.
            watches.expect_no_longer()
            process.rest()
            self._process = None
            return
        watches.tail(USER).ahead_rows_max = self._ahead_rows_max
        position = WatchPosition.of_event(self._last_id)
        self._resumes = position
        self._watch = OpenWatch(watches, USER, self.prefix, position)
        watches.admit(self._watch)
        self.seen_kinds["watches"] += 1
        if position is None:
            self._watch.begin_anew("the id cannot be resumed")

    def _disconnect(self) -> None:
        process, watch = self._process, self._watch
        if process is not None and watch is not None and process.is_running:
            process.watches.leave(watch)
            process.rest()
        self._process = self._watch = self._reading = None

    # Events

    def _go_on(self, process: Process, watch: OpenWatch) -> None:
        """Take what there is, as a client of a node does."""
        if watch.last is not None:
            self.seen_kinds[f"watch_{watch.last.signal.value}"] += 1
            self._disconnect()
        elif self._resumes is not None and not self._has_resumed(watch, self._resumes):
            return
        elif self._reading is not None and not self._reading.is_over:
            self._pass_on(process, self._reading.page())
        elif watch.has_events:
            self._pass_on(process, watch.take())
        elif not watch.is_live:
            self._reading = WatchReading(watch, process.watches)
            if self._rng.random() < PROMPT_SHARE:
                self._pass_on(process, self._reading.page())

    def _has_resumed(self, watch: OpenWatch, position: WatchPosition) -> bool:
        """Whether the watch can go on, from its position or from the start."""
        reason = watch.hindrance(position) if not watch.turns else ""
        if reason is None and self._timeline.now_ms <= self._began_ms + RESUME_TIMEOUT_MS:
            return False
        self._resumes = None
        if reason == "":
            self.seen_kinds["watches_resumed_ahead"] += bool(position.dots)
        else:
            watch.begin_anew(reason or "this member has not come to hold what the id names")
        return True

    def _pass_on(self, process: Process, items: list[WatchEvent | ControlEvent]) -> None:
        for item in items:
            if isinstance(item, ControlEvent):
                self._hear(item)
            elif not self._is_told(process, item):
                break
        process.watches.held.release(items)

    def _hear(self, word: ControlEvent) -> None:
        if word.signal is Signal.RESET:
            self.seen_kinds["watch_resets"] += 1
            for checker in self._checkers:
                checker.watch_reset(self.name)
        self._last_id = word.event_id or self._last_id

    def _is_told(self, process: Process, told: WatchEvent) -> bool:
        """Take an event; returns whether the connection held."""
        for checker in self._checkers:
            checker.told(process.host, self.name, told)
        self.seen_kinds["watch_events"] += 1
        self.seen_kinds["watch_events_with_siblings"] += len(told.row.versions) > 1
        self._last_id = told.event_id or self._last_id
        if self._rng.random() < self._break_share:
            self._disconnect()
            return False
        return True
