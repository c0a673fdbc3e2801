"""One seed: a safety phase with faults, then a liveness phase without faults, in which all members must become
equal."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace

from gossipkv.core.inputs import Answer
from gossipkv.core.model.address import MEMBERS_TABLE, NAMESPACES, SYSTEM, USER, address_of
from gossipkv.core.model.clock import milliseconds
from gossipkv.core.model.member import DEAD, MemberRecord
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.write import Operation
from gossipkv.core.replica import Replica
from gossipkv.core.store.storage import EXPIRIES, FIRST_DEADLINE
from gossipkv.core.watch.watching import RECOVERY_BATCHES
from gossipkv.simulation.checkers import all_checkers
from gossipkv.simulation.checkers.deletion.deleted import TombstoneCollectionChecker, overdue
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.checkers.members.retirements import RetirementsChecker, lingering
from gossipkv.simulation.checkers.members.twins import TwinsChecker
from gossipkv.simulation.checkers.rows.derived import stored_rows
from gossipkv.simulation.clients.client import TTL_MS_MAX, SimulatedClient, describe, kinds_of
from gossipkv.simulation.clients.quorum_client import QuorumClient
from gossipkv.simulation.clients.watcher import RESUME_TIMEOUT_MS, SimulatedWatcher
from gossipkv.simulation.cluster import TICKS_PER_INTERVAL, Cluster
from gossipkv.simulation.faults.nemesis import Nemesis
from gossipkv.simulation.faults.plots import Plots
from gossipkv.simulation.faults.stranger import Stranger
from gossipkv.simulation.outcome import Outcome, Violation, ViolationError
from gossipkv.simulation.scenarios.aims import Aim, aimed
from gossipkv.simulation.scenarios.scenario import (
    BESIDE,
    MESSAGE_LIFE_MS,
    RETRY_MS_MAX,
    SAFETY_MS,
    Emphasis,
    Fill,
    Scenario,
)
from gossipkv.simulation.world.host import EPOCH_MS, Host
from gossipkv.simulation.world.network import LATENCY_MS_MAX
from gossipkv.simulation.world.timeline import Timeline
from gossipkv.simulation.world.trace import Trace

EXAMINE_MS = 500
QUORUM_MS = 60
DISCOVER_MS = 400
LOOK_MS = 40
FORGET_AGAIN_MS = 300
FORGOTTEN_SHARE = 0.6
"""Share of the members that never come back which are forgotten."""
LIVENESS_INTERVALS = 40
"""Gossip intervals within which all must be equal, once clocks have caught up with timestamps from a clock that was
ahead. Pauses before retries and the time of `TRANSFERS` are added."""
TRANSFERS = 3
"""Number of times that all rows may be transferred, one row per message if messages hold no more."""
WATCHED_TABLES = ("table0", "table0", BESIDE)
"""Prefixes, with one watcher each."""
REVIVAL_PERIODS = 30
"""Protocol periods, besides the longest pause before a retry, after which no running member may be held to be dead."""
NOTICE_INTERVALS = 40
"""Gossip intervals within which all must notice that a member runs twice, once they reach each other."""
QUIET_INTERVALS = 6
"""Gossip intervals for which the run continues after that."""


class Simulation:
    def __init__(
        self,
        seed: int,
        show: Callable[[str], None] | None = None,
        objecting: Collection[str] | None = None,
        emphasis: Emphasis | None = None,
        frequent_faults: tuple[str, ...] = (),
        aim: Aim | None = None,
    ) -> None:
        rng = random.Random(seed)
        self.outcome = Outcome(seed)
        self._aim = aim
        self.scenario = Scenario.drawn(rng, emphasis) if aim is None else aimed(aim, rng)
        if frequent_faults:
            self.scenario = replace(self.scenario, frequent_faults=frequent_faults)
        self._rng = rng
        self._timeline = Timeline()
        self._trace = Trace(self._timeline, show)
        self._history = History()
        self._history.do_clocks_jump = not self.scenario.clock_ahead_ms
        self._history.fills_in_part = self.scenario.fill is Fill.IN_PART
        self._history.has_stranger = bool(self.scenario.forgery_interval_ms)
        self._checkers = all_checkers(self._history, are_copies=self.scenario.are_copies)
        for checker in self._checkers:
            checker.is_silent = objecting is not None and checker.name not in objecting
        self._cluster = Cluster(_child(rng), self.scenario, self._timeline, self._trace, self._checkers)
        self._history.disks = lambda: [host.disk for host in self._cluster.hosts]
        note_requests = self._history.note_requests
        nemesis_rng = _child(rng)
        # Without a stranger nothing is drawn for him.
        stranger_rng = _child(nemesis_rng) if self.scenario.forgery_interval_ms else random.Random(0)
        self._stranger = Stranger(stranger_rng, self.scenario, self._cluster, self._history)
        self._nemesis = Nemesis(
            nemesis_rng, self.scenario, self._timeline, self._cluster, note_requests, self._stranger
        )
        # Without an aim nothing is drawn for its plot.
        plots_rng = random.Random(0) if aim is None else _child(nemesis_rng)
        self._plots = Plots(plots_rng, self._timeline, self._cluster, note_requests)
        self._client = SimulatedClient(_child(rng), self.scenario, self._told)
        # It never acts in runs with copies of volumes: its checkers go by dots, which are ambiguous there.
        followed = all_checkers(self._history, are_copies=False) if self.scenario.are_copies else self._checkers
        self._quorum_client = QuorumClient(_child(rng), self.scenario, followed, self._timeline.after, self._told)
        self._watchers = [
            SimulatedWatcher(f"watcher-{number}", table, _child(rng), self._cluster, self._timeline, self._checkers)
            for number, table in enumerate(() if self.scenario.are_copies else WATCHED_TABLES)
        ]
        self._objecting = objecting
        self._is_over = False
        self._retired: Host | None = None
        self._is_blocked = False
        """Whether the retired member has not been forgotten, so that tombstones wait for it forever."""
        self._collection = next(
            checker for checker in self._checkers if isinstance(checker, TombstoneCollectionChecker)
        )
        self._retirements = next(checker for checker in self._checkers if isinstance(checker, RetirementsChecker))
        # A member that takes one replica id after the other, and loses its disk, leaves writes of replicas that no one
        # has heard of as members.
        # A member that has started again with data tells nothing before it has compared with another one, and there is
        # none for a single member: it collects no tombstone until then.
        is_single = self.scenario.members == 1
        is_blocked = bool(self.scenario.twins or self.scenario.forges_names or is_single)
        self._collection.is_blocked = is_blocked
        self._retirements.is_blocked = is_blocked or bool(self.scenario.forgery_interval_ms)

    def run(self) -> Outcome:
        outcome = self.outcome
        self._trace.line("seed", f"{outcome.seed}: {self.scenario}")
        try:
            self._run()
        except ViolationError as error:
            self._trace.line("VIOLATED", str(error))
            outcome.violations.append(Violation(outcome.seed, self._timeline.now_ms, error.checker, str(error)))
        self._cluster.tallies()
        outcome.digest = self._trace.digest
        outcome.events = self._timeline.events
        outcome.faults = (
            self._nemesis.fired + self._plots.fired + self._stranger.fired + self._cluster.network.faults.fired
        )
        outcome.messages = self._cluster.messages
        outcome.seen += self._cluster.seen + self._quorum_client.seen
        for checker in self._checkers:
            outcome.checks[checker.name] += checker.checks
        return outcome

    def _run(self) -> None:
        for _ in range(self.scenario.members):
            self._cluster.add()
        self._history.note_requests(self._client.prefill(self._cluster.hosts[0]))
        self._nemesis.start()
        if self._aim is not None:
            self._plots.start(self._aim)
        for watcher in self._watchers:
            watcher.step()
        self._repeat(self.scenario.write_interval_ms, self._act)
        if not self.scenario.are_copies:
            self._repeat(QUORUM_MS, self._act_with_quorum)
        self._repeat(EXAMINE_MS, self._examine_one)
        self._discover()
        self._timeline.run_until(SAFETY_MS)
        self._heal()
        self._converge()

    def _discover(self) -> None:
        """Keep reporting addresses: discovery may be the only way to learn of other members."""
        self._cluster.discover(everyone=self._is_over)
        self._timeline.after(DISCOVER_MS, self._discover)

    def _repeat(self, interval_ms: int, act: Callable[[], None]) -> None:
        def again() -> None:
            if not self._is_over:
                act()
                self._timeline.after(self._rng.randint(1, 2 * interval_ms), again)

        self._timeline.after(interval_ms, again)

    def _act(self) -> None:
        running = self._cluster.running()
        if not running:
            return
        if self._rng.random() < 0.5:
            host = self._rng.choice(running)
            # Requests come before answers: what is requested now may be durable before this returns.
            self._history.note_requests(self._client.write(host))
            return
        host = self._rng.choice(running)
        address = self._client.read(host)
        self.outcome.seen["client_reads"] += 1
        for checker in self._checkers:
            checker.read(host, USER, address, host.disk.committed_row(USER, address))
            for each in running:
                checker.asked(each)

    def _act_with_quorum(self) -> None:
        running = self._cluster.running()
        if running:
            asked = self._quorum_client.act(self._rng.choice(running))
            self._history.requested.update((o.address, o.value) for o in asked)

    def _told(self, host: Host, shard: str, operations: list[Operation], outcome: Answer | Exception) -> None:
        for kind in kinds_of(operations, outcome):
            self.outcome.seen[kind] += 1
        told = ", ".join(describe(operations, outcome))
        self._trace.line(host.name, f"tells a client: {told}")
        if isinstance(outcome, list):
            for checker in self._checkers:
                checker.acknowledged(host, shard, operations, outcome)

    def _examine_one(self) -> None:
        running = self._cluster.running()
        if running:
            self._cluster.examine(self._rng.choice(running))

    # The liveness phase

    def _heal(self) -> None:
        """End all faults, correct the clocks, start the members that are down (but perhaps one), and stop the
        clients."""
        self._trace.line("liveness", "all faults end")
        self._is_over = True
        self._nemesis.stop()
        self._plots.stop()
        for watcher in self._watchers:
            watcher.calm()
        self._cluster.network.calm()
        self._retire_one()
        self._forget_strangers()
        skew_ms_max = self.scenario.clock_skew_ms_max // 4
        for host in self._cluster.hosts:
            host.skew_ms = self._rng.randint(-skew_ms_max, skew_ms_max)
            host.disk.calm()
            host.refuses = frozenset()
            if host.process is not None and host.process.has_left:
                self._cluster.stop(host, "has left")
            elif host.process is not None:
                host.process.calm()
            self._cluster.start(host)

    def _retire_one(self) -> None:
        """Sometimes let a member that is down stay down forever."""
        down = [host for host in self._cluster.hosts if not host.is_up]
        may_retire = not (self._nemesis.twins or self.scenario.clock_ahead_ms or self.scenario.forgery_interval_ms)
        if down and may_retire and len(self._cluster.hosts) > 2 and self._rng.random() < 0.5:
            self._nemesis.fired["retire"] += 1
            host = self._rng.choice(down)
            self._cluster.retire(host)
            self._retired = host
            if self._rng.random() < FORGOTTEN_SHARE:
                self._forget(host)
            else:
                self._is_blocked = self._collection.is_blocked = self._retirements.is_blocked = True

    def _forget(self, host: Host) -> None:
        """Forget a member that is gone, once it no longer seems to answer, and until it comes back; tombstones wait for
        it until then."""
        if self._retired is not host:
            return
        running = self._cluster.running()
        if any(peer.member == host.name for other in running for peer in _replica(other).peers):
            self._cluster.forget(self._rng.choice(running), host.name)
        self._timeline.after(FORGET_AGAIN_MS, lambda: self._forget(host))

    def _forget_strangers(self) -> None:
        """As operators do who see members that do not exist."""
        self._cluster.network.strangers.clear()
        running = self._cluster.running()
        for name in self._stranger.members if running else ():
            self._cluster.forget(self._rng.choice(running), name)
        if self._stranger.members:
            self._timeline.after(FORGET_AGAIN_MS, self._forget_strangers)

    def _bring_back(self) -> bool:
        """Often let a forgotten member return with all its data, once all tombstones are collected."""
        host = self._retired
        if host is None or self._is_blocked or self._rng.random() < 0.3:
            return False
        self._retired = None
        self._nemesis.fired["return"] += 1
        self._cluster.hosts.append(host)
        host.skew_ms = 0
        host.disk.calm()
        self._cluster.start(host)
        return True

    def _converge(self) -> None:
        ended_ms = self._timeline.now_ms
        self._become_equal()
        self.outcome.converged_ms = self._timeline.now_ms - ended_ms
        if self._nemesis.twins:
            self._part_twins()
        if self._bring_back():
            self._become_equal()
        self._trace.line("liveness", "all members are equal")
        for checker in self._checkers:
            checker.converged(self._cluster.hosts)
        self._timeline.run_until(self._timeline.now_ms + QUIET_INTERVALS * self.scenario.gossip_interval_ms)
        for host in self._cluster.hosts:
            while host.process is not None and host.process.is_committing:
                self._timeline.run_until(self._timeline.now_ms + 1)
            self._cluster.examine(host)
        self._end_watches()
        until_ms = self._timeline.now_ms + REVIVAL_PERIODS * self.scenario.gossip_interval_ms + RETRY_MS_MAX
        while self._timeline.now_ms < until_ms and self._is_anyone_dead():
            self._timeline.run_until(self._timeline.now_ms + LOOK_MS)
        for checker in self._checkers:
            checker.ended(self._cluster.hosts)

    def _part_twins(self) -> None:
        """Wait until all notice that a member runs twice; then stop one of the two processes for good."""
        checker = next(checker for checker in self._checkers if isinstance(checker, TwinsChecker))
        checker.copied = self._nemesis.copied
        self._await(
            lambda: all(checker.has_noticed(host, name) for host in self._cluster.hosts for name in checker.copied),
            self._timeline.now_ms + NOTICE_INTERVALS * self.scenario.gossip_interval_ms + RETRY_MS_MAX,
            checker.name,
            lambda: "someone has not noticed that a member runs twice",
        )
        checker.parted(self._cluster.hosts)
        self._await(
            self._are_equal,
            self._timeline.now_ms + LIVENESS_INTERVALS * self.scenario.gossip_interval_ms,
            "convergence",
            lambda: f"members differ: {self._differences()}",
        )
        for twin in self._nemesis.twins:
            if twin.is_up:
                self._cluster.stop(twin, "is the twin that stops")
            self._cluster.retire(twin)
        # The record may be that of the stopped process, and is left unchanged for one turn.
        self._await(
            lambda: all(map(self._has_own_record, self._cluster.hosts)),
            self._timeline.now_ms + LIVENESS_INTERVALS * self.scenario.gossip_interval_ms,
            "convergence",
            lambda: "the record of a process that was stopped still stands",
        )
        self._become_equal()

    def _has_own_record(self, host: Host) -> bool:
        row = host.disk.committed_row(SYSTEM, address_of(MEMBERS_TABLE, host.name.encode()))
        if row is None or row.winner.value is None:
            return False
        return MemberRecord.from_json(row.winner.value).replica == host.disk.replica

    def _become_equal(self) -> None:
        scenario = self.scenario
        ended_ms = self._timeline.now_ms
        exchanges, acceptable_ms = self._survey()
        exchange_ms = 2 * (scenario.commit_ms_max + LATENCY_MS_MAX + 1)
        transfers_ms = TRANSFERS * exchanges * exchange_ms
        bound_ms = LIVENESS_INTERVALS * scenario.gossip_interval_ms + 2 * RETRY_MS_MAX + transfers_ms
        # Two processes of one name take turns with the others.
        bound_ms *= 1 + 3 * len(self._nemesis.twins)
        until_ms = max(ended_ms, acceptable_ms) + bound_ms
        self._await(self._are_equal, until_ms, "convergence", lambda: f"members still differ: {self._differences()}")
        until_ms = max(until_ms, self._timeline.now_ms + TTL_MS_MAX + 2 * scenario.clock_skew_ms_max + bound_ms)
        self._await(
            lambda: self._has_nothing_to_expire() and self._are_equal(),
            until_ms,
            "expiry",
            lambda: f"rows still expire, or members differ: {self._differences()}",
        )
        if not self._is_blocked and not self._collection.is_blocked:
            self._await(
                lambda: not self._overdue() and self._are_equal(),
                self._timeline.now_ms + self._collection_ms_max() + bound_ms,
                "collection",
                lambda: f"tombstones still wait: {self._overdue()}, or {self._differences()}",
            )
            if self.scenario.forgery_interval_ms:
                # What was invented is retired a few replicas at a time.
                return
            self._await(
                lambda: not self._lingering() and not self._overdue() and self._are_equal(),
                self._timeline.now_ms + self._collection_ms_max() + bound_ms,
                "retirements",
                lambda: f"replicas that are gone are still named: {self._lingering()}, or {self._differences()}",
            )

    def _await(self, is_done: Callable[[], bool], until_ms: int, checker: str, words: Callable[[], str]) -> None:
        """Advance the time until the condition holds. If this checker is silent, a timeout does not end the run."""
        while not is_done():
            if self._timeline.now_ms >= until_ms:
                if self._objecting is None or checker in self._objecting:
                    raise ViolationError(checker, words())
                return
            self._timeline.run_until(self._timeline.now_ms + LOOK_MS)

    def _overdue(self) -> dict[str, list[bytes]]:
        """The rows whose tombstones wait to be collected, by host."""
        found = {host.name: [address for address, _ in overdue(host)] for host in self._cluster.hosts}
        return {name: addresses for name, addresses in found.items() if addresses}

    def _lingering(self) -> dict[str, list[str]]:
        """The replicas that are gone and that a host still names, by host."""
        found = {host.name: [f"{o:016x}" for o in lingering(host)] for host in self._cluster.running()}
        return {name: origins for name, origins in found.items() if origins}

    def _collection_ms_max(self) -> int:
        """Wait until the youngest tombstone is old enough by all clocks, and stable entries have been dropped."""
        tick_ms = self.scenario.gossip_interval_ms // TICKS_PER_INTERVAL
        life_ms = MESSAGE_LIFE_MS * max(1, 4 * tick_ms // MESSAGE_LIFE_MS) + 2 * MESSAGE_LIFE_MS
        return self.scenario.tombstone_age_ms_min + self.scenario.clock_skew_ms_max + TTL_MS_MAX + 4 * life_ms

    def _end_watches(self) -> None:
        """Members may have adopted writes since they were equal."""
        until_ms = self._timeline.now_ms + 2 * RESUME_TIMEOUT_MS + RECOVERY_BATCHES * self.scenario.gossip_interval_ms
        self._await(
            lambda: self._are_equal() and all(watcher.has_been_told_all for watcher in self._watchers),
            until_ms,
            "watches",
            lambda: "a watcher does not come to the end of what there is to be told",
        )
        for checker in self._checkers:
            checker.watches_ended({watcher.name: watcher.prefix for watcher in self._watchers}, self._cluster.hosts)
        for watcher in self._watchers:
            self.outcome.seen += watcher.seen_kinds

    def _is_anyone_dead(self) -> bool:
        """Whether any member holds a running member to be dead."""
        running = {host.name for host in self._cluster.running()}
        processes = [host.process for host in self._cluster.hosts if host.process is not None]
        return any(
            peer.status == DEAD and peer.member in running for process in processes for peer in process.replica.peers
        )

    def _survey(self) -> tuple[int, int]:
        """The number of exchanges that transfer all rows of the fullest member one by one, and the virtual time from
        which no clock refuses any row."""
        exchanges_max = latest_ms = 0
        for host in self._cluster.hosts:
            rows = [row for shard in NAMESPACES for row in stored_rows(host, shard).values()]
            exchanges_max = max(exchanges_max, sum(map(self._exchanges_for, rows)))
            if not self.scenario.clock_ahead_ms:
                latest_ms = max([latest_ms, *(milliseconds(row.winner.timestamp) for row in rows)])
        if self.scenario.clock_ahead_ms:
            latest_ms = self._latest_of_several()
        return exchanges_max, latest_ms - EPOCH_MS - self.scenario.clock_skew_ms_max * 3 // 4

    def _latest_of_several(self) -> int:
        """The latest time of a row that several disks hold with timestamps too far ahead: they are not stamped
        again."""
        acceptable_ms = EPOCH_MS + self._timeline.now_ms + self.scenario.clock_skew_ms_max
        ahead: Counter[tuple[str, bytes]] = Counter()
        latest_ms = 0
        for shard in NAMESPACES:
            for host in self._cluster.hosts:
                for address, row in stored_rows(host, shard).items():
                    if milliseconds(row.winner.timestamp) > acceptable_ms:
                        ahead[shard, address] += 1
                        if ahead[shard, address] > 1:
                            latest_ms = max(latest_ms, milliseconds(row.winner.timestamp))
        return latest_ms

    def _exchanges_for(self, row: StoredRow) -> int:
        """One exchange, and one more per fragment of a large row."""
        return 1 + sum(-(-len(v.value or b"") // self.scenario.whole_row_bytes_max) for v in row.versions)

    def _has_nothing_to_expire(self) -> bool:
        for host in self._cluster.hosts:
            with host.disk.view() as view:
                if next(view.deadlines(USER, EXPIRIES, FIRST_DEADLINE, 2**62), None) is not None:
                    return False
        return True

    def _are_equal(self) -> bool:
        """Whether all members are equal, by what they can compare themselves."""
        first, *others = self._cluster.hosts
        states = []
        for host in (first, *others):
            process = host.process
            if process is None or not process.replica.is_ready:
                return False
            shards = process.replica.shards.values()
            states.append([(shard.context, shard.fingerprint.root.visible) for shard in shards])
        return all(state == states[0] for state in states)

    def _differences(self) -> str:
        lines = []
        for host in self._cluster.hosts:
            process = host.process
            if process is None:
                lines.append(f"{host.name} is down")
                continue
            for name, shard in process.replica.shards.items():
                context = ", ".join(f"{o:016x}: {s}" for o, s in sorted(shard.context.items()))
                ready = "ready" if process.replica.is_ready else "not ready"
                lines.append(f"{host.name} {ready} {name} {shard.fingerprint.root.visible:016x} {{{context}}}")
        return "; ".join(lines)


def _replica(host: Host) -> Replica:
    assert host.process is not None
    return host.process.replica


def _child(rng: random.Random) -> random.Random:
    """A separate generator for each part, so that a change in one does not shift the draws of the others."""
    return random.Random(rng.getrandbits(64))


def run_seed(
    seed: int,
    show: Callable[[str], None] | None = None,
    *,
    objecting: Collection[str] | None = None,
    emphasis: Emphasis | None = None,
    frequent_faults: tuple[str, ...] = (),
    aim: Aim | None = None,
) -> Outcome:
    """Run one seed. `show` is called with a line for each event worth reading. `objecting` names the checkers that may
    end the run; by default all may. `emphasis` and `frequent_faults` are drawn from the seed unless given. A run
    with an `aim` has no emphasis."""
    return Simulation(seed, show, objecting, emphasis, frequent_faults, aim).run()
