"""What holds for all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

# A busy machine makes any example slow: how long one takes says nothing about the code.
settings.register_profile("gossipkv", deadline=None)
settings.load_profile("gossipkv")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one file share what it sets up, so one process runs them; but for those that are marked `apart`, which
    any process may take."""
    for item in items:
        if item.get_closest_marker("apart") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.as_posix()))
