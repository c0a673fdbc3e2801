"""A member inside another asyncio program.

It is a member like any other: it has its own data directory, gossips with its peers, and holds all rows. The program
reads them in its own process, without a network hop, and its writes are durable when they return. A data directory
belongs to one member at a time. `async with` starts the member and, at the end, sends its last writes to the others. It
logs to the logger `gossipkv` and those below it, unless the program has configured structlog itself; a program that
has configured no logging sees nothing of that.

If the cluster was told to forget the member, its data are outdated: writes raise UnavailableError, and it sends nothing
to other members. The program may still hold what it has read, so it decides when to continue: `wait_fenced` returns,
and the end of `async with` sets the data aside and logs where. The next start begins as a new replica without data.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack, cast

import structlog

from gossipkv import logs
from gossipkv.api import seen_header
from gossipkv.api.conditions import precondition_failed, refused
from gossipkv.api.consistency import problem_of_copies
from gossipkv.api.problem import problem_of, row_unreadable
from gossipkv.api.routes import build_api
from gossipkv.api.server import Server, serve
from gossipkv.client.arguments import check_known, checked
from gossipkv.client.errors import (
    InvalidArgumentError,
    UnavailableError,
    UnresolvedSiblingsError,
    error_of,
    write_error_of,
)
from gossipkv.client.row import Row, Written
from gossipkv.client.table import Resolve
from gossipkv.client.write import DELETE_OPTIONS, PUT_OPTIONS, DeleteOptions, PutOptions
from gossipkv.committer import StoppedError
from gossipkv.composition import api_options, composed, set_outdated_data_aside
from gossipkv.consistency import TooFewCopiesError
from gossipkv.core.model.address import USER, address_of, key_of
from gossipkv.core.model.member import GOSSIP, HTTP
from gossipkv.core.model.row import Row as StoredRow
from gossipkv.core.model.write import Declined, NotMatched, Operation
from gossipkv.core.store.quarantine import readable_row
from gossipkv.core.store.storage import UnreadableRowError, View
from gossipkv.core.waits.answers import Receipt
from gossipkv.discovery.base import Discovery
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.local_rows import PAGE_BYTES_MAX, local_row
from gossipkv.metrics import Metrics
from gossipkv.node import Node as Driver
from gossipkv.rows import arguments, conditions, names
from gossipkv.rows.copies import copies_of
from gossipkv.rows.durations import life_ms_of, wait_ms_of
from gossipkv.rows.invalid import InvalidInputError
from gossipkv.rows.limits import ENDPOINT_BYTES_MAX
from gossipkv.rows.values import value_bytes
from gossipkv.settings import Settings, SettingsError, check_each, check_together

_PAGE_ROWS = 500
_PAGE_EXAMINED_ROWS_MAX = 5_000


class Node:
    """A member in this process. `peers` are gossip URLs of other members; a custom `discovery` replaces them. The
    member listens on `gossip_port`; others reach it at `advertise_host`, by default `gossip_host`. With `http_port` it
    also serves the HTTP API. `settings` are any others of docs/settings.md. The constructor raises SettingsError if
    settings conflict. Starting raises StorageError if the directory cannot be used, and OSError if a port is not
    available."""

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
        check_each(self._settings, "the program")
        check_together(self._settings)
        if isinstance(peers, str):
            raise SettingsError("peers is text, but must be a sequence of gossip URLs: give [url]")
        for peer in peers:
            checked(names.name_text, "peers", peer, ENDPOINT_BYTES_MAX)
        self._serves_http = http_port is not None
        host = advertise_host or gossip_host
        host = f"[{host}]" if ":" in host else host
        self._endpoints = {GOSSIP: f"http://{host}:{gossip_port}"}
        if self._serves_http:
            self._endpoints[HTTP] = f"http://{host}:{http_port}"
        self._peers = tuple(peers)
        self._discovery = discovery
        self._server: Server | None = None

    async def __aenter__(self) -> Node:
        if not structlog.is_configured():
            logs.hand_to_logging()
        await self._start(metrics := Metrics())
        if self._driver.fenced.is_set():
            await self._driver.stop()
            self._set_aside()
            await self._start(metrics := Metrics())
        if self._serves_http:
            options = api_options(self._settings)
            api = build_api(self._driver, metrics, options)
            try:
                self._server = await serve(api, self._settings.http_host, self._settings.http_port, options)
            except BaseException:
                await self._driver.stop()
                raise
        return self

    async def _start(self, metrics: Metrics) -> None:
        # A start needs known addresses immediately, and a discovery answers immediately only the first time.
        discovery = self._discovery or StaticDiscovery(self._peers, self._settings.discovery_interval_s)
        self._driver = composed(self._settings, self._endpoints, discovery, metrics)
        await self._driver.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._driver.leave()
        if self._server is not None:
            await self._server.stop()
        await self._driver.stop()
        if self._driver.fenced.is_set():
            # The next start could not tell before it has met the others.
            self._set_aside()

    def _set_aside(self) -> None:
        set_outdated_data_aside(self._settings, self._driver.identity.replica, self._driver.fence)

    @property
    def is_ready(self) -> bool:
        """Whether it has been brought up to date since it started."""
        return self._driver.is_ready

    @property
    def alone_seconds(self) -> int | None:
        """Seconds since this member last heard another, or started, while it is alone; otherwise None."""
        return self._driver.alone_seconds

    async def wait_ready(self) -> None:
        """Wait until the member is ready. Raises UnavailableError if it stops before."""
        await _told(self._driver.wait_ready())

    async def wait_fenced(self) -> None:
        """Wait until this member learns that the cluster was told to forget it. Then leave the `async with`, and enter
        it again to begin without data. Raises UnavailableError if the member stops before."""
        await _told(self._driver.wait_fenced())

    def table(self, name: str, *, resolve: Resolve | None = None) -> NodeTable:
        """A table. `resolve` merges the values that concurrent writes left. Raises InvalidArgumentError if the name is
        not a table name."""
        return NodeTable(self._driver, name, resolve, self._settings.value_bytes_max)


class NodeTable:
    """The rows of one table, in this process. Methods raise the errors of the client. InvalidArgumentError, which is
    also a ValueError, is for arguments that no member would take: a key that is not 1 to 400 bytes of UTF-8, a value
    that is not bytes or exceeds `value_bytes_max`, or a zero `ttl`."""

    def __init__(self, node: Driver, name: str, resolve: Resolve | None, value_bytes_max: int) -> None:
        self._node = node
        self.name = checked(names.table_name, name)
        self._resolve = resolve
        self._value_bytes_max = value_bytes_max

    def get(self, key: str) -> Row | None:
        """Read the row from this member's copy, without asking other members. None if there is no such row. Raises
        UnavailableError if the row cannot be read here, UnresolvedSiblingsError, StorageError."""
        address = self._address(key)
        with self._node.view() as view:
            try:
                stored = readable_row(view, USER, address)
            except UnreadableRowError as error:
                problem = row_unreadable(error.reason)
                raise error_of(problem.status, problem.fields()) from error
            return None if stored is None else self._shown(view, address, stored)

    async def put(self, key: str, value: bytes, **options: Unpack[PutOptions]) -> Written:
        """Put a row. It is durable when this returns: here, and at `w` members."""
        check_known("put", options, PUT_OPTIONS)
        return await self._write(key, checked(value_bytes, value, self._value_bytes_max), options)

    async def delete(self, key: str, **options: Unpack[DeleteOptions]) -> Written:
        """Delete a row. Succeeds even if there is no such row."""
        check_known("delete", options, DELETE_OPTIONS)
        return await self._write(key, None, cast(PutOptions, options))

    async def range(self, *, prefix: str = "", start: str = "", end: str | None = None) -> AsyncGenerator[Row]:
        """Rows from `start` to before `end`, in order of their keys' UTF-8 bytes. They are read a few hundred at a
        time, so that neither the loop nor the storage is blocked for long. Rows written in the meantime may be
        included."""
        beginning = checked(names.key_bound, "prefix", prefix)
        first: bytes | None = address_of(self.name, max(checked(names.key_bound, "start", start), beginning))
        bound = b"" if end is None else checked(names.key_bound, "end", end)
        last = address_of(self.name, bound) if bound else self.name.encode() + b"\x01"
        while first is not None:
            page, first = self._page(first, last, beginning)
            for row in page:
                yield row
            await asyncio.sleep(0)

    def _page(self, first: bytes, last: bytes, prefix: bytes) -> tuple[list[Row], bytes | None]:
        """Some rows, and where the next ones begin (None at the end)."""
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
        return address_of(self.name, checked(names.row_key, key))

    async def _write(self, key: str, value: bytes | None, options: PutOptions) -> Written:
        address = self._address(key)
        w, write_wait = options.get("w"), options.get("write_wait")
        copies = self._node.defaults_of(USER, self.name)[0] if w is None else checked(copies_of, "w", w)
        wait_seconds = None if write_wait is None else checked(wait_ms_of, "write_wait", write_wait) / 1_000
        checked(arguments.flag, "idempotent", options.get("idempotent", False))
        operation = _operation(address, value, options)
        try:
            result = (await self._node.write(USER, (operation,), copies, wait_seconds))[0]
            if isinstance(result, NotMatched):
                raise precondition_failed(result.etag)
            if isinstance(result, Declined):
                raise refused(result)
        except InvalidInputError as error:
            raise InvalidArgumentError(str(error)) from error
        except Exception as error:
            problem = problem_of_copies(error) if isinstance(error, TooFewCopiesError) else problem_of(error, 0)
            if problem is None:
                raise
            raise write_error_of(problem.status, problem.fields()) from error
        etag = None if value is None else result.etag
        return Written(etag, seen_header.text_of(address, result.row), str(Receipt(USER, result.dot)))


async def _told(waiting: Coroutine[Any, Any, None]) -> None:
    """Wait, and raise an error of the client instead of the member's."""
    try:
        await waiting
    except StoppedError as error:
        raise UnavailableError(str(error)) from error


def _operation(address: bytes, value: bytes | None, options: PutOptions) -> Operation:
    """Raises InvalidArgumentError."""
    if_match, context, ttl = options.get("if_match"), options.get("context"), options.get("ttl")
    return Operation(
        address,
        value,
        None if if_match is None else checked(conditions.tags_of, "if_match", if_match),
        checked(arguments.flag, "if_absent", options.get("if_absent", False)),
        None if context is None else checked(seen_header.seen_in, context, address),
        None if ttl is None else checked(life_ms_of, "ttl", ttl),
    )
