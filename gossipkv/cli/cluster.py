"""`gossipkv members` and `gossipkv status`."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from gossipkv.cli.exit_code import ExitCode
from gossipkv.cli.output import echo, echo_json, print_table
from gossipkv.cli.server_options import SERVER_VARIABLE, ask, output_option, server_options
from gossipkv.client import Client, Row
from gossipkv.client.survey import MemberAnswer, Survey, age_text, endpoint_of, survey


@click.group("members", invoke_without_command=True)
@output_option
@server_options
@click.pass_context
def members_command(context: click.Context, output: str, servers: tuple[str, ...]) -> None:
    """List the members in the table `members` of `sys`: who they are, and where they are reached."""
    if context.invoked_subcommand is None:
        _list_members(context.obj, output, servers)
    elif servers:
        context.obj = {**context.obj, SERVER_VARIABLE: ",".join(servers)}


@members_command.command("forget")
@click.argument("member")
@click.option("--force", is_flag=True, help="Also if it was heard lately, or discovery lists it.")
@server_options
@click.pass_obj
def forget_command(environment: dict[str, str], member: str, force: bool, servers: tuple[str, ...]) -> None:
    """Remove MEMBER, which is gone for good, from the list of members.

    Nothing waits for it any more: deleted rows that it kept the others remembering are forgotten. What it alone holds
    is lost to the cluster. If it comes back, it sets its data aside and joins as a new replica.

    A member that answers is not forgotten. Without --force, neither is one that was heard within 10 minutes, or that
    discovery lists: it may only be restarting.
    """

    async def forgotten(client: Client) -> None:
        await client.forget(member, force=force)

    ask(servers, environment, forgotten)
    echo(f"{member} is forgotten; if it comes back, it starts without its data", err=True)


def _list_members(environment: dict[str, str], output: str, servers: tuple[str, ...]) -> None:

    async def listed(client: Client) -> list[dict[str, Any]]:
        return [_record_in(row) async for row in client.table("members", namespace="sys").range()]

    members = ask(servers, environment, listed)
    if output == "json":
        for member in members:
            echo_json(member)
        return
    print_table(
        ("member", "status", "http", "gossip", "zone", "version", "replica"),
        [_record_cells(member) for member in members],
    )


def _record_cells(member: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a record of a member. A peer may have written anything there."""
    try:
        endpoints = endpoint_of(member, "http"), endpoint_of(member, "gossip")
        cells = (member["status"], *endpoints, member.get("zone"), member.get("version"), member["replica"])
    except (LookupError, TypeError):
        return (member["member"], "unreadable record", "", "", "", "", "")
    return (member["member"], *(str(cell or "") for cell in cells))


def _record_in(row: Row) -> dict[str, Any]:
    """The record of a member in a row of `sys.members`; only its name if it cannot be read."""
    try:
        record = json.loads(row.value or b"{}")
    except (ValueError, RecursionError):
        record = {}
    return (record if isinstance(record, dict) else {}) | {"member": row.row}


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
        echo_json(content, indent=2)
    else:
        _print(found)
    if not found.has_converged:
        context.exit(ExitCode.NOT_CONVERGED)


def _print(found: Survey) -> None:
    print_table(
        ("member", "status", "ready", "rows", "tombstones", "fingerprint", "of sys", "rows behind", "last sync"),
        [_cells(answer, runs_twice=answer.member in found.run_twice) for answer in found.members],
    )
    for remedy in found.run_twice.values():
        echo(remedy, err=True)
    for answer in found.members:
        if answer.failure is not None:
            echo(f"{answer.member} did not answer: {answer.failure}", err=True)
        if answer.unreadable:
            first = answer.unreadable[0]
            echo(
                f"{answer.member} cannot read {answer.unreadable_rows:,} rows, such as {first['row']!r} of the table "
                f"{first['table']!r} ({first['reason']}); a copy from another member, a put or a delete replaces one",
                err=True,
            )
        if answer.storage is not None and answer.storage["room"] != "ample":
            echo(_short_of_room(answer.member, answer.storage), err=True)
        for row in answer.lacking:
            echo(
                f"{answer.member} could not take in {row['namespace']}/{row['table']}/{row['row']} ({row['reason']}); "
                "it asks for it again in each round",
                err=True,
            )
    for answer in found.members:
        if answer.alone_seconds is not None:
            echo(
                f"{answer.member} is alone: it has heard no other member for {age_text(answer.alone_seconds)}; its "
                "rows may be old, and what it acknowledges is on its disk alone",
                err=True,
            )
    for name, waiting in found.collection_blocked_by.items():
        echo(
            f"deleted rows are kept at {', '.join(waiting)} until {name} has heard of them; if it is gone for good: "
            f"gossipkv members forget {name}",
            err=True,
        )
    if not found.has_converged:
        echo("the members that answered do not hold the same rows", err=True)


def _short_of_room(member: str, storage: dict[str, Any]) -> str:
    used, capacity = storage["used_bytes"], storage["capacity_bytes"]
    waiting = f", and rows wait at it for {', '.join(storage['waiting'])}" if storage["waiting"] else ""
    return (
        f"{member} has been short of room for {age_text(storage['since_seconds'])}: {used:,} of {capacity:,} bytes are "
        f"used; puts are refused at every member{waiting}: enlarge the volumes of all members (and storage_bytes_max), "
        "or delete rows"
    )


def _cells(answer: MemberAnswer, *, runs_twice: bool) -> tuple[str, ...]:
    status = f"{answer.status}, runs twice" if runs_twice else answer.status
    if answer.figures is None:
        return (answer.member, status, "no answer", "", "", "", "", "", "")
    user, system = answer.figures["usr"], answer.figures["sys"]
    return (
        answer.member,
        status,
        "yes" if answer.is_ready else "no",
        f"{user['rows']:,}",
        f"{user['tombstones']:,}",
        user["fingerprint"],
        system["fingerprint"],
        f"{user['rows_behind'] + system['rows_behind']:,}",
        age_text(user["last_sync_seconds"]),
    )
