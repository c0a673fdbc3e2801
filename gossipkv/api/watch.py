"""`rows:watch`: changes as Server-Sent Events, until the client goes away or the member stops.

`put` and `delete` carry a row as in a listing, `reset`, `current`, `overflow` and `end` a reason. The id of an event is
what the watcher has seen by then; any member goes on from it. Heartbeats are comments, and move the id on.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from gossipkv.api.json_rows import json_row, json_text
from gossipkv.api.listing import key_parameter
from gossipkv.api.options import ApiOptions
from gossipkv.api.problem import ProblemError
from gossipkv.api.target import Parameters, Target, namespace_of, table_of
from gossipkv.core.address import address_of, key_of
from gossipkv.core.seen import Seen
from gossipkv.core.watching import Told
from gossipkv.feed import ANEW, Signal, Watcher, Word
from gossipkv.node import Node

PARAMETERS = frozenset({"prefix", "snapshot", "last_event_id"})
EVENT_STREAM = "text/event-stream"
LAST_EVENT_ID = "Last-Event-ID"


class Watch:
    def __init__(self, node: Node, options: ApiOptions) -> None:
        self._node = node
        self._options = options

    async def get(self, request: web.BaseRequest, target: Target, parameters: Parameters) -> web.StreamResponse:
        shard = namespace_of(target)
        prefix = address_of(table_of(target), key_parameter("prefix", parameters))
        snapshot = parameters.get("snapshot", "false")
        if snapshot not in ("true", "false"):
            raise ProblemError("invalid-parameter", "`snapshot` is `true` or `false`", parameter="snapshot")
        last_id = request.headers.get(LAST_EVENT_ID) or parameters.get("last_event_id", "")
        seen = None if last_id == ANEW else _seen(last_id)
        headers = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        async with self._node.watched(shard, prefix, seen, snapshot=snapshot == "true") as watcher:
            if last_id == ANEW:
                watcher.begin_anew("the current rows were not told in full")
            await response.prepare(request)
            try:
                await self._pass_on(watcher, response)
            except (ConnectionError, TimeoutError):
                # The client is gone, or takes nothing off: whichever it is, it can go on from the last id it got.
                response.force_close()
                raise ConnectionAbortedError("the watch was cut off") from None
        response.force_close()
        return response

    async def _pass_on(self, watcher: Watcher, response: web.StreamResponse) -> None:
        # A first comment tells the client that it is watching.
        await response.write(b": watching\n\n")
        async for items in watcher.items():
            async with asyncio.timeout(self._options.body_timeout_seconds):
                await response.write(b"".join([_text(item) for item in items]))


def _seen(text: str) -> Seen | None:
    try:
        return Seen.decoded(text) if text else None
    except ValueError as error:
        raise ProblemError(
            "invalid-parameter", f"the last event id is none that a watch gave out: {error}", parameter="last_event_id"
        ) from None


def _text(item: Told | Word) -> bytes:
    if isinstance(item, Told):
        # Many watchers are told the same.
        item.text = item.text or _row_text(item)
        return item.text
    event_id = f"id: {item.event_id}\n" if item.event_id else ""
    if item.signal is Signal.HEARTBEAT:
        return f": heartbeat\n{event_id}\n".encode()
    data = json_text({"reason": item.reason} if item.reason else {})
    return f"event: {item.signal.value}\n{event_id}data: {data}\n\n".encode()


def _row_text(told: Told) -> bytes:
    key, row = key_of(told.address), told.row
    event_id = f"id: {told.event_id}\n" if told.event_id else ""
    if row.is_visible:
        return f"event: put\n{event_id}data: {json_row(key, row.winner.value or b'', row.etag)}\n\n".encode()
    data = f'{{"row":{json_text(key.decode())},"etag":"{row.etag}"}}'
    return f"event: delete\n{event_id}data: {data}\n\n".encode()
