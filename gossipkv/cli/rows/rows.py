"""`gossipkv put get delete list tables`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gossipkv.cli.options.number import NUMBER
from gossipkv.cli.options.server_options import (
    ask,
    check,
    namespace_option,
    output_option,
    server_options,
    with_servers,
)
from gossipkv.cli.rows.receipt import copies_options, judge, told, wait_option
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.cli.terminal.output import echo, echo_json, print_table, write_raw
from gossipkv.client import Client, Row, UnresolvedSiblingsError, value_to_json
from gossipkv.rows.view.namespaces import writable_namespace


@click.command("put")
@click.argument("table")
@click.argument("row")
@click.argument("value", required=False)
@click.option(
    "--file", "-f", "path", metavar="FILE", help="Take the value from a file, byte for byte; - for standard input."
)
@click.option("--if-match", metavar="ETAG", help="Succeed only if the row has this ETag; * for any.")
@click.option("--if-absent", is_flag=True, help="Succeed only if there is no such row.")
@click.option(
    "--context", metavar="CONTEXT", help="Replace the values that were read with this context, as get -o json shows it."
)
@click.option("--ttl", metavar="DURATION", help="Let the row expire after this time: 500ms, 30s, 5m, 1h, 7d.")
@copies_options
@wait_option
@namespace_option
@server_options
@click.pass_obj
def put_command(
    environment: dict[str, str],
    table: str,
    row: str,
    value: str | None,
    path: str | None,
    if_match: str | None,
    if_absent: bool,
    context: str | None,
    ttl: str | None,
    w: int | None,
    write_wait: str | None,
    wait: str | None,
    namespace: str,
    servers: tuple[str, ...],
) -> None:
    """Store VALUE in ROW of TABLE; - takes it from standard input, byte for byte. Writes the new ETag
    and the receipt to standard error."""
    content = _content(value, path)

    async def put(client: Client) -> dict[str, Any] | None:
        written = await client.table(table, namespace=namespace).put(
            row,
            content,
            if_match=if_match,
            if_absent=if_absent,
            context=context,
            ttl=ttl,
            w=w,
            write_wait=write_wait,
        )
        return await told(client, written, wait)

    judge(ask(servers, environment, put))


def _content(value: str | None, path: str | None) -> bytes:
    if (value is None) == (path is None):
        raise Failure("give either VALUE, - for standard input, or --file FILE", ExitCode.USAGE)
    if value == "-" or path == "-":
        return sys.stdin.buffer.read()
    if path is None:
        assert value is not None
        return value.encode(errors="surrogateescape")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from error


@click.command("get")
@click.argument("table")
@click.argument("row")
@click.option("-o", "--output", type=click.Choice(["raw", "json"]), default="raw", show_default=True)
@click.option("-r", type=NUMBER, help="Ask this many members, and repair those that are behind.")
@namespace_option
@server_options
@click.pass_obj
def get_command(
    environment: dict[str, str],
    table: str,
    row: str,
    output: str,
    r: int | None,
    namespace: str,
    servers: tuple[str, ...],
) -> None:
    """Write the value of ROW of TABLE to standard output, byte for byte. On a terminal, a line end is added, and
    control characters are shown as escapes.

    A row with several values is written as with -o json, with all values under "siblings", and the exit code is 9.
    Merge the values, and put the result with --context.
    """

    async def got(client: Client) -> Row | None:
        try:
            return await client.table(table, namespace=namespace).get(row, r=r)
        except UnresolvedSiblingsError as error:
            return error.row

    found = ask(servers, environment, got)
    if found is None:
        raise Failure(f"there is no row {row!r} in the table {table!r}", ExitCode.NOT_FOUND)
    if output == "json" or found.siblings:
        echo_json(_json_of(found) | {"context": found.context})
        if found.siblings:
            raise click.exceptions.Exit(ExitCode.SIBLINGS)
        return
    write_raw(found.value or b"")


@click.command("delete")
@click.argument("table")
@click.argument("row")
@click.option("--if-match", metavar="ETAG", help="Succeed only if the row has this ETag; * for any.")
@click.option(
    "--context", metavar="CONTEXT", help="Delete the values that were read with this context, as get -o json shows it."
)
@copies_options
@wait_option
@namespace_option
@server_options
@click.pass_obj
def delete_command(
    environment: dict[str, str],
    table: str,
    row: str,
    if_match: str | None,
    context: str | None,
    w: int | None,
    write_wait: str | None,
    wait: str | None,
    namespace: str,
    servers: tuple[str, ...],
) -> None:
    """Delete ROW of TABLE. Succeeds even if the row does not exist. Writes the receipt to standard error."""

    async def delete(client: Client) -> dict[str, Any] | None:
        written = await client.table(table, namespace=namespace).delete(
            row, if_match=if_match, context=context, w=w, write_wait=write_wait
        )
        return await told(client, written, wait)

    judge(ask(servers, environment, delete))


@click.command("list")
@click.argument("table")
@click.option("--prefix", metavar="TEXT", help="List only rows whose keys begin with this text.")
@click.option("--start", metavar="ROW", help="First key to list.")
@click.option("--end", metavar="ROW", help="Key to stop before.")
@click.option("--limit", type=NUMBER, help="List at most this many rows.  [all]")
@click.option("--keys-only", is_flag=True, help="List keys without values.")
@namespace_option
@output_option
@server_options
@click.pass_obj
def list_command(
    environment: dict[str, str],
    table: str,
    prefix: str | None,
    start: str | None,
    end: str | None,
    limit: int | None,
    keys_only: bool,
    namespace: str,
    output: str,
    servers: tuple[str, ...],
) -> None:
    """List the rows of TABLE in order of their keys. With -o json, a line of JSON for each; with --keys-only, a key
    on each line."""

    async def listed(client: Client) -> list[Row]:
        # As JSON and as keys rows go out page by page; a table must know all of them for its widths.
        rows: list[Row] = []
        listed_table = client.table(table, namespace=namespace)
        async for page in listed_table.pages(limit=limit, prefix=prefix, start=start, end=end, keys_only=keys_only):
            for row in page:
                if output == "json":
                    echo_json(_json_of(row))
                elif keys_only:
                    write_raw(row.row.encode() + b"\n")
                else:
                    rows.append(row)
        return rows

    rows = ask(servers, environment, listed)
    if output == "table" and not keys_only:
        print_table(("row", "value", "etag"), [(row.row, _shown_value(row), row.etag or "") for row in rows])


def _json_of(row: Row) -> dict[str, object]:
    item: dict[str, object] = {"row": row.row}
    if row.value is not None:
        item["value"] = value_to_json(row.value)
    item["etag"] = row.etag
    if row.siblings:
        item |= {"siblings": [value_to_json(value) for value in row.siblings], "context": row.context}
    return item


def _shown_value(row: Row) -> str:
    try:
        return (row.value or b"").decode()
    except UnicodeDecodeError:
        return f"{len(row.value or b''):,} bytes"


@click.group("tables", invoke_without_command=True)
@namespace_option
@output_option
@server_options
@click.pass_context
def tables_command(context: click.Context, namespace: str, output: str, servers: tuple[str, ...]) -> None:
    """List tables, with the rows and bytes that the server holds.

    `tables get` shows one table, `tables set` changes its settings, and `tables drop` deletes it.
    """
    if context.invoked_subcommand is not None:
        context.obj = with_servers(context.obj, servers)
        context.default_map = {name: {"namespace": namespace} for name in ("get", "set", "drop")}
        return
    tables = ask(servers, context.obj, lambda client: client.tables(namespace))
    if output == "json":
        for table in tables:
            echo_json(table)
        return
    columns = ("table", "rows", "tombstones", "value_bytes")
    print_table(columns, [[str(table.get(column, "")) for column in columns] for table in tables])


@tables_command.command("get")
@click.argument("table")
@namespace_option
@server_options
@click.pass_obj
def get_table_command(environment: dict[str, str], table: str, namespace: str, servers: tuple[str, ...]) -> None:
    """Write the counts and settings of TABLE as JSON."""
    found = ask(servers, environment, lambda client: client.table(table, namespace=namespace).describe())
    if found is None:
        raise Failure(f"there is no table {table!r}: it has neither rows nor settings", ExitCode.NOT_FOUND)
    echo_json(found)


@tables_command.command("drop")
@click.argument("table")
@click.option("--force", is_flag=True, help="Drop it even if it has rows.")
@namespace_option
@server_options
@click.pass_obj
def drop_command(
    environment: dict[str, str], table: str, force: bool, namespace: str, servers: tuple[str, ...]
) -> None:
    """Delete TABLE: its settings and all its rows. Succeeds even if there is no such table.

    Without --force, a table that has rows is not dropped. Rows that others put in the meantime may stay.
    """

    check(writable_namespace, namespace)

    async def dropped(client: Client) -> int:
        at = client.table(table, namespace=namespace)
        found = await at.describe()
        rows: int = 0 if found is None else found["rows"]
        if force or not rows:
            await at.drop()
            return 0
        return rows

    if rows := ask(servers, environment, dropped):
        raise Failure(f"the table {table!r} has rows ({rows:,}): to delete them with it, give --force")
    echo(f"{table} is dropped", err=True)


@tables_command.command("set")
@click.argument("table")
@click.option(
    "--conflicts",
    type=click.Choice(["lww", "siblings"]),
    help="Of concurrent writes, keep the last one (lww), or all of them (siblings).",
)
@click.option("--w", type=NUMBER, help="Number of durable copies before a write is answered.")
@click.option("--r", type=NUMBER, help="Number of members that a read asks.")
@namespace_option
@server_options
@click.pass_obj
def set_command(
    environment: dict[str, str],
    table: str,
    conflicts: str | None,
    w: int | None,
    r: int | None,
    namespace: str,
    servers: tuple[str, ...],
) -> None:
    """Change settings of TABLE. Other settings stay. Writes the table as JSON."""
    if conflicts is None and w is None and r is None:
        raise Failure("give a setting to change: --conflicts, --w, --r", ExitCode.USAGE)

    async def set_and_described(client: Client) -> dict[str, Any] | None:
        at = client.table(table, namespace=namespace)
        await at.configure(conflicts=conflicts, w=w, r=r)
        return await at.describe()

    echo_json(ask(servers, environment, set_and_described))
