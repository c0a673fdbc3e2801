"""What holds for all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# A busy machine makes any example slow: how long one takes says nothing about the code.
settings.register_profile("gossipkv", deadline=None)
settings.load_profile("gossipkv")


SHARED_OUT = "tests/simulation/test_mutants.py"
"""Each of its tests takes long and shares nothing with the others."""


class ByFile(LoadFileScheduling):
    """Tests of one file share what it sets up, so one process runs them; but for those that any process may take."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(SHARED_OUT) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)
