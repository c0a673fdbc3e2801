"""The part of a Kubernetes API server that serves EndpointSlices; it misbehaves as it is told."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

PATH = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def endpoint(name: str | None, *addresses: str, zone: str | None = None, **conditions: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"addresses": list(addresses), "conditions": conditions}
    if name is not None:
        found["targetRef"] = {"kind": "Pod", "name": name}
    if zone is not None:
        found["zone"] = zone
    return found


def endpoint_slice(
    name: str, *endpoints: dict[str, Any], family: str = "IPv4", gossip_port: int | None = 7081
) -> dict[str, Any]:
    ports = [{"name": "http", "port": 7080}]
    if gossip_port is not None:
        ports.append({"name": "gossip", "port": gossip_port})
    return {"metadata": {"name": name}, "addressType": family, "endpoints": list(endpoints), "ports": ports}


def status_of(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}


def answering(code: int, message: str = "no", headers: dict[str, str] | None = None) -> Answer:
    """Answer with a Status."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(status_of(code, message), status=code, headers=headers)

    return answer


def answering_text(code: int, text: str, content_type: str = "text/html") -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=code, content_type=content_type)

    return answer


def streaming(*chunks: bytes, breaks_off: bool = False, stalls: bool = False) -> Answer:
    """Begin to answer, and then end, break off or say nothing more."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        while stalls and request.transport is not None:
            await asyncio.sleep(0.01)
        if breaks_off:
            assert request.transport is not None
            request.transport.close()
        return response

    return answer


def line(kind: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


class ApiServer:
    def __init__(self) -> None:
        self.url = ""
        self.version = 1_000
        self.slices: dict[str, dict[str, Any]] = {}
        self.requests: list[dict[str, str]] = []
        self.next: dict[str, deque[Answer]] = {"list": deque(), "watch": deque()}
        """Answers to give instead of the right ones, once each."""
        self.always: dict[str, Answer | None] = {"list": None, "watch": None}
        self._events: list[tuple[int, bytes]] = []
        self._watches: list[asyncio.Queue[bytes | None]] = []
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get(PATH, self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        self.end_watches()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # What a cluster does

    def put(self, item: dict[str, Any], *, silently: bool = False) -> None:
        kind = "MODIFIED" if item["metadata"]["name"] in self.slices else "ADDED"
        self._happen(kind, item, silently=silently)
        self.slices[item["metadata"]["name"]] = item

    def delete(self, name: str) -> None:
        self._happen("DELETED", self.slices.pop(name))

    def bookmark(self) -> None:
        self._happen("BOOKMARK", {"kind": "EndpointSlice", "metadata": {}})

    def error(self, code: int) -> None:
        """End all watches with an event that says why."""
        self._say(line("ERROR", status_of(code, "too old resource version")))
        self.end_watches()

    def end_watches(self) -> None:
        for watch in self._watches:
            watch.put_nowait(None)

    def _happen(self, kind: str, item: dict[str, Any], *, silently: bool = False) -> None:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        if not silently:
            said = line(kind, item)
            if kind != "BOOKMARK":
                self._events.append((self.version, said))
            self._say(said)

    def _say(self, said: bytes) -> None:
        for watch in self._watches:
            watch.put_nowait(said)

    # What it was asked

    def asked(self, verb: str) -> list[dict[str, str]]:
        return [request for request in self.requests if request["verb"] == verb]

    @property
    def is_watched(self) -> bool:
        return bool(self._watches)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        verb = "watch" if request.query.get("watch") == "true" else "list"
        self.requests.append({**request.query, "verb": verb, "namespace": request.match_info["namespace"]})
        answer = self.next[verb].popleft() if self.next[verb] else self.always[verb]
        if answer is not None:
            return await answer(request)
        return await self._watch(request) if verb == "watch" else self._list(request)

    def _list(self, request: web.Request) -> web.Response:
        names = sorted(self.slices)
        start, limit = int(request.query.get("continue", 0)), int(request.query["limit"])
        metadata = {"resourceVersion": str(self.version)}
        if start + limit < len(names):
            metadata["continue"] = str(start + limit)
        items = [self.slices[name] for name in names[start : start + limit]]
        return web.json_response({"kind": "EndpointSliceList", "metadata": metadata, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        watch: asyncio.Queue[bytes | None] = asyncio.Queue()
        for version, event in self._events:
            if version > since:
                watch.put_nowait(event)
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        self._watches.append(watch)
        try:
            await response.prepare(request)
            while (said := await watch.get()) is not None:
                await response.write(said)
        finally:
            self._watches.remove(watch)
        return response
