"""A watch of the member in this process: the changes that `client.Watch` gives, without a connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType

from gossipkv.client.arguments import checked
from gossipkv.client.errors import error_of_request
from gossipkv.client.tables.watch import Change, Kind
from gossipkv.core.model.address import address_of, key_of
from gossipkv.core.watch.watching import WatchEvent
from gossipkv.member.node import MemberNode
from gossipkv.member.watches import Signal
from gossipkv.rows.arguments import arguments, names
from gossipkv.rows.arguments.limits import EVENT_ID_CHARS_MAX
from gossipkv.rows.errors import ErrorKind, RequestError
from gossipkv.rows.view import context_token
from gossipkv.rows.view.event_id import NOT_TOLD_IN_FULL, position_in
from gossipkv.rows.view.refusals import request_error_of
from gossipkv.rows.view.visibility import sight_of

_KINDS = {Signal.RESET: Kind.RESET, Signal.CURRENT: Kind.CURRENT}


class NodeWatch:
    """An endless async iterator of changes. With `snapshot`, a watch without an id begins with the current rows. A
    watcher that is too slow resumes by itself after the last change that it got. UnavailableError is raised when the
    member stops."""

    def __init__(
        self,
        node: MemberNode,
        namespace: str,
        table: str,
        *,
        prefix: str | None = None,
        since: str | None = None,
        snapshot: bool = False,
    ) -> None:
        self._node = node
        self._namespace = namespace
        bound = b"" if prefix is None else checked(names.key_bound, "prefix", prefix)
        self._prefix = address_of(table, bound)
        self._has_snapshot = checked(arguments.flag, "snapshot", snapshot)
        self.event_id = None if since is None else checked(arguments.header_text, "since", since, EVENT_ID_CHARS_MAX)
        """The id of the last change seen."""
        self._changes = self._followed()

    def __aiter__(self) -> NodeWatch:
        return self

    async def __anext__(self) -> Change:
        return await anext(self._changes)

    async def __aenter__(self) -> NodeWatch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the watch."""
        await self._changes.aclose()

    async def _followed(self) -> AsyncGenerator[Change]:
        try:
            while True:
                async with aclosing(self._served()) as changes:
                    async for change in changes:
                        yield change
        except Exception as error:
            if (request_error := request_error_of(error)) is None:
                raise
            raise error_of_request(request_error) from error

    async def _served(self) -> AsyncGenerator[Change]:
        """The changes until the watcher is too slow. Raises RequestError, StorageError."""
        since = self.event_id
        position = position_in(since) if since else None
        async with self._node.watched(self._namespace, self._prefix, position, snapshot=self._has_snapshot) as watcher:
            if since and position is None:
                watcher.begin_anew(NOT_TOLD_IN_FULL)
            self.event_id = watcher.first_id
            async with aclosing(watcher.items()) as batches:
                async for items in batches:
                    for item in items:
                        self.event_id = item.event_id or self.event_id
                        if isinstance(item, WatchEvent):
                            yield self._change(item)
                        elif item.signal in _KINDS:
                            yield Change(_KINDS[item.signal], self.event_id)
                        elif item.signal is Signal.END:
                            raise RequestError(item.reason, kind=ErrorKind.STOPPING)

    def _change(self, told: WatchEvent) -> Change:
        """The change of a row, as a reader finds it now."""
        address, row = told.address, told.row
        sight = sight_of(self._node.view, self._namespace, address, row, self._node.now_ms())
        key = key_of(address).decode()
        context = context_token.text_of(address, row) if sight.keeps_siblings else None
        if not sight.visible:
            kind = Kind.EXPIRED if sight.has_expired(row) else Kind.DELETE
            return Change(kind, self.event_id, key, None, row.etag, (), context)
        values = tuple([version.value or b"" for version in sight.visible])
        siblings = values if len(values) > 1 else ()
        return Change(Kind.PUT, self.event_id, key, values[0], row.etag, siblings, context)
