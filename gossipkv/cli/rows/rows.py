"""`gossipkv put get delete list tables`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gossipkv.cli.options.server_options import ask, namespace_option, output_option, server_options
from gossipkv.cli.rows.receipt import checked_wait, copies_options, judge
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.cli.terminal.output import echo, echo_json, print_table, write_raw
from gossipkv.client import Client, Row, UnresolvedSiblingsError, value_to_json


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
@click.option(
    "--wait", metavar="all|N", callback=checked_wait, help="After the write, wait until this many members have it."
)
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
        echo(f"receipt {written.receipt}", err=True)
        echo(f"etag {written.etag}", err=True)
        return None if wait is None else await client.receipt(written.receipt or "", wait=wait)

    coverage = ask(servers, environment, put)
    if coverage is not None:
        judge(coverage)


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
@click.option("-r", type=click.IntRange(min=1), help="Ask this many members, and repair those that are behind.")
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
    namespace: str,
    servers: tuple[str, ...],
) -> None:
    """Delete ROW of TABLE. Succeeds even if the row does not exist."""
    ask(
        servers,
        environment,
        lambda client: client.table(table, namespace=namespace).delete(
            row, if_match=if_match, context=context, w=w, write_wait=write_wait
        ),
    )


@click.command("list")
@click.argument("table")
@click.option("--prefix", metavar="TEXT", help="List only rows whose keys begin with this text.")
@click.option("--start", metavar="ROW", help="First key to list.")
@click.option("--end", metavar="ROW", help="Key to stop before.")
@click.option("--limit", type=click.IntRange(min=1), help="List at most this many rows.  [all]")
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
    """List tables, with the rows and bytes that the server holds. `tables set` changes settings of a table."""
    environment: dict[str, str] = context.obj
    if context.invoked_subcommand is not None:
        return
    tables = ask(servers, environment, lambda client: client.tables(namespace))
    if output == "json":
        for table in tables:
            echo_json(table)
        return
    columns = ("table", "rows", "tombstones", "value_bytes")
    print_table(columns, [[str(table.get(column, "")) for column in columns] for table in tables])


@tables_command.command("set")
@click.argument("table")
@click.option(
    "--conflicts",
    type=click.Choice(["lww", "siblings"]),
    help="Of concurrent writes, keep the last one (lww), or all of them (siblings).",
)
@click.option("--w", type=click.IntRange(min=1), help="Number of durable copies before a write is answered.")
@click.option("--r", type=click.IntRange(min=1), help="Number of members that a read asks.")
@server_options
@click.pass_obj
def set_command(
    environment: dict[str, str],
    table: str,
    conflicts: str | None,
    w: int | None,
    r: int | None,
    servers: tuple[str, ...],
) -> None:
    """Change settings of TABLE. Other settings stay. Writes the table as JSON."""
    if conflicts is None and w is None and r is None:
        raise Failure("give a setting to change: --conflicts, --w, --r", ExitCode.USAGE)

    async def set_and_described(client: Client) -> dict[str, Any] | None:
        await client.table(table).configure(conflicts=conflicts, w=w, r=r)
        return await client.table(table).describe()

    echo_json(ask(servers, environment, set_and_described))
