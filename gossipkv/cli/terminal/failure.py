"""How a command fails: one line that says what is wrong and what to do, and an exit code; never a traceback."""

from __future__ import annotations

from typing import IO, Any

import click

from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.output import echo


class Failure(click.ClickException):
    """Ends the command."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(message)
        self.exit_code: int = exit_code  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002
        echo(f"Error: {self.message}", err=True)
