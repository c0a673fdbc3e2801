"""Conditions of a write: entity tags, RFC 9110 section 8.8.3, in the forms that programs and headers give them.

Rows' tags are strong. A condition is `*`, a list of tags in double quotes, or, where a program gives it, one tag
without quotes as answers show it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gossipkv.rows.arguments.invalid import InvalidInputError, shown
from gossipkv.rows.arguments.limits import HEADER_CHARS_MAX

ANY = "*"

_TAGS = re.compile(
    r'(?:\s*(?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*"\s*,)*\s*(?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*"\s*'
)
_TAG = re.compile(r'(W/)?"([^"]*)"')


class Tag(NamedTuple):
    """Without its quotes."""

    text: str
    is_weak: bool


def tags_in(name: str, text: str) -> list[Tag]:
    """The tags of a header. Raises InvalidInputError."""
    if text == ANY:
        return [Tag(ANY, False)]
    if len(text) > HEADER_CHARS_MAX:
        raise InvalidInputError(name, f"is at most {HEADER_CHARS_MAX} characters, this one is {len(text)}")
    if not _TAGS.fullmatch(text):
        raise InvalidInputError(name, 'is `*` or entity tags in double quotes, as `"a", "b"`')
    return [Tag(tag, bool(weak)) for weak, tag in _TAG.findall(text)]


def strong(tags: list[Tag]) -> tuple[str, ...]:
    """Those that can match: `If-Match` compares strongly."""
    return tuple([tag.text for tag in tags if not tag.is_weak])


def header_of(name: str, given: object) -> str:
    """A condition that a program gives, as a header has it. Raises InvalidInputError."""
    if not isinstance(given, str):
        raise InvalidInputError(name, f"is an etag as text, not {shown(given)}")
    text = given.strip()
    text = text if text == ANY or text.startswith(('"', "W/")) else f'"{text}"'
    tags_in(name, text)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(name, "holds half of a surrogate pair, so it is not valid text") from None
    return text


def tags_of(name: str, given: object) -> tuple[str, ...]:
    """The tags that a condition given by a program matches. Raises InvalidInputError."""
    return strong(tags_in(name, header_of(name, given)))
