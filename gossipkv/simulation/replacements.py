"""A cluster whose members lose their disks repeatedly: messages and stored records must not grow with the number of
replacements.

There are no other faults. Each replica writes to both namespaces before it is replaced, and all checkers are active.
Each figure is the maximum since the previous line. Messages are bounded. The data that a member keeps grow by some
bytes per replacement, and so does the work of the next replacement. So 300 replacements take seconds, 1,000 minutes,
and 10,000 hours.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gossipkv.core.inputs import Answer, Write
from gossipkv.core.model.address import NAMESPACES, SYSTEM, USER, address_of
from gossipkv.core.model.collected import NOTHING_COLLECTED
from gossipkv.core.model.row import Conflicts
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.protocol.parcel import WHOLE_ROW_BYTES_MAX
from gossipkv.core.store.tables import TableSettings, settings_address, settings_in
from gossipkv.core.watch.watching import Tail
from gossipkv.rows.view.context_token import text_of
from gossipkv.simulation.checkers import Checker, all_checkers
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.checkers.rows.derived import stored_rows
from gossipkv.simulation.cluster import Cluster
from gossipkv.simulation.outcome import ViolationError
from gossipkv.simulation.scenarios.scenario import Scenario
from gossipkv.simulation.world.host import Host
from gossipkv.simulation.world.timeline import Timeline
from gossipkv.simulation.world.trace import Trace
from gossipkv.storage.encoding import encode_collected, encode_context, encode_shard_record
from gossipkv.transport.memory import NO_FAULTS

MEMBERS = 3
LIVES = 5
"""The number of times in a row that one member is replaced, each time as soon as the others have its writes. Then it
catches up before the next member is replaced; otherwise all copies of a row could be lost."""
ENTRIES_MAX = 40
"""The maximum number of entries of a context that is sent. They name the members, and replicas that are gone but not
yet old enough to be retired."""
PROOF_IDS_MAX = 4 * ENTRIES_MAX
FRAME_BYTES_MAX = 96 * 1024
"""The sums of a walk alone take 64 KiB, independent of replacements."""
EVENT_ID_LENGTH_MAX = 1_024
TOKEN_LENGTH_MAX = 2_048
RECORD_BYTES_MAX = 4_096
REST_MS = 600
REST_EVERY = 25
"""After this many replacements the cluster rests longer, so that tombstones are collected."""
LOOK_MS = 10
CALM_MS = 60
"""The pause between replacements, in which members learn what the others cover."""
WAIT_MS_MAX = 20_000
LINES = 10
BESIDE = "beside"
"""The table that keeps siblings."""


@dataclass
class Measures:
    """The maximum of each kind of figure: entries of contexts, otherwise bytes."""

    longest: Counter[str] = field(default_factory=Counter)

    def note(self, kind: str, length: int) -> None:
        """Raise the maximum of a kind if this length exceeds it."""
        self.longest[kind] = max(self.longest[kind], length)


BOUNDS = {
    "entries": ENTRIES_MAX,
    "proof ids": PROOF_IDS_MAX,
    "message": FRAME_BYTES_MAX,
    "event id": EVENT_ID_LENGTH_MAX,
    "token": TOKEN_LENGTH_MAX,
    "record": RECORD_BYTES_MAX,
}
SHOWN = (*BOUNDS, "settled", "in memory", "proof record", "rows of sys")


class Sizes(Checker):
    """The checker that messages and stored records stay short."""

    name = "sizes"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self.measures = Measures()

    def leaving(self, host: Host, envelope: Envelope) -> None:
        """Measure the contexts and proofs of each message."""
        for message in envelope.messages:
            self.measure(host, "entries", len(getattr(message, "context", ())))
            self.measure(host, "entries", len(getattr(message, "ranges", ())))
            collected = getattr(message, "collected", NOTHING_COLLECTED)
            for marks, listed, known in (*getattr(message, "proofs", ()), *collected.proofs):
                self.measure(host, "entries", len(marks))
                self.measure(host, "proof ids", len(listed) + len(known))

    def measure(self, host: Host, kind: str, length: int) -> None:
        """Record a length, and require that it is within the bound of its kind, if there is one."""
        self.measures.note(kind, length)
        if kind in BOUNDS:
            self.require(length <= BOUNDS[kind], host.name, "has a", kind, "of", length, "above", BOUNDS[kind])


def _scenario() -> Scenario:
    return Scenario(
        members=MEMBERS,
        is_chain=False,
        joining=0,
        tables=1,
        keys=8,
        prefilled_rows=0,
        value_bytes_max=20,
        write_interval_ms=40,
        fault_interval_ms=1_000,
        gossip_interval_ms=30,
        audit_interval_ms=60_000,
        clock_skew_ms_max=600,
        fanout=0,
        part_bytes=32 * 1024,
        whole_row_bytes_max=WHOLE_ROW_BYTES_MAX,
        commit_ms_max=1,
        frequent_faults=(),
        rates=NO_FAULTS,
        lists_members=False,
        tombstone_age_ms_min=60,
    )


class Replacements:
    """A run with this many replacements."""

    def __init__(self, replacements: int, seed: int = 0) -> None:
        self._replacements = replacements
        rng = random.Random(seed)
        self._timeline = Timeline()
        history = History()
        self._sizes = Sizes(history)
        checkers: list[Checker] = [*all_checkers(history, are_copies=False), self._sizes]
        self._history = history
        self._checkers = checkers
        self._cluster = _MeasuredCluster(rng, _scenario(), self._timeline, Trace(self._timeline, None), checkers)
        self._cluster.sizes = self._sizes
        self._writes = 0

    def lines(self) -> Iterator[str]:
        """Yield the lines of a table. Raises ViolationError."""
        for _ in range(MEMBERS):
            self._cluster.add()
        self._cluster.discover(everyone=True)
        hosts = self._cluster.hosts
        self._submit(
            hosts[0], SYSTEM, [Operation(settings_address(BESIDE), TableSettings(Conflicts.SIBLINGS).to_json())]
        )
        self._await(self._are_equal)
        yield f"{'replaced':>9}" + "".join(f"  {kind:>14}" for kind in SHOWN)
        for number in range(1, self._replacements + 1):
            host = hosts[number // LIVES % MEMBERS]
            self._write(host)
            self._await(lambda host=host: self._is_known(host))  # type: ignore[misc]
            self._cluster.stop(host, "is replaced")
            self._cluster.lose_disk(host)
            self._cluster.start(host)
            self._cluster.discover(everyone=True)
            if number % LIVES == 0:
                self._await(self._are_equal)
                calm_ms = REST_MS if number % REST_EVERY == 0 else CALM_MS
                self._timeline.run_until(self._timeline.now_ms + calm_ms)
            if number % max(1, self._replacements // LINES) == 0 or number in (1, 10):
                self._measure()
                longest = self._sizes.measures.longest
                yield f"{number:>9}" + "".join(f"  {longest[kind]:>14,}" for kind in SHOWN)
                self._sizes.measures = Measures()
        self._await(self._are_equal)
        for checker in self._checkers:
            checker.converged(hosts)
        for host in hosts:
            self._cluster.examine(host)
        checks = sum(checker.checks for checker in self._checkers)
        yield f"{self._replacements} replacements, {self._timeline.events} events, {checks} checks, no violation"

    def _write(self, host: Host) -> None:
        """Write one row of each kind. There are few rows, so each is written by many replicas in turn."""
        self._writes += 1
        key = b"%d" % (self._writes % 8)
        value = b"%d" % self._writes
        beside = address_of(BESIDE, key)
        current = host.disk.committed_row(USER, beside)
        operations = [Operation(address_of("t", key), None if self._writes % 6 == 0 else value)]
        if settings_in(host.disk.committed_row(SYSTEM, settings_address(BESIDE))) is not None:
            operations.append(Operation(beside, value, seen=current.seen if current is not None else None))
        self._history.note_requests(operations)
        self._submit(host, USER, operations)

    def _submit(self, host: Host, shard: str, operations: list[Operation]) -> None:
        def conclude(outcome: Answer | Exception) -> None:
            assert isinstance(outcome, list), f"a write failed: {outcome!r}"
            for checker in self._checkers:
                checker.acknowledged(host, shard, operations, outcome)

        assert host.process is not None, "it is up"
        host.process.submit(Write(shard, tuple(operations)), conclude)

    def _await(self, is_done: Callable[[], bool]) -> None:
        until_ms = self._timeline.now_ms + WAIT_MS_MAX
        self._timeline.run_until(self._timeline.now_ms + LOOK_MS)
        while not is_done():
            if self._timeline.now_ms >= until_ms:
                raise ViolationError("convergence", "members stay different after a replacement")
            self._timeline.run_until(self._timeline.now_ms + LOOK_MS)

    def _is_known(self, host: Host) -> bool:
        """Return whether the others have this member's writes."""
        replica = host.disk.replica
        return all(
            host.disk.context(name).get(replica, 0) <= other.disk.context(name).get(replica, 0)
            for name in NAMESPACES
            for other in self._cluster.hosts
        ) and replica in host.disk.context(USER)

    def _are_equal(self) -> bool:
        states = []
        for host in self._cluster.hosts:
            process = host.process
            if process is None or process.is_committing or process.inbox or not process.replica.is_ready:
                return False
            shards = process.replica.shards.values()
            states.append([(shard.context, shard.fingerprint.root.visible) for shard in shards])
        return all(state == states[0] for state in states)

    def _measure(self) -> None:
        for host in self._cluster.hosts:
            assert host.process is not None, "it is up"
            for name in NAMESPACES:
                shard = host.process.replica.shards[name]
                self._sizes.measure(host, "record", len(encode_shard_record(shard.record())))
                self._sizes.measure(host, "settled", len(encode_context(shard.base.settled)))
                self._sizes.measure(host, "in memory", len(shard.context))
                self._sizes.measure(host, "proof record", len(encode_collected(shard.collected)))
            self._sizes.measure(host, "rows of sys", len(stored_rows(host, SYSTEM)))
            with host.disk.view() as view:
                self._sizes.measure(host, "event id", len(Tail(view, USER).position.event_id()))
            for address, row in stored_rows(host, USER).items():
                self._sizes.measure(host, "token", len(text_of(address, row)))


class _MeasuredCluster(Cluster):
    sizes: Sizes

    def leaving(self, host: Host, envelope: Envelope, frame: bytes) -> None:
        super().leaving(host, envelope, frame)
        self.sizes.measure(host, "message", len(frame))


def run(replacements: int, say: Callable[[str], None]) -> bool:
    """Print the figures. Returns whether all checks passed."""
    try:
        for line in Replacements(replacements).lines():
            say(line)
    except ViolationError as error:
        say(f"VIOLATED: {error}")
        return False
    return True
