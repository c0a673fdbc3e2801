"""The client for programs without asyncio.

The asynchronous client runs on an event loop in a separate thread; each call is passed to it and awaited. So several
threads may share one client, connections are kept between calls, and failing servers are probed in the background. Each
method works like the method of the same name in `Client` or `Table`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any, Protocol, Self, TypeVar, Unpack

from gossipkv.client.client import Client
from gossipkv.client.errors import RefusedError
from gossipkv.client.servers.endpoints import Choice
from gossipkv.client.tables.batch import BatchOperation, BatchOutcome
from gossipkv.client.tables.bounds import Bounds
from gossipkv.client.tables.resolve import Resolve
from gossipkv.client.tables.table import Table
from gossipkv.client.tables.update import ATTEMPTS_MAX
from gossipkv.client.tables.watch import Change
from gossipkv.client.tables.write import DeleteOptions, PutOptions
from gossipkv.rows.arguments.durations import Duration
from gossipkv.rows.row import Row, Written

ResultT = TypeVar("ResultT")
Item = TypeVar("Item")
Got = TypeVar("Got", covariant=True)
Ask = Callable[[Coroutine[Any, Any, Any]], Any]


class _Items(Protocol[Got]):
    """An asynchronous generator, or a watch."""

    async def __anext__(self) -> Got: ...

    def aclose(self) -> Coroutine[Any, Any, None]: ...


class SyncClient:
    """Use it with `with`. The parameters are those of `Client`."""

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
        self._client = Client(
            servers,
            choice=choice,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            deadline_s=deadline_s,
            passes=passes,
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        if self._loop is not None:
            raise RefusedError("the client is open already: threads share one within a single `with`")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gossipkv-client", daemon=True)
        self._thread.start()
        self._ask(self._client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        loop = self._loop
        assert loop is not None, "it is open"
        self._ask(self._client.__aexit__(None, None, None))
        self._ask(loop.shutdown_asyncgens())
        self._loop = None
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()

    def _ask(self, call: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a coroutine on the loop and return its result. An interrupted wait, as by Ctrl-C, cancels the call.
        Raises RefusedError if the client is not open, or if its own thread asks, which would wait for itself."""
        if self._loop is None:
            call.close()
            raise RefusedError("the client is not open: use it within `with client:`")
        if threading.current_thread() is self._thread:
            call.close()
            raise RefusedError("a function that is called on the client's own thread must not use the client")
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def table(self, name: str, *, namespace: str = "usr", resolve: Resolve | None = None) -> SyncTable:
        """Return a table. See `Client.table`."""
        return SyncTable(self._client.table(name, namespace=namespace, resolve=resolve), self._ask)

    def tables(self, namespace: str = "usr") -> list[dict[str, Any]]:
        """Return the names and counts of all tables. See `Client.tables`."""
        return self._ask(self._client.tables(namespace))

    def cluster(self) -> dict[str, Any]:
        """Return the state of the cluster as one member sees it. See `Client.cluster`."""
        return self._ask(self._client.cluster())

    def forget(self, member: str, *, force: bool = False) -> None:
        """Let the cluster forget a member that is gone for good. See `Client.forget`."""
        self._ask(self._client.forget(member, force=force))

    def receipt(self, receipt: str, *, wait: int | str | None = None, within: Duration | None = None) -> dict[str, Any]:
        """Return which members have a write, and wait for more of them. See `Client.receipt`."""
        return self._ask(self._client.receipt(receipt, wait=wait, within=within))


class SyncTable:
    """A table, from `SyncClient.table`."""

    def __init__(self, table: Table, ask: Ask) -> None:
        self._table = table
        self._ask = ask

    @property
    def name(self) -> str:
        """The name of the table."""
        return self._table.name

    def get(self, key: str, *, r: int | None = None) -> Row | None:
        """Read a row; None if there is none. See `Table.get`."""
        row: Row | None = self._ask(self._table.get(key, r=r))
        return row

    def put(self, key: str, value: bytes, **options: Unpack[PutOptions]) -> Written:
        """Put a row. See `Table.put`."""
        written: Written = self._ask(self._table.put(key, value, **options))
        return written

    def delete(self, key: str, **options: Unpack[DeleteOptions]) -> Written:
        """Delete a row. Succeeds even if there is none. See `Table.delete`."""
        written: Written = self._ask(self._table.delete(key, **options))
        return written

    def update(
        self,
        key: str,
        change: Callable[[bytes | None], bytes | None],
        *,
        attempts_max: int = ATTEMPTS_MAX,
        ttl: Duration | None = None,
        w: int | None = None,
    ) -> Written | None:
        """`change` is called on the client's own thread, and must not use the client."""
        call = self._table.update(key, change, attempts_max=attempts_max, ttl=ttl, w=w)
        written: Written | None = self._ask(call)
        return written

    def range(self, **bounds: Unpack[Bounds]) -> Generator[Row]:
        """Yield rows in the order of their keys. See `Table.range`."""
        return self._each(self._table.range(**bounds))

    def batch(
        self,
        operations: Iterable[BatchOperation],
        *,
        w: int | None = None,
        write_wait: Duration | None = None,
        idempotent: bool = False,
    ) -> Generator[BatchOutcome]:
        """`operations` is iterated on the client's own thread, and must not use the client."""
        return self._each(self._table.batch(operations, w=w, write_wait=write_wait, idempotent=idempotent))

    def watch(
        self, *, prefix: str | None = None, since: str | None = None, snapshot: bool = False
    ) -> Generator[Change]:
        """A watch. `close` closes the connection."""
        return self._each(self._table.watch(prefix=prefix, since=since, snapshot=snapshot))

    def describe(self) -> dict[str, Any] | None:
        """Return counts and settings; None if there is no such table. See `Table.describe`."""
        described: dict[str, Any] | None = self._ask(self._table.describe())
        return described

    def configure(self, *, conflicts: str | None = None, w: int | None = None, r: int | None = None) -> None:
        """Set settings of the table; None leaves a setting as it is. See `Table.configure`."""
        self._ask(self._table.configure(conflicts=conflicts, w=w, r=r))

    def drop(self) -> None:
        """Delete all rows of the table, and its settings. See `Table.drop`."""
        self._ask(self._table.drop())

    def _each(self, items: _Items[Item]) -> Generator[Item]:
        async def following() -> tuple[Item] | None:
            try:
                return (await anext(items),)
            except StopAsyncIteration:
                return None

        try:
            while (item := self._ask(following())) is not None:
                yield item[0]
        finally:
            self._ask(items.aclose())
