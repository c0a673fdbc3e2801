"""`gossipkv receipt`, and what commands that write say and wait for."""

from __future__ import annotations

from typing import Any

import click

from gossipkv.cli.options.format_option import Command
from gossipkv.cli.options.number import NUMBER
from gossipkv.cli.options.server_options import ask, check, output_option, server_options
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.cli.terminal.output import echo, echo_json, print_table
from gossipkv.client import Client, Written
from gossipkv.rows.arguments.copies import waited_for
from gossipkv.rows.arguments.durations import wait_ms_of


def copies_options(command: Command) -> Command:
    wait = click.option("--write-wait", metavar="TIME", help="How long to wait for -w members, such as 500ms or 2s.")
    copies = click.option("-w", type=NUMBER, help="Succeed once this many members have the write on disk.")
    return copies(wait(command))


def wait_option(command: Command) -> Command:
    return click.option(
        "--wait", metavar="all|N", callback=_checked_wait, help="After the write, wait until this many members have it."
    )(command)


def _checked_wait(_: click.Context, __: click.Parameter, wait: str | None) -> str | None:
    """Raises Failure before anything is written."""
    if wait is not None:
        check(waited_for, wait)
    return wait


def _checked_timeout(_: click.Context, __: click.Parameter, timeout: str | None) -> str | None:
    if timeout is not None:
        check(wait_ms_of, "timeout", timeout)
    return timeout


async def told(client: Client, written: Written, wait: str | None) -> dict[str, Any] | None:
    """Write the receipt to standard error. Returns the members that have the write, if they are waited for."""
    echo(f"receipt {written.receipt}", err=True)
    if written.etag is not None:
        echo(f"etag {written.etag}", err=True)
    return None if wait is None else await client.receipt(written.receipt or "", wait=wait)


def judge(coverage: dict[str, Any] | None) -> None:
    """Raises Failure if fewer members than requested have the write."""
    if coverage is not None and not coverage["complete"]:
        lacking = [member["member"] for member in coverage["members"] if not member["has_it"]]
        raise Failure(
            f"{coverage['copies']} members are known to have it, {', '.join(lacking)} not; it goes on replicating",
            ExitCode.NOT_CONVERGED,
        )


@click.command("receipt")
@click.argument("receipt")
@click.option("--wait", metavar="all|N", callback=_checked_wait, help="Wait until this many members have the write.")
@click.option(
    "--timeout", metavar="TIME", callback=_checked_timeout, help="How long to wait, such as 500ms or 2s.  [5s]"
)
@output_option
@server_options
@click.pass_obj
def receipt_command(
    environment: dict[str, str],
    receipt: str,
    wait: str | None,
    timeout: str | None,
    output: str,
    servers: tuple[str, ...],
) -> None:
    """Show which members have the write that RECEIPT names, as far as the server knows."""
    coverage = ask(servers, environment, lambda client: client.receipt(receipt, wait=wait, within=timeout))
    if output == "json":
        echo_json(coverage)
    else:
        rows = [(m["member"], m["status"], "yes" if m["has_it"] else "not known") for m in coverage["members"]]
        print_table(("member", "status", "has it"), rows)
    if wait is not None:
        judge(coverage)
