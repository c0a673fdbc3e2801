"""A member inside another asyncio program.

It is a member like any other: it has its own data directory, gossips with its peers, and holds all rows. The program
around it reads them in its own process, without a network hop, and its writes are durable when they return. A data
directory belongs to one member at a time. `async with` starts it and, at the end, brings its last writes to the others.
What it logs goes to the logger `gossipkv` and those below it, unless the program has configured structlog itself.

If the cluster was told to forget it meanwhile, its data are outdated: it takes no more writes, which raise
UnavailableError, and tells no one anything. The program, which may hold what it has read, decides when to go on:
`wait_fenced` returns, and the next start sets the data aside, logs where, and begins as a new replica without them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack, cast

import structlog

from gossipkv import logs
from gossipkv.api import seen_header
from gossipkv.api.conditions import precondition_failed, refused
from gossipkv.api.consistency import problem_of_copies
from gossipkv.api.problem import problem_of
from gossipkv.api.routes import build_api
from gossipkv.api.server import Server, serve
from gossipkv.client.duration import seconds_of
from gossipkv.client.errors import UnresolvedSiblingsError, write_error_of
from gossipkv.client.row import Row, Written
from gossipkv.client.table import Resolve
from gossipkv.client.write import DeleteOptions, PutOptions
from gossipkv.composition import api_options, composed, set_outdated_data_aside
from gossipkv.consistency import TooFewCopiesError
from gossipkv.core.address import ROW_KEY_BYTES_MAX, USER, address_of, is_table_name, key_of
from gossipkv.core.member import GOSSIP, HTTP
from gossipkv.core.receipts import Receipt
from gossipkv.core.row import Row as StoredRow
from gossipkv.core.storage import View
from gossipkv.core.write import Declined, NotMatched, Operation
from gossipkv.discovery.base import Discovery
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.local_rows import PAGE_BYTES_MAX, local_row
from gossipkv.metrics import Metrics
from gossipkv.node import Node as Driver
from gossipkv.settings import Settings, check_together

_PAGE_ROWS = 500
_PAGE_EXAMINED_ROWS_MAX = 5_000


class Node:
    """`peers`: gossip URLs of other members; a `discovery` of one's own takes their place. `gossip_port` is listened
    on; others reach it at `advertise_host`, or at `gossip_host` where that is not given. `http_port`: serve the HTTP
    API, too. `settings`: any other of docs/settings.md. Starting raises StorageError where the directory cannot be
    used, and OSError where a port cannot be had; making it raises SettingsError where settings do not go together."""

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
        check_together(self._settings)
        self._serves_http = http_port is not None
        host = advertise_host or gossip_host
        host = f"[{host}]" if ":" in host else host
        self._endpoints = {GOSSIP: f"http://{host}:{gossip_port}"}
        if self._serves_http:
            self._endpoints[HTTP] = f"http://{host}:{http_port}"
        self._discovery = discovery or StaticDiscovery(tuple(peers), self._settings.discovery_interval_s)
        self._server: Server | None = None

    async def __aenter__(self) -> Node:
        if not structlog.is_configured():
            logs.hand_to_logging()
        await self._start(metrics := Metrics())
        if self._driver.fenced.is_set():
            await self._driver.stop()
            set_outdated_data_aside(self._settings, self._driver.identity.replica, self._driver.fence)
            await self._start(metrics := Metrics())
        if self._serves_http:
            options = api_options(self._settings)
            api = build_api(self._driver, metrics, options)
            try:
                self._server = await serve(api, self._settings.http_host, self._settings.http_port, options)
            except OSError:
                await self._driver.stop()
                raise
        return self

    async def _start(self, metrics: Metrics) -> None:
        self._driver = composed(self._settings, self._endpoints, self._discovery, metrics)
        await self._driver.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._driver.stop()
        if self._server is not None:
            await self._server.stop()

    @property
    def is_ready(self) -> bool:
        """Whether it has been brought up to date once since it started."""
        return self._driver.is_ready

    @property
    def alone_seconds(self) -> int | None:
        """Since this member last heard another, or started, while it knows of others and reaches none; else None."""
        return self._driver.alone_seconds

    async def wait_ready(self) -> None:
        await self._driver.wait_ready()

    async def wait_fenced(self) -> None:
        """Returns once the cluster is known to have been told to forget this member: leave the `async with`, and enter
        it anew to begin without data."""
        await self._driver.fenced.wait()

    def table(self, name: str, *, resolve: Resolve | None = None) -> NodeTable:
        """`resolve` makes one value of several that concurrent writes left. Raises ValueError."""
        return NodeTable(self._driver, name, resolve, self._settings.value_bytes_max)


class NodeTable:
    """Rows of one table, in this process. Methods raise the errors of the client, and ValueError for a key that is not
    1 to 400 bytes of UTF-8 or a value above `value_bytes_max`."""

    def __init__(self, node: Driver, name: str, resolve: Resolve | None, value_bytes_max: int) -> None:
        if not is_table_name(name):
            raise ValueError("a table name is 1 to 64 letters, digits, `_`, `.` and `-` of ASCII")
        self._node = node
        self.name = name
        self._resolve = resolve
        self._value_bytes_max = value_bytes_max

    def get(self, key: str) -> Row | None:
        """What this member's copy holds; no one is asked. None where there is no such row. Raises StorageError,
        UnresolvedSiblingsError."""
        address = self._address(key)
        with self._node.view() as view:
            stored = view.row(USER, address)
            return None if stored is None else self._shown(view, address, stored)

    async def put(self, key: str, value: bytes, **options: Unpack[PutOptions]) -> Written:
        """Durable when it returns: here, and at `w` members."""
        if len(value) > self._value_bytes_max:
            raise ValueError(f"a value is at most {self._value_bytes_max} bytes, this one is {len(value)}")
        return await self._write(key, value, options)

    async def delete(self, key: str, **options: Unpack[DeleteOptions]) -> Written:
        """Also where there is no such row."""
        return await self._write(key, None, cast(PutOptions, options))

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
        left_bytes = PAGE_BYTES_MAX
        with self._node.view() as view:
            for examined, (address, stored) in enumerate(view.rows(USER, first, last)):
                if not key_of(address).startswith(prefix):
                    break
                if len(page) == _PAGE_ROWS or examined == _PAGE_EXAMINED_ROWS_MAX or left_bytes <= 0:
                    return page, address
                left_bytes -= stored.value_bytes
                if row := self._shown(view, address, stored):
                    page.append(row)
        return page, None

    def _shown(self, view: View, address: bytes, stored: StoredRow) -> Row | None:
        row = local_row(view, USER, address, stored, self._node.now_ms())
        if row is None or not row.siblings:
            return row
        if self._resolve is None:
            raise UnresolvedSiblingsError(row)
        return replace(row, value=self._resolve(row.siblings))

    def _address(self, key: str) -> bytes:
        encoded = key.encode()
        if not 1 <= len(encoded) <= ROW_KEY_BYTES_MAX:
            raise ValueError(f"a row key is 1 to {ROW_KEY_BYTES_MAX} bytes of UTF-8, this one is {len(encoded)}")
        return address_of(self.name, encoded)

    async def _write(self, key: str, value: bytes | None, options: PutOptions) -> Written:
        address = self._address(key)
        copies = options.get("w") or self._node.defaults_of(USER, self.name)[0]
        write_wait = options.get("write_wait")
        wait_seconds = None if write_wait is None else seconds_of(write_wait)
        try:
            operation = _operation(address, value, options)
            result = (await self._node.write(USER, (operation,), copies, wait_seconds))[0]
            if isinstance(result, NotMatched):
                raise precondition_failed(result.etag)
            if isinstance(result, Declined):
                raise refused(result)
        except Exception as error:
            problem = problem_of_copies(error) if isinstance(error, TooFewCopiesError) else problem_of(error, 0)
            if problem is None:
                raise
            raise write_error_of(problem.status, problem.fields()) from error
        etag = None if value is None else result.etag
        return Written(etag, seen_header.text_of(address, result.row), str(Receipt(USER, result.dot)))


def _operation(address: bytes, value: bytes | None, options: PutOptions) -> Operation:
    """Raises the problem of a context that is not from a read of this row."""
    if_match, context, ttl = options.get("if_match"), options.get("context"), options.get("ttl")
    return Operation(
        address,
        value,
        None if if_match is None else (if_match.strip('"'),),
        options.get("if_absent", False),
        None if context is None else seen_header.seen_in(context, address),
        None if ttl is None else round(seconds_of(ttl) * 1_000),
    )
