"""A directory of stand-ins for each test that wants one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deployment.stand_ins import Tools


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    directory = tmp_path / "tools"
    directory.mkdir()
    return Tools(directory, ("aws", "docker", "eksctl", "git", "helm", "kubectl"))
