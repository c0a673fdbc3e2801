"""A watch that outlives the member that serves it.

The id of an event states what its watcher has seen, in a form that every member understands. So when a stream breaks,
falls behind or ends, the watch resumes at another member with the last id, and nothing is missed or seen twice. If no
journal reaches back far enough, the member sends `reset`: the current rows follow, then `current`. A watcher that keeps
a copy empties it at the `reset`.
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
from gossipkv.client.errors import UnavailableError
from gossipkv.client.servers.endpoints import Endpoint
from gossipkv.client.servers.events import Event, EventParser
from gossipkv.client.servers.path import table_path
from gossipkv.client.servers.requests import HttpRequest, Requests, joined, read_from
from gossipkv.client.tables.row import row_from_json
from gossipkv.rows.arguments import arguments, names
from gossipkv.rows.arguments.limits import EVENT_ID_CHARS_MAX

_PAUSE_S_MIN = 0.1
_PAUSE_S_MAX = 2.0
_ANEW = "anew"
"""The id of a watch that cannot be resumed: a member answers it with a reset."""
_EVENT_ID_LENGTH_MAX = 4096
"""Maximum length of an id. Version 0.1.0 gave out longer ones, which a server may refuse as a header. A watch with such
an id is reset, because otherwise every member would refuse it."""
_ENDINGS = frozenset({"overflow", "end"})
"""The member ends this watch: the watcher was too slow, or the member stops."""


class Kind(enum.Enum):
    PUT = "put"
    DELETE = "delete"
    EXPIRED = "expired"
    RESET = "reset"
    """What was seen before is void; the current rows follow."""
    CURRENT = "current"
    """All current rows have been sent."""


_KINDS = {kind.value: kind for kind in Kind}
"""The known events; others are ignored, because a later server may have more."""
_OF_ROWS = frozenset({Kind.PUT, Kind.DELETE, Kind.EXPIRED})


@dataclass(frozen=True, slots=True)
class Change:
    kind: Kind
    event_id: str | None
    """The id to give as `since`: a watch then resumes after this change, at any member."""
    row: str = ""
    """Empty for `RESET` and `CURRENT`."""
    value: bytes | None = None
    """The value; if there are several, the one that would win."""
    etag: str | None = None
    siblings: tuple[bytes, ...] = ()
    """All values, if the row has several."""
    context: str | None = None
    """The context of a row that keeps siblings: a write with it replaces the values of this change."""


class Watch:
    """An endless async iterator of changes. With `snapshot`, a watch without an id begins with the current rows. A
    member that sends nothing for `silence_s`, not even a heartbeat, is given up. UnavailableError is raised when no
    member has served the watch for `give_up_s`."""

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
        self._silence_s = checked(arguments.seconds, "silence_s", silence_s)
        self._give_up_s = checked(arguments.seconds, "give_up_s", give_up_s)
        self.event_id = None if since is None else checked(arguments.header_text, "since", since, EVENT_ID_CHARS_MAX)
        """The id of the last change seen."""
        self.server: str | None = None
        """The server of the watch, or the last one."""
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
        """Close the connection."""
        await self._changes.aclose()

    async def _followed(self) -> AsyncGenerator[Change]:
        loop = asyncio.get_running_loop()
        failures: list[UnavailableError] = []
        served_at_s = loop.time()
        while True:
            # The last server is tried last: it has just broken off, ended, or found this watcher too slow.
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
        """The changes from one member, until it stops or sends the watcher elsewhere. Raises ClientError."""
        headers = {"Accept": "text/event-stream"}
        if self.event_id is not None:
            headers["Last-Event-ID"] = self.event_id if len(self.event_id) <= _EVENT_ID_LENGTH_MAX else _ANEW
        request = HttpRequest("GET", self._path, self._query, headers)
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
    with read_from(server):
        row = row_from_json(json.loads(event.data))
        value = row.siblings[0] if row.siblings else row.value
        return Change(kind, event.event_id, row.row, value, row.etag, row.siblings, row.context)
