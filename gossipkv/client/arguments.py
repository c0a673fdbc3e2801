"""What a client checks before it asks a server: the rules of `gossipkv.rows`, with the client's own error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from gossipkv.client.errors import error_of_request
from gossipkv.rows.arguments import arguments
from gossipkv.rows.arguments.copies import copies_of
from gossipkv.rows.arguments.durations import duration_text, life_ms_of, wait_ms_of
from gossipkv.rows.arguments.invalid import InvalidInputError, UnsupportedSettingError

Given = ParamSpec("Given")
Checked = TypeVar("Checked")


def checked(rule: Callable[Given, Checked], *given: Given.args, **named: Given.kwargs) -> Checked:
    """Apply a rule to an argument. Raises InvalidArgumentError."""
    try:
        return rule(*given, **named)
    except InvalidInputError as error:
        raise error_of_request(error) from error


def check_known(call: str, given: Iterable[str], known: frozenset[str]) -> None:
    """Raises TypeError for a keyword that the call does not have, as a function does."""
    if unknown := sorted(set(given) - known):
        raise TypeError(f"{call}() got an unexpected keyword argument {unknown[0]!r}; known are: {sorted(known)}")


def settings_given(conflicts: str | None, w: int | None, r: int | None) -> dict[str, str | int]:
    """The settings of a table that are to change. Raises InvalidArgumentError."""
    given: dict[str, str | int] = {}
    try:
        if conflicts is not None:
            given["conflicts"] = arguments.header_text("conflicts", conflicts)
        for name, copies in (("w", w), ("r", r)):
            if copies is not None:
                given[name] = copies_of(name, copies)
    except InvalidInputError as error:
        raise error_of_request(UnsupportedSettingError(str(error), error.field)) from error
    return given


def life_text(name: str, duration: object) -> str:
    """As the API reads it. Raises InvalidArgumentError."""
    return duration_text(checked(life_ms_of, name, duration))


def wait_text(name: str, duration: object) -> str:
    """As the API reads it. Raises InvalidArgumentError."""
    return duration_text(checked(wait_ms_of, name, duration))


def wait_seconds(name: str, duration: object) -> float:
    """A duration as the API reads it; None if none is given. Raises InvalidArgumentError."""
    return 0.0 if duration is None else checked(wait_ms_of, name, duration) / 1_000


def copies_text(name: str, given: object) -> str:
    """As the API reads it. Raises InvalidArgumentError."""
    return str(checked(copies_of, name, given))
