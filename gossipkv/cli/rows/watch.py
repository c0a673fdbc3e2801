"""`gossipkv watch`."""

from __future__ import annotations

from contextlib import suppress

import click

from gossipkv.cli.options.server_options import ask, namespace_option, output_option, server_options
from gossipkv.cli.terminal.output import echo, echo_json
from gossipkv.client import Change, Client, value_to_json


@click.command("watch")
@click.argument("table")
@click.option("--prefix", metavar="TEXT", help="Watch only rows whose keys begin with this text.")
@click.option("--since", metavar="ID", help="Resume after the event with this id, as -o json shows it.")
@click.option("--snapshot", is_flag=True, help="Write the current rows first. Has no effect with --since.")
@namespace_option
@output_option
@server_options
@click.pass_obj
def watch_command(
    environment: dict[str, str],
    table: str,
    prefix: str | None,
    since: str | None,
    snapshot: bool,
    namespace: str,
    output: str,
    servers: tuple[str, ...],
) -> None:
    """Write the changes in TABLE as they happen, until Ctrl-C. With -o json, write one line of JSON per event.

    When the server goes away, the watch resumes at the next one. Nothing is missed or shown twice. If that is not
    possible, the watch writes a `reset` event, the current rows, and a `current` event.
    """

    async def watched(client: Client) -> None:
        watched_table = client.table(table, namespace=namespace)
        async with watched_table.watch(prefix=prefix, since=since, snapshot=snapshot) as watch:
            async for change in watch:
                if output == "json":
                    echo_json(_json_of(change))
                else:
                    echo(_line_of(change))

    with suppress(KeyboardInterrupt):
        ask(servers, environment, watched)


def _json_of(change: Change) -> dict[str, object]:
    item: dict[str, object] = {"event": change.kind.value, "id": change.event_id}
    if change.row:
        item["row"] = change.row
    if change.siblings:
        item["siblings"] = [value_to_json(value) for value in change.siblings]
    elif change.value is not None:
        item["value"] = value_to_json(change.value)
    if change.etag is not None:
        item["etag"] = change.etag
    if change.context is not None:
        item["context"] = change.context
    return item


def _line_of(change: Change) -> str:
    values = change.siblings or (() if change.value is None else (change.value,))
    shown = (change.row, " | ".join(_shown(value) for value in values))
    return "  ".join((change.kind.value.ljust(7), *shown)).rstrip()


def _shown(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"{len(value):,} bytes"
