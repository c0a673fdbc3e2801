"""Numbers in options."""

from __future__ import annotations

import re

import click

_DIGITS = re.compile("-?[0-9]{1,30}")


class Number(click.ParamType[object]):
    """A number for a rule of all interfaces (`gossipkv/rows`). Other text is left to the rule, which refuses it."""

    name = "n"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:  # noqa: ARG002
        return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


NUMBER = Number()
