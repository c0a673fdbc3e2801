"""A process that runs out of file descriptors says so once, and once when that has ended."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from gossipkv.member.descriptors import LOOK_SECONDS, Descriptors, count_open


@pytest.fixture
def few_descriptors() -> Iterator[list[int]]:
    """Nearly all that the process may have are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                break
        yield taken
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_real_shortage_is_counted_though_no_descriptor_is_left_to_count_with(few_descriptors: list[int]) -> None:
    descriptors = Descriptors(time.monotonic)
    with capture_logs() as logs:
        descriptors.look()
    assert [line["event"] for line in logs] == ["file_descriptors_short"]
    status = descriptors.status()
    assert (status.open, status.limit) == (256, 256)
    assert status.short_seconds is not None


def test_a_shortage_is_logged_once_when_it_begins_and_once_when_it_ends() -> None:
    now = open_ = 0

    def look(count: int, seconds: float = LOOK_SECONDS) -> list[tuple[str, str]]:
        nonlocal now, open_
        now, open_ = now + int(seconds), count
        with capture_logs() as logs:
            descriptors.look()
        return [(line["event"], line["log_level"]) for line in logs]

    descriptors = Descriptors(lambda: now, lambda: open_, lambda: 100)
    assert look(89) == []
    assert look(95, 1) == [], "it is not counted again at once"
    assert look(95) == [("file_descriptors_short", "warning")]
    assert look(99) == []
    assert descriptors.status().short_seconds == LOOK_SECONDS
    assert look(85) == []
    assert look(79) == [("file_descriptors_enough_again", "warning")]
    assert descriptors.status().short_seconds is None


def test_the_descriptors_of_this_process_are_counted() -> None:
    before = count_open()
    extra = os.dup(0)
    after = count_open()
    os.close(extra)
    assert before is not None
    assert after == before + 1
