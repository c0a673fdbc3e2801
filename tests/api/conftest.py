"""A real node in memory behind the real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import pytest
from multidict import CIMultiDictProxy
from yarl import URL

from gossipkv.api.options import ApiOptions
from gossipkv.api.routes import build_api
from gossipkv.api.server import serve
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.store.storage import Storage
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode, wall_clock_ms
from gossipkv.storage.memory import MemoryStorage
from gossipkv.transport.memory import MemoryNetwork, MemoryTransport

OPTIONS = ApiOptions(
    value_bytes_max=1000,
    page_rows_max=50,
    page_rows_default=10,
    page_bytes_max=2000,
    page_examined_rows_max=20,
    batch_group_rows_max=7,
    delete_page_rows=4,
)
"""Small limits, so that tests pass them."""


class Answer(NamedTuple):
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def problem(self) -> str:
        """The kind of problem, which must be well-formed."""
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.json["status"] == self.status
        assert self.json["title"]
        assert self.json["detail"]
        return str(self.json["type"]).removeprefix("urn:gossipkv:problem:")


class Api:
    """A client of one member, and the member."""

    def __init__(self, node: MemberNode, port: int, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        self.node = node
        self.port = port
        self.metrics = metrics
        self._session = session

    async def ask(self, method: str, path: str, **arguments: Any) -> Answer:
        """`path` goes out as it is."""
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        async with self._session.request(method, url, **arguments) as response:
            return Answer(response.status, response.headers, await response.read())

    async def put(self, row: str, value: bytes = b"v", /, table: str = "t", **headers: str) -> Answer:
        return await self.ask("PUT", row_path(row, table), data=value, headers=headers)

    async def get(self, row: str, table: str = "t", **headers: str) -> Answer:
        return await self.ask("GET", row_path(row, table), headers=headers)

    async def delete(self, row: str, table: str = "t", **headers: str) -> Answer:
        return await self.ask("DELETE", row_path(row, table), headers=headers)

    async def keys(self, table: str = "t", query: str = "") -> list[str]:
        """All keys of a table, page by page."""
        keys: list[str] = []
        cursor = ""
        while True:
            path = f"/v1/usr/tables/{table}/rows?keys_only=true{query}{cursor}"
            page = (await self.ask("GET", path)).json
            keys += [item["row"] for item in page["items"]]
            if page["next_cursor"] is None:
                return keys
            cursor = f"&cursor={page['next_cursor']}"

    async def batch(self, lines: Iterable[Any], table: str = "t") -> list[Any]:
        body = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
        answer = await self.ask("POST", f"/v1/usr/tables/{table}/rows:batch", data=body)
        assert answer.status == 200
        return answer.lines

    async def raw(self, request: bytes) -> bytes:
        """Everything that the server says on a connection until it closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    def contents(self) -> dict[bytes, bytes | None]:
        """What the users' shard holds, tombstones as None."""
        with self.node.view() as view:
            return {address: row.winner.value for address, row in view.rows("usr", b"", b"\xff")}


def row_path(row: str, table: str = "t") -> str:
    """Every character but letters and digits is encoded: dots, too, which clients like to resolve."""
    encoded = quote(row, safe="").replace(".", "%2E").replace("~", "%7E")
    return f"/v1/usr/tables/{table}/rows/{encoded}"


@asynccontextmanager
async def running(
    options: ApiOptions = OPTIONS,
    storage: Storage | None = None,
    clock_ms: Callable[[], int] = wall_clock_ms,
    network: MemoryNetwork | None = None,
    endpoints: tuple[str, ...] = (),
) -> AsyncIterator[Api]:
    metrics = Metrics()
    node = MemberNode(
        ReplicaOptions(bootstrap_timeout_ms=1, gossip_interval_ms=50, endpoints={"http": "http://m0:7080"}),
        storage or MemoryStorage(),
        MemoryTransport(network or MemoryNetwork(), "memory://m0"),
        StaticDiscovery(endpoints),
        metrics,
        clock_ms=clock_ms,
    )
    await node.start()
    server = await serve(build_api(node, metrics, options), "127.0.0.1", 0, options)
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            yield Api(node, server.port, session, metrics)
    finally:
        node.end_watches()
        await server.stop()
        await node.stop()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running() as api:
        yield api
