"""The options of commands that talk to a server, and how such a command runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

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
    TooFewCopiesError,
    UnavailableError,
)
from gossipkv.client.errors import error_of_request, type_of
from gossipkv.rows.arguments.arguments import server_urls
from gossipkv.rows.arguments.invalid import InvalidInputError
from gossipkv.rows.errors import RequestError

SERVER_VARIABLE = "GOSSIPKV_SERVER"
SERVER_DEFAULT = "http://127.0.0.1:7080"
_NAMED_BY = f"--server, {SERVER_VARIABLE}"
_SILENCE_S = 30.0

AnswerT = TypeVar("AnswerT")
Given = ParamSpec("Given")


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
    # An empty flag is a mistake, as of a script with an unset variable. The environment may be empty.
    named = [part for server in servers for part in server.split(",")]
    named = named or [part for part in environment.get(SERVER_VARIABLE, "").split(",") if part.strip()]
    try:
        return server_urls("servers", [server.strip() for server in named or [SERVER_DEFAULT]])
    except InvalidInputError as error:
        raise Failure(f"{error} ({_NAMED_BY})", ExitCode.USAGE) from error


def check(rule: Callable[Given, object], *given: Given.args, **named: Given.kwargs) -> None:
    """Apply a rule of all interfaces before a server is asked. Raises Failure."""
    try:
        rule(*given, **named)
    except RequestError as error:
        raise failure_of(error_of_request(error)) from error


def with_servers(environment: dict[str, str], servers: Sequence[str]) -> dict[str, str]:
    """The environment of the commands of a group, for which the group has named servers. Raises Failure."""
    return {**environment, SERVER_VARIABLE: ",".join(servers_of(servers, environment))} if servers else environment


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
        case NotFoundError() if type_of(error.problem):
            return Failure(str(error), ExitCode.NOT_FOUND)
        case InvalidArgumentError():
            return Failure(str(error), ExitCode.USAGE)
        case ConditionFailedError():
            return Failure(str(error), ExitCode.CONDITION_FAILED)
        case TooFewCopiesError():
            wait = f"; to wait for it: gossipkv receipt {error.receipt} --wait all" if error.receipt else ""
            return Failure(f"{error}{wait}", ExitCode.NOT_CONVERGED)
        case UnavailableError():
            remedy = "" if error.problem or error.may_stand else "; start a member there, or name another server"
            return Failure(f"{error}{remedy} ({_NAMED_BY})", ExitCode.UNAVAILABLE)
        case _:
            return Failure(str(error))
