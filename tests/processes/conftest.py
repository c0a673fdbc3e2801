from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes.command import Command

Start = Callable[..., Command]


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
