"""Which of the jobs that wait form a batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import pytest

from gossipkv.core.inputs import Tick
from gossipkv.member.batches import BatchBounds, Frame, Job, gathered

BOUNDS = BatchBounds(inputs_max=3, frames_bytes=10)


def frame(size_bytes: int) -> Job:
    return Job(Frame(bytes(size_bytes)), None)


def tick() -> Job:
    return Job(Tick(), None)


def taken_from(jobs: deque[Job]) -> Iterator[Job]:
    """As both a queue and an inbox are read: what is asked for is gone."""
    while jobs:
        yield jobs.popleft()


@pytest.mark.parametrize(
    ("waiting", "taken"),
    [
        pytest.param([], 0, id="nothing waits"),
        pytest.param([tick(), frame(9)], 2, id="all fit"),
        pytest.param([tick() for _ in range(3)], 3, id="as many inputs as a batch takes"),
        pytest.param([tick() for _ in range(5)], 3, id="more inputs than a batch takes"),
        pytest.param([frame(5), tick(), frame(5)], 3, id="as many bytes of frames as a batch takes"),
        pytest.param([frame(5), frame(5), tick()], 2, id="nothing follows the last frame"),
        pytest.param([frame(100), tick()], 1, id="a frame above the bound comes alone"),
        pytest.param([tick(), frame(100), tick()], 2, id="a frame above the bound is the last"),
    ],
)
def test_a_batch_takes_the_first_jobs_up_to_its_bounds_and_leaves_the_rest(waiting: list[Job], taken: int) -> None:
    jobs = deque(waiting)
    assert gathered(taken_from(jobs), BOUNDS) == waiting[:taken]
    assert list(jobs) == waiting[taken:]


def test_batch_after_batch_takes_every_job_once_and_in_order() -> None:
    waiting = [frame(size) if size % 3 else tick() for size in range(20)]
    jobs, batches = deque(waiting), []
    while jobs:
        batches.append(gathered(taken_from(jobs), BOUNDS))
    assert [job for batch in batches for job in batch] == waiting
    assert max(len(batch) for batch in batches) == BOUNDS.inputs_max
