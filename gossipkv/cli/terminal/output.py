"""What commands write: the one place where output passes on its way to a terminal.

Most of it comes from peers, rows and servers, so it is escaped (`gossipkv/rows/escapes.py`): always in tables, lines,
errors and JSON, where it is JSON of the same meaning. Values and keys that a command was asked for go out byte for
byte, so that scripts get what was stored; on a terminal they are escaped too.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from typing import BinaryIO

import click

from gossipkv.rows.escapes import escaped, escaped_json, escaped_text


def echo(line: str, *, err: bool = False) -> None:
    """A line."""
    click.echo(escaped(line), err=err)


def echo_lines(text: str) -> None:
    """Several lines, in which the line ends are this program's own."""
    click.echo(escaped_text(text))


def echo_json(item: object, indent: int | None = None) -> None:
    click.echo(escaped_json(json.dumps(item, ensure_ascii=False, indent=indent)))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output, with a bold head on a terminal. Nothing is cut short or folded."""
    shown = [[escaped(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    for number, row in enumerate(shown):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        line = "  ".join(cells).rstrip()
        click.echo(line if number else click.style(line, bold=True))


def write_raw(content: bytes) -> None:
    """What a command was asked for, byte for byte; on a terminal escaped, and with a line end."""
    output = standard_output()
    output.write(content)
    if sys.stdout.isatty() and not content.endswith(b"\n"):
        output.write(b"\n")
    output.flush()


def standard_output() -> BinaryIO:
    """Standard output for bytes; a terminal gets them escaped."""
    return _Terminal() if sys.stdout.isatty() else sys.stdout.buffer


class _Terminal(io.BytesIO):
    """Takes whole lines, or a whole value."""

    def write(self, content: bytes, /) -> int:  # type: ignore[override]
        text = escaped_text(bytes(content).decode(errors="backslashreplace"))
        sys.stdout.buffer.write(text.encode())
        return len(content)

    def flush(self) -> None:
        sys.stdout.buffer.flush()
