"""`gossipkv members status`."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from gossipkv.cli.exit_code import ExitCode
from gossipkv.cli.output import print_table
from gossipkv.cli.server_options import ask, output_option, server_options
from gossipkv.client import Client
from gossipkv.client.survey import MemberAnswer, Survey, age_text, endpoint_of, survey


@click.command("members")
@output_option
@server_options
@click.pass_obj
def members_command(environment: dict[str, str], output: str, servers: tuple[str, ...]) -> None:
    """List the members in the table `members` of `sys`: who they are, and where they are reached."""

    async def listed(client: Client) -> list[dict[str, Any]]:
        return [
            {"member": row.row, **json.loads(row.value or b"{}")}
            async for row in client.table("members", namespace="sys").range()
        ]

    members = ask(servers, environment, listed)
    if output == "json":
        for member in members:
            click.echo(json.dumps(member, ensure_ascii=False))
        return
    print_table(
        ("member", "status", "http", "gossip", "zone", "version", "replica"),
        [
            (
                member["member"],
                member["status"],
                endpoint_of(member, "http") or "",
                endpoint_of(member, "gossip") or "",
                member.get("zone") or "",
                member.get("version") or "",
                member["replica"],
            )
            for member in members
        ],
    )


@click.command("status")
@output_option
@server_options
@click.pass_context
def status_command(context: click.Context, output: str, servers: tuple[str, ...]) -> None:
    """Compare the members. Each is asked itself, for its own figures.

    Exit code 0: all members that answer hold the same rows. 6: they do not.
    """
    found = ask(servers, context.obj, survey)
    if output == "json":
        content = dataclasses.asdict(found) | {"converged": found.has_converged}
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _print(found)
    if not found.has_converged:
        context.exit(ExitCode.NOT_CONVERGED)


def _print(found: Survey) -> None:
    print_table(
        ("member", "status", "ready", "rows", "tombstones", "fingerprint", "of sys", "rows behind", "last sync"),
        [_cells(answer) for answer in found.members],
    )
    for answer in found.members:
        if answer.failure is not None:
            click.echo(f"{answer.member} did not answer: {answer.failure}", err=True)
    if not found.has_converged:
        click.echo("the members that answered do not hold the same rows", err=True)


def _cells(answer: MemberAnswer) -> tuple[str, ...]:
    if answer.figures is None:
        return (answer.member, answer.status, "no answer", "", "", "", "", "", "")
    user, system = answer.figures["usr"], answer.figures["sys"]
    return (
        answer.member,
        answer.status,
        "yes" if answer.is_ready else "no",
        f"{user['rows']:,}",
        f"{user['tombstones']:,}",
        user["fingerprint"],
        system["fingerprint"],
        f"{user['rows_behind'] + system['rows_behind']:,}",
        age_text(user["last_sync_seconds"]),
    )
