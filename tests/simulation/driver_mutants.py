"""Deliberate faults in the driver: in what the node and the simulation share between the core and those who ask it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from gossipkv.core.effects import Effects, Send
from gossipkv.core.inputs import Answer, Await, Input, Write
from gossipkv.core.store.storage import StorageFullError
from gossipkv.core.waits.answers import Resolved
from gossipkv.core.watch.watching import WatchEvent
from gossipkv.member import group_commit
from gossipkv.member.batches import (
    BatchBounds,
    Decoded,
    InputOutcome,
    Job,
    Published,
    Waiter,
    gathered,
)
from gossipkv.member.driver import Driver, Inbox
from gossipkv.member.group_commit import Batch, GroupCommit, PreparedBatch, StepFailedError, Steps, joined
from gossipkv.member.quorum_write import QuorumWrite
from gossipkv.member.watches import OpenWatch
from gossipkv.simulation.scenarios.scenario import Emphasis
from gossipkv.simulation.world import process
from gossipkv.simulation.world.process import Process
from tests.simulation.mutants import Mutant

# Batches

_await_commit = Process._await_commit
_publish = Driver.publish
_resolve = Driver._resolve
_give_back = Inbox.give_back
_begin = Driver.begin


def _exchange_outcomes(driver: Driver, batch: Published) -> list[StepFailedError]:
    """Hand the results of one write to the next, where both have as many."""
    outcomes = list(batch.outcomes)
    writes = [place for place, (job, outcome) in enumerate(outcomes) if job.operations and isinstance(outcome, list)]
    for one, other in pairwise(writes):
        (job, outcome), (next_job, next_outcome) = outcomes[one], outcomes[other]
        if job.operations == next_job.operations:
            outcomes[one], outcomes[other] = (job, next_outcome), (next_job, outcome)
            break
    return _publish(driver, replace(batch, outcomes=outcomes))


def _keep_the_snapshot(driver: Driver, batch: Published) -> list[StepFailedError]:
    return _publish(driver, replace(batch, effects=replace(batch.effects, snapshot=None)))


def _show_before_commit(process: Process, prepared: PreparedBatch, taken: Decoded) -> None:
    assert prepared.batch.effects.snapshot is not None
    process.driver.snapshot = prepared.batch.effects.snapshot
    _await_commit(process, prepared, taken)


def _tell_before_commit(process: Process, prepared: PreparedBatch, taken: Decoded) -> None:
    process.watches.publish(prepared.batch.effects.changes)
    prepared.batch.effects.changes = []
    _await_commit(process, prepared, taken)


def _resolve_before_commit(process: Process, prepared: PreparedBatch, taken: Decoded) -> None:
    process.driver._resolve(prepared.batch.effects.resolved)
    _await_commit(process, prepared, taken)


def _resolve_the_first(driver: Driver, resolved: Sequence[Resolved]) -> None:
    _resolve(driver, resolved[:1])


def _answer_when_fenced(driver: Driver, job: Job, outcome: InputOutcome) -> bool:
    driver.inbox.give_back(job)
    if job.waiter is None or job.waiter.done():
        return False
    job.waiter.set_result(outcome)
    return True


def _keep_what_frames_take(inbox: Inbox, job: Job) -> None:
    if job.operations:
        _give_back(inbox, job)


def _keep_what_failures_take(driver: Driver, job: Job, outcome: InputOutcome) -> bool:
    """Give back nothing for an input that has failed."""
    failed = isinstance(outcome, Exception)
    return _conclude(driver, Job(job.payload, job.waiter) if failed else job, outcome)


_conclude = Driver.conclude

# Gathering


def _drop_the_next(waiting: Iterator[Job], bounds: BatchBounds) -> list[Job]:
    """See that a batch is full by the job that it does not hold."""
    jobs = gathered(waiting, bounds)
    next(waiting, None)
    return jobs


# Division

_divide = GroupCommit._divide


def _divide_backwards(committer: GroupCommit, inputs: Sequence[Input], error: StorageFullError, now_ms: int) -> Steps:
    """Run the second half first; each outcome stays with its input."""
    if len(inputs) == 1:
        return (yield from _divide(committer, inputs, error, now_ms))
    middle = len(inputs) // 2
    second = yield from committer._run_whole(inputs[middle:], now_ms)
    first = yield from committer._run_whole(inputs[:middle], now_ms)
    return joined([first, second])


def _lose_the_rest(committer: GroupCommit, inputs: Sequence[Input], error: StorageFullError, now_ms: int) -> Steps:
    """Run only the first half. Clients that write are told an error, all others nothing."""
    if len(inputs) == 1:
        return (yield from _divide(committer, inputs, error, now_ms))
    middle = len(inputs) // 2
    first = yield from committer._run_whole(inputs[:middle], now_ms)
    rest: list[Answer | Exception] = [error if isinstance(one, Write) else None for one in inputs[middle:]]
    return joined([first, Batch(rest, Effects())])


def _lose_the_effects_of_the_rest(batches: Sequence[Batch]) -> Batch:
    return replace(joined(batches), effects=joined(batches[:1]).effects)


# Exchanges


def _forget_the_failure(driver: Driver, exchange: int, reason: str) -> None:
    driver.exchanges.pop(exchange, None)


def _forget_the_answer(driver: Driver, exchange: int, answer: bytes) -> None:
    driver.exchanges.pop(exchange, None)


def _begin_all_but_the_last(driver: Driver, sends: Sequence[Send[bytes]]) -> Sequence[Send[bytes]]:
    return _begin(driver, sends)[:-1] if len(sends) > 1 else _begin(driver, sends)


def _wait_for_no_end(driver: Driver, happened: Any, waiter: Waiter, over: Waiter) -> None:
    driver.ask(happened, waiter)


# Waits

_wait_after = QuorumWrite.wait_after


def _wait_for_one_copy_less(writing: QuorumWrite, outcome: Answer | Exception, tickets: Iterator[int]) -> Await | None:
    return _wait_after(replace(writing, copies=max(1, writing.copies - 1)), outcome, tickets)


# Watches


def _join_anyway(watch: OpenWatch, position: Any) -> None:
    watch.position = position
    watch.is_live = True
    watch._watches.behind.pop(watch, None)


def _pass_over(_: OpenWatch, __: Any) -> None:
    """The watcher is told nothing, and goes on as before."""


def _drop_when_full(watch: OpenWatch, told: WatchEvent) -> None:
    if not watch._buffer:
        _put(watch, told)


_put = OpenWatch.put


def _take_newest_first(watch: OpenWatch) -> list[Any]:
    return _take(watch)[::-1]


_take = OpenWatch.take


WATCHES = "watches"
DIVIDED = ("fail_commit", "run_full")
BOUNDS = "bounds"
PAUSES = ("pause",)

DRIVER_MUTANTS = (
    Mutant(
        "a write is told what came of another",
        Driver,
        "publish",
        _exchange_outcomes,
        "acknowledged_writes",
        frequent_faults=PAUSES,
    ),
    Mutant("a snapshot shows a batch under way", Process, "_await_commit", _show_before_commit, "snapshots"),
    Mutant("a snapshot stays as it was", Driver, "publish", _keep_the_snapshot, "snapshots"),
    Mutant("watchers are told before the commit", Process, "_await_commit", _tell_before_commit, WATCHES),
    Mutant("a read ends before its commit", Process, "_await_commit", _resolve_before_commit, "quorum_reads"),
    Mutant(
        "of the waits that end together one is told",
        Driver,
        "_resolve",
        _resolve_the_first,
        "waits",
        frequent_faults=PAUSES,
    ),
    Mutant("a write waits for one copy less", QuorumWrite, "wait_after", _wait_for_one_copy_less, "receipts"),
    Mutant("a wait is not noted", Driver, "wait", _wait_for_no_end, "waits"),
    Mutant(
        "a member that is fenced answers",
        Driver,
        "conclude",
        _answer_when_fenced,
        "fences",
        Emphasis.FORGOTTEN,
        seeds=(2, *range(6)),
    ),
    Mutant("a job beyond the bound of a batch is dropped", process, "gathered", _drop_the_next, BOUNDS),
    Mutant(
        "the second half of a batch is run first",
        GroupCommit,
        "_divide",
        _divide_backwards,
        "write_order",
        frequent_faults=DIVIDED,
    ),
    Mutant(
        "the rest of a batch that is divided is lost",
        GroupCommit,
        "_divide",
        _lose_the_rest,
        "waits",
        frequent_faults=DIVIDED,
        seeds=(18, *range(18)),
    ),
    Mutant(
        "the effects of the rest of a batch are lost",
        group_commit,
        "joined",
        _lose_the_effects_of_the_rest,
        BOUNDS,
        frequent_faults=DIVIDED,
    ),
    Mutant("frames keep their room in the inbox", Inbox, "give_back", _keep_what_frames_take, BOUNDS),
    Mutant(
        "what fails keeps its room in the inbox",
        Driver,
        "conclude",
        _keep_what_failures_take,
        BOUNDS,
        frequent_faults=("fail_commit",),
    ),
    Mutant("the core is not told that an exchange failed", Driver, "failed", _forget_the_failure, BOUNDS),
    Mutant("the core is not given an answer", Driver, "answered", _forget_the_answer, BOUNDS),
    Mutant("an exchange of a batch is not carried out", Driver, "begin", _begin_all_but_the_last, BOUNDS),
    Mutant("a watcher joins a tail that has moved on", OpenWatch, "join", _join_anyway, WATCHES),
    Mutant(
        "a watcher that has fallen behind does not read",
        OpenWatch,
        "fall_behind",
        _pass_over,
        WATCHES,
        seeds=(17, *range(17)),
    ),
    Mutant("a watcher that must begin anew goes on", OpenWatch, "begin_anew", _pass_over, WATCHES),
    Mutant("a buffer holds one event and drops the others", OpenWatch, "put", _drop_when_full, WATCHES),
    Mutant("buffered events are taken in reverse", OpenWatch, "take", _take_newest_first, WATCHES),
)
