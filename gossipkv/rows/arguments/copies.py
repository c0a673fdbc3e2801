"""How many members a request asks for: copies of a write, answers to a read."""

from __future__ import annotations

import re
from typing import TypeGuard

from gossipkv.rows.arguments.invalid import InvalidInputError, shown
from gossipkv.rows.arguments.limits import COPIES_MAX

_ALL = "all"
_DIGITS = re.compile("[0-9]{1,5}")


def is_copies(given: object) -> TypeGuard[int]:
    return type(given) is int and 1 <= given <= COPIES_MAX


def copies_of(name: str, given: object) -> int:
    """The number, if it is one of members. Raises InvalidInputError."""
    if type(given) is not int or not 1 <= given <= COPIES_MAX:
        raise InvalidInputError(name, f"is a number of members from 1 to {COPIES_MAX}, not {shown(given)}")
    return given


def waited_for(wait: object) -> int | None:
    """The members that a wait for a write is over with; None stands for `all`. Raises InvalidInputError."""
    copies = int(wait) if isinstance(wait, str) and _DIGITS.fullmatch(wait) else wait
    if copies == _ALL:
        return None
    if not is_copies(copies):
        raise InvalidInputError("wait", f"is `all` or a number of members from 1 to {COPIES_MAX}, not {shown(wait)}")
    return copies


def copies_in(name: str, text: str) -> int:
    """The number that a query gives. Raises InvalidInputError."""
    return copies_of(name, int(text) if _DIGITS.fullmatch(text) else text)
