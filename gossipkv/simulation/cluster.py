"""The hosts of a simulated cluster, and what happens to a whole host: it starts, stops, moves, joins, loses its
disk.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from gossipkv.core.effects import Effects
from gossipkv.core.inputs import Answer, Discovered, Forget
from gossipkv.core.model.member import GOSSIP
from gossipkv.core.model.tally import Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.store.forgotten import Forgotten
from gossipkv.core.store.storage import StorageError
from gossipkv.member.group_commit import GroupCommit
from gossipkv.simulation.checkers import Checker
from gossipkv.simulation.scenarios.scenario import MESSAGE_LIFE_MS, RETRY_MS_MAX, Scenario
from gossipkv.simulation.world.disk import Commit, Disk
from gossipkv.simulation.world.host import Host
from gossipkv.simulation.world.network import Network
from gossipkv.simulation.world.process import Process
from gossipkv.simulation.world.timeline import Timeline
from gossipkv.simulation.world.trace import Trace

TICKS_PER_INTERVAL = 3
BOOTSTRAP_TIMEOUT_MS = 700
START_RETRY_MS = 50
LIST_DELAY_MS_MAX = 600
"""The maximum delay of what discovery reports about members."""
ZONES = 2


class Cluster:
    """The hosts of a simulated cluster, their network, and the events that concern whole hosts."""

    def __init__(
        self, rng: random.Random, scenario: Scenario, timeline: Timeline, trace: Trace, checkers: Sequence[Checker]
    ) -> None:
        self.hosts: list[Host] = []
        network_rng = random.Random(rng.getrandbits(64))
        self.network = Network(timeline, network_rng, scenario.rates, is_chain=scenario.is_chain)
        self.trace = trace
        self.messages: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.overheard: dict[str, Envelope] = {}
        """The last envelope that each member has sent, by member."""
        self._rng = rng
        self._scenario = scenario
        self._timeline = timeline
        self._checkers = checkers
        self._unplaced: set[str] = set()
        """The members that are moving to another address. Discovery does not list them meanwhile."""

    def add(self) -> None:
        """Add a host of a new member, and start it."""
        place = len(self.hosts)
        name = f"kv-{place}"
        skew_ms = self._rng.randint(-self._scenario.clock_skew_ms_max // 3, self._scenario.clock_skew_ms_max // 3)
        disk = Disk(name, self._committed)
        host = Host(place, self.network.lease(), disk, self._timeline, skew_ms)
        self.hosts.append(host)
        self.network.attach(host)
        self.trace.line(name, f"joins at {host.endpoint}, its clock {skew_ms} ms ahead")
        self.start(host)

    def copy(self, host: Host) -> Host:
        """Start a second process under the member's name, at another address, on a copy of its volume. Returns its
        host."""
        twin = Host(len(self.hosts), self.network.lease(), host.disk.copied(), self._timeline, host.skew_ms)
        self.hosts.append(twin)
        self.network.attach(twin)
        self.trace.line(host.name, f"has a twin at {twin.endpoint}, a copy of replica {host.disk.replica:016x}")
        self.start(twin)
        return twin

    def running(self) -> list[Host]:
        """Return the hosts whose process runs, in order of joining."""
        return [host for host in self.hosts if host.is_up]

    def start(self, host: Host) -> None:
        """Start the process of a host, unless it runs. If its disk fails, try again a little later."""
        if host.is_up:
            return
        self._unplaced.discard(host.name)
        rng = random.Random(self._rng.getrandbits(64))
        try:
            group_commit, effects = GroupCommit.open(host.disk, self._options(host), rng, host.now_ms())
        except StorageError as error:
            self.trace.line(host.name, f"cannot start: {error}")
            # Do not try again if the host has been retired by then.
            self._timeline.after(START_RETRY_MS, lambda: self.start(host) if host in self.hosts else None)
            return
        self.trace.line(host.name, f"starts as replica {host.disk.replica:016x}")
        tick_ms = self._scenario.gossip_interval_ms // TICKS_PER_INTERVAL
        assert effects.snapshot is not None, "a replica that has been opened has a snapshot"
        host.process = process = Process(
            self,
            host,
            group_commit,
            effects.snapshot,
            tick_ms,
            self._scenario.commit_ms_max,
            self._scenario.batch_inputs_max,
        )
        process.start(effects)
        process.watched = self._discovered(host, self._found())
        self._tell(host, process, process.watched)
        self.examine(host)

    def _options(self, host: Host) -> ReplicaOptions:
        scenario = self._scenario
        return ReplicaOptions(
            cluster="simulated",
            member=host.name,
            endpoints={GOSSIP: host.endpoint},
            gossip_interval_ms=scenario.gossip_interval_ms,
            audit_interval_ms=scenario.audit_interval_ms,
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
            forget_silence_ms=scenario.forget_silence_ms,
            retry_ms_max=RETRY_MS_MAX,
            protocol_period_ms=scenario.gossip_interval_ms,
            probe_timeout_ms=scenario.gossip_interval_ms // 2,
            clock_skew_ms_max=scenario.clock_skew_ms_max,
            fanout=scenario.fanout,
            tombstone_age_ms_min=scenario.tombstone_age_ms_min,
            message_life_ms=MESSAGE_LIFE_MS,
            part_bytes=scenario.part_bytes,
            whole_row_bytes_max=scenario.whole_row_bytes_max,
        )

    def stop(self, host: Host, how: str) -> None:
        """Stop the process at once, as a crash does. Only committed data remain. `how` is for the trace."""
        process = host.process
        assert process is not None
        self.trace.line(host.name, how)
        self._count(process.replica.tally)
        process.stop()
        host.process = None
        host.disk.crash()

    def end(self, host: Host, ended: Callable[[], None], *, has_failed: bool) -> None:
        """Let the process of a member that has left finish pending work and stop. Then call `ended`. `has_failed`: the
        member could not announce that it leaves, so its core has ended no wait."""
        process = host.process
        assert process is not None

        def over() -> None:
            if host.process is process:
                if not has_failed:
                    self._stops_by_itself(host, process)
                process.driver.end_waits()
                self.stop(host, "has left")
                ended()

        process.end(over)

    def _stops_by_itself(self, host: Host, process: Process) -> None:
        for checker in self._checkers:
            checker.stopped(host, sorted(process.driver.tickets))

    def lose_disk(self, host: Host) -> None:
        """Replace the host's disk, which is lost for good, by an empty one."""
        self.trace.line(host.name, "loses its disk")
        host.disk = Disk(host.name, self._committed)
        self._tell_of_lost_disk()

    def spoil(self, host: Host, shard: str, address: bytes) -> None:
        """Make a row on the host's disk unreadable."""
        self.trace.line(host.name, f"cannot read {address!r} any more")
        host.disk.spoil(shard, address)
        self._tell_of_lost_disk()

    def set_back(self, host: Host, copy: Disk) -> None:
        """Replace the disk of the host, which is down, by a copy of an earlier state."""
        self.trace.line(host.name, f"is set back to a copy of replica {copy.replica:016x}")
        host.disk = copy.copied()
        for checker in self._checkers:
            checker.set_back(host)
        self._tell_of_lost_disk()

    def fence(self, host: Host) -> None:
        """Set the host's outdated data aside, and start it again as a new replica."""
        self.seen["fenced"] += 1
        for checker in self._checkers:
            checker.fenced(host)
        assert host.process is not None
        self._stops_by_itself(host, host.process)
        self.stop(host, "sets its data aside")
        host.disk = Disk(host.name, self._committed)
        self._tell_of_lost_disk()
        self.start(host)

    def forget(self, teller: Host, member: str) -> None:
        """Ask a member to forget another one that is gone for good."""
        assert teller.process is not None

        def over(outcome: Answer | Exception) -> None:
            if outcome is Forgotten.DONE:
                self.seen["forgotten"] += 1
                self.trace.line(teller.name, f"forgets {member}")

        teller.process.submit(Forget(member, is_forced=True), over)

    def retire(self, host: Host) -> None:
        """Remove a host that is down and never comes back. Others keep trying to reach it."""
        self.trace.line(host.name, "never comes back")
        host.refuses = frozenset()
        self.hosts.remove(host)
        self._tell_of_lost_disk()

    def _tell_of_lost_disk(self) -> None:
        surviving = [host.disk for host in self.hosts]
        for checker in self._checkers:
            checker.disk_lost(surviving)

    def move(self, host: Host) -> None:
        """Give the host another address."""
        self._unplaced.add(host.name)
        before = host.endpoint
        host.endpoint = self.network.lease()
        self.network.give_back(before)
        self.network.attach(host)
        self.trace.line(host.name, f"moves from {before} to {host.endpoint}")

    def discover(self, *, everyone: bool) -> None:
        """Report addresses to all members, including those of hosts that are down. A polling discovery reports some or
        all of them each time. A watching discovery reports all that exist, and only after a change."""
        all_endpoints = tuple(sorted(host.endpoint for host in self.hosts))
        for host in self.running():
            process = host.process
            assert process is not None
            found = self._discovered(host, all_endpoints if everyone else self._found())
            if found.members is None:
                self._tell(host, process, found)
            elif found != process.watched:
                process.watched = found
                delay_ms = 0 if everyone else self._rng.randint(0, LIST_DELAY_MS_MAX)
                self._timeline.after(delay_ms, partial(self._tell, host, process, found))

    def _discovered(self, host: Host, endpoints: tuple[str, ...]) -> Discovered:
        if not self._scenario.lists_members:
            return Discovered(endpoints)
        existing = [other for other in self.hosts if other.name not in self._unplaced]
        return Discovered(
            tuple(sorted(other.endpoint for other in existing)),
            frozenset(other.name for other in existing),
            f"zone-{host.place % ZONES}",
        )

    def _tell(self, host: Host, process: Process, found: Discovered) -> None:
        if host.process is not process or (found.members is not None and process.watched is not found):
            # The process has ended, or has received a later report.
            return

        def conclude(outcome: Answer | Exception) -> None:
            if isinstance(outcome, Exception):
                process.existing = frozenset()
                process.watched = None
            else:
                process.existing = found.members

        process.submit(found, conclude)

    def _found(self) -> tuple[str, ...]:
        endpoints = self.network.endpoints()
        return tuple(sorted(self._rng.sample(endpoints, self._rng.randint(1, len(endpoints)))))

    def examine(self, host: Host) -> None:
        """Let the checkers examine everything that a member holds. Does nothing if the member has an open batch. Nor
        does it if an unreadable row is still to be taken out of what is derived from rows."""
        process = host.process
        if process is None or process.is_committing or host.disk.unreadable:
            return
        for checker in self._checkers:
            checker.examined(host)

    def tallies(self) -> None:
        """Add what the running processes did to `seen`."""
        for host in self.running():
            assert host.process is not None
            self._count(host.process.replica.tally)

    def _count(self, tally: Tally) -> None:
        self.seen["tombstones_collected"] += tally.tombstones_collected
        self.seen["reads_repaired"] += tally.reads_repaired
        for kind, number in (tally.rounds + tally.rows_refused + tally.envelopes_refused).items():
            self.seen[kind] += number

    def _committed(self, commit: Commit) -> None:
        for checker in self._checkers:
            checker.committed(commit)

    # What processes use

    def after(self, delay_ms: int, event: Callable[[], None]) -> None:
        """Run an event after this time."""
        self._timeline.after(delay_ms, event)

    def carry(self, source: str, destination: str, arrive: Callable[[], None]) -> None:
        """Deliver a frame with the faults of the network."""
        self.network.carry(source, destination, arrive)

    def host_at(self, endpoint: str) -> Host | None:
        """Return the host at an endpoint; None if there is none."""
        return self.network.host_at(endpoint)

    def stranger_at(self, endpoint: str) -> Callable[[bytes], bytes | None] | None:
        """Return the function that answers at an endpoint that belongs to no member; None if nothing answers."""
        return self.network.strangers.get(endpoint)

    def draw_ms(self, least: int, most: int) -> int:
        """Draw a time from `least` to `most`, both included."""
        return self._rng.randint(least, most)

    def leaving(self, host: Host, envelope: Envelope, frame: bytes) -> None:
        """Record an envelope that goes onto the network, and show it to the checkers."""
        self.trace.frame(host.name, frame)
        self.overheard[host.name] = envelope
        for message in envelope.messages:
            self.messages[type(message).__name__] += 1
        for checker in self._checkers:
            checker.leaving(host, envelope)

    def notice(self, host: Host, effects: Effects) -> None:
        """Record the notices of a step, and show them to the checkers."""
        if effects.is_fenced:
            for checker in self._checkers:
                checker.fencing(host)
        for checker in self._checkers:
            checker.noticed(host, effects.notices)
        for notice in effects.notices:
            self.seen[notice.event] += 1
            fields = ", ".join(f"{name} {value}" for name, value in notice.fields.items())
            self.trace.line(host.name, f"{notice.event}: {fields}")
