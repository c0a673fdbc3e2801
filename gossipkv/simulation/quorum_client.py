"""A client that asks for copies and for several members' answers, at random members with others down."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence

from gossipkv.core.address import USER, address_of
from gossipkv.core.inputs import Answer, Await, Read, Withdraw, Write
from gossipkv.core.quorum import Found
from gossipkv.core.receipts import Coverage, Reach, Receipt
from gossipkv.core.write import Operation, Written
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.quorums import QuorumReads
from gossipkv.simulation.checkers.quorums import Receipts as ReceiptsChecker
from gossipkv.simulation.host import Host
from gossipkv.simulation.process import Process
from gossipkv.simulation.scenario import Scenario

WAIT_MS = 400
ASKED_MAX = 3


class QuorumClient:
    """Its writes are told to `told` like any other client's as soon as they are stored."""

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
        self._after = after
        self._told = told
        self._tickets = itertools.count(1)

    def act(self, host: Host) -> list[Operation]:
        """Write or read at the host; what it asks to be written."""
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
                return
            self._told(host, USER, [operation], outcome)
            if isinstance(outcome, list) and isinstance(outcome[0], Written):
                dot = outcome[0].dot
                waiting = Await(next(self._tickets), asked, Receipt(USER, dot), {operation.address: dot})
                self._wait(process, waiting, copied)

        def copied(outcome: object) -> None:
            if isinstance(outcome, Coverage):
                self.seen["quorum_write_copied"] += 1
                for checker in (self._receipts, self._reads):
                    checker.copied(host, outcome, asked)

        process.submit(Write(USER, (operation,), asked), conclude)

    def _read(self, host: Host, process: Process, address: bytes, asked: int) -> None:
        before = self._reads.acknowledged_copies(USER, address)
        own = host.disk.replica

        def found(outcome: object) -> None:
            if isinstance(outcome, Found):
                self.seen["quorum_reads"] += 1
                answered = frozenset([own, *outcome.answered.values()])
                self._reads.read_by_many(host, outcome.row, asked, answered, before)

        self._wait(process, Read(next(self._tickets), USER, address, asked), found)

    def _wait(self, process: Process, happened: Await | Read, over: Callable[[object], None]) -> None:
        process.tickets[happened.ticket] = over

        def withdraw() -> None:
            if process.tickets.pop(happened.ticket, None) is not None and process.is_running:
                self.seen["quorum_withdrawn"] += 1
                process.submit(Withdraw(happened.ticket))

        process.submit(happened)
        self._after(WAIT_MS, withdraw)
