"""A client that watches a table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from .conftest import Api

DEADLINE_SECONDS = 20.0


class Event(NamedTuple):
    kind: str
    id: str
    data: Any

    @property
    def shown(self) -> tuple[str, Any, Any]:
        return self.kind, self.data.get("row"), self.data.get("value")


class Stream:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.headers = response.headers
        self.last_id = ""
        self.longest_line_bytes = 0

    async def next(self) -> Event:
        fields: dict[str, str] = {}
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                raw = await self._response.content.readline()
                self.longest_line_bytes = max(self.longest_line_bytes, len(raw))
                line = raw.decode().rstrip("\n")
                if not line:
                    self.last_id = fields.get("id", self.last_id)
                    if "data" in fields:
                        return Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
                    fields = {}
                name, _, value = line.partition(": ")
                # Lines of data are joined with line ends.
                fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value

    async def take(self, count: int) -> list[Event]:
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def watching(api: Api, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    url = f"http://127.0.0.1:{api.port}/v1/usr/tables/t/rows:watch{query}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Stream(response)
