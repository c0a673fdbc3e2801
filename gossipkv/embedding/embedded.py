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

from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

from gossipkv.api.routes import build_api
from gossipkv.api.server import Server, serve
from gossipkv.client.arguments import check_known, checked
from gossipkv.client.errors import RefusedError, error_of_request
from gossipkv.client.tables.resolve import Resolve
from gossipkv.config import logs
from gossipkv.config.settings import Settings, SettingsError, check_each, check_together, rules
from gossipkv.core.model.address import USER
from gossipkv.core.model.endpoint import is_endpoint
from gossipkv.core.model.member import GOSSIP, HTTP
from gossipkv.discovery.base import Discovery
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.embedding.composition import api_options, composed, set_outdated_data_aside
from gossipkv.embedding.node_table import NodeTable as NodeTable
from gossipkv.embedding.node_table import told_as_client
from gossipkv.member import cluster
from gossipkv.member.batches import StoppedError
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode
from gossipkv.rows.arguments import arguments
from gossipkv.rows.arguments.durations import Duration
from gossipkv.rows.arguments.invalid import shown
from gossipkv.rows.view import forgetting
from gossipkv.rows.view.namespaces import known_namespace
from gossipkv.rows.view.receipts import covered, receipt_in, receipt_wait
from gossipkv.rows.view.tables import all_described

_SETTINGS = frozenset(rules())
"""The names of all settings."""


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
        check_known("Node", settings, _SETTINGS)
        if http_port is not None:
            settings["http_port"] = http_port
        self._settings = Settings(
            member=member,
            cluster=cluster,
            data_dir=_directory(data_dir),
            gossip_host=gossip_host,
            gossip_port=gossip_port,
            **settings,
        )
        check_each(self._settings, "the program")
        check_together(self._settings)
        if not member:
            raise SettingsError("member is empty, but must be a name: the other members know this one by it")
        self._serves_http = http_port is not None
        host = _host(gossip_host if advertise_host is None else advertise_host)
        self._endpoints = {GOSSIP: f"http://{host}:{gossip_port}"}
        if self._serves_http:
            self._endpoints[HTTP] = f"http://{host}:{http_port}"
        self._peers = _peers(peers)
        if discovery is not None and not callable(getattr(discovery, "find", None)):
            raise SettingsError(f"discovery is {shown(discovery)}, but must be a Discovery, or None for `peers`")
        self._discovery = discovery
        self._server: Server | None = None
        self._node: MemberNode | None = None
        """None before the first start."""

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
        self._node = composed(self._settings, self._endpoints, discovery, metrics)
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

    @property
    def _driver(self) -> MemberNode:
        """Raises RefusedError."""
        if self._node is None:
            raise RefusedError("the member is not started: use it within `async with node:`")
        return self._node

    def _set_aside(self) -> None:
        set_outdated_data_aside(self._settings, self._driver.identity.replica, self._driver.fence)

    @property
    def is_ready(self) -> bool:
        """Whether it has been brought up to date since it started."""
        return self._node is not None and self._node.is_ready

    @property
    def alone_seconds(self) -> int | None:
        """Seconds since this member last heard another, or started, while it is alone; otherwise None."""
        return None if self._node is None else self._node.alone_seconds

    async def wait_ready(self) -> None:
        """Wait until the member is ready. Raises UnavailableError if it stops before."""
        await _told(self._driver.wait_ready())

    async def wait_fenced(self) -> None:
        """Wait until this member learns that the cluster was told to forget it. Then leave the `async with`, and enter
        it again to begin without data. Raises UnavailableError if the member stops before."""
        await _told(self._driver.wait_fenced())

    def table(self, name: str, *, namespace: str = USER, resolve: Resolve | None = None) -> NodeTable:
        """A table. `resolve` merges the values that concurrent writes left. Raises InvalidArgumentError if the name is
        not a table name, and NotFoundError if there is no such namespace."""
        return NodeTable(self._driver, name, resolve, self._settings.value_bytes_max, namespace)

    async def tables(self, namespace: str = USER) -> list[dict[str, Any]]:
        """All tables of a namespace with their counts and settings, in the format of the API's documentation. Raises
        NotFoundError if there is no such namespace."""
        with told_as_client():
            return all_described(self._driver, known_namespace(namespace))

    async def receipt(
        self, receipt: str, *, wait: int | str | None = None, within: Duration | None = None
    ) -> dict[str, Any]:
        """The members that have a write, as far as this one knows, in the format of the API's documentation. With
        `wait` it waits until this many members, or `"all"`, have the write, for at most `within`."""
        with told_as_client():
            named, wanted = receipt_in(receipt), receipt_wait(wait, within)
            return covered(await self._driver.receipt(named, wanted.copies, wanted.seconds), wanted.copies)

    async def cluster(self) -> dict[str, Any]:
        """What this member knows of each member, in the format of the API's documentation."""
        with told_as_client():
            return cluster.described(await self._driver.status(), self._driver.descriptors.status())

    async def forget(self, member: str, *, force: bool = False) -> None:
        """Remove another member that is gone for good from the cluster, so that nothing waits for it. Data that only
        this member holds are lost to the cluster; if it comes back, it sets its data aside and joins as a new replica.
        Raises NotFoundError, and RefusedError for a member that answers. Without `force` it also refuses a member that
        was heard within 10 minutes, or that discovery lists."""
        is_forced = checked(arguments.flag, "force", force)
        with told_as_client(is_write=True):
            await forgetting.forget(self._driver, member, is_forced=is_forced)


def _directory(data_dir: object) -> str:
    """Raises SettingsError."""
    if not isinstance(data_dir, str | Path) or not str(data_dir):
        raise SettingsError(f"data_dir is {shown(data_dir)}, but must be the path of a directory")
    return str(data_dir)


def _host(host: object) -> str:
    """A host as a URL has it. Raises SettingsError."""
    written = f"[{host}]" if ":" in str(host) else str(host)
    if not isinstance(host, str) or not is_endpoint(f"http://{written}:1"):
        raise SettingsError(
            f"advertise_host, by default gossip_host, is {shown(host)}, but must be a name or an address that the "
            "other members reach this one at"
        )
    return written


def _peers(peers: object) -> tuple[str, ...]:
    """Raises SettingsError."""
    if isinstance(peers, str) or not isinstance(peers, Sequence):
        raise SettingsError(f"peers is {shown(peers)}, but must be a sequence of gossip URLs: give [url]")
    for peer in peers:
        if not isinstance(peer, str) or not is_endpoint(peer.rstrip("/")):
            raise SettingsError(f"peers hold {shown(peer)}, but must be gossip URLs, such as http://10.0.0.2:7081")
    return tuple(peer.rstrip("/") for peer in peers)


async def _told(waiting: Coroutine[Any, Any, None]) -> None:
    """Wait, and raise an error of the client instead of the member's."""
    try:
        await waiting
    except StoppedError as error:
        raise error_of_request(error) from error
