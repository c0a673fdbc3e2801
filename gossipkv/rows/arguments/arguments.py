"""Arguments of other kinds that programs give: flags, functions, numbers, and text that goes into a header."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeVar

from gossipkv.rows.arguments.invalid import InvalidInputError, shown
from gossipkv.rows.arguments.limits import HEADER_CHARS_MAX

Function = TypeVar("Function", bound=Callable[..., object])

_SECONDS_MAX = 366 * 86_400
_HEADER_TEXT = re.compile(r"[\x20-\x7e]*")
_SERVER_URL = re.compile(
    r"(?i:https?)://(?:[^\x00-\x20\x7f-\U0010ffff/?#@]*@)?"
    r"(?:(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?|\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]+)?\])"
    r"(?::([0-9]{1,5}))?(?:/[^\x00-\x20\x7f-\U0010ffff?#]*)?"
)
"""A host, with what may stand before and behind it, and neither a query nor a fragment: paths are appended to it."""
_PORT_MAX = 65_535


def flag(name: str, given: object) -> bool:
    """Raises InvalidInputError."""
    if type(given) is not bool:
        raise InvalidInputError(name, f"is True or False, not {shown(given)}")
    return given


def header_text(name: str, given: object, chars_max: int = HEADER_CHARS_MAX) -> str:
    """Raises InvalidInputError."""
    if not isinstance(given, str) or len(given) > chars_max or not _HEADER_TEXT.fullmatch(given):
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


def server_urls(name: str, given: object) -> list[str]:
    """The URLs of servers, each without a slash at its end. Raises InvalidInputError."""
    texts(name, given)
    assert isinstance(given, Sequence), "it is a list of text"
    for url in given:
        match = _SERVER_URL.fullmatch(url)
        if match is None or not 1 <= int(match[1] or 1) <= _PORT_MAX:
            raise InvalidInputError(name, f"are URLs of members, such as http://127.0.0.1:7080, not {shown(url)}")
    return [url.rstrip("/") for url in given]


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
