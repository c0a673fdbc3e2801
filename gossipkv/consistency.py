"""Writes that wait for copies, reads of several members, receipts: what takes time of these.

The core decides; here a ticket is given out for each wait, its end taken from the effects of a batch, and the time
kept. A wait that runs out is withdrawn, so nothing is tracked for anyone who has gone.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import cast

from gossipkv.committer import Committer, Outcome
from gossipkv.core.causality import Dot
from gossipkv.core.inputs import Await, Locate, Read, Withdraw
from gossipkv.core.quorum import Found
from gossipkv.core.receipts import Coverage, Reach, Receipt
from gossipkv.core.resolution import Resolved
from gossipkv.core.row import Row
from gossipkv.core.write import Operation, Result, Written
from gossipkv.metrics import Metrics

Store = Callable[[str, Sequence[Operation], int], Awaitable[list[Result] | Reach]]
"""Stores operations here, or says that fewer members are alive than copies are asked for."""


class TooManyAskedError(Exception):
    """More copies or answers are asked for than there are members that have not left."""

    def __init__(self, asked: int, members: int) -> None:
        super().__init__(f"{asked} members are asked for, and the cluster has {members}")


class TooFewMembersError(Exception):
    """Nothing was stored: too few members were alive for as long as the write would wait."""

    def __init__(self, asked: int, answering: int) -> None:
        super().__init__(f"{asked} copies are asked for, and {answering} members are alive; nothing was stored")


class TooFewCopiesError(Exception):
    """The write stands here, and goes on replicating; so many copies were not there in time."""

    def __init__(self, asked: int, results: list[Result], coverage: Coverage) -> None:
        super().__init__(f"{asked} copies are asked for, and {coverage.copies} were known of in time; it is stored")
        self.results = results
        self.coverage = coverage


class TooFewAnswersError(Exception):
    """Too few members answered a read in time."""

    def __init__(self, asked: int, answered: int) -> None:
        super().__init__(f"{asked} members are asked for, and {answered} answered in time")


class Consistency:
    """Belongs to one node and runs on its event loop. Every method raises StorageError, StepFailedError too."""

    def __init__(self, committer: Committer, store: Store, metrics: Metrics) -> None:
        self._committer = committer
        self._store = store
        self._writes = metrics.quorum_writes.labels
        self._tickets = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Coverage | Reach | Found]] = {}

    def resolve(self, resolved: Iterable[Resolved]) -> None:
        """Tell those who wait."""
        for ticket, outcome in resolved:
            future = self._waiting.get(ticket)
            if future is not None and not future.done():
                future.set_result(outcome)

    async def write(
        self, shard: str, operations: Sequence[Operation], copies: int, wait_seconds: float
    ) -> list[Result]:
        """Raises TooManyAskedError, TooFewMembersError, TooFewCopiesError, and what storing raises."""
        deadline = asyncio.get_running_loop().time() + wait_seconds
        while isinstance(stored := await self._store(shard, operations, copies), Reach):
            _check(copies, stored)
            reached = await self._resolved(lambda ticket: Await(ticket, copies), copies, deadline)
            if reached is None or (isinstance(reached, Reach) and reached.answering < copies):
                self._writes("nothing_stored").inc()
                raise TooFewMembersError(copies, 0 if reached is None else reached.answering)
        written = {
            operation.address: result.dot
            for operation, result in zip(operations, stored, strict=True)
            if isinstance(result, Written)
        }
        if written:
            receipt = Receipt(shard, max(written.values()))
            await self._await_copies(receipt, written, copies, stored, deadline)
        return stored

    async def _await_copies(
        self,
        receipt: Receipt,
        written: dict[bytes, Dot],
        copies: int,
        stored: list[Result],
        deadline: float,
    ) -> None:
        coverage = await self._resolved(lambda ticket: Await(ticket, copies, receipt, written), copies, deadline)
        if isinstance(coverage, Coverage) and coverage.copies >= copies:
            self._writes("copied").inc()
            return
        self._writes("stored_here").inc()
        if not isinstance(coverage, Coverage):
            coverage = await self._located(receipt)
        raise TooFewCopiesError(copies, stored, coverage)

    async def read(self, shard: str, address: bytes, members: int, wait_seconds: float) -> Row | None:
        """The merge of what so many members hold. Raises TooManyAskedError, TooFewAnswersError."""
        deadline = asyncio.get_running_loop().time() + wait_seconds
        found = await self._resolved(lambda ticket: Read(ticket, shard, address, members), members, deadline)
        if not isinstance(found, Found) or len(found.answered) + 1 < members:
            raise TooFewAnswersError(members, 1 + (len(found.answered) if isinstance(found, Found) else 0))
        return found.row

    async def receipt(self, receipt: Receipt, copies: int | None, wait_seconds: float) -> Coverage:
        """Who has a write, once so many members have it, all where None, or the time is over."""
        if not wait_seconds:
            return await self._located(receipt)
        deadline = asyncio.get_running_loop().time() + wait_seconds
        coverage = await self._resolved(lambda ticket: Await(ticket, copies, receipt), copies or 0, deadline)
        return coverage if isinstance(coverage, Coverage) else await self._located(receipt)

    async def _located(self, receipt: Receipt) -> Coverage:
        return cast(Coverage, _answer(await self._committer.ask(Locate(receipt))))

    async def _resolved(
        self, happened: Callable[[int], Await | Read], asked: int, deadline: float
    ) -> Coverage | Reach | Found | None:
        """What a wait came to, or how it stood at the deadline. Raises TooManyAskedError."""
        ticket = next(self._tickets)
        future = self._waiting[ticket] = asyncio.get_running_loop().create_future()
        is_over = False
        try:
            refused = _answer(await self._committer.ask(happened(ticket)))
            if isinstance(refused, Reach):
                is_over = True
                raise TooManyAskedError(asked, refused.members)
            await asyncio.wait({future}, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
            standing = None if future.done() else _answer(await self._committer.ask(Withdraw(ticket)))
            is_over = True
            # It may have been resolved in the batches before.
            return future.result() if future.done() else cast(Coverage | Reach | Found | None, standing)
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
