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

from gossipkv.client.arguments import checked, copies_text, wait_seconds, wait_text
from gossipkv.client.endpoints import Choice, Endpoints
from gossipkv.client.path import member_path, receipt_path
from gossipkv.client.probe import probe
from gossipkv.client.requests import Request, Requests
from gossipkv.client.table import Resolve, Table
from gossipkv.rows import arguments, names
from gossipkv.rows.durations import Duration

_RECEIPT_WAIT_S = 5.0
"""The server's own, where none is given."""


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

    async def forget(self, member: str) -> None:
        """Strike a member that is gone for good off the cluster's list, so that nothing waits for it. What it alone
        holds is lost to the cluster; if it comes back, it sets its data aside and joins as a new replica. Raises
        NotFoundError, and RefusedError for a member that answers."""
        # Were it repeated after a lost answer, it would not be found.
        path = member_path(checked(names.name_text, "member", member))
        await self._requests.answer(Request("DELETE", path, is_repeatable=False))

    async def receipt(
        self, receipt: str, *, wait: int | str | None = None, within: Duration | None = None
    ) -> dict[str, Any]:
        """Which members have a write: as the server knows it, or once so many of them have it, or `all`, or `within`
        so long. Shape as in the API's documentation."""
        query = {} if wait is None else {"wait": _wait_text(wait)}
        if within is not None:
            query["timeout"] = wait_text("within", within)
        wait_s = 0.0 if wait is None else wait_seconds("within", _RECEIPT_WAIT_S if within is None else within)
        path = receipt_path(checked(arguments.header_text, "receipt", receipt))
        return await self._requests.json(path, query, wait_s=wait_s)

    async def is_ready(self) -> bool:
        """Whether the first server is. Raises UnavailableError where it does not answer."""
        return await self._requests.is_ready(self.server)


def _wait_text(wait: int | str) -> str:
    """How many members are waited for, as the API reads it. Raises InvalidArgumentError."""
    if wait == "all":
        return "all"
    is_digits = isinstance(wait, str) and wait.isascii() and wait.isdigit() and len(wait) <= 5
    return copies_text("wait", int(wait) if is_digits else wait)
