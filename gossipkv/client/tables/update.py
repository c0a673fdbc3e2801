"""The update of a row: read, change, and write if nothing has changed in between; otherwise repeat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import NamedTuple

from gossipkv.client.arguments import checked
from gossipkv.client.errors import ConditionFailedError, ContextAheadError
from gossipkv.client.tables.write import PutOptions
from gossipkv.rows.arguments import arguments
from gossipkv.rows.arguments.durations import Duration
from gossipkv.rows.row import Row, Written

Updater = Callable[[bytes | None], bytes | Awaitable[bytes | None] | None]
"""Computes the new value from the current one; None means an absent row."""

ATTEMPTS_MAX = 10
_ATTEMPTS_MAX_MAX = 1_000_000


class CurrentRow(NamedTuple):
    """A read, with its siblings resolved."""

    row: Row | None
    context: str | None
    """A deleted row has a context too, so that the next put replaces the deletion."""


async def updated(
    read: Callable[[], Awaitable[CurrentRow]],
    write: Callable[[bytes | None, PutOptions], Awaitable[Written]],
    change: Updater,
    *,
    attempts_max: int,
    ttl: Duration | None,
    w: int | None,
) -> Written | None:
    """Carry out an update. Returns None if there was nothing to delete. Raises what the functions raise, and
    InvalidArgumentError."""
    checked(arguments.function, "change", change)
    checked(arguments.count, "attempts_max", attempts_max, 1, _ATTEMPTS_MAX_MAX)
    for attempt in range(attempts_max):
        row, context = await read()
        wanted = change(None if row is None else row.value)
        value = await wanted if isawaitable(wanted) else wanted
        if row is None and value is None:
            return None
        options: PutOptions = {"context": context, "w": w}
        if value is not None:
            options["ttl"] = ttl
        if row is None:
            options["if_absent"] = True
        else:
            options["if_match"] = row.etag
        try:
            return await write(value, options)
        except (ConditionFailedError, ContextAheadError):
            # Several members may stand behind one address, and what was read at one may have been lost with it.
            if attempt + 1 == attempts_max:
                raise
    raise AssertionError("at least one attempt")
