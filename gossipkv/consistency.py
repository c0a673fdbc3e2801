"""The waiting part of writes with several copies, reads of several members, and receipts.

The core decides when a wait is over. This module gives each wait a ticket, takes its result from the effects of a
batch, and keeps the deadline. A wait that times out is withdrawn, so nothing is tracked for a client that has gone.

No wait outlives the member. The core ends all waits when the member leaves or is fenced. If the core cannot end a wait,
because the storage has failed or is stuck, this module ends it and tells the client what is known. A write that has
been stored is answered only with its results or with TooFewCopiesError, which says that the write is stored.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import cast

from gossipkv.committer import Committer, Outcome, StoppedError
from gossipkv.core.inputs import Await, Locate, Read, Withdraw
from gossipkv.core.model.causality import Dot
from gossipkv.core.model.member import ALIVE
from gossipkv.core.model.row import Row
from gossipkv.core.model.write import Operation, Result, Written
from gossipkv.core.store.storage import Identity, StorageError
from gossipkv.core.waits.answers import Coverage, Found, Holder, Reach, Receipt, Resolved
from gossipkv.group_commit import StepFailedError
from gossipkv.metrics import Metrics
from gossipkv.rows.errors import Kind, RequestError

Store = Callable[[str, Sequence[Operation], int], Awaitable[list[Result] | Reach]]
"""Stores operations here; returns a Reach, and stores nothing, if fewer members are alive than the copies asked for."""


ANSWER_SECONDS = 5.0
"""How long after its deadline a wait gives the storage to report its state."""


class TooManyAskedError(RequestError):
    """More copies or answers are asked for than there are members that have not left."""

    kind = Kind.TOO_MANY_ASKED

    def __init__(self, asked: int, members: int) -> None:
        super().__init__(f"{asked} members are asked for, and the cluster has {members}")


class TooFewMembersError(RequestError):
    """Nothing was stored: too few members were alive for as long as the write would wait."""

    kind = Kind.TOO_FEW_MEMBERS

    def __init__(self, asked: int, answering: int) -> None:
        super().__init__(
            f"{asked} copies are asked for, and {answering} members are alive; nothing was stored", stored=False
        )


class TooFewCopiesError(RequestError):
    """The write is stored here and goes on replicating. The copies asked for were not confirmed in time, or before the
    member stopped."""

    kind = Kind.TOO_FEW_COPIES

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


class TooFewAnswersError(RequestError):
    """Too few members answered a read in time."""

    kind = Kind.TOO_FEW_ANSWERS

    def __init__(self, asked: int, answered: int) -> None:
        super().__init__(
            f"{asked} members are asked for, and {answered} answered in time "
            "(a member whose copy cannot be read, or lacks something, does not count)"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Wait:
    over: asyncio.Future[Coverage | Reach | Found]
    ended: asyncio.Future[None]
    """Done when this member ends the wait without a result from its core."""


class Consistency:
    """The waits of one node; runs on its event loop. Every method also raises StorageError, StepFailedError,
    StoppedError if the member stops before the wait is over, and TimeoutError if the storage does not answer."""

    def __init__(self, committer: Committer, store: Store, identity: Callable[[], Identity], metrics: Metrics) -> None:
        self._committer = committer
        self._store = store
        self._identity = identity
        self._writes = metrics.quorum_writes.labels
        self._tickets = itertools.count(1)
        self._waiting: dict[int, _Wait] = {}
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
        """End every wait. Each client gets the current state of its wait."""
        self._has_ended = True
        for wait in self._waiting.values():
            if not wait.ended.done():
                wait.ended.set_result(None)

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

    def resolve(self, resolved: Iterable[Resolved]) -> None:
        """Pass the results to the waits."""
        for ticket, outcome, _ in resolved:
            wait = self._waiting.get(ticket)
            if wait is not None and not wait.over.done():
                wait.over.set_result(outcome)

    # Requests to the cluster

    async def write(
        self, shard: str, operations: Sequence[Operation], copies: int, wait_seconds: float
    ) -> list[Result]:
        """Raises TooManyAskedError, TooFewMembersError, TooFewCopiesError, and what storing raises."""
        deadline = asyncio.get_running_loop().time() + wait_seconds
        with self._operation():
            stored = await self._stored(shard, operations, copies, deadline)
            written = {
                operation.address: result.dot
                for operation, result in zip(operations, stored, strict=True)
                if isinstance(result, Written)
            }
            if written:
                await self._await_copies(Receipt(shard, max(written.values())), written, copies, stored, deadline)
            return stored

    async def _stored(self, shard: str, operations: Sequence[Operation], copies: int, deadline: float) -> list[Result]:
        """The results of a write, once enough members are alive to store it."""
        while isinstance(stored := await self._store(shard, operations, copies), Reach):
            _check(copies, stored)
            reached = await self._resolved(lambda ticket: Await(ticket, copies), copies, deadline)
            if not isinstance(reached, Reach) or reached.answering < copies:
                self._writes("nothing_stored").inc()
                answering = reached.answering if isinstance(reached, Reach) else 0
                raise self._reason(TooFewMembersError(copies, answering))
        return stored

    async def _await_copies(
        self,
        receipt: Receipt,
        written: dict[bytes, Dot],
        copies: int,
        stored: list[Result],
        deadline: float,
    ) -> None:
        try:
            coverage = await self._copied(receipt, written, copies, deadline)
        except (StorageError, StepFailedError, StoppedError, TooManyAskedError, TimeoutError):
            # The write is stored, whatever has failed since: it must not look like a write that was refused.
            coverage = self._own_copy(receipt)
        if coverage.copies >= copies:
            self._writes("copied").inc()
            return
        self._writes("stored_here").inc()
        raise TooFewCopiesError(copies, stored, coverage, self._closed)

    async def _copied(self, receipt: Receipt, written: dict[bytes, Dot], copies: int, deadline: float) -> Coverage:
        coverage = await self._resolved(lambda ticket: Await(ticket, copies, receipt, written), copies, deadline)
        return coverage if isinstance(coverage, Coverage) else await self._located(receipt)

    def _own_copy(self, receipt: Receipt) -> Coverage:
        """The coverage of a write stored here, when nothing can be asked."""
        identity = self._identity()
        return Coverage(receipt, (Holder(identity.member, ALIVE, True, identity.replica, True),))

    async def read(self, shard: str, address: bytes, members: int, wait_seconds: float) -> Row | None:
        """The merged copies of `members` members. Raises TooManyAskedError, TooFewAnswersError."""
        if self._closed is not None:
            raise self._closed
        deadline = asyncio.get_running_loop().time() + wait_seconds
        with self._operation():
            found = await self._resolved(lambda ticket: Read(ticket, shard, address, members), members, deadline)
        copies = found.copies if isinstance(found, Found) else 0
        if not isinstance(found, Found) or copies < members:
            raise self._reason(TooFewAnswersError(members, copies))
        return found.row

    async def reach(self) -> Reach:
        """The number of members, and of those that are alive."""
        with self._operation():
            # One member is always alive: this one. So nothing waits.
            now = asyncio.get_running_loop().time()
            return cast(Reach, await self._resolved(lambda ticket: Await(ticket, 1), 1, now))

    async def receipt(self, receipt: Receipt, copies: int | None, wait_seconds: float) -> Coverage:
        """The members that have a write. Waits until `copies` members have it (None: all), the time is up, or this
        member stops."""
        with self._operation():
            if not wait_seconds or self._closed is not None:
                return await self._located(receipt)
            deadline = asyncio.get_running_loop().time() + wait_seconds
            coverage = await self._resolved(lambda ticket: Await(ticket, copies, receipt), copies or 0, deadline)
            return coverage if isinstance(coverage, Coverage) else await self._located(receipt)

    async def _located(self, receipt: Receipt) -> Coverage:
        async with asyncio.timeout(ANSWER_SECONDS):
            return cast(Coverage, _answer(await self._committer.ask(Locate(receipt))))

    async def _resolved(
        self, happened: Callable[[int], Await | Read], asked: int, deadline: float
    ) -> Coverage | Reach | Found | None:
        """The result of a wait, or its state at the deadline. Raises TooManyAskedError."""
        loop = asyncio.get_running_loop()
        ticket = next(self._tickets)
        wait = self._waiting[ticket] = _Wait(loop.create_future(), loop.create_future())
        is_over = False
        try:
            async with asyncio.timeout_at(deadline + ANSWER_SECONDS):
                refused = _answer(await self._committer.ask(happened(ticket)))
                if isinstance(refused, Reach):
                    is_over = True
                    raise TooManyAskedError(asked, refused.members)
                seconds = 0.0 if self._has_ended else max(0.0, deadline - loop.time())
                await asyncio.wait((wait.over, wait.ended), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                standing = None if wait.over.done() else _answer(await self._committer.ask(Withdraw(ticket)))
            is_over = True
            # It may have been resolved in the batches before.
            return wait.over.result() if wait.over.done() else cast(Coverage | Reach | Found | None, standing)
        finally:
            del self._waiting[ticket]
            if not is_over:
                self._committer.post(Withdraw(ticket))


def _answer(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _check(asked: int, reach: Reach) -> None:
    if asked > reach.members:
        raise TooManyAskedError(asked, reach.members)
