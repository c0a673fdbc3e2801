"""How a command fails: one line that says what is wrong and what to do, and an exit code; never a traceback."""

from __future__ import annotations

import click

from gossipkv.cli.exit_code import ExitCode


class Failure(click.ClickException):
    """Ends the command."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(message)
        self.exit_code: int = exit_code  # type: ignore[misc]
