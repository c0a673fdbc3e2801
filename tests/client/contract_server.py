"""A server that answers as the API is documented, for the parts that a client has to meet in all their answers.

It holds one table in memory. Siblings are versions whose writers had not seen each other; a context is the list of the
versions that its reader saw. The journal is a list, and an event's id is a place in it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

CONTEXT = "Gossipkv-Context"


def problem(status: int, kind: str, *, retry_after: int | None = None, **members: object) -> web.Response:
    headers = {"Content-Type": "application/problem+json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    content = {"type": f"urn:gossipkv:problem:{kind}", "title": kind, "status": status, "detail": kind, **members}
    return web.Response(body=json.dumps(content).encode(), status=status, headers=headers)


@dataclass
class Store:
    """What several servers share."""

    versions: dict[str, dict[int, str]] = field(default_factory=dict)
    journal: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Event name and data."""
    first: int = 0
    """Events before this place are forgotten."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def write(self, row: str, value: str | None, context: str | None = None) -> int:
        version = len(self.journal) + 1
        held = self.versions.setdefault(row, {})
        for seen in json.loads(context or "[]"):
            held.pop(seen, None)
        if value is not None:
            held[version] = value
        data = {"row": row, "value": value, "etag": str(version)} if value is not None else {"row": row}
        self.journal.append(("put" if value is not None else "delete", data))
        async with self.changed:
            self.changed.notify_all()
        return version

    async def beyond(self, place: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: place < len(self.journal))


class ContractServer:
    """`refusals`: answers, each given to one request in place of the real one."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store()
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.refusals: list[Callable[[], web.Response]] = []
        self.ending: str | None = None
        """The event with which the next watch ends after what it has told."""
        self.cuts_snapshots = False
        """Whether the next watch ends amid the rows that follow a reset."""
        self.is_ready = True
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ContractServer]:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site.port}"
        yield self
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/readyz":
            return web.Response(status=200 if self.is_ready else 503)
        self.requests.append(request)
        self.bodies.append(await request.read())
        if self.refusals:
            return self.refusals.pop(0)()
        if request.path.endswith("rows:watch"):
            return await self._watch(request)
        row = unquote(request.path.rpartition("/")[2])
        if request.method == "GET":
            return self._get(row)
        value = self.bodies[-1].decode() if request.method == "PUT" else None
        return await self._write(request, row, value)

    def _get(self, row: str) -> web.Response:
        held = self.store.versions.get(row, {})
        headers = {CONTEXT: json.dumps(sorted(held)), "ETag": f'"{_etag(held)}"'}
        if not held:
            absent = problem(404, "row-not-found")
            absent.headers[CONTEXT] = "[]"
            return absent
        if len(held) == 1:
            return web.Response(body=next(iter(held.values())).encode(), headers=headers)
        siblings = [{"value": value, "etag": str(version)} for version, value in sorted(held.items(), reverse=True)]
        return web.json_response({"siblings": siblings}, status=300, headers=headers)

    async def _write(self, request: web.Request, row: str, value: str | None) -> web.Response:
        held = self.store.versions.get(row, {})
        expected = request.headers.get("If-Match")
        if expected is not None and expected.strip('"') != _etag(held):
            return problem(412, "precondition-failed")
        if "If-None-Match" in request.headers and held:
            return problem(412, "precondition-failed")
        version = await self.store.write(row, value, request.headers.get(CONTEXT))
        headers = {"ETag": f'"{version}"', CONTEXT: f"[{version}]", "Gossipkv-Receipt": f"usr.0.{version}"}
        return web.Response(status=204, headers=headers)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        store, prefix = self.store, request.query.get("prefix", "")
        last_id = request.headers.get("Last-Event-ID", "")
        is_anew = last_id == "anew"
        place = int(last_id) if last_id.isdigit() else len(store.journal)
        if is_anew or place < store.first:
            await response.write(b'event: reset\nid: anew\ndata: {"reason":"gone"}\n\n')
            if self.cuts_snapshots:
                self.cuts_snapshots = False
                return response
            for row, held in store.versions.items():
                for version, value in held.items():
                    await _send(response, "put", {"row": row, "value": value, "etag": str(version)})
            place = len(store.journal)
            await _send(response, "current", {}, place)
        await response.write(f": heartbeat\nid: {place}\n\n".encode())
        while True:
            while place < len(store.journal):
                name, data = store.journal[place]
                place += 1
                if data["row"].startswith(prefix):
                    await _send(response, name, data, place)
                if self.ending is not None:
                    name, self.ending = self.ending, None
                    await response.write(f"event: {name}\n\n".encode())
                    return response
            await store.beyond(place)


async def _send(response: web.StreamResponse, name: str, data: dict[str, Any], event_id: int | None = None) -> None:
    id_line = "" if event_id is None else f"id: {event_id}\n"
    await response.write(f"event: {name}\n{id_line}data: {json.dumps(data)}\n\n".encode())


def _etag(held: dict[int, str]) -> str:
    return "+".join(str(version) for version in sorted(held, reverse=True))
