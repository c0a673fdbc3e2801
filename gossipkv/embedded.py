"""A member inside another asyncio program.

It is a member like any other: it has its own data directory, gossips with its peers, and holds all rows. The program
around it reads them in its own process, without a network hop, and its writes are durable when they return. A data
directory belongs to one member at a time. `async with` starts it and, at the end, brings its last writes to the others.
What it logs goes to the logger `gossipkv` and those below it, unless the program has configured structlog itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

from gossipkv import logs
from gossipkv.api.routes import build_api
from gossipkv.api.server import Server, serve
from gossipkv.client.errors import ConditionFailedError, UnresolvedSiblingsError
from gossipkv.client.row import Row, Sibling, Written
from gossipkv.client.table import Resolve
from gossipkv.composition import api_options, composed
from gossipkv.core.address import ROW_KEY_BYTES_MAX, USER, address_of, is_table_name, key_of
from gossipkv.core.member import GOSSIP, HTTP
from gossipkv.core.row import Row as StoredRow
from gossipkv.core.write import NotMatched, Operation
from gossipkv.discovery.base import Discovery
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.metrics import Metrics
from gossipkv.node import Node
from gossipkv.settings import Settings

_PAGE_ROWS = 500
_PAGE_EXAMINED_ROWS_MAX = 5_000


class Member:
    """`peers`: gossip URLs of other members; a `discovery` of one's own takes their place. `gossip_port` is listened
    on; others reach it at `advertise_host`, or at `gossip_host` where that is not given. `http_port`: serve the HTTP
    API, too. `settings`: any other of docs/settings.md. Starting raises StorageError where the directory cannot be
    used, and OSError where a port cannot be had."""

    def __init__(
        self,
        *,
        data_dir: str | Path,
        member: str,
        peers: Sequence[str] = (),
        cluster: str = "gossipkv",
        gossip_host: str = "127.0.0.1",
        gossip_port: int = 7081,
        advertise_host: str | None = None,
        http_port: int | None = None,
        discovery: Discovery | None = None,
        **settings: Any,
    ) -> None:
        if http_port is not None:
            settings["http_port"] = http_port
        self._settings = Settings(
            member=member,
            cluster=cluster,
            data_dir=str(data_dir),
            gossip_host=gossip_host,
            gossip_port=gossip_port,
            **settings,
        )
        self._serves_http = http_port is not None
        host = advertise_host or gossip_host
        host = f"[{host}]" if ":" in host else host
        self._endpoints = {GOSSIP: f"http://{host}:{gossip_port}"}
        if self._serves_http:
            self._endpoints[HTTP] = f"http://{host}:{http_port}"
        self._discovery = discovery or StaticDiscovery(tuple(peers), self._settings.discovery_interval_s)
        self._server: Server | None = None

    async def __aenter__(self) -> Member:
        if not structlog.is_configured():
            logs.hand_to_logging()
        metrics = Metrics()
        self.node: Node = composed(self._settings, self._endpoints, self._discovery, metrics)
        await self.node.start()
        if self._serves_http:
            options = api_options(self._settings)
            api = build_api(self.node, metrics, options)
            try:
                self._server = await serve(api, self._settings.http_host, self._settings.http_port, options)
            except OSError:
                await self.node.stop()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.node.stop()
        if self._server is not None:
            await self._server.stop()

    @property
    def is_ready(self) -> bool:
        """Whether it has been brought up to date once since it started."""
        return self.node.is_ready

    async def wait_ready(self) -> None:
        await self.node.wait_ready()

    def table(self, name: str, *, resolve: Resolve | None = None) -> MemberTable:
        """`resolve` makes one value of several that concurrent writes left. Raises ValueError."""
        return MemberTable(self.node, name, resolve, self._settings.value_bytes_max)


class MemberTable:
    """Rows of one table, in this process. Writes raise what `Node.write` does, and ValueError for a key that is not 1
    to 400 bytes of UTF-8 or a value above `value_bytes_max`."""

    def __init__(self, node: Node, name: str, resolve: Resolve | None, value_bytes_max: int) -> None:
        if not is_table_name(name):
            raise ValueError("a table name is 1 to 64 letters, digits, `_`, `.` and `-` of ASCII")
        self._node = node
        self.name = name
        self._resolve = resolve
        self._value_bytes_max = value_bytes_max

    def get(self, key: str) -> Row | None:
        """What this member's copy holds; no one is asked. None where there is no such row. Raises StorageError,
        UnresolvedSiblingsError."""
        with self._node.view() as view:
            stored = view.row(USER, self._address(key))
        return None if stored is None else self._shown(key, stored)

    async def put(self, key: str, value: bytes, *, if_match: str | None = None, if_absent: bool = False) -> Written:
        """Durable here when it returns. Raises ConditionFailedError."""
        if len(value) > self._value_bytes_max:
            raise ValueError(f"a value is at most {self._value_bytes_max} bytes, this one is {len(value)}")
        return await self._write(Operation(self._address(key), value, _tags(if_match), if_absent))

    async def delete(self, key: str, *, if_match: str | None = None) -> Written:
        """Also where there is no such row. Raises ConditionFailedError."""
        return await self._write(Operation(self._address(key), None, _tags(if_match)))

    async def range(self, *, prefix: str = "", start: str = "", end: str | None = None) -> AsyncGenerator[Row]:
        """Rows in order of their keys' UTF-8 bytes, from `start` on, before `end`. They are read some hundred at a
        time, so that neither the loop nor the storage waits for a long walk; what is written meanwhile may be seen."""
        first: bytes | None = address_of(self.name, max(start, prefix, key=str.encode).encode())
        last = self.name.encode() + b"\x01" if end is None else address_of(self.name, end.encode())
        while first is not None:
            page, first = self._page(first, last, prefix.encode())
            for row in page:
                yield row
            await asyncio.sleep(0)

    def _page(self, first: bytes, last: bytes, prefix: bytes) -> tuple[list[Row], bytes | None]:
        """Some rows, and where the next ones begin; None at the end."""
        page: list[Row] = []
        with self._node.view() as view:
            for examined, (address, stored) in enumerate(view.rows(USER, first, last)):
                key = key_of(address)
                if not key.startswith(prefix):
                    break
                if len(page) == _PAGE_ROWS or examined == _PAGE_EXAMINED_ROWS_MAX:
                    return page, address
                row = self._shown(key.decode(), stored)
                if row is not None:
                    page.append(row)
        return page, None

    def _shown(self, key: str, stored: StoredRow) -> Row | None:
        now_ms = time.time_ns() // 1_000_000
        values = [
            Sibling(version.value, str(version.dot))
            for version in stored.versions
            if version.value is not None and (version.expires_ms is None or version.expires_ms > now_ms)
        ]
        if not values:
            return None
        if len(values) == 1:
            return Row(key, values[0].value, stored.etag)
        row = Row(key, None, stored.etag, siblings=tuple(values))
        if self._resolve is None:
            raise UnresolvedSiblingsError(row)
        return Row(key, self._resolve([sibling.value for sibling in values]), stored.etag, siblings=row.siblings)

    def _address(self, key: str) -> bytes:
        encoded = key.encode()
        if not 1 <= len(encoded) <= ROW_KEY_BYTES_MAX:
            raise ValueError(f"a row key is 1 to {ROW_KEY_BYTES_MAX} bytes of UTF-8, this one is {len(encoded)}")
        return address_of(self.name, encoded)

    async def _write(self, operation: Operation) -> Written:
        result = (await self._node.write(USER, (operation,)))[0]
        if isinstance(result, NotMatched):
            raise ConditionFailedError(f"the row's etag is {result.etag or 'none, as there is no such row'}")
        return Written(None if operation.value is None else result.etag)


def _tags(if_match: str | None) -> tuple[str, ...] | None:
    return None if if_match is None else (if_match,)
