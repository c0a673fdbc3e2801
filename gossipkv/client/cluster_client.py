"""The client of a cluster: the servers, their health, and tables as objects.

Each request goes to the next of the healthy servers (`Choice.ROUND_ROBIN`), or all to one while it answers
(`Choice.IN_ORDER`). A row written through one member is seen at another some milliseconds later: who has to read its
own writes at once uses `Choice.IN_ORDER`, or `w` and `r`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Self

from gossipkv.client.endpoints import Choice, Endpoints
from gossipkv.client.path import receipt_path
from gossipkv.client.probe import probe
from gossipkv.client.requests import Requests
from gossipkv.client.table import Resolve, Seconds, Table, duration_text, seconds_of


class Client:
    """Use as `async with`. `timeout_s` bounds a silence of a server, `connect_timeout_s` the wait for a connection,
    `deadline_s` a call with all its attempts (None: nothing does). `passes`: how often all servers are tried while
    none takes the request. Every method raises ClientError."""

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
        self._choice = choice
        self._requests = Requests(
            Endpoints(servers, choice),
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
        """`resolve` makes one value of several that concurrent writes left, where the table keeps them."""
        return Table(self._requests, name, namespace, resolve=resolve)

    async def tables(self, namespace: str = "usr") -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self._requests.json(f"/v1/{namespace}/tables"))["items"]
        return items

    async def cluster(self) -> dict[str, Any]:
        """What the server knows of each member; shape as in the API's documentation."""
        return await self._requests.json("/v1/cluster")

    async def receipt(
        self, receipt: str, *, wait: int | None = None, wait_for_all: bool = False, limit: Seconds = 5.0
    ) -> dict[str, Any]:
        """Which members have a write; `wait` for so many of them, or `wait_for_all`, but no longer than `limit`.
        Shape as in the API's documentation."""
        query = {}
        if wait is not None or wait_for_all:
            query = {"wait": "all" if wait is None else str(wait), "timeout": duration_text(limit)}
        return await self._requests.json(receipt_path(receipt), query, wait_s=seconds_of(limit) if query else 0.0)

    async def is_ready(self) -> bool:
        """Whether the first server is. Raises UnavailableError where it does not answer."""
        return await self._requests.is_ready(self.server)
