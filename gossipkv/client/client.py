"""The client of a cluster: the servers, their health, and tables as objects.

Each request goes to the next healthy server (`Choice.ROUND_ROBIN`), or all go to one server while it answers
(`Choice.IN_ORDER`). A row written through one member is visible at another some milliseconds later. To read your own
writes immediately, use `Choice.IN_ORDER`, or `w` and `r`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Self

from gossipkv.client.arguments import checked, wait_seconds, wait_text
from gossipkv.client.servers.endpoints import Choice, Endpoints
from gossipkv.client.servers.path import member_path, receipt_path, tables_path
from gossipkv.client.servers.probe import probe
from gossipkv.client.servers.requests import HttpRequest, Requests, Shape
from gossipkv.client.tables.resolve import Resolve
from gossipkv.client.tables.table import Table
from gossipkv.rows.arguments import arguments, names
from gossipkv.rows.arguments.copies import waited_for
from gossipkv.rows.arguments.durations import Duration
from gossipkv.rows.arguments.limits import RECEIPT_CHARS_MAX

_RECEIPT_WAIT_S = 5.0
"""The server's default wait for a receipt."""
_PASSES_MAX = 1_000
_TABLES: Shape = {"items": list}
_CLUSTER: Shape = {"cluster": str, "member": str, "members": list}
_COVERAGE: Shape = {"copies": int, "complete": bool, "members": list}


class Client:
    """Use it with `async with`. `timeout_s` is the longest silence of a server, `connect_timeout_s` the longest wait
    for a connection, `deadline_s` the longest call with all its attempts (None: no limit). `passes` is how often all
    servers are tried if none takes the request. Every method raises ClientError, the constructor
    InvalidArgumentError."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        choice: Choice = Choice.ROUND_ROBIN,
        timeout_s: float = 10.0,
        connect_timeout_s: float = 3.0,
        deadline_s: float | None = 30.0,
        passes: int = 3,
    ) -> None:
        urls = checked(arguments.server_urls, "servers", servers)
        checked(arguments.one_of, "choice", choice, Choice)
        for name, seconds in (("timeout_s", timeout_s), ("connect_timeout_s", connect_timeout_s)):
            checked(arguments.seconds, name, seconds)
        if deadline_s is not None:
            checked(arguments.seconds, "deadline_s", deadline_s)
        checked(arguments.count, "passes", passes, 1, _PASSES_MAX)
        self._choice = choice
        self._requests = Requests(
            Endpoints(urls, choice),
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            deadline_s=deadline_s,
            passes=passes,
        )
        self._probe: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._requests.open()
        if self._choice is Choice.ROUND_ROBIN and len(self._requests.endpoints) > 1:
            self._probe = asyncio.create_task(probe(self._requests))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._probe is not None:
            self._probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probe
        await self._requests.close()

    @property
    def server(self) -> str:
        """The server that is asked first."""
        return self._requests.endpoints.first.url

    def table(self, name: str, *, namespace: str = "usr", resolve: Resolve | None = None) -> Table:
        """A table. `resolve` merges the values that concurrent writes left, if the table keeps siblings."""
        return Table(self._requests, name, namespace, resolve=resolve)

    async def tables(self, namespace: str = "usr") -> list[dict[str, Any]]:
        checked(names.namespace_text, namespace)
        items: list[dict[str, Any]] = (await self._requests.json(tables_path(namespace), _TABLES))["items"]
        return items

    async def cluster(self) -> dict[str, Any]:
        """What the server knows of each member, in the format of the API's documentation."""
        return await self._requests.json("/v1/cluster", _CLUSTER)

    async def forget(self, member: str, *, force: bool = False) -> None:
        """Remove a member that is gone for good from the cluster, so that nothing waits for it. Data that only this
        member holds are lost to the cluster; if it comes back, it sets its data aside and joins as a new replica.
        Raises NotFoundError, and RefusedError for a member that answers. Without `force` it also refuses a member that
        was heard within 10 minutes, or that discovery lists."""
        # If it were repeated after a lost answer, the member would not be found.
        path = member_path(checked(names.name_text, "member", member))
        query = {"force": "true"} if checked(arguments.flag, "force", force) else None
        await self._requests.answer(HttpRequest("DELETE", path, query, is_repeatable=False))

    async def receipt(
        self, receipt: str, *, wait: int | str | None = None, within: Duration | None = None
    ) -> dict[str, Any]:
        """The members that have a write, as far as the server knows, in the format of the API's documentation. With
        `wait` it waits until this many members, or `"all"`, have the write, for at most `within`."""
        query = {} if wait is None else {"wait": _wait_text(wait)}
        if within is not None:
            query["timeout"] = wait_text("within", within)
        wait_s = 0.0 if wait is None else wait_seconds("within", _RECEIPT_WAIT_S if within is None else within)
        path = receipt_path(checked(arguments.header_text, "receipt", receipt, RECEIPT_CHARS_MAX))
        return await self._requests.json(path, _COVERAGE, query, wait_s=wait_s)

    async def is_ready(self) -> bool:
        """Whether the first server is ready. Raises UnavailableError if it does not answer."""
        return await self._requests.is_ready(self.server)


def _wait_text(wait: int | str) -> str:
    """The number of members to wait for, as the API reads it. Raises InvalidArgumentError."""
    copies = checked(waited_for, wait)
    return "all" if copies is None else str(copies)
