"""`gossipkv members` and `gossipkv status`."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from gossipkv.cli.options.server_options import ask, output_option, server_options, with_servers
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.output import echo, echo_json, print_table
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
    else:
        context.obj = with_servers(context.obj, servers)


@members_command.command("forget")
@click.argument("member")
@click.option("--force", is_flag=True, help="Forget it even if it was heard lately, or discovery lists it.")
@server_options
@click.pass_obj
def forget_command(environment: dict[str, str], member: str, force: bool, servers: tuple[str, ...]) -> None:
    """Remove MEMBER, which is gone for good, from the list of members.

    Afterwards nothing waits for the member: other members forget deleted rows that they kept for it. What only it holds
    is lost to the cluster. If it comes back, it sets its data aside and joins as a new replica.

    A member that answers is not forgotten. Without --force, a member that was heard within 10 minutes, or that
    discovery lists, is not forgotten either, because it may only be restarting.
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
@click.option("--all", "with_left", is_flag=True, help="Also show members that have left.")
@output_option
@server_options
@click.pass_context
def status_command(context: click.Context, output: str, servers: tuple[str, ...], with_left: bool) -> None:
    """Compare the members. Each member is asked for its own figures.

    The last line is the verdict. Exit code 0 means that all members answer and hold the same rows, and that none
    reports trouble. Otherwise the exit code is 6.
    """
    found = ask(servers, context.obj, lambda client: survey(client, with_left=with_left))
    verdict = found.verdict
    if output == "json":
        content = dataclasses.asdict(found) | {
            "converged": found.has_converged,
            "verdict": dataclasses.asdict(verdict),
        }
        echo_json(content, indent=2)
    else:
        _print(found)
        echo(verdict.text)
    if not verdict.ok:
        context.exit(ExitCode.NOT_CONVERGED)


_HEAD = ("member", "status", "rows", "deleted", "fingerprints", "behind", "synced", "clock", "room", "refuses")


def _print(found: Survey) -> None:
    print_table(_HEAD, [_cells(answer, runs_twice=answer.member in found.run_twice) for answer in found.members])
    for remedy in found.run_twice.values():
        echo(remedy, err=True)
    for answer in found.members:
        _print_trouble(answer)
    for endpoint, trying in found.unreached.items():
        echo(
            f"no member has answered {', '.join(trying)} at {endpoint}, which discovery gives: start a member there, "
            "see whether its gossip port can be reached, or take it out of discovery",
            err=True,
        )
    for name, waiting in found.collection_blocked_by.items():
        echo(
            f"deleted rows are kept at {', '.join(waiting)} until {name} has heard of them; if it is gone for good: "
            f"gossipkv members forget {name}",
            err=True,
        )


def _print_trouble(answer: MemberAnswer) -> None:
    """All that is wrong with a member, in detail."""
    lines = []
    if answer.failure is not None:
        lines.append(f"{answer.member} did not answer: {answer.failure}")
    if answer.unreadable:
        first = answer.unreadable[0]
        lines.append(
            f"{answer.member} cannot read {answer.unreadable_rows:,} rows, such as {first['row']!r} of the table "
            f"{first['table']!r} ({first['reason']}); a copy from another member, a put or a delete replaces one"
        )
    if answer.storage is not None and answer.storage["room"] != "ample":
        lines.append(_short_of_room(answer.member, answer.storage))
    lines += [
        f"{answer.member} could not take in {row['namespace']}/{row['table']}/{row['row']} ({row['reason']}); "
        "it asks for it again in each round"
        for row in answer.lacking
    ]
    if answer.alone_seconds is not None:
        lines.append(
            f"{answer.member} is alone: it has heard no other member for {age_text(answer.alone_seconds)}; its "
            "rows may be old, and what it acknowledges is on its disk alone"
        )
    trouble = answer.trouble()
    if trouble is not None and not lines:
        lines.append(trouble)
    for line in lines:
        echo(line, err=True)


def _short_of_room(member: str, storage: dict[str, Any]) -> str:
    used, capacity = storage["used_bytes"], storage["capacity_bytes"]
    waiting = f", and rows wait at it for {', '.join(storage['waiting'])}" if storage["waiting"] else ""
    return (
        f"{member} has been short of room for {age_text(storage['since_seconds'])}: {used:,} of {capacity:,} bytes are "
        f"used; puts are refused at every member{waiting}: enlarge the volumes of all members (and storage_bytes_max), "
        "or delete rows"
    )


def _cells(answer: MemberAnswer, *, runs_twice: bool) -> tuple[str, ...]:
    """A row of the table. Of a fingerprint of 16 digits the first eight are shown, of the users' rows and of `sys`."""
    status = f"{answer.status}, runs twice" if runs_twice else answer.status
    if answer.figures is None:
        return (answer.member, status, "no answer", *[""] * (len(_HEAD) - 3))
    user, system = answer.figures["usr"], answer.figures["sys"]
    return (
        answer.member,
        status if answer.is_ready else f"{status}, not ready",
        f"{user['rows']:,}",
        f"{user['tombstones']:,}",
        f"{user['fingerprint'][:8]}/{system['fingerprint'][:8]}",
        f"{user['rows_behind'] + system['rows_behind']:,}",
        age_text(user["last_sync_seconds"]),
        _clock(answer.clock),
        _room(answer.storage),
        ",".join(sorted({*answer.refusing, *(row["reason"] for row in answer.lacking)})) or "-",
    )


def _clock(clock: dict[str, Any] | None) -> str:
    """How far the clock is ahead of the others'; `ok` for less than a second."""
    if clock is None or clock["ahead_seconds"] is None:
        return "-"
    ahead_seconds = clock["ahead_seconds"]
    if abs(ahead_seconds) < 1:
        return "ok"
    return f"{'+' if ahead_seconds > 0 else '-'}{age_text(abs(ahead_seconds))}"


def _room(storage: dict[str, Any] | None) -> str:
    """The share of its room that is used."""
    if storage is None or not storage["capacity_bytes"]:
        return "-"
    share = min(1.0, storage["used_bytes"] / storage["capacity_bytes"])
    return f"{share:.0%}" if storage["room"] == "ample" else f"{share:.0%} short"
