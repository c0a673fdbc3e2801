"""A table as an object.

A read returns one value. If concurrent writes left several, the table's `resolve` function merges them. The row also
has a context: a write with this context replaces exactly what was read, and keeps what has been written since. A read
never writes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack, cast

from gossipkv.client.arguments import checked, copies_text, settings_given
from gossipkv.client.errors import NotFoundError, type_of
from gossipkv.client.servers.path import CONTEXT, RECEIPT, etag_of, row_path, table_path
from gossipkv.client.servers.requests import HttpAnswer, HttpRequest, Requests, Shape, json_of, read_from
from gossipkv.client.tables.batch import Batches, BatchOperation, BatchOutcome
from gossipkv.client.tables.bounds import Bounds, listed
from gossipkv.client.tables.resolve import Resolve, resolved
from gossipkv.client.tables.row import row_from_json, siblings_from_json
from gossipkv.client.tables.update import ATTEMPTS_MAX, CurrentRow, Updater, updated
from gossipkv.client.tables.watch import Watch
from gossipkv.client.tables.write import DeleteOptions, PutOptions, write_request
from gossipkv.rows.arguments import arguments, names
from gossipkv.rows.arguments.durations import Duration
from gossipkv.rows.arguments.values import value_bytes
from gossipkv.rows.row import Row, Written

_JSON = {"Accept": "application/json"}
_SEVERAL = 300
_DESCRIBED: Shape = {"table": str, "rows": int, "settings": dict}


@dataclass(frozen=True, slots=True)
class _Read:
    row: Row | None
    context: str | None
    server: str


class Table:
    """The rows of one table. Methods raise ClientError; docs/client.md lists the errors, and what is sent again. The
    constructor raises InvalidArgumentError if the name is not a table name."""

    def __init__(
        self, requests: Requests, name: str, namespace: str = "usr", *, resolve: Resolve | None = None
    ) -> None:
        self._requests = requests
        self.name = checked(names.table_name, name)
        self.namespace = checked(names.namespace_text, namespace)
        self._path = table_path(namespace, name)
        self._resolve = None if resolve is None else checked(arguments.function, "resolve", resolve)

    # One row

    async def get(self, key: str, *, r: int | None = None) -> Row | None:
        """Read a row; None if there is no such row. With `r`, this many members are asked, and their answers are
        merged. Raises UnresolvedSiblingsError if there are several values and no `resolve` function."""
        return self._resolved((await self._read(key, r)).row)

    async def put(self, key: str, value: bytes, **options: Unpack[PutOptions]) -> Written:
        """Put a row. It is durable at `w` members when this returns. Raises ConditionFailedError, and UnavailableError,
        whose `may_stand` says whether the row may be stored."""
        return await self._write(key, checked(value_bytes, value), options)

    async def delete(self, key: str, **options: Unpack[DeleteOptions]) -> Written:
        """Delete a row. Succeeds even if there is no such row. Raises the errors of `put`."""
        return await self._write(key, None, cast(PutOptions, options))

    async def update(
        self,
        key: str,
        change: Updater,
        *,
        attempts_max: int = ATTEMPTS_MAX,
        ttl: Duration | None = None,
        w: int | None = None,
    ) -> Written | None:
        """Read, resolve, change, and write if nothing has changed in between; otherwise repeat. `change` may be called
        several times; if it returns None, the row is deleted. Returns None if there was nothing to delete. Raises
        ConditionFailedError or ContextAheadError after `attempts_max` attempts.

        The condition is checked at the member that is read. Of two concurrent updates through two members, one wins,
        unless the table keeps siblings."""
        server: str | None = None

        async def read() -> CurrentRow:
            nonlocal server
            found = await self._read(key, preferred=server)
            server = found.server
            return CurrentRow(self._resolved(found.row), found.context)

        def write(value: bytes | None, options: PutOptions) -> Awaitable[Written]:
            return self._write(key, value, options, preferred=server)

        return await updated(read, write, change, attempts_max=attempts_max, ttl=ttl, w=w)

    async def _read(self, key: str, r: int | None = None, *, preferred: str | None = None) -> _Read:
        query = None if r is None else {"r": copies_text("r", r)}
        request = HttpRequest("GET", self._row_path(key), query, may_be_absent=True)
        answer = await self._requests.answer(request, preferred=preferred)
        row = None if answer.status == 404 else _row_in(key, answer)
        return _Read(row, answer.headers.get(CONTEXT), answer.server)

    def _row_path(self, key: object) -> str:
        """Raises InvalidArgumentError."""
        return row_path(self.namespace, self.name, checked(names.row_key, key).decode())

    def _resolved(self, row: Row | None) -> Row | None:
        return resolved(row, self._resolve)

    async def _write(
        self, key: str, value: bytes | None, options: PutOptions, *, preferred: str | None = None
    ) -> Written:
        request = write_request(self._row_path(key), value, options)
        answer = await self._requests.answer(request, preferred=preferred)
        return Written(etag_of(answer.headers) or None, answer.headers.get(CONTEXT), answer.headers.get(RECEIPT))

    # Many rows

    async def range(self, **bounds: Unpack[Bounds]) -> AsyncGenerator[Row]:
        """Rows in order of their keys' UTF-8 bytes. Rows written in the meantime are included if their page is read
        later."""
        async for page in self.pages(**bounds):
            for each in page:
                row = self._resolved(each)
                assert row is not None, "it is listed"
                yield row

    async def pages(self, *, limit: int | None = None, **bounds: Unpack[Bounds]) -> AsyncGenerator[list[Row]]:
        """Pages of rows with unresolved siblings, up to `limit` rows, as the server returns them; a page may be
        empty."""
        page_rows, query = _listing_query(limit, bounds)
        left, server = limit, None
        while True:
            query["limit"] = str(page_rows if left is None else min(left, page_rows))
            answer = await self._requests.answer(
                HttpRequest("GET", f"{self._path}/rows", query, _JSON), preferred=server
            )
            server, (rows, cursor) = answer.server, _page_in(answer)
            yield rows
            left = None if left is None else left - len(rows)
            if cursor is None or left == 0:
                return
            query["cursor"] = cursor

    def batch(
        self,
        operations: Iterable[BatchOperation] | AsyncIterable[BatchOperation],
        *,
        w: int | None = None,
        write_wait: Duration | None = None,
        idempotent: bool = False,
    ) -> AsyncGenerator[BatchOutcome]:
        """Put and delete rows, in order; yields an outcome for each. Holds at most one request of 500 operations or 1
        MiB in memory. This is not a transaction. Raises UnavailableError if a request is not answered in full."""
        is_repeatable = checked(arguments.flag, "idempotent", idempotent)
        return self._batches(w, write_wait, is_repeatable).carried_out(operations)

    async def batch_lines(self, lines: Sequence[bytes]) -> list[BatchOutcome]:
        """Send lines in the format of the API in one request; returns an outcome for each. The lines may be carried out
        twice. Raises UnavailableError if no server answers in full."""
        return await self._batches(None, None, is_repeatable=True).answered(lines)

    def _batches(self, w: int | None, write_wait: Duration | None, is_repeatable: bool) -> Batches:
        path = f"{self._path}/rows:batch"
        return Batches(self._requests, path, is_repeatable=is_repeatable, w=w, write_wait=write_wait)

    def watch(
        self,
        *,
        prefix: str | None = None,
        since: str | None = None,
        snapshot: bool = False,
        silence_s: float = 60.0,
        give_up_s: float = 60.0,
    ) -> Watch:
        """Watch for changes from now on, or after the event id `since`; see Watch."""
        return Watch(
            self._requests,
            self.namespace,
            self.name,
            prefix=prefix,
            since=since,
            snapshot=snapshot,
            silence_s=silence_s,
            give_up_s=give_up_s,
        )

    # The table itself

    async def describe(self) -> dict[str, Any] | None:
        """Its counts and settings, as in the API's documentation; None if it has neither rows nor settings."""
        try:
            return await self._requests.json(self._path, _DESCRIBED)
        except NotFoundError as error:
            if type_of(error.problem) == "table-not-found":
                return None
            raise

    async def configure(self, *, conflicts: str | None = None, w: int | None = None, r: int | None = None) -> None:
        """Change the given settings. `conflicts` is `lww` or `siblings`; `w` and `r` are defaults of writes and
        reads."""
        body = json.dumps(settings_given(conflicts, w, r)).encode()
        # Setting the same settings twice does no harm.
        await self._requests.answer(HttpRequest("PUT", self._path, data=body))

    async def drop(self) -> None:
        """Delete its settings and rows; rows put in the meantime may stay."""
        await self._requests.answer(HttpRequest("DELETE", self._path))


def _listing_query(limit: int | None, bounds: Bounds) -> tuple[int, dict[str, str]]:
    """The rows of a page, and the query of the first one. Raises InvalidArgumentError."""
    wanted = listed(limit, bounds)
    named = {"prefix": wanted.prefix, "start": wanted.start, "end": wanted.end}
    query = {name: key.decode() for name, key in named.items() if key}
    if wanted.keys_only:
        query["keys_only"] = "true"
    return wanted.page_rows, query


def _row_in(key: str, answer: HttpAnswer) -> Row:
    """The row in the answer to a GET: its value, or all values (300)."""
    etag, context = etag_of(answer.headers), answer.headers.get(CONTEXT)
    if answer.status != _SEVERAL:
        return Row(key, answer.body, etag, context)
    with read_from(answer.server):
        siblings = siblings_from_json(json_of(answer))
        return Row(key, siblings[0], etag, context, siblings)


def _page_in(answer: HttpAnswer) -> tuple[list[Row], str | None]:
    """The rows of a page of a listing, and the cursor of the next page."""
    content = json_of(answer)
    with read_from(answer.server):
        cursor = content["next_cursor"]
        if cursor is not None and not isinstance(cursor, str):
            raise TypeError("a cursor is text")
        return [row_from_json(item) for item in content["items"]], cursor
