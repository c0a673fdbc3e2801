"""A watch that outlives the member it is served by.

The id of an event says what its watcher has seen, in a form that every member understands. So when a stream breaks,
falls behind or ends, the watch goes on at another member with the last id, and nothing is missed or seen twice. Where
that cannot be done, because no journal reaches back so far, the member says `reset`: the rows as they are follow, then
`current`, and whoever keeps a copy empties it first.
"""

from __future__ import annotations

import asyncio
import enum
import json
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType

from gossipkv.client.arguments import checked
from gossipkv.client.endpoints import Endpoint
from gossipkv.client.errors import RefusedError, UnavailableError
from gossipkv.client.events import Event, EventParser
from gossipkv.client.path import table_path
from gossipkv.client.requests import Request, Requests, joined
from gossipkv.client.row import row_from_json
from gossipkv.rows import arguments, names

_PAUSE_S_MIN = 0.1
_PAUSE_S_MAX = 2.0
_ANEW = "anew"
"""The id of a watch that cannot go on from its place: the member answers it with a reset."""
_EVENT_ID_LENGTH_MAX = 4096
"""Members give out no longer ids, those of version 0.1.0 excepted. Such an id may be more than a server takes as a
header, so the watch is reset rather than refused at every member."""
_ENDINGS = frozenset({"overflow", "end"})
"""The member serves this watch no longer: its watcher was too slow, or the member stops."""


class Kind(enum.Enum):
    PUT = "put"
    DELETE = "delete"
    EXPIRED = "expired"
    RESET = "reset"
    """What was seen before is void; the rows as they are follow."""
    CURRENT = "current"
    """All rows as they are have been told."""


_KINDS = {kind.value: kind for kind in Kind}
"""Events of other names are passed over: a later server may know more."""
_OF_ROWS = frozenset({Kind.PUT, Kind.DELETE, Kind.EXPIRED})


@dataclass(frozen=True, slots=True)
class Change:
    kind: Kind
    event_id: str | None
    """A watch that is given this as `since` goes on behind this change, at any member."""
    row: str = ""
    """Empty for `RESET` and `CURRENT`."""
    value: bytes | None = None
    """Of several values at once, the one that would win."""
    etag: str | None = None
    siblings: tuple[bytes, ...] = ()
    """All values, where the row has several at once."""
    context: str | None = None
    """Of a row that keeps siblings: a write with it replaces what the change tells."""


class Watch:
    """An async iterator of changes, without end. `snapshot`: without an id to go on from, the rows as they are come
    first. `silence_s`: a member that says nothing for so long, not even a heartbeat, is given up. `give_up_s`:
    UnavailableError is raised when no member has served the watch for so long."""

    def __init__(
        self,
        requests: Requests,
        namespace: str,
        table: str,
        *,
        prefix: str | None = None,
        since: str | None = None,
        snapshot: bool = False,
        silence_s: float = 60.0,
        give_up_s: float = 60.0,
    ) -> None:
        self._requests = requests
        self._path = table_path(namespace, table) + "/rows:watch"
        self._query = {} if prefix is None else {"prefix": checked(names.key_bound, "prefix", prefix).decode()}
        if checked(arguments.flag, "snapshot", snapshot):
            self._query["snapshot"] = "true"
        self._silence_s = silence_s
        self._give_up_s = give_up_s
        self.event_id = None if since is None else checked(arguments.header_text, "since", since)
        """Of the last change seen."""
        self.server: str | None = None
        """The member that serves it, or did so last."""
        self._rng = random.Random()
        self._changes = self._followed()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        return await anext(self._changes)

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._changes.aclose()

    async def _followed(self) -> AsyncGenerator[Change]:
        loop = asyncio.get_running_loop()
        failures: list[UnavailableError] = []
        served_at_s = loop.time()
        while True:
            # The one that served it goes last: it has just broken off, ended, or found this watcher too slow.
            for endpoint in sorted(self._requests.endpoints.order(), key=lambda endpoint: endpoint.url == self.server):
                try:
                    async with aclosing(self._served(endpoint)) as changes:
                        async for change in changes:
                            yield change
                    failures = []
                except UnavailableError as failure:
                    failures.append(failure)
                if self.server == endpoint.url:
                    served_at_s = loop.time()
            if loop.time() - served_at_s >= self._give_up_s and failures:
                raise joined(failures[-len(self._requests.endpoints) :])
            await asyncio.sleep(self._rng.uniform(_PAUSE_S_MIN, _PAUSE_S_MAX if failures else _PAUSE_S_MIN))

    async def _served(self, endpoint: Endpoint) -> AsyncGenerator[Change]:
        """What one member tells, until it stops or sends the watcher elsewhere. Raises ClientError."""
        headers = {"Accept": "text/event-stream"}
        if self.event_id is not None:
            headers["Last-Event-ID"] = self.event_id if len(self.event_id) <= _EVENT_ID_LENGTH_MAX else _ANEW
        request = Request("GET", self._path, self._query, headers)
        parser = EventParser()
        async with self._requests.stream(endpoint, request, self._silence_s) as lines:
            self.server = endpoint.url
            async for line in lines:
                event = parser.take(line)
                if event is None:
                    continue
                if event.event_id is not None:
                    self.event_id = event.event_id
                if event.name in _ENDINGS:
                    return
                if event.name in _KINDS:
                    yield _change(_KINDS[event.name], event, endpoint.url)


def _change(kind: Kind, event: Event, server: str) -> Change:
    """Raises RefusedError."""
    if kind not in _OF_ROWS:
        return Change(kind, event.event_id)
    try:
        row = row_from_json(json.loads(event.data))
        value = row.siblings[0] if row.siblings else row.value
        return Change(kind, event.event_id, row.row, value, row.etag, row.siblings, row.context)
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"{server} does not watch like gossipkv: {error}") from error
