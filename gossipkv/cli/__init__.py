"""The command line: the composition root, and the only reader of the environment and of arguments.

Commands are named here and imported when they are called: `gossipkv --help` and `gossipkv serve` must not wait for what
they do not use.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence

import click

from gossipkv.cli.terminal.exit_code import MEANINGS, ExitCode
from gossipkv.cli.terminal.output import echo, echo_lines

_COMMANDS = {
    "Members": {
        "serve": "Run one member.",
        "dev": "Run a local cluster of real processes, with a live table.",
        "settings": "Show the settings, their sources and their meaning.",
    },
    "Data": {
        "put": "Store a value.",
        "get": "Write a value to standard output, byte for byte.",
        "delete": "Delete a row.",
        "receipt": "Show which members have a write, and wait for it.",
        "list": "List the rows of a table.",
        "watch": "Write the changes in a table as they happen.",
        "tables": "List tables with their rows; `tables get`, `set` and `drop` are about one.",
        "import": "Put rows from a file; an interrupted import resumes.",
        "export": "Write all rows of a table to a file.",
    },
    "Cluster": {
        "members": "List members and their addresses; `members forget` removes one for good.",
        "status": "Compare the members: rows, fingerprints, lag.",
        "set-aside": "List set-aside data; `set-aside merge` puts back rows that only they hold.",
    },
    "Development": {
        "demo": "Demonstrate replication and failures with real processes.",
        "simulate": "Simulate a cluster in virtual time, with faults chosen by a seed.",
    },
}

_MODULES = {
    "serve": "server.serve",
    "dev": "development.dev",
    "settings": "server.settings",
    "put": "rows.rows",
    "get": "rows.rows",
    "delete": "rows.rows",
    "receipt": "rows.receipt",
    "list": "rows.rows",
    "watch": "rows.watch",
    "tables": "rows.rows",
    "import": "files.imports",
    "export": "files.exports",
    "members": "cluster.cluster",
    "status": "cluster.cluster",
    "set-aside": "cluster.set_aside",
    "demo": "development.demo",
    "simulate": "development.simulate",
}
"""The module of each command."""


class _LazyGroup(click.Group):
    """The group of all commands. It imports a command when the command is called, not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [name for section in _COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"gossipkv.cli.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for section, commands in _COMMANDS.items():
            with formatter.section(section):
                formatter.write_dl(list(commands.items()))
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="gossipkv", message="%(version)s")
@click.option(
    "-s", "--server", "servers", multiple=True, metavar="URL", help="Same as the --server option of the commands."
)
@click.pass_context
def group(context: click.Context, servers: tuple[str, ...]) -> None:
    """A key-value store that replicates by gossip.

    To try it, run `gossipkv dev` in one terminal, and in another `gossipkv put colours sky blue` and `gossipkv get
    colours sky`.
    """
    if context.obj is None:
        context.obj = dict(os.environ)
    if servers:
        from gossipkv.cli.options.server_options import with_servers

        context.obj = with_servers(context.obj, servers)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    # The first process of a container is not ended by a signal that it does not handle.
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = run(arguments)
    except (Exception, KeyboardInterrupt) as error:
        code = reported(error)
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code. What it raises is for `reported`."""
    words = None if arguments is None else list(arguments)
    code = group.main(args=words, prog_name="gossipkv", standalone_mode=False)
    return int(code) if isinstance(code, int) else ExitCode.OK


def reported(error: BaseException) -> int:
    """Say why a command has ended; returns its exit code."""
    match error:
        case click.exceptions.NoArgsIsHelpError():
            echo_lines(error.ctx.get_help())
            return ExitCode.USAGE
        case click.ClickException():
            error.show()
            return error.exit_code
        case click.Abort() | KeyboardInterrupt():
            echo("interrupted", err=True)
            return ExitCode.INTERRUPTED
        case BrokenPipeError():
            # The reader of the output has closed it. What is still buffered must not fail at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitCode.OK
        case _:
            echo(f"Error: {_fault(error)}", err=True)
            return ExitCode.ERROR


def _terminated(*_: object) -> None:
    sys.exit(ExitCode.TERMINATED)


def _fault(error: BaseException) -> str:
    """Describe a bug in this program in one line, with its place in the source."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
    return f"this is a fault of gossipkv, please report it: {what}"
