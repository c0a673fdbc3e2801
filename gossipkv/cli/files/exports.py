"""`gossipkv export`."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from gossipkv.cli.options import row_format
from gossipkv.cli.options.format_option import format_option
from gossipkv.cli.options.server_options import ask, namespace_option, server_options
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.cli.terminal.output import echo, standard_output
from gossipkv.client import Client

_PAGE_ROWS = 1_000


@click.command("export")
@click.argument("table")
@click.argument("file", default="-")
@format_option
@namespace_option
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Read this data directory instead: of a stopped member, or of set-aside data. No member may use it.",
)
@server_options
@click.pass_obj
def export_command(
    environment: dict[str, str],
    table: str,
    file: str,
    format_name: str,
    namespace: str,
    data_dir: Path | None,
    servers: tuple[str, ...],
) -> None:
    """Write all rows of TABLE to FILE, or to standard output, in order of their keys.

    FILE appears, or is replaced, only once it is complete. A new file gets the permissions of the umask. A replaced
    file keeps its permissions. Rows that are written during the export may or may not be included.
    """
    if data_dir is not None and servers:
        raise Failure("rows come from --server or from --data-dir, not from both", ExitCode.USAGE)
    if format_name == "auto":
        format_name = "tsv" if file.endswith(".tsv") else "ndjson"
    began = time.monotonic()

    async def exported(client: Client) -> int:
        rows = 0
        with _destination(file) as output, _progress() as advance:
            async for page in client.table(table, namespace=namespace).pages(page_rows=_PAGE_ROWS):
                output.write(b"".join(row_format.render(row, format_name) for row in page))
                rows += len(page)
                advance(rows)
        return rows

    def exported_here(data_dir: Path) -> int:
        # The storage is of no use to an export from a server, which need not wait for it.
        from gossipkv.cli.files.stored_rows import stored_rows

        rows = 0
        with stored_rows(data_dir, namespace, table) as pages, _destination(file) as output, _progress() as advance:
            for page in pages:
                output.write(b"".join(row_format.render(row, format_name) for row in page))
                rows += len(page)
                advance(rows)
        return rows

    rows = ask(servers, environment, exported) if data_dir is None else exported_here(data_dir)
    echo(f"{rows:,} rows in {time.monotonic() - began:.1f} s", err=True)


@contextmanager
def _destination(name: str) -> Iterator[BinaryIO]:
    """A file that is renamed into place at the end, and removed when it is not reached."""
    if name == "-":
        output = standard_output()
        yield output
        output.flush()
        return
    # Where a link leads, for the link to stay.
    path = Path(name).resolve()
    if path.exists() and not path.is_file():
        # A device, a pipe or a directory is nothing to put a file in the place of.
        raise Failure(f"{name} is not a file; write to standard output with - and lead that there")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with _new_file(temporary, like=path) as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
        temporary.replace(path)
    except OSError as error:
        raise Failure(f"{name} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _new_file(path: Path, *, like: Path) -> BinaryIO:
    """A new file with the permissions of the file that it will replace, and otherwise those of the user's umask. At no
    time may anyone read it who may not read that file. Raises OSError."""
    mode = stat.S_IMODE(like.stat().st_mode) if like.exists() else None
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if mode is None else 0o600)
    if mode is not None:
        os.fchmod(descriptor, mode)
    return os.fdopen(descriptor, "wb")


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Takes how many rows are written."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    with Progress(
        SpinnerColumn(), TextColumn("{task.completed:,} rows"), console=Console(stderr=True), transient=True
    ) as progress:
        task = progress.add_task("export", total=None)
        yield lambda rows: progress.update(task, completed=rows)
