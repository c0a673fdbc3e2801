"""A client that uses `w`, `r` and receipts at random members, while others may be down."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence

from gossipkv.core.inputs import Answer, Await, Read, Withdraw, Write
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.write import Operation, Written
from gossipkv.core.waits.answers import Coverage, Found, Reach, Receipt, Resolved
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.quorums import QuorumReads
from gossipkv.simulation.checkers.quorums import Receipts as ReceiptsChecker
from gossipkv.simulation.checkers.waits import Waits
from gossipkv.simulation.host import Host
from gossipkv.simulation.process import Process
from gossipkv.simulation.scenario import Scenario

WAIT_MS = 400
ASKED_MAX = 3


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
        self._reads = next(checker for checker in checkers if isinstance(checker, QuorumReads))
        self._waits = next(checker for checker in checkers if isinstance(checker, Waits))
        self._after = after
        self._told = told
        self._tickets = itertools.count(1)

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
        def conclude(outcome: Answer | Exception) -> None:
            if isinstance(outcome, Reach):
                self.seen["quorum_write_nothing_stored"] += 1
                self._wait(host, process, Await(next(self._tickets), asked), reached)
                return
            self._told(host, USER, [operation], outcome)
            if isinstance(outcome, list) and isinstance(outcome[0], Written):
                dot = outcome[0].dot
                waiting = Await(next(self._tickets), asked, Receipt(USER, dot), {operation.address: dot})
                self._wait(host, process, waiting, copied)

        def copied(resolved: Resolved) -> None:
            if isinstance(resolved.outcome, Coverage):
                self.seen["quorum_write_cut" if resolved.is_cut else "quorum_write_copied"] += 1
                for checker in (self._receipts, self._reads):
                    checker.copied(host, resolved.outcome, 0 if resolved.is_cut else asked)

        def reached(resolved: Resolved) -> None:
            self.seen["quorum_members_cut" if resolved.is_cut else "quorum_members_reached"] += 1

        process.submit(Write(USER, (operation,), asked), conclude)

    def _read(self, host: Host, process: Process, address: bytes, asked: int) -> None:
        before = self._reads.acknowledged_copies(USER, address)
        own = host.disk.replica

        def found(resolved: Resolved) -> None:
            if resolved.is_cut:
                self.seen["quorum_reads_cut"] += 1
            elif isinstance(resolved.outcome, Found):
                self.seen["quorum_reads"] += 1
                answered = frozenset([own, *resolved.outcome.answered.values()])
                self._reads.read_by_many(host, resolved.outcome.row, asked, answered, before)

        self._wait(host, process, Read(next(self._tickets), USER, address, asked), found)

    def _wait(self, host: Host, process: Process, happened: Await | Read, over: Callable[[Resolved], None]) -> None:
        process.tickets[happened.ticket] = over

        def withdraw() -> None:
            if happened.ticket in process.tickets and process.is_running:
                self.seen["quorum_withdrawn"] += 1
                process.submit(Withdraw(happened.ticket), withdrawn)

        def withdrawn(outcome: Answer | Exception) -> None:
            if process.tickets.pop(happened.ticket, None) is not None and not isinstance(outcome, Exception):
                self._waits.withdrawn(host, happened.ticket, outcome)

        def begun(outcome: Answer | Exception) -> None:
            """End a wait that was refused, or whose batch failed."""
            if isinstance(outcome, Exception | Reach):
                process.tickets.pop(happened.ticket, None)

        process.submit(happened, begun)
        self._after(WAIT_MS, withdraw)
