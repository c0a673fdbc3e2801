"""The options of commands that talk to a server, and how such a command runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import click

from gossipkv.cli.options.format_option import Command
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.client import (
    Choice,
    Client,
    ClientError,
    ConditionFailedError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)

SERVER_VARIABLE = "GOSSIPKV_SERVER"
SERVER_DEFAULT = "http://127.0.0.1:7080"
_SILENCE_S = 30.0

AnswerT = TypeVar("AnswerT")


def server_options(command: Command) -> Command:
    return click.option(
        "-s",
        "--server",
        "servers",
        multiple=True,
        metavar="URL",
        help=f"Server to ask; may be given several times. The first one that answers is used. "
        f"[{SERVER_VARIABLE}, separated by commas; {SERVER_DEFAULT}]",
    )(command)


def namespace_option(command: Command) -> Command:
    return click.option(
        "-n",
        "--namespace",
        type=click.Choice(["usr", "sys"]),
        default="usr",
        show_default=True,
        help="usr: the users' rows; sys: the store's own rows, read-only.",
    )(command)


def output_option(command: Command) -> Command:
    return click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)(
        command
    )


def servers_of(servers: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The servers of a command: from flags, the environment or the default, in this order."""
    named = list(servers) or environment.get(SERVER_VARIABLE, "").split(",")
    wanted = [server.strip() for server in named if server.strip()] or [SERVER_DEFAULT]
    for server in wanted:
        if not server.startswith(("http://", "https://")):
            raise Failure(f"{server!r} is not the URL of a server, such as {SERVER_DEFAULT}", ExitCode.USAGE)
    return wanted


def command_client(servers: Sequence[str], environment: Mapping[str, str]) -> Client:
    """A client for a command. It asks one server while that answers, so that answers are consistent, in a single
    pass."""
    wanted = servers_of(servers, environment)
    return Client(wanted, choice=Choice.IN_ORDER, timeout_s=_SILENCE_S, deadline_s=None, passes=1)


def ask(
    servers: Sequence[str],
    environment: Mapping[str, str],
    question: Callable[[Client], Coroutine[Any, Any, AnswerT]],
) -> AnswerT:
    """Run what a command does with a client. Raises Failure."""

    async def asked() -> AnswerT:
        async with command_client(servers, environment) as client:
            return await question(client)

    try:
        return asyncio.run(asked())
    except ClientError as error:
        raise failure_of(error) from error


def failure_of(error: ClientError) -> Failure:
    match error:
        case NotFoundError():
            return Failure(str(error), ExitCode.NOT_FOUND)
        case InvalidArgumentError():
            return Failure(str(error), ExitCode.USAGE)
        case ConditionFailedError():
            return Failure(str(error), ExitCode.CONDITION_FAILED)
        case UnavailableError():
            return Failure(f"{error} (--server, {SERVER_VARIABLE})", ExitCode.UNAVAILABLE)
        case _:
            return Failure(str(error))
