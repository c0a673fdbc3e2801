"""The waiting part of writes with several copies, reads of several members, and receipts.

The core decides when a wait is over: once it is fulfilled, or at its deadline. This module gives each wait a ticket,
and takes its result from the effects of a batch. A wait whose client has gone is withdrawn, so nothing is tracked for
it.

No wait outlives the member. The core ends all waits when the member leaves or is fenced. If the core cannot end a wait,
because the storage has failed or is stuck, this module ends it and tells the client what is known. A write that has
been stored is answered only with its results or with CopiesMissingError, which says that the write is stored.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import cast

from gossipkv.core.inputs import Await, Locate, Read, Withdraw
from gossipkv.core.model.member import ALIVE
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.store.storage import StorageError
from gossipkv.core.waits.answers import Coverage, Found, Holder, Reach, Receipt, Resolved
from gossipkv.member.batches import InputOutcome, StoppedError
from gossipkv.member.driver import Driver
from gossipkv.member.group_commit import StepFailedError
from gossipkv.member.metrics import Metrics
from gossipkv.member.quorum_write import QuorumWrite
from gossipkv.rows.errors import ErrorKind, RequestError

StoreHere = Callable[[str, Sequence[Operation], int], Awaitable[list[Result] | Reach]]
"""Stores operations here; returns a Reach, and stores nothing, if fewer members are alive than the copies asked for."""


ANSWER_SECONDS = 5.0
"""How long after its deadline a wait gives the storage to make the batch that ends it."""


class TooManyAskedError(RequestError):
    """More copies or answers are asked for than there are members that have not left."""

    kind = ErrorKind.TOO_MANY_ASKED

    def __init__(self, asked: int, members: int) -> None:
        super().__init__(f"{asked} members are asked for, and the cluster has {members}")


class MembersMissingError(RequestError):
    """Nothing was stored: too few members were alive for as long as the write would wait."""

    kind = ErrorKind.TOO_FEW_MEMBERS

    def __init__(self, asked: int, answering: int) -> None:
        super().__init__(
            f"{asked} copies are asked for, and {answering} members are alive; nothing was stored", stored=False
        )


class CopiesMissingError(RequestError):
    """The write is stored here and goes on replicating. The copies asked for were not confirmed in time, or before the
    member stopped."""

    kind = ErrorKind.TOO_FEW_COPIES

    def __init__(
        self, asked: int, results: list[Result], coverage: Coverage, stopped: StoppedError | None = None
    ) -> None:
        end = "in time" if stopped is None else f"in time, as {stopped}"
        super().__init__(
            f"the write is stored; it asks for {asked} copies, and this member knew of {coverage.copies} {end}",
            stored=True,
            copies=coverage.copies,
            receipt=str(coverage.receipt),
        )
        self.results = results
        self.coverage = coverage


class AnswersMissingError(RequestError):
    """Too few members answered a read in time."""

    kind = ErrorKind.TOO_FEW_ANSWERS

    def __init__(self, asked: int, answered: int) -> None:
        super().__init__(
            f"{asked} members are asked for, and {answered} answered in time "
            "(a member whose copy cannot be read, or lacks something, does not count)"
        )


class Waits:
    """The waits of one node; runs on its event loop. Every method also raises StorageError, StepFailedError,
    StoppedError if the member stops before the wait is over, and TimeoutError if the storage does not answer."""

    def __init__(self, driver: Driver, store: StoreHere, now_ms: Callable[[], int], metrics: Metrics) -> None:
        self._driver = driver
        self._store = store
        self._now_ms = now_ms
        self._writes = metrics.quorum_writes.labels
        self._tickets = itertools.count(1)
        self._operations = 0
        """Writes, reads and receipts under way."""
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._closed: StoppedError | None = None
        self._has_ended = False

    # The end

    def close(self, reason: StoppedError) -> None:
        """Accept no new waits. Waits under way continue."""
        self._closed = reason

    def end(self) -> None:
        """End every wait that the core has not ended. Each client is told what is known."""
        self._has_ended = True
        self._driver.end_waits()

    async def settle(self, seconds: float) -> None:
        """Return when nothing is under way, or after this many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_idle.wait(), seconds)

    def _reason(self, error: Exception) -> Exception:
        """The error of a failed wait: that this member stops, if it does, otherwise the given one."""
        return self._closed or error

    @contextmanager
    def _operation(self) -> Iterator[None]:
        self._operations += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._operations -= 1
            if not self._operations:
                self._is_idle.set()

    def _deadline_ms(self, wait_seconds: float) -> int:
        return self._now_ms() + round(wait_seconds * 1000)

    # Requests to the cluster

    async def write(
        self, shard: str, operations: Sequence[Operation], copies: int, wait_seconds: float
    ) -> list[Result]:
        """Raises TooManyAskedError, MembersMissingError, CopiesMissingError, and what storing raises."""
        deadline_ms = self._deadline_ms(wait_seconds)
        with self._operation():
            writing = QuorumWrite(shard, operations, copies, deadline_ms)
            stored, waiting = await self._stored(writing)
            if waiting is not None:
                await self._await_copies(waiting, copies, stored)
            return stored

    async def _stored(self, writing: QuorumWrite) -> tuple[list[Result], Await | None]:
        """The results of a write, once enough members are alive to store it, and the wait for its copies."""
        copies = writing.copies
        while True:
            stored = await self._store(writing.shard, writing.operations, copies)
            waiting = writing.wait_after(stored, self._tickets)
            if not isinstance(stored, Reach):
                return stored, waiting
            assert waiting is not None, "nothing is stored"
            reached = await self._resolved(waiting, copies)
            if not writing.is_to_be_tried_again(reached):
                self._writes("nothing_stored").inc()
                answering = reached.answering if isinstance(reached, Reach) else 0
                raise self._reason(MembersMissingError(copies, answering))

    async def _await_copies(self, waiting: Await, copies: int, stored: list[Result]) -> None:
        receipt = waiting.receipt
        assert receipt is not None, "a write is stored"
        try:
            resolved = await self._resolved(waiting, copies)
            coverage = resolved if isinstance(resolved, Coverage) else await self._located(receipt)
        except (StorageError, StepFailedError, StoppedError, TooManyAskedError, TimeoutError):
            # The write is stored, whatever has failed since: it must not look like a write that was refused.
            coverage = self._own_copy(receipt)
        if coverage.copies >= copies:
            self._writes("copied").inc()
            return
        self._writes("stored_here").inc()
        raise CopiesMissingError(copies, stored, coverage, self._closed)

    def _own_copy(self, receipt: Receipt) -> Coverage:
        """The coverage of a write stored here, when nothing can be asked."""
        identity = self._driver.snapshot.identity
        return Coverage(receipt, (Holder(identity.member, ALIVE, True, identity.replica, True),))

    async def read(self, shard: str, address: bytes, members: int, wait_seconds: float) -> StoredRow | None:
        """The merged copies of `members` members. Raises TooManyAskedError, AnswersMissingError."""
        if self._closed is not None:
            raise self._closed
        reading = Read(next(self._tickets), shard, address, members, self._deadline_ms(wait_seconds))
        with self._operation():
            found = await self._resolved(reading, members)
        copies = found.copies if isinstance(found, Found) else 0
        if not isinstance(found, Found) or copies < members:
            raise self._reason(AnswersMissingError(members, copies))
        return found.row

    async def reach(self) -> Reach:
        """The number of members, and of those that are alive."""
        with self._operation():
            # One member is always alive: this one. So nothing waits.
            reached = await self._resolved(Await(next(self._tickets), 1, deadline_ms=self._now_ms()), 1)
            return cast(Reach, reached)

    async def receipt(self, receipt: Receipt, copies: int | None, wait_seconds: float) -> Coverage:
        """The members that have a write. Waits until `copies` members have it (None: all), the time is up, or this
        member stops."""
        with self._operation():
            if not wait_seconds or self._closed is not None:
                return await self._located(receipt)
            waiting = Await(next(self._tickets), copies, receipt, deadline_ms=self._deadline_ms(wait_seconds))
            coverage = await self._resolved(waiting, copies or 0)
            return coverage if isinstance(coverage, Coverage) else await self._located(receipt)

    async def _located(self, receipt: Receipt) -> Coverage:
        async with asyncio.timeout(ANSWER_SECONDS):
            waiter: asyncio.Future[InputOutcome] = asyncio.get_running_loop().create_future()
            self._driver.ask(Locate(receipt), waiter)
            return cast(Coverage, _answer(await waiter))

    async def _resolved(self, happened: Await | Read, asked: int) -> Coverage | Reach | Found | None:
        """The result of a wait; None if this member ends it without one. Raises TooManyAskedError."""
        assert happened.deadline_ms is not None, "no client waits for ever"
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[InputOutcome] = loop.create_future()
        over: asyncio.Future[Resolved | None] = loop.create_future()
        seconds = max(0, happened.deadline_ms - self._now_ms()) / 1000
        try:
            async with asyncio.timeout(seconds + ANSWER_SECONDS):
                self._driver.wait(happened, waiter, over)
                refused = _answer(await waiter)
                if isinstance(refused, Reach):
                    # Nothing waits in the core; the end of the member may have come first.
                    over.cancel()
                    raise TooManyAskedError(asked, refused.members)
                # The effects of the batch that begins a wait may end it already.
                resolved = None if self._has_ended and not over.done() else await over
                return None if resolved is None else resolved.outcome
        finally:
            self._driver.tickets.pop(happened.ticket, None)
            if over.cancelled() or not over.done():
                self._driver.post(Withdraw(happened.ticket))


def _answer(outcome: InputOutcome) -> InputOutcome:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
