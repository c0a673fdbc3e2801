"""`gossipkv receipt`, and the options of commands that wait for copies."""

from __future__ import annotations

from typing import Any

import click

from gossipkv.cli.options.format_option import Command
from gossipkv.cli.options.server_options import ask, output_option, server_options
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.cli.terminal.output import echo_json, print_table


def copies_options(command: Command) -> Command:
    wait = click.option("--write-wait", metavar="TIME", help="How long to wait for -w members, such as 500ms or 2s.")
    copies = click.option(
        "-w", type=click.IntRange(min=1), help="Succeed once this many members have the write on disk."
    )
    return copies(wait(command))


def checked_wait(_: click.Context, __: click.Parameter, wait: str | None) -> str | None:
    if (
        wait is not None
        and wait != "all"
        and not (wait.isascii() and wait.isdigit() and len(wait) <= 5 and int(wait) >= 1)
    ):
        raise click.BadParameter("it is a number of members, or all")
    return wait


def judge(coverage: dict[str, Any]) -> None:
    """Raises Failure if fewer members than requested have the write."""
    if not coverage["complete"]:
        lacking = [member["member"] for member in coverage["members"] if not member["has_it"]]
        raise Failure(
            f"{coverage['copies']} members are known to have it, {', '.join(lacking)} not; it goes on replicating",
            ExitCode.NOT_CONVERGED,
        )


@click.command("receipt")
@click.argument("receipt")
@click.option("--wait", metavar="all|N", callback=checked_wait, help="Wait until this many members have the write.")
@click.option("--timeout", metavar="TIME", help="How long to wait, such as 500ms or 2s.  [5s]")
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
