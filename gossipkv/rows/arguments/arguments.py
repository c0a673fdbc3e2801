"""Arguments of other kinds that programs give: flags, functions, numbers, and text that goes into a header."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeVar

from gossipkv.rows.arguments.invalid import InvalidInputError, shown

Function = TypeVar("Function", bound=Callable[..., object])

_SECONDS_MAX = 366 * 86_400
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


def function(name: str, given: Function) -> Function:
    """Raises InvalidInputError."""
    if not callable(given):
        raise InvalidInputError(name, f"is a function, not {shown(given)}")
    return given


def texts(name: str, given: object) -> None:
    """Raises InvalidInputError."""
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise InvalidInputError(name, f"are a list of at least one text, not {shown(given)}")
    for each in given:
        if not isinstance(each, str):
            raise InvalidInputError(name, f"are a list of text, and hold {shown(each)}")


def one_of(name: str, given: object, kind: type[Enum]) -> None:
    """Raises InvalidInputError."""
    if not isinstance(given, kind):
        known = ", ".join(str(each) for each in kind)
        raise InvalidInputError(name, f"is one of {known}, not {shown(given)}")


def seconds(name: str, given: object) -> float:
    """Raises InvalidInputError."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= _SECONDS_MAX:
        raise InvalidInputError(name, f"is a number of seconds, at most a year, not {shown(given)}")
    return float(given)


def count(name: str, given: object, least: int, most: int) -> int:
    """Raises InvalidInputError."""
    if type(given) is not int or not least <= given <= most:
        raise InvalidInputError(name, f"is a number from {least} to {most}, not {shown(given)}")
    return given
