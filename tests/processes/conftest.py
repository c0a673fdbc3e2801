from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes.command import Command

Start = Callable[..., Command]
HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real members take the machine's cores: one test with such members at a time, beside whatever else runs."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.xdist_group("processes"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts commands, which do not outlive the test."""
    commands: list[Command] = []

    def start(*arguments: object, stdin: int = subprocess.DEVNULL) -> Command:
        commands.append(Command(tmp_path / f"output-{len(commands)}", *arguments, stdin=stdin))
        return commands[-1]

    yield start
    for command in commands:
        command.end_for_sure()
