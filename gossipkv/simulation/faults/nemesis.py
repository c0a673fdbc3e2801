"""The faults of the safety phase. Each is injected at random times, and counted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from gossipkv.core.inputs import Answer, Write
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.write import Operation
from gossipkv.simulation.checkers.rows.derived import stored_rows
from gossipkv.simulation.cluster import BOOTSTRAP_TIMEOUT_MS, Cluster
from gossipkv.simulation.faults.stranger import Stranger
from gossipkv.simulation.scenarios.scenario import BESIDE, Fill, Scenario
from gossipkv.simulation.world.disk import Disk
from gossipkv.simulation.world.host import Host
from gossipkv.simulation.world.timeline import Timeline

LEAVE_MS_MAX = 300
ALONE_MS_MAX = 500
"""How long a member that starts alone stays alone after it is ready."""
REFUSAL_MS_MAX = 1_500
CLOCK_SKEWS_MAX = 6
"""Maximum error of a clock, in multiples of what others tolerate."""
FULL_MS_MAX = 1_000
CLOCKS_AHEAD_MS = 1_200
"""Maximum time for which clocks are far ahead, and time by which they are."""
FREQUENT = 6
"""How much more often the scenario's frequent faults are injected."""


AMONG_TWINS = (
    "crash",
    "crash_before_commit",
    "crash_after_commit",
    "fail_commit",
    "pause",
    "partition",
    "cut_one_way",
)
"""The faults combined with twins: those that lose no disk, so that every acknowledged write is on one."""
AMONG_WRONG_CLOCKS = (
    "crash",
    "crash_before_commit",
    "crash_after_commit",
    "fail_commit",
    "pause",
    "partition",
    "cut_one_way",
)
"""The faults combined with a clock that is far ahead: those that lose no disk."""
AMONG_STRANGERS = ("crash", "crash_after_commit", "pause", "partition", "cut_one_way", "lose_disk", "restart_all")
"""The faults combined with a stranger."""
AMONG_OLD_DISKS = ("crash", "crash_after_commit", "pause", "partition", "cut_one_way")
"""The faults combined with disks that are put back: those that lose no other disk."""
ALONE = (
    "crash",
    "crash_before_commit",
    "crash_after_commit",
    "fail_commit",
    "run_full",
    "stay_full",
    "stay_short",
    "pause",
    "jump_forward",
    "jump_back",
    "spoil_row",
    "leave",
    "move",
    "restart_all",
)
"""The faults of a member that has no other: those that need none, and leave it its disk."""
AMONG_OLD_VOLUMES = ("crash", "pause", "partition", "cut_one_way")
"""The faults combined with old volumes; they must not stop that fault's own sequence of steps."""
COLLECTED_MS = 900
"""Time after a delete by which all listed members have collected it, if nothing prevents that."""
FILLED_MS = 350
"""Time by which a member that lost its disk has filled itself, if others run."""
MEETING_MS = 900
"""Time by which a member and an old volume have exchanged all that they would."""
AIMED_ROWS = 4
REPLACED_MS = 60
"""Minimum time until rows that are replaced are replaced again."""
DOOMED_ROWS = 8
INTERRUPTED_MS_MAX = 1_200
"""The most that passes until a member that fills itself is interrupted, or all come back."""
PEEP_MS = 2
"""How often it is looked at meanwhile."""


class Nemesis:
    def __init__(
        self,
        rng: random.Random,
        scenario: Scenario,
        timeline: Timeline,
        cluster: Cluster,
        note_requests: Callable[[Iterable[Operation]], None],
        stranger: Stranger,
    ) -> None:
        self.fired: Counter[str] = Counter()
        self._note_requests = note_requests
        """Told of what is written to tables that keep siblings, before it is."""
        self._aimed = 0
        self._rng = rng
        self._scenario = scenario
        self._timeline = timeline
        self._cluster = cluster
        self._joining = scenario.joining
        self._is_over = False
        self._faults: dict[str, tuple[Callable[[], bool], int]] = {
            "crash": (self._crash, 4),
            "crash_before_commit": (self._crash_before_commit, 4),
            "crash_after_commit": (self._crash_after_commit, 4),
            "fail_commit": (self._fail_commit, 4),
            "run_full": (self._run_full, 3),
            "stay_full": (self._stay_full, 1),
            "stay_short": (self._stay_short, 2),
            "pause": (self._pause, 3),
            "partition": (self._partition, 3),
            "cut_one_way": (self._cut_one_way, 3),
            "jump_forward": (self._jump_forward, 3),
            "jump_back": (self._jump_back, 3),
            "lose_disk": (self._lose_disk, 2),
            "start_alone": (self._start_alone, 2),
            "join": (self._join, 2),
            "refuse_row": (self._refuse_row, 2),
            "spoil_row": (self._spoil_row, 1),
            "leave": (self._leave, 3),
            "move": (self._move, 2),
            "forget": (self._forget, 2),
            "restart_all": (self._restart_all, 1),
            "replace_all": (self._replace_all, 1),
        }
        if scenario.twins:
            self._faults = {name: self._faults[name] for name in AMONG_TWINS} | {"copy_volume": (self._copy_volume, 4)}
        if scenario.old_volumes:
            self._faults = {name: self._faults[name] for name in AMONG_OLD_VOLUMES}
        if scenario.clock_ahead_ms:
            self._faults = {name: self._faults[name] for name in AMONG_WRONG_CLOCKS}
        if scenario.forgery_interval_ms:
            self._faults = {name: self._faults[name] for name in AMONG_STRANGERS}
        if scenario.are_set_back:
            self._faults = {name: self._faults[name] for name in AMONG_OLD_DISKS}
        if scenario.members == 1:
            self._faults = {name: self._faults[name] for name in ALONE}
        self._twins = scenario.twins
        self._stranger = stranger
        self.copied: dict[str, ReplicaId] = {}
        """Members with a twin, and the replica id that both had."""
        self.twins: list[Host] = []
        assert self._faults.keys() >= set(scenario.frequent_faults), "a frequent fault that there is not"

    def start(self) -> None:
        self._timeline.after(self._pause_ms(), self._strike)
        for number in range(self._scenario.old_volumes):
            begin_ms = 200 if self._scenario.fill is Fill.ANY else 500
            self._timeline.after(begin_ms + 1_300 * number + self._rng.randint(0, 200), self._plot_old_volume)

        if self._scenario.retires:
            self._timeline.after(self._rng.randint(300, 500), self._plot_retirement)

        if self._scenario.clock_ahead_ms:
            self._timeline.after(self._rng.randint(200, CLOCKS_AHEAD_MS), self._put_clocks_ahead)

        if self._scenario.forgery_interval_ms:
            self._forge()

    def _forge(self) -> None:
        if not self._is_over:
            self._stranger.strike()
            pause_ms = self._rng.randint(1, 2 * self._scenario.forgery_interval_ms)
            self._timeline.after(pause_ms, self._forge)

    def stop(self) -> None:
        self._is_over = True

    def _pause_ms(self) -> int:
        return self._rng.randint(1, 2 * self._scenario.fault_interval_ms)

    def _strike(self) -> None:
        if self._is_over:
            return
        names = list(self._faults)
        name = self._rng.choices(names, [self._weight(name) for name in names])[0]
        strike, _ = self._faults[name]
        if strike():
            self.fired[name] += 1
        self._timeline.after(self._pause_ms(), self._strike)

    def _weight(self, name: str) -> int:
        _, weight = self._faults[name]
        return weight * FREQUENT if name in self._scenario.frequent_faults else weight

    def _later(self, event: Callable[[], None], ms_max: int = 500) -> None:
        """Undo a fault, unless the end of all faults has done so."""
        self._timeline.after(self._rng.randint(10, ms_max), lambda: None if self._is_over else event())

    def _running(self) -> Host | None:
        running = self._cluster.running()
        return self._rng.choice(running) if running else None

    # Processes

    def _crash(self) -> bool:
        host = self._running()
        if host is None:
            return False
        self._cluster.stop(host, "crashes")
        self._later(lambda: self._cluster.start(host))
        return True

    def _crash_before_commit(self) -> bool:
        host = self._running()
        if host is None or host.process is None:
            return False
        host.process.dies_before_commit = lambda: self._die(host, "crashes before a commit")
        return True

    def _crash_after_commit(self) -> bool:
        host = self._running()
        if host is None or host.process is None:
            return False
        host.process.dies_after_commit = lambda: self._die(host, "crashes right after a commit")
        return True

    def _die(self, host: Host, how: str) -> None:
        self._cluster.stop(host, how)
        self.fired["died " + how] += 1
        self._later(lambda: self._cluster.start(host))

    def _pause(self) -> bool:
        host = self._running()
        if host is None or host.process is None or host.process.is_paused:
            return False
        process = host.process
        process.pause()
        self._later(process.resume)
        return True

    def _restart_all(self) -> bool:
        """Restart members one after the other, as an upgrade does."""
        for place, host in enumerate(self._cluster.hosts):
            self._timeline.after(100 * place, lambda host=host: self._restart(host))  # type: ignore[misc]
        return True

    def _restart(self, host: Host) -> None:
        if not self._is_over and host.is_up:
            self._cluster.stop(host, "is restarted")
            self._cluster.start(host)

    # Disks

    def _fail_commit(self) -> bool:
        host = self._running()
        if host is None or host.process is None:
            return False
        host.process.fails_commit = True
        return True

    def _run_full(self) -> bool:
        host = self._running()
        if host is None:
            return False
        host.disk.run_full_after(self._rng.randint(0, 12))
        return True

    def _stay_full(self) -> bool:
        """Let every put of a member fail for a while."""
        host = self._running()
        if host is None:
            return False
        self._cluster.trace.line(host.name, "has no room at all")
        host.disk.is_full = True
        self._later(host.disk.calm, FULL_MS_MAX)
        return True

    def _stay_short(self) -> bool:
        """Make a member so short of room for a while that it refuses puts, or also rows of others."""
        host = self._running()
        if host is None:
            return False
        used_share = self._rng.choice((0.8, 0.97))
        self._cluster.trace.line(host.name, f"uses {used_share:.0%} of its room")
        host.disk.run_short(used_share)
        self._later(host.disk.calm, FULL_MS_MAX)
        return True

    def _lose_disk(self) -> bool:
        host = self._rng.choice(self._cluster.hosts)
        if host.is_up:
            self._cluster.stop(host, "crashes")
        self._cluster.lose_disk(host)
        self._later(lambda: self._cluster.start(host))
        return True

    def _spoil_row(self) -> bool:
        """A row on one disk cannot be read any more, that of a member that is down perhaps."""
        host = self._rng.choice(self._cluster.hosts)
        address = address_of("table0", f"key{self._rng.randrange(self._scenario.keys)}".encode())
        if host.disk.committed_row(USER, address) is None:
            return False
        self._cluster.spoil(host, USER, address)
        return True

    def _start_alone(self) -> bool:
        """A member starts with an empty disk and without a connection, becomes ready on its own, takes writes, and
        meets the others later."""
        if len(self._cluster.hosts) < 2:
            return False
        host = self._rng.choice(self._cluster.hosts)
        if host.is_up:
            self._cluster.stop(host, "crashes")
        self._cluster.lose_disk(host)
        endpoint = host.endpoint
        self._cluster.trace.line("network", f"isolates {endpoint}")
        self._cluster.network.isolate(endpoint)
        self._cluster.start(host)
        alone_ms = BOOTSTRAP_TIMEOUT_MS + self._rng.randint(0, ALONE_MS_MAX)
        self._timeline.after(alone_ms, lambda: self._cluster.network.rejoin(endpoint))
        return True

    def _plot_old_volume(self) -> None:
        """A sequence that needs several faults to coincide. Rows are deleted and collected after a volume was copied, a
        member fills itself, and the old volume meets it while no other member is up. In half of the cases the member
        fills itself only then, from the old volume. Where fills are interrupted, all members do, and none finishes."""
        remembering, filled, old = self._rng.sample(self._cluster.hosts, 3)
        copy = old.disk.copied()
        doomed = [row for row in stored_rows(remembering, USER).items() if row[1].is_visible]
        self._rng.shuffle(doomed)
        if remembering.process is not None:
            operations = [Operation(address, None) for address, _ in doomed[:DOOMED_ROWS]]
            if operations:
                remembering.process.submit(Write(USER, tuple(operations)))
        self._timeline.after(COLLECTED_MS, lambda: self._meet_old_volume(remembering, filled, old, copy))

    def _meet_old_volume(self, remembering: Host, filled: Host, old: Host, copy: Disk) -> None:
        if self._is_over:
            return
        self.fired["old_volume"] += 1
        if self._scenario.fill is Fill.IN_PART:
            self._fill_in_part(remembering, filled, old, copy)
            return
        if self._scenario.fill is Fill.BEFORE:
            self._fill_before(remembering, filled, old, copy)
            return
        fills_first = self._rng.random() < 0.5
        if fills_first:
            self._empty(filled)
            self._cluster.start(filled)
        self._timeline.after(FILLED_MS if fills_first else 1, lambda: self._set_back(remembering, filled, old, copy))

    def _set_back(self, remembering: Host, filled: Host, old: Host, copy: Disk) -> None:
        if self._is_over:
            return
        fills_now = not filled.is_up or self._rng.random() < 0.3
        for host in (remembering, old):
            if host.is_up:
                self._cluster.stop(host, "goes down")
        self._cluster.set_back(old, copy)
        if fills_now:
            self._empty(filled)
        self._cluster.start(old)
        self._cluster.start(filled)
        self._timeline.after(FILLED_MS, lambda: None if self._is_over else self._cluster.start(remembering))

    def _fill_before(self, remembering: Host, filled: Host, old: Host, copy: Disk) -> None:
        """Let the member fill itself to the end, and the old volume meet it alone for long enough."""
        covered = remembering.disk.context(USER)
        self._empty(filled)
        self._cluster.start(filled)

        def meet() -> None:
            if self._is_over:
                return
            if not filled.disk.context(USER).covers_all(covered):
                self._timeline.after(PEEP_MS, meet)
                return
            for host in (remembering, old):
                if host.is_up:
                    self._cluster.stop(host, "goes down")
            self._cluster.set_back(old, copy)
            self._cluster.start(old)
            self._timeline.after(MEETING_MS, lambda: None if self._is_over else self._cluster.start(remembering))

        meet()

    def _fill_in_part(self, remembering: Host, filled: Host, old: Host, copy: Disk) -> None:
        for host in (remembering, filled, old):
            if host.is_up:
                self._cluster.stop(host, "goes down")
        self._cluster.lose_disk(filled)
        self._cluster.set_back(old, copy)
        self._cluster.start(old)
        self._cluster.start(filled)
        rows = self._rng.randint(1, self._scenario.prefilled_rows)
        self._interrupt(remembering, filled, old, rows, self._timeline.now_ms + INTERRUPTED_MS_MAX)

    def _interrupt(self, remembering: Host, filled: Host, old: Host, rows: int, until_ms: int) -> None:
        """Stop the old volume, or sometimes the member that fills itself, once that member holds `rows` rows ahead of
        its context. Then start the member that remembers, and later the one that was stopped."""
        if self._is_over:
            return
        ahead = self._rows_ahead(filled)
        if ahead < rows and self._timeline.now_ms < until_ms:
            self._timeline.after(PEEP_MS, lambda: self._interrupt(remembering, filled, old, rows, until_ms))
            return
        stopped = old if self._rng.random() < 0.8 else filled
        if stopped.is_up and ahead >= rows:
            self.fired["interrupted_fill"] += 1
            self._cluster.stop(stopped, "goes down")
            self._timeline.after(2 * FILLED_MS, lambda: None if self._is_over else self._cluster.start(stopped))
        self._cluster.start(remembering)

    def _plot_retirement(self) -> None:
        """Aims at rows that forget what they have replaced. A replica writes siblings and is retired. One member is cut
        off while another one replaces them, twice. The third has an empty disk, and fills itself from the one that
        replaced them in part, and then from the one that was cut off."""
        replacing, missing, filled = self._cluster.hosts
        addresses = [address_of(BESIDE, b"aimed %d" % number) for number in range(AIMED_ROWS)]
        gone = filled.disk.replica

        def has_retired(host: Host) -> bool:
            return host.process is not None and gone in host.process.replica.shards[USER].base.settled

        def are_everywhere() -> bool:
            return all(host.disk.committed_row(USER, address) for host in self._cluster.hosts for address in addresses)

        def lose() -> None:
            self._empty(filled)
            self._cluster.start(filled)
            self._await(lambda: all(map(has_retired, self._cluster.hosts)), cut)

        def cut() -> None:
            self._cluster.trace.line("network", f"separates {missing.endpoint} from the others")
            self._cluster.network.faults.partition([missing.endpoint], [replacing.endpoint, filled.endpoint])
            for place in range(3):
                self._timeline.after(place * REPLACED_MS, lambda: self._write_aimed(replacing, addresses))
            self._timeline.after(3 * REPLACED_MS, fill)

        def fill() -> None:
            if not self._is_over:
                self._empty(filled)
                self._cluster.start(filled)
                self._await(lambda: any(filled.disk.committed_row(USER, a) for a in addresses), change_sides)

        def change_sides() -> None:
            self.fired["changed_sides"] += 1
            self._cluster.stop(replacing, "goes down")
            self._heal()
            self._timeline.after(2 * FILLED_MS, lambda: None if self._is_over else self._cluster.start(replacing))

        self._write_aimed(filled, addresses)
        self._await(are_everywhere, lose)

    def _write_aimed(self, host: Host, addresses: list[bytes]) -> None:
        """Write these rows at the host, each in place of what stands there."""
        if self._is_over or host.process is None:
            return
        operations = []
        for address in addresses:
            self._aimed += 1
            current = host.disk.committed_row(USER, address)
            seen = None if current is None else current.seen
            operations.append(Operation(address, b"aimed %d" % self._aimed, seen=seen))
        self._note_requests(operations)
        host.process.submit(Write(USER, tuple(operations)))

    def _await(self, is_so: Callable[[], bool], act: Callable[[], None]) -> None:
        """Act as soon as it is so, unless all faults are over by then."""
        if self._is_over:
            return
        if is_so():
            act()
        else:
            self._timeline.after(PEEP_MS, lambda: self._await(is_so, act))

    def _rows_ahead(self, host: Host) -> int:
        """How many rows run ahead of the host's context."""
        covered = host.disk.context(USER)
        return sum(not covered.covers(row.winner.dot) for row in stored_rows(host, USER).values())

    def _empty(self, host: Host) -> None:
        if host.is_up:
            self._cluster.stop(host, "goes down")
        self._cluster.lose_disk(host)

    def _copy_volume(self) -> bool:
        """Copy a volume, in any state of the member: a volume can be cloned under a running process."""
        if not self._twins:
            return False
        host = self._rng.choice(self._cluster.hosts)
        self._twins -= 1
        self.copied[host.name] = host.disk.replica
        self.twins.append(self._cluster.copy(host))
        return True

    # Clocks

    def _jump_forward(self) -> bool:
        return self._jump(1)

    def _jump_back(self) -> bool:
        return self._jump(-1)

    def _jump(self, direction: int) -> bool:
        """Set a clock wrong, often by more than others tolerate."""
        host = self._rng.choice(self._cluster.hosts)
        jump_ms = self._rng.randint(1, CLOCK_SKEWS_MAX * self._scenario.clock_skew_ms_max)
        limit_ms = CLOCK_SKEWS_MAX * self._scenario.clock_skew_ms_max
        host.skew_ms = max(-limit_ms, min(limit_ms, host.skew_ms + direction * jump_ms))
        self._cluster.trace.line(host.name, f"clock is now {host.skew_ms} ms ahead")
        return True

    def _put_clocks_ahead(self) -> None:
        """The clocks of one or two members are far ahead, and are set right after a while."""
        self.fired["clocks_ahead"] += 1
        hosts = self._rng.sample(self._cluster.hosts, self._rng.choice((1, 1, 2)))
        right = {host: host.skew_ms for host in hosts}
        for host in hosts:
            host.skew_ms += self._scenario.clock_ahead_ms
            self._cluster.trace.line(host.name, f"clock is now {host.skew_ms} ms ahead")

        def correct() -> None:
            for host, skew_ms in right.items():
                host.skew_ms = skew_ms
                self._cluster.trace.line(host.name, "clock is right again")

        self._timeline.after(self._rng.randint(100, CLOCKS_AHEAD_MS), lambda: None if self._is_over else correct())

    # The network

    def _partition(self) -> bool:
        endpoints = self._cluster.network.endpoints()
        self._rng.shuffle(endpoints)
        side = self._rng.randint(1, len(endpoints) - 1)
        self._cluster.trace.line("network", f"separates {endpoints[:side]} from {endpoints[side:]}")
        self._cluster.network.faults.partition(endpoints[:side], endpoints[side:])
        self._later(self._heal)
        return True

    def _refuse_row(self) -> bool:
        """Let one member refuse one row for a while."""
        host = self._rng.choice(self._cluster.hosts)
        address = address_of("table0", f"key{self._rng.randrange(self._scenario.keys)}".encode())
        host.refuses |= {address}
        self._cluster.trace.line(host.name, f"refuses {address!r}")

        def take() -> None:
            host.refuses -= {address}

        self._later(take, REFUSAL_MS_MAX)
        return True

    def _cut_one_way(self) -> bool:
        source, destination = self._rng.sample(self._cluster.network.endpoints(), 2)
        self._cluster.trace.line("network", f"loses what goes from {source} to {destination}")
        self._cluster.network.faults.cut(source, destination)
        self._later(self._heal)
        return True

    def _heal(self) -> None:
        self.fired["heal"] += 1
        self._cluster.trace.line("network", "heals")
        self._cluster.network.faults.heal()

    # Membership

    def _join(self) -> bool:
        if not self._joining:
            return False
        self._joining -= 1
        self._cluster.add()
        return True

    def _move(self) -> bool:
        """Restart a member at another address; its old address goes to the next member that needs one."""
        host = self._running()
        if host is None:
            return False
        self._cluster.stop(host, "is moved")
        self._cluster.move(host)
        self._later(lambda: self._cluster.start(host))
        return True

    def _replace_all(self) -> bool:
        """Restart all members at once at other addresses, so that no record has a valid address."""
        for host in self._cluster.running():
            self._cluster.stop(host, "is replaced")
            self._cluster.move(host)
            self._later(lambda host=host: self._cluster.start(host))  # type: ignore[misc]
        return True

    def _forget(self) -> bool:
        """Forget a member that is down although it will come back."""
        teller = self._running()
        down = [host for host in self._cluster.hosts if not host.is_up]
        if teller is None or not down:
            return False
        host = self._rng.choice(down)
        self._cluster.forget(teller, host.name)
        return True

    def _leave(self) -> bool:
        host = self._running()
        if host is None or host.process is None:
            return False
        process = host.process

        def conclude(outcome: Answer | Exception) -> None:
            has_failed = isinstance(outcome, Exception)
            self.fired["could_not_leave" if has_failed else "left"] += 1
            self._timeline.after(self._rng.randint(1, LEAVE_MS_MAX), lambda: go(has_failed=has_failed))

        def go(*, has_failed: bool) -> None:
            if not self._is_over and host.process is process:
                start_again = partial(self._later, partial(self._cluster.start, host))
                self._cluster.end(host, start_again, has_failed=has_failed)

        process.leave(conclude)
        return True
