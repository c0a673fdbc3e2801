"""Conditional requests, RFC 9110 section 13, on entity tags.

Rows' tags are strong: `If-Match` compares strongly, so a weak tag never matches there; `If-None-Match` compares weakly.
"""

from __future__ import annotations

from typing import NamedTuple

from aiohttp.hdrs import IF_MATCH, IF_NONE_MATCH
from multidict import CIMultiDictProxy

from gossipkv.core.model.row import Seen
from gossipkv.rows.arguments.conditions import ANY, Tag, strong, tags_in
from gossipkv.rows.arguments.invalid import InvalidInputError
from gossipkv.rows.view.context_token import seen_in
from gossipkv.rows.view.refusals import condition_failed

CONTEXT_HEADER = "Gossipkv-Context"


class Conditions(NamedTuple):
    """Of a write."""

    if_match: tuple[str, ...] | None = None
    """`*` alone: only an existing row."""
    if_absent: bool = False


NO_CONDITIONS = Conditions()


def conditions_of_write(headers: CIMultiDictProxy[str]) -> Conditions:
    """The conditions in `If-Match` and `If-None-Match: *`."""
    if IF_MATCH not in headers and IF_NONE_MATCH not in headers:
        return NO_CONDITIONS
    if_match = strong(_tags(headers, IF_MATCH)) if IF_MATCH in headers else None
    if IF_NONE_MATCH in headers and _text(headers, IF_NONE_MATCH) != ANY:
        raise InvalidInputError(IF_NONE_MATCH, "is `*` where it stands with a write")
    return Conditions(if_match, IF_NONE_MATCH in headers)


def seen_of(headers: CIMultiDictProxy[str], address: bytes) -> Seen | None:
    """The context that the writer gives; None if it gives none."""
    text = headers.get(CONTEXT_HEADER)
    return None if text is None else seen_in(text, address)


def is_not_modified(headers: CIMultiDictProxy[str], etag: str) -> bool:
    """Whether the reader already has the current row. Raises RequestError if an `If-Match` does not hold."""
    if IF_MATCH in headers:
        tags = _tags(headers, IF_MATCH)
        if not any((tag == etag and not is_weak) or tag == ANY for tag, is_weak in tags):
            raise condition_failed(etag)
    if IF_NONE_MATCH not in headers:
        return False
    return any(tag in (etag, ANY) for tag, _ in _tags(headers, IF_NONE_MATCH))


def _text(headers: CIMultiDictProxy[str], name: str) -> str:
    return ", ".join(headers.getall(name)).strip()


def _tags(headers: CIMultiDictProxy[str], name: str) -> list[Tag]:
    return tags_in(name, _text(headers, name))
