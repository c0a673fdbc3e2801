"""The fast unit tests as judges: collected once by pytest, and run one by one in forks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.mutation.child import limit_cpu

FAST = ("tests/core", "tests/codec", "tests/api", "tests/storage", "tests/contracts")
PROFILE = "mutation"
CPU_SECONDS_MIN = 5.0
CPU_FACTOR = 10
"""A test may take this many times as long as without a fault, and this long at least."""


@dataclass(frozen=True, slots=True)
class UnitTest:
    item: pytest.Item
    seconds: float = 0.0
    marks: bytes = b""
    """What ran in it."""


class Tests:
    """A plugin of pytest that has the collected tests run by someone else."""

    def __init__(self, work: Callable[[pytest.Session], None]) -> None:
        self._work = work

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        """The same examples for each fault, and no search for smaller ones."""
        # Imported by its plugin of pytest by now; pytest warns if it was imported before.
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile(PROFILE, deadline=None, derandomize=True, database=None, phases=phases)
        settings.load_profile(PROFILE)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._work(session)
        return True


def collect(paths: list[str], work: Callable[[pytest.Session], None]) -> int:
    """Call `work` with the tests under these paths, collected and set up as pytest does; returns pytest's code."""
    options = ["-s", "-qq", "--no-header", "--no-summary", "-p", "no:cacheprovider", "-n0", "-o", "timeout=0"]
    return pytest.main([*options, *paths], plugins=[Tests(work)])


def passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Run a test. Fixtures that the following one shares are kept."""
    item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
    return not item.session.testsfailed


def recorded(items: list[pytest.Item], marks: bytearray) -> list[tuple[str, float, bytes]]:
    """Run all tests; returns the name of each, how long it took, and what ran in it."""
    found = []
    for item, following in zip(items, [*items[1:], None], strict=True):
        marks[:] = bytes(len(marks))
        began = time.process_time()
        if not passes(item, following):
            raise AssertionError(f"{item.nodeid} fails without any fault")
        found.append((item.nodeid, time.process_time() - began, bytes(marks)))
    return found


def killer(tests: list[UnitTest]) -> str | None:
    """Run these tests up to the first that fails; returns its name."""
    for test in tests:
        limit_cpu(CPU_SECONDS_MIN + CPU_FACTOR * test.seconds)
        if not passes(test.item, None):
            return test.item.nodeid
    return None
