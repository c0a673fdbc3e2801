"""A client that uses `w`, `r` and receipts at random members, while others may be down."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence

from gossipkv.core.inputs import Answer, Await, Read, Withdraw, Write
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.write import Operation
from gossipkv.core.waits.answers import Coverage, Found, Reach, Resolved
from gossipkv.member.quorum_write import QuorumWrite
from gossipkv.simulation.checkers.answers.quorums import QuorumReadsChecker, ReceiptsChecker
from gossipkv.simulation.checkers.answers.waits import WaitsChecker
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.scenarios.scenario import Scenario
from gossipkv.simulation.world.host import Host
from gossipkv.simulation.world.process import Process

WAIT_MS = 400
ASKED_MAX = 3
GONE_SHARE = 0.1
"""Share of the waits whose client goes before their end."""


class QuorumClient:
    """A client that asks for several copies. It reports its writes to `told` as soon as they are stored, like any other
    client."""

    def __init__(
        self,
        rng: random.Random,
        scenario: Scenario,
        checkers: Sequence[Checker],
        after: Callable[[int, Callable[[], None]], None],
        told: Callable[[Host, str, list[Operation], Answer | Exception], None],
    ) -> None:
        self.seen: Counter[str] = Counter()
        self._rng = rng
        self._scenario = scenario
        self._receipts = next(checker for checker in checkers if isinstance(checker, ReceiptsChecker))
        self._reads = next(checker for checker in checkers if isinstance(checker, QuorumReadsChecker))
        self._waits = next(checker for checker in checkers if isinstance(checker, WaitsChecker))
        self._after = after
        self._told = told
        self._tickets = itertools.count(1)
        self._waiting: set[int] = set()
        """The tickets under which it waits and has been told nothing."""

    def act(self, host: Host) -> list[Operation]:
        """Write or read at the host. Returns the operations, if it writes."""
        process = host.process
        assert process is not None
        key = self._rng.randrange(self._scenario.keys)
        address = address_of(f"table{self._rng.randrange(self._scenario.tables)}", f"key{key}".encode())
        asked = self._rng.randint(2, ASKED_MAX)
        if self._rng.random() < 0.5:
            self._read(host, process, address, asked)
            return []
        operation = Operation(address, b"quorum %d" % next(self._tickets))
        self._write(host, process, operation, asked)
        return [operation]

    def _write(self, host: Host, process: Process, operation: Operation, asked: int) -> None:
        skew_ms = host.skew_ms
        writing = QuorumWrite(USER, (operation,), asked, self._deadline_ms(host))

        def attempt() -> None:
            process.submit(Write(USER, (operation,), asked), conclude)

        def conclude(outcome: Answer | Exception) -> None:
            if isinstance(outcome, Reach):
                over = reached
                self.seen["quorum_write_nothing_stored"] += 1
            else:
                over = copied
                self._told(host, USER, [operation], outcome)
            waiting = writing.wait_after(outcome, self._tickets)
            if waiting is not None:
                self._wait(host, process, waiting, over, skew_ms)

        def copied(resolved: Resolved) -> None:
            if isinstance(resolved.outcome, Coverage):
                is_fulfilled = not (resolved.is_cut or resolved.is_late)
                self.seen["quorum_write_cut" if resolved.is_cut else "quorum_write_copied"] += not resolved.is_late
                for checker in (self._receipts, self._reads):
                    checker.copied(host, resolved.outcome, asked if is_fulfilled else 0)

        def reached(resolved: Resolved) -> None:
            self.seen["quorum_members_cut" if resolved.is_cut else "quorum_members_reached"] += not resolved.is_late
            if writing.is_to_be_tried_again(resolved.outcome):
                attempt()

        attempt()

    def _read(self, host: Host, process: Process, address: bytes, asked: int) -> None:
        before = self._reads.acknowledged_copies(USER, address)
        own = host.disk.replica

        def found(resolved: Resolved) -> None:
            if resolved.is_cut:
                self.seen["quorum_reads_cut"] += 1
            elif isinstance(resolved.outcome, Found) and not resolved.is_late:
                self.seen["quorum_reads"] += 1
                answered = frozenset([own, *resolved.outcome.answered.values()])
                self._reads.read_by_many(host, address, resolved.outcome.row, asked, answered, before)

        reading = Read(next(self._tickets), USER, address, asked, self._deadline_ms(host))
        self._wait(host, process, reading, found, host.skew_ms)

    def _deadline_ms(self, host: Host) -> int:
        return host.now_ms() + WAIT_MS

    def _wait(
        self, host: Host, process: Process, happened: Await | Read, over: Callable[[Resolved], None], skew_ms: int
    ) -> None:
        """Begin a wait. `skew_ms` is how far the clock by which its deadline was set was ahead."""
        ticket = happened.ticket

        def ended(resolved: Resolved | None) -> None:
            self._waiting.discard(ticket)
            if resolved is None:
                self.seen["quorum_not_told"] += 1
                return
            self.seen["quorum_timed_out"] += resolved.is_late
            over(resolved)

        def begun(outcome: Answer | Exception) -> None:
            """End a wait that was refused, or whose batch failed."""
            if isinstance(outcome, Exception | Reach):
                self._waiting.discard(ticket)
                process.driver.tickets.pop(ticket, None)
            elif host.skew_ms == skew_ms:
                # Otherwise the clock has been set since, and the deadline is no time of it.
                self._look_later(host, process, ticket, WAIT_MS + process.late_ms_max)

        self._waiting.add(ticket)
        process.wait(happened, begun, ended)
        if self._rng.random() < GONE_SHARE:
            self._after(self._rng.randint(0, WAIT_MS), lambda: self._go(process, ticket))

    def _go(self, process: Process, ticket: int) -> None:
        """The client closes its connection."""
        if process.is_running and ticket in self._waiting:
            self._waiting.discard(ticket)
            process.driver.tickets.pop(ticket, None)
            self.seen["quorum_withdrawn"] += 1
            process.submit(Withdraw(ticket))

    def _look_later(self, host: Host, process: Process, ticket: int, delay_ms: int) -> None:
        """Require that a wait has ended after this time. It gets more time if its process is delayed meanwhile. If its
        clock is set, it may take as long as it did in the last batch before."""
        delays, skew_ms = process.delays, host.skew_ms

        def look() -> None:
            if process.is_running and host.skew_ms != skew_ms:
                self._look_later(host, process, ticket, WAIT_MS + process.late_ms_max)
            elif process.is_running and (process.is_paused or process.delays != delays):
                self._look_later(host, process, ticket, process.late_ms_max)
            elif process.is_running:
                self._waits.looked(host, ticket, has_ended=ticket not in self._waiting)

        self._after(delay_ms, look)
