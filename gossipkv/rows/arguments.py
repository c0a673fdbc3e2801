"""Arguments of other kinds that programs give: flags, and text that goes into a header."""

from __future__ import annotations

import re

from gossipkv.rows.invalid import InvalidInputError, shown

_HEADER_TEXT = re.compile(r"[\x20-\x7e]*")


def flag(name: str, given: object) -> bool:
    """Raises InvalidInputError."""
    if type(given) is not bool:
        raise InvalidInputError(name, f"is True or False, not {shown(given)}")
    return given


def header_text(name: str, given: object) -> str:
    """Raises InvalidInputError."""
    if not isinstance(given, str) or not _HEADER_TEXT.fullmatch(given):
        raise InvalidInputError(name, f"is text as an answer gave it, unchanged, not {shown(given)}")
    return given


def count(name: str, given: object, least: int, most: int) -> int:
    """Raises InvalidInputError."""
    if type(given) is not int or not least <= given <= most:
        raise InvalidInputError(name, f"is a number from {least} to {most}, not {shown(given)}")
    return given
