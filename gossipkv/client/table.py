"""A table as an object.

A read returns one value. If concurrent writes left several, the table's `resolve` function merges them. The row also
has a context: a write with this context replaces exactly what was read, and keeps what has been written since. A read
never writes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Any, TypedDict, Unpack, cast

from gossipkv.client.arguments import check_known, checked, copies_text
from gossipkv.client.batch import Batches, BatchOutcome, Operation
from gossipkv.client.errors import (
    ConditionFailedError,
    ContextAheadError,
    NotFoundError,
    RefusedError,
    UnresolvedSiblingsError,
)
from gossipkv.client.path import CONTEXT, RECEIPT, etag_of, row_path, table_path
from gossipkv.client.requests import Answer, Request, Requests, json_of
from gossipkv.client.row import Row, Written, row_from_json, siblings_from_json
from gossipkv.client.watch import Watch
from gossipkv.client.write import DeleteOptions, PutOptions, write_request
from gossipkv.rows import arguments, names
from gossipkv.rows.durations import Duration

Resolve = Callable[[Sequence[bytes]], bytes]
"""Merges several values into one. Every client of a table must use the same function."""
Change = Callable[[bytes | None], bytes | Awaitable[bytes | None] | None]
"""Computes the new value from the current one; None means an absent row."""

UPDATE_ATTEMPTS_MAX = 10
_JSON = {"Accept": "application/json"}
_SEVERAL = 300


class Bounds(TypedDict, total=False):
    """The rows to list."""

    prefix: str | None
    start: str | None
    """The first key."""
    end: str | None
    """The end; excluded."""
    keys_only: bool
    page_rows: int
    """Maximum number of rows held in memory."""


_BOUNDS = frozenset(Bounds.__annotations__)
_PAGE_ROWS_MAX = 10_000
"""The maximum that a server's settings can allow."""
_LIMIT_MAX = 2**53


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
        self.namespace = checked(names.name_text, "namespace", namespace)
        self._path = table_path(namespace, name)
        self._resolve = resolve

    # One row

    async def get(self, key: str, *, r: int | None = None) -> Row | None:
        """Read a row; None if there is no such row. With `r`, this many members are asked, and their answers are
        merged. Raises UnresolvedSiblingsError if there are several values and no `resolve` function."""
        return self._resolved((await self._read(key, r)).row)

    async def put(self, key: str, value: bytes, **options: Unpack[PutOptions]) -> Written:
        """Put a row. It is durable at `w` members when this returns. Raises ConditionFailedError, and UnavailableError,
        whose `may_stand` says whether the row may be stored."""
        return await self._write(key, value, options)

    async def delete(self, key: str, **options: Unpack[DeleteOptions]) -> Written:
        """Delete a row. Succeeds even if there is no such row. Raises the errors of `put`."""
        return await self._write(key, None, cast(PutOptions, options))

    async def update(
        self,
        key: str,
        change: Change,
        *,
        attempts_max: int = UPDATE_ATTEMPTS_MAX,
        ttl: Duration | None = None,
        w: int | None = None,
    ) -> Written | None:
        """Read, resolve, change, and write if nothing has changed in between; otherwise repeat. `change` may be called
        several times; if it returns None, the row is deleted. Returns None if there was nothing to delete. Raises
        ConditionFailedError or ContextAheadError after `attempts_max` attempts.

        The condition is checked at the member that is read. Of two concurrent updates through two members, one wins,
        unless the table keeps siblings."""
        server: str | None = None
        for attempt in range(attempts_max):
            read = await self._read(key, preferred=server)
            server, row = read.server, self._resolved(read.row)
            wanted = change(None if row is None else row.value)
            value = await wanted if isawaitable(wanted) else wanted
            if row is None and value is None:
                return None
            options: PutOptions = {"context": read.context, "w": w}
            if value is not None:
                options["ttl"] = ttl
            if row is None:
                options["if_absent"] = True
            else:
                options["if_match"] = row.etag
            try:
                return await self._write(key, value, options, preferred=server)
            except (ConditionFailedError, ContextAheadError):
                # Several members may stand behind one address, and what was read at one may have been lost with it.
                if attempt + 1 == attempts_max:
                    raise
        raise AssertionError("at least one attempt")

    async def _read(self, key: str, r: int | None = None, *, preferred: str | None = None) -> _Read:
        query = None if r is None else {"r": copies_text("r", r)}
        request = Request("GET", self._row_path(key), query, may_be_absent=True)
        answer = await self._requests.answer(request, preferred=preferred)
        # A deleted row has a context too, so that the next put replaces the deletion.
        row = None if answer.status == 404 else _row_in(key, answer)
        return _Read(row, answer.headers.get(CONTEXT), answer.server)

    def _row_path(self, key: object) -> str:
        """Raises InvalidArgumentError."""
        return row_path(self.namespace, self.name, checked(names.row_key, key).decode())

    def _resolved(self, row: Row | None) -> Row | None:
        if row is None or not row.siblings:
            return row
        if self._resolve is None:
            raise UnresolvedSiblingsError(row)
        return replace(row, value=self._resolve(row.siblings))

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
            for listed in page:
                row = self._resolved(listed)
                assert row is not None, "it is listed"
                yield row

    async def pages(self, *, limit: int | None = None, **bounds: Unpack[Bounds]) -> AsyncGenerator[list[Row]]:
        """Pages of rows with unresolved siblings, up to `limit` rows, as the server returns them; a page may be
        empty."""
        check_known("pages", bounds, _BOUNDS)
        page_rows = checked(arguments.count, "page_rows", bounds.get("page_rows", 500), 1, _PAGE_ROWS_MAX)
        if limit is not None:
            checked(arguments.count, "limit", limit, 1, _LIMIT_MAX)
        named = {"prefix": bounds.get("prefix"), "start": bounds.get("start"), "end": bounds.get("end")}
        query = {
            name: checked(names.key_bound, name, text).decode() for name, text in named.items() if text is not None
        }
        if checked(arguments.flag, "keys_only", bounds.get("keys_only", False)):
            query["keys_only"] = "true"
        left, server = limit, None
        while True:
            query["limit"] = str(page_rows if left is None else min(left, page_rows))
            answer = await self._requests.answer(Request("GET", f"{self._path}/rows", query, _JSON), preferred=server)
            server, page = answer.server, json_of(answer)
            rows = [row_from_json(item) for item in page["items"]]
            yield rows
            left = None if left is None else left - len(rows)
            if page["next_cursor"] is None or left == 0:
                return
            query["cursor"] = page["next_cursor"]

    def batch(
        self,
        operations: Iterable[Operation] | AsyncIterable[Operation],
        *,
        w: int | None = None,
        write_wait: Duration | None = None,
        idempotent: bool = False,
    ) -> AsyncGenerator[BatchOutcome]:
        """Put and delete rows, in order; yields an outcome for each. Holds at most one request of 500 operations or 1
        MiB in memory. This is not a transaction. Raises UnavailableError if a request is not answered in full."""
        return self._batches(w, write_wait, idempotent).carried_out(operations)

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
            return await self._requests.json(self._path)
        except NotFoundError:
            return None

    async def configure(self, *, conflicts: str | None = None, w: int | None = None, r: int | None = None) -> None:
        """Change the given settings. `conflicts` is `lww` or `siblings`; `w` and `r` are defaults of writes and
        reads."""
        for name, copies in (("w", w), ("r", r)):
            if copies is not None:
                copies_text(name, copies)
        if conflicts is not None:
            checked(arguments.header_text, "conflicts", conflicts)
        given = {"conflicts": conflicts, "w": w, "r": r}
        body = json.dumps({name: value for name, value in given.items() if value is not None}).encode()
        # Setting the same settings twice does no harm.
        await self._requests.answer(Request("PUT", self._path, data=body))

    async def drop(self) -> None:
        """Delete its settings and rows; rows put in the meantime may stay."""
        await self._requests.answer(Request("DELETE", self._path))


def _row_in(key: str, answer: Answer) -> Row:
    """The row in the answer to a GET: its value, or all values (300)."""
    etag, context = etag_of(answer.headers), answer.headers.get(CONTEXT)
    if answer.status != _SEVERAL:
        return Row(key, answer.body, etag, context)
    try:
        siblings = siblings_from_json(json_of(answer))
        return Row(key, siblings[0], etag, context, siblings)
    except (ValueError, LookupError, TypeError) as error:
        raise RefusedError(f"{answer.server} does not answer like gossipkv") from error
