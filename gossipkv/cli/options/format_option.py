"""The option that import and export share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from gossipkv.cli.options.row_format import FORMATS

Command = Callable[..., Any]


def format_option(command: Command) -> Command:
    return click.option(
        "--format",
        "format_name",
        type=click.Choice(["auto", *FORMATS]),
        default="auto",
        show_default=True,
        help="Format of the file. auto: by its name, then by its first line, otherwise ndjson.",
    )(command)
