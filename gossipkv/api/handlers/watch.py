"""`rows:watch`: changes as Server-Sent Events, until the client goes away or the member stops.

`put` has a row as in a listing, or all its values as in the answer 300; `delete` and `expired` have the row without a
value. Rows that keep siblings have their context, for the next write. `reset`, `current`, `overflow` and `end` have a
reason. The id of an event is the watcher's position, from which any member can resume. Heartbeats are comments, and
advance the id.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from aiohttp import web

from gossipkv.api.answers.alone import alone_headers
from gossipkv.api.answers.json_rows import json_siblings, json_text, json_value
from gossipkv.api.handlers.listing import key_parameter
from gossipkv.api.options import ApiOptions
from gossipkv.api.problem import ProblemError
from gossipkv.api.requests.target import Parameters, Target, namespace_of, table_of
from gossipkv.core.model.address import address_of, key_of
from gossipkv.core.watch.watching import WatchEvent
from gossipkv.member.feed import Watcher
from gossipkv.member.node import MemberNode
from gossipkv.member.watches import ControlEvent, Signal
from gossipkv.rows.view import context_token
from gossipkv.rows.view.event_id import NOT_TOLD_IN_FULL, position_in
from gossipkv.rows.view.visibility import Sight, sight_of

PARAMETERS = frozenset({"prefix", "snapshot", "last_event_id"})
EVENT_STREAM = "text/event-stream"
LAST_EVENT_ID = "Last-Event-ID"
_WRITE_BYTES_MAX = 64 * 1024
TEXT_PER_BYTE_MAX = 6
"""Bytes of JSON per byte of a value, at most."""
_NEXT_DATA_LINE = "\ndata: "


class WatchHandlers:
    def __init__(self, node: MemberNode, options: ApiOptions) -> None:
        self._node = node
        self._options = options

    async def get(self, request: web.BaseRequest, target: Target, parameters: Parameters) -> web.StreamResponse:
        shard = namespace_of(target)
        prefix = address_of(table_of(target), key_parameter("prefix", parameters))
        snapshot = parameters.get("snapshot", "false")
        if snapshot not in ("true", "false"):
            raise ProblemError("invalid-parameter", "`snapshot` is `true` or `false`", parameter="snapshot")
        last_id = request.headers.get(LAST_EVENT_ID) or parameters.get("last_event_id", "")
        position = position_in(last_id) if last_id else None
        headers = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        headers |= alone_headers(self._node)
        response = web.StreamResponse(headers=headers)
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        async with self._node.watched(shard, prefix, position, snapshot=snapshot == "true") as watcher:
            if last_id and position is None:
                watcher.begin_anew(NOT_TOLD_IN_FULL)
            await response.prepare(request)
            try:
                await self._pass_on(watcher, response)
            except (ConnectionError, TimeoutError):
                # The client is gone, or does not read. In both cases it can resume from the last id that it got.
                response.force_close()
                raise ConnectionAbortedError("the watch was cut off") from None
        response.force_close()
        return response

    async def _pass_on(self, watcher: Watcher, response: web.StreamResponse) -> None:
        await response.write(f": watching\nid: {watcher.first_id}\n\n".encode())
        async with aclosing(watcher.items()) as batches:
            async for items in batches:
                await self._write(watcher, items, response)

    async def _write(
        self, watcher: Watcher, items: list[WatchEvent | ControlEvent], response: web.StreamResponse
    ) -> None:
        # A deadline for all of them: a client that takes a little now and then would hold them for ever.
        async with asyncio.timeout(self._options.body_timeout_seconds):
            small: list[bytes] = []
            size_bytes = 0
            for item in items:
                if isinstance(item, WatchEvent) and not await self._may_format(watcher, item):
                    raise TimeoutError
                size = len(self._text(watcher, item))
                if small and size_bytes + size > _WRITE_BYTES_MAX:
                    await response.write(b"".join(small))
                    small, size_bytes = [], 0
                if size > _WRITE_BYTES_MAX:
                    # In writes of bounded size: what is being written is a copy for this watcher alone. No variable
                    # holds the text, because the traceback of a watch that is cut off would keep it.
                    for at in range(0, size, _WRITE_BYTES_MAX):
                        await response.write(self._text(watcher, item)[at : at + _WRITE_BYTES_MAX])
                else:
                    small.append(self._text(watcher, item))
                    size_bytes += size
            if small:
                await response.write(b"".join(small))

    async def _may_format(self, watcher: Watcher, told: WatchEvent) -> bool:
        is_small = told.size_bytes <= _WRITE_BYTES_MAX
        return is_small or await watcher.may_format(told, TEXT_PER_BYTE_MAX * told.size_bytes)

    def _text(self, watcher: Watcher, item: WatchEvent | ControlEvent) -> bytes:
        if isinstance(item, ControlEvent):
            return _word_text(item)
        if not item.text:
            # Many watchers get the same event.
            watcher.keep_text(item, self._event_text(watcher.shard, item))
        return item.text

    def _event_text(self, shard: str, told: WatchEvent) -> bytes:
        """The event for a row, as a reader finds it now."""
        return event_text(told, sight_of(self._node.view, shard, told.address, told.row, self._node.now_ms()))


def _word_text(word: ControlEvent) -> bytes:
    event_id = f"id: {word.event_id}\n" if word.event_id else ""
    if word.signal is Signal.HEARTBEAT:
        return f": heartbeat\n{event_id}\n".encode()
    data = json_text({"reason": word.reason} if word.reason else {})
    return f"event: {word.signal.value}\n{event_id}data: {data}\n\n".encode()


def event_text(told: WatchEvent, sight: Sight) -> bytes:
    """The event of a row; with the context to replace its values if the table keeps siblings."""
    row, visible = told.row, sight.visible
    fields = f'{{"row":{json_text(key_of(told.address).decode())},"etag":"{row.etag}"'
    if sight.keeps_siblings:
        fields += f',"context":"{context_token.text_of(told.address, row)}"'
    if len(visible) > 1:
        # One line of data per sibling: joined line breaks are white space in JSON. So a line has at most one value.
        kind, fields = "put", f'{fields},"siblings":{json_siblings(visible, separator=f",{_NEXT_DATA_LINE}")}'
    elif visible:
        kind, fields = "put", f'{fields},"value":{json_value(visible[0].value or b"")}'
    else:
        kind = "expired" if sight.has_expired(row) else "delete"
    event_id = f"id: {told.event_id}\n" if told.event_id else ""
    return f"event: {kind}\n{event_id}data: {fields}}}\n\n".encode()
