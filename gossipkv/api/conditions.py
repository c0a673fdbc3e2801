"""Conditional requests, RFC 9110 section 13, on entity tags.

Rows' tags are strong: `If-Match` compares strongly, so a weak tag never matches there; `If-None-Match` compares weakly.
"""

from __future__ import annotations

from typing import NamedTuple

from aiohttp.hdrs import IF_MATCH, IF_NONE_MATCH
from multidict import CIMultiDictProxy

from gossipkv.api.problem import ProblemError, row_unreadable
from gossipkv.core.model.write import (
    CATCHING_UP,
    CONTEXT_AHEAD,
    CONTEXT_REQUIRED,
    CONTEXT_UNKNOWN,
    NO_ROOM,
    ROW_TOO_LARGE,
    TOO_MANY_SIBLINGS,
    UNREADABLE,
    Declined,
)
from gossipkv.core.protocol.parcel import ROW_BYTES_MAX
from gossipkv.rows.conditions import ANY, Tag, strong, tags_in
from gossipkv.rows.invalid import InvalidInputError

_REFUSALS = {
    TOO_MANY_SIBLINGS: (
        "too-many-siblings",
        "the row has as many values at once as it may: read it, and write what you make of them with its context",
    ),
    CONTEXT_REQUIRED: (
        "context-required",
        "the table keeps siblings, and a delete removes what its writer has read: give the context of a read, or its "
        "etag as the condition",
    ),
    CATCHING_UP: (
        "overloaded",
        "rows that are on their way to all members may take the room that is left: try again in a moment",
    ),
    NO_ROOM: (
        "storage-full",
        "there is no room for this put: reads and deletes go on; enlarge the volumes of all members, or delete rows",
    ),
    ROW_TOO_LARGE: (
        "row-too-large",
        f"with this value the row would hold more than {ROW_BYTES_MAX} bytes, the most that members can give to each "
        "other: read it, and write what you make of its values with its context, or put them into several rows",
    ),
    CONTEXT_AHEAD: (
        "context-ahead",
        "what the context names is further ahead than this member's clock allows: try again, or write at the member "
        "that you read from",
    ),
    CONTEXT_UNKNOWN: (
        "context-ahead",
        "the context names writes that this member has not seen: try again in a moment, or write at the member that "
        "you read from; if that goes on, read the row again, for the writes may be lost",
    ),
}
_RETRIED = frozenset({CONTEXT_AHEAD, CONTEXT_UNKNOWN})
"""Reasons that may end by themselves."""
_RETRY_AFTER_SECONDS = "1"


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


def is_not_modified(headers: CIMultiDictProxy[str], etag: str) -> bool:
    """Whether the reader already has the current row. Raises the problem of an `If-Match` that does not hold."""
    if IF_MATCH in headers:
        tags = _tags(headers, IF_MATCH)
        if not any((tag == etag and not is_weak) or tag == ANY for tag, is_weak in tags):
            raise precondition_failed(etag)
    if IF_NONE_MATCH not in headers:
        return False
    return any(tag in (etag, ANY) for tag, _ in _tags(headers, IF_NONE_MATCH))


def precondition_failed(etag: str | None) -> ProblemError:
    """A failed condition. `etag` is the row's current etag; None if there is no row."""
    detail = "the row does not exist" if etag is None else "the row has another version than the condition asks for"
    return ProblemError("precondition-failed", detail, headers={} if etag is None else {"ETag": f'"{etag}"'}, etag=etag)


def refused(result: Declined) -> ProblemError:
    """Why a write was declined."""
    if result.reason == UNREADABLE:
        return row_unreadable("the condition is about a row that cannot be read here")
    kind, detail = _REFUSALS[result.reason]
    headers = {"ETag": f'"{result.etag}"'} if result.etag else {}
    if result.reason in _RETRIED:
        headers["Retry-After"] = _RETRY_AFTER_SECONDS
    return ProblemError(kind, detail, headers=headers, siblings=result.siblings)


def _text(headers: CIMultiDictProxy[str], name: str) -> str:
    return ", ".join(headers.getall(name)).strip()


def _tags(headers: CIMultiDictProxy[str], name: str) -> list[Tag]:
    return tags_in(name, _text(headers, name))
