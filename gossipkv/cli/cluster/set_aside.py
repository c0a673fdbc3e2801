"""`gossipkv set-aside`: lists data that members have set aside, and merges them back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from gossipkv.cli.cluster.merge import Fate, Merge, described
from gossipkv.cli.options.server_options import ask, output_option, server_options
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.cli.terminal.output import echo, echo_json, print_table
from gossipkv.client import Client
from gossipkv.config.settings import Settings, variable_of
from gossipkv.core.store.storage import StorageError
from gossipkv.storage.account import Account
from gossipkv.storage.lmdb import LmdbStorage
from gossipkv.storage.set_aside import all_set_aside
from gossipkv.storage.unshared_rows import UnsharedRow, time_text, unshared_rows


@click.group("set-aside")
def set_aside_command() -> None:
    """Show and merge data that a member has set aside, because it was forgotten or its data were outdated."""


@set_aside_command.command("list")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=f"Data directory of the member. The member may run.  [{variable_of('data_dir')}]",
)
@output_option
@click.pass_obj
def list_command(environment: dict[str, str], data_dir: Path | None, output: str) -> None:
    """List each set: when and why it was set aside, and the number of rows that no other member was known to have."""
    directory = data_dir or Path(environment.get(variable_of("data_dir"), Settings().data_dir))
    sets: list[dict[str, Any]] = []
    for path in all_set_aside(directory):
        with _opened(path) as (storage, account):
            rows = sum(map(len, unshared_rows(storage, account)))
        sets.append(
            {
                "path": str(path),
                "set_aside": time_text(account.set_aside_ms),
                "replica": f"{account.replica:016x}",
                "reason": account.reason,
                "rows_only_here": rows,
            }
        )
    if output == "json":
        for each in sets:
            echo_json(each)
        return
    print_table(
        ("set aside", "replica", "rows only here", "path", "why"),
        [
            (each["set_aside"], each["replica"], f"{each['rows_only_here']:,}", each["path"], each["reason"])
            for each in sets
        ],
    )


@set_aside_command.command("merge")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would be put, and put nothing.")
@server_options
@click.pass_obj
def merge_command(environment: dict[str, str], directory: Path, dry_run: bool, servers: tuple[str, ...]) -> None:
    """Put back rows that only the set in DIRECTORY holds. Replaces and deletes nothing.

    The command puts each row that the cluster lacks. In a table that keeps siblings, it also puts each value that a row
    lacks. It names a row that has another value in the cluster, or that was deleted only in the set, and does not
    change it. The exit code is then 10. Writes that a member knows of are skipped, because their rows may have been
    deleted since. A second run changes nothing.
    """
    with _opened(directory) as (storage, account):
        rows = sum(map(len, unshared_rows(storage, account)))

        async def merged(client: Client) -> Merge:
            merge = Merge(client, account, time.time_ns() // 1_000_000, is_dry_run=dry_run)
            with _progress(rows) as advance:
                async for each in merge.run(_each(storage, account)):
                    advance()
                    if each.fate not in (Fate.SAME, Fate.KNOWN, Fate.GONE):
                        echo(described(each))
            return merge

        merge = ask(servers, environment, merged)
    would = "nothing was put, as this is a dry run; it would be: " if dry_run else ""
    counts = [f"{number:,} {fate.value}" for fate, number in merge.fates.items()]
    echo(f"{rows:,} rows: {would}{'; '.join(counts) or 'nothing to do'}", err=True)
    if any(fate.remains for fate in merge.fates):
        raise Failure("rows differ that were left as they are in the cluster; they are named above", ExitCode.CONFLICTS)


def _each(storage: LmdbStorage, account: Account) -> Iterator[UnsharedRow]:
    for page in unshared_rows(storage, account):
        yield from page


@contextmanager
def _opened(directory: Path) -> Iterator[tuple[LmdbStorage, Account]]:
    """A set and its `account.json`. Raises Failure."""
    try:
        storage = LmdbStorage(directory, must_exist=True)
        try:
            with storage.view() as view:
                identity = view.identity()
            if identity is None:
                raise Failure(f"{directory} holds no data of a member", ExitCode.DATA_DIRECTORY)
            yield storage, Account.read(directory, identity.replica)
        finally:
            storage.close()
    except StorageError as error:
        raise Failure(str(error), ExitCode.DATA_DIRECTORY) from error


@contextmanager
def _progress(rows: int) -> Iterator[Callable[[], None]]:
    """Called for each processed row."""
    if not rows or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(
        BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as progress:
        task = progress.add_task("merge", total=rows)
        yield lambda: progress.advance(task)
