"""`gossipkv import`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import click

from gossipkv.cli.files import import_state
from gossipkv.cli.files.import_state import ImportState
from gossipkv.cli.files.importer import LINE_BYTES_MAX, Importer, SendBatch
from gossipkv.cli.options import row_format
from gossipkv.cli.options.format_option import format_option
from gossipkv.cli.options.server_options import check, command_client, failure_of, server_options
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.cli.terminal.output import echo
from gossipkv.client import BatchOutcome, Client, ClientError, ServerFailedError, UnavailableError
from gossipkv.rows.arguments.names import table_name


@dataclass(frozen=True, slots=True)
class _Input:
    name: str
    file: BinaryIO
    size_bytes: int | None
    """None for standard input, which has no state."""


@click.command("import")
@click.argument("table")
@click.argument("file", default="-")
@format_option
@click.option(
    "--resume/--restart",
    default=True,
    help="Continue where an interrupted import of the same file stopped, or start over.  [--resume]",
)
@click.option("--state", metavar="FILE", help="File that records the progress.  [next to the input]")
@click.option(
    "--skip",
    type=click.IntRange(min=0),
    default=0,
    help="Skip this many lines; for standard input, which has no progress file.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=8,
    show_default=True,
    help="How often a batch is sent again, with growing pauses, if no server takes it.",
)
@server_options
@click.pass_obj
def import_command(
    environment: dict[str, str],
    table: str,
    file: str,
    format_name: str,
    resume: bool,
    state: str | None,
    skip: int,
    retries: int,
    servers: tuple[str, ...],
) -> None:
    r"""Put the rows of FILE, or of standard input, into TABLE.

    NDJSON: {"row": "…", "value": "…"} on each line, with {"base64": "…"} for a value that is not UTF-8. For a row that
    was exported with siblings, "value" is put, which is that of the last write. TSV: row, tab, value; \t, \n, \r and \\
    stand for tab, line feed, carriage return and backslash.

    To continue an interrupted import, run the same command again. If a server fails, the import continues with the next
    one. A batch whose answer is lost is sent again, so a row that others change in the meantime may be set back to the
    value in FILE. Rejected lines are reported with their numbers, and the exit code is then 1.
    """
    check(table_name, table)
    with _opened(file) as source:
        if source.size_bytes is None:
            _import_stream(environment, table, source, format_name, skip, retries, servers)
        else:
            path = Path(state) if state else _state_beside(Path(file), table)
            _import_file(environment, table, source, format_name, resume, path, retries, servers)


@contextmanager
def _opened(name: str) -> Iterator[_Input]:
    if name == "-":
        yield _Input("-", sys.stdin.buffer, None)
        return
    path = Path(name)
    try:
        file = path.open("rb")
    except OSError as error:
        raise Failure(f"{name} cannot be read: {error.strerror}") from error
    with file:
        # A pipe or a device is read once and has no beginning to come back to.
        yield _Input(name, file, path.stat().st_size if path.is_file() else None)


def _state_beside(path: Path, table: str) -> Path:
    """Where links lead, for the state to lie with the rows, and under a name for each table."""
    resolved = path.resolve()
    return resolved.with_name(f"{resolved.name}.{quote(table, safe='')}.import-state")


def _import_stream(
    environment: Mapping[str, str],
    table: str,
    source: _Input,
    format_name: str,
    skip: int,
    retries: int,
    servers: Sequence[str],
) -> None:
    for number in range(skip):
        line = source.file.readline(LINE_BYTES_MAX)
        if not line:
            raise Failure(f"--skip is {skip}, and the input has {number:,} lines", ExitCode.USAGE)
        while line and not line.endswith(b"\n"):
            line = source.file.readline(LINE_BYTES_MAX)
    if format_name == "auto":
        peek = getattr(source.file, "peek", lambda _: b"")
        format_name = row_format.format_of("-", peek(1))
    with _sending(environment, table, servers) as send:
        importer = Importer(source.file, format_name, send, _print_rejection, _print_retry, retries=retries, line=skip)
        _run(importer, 0, 0, lambda: None, lambda: f"give --skip {importer.line} to go on behind what is done")
    _report(importer.rows, importer.rejections)


def _import_file(
    environment: Mapping[str, str],
    table: str,
    source: _Input,
    format_name: str,
    resume: bool,
    path: Path,
    retries: int,
    servers: Sequence[str],
) -> None:
    if format_name == "auto":
        format_name = row_format.format_of(source.name, source.file.readline(LINE_BYTES_MAX))
        source.file.seek(0)
    import_state.check(path)
    before = (import_state.load(path) if resume else None) or ImportState(table, 0, 0, "", 0, 0)
    if before.table != table:
        raise Failure(f"{path} is the state of an import into {before.table}; name another with --state")
    digest = import_state.digest_of(source.file, before.offset)
    if before.offset:
        if digest.hexdigest() != before.digest:
            raise Failure(f"{source.name} has changed since its import was interrupted; start over with --restart")
        echo(f"going on after line {before.line:,} ({path})", err=True)
    with _sending(environment, table, servers) as send:
        importer = Importer(
            source.file,
            format_name,
            send,
            _print_rejection,
            _print_retry,
            retries=retries,
            offset=before.offset,
            line=before.line,
            digest=digest,
        )

        def save() -> None:
            rows, rejected = before.rows + importer.rows, before.rejected + importer.rejections
            ImportState(table, importer.offset, importer.line, importer.digest, rows, rejected).save(path)

        how = f"run the same command again to go on; how far it came is in {path}"
        _run(importer, before.offset, source.size_bytes or 0, save, lambda: how)
    path.unlink(missing_ok=True)
    _report(importer.rows, importer.rejections, before)


@contextmanager
def _sending(environment: Mapping[str, str], table: str, servers: Sequence[str]) -> Iterator[SendBatch]:
    """Sends one batch at a time. Input is read between two of them, where Ctrl-C is not held up by a loop."""
    client = command_client(servers, environment)
    with asyncio.Runner() as runner:
        runner.run(client.__aenter__())
        try:
            yield lambda lines: runner.run(_sent(client, table, lines))
        finally:
            runner.run(client.__aexit__())


async def _sent(client: Client, table: str, lines: list[bytes]) -> list[BatchOutcome]:
    outcomes = await client.table(table).batch_lines(lines)
    for outcome in outcomes:
        if isinstance(outcome.error, ServerFailedError | UnavailableError):
            # The server failed; the line itself is not at fault.
            raise outcome.error
    return outcomes


def _run(
    importer: Importer, offset: int, size_bytes: int, save: Callable[[], None], how_to_go_on: Callable[[], str]
) -> None:
    """All batches, with a progress bar on a terminal. Says how to go on when it cannot."""
    began = time.monotonic()
    try:
        with _progress(size_bytes) as advance:
            advance(offset)
            for _ in importer.run():
                save()
                advance(importer.offset)
    except KeyboardInterrupt:
        stopped = f"interrupted after line {importer.line:,}: {how_to_go_on()}"
        raise Failure(stopped, ExitCode.INTERRUPTED) from None
    except ClientError as error:
        failure = failure_of(error)
        stopped = f"stopped after line {importer.line:,}: {failure.message}; {how_to_go_on()}"
        raise Failure(stopped, ExitCode(failure.exit_code)) from error
    seconds = time.monotonic() - began
    rate = importer.rows / seconds if seconds else 0
    echo(f"{importer.rows:,} rows in {seconds:.1f} s, {rate:,.0f} rows/s", err=True)


@contextmanager
def _progress(size_bytes: int) -> Iterator[Callable[[int], None]]:
    """Takes how many bytes of the input are done."""
    if not size_bytes or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns: list[Any] = [BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("import", total=size_bytes)
        yield lambda offset: progress.update(task, completed=offset)


def _report(rows: int, rejected: int, before: ImportState | None = None) -> None:
    if before is not None and before.offset:
        rows, rejected = rows + before.rows, rejected + before.rejected
        echo(f"{rows:,} rows with those before the interruption", err=True)
    if rejected:
        raise Failure(f"{rejected:,} lines were rejected; the others stand")


def _print_rejection(line: int, reason: str) -> None:
    echo(f"line {line}: {reason}", err=True)


def _print_retry(error: UnavailableError, pause_s: float) -> None:
    echo(f"{error}; trying again in {pause_s:.1f} s", err=True)
