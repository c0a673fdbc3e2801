"""The id of a watch event, as clients give it to go on behind the event."""

from __future__ import annotations

from gossipkv.core.watch.watch_position import WatchPosition
from gossipkv.rows.errors import ErrorKind, RequestError

NOT_TOLD_IN_FULL = "the current rows were not told in full"
"""The reason of a reset at the start of a watch whose id names no position."""


def position_in(event_id: str) -> WatchPosition | None:
    """The position that an id names; None if the watch must be reset. Raises RequestError."""
    try:
        return WatchPosition.of_event(event_id)
    except ValueError as error:
        detail = f"the last event id is none that a watch gave out: {error}"
        raise RequestError(detail, kind=ErrorKind.INVALID_PARAMETER, parameter="last_event_id") from None
