"""The rows of one table, in this process.

A method has the name, the arguments, the result and the errors of the same method of `client.Table`, with two
exceptions. `get` is no coroutine and reads this member's copy; `read` is its counterpart of the client, which may ask
other members. And nothing is sent again, because no answer can be lost on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Unpack, cast

import structlog

from gossipkv.client.arguments import check_known, checked, settings_given
from gossipkv.client.errors import ClientError, error_of_request
from gossipkv.client.tables.batch import BatchOutcome, Delete, Put, in_groups
from gossipkv.client.tables.bounds import Bounds, listed
from gossipkv.client.tables.resolve import Resolve, resolved
from gossipkv.client.tables.update import ATTEMPTS_MAX, CurrentRow, Updater, updated
from gossipkv.client.tables.write import DELETE_OPTIONS, PUT_OPTIONS, DeleteOptions, PutOptions
from gossipkv.core.model.address import USER, address_of, key_of
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.model.write import StoredWrite as Stored
from gossipkv.core.store.quarantine import readable_row
from gossipkv.core.waits.answers import Receipt
from gossipkv.embedding.node_watch import NodeWatch
from gossipkv.member.node import MemberNode
from gossipkv.member.waits import CopiesMissingError
from gossipkv.rows.arguments import arguments, conditions, names
from gossipkv.rows.arguments.copies import copies_of
from gossipkv.rows.arguments.durations import Duration, life_ms_of, wait_ms_of
from gossipkv.rows.arguments.values import value_bytes
from gossipkv.rows.errors import RequestError, internal_error
from gossipkv.rows.row import Row, Written
from gossipkv.rows.view import context_token, tables
from gossipkv.rows.view.key_range import key_range
from gossipkv.rows.view.local_rows import local_pages, local_row
from gossipkv.rows.view.namespaces import known_namespace, writable_namespace
from gossipkv.rows.view.refusals import refused, request_error_of, written

log = structlog.get_logger("gossipkv.embedded")


class NodeTable:
    """A table of the member in this process. Methods raise the errors of the client, and TypeError for an unknown
    keyword."""

    def __init__(
        self, node: MemberNode, name: str, resolve: Resolve | None, value_bytes_max: int, namespace: str = USER
    ) -> None:
        self._node = node
        self.name = checked(names.table_name, name)
        with told_as_client():
            self.namespace = known_namespace(namespace)
        self._resolve = None if resolve is None else checked(arguments.function, "resolve", resolve)
        self._value_bytes_max = value_bytes_max

    # One row

    def get(self, key: str) -> Row | None:
        """Read the row from this member's copy, without asking other members. None if there is no such row. Raises
        UnavailableError if the row cannot be read here, UnresolvedSiblingsError."""
        return self._resolved(self._found_here(self._address(key)).row)

    async def read(self, key: str, *, r: int | None = None) -> Row | None:
        """Read a row; None if there is no such row. `r` members are asked, by default as many as the table says. This
        one is among them, and the copies are merged. Raises TooFewAnswersError, and the errors of `get`."""
        address = self._address(key)
        members = self._node.defaults_of(self.namespace, self.name)[1] if r is None else checked(copies_of, "r", r)
        merged = None
        if members > 1:
            with told_as_client():
                merged = await self._node.read(self.namespace, address, members)
        return self._resolved(self._found_here(address, merged).row)

    async def put(self, key: str, value: bytes, **options: Unpack[PutOptions]) -> Written:
        """Put a row. It is durable when this returns: here, and at `w` members."""
        check_known("put", options, PUT_OPTIONS)
        return await self._write(key, checked(value_bytes, value, self._value_bytes_max), options)

    async def delete(self, key: str, **options: Unpack[DeleteOptions]) -> Written:
        """Delete a row. Succeeds even if there is no such row."""
        check_known("delete", options, DELETE_OPTIONS)
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
        ConditionFailedError or ContextAheadError after `attempts_max` attempts."""
        address = self._address(key)

        async def read() -> CurrentRow:
            found = self._found_here(address)
            return CurrentRow(self._resolved(found.row), found.context)

        def write(value: bytes | None, options: PutOptions) -> Awaitable[Written]:
            return self.put(key, value, **options) if value is not None else self._write(key, None, options)

        return await updated(read, write, change, attempts_max=attempts_max, ttl=ttl, w=w)

    def _address(self, key: str) -> bytes:
        return address_of(self.name, checked(names.row_key, key))

    def _found_here(self, address: bytes, merged: StoredRow | None = None) -> CurrentRow:
        """The row as this member holds it, or as its copies at several members have been merged."""
        try:
            with self._node.view() as view:
                stored = merged or readable_row(view, self.namespace, address)
                if stored is None:
                    return CurrentRow(None, None)
                row = local_row(view, self.namespace, address, stored, self._node.now_ms())
                return CurrentRow(row, context_token.text_of(address, stored) if row is None else row.context)
        except Exception as error:
            raise error_of_request(_request_error(error)) from error

    def _resolved(self, row: Row | None) -> Row | None:
        return resolved(row, self._resolve)

    async def _write(self, key: str, value: bytes | None, options: PutOptions) -> Written:
        operation = _operation(self._address(key), value, options)
        checked(arguments.flag, "idempotent", options.get("idempotent", False))
        copies, wait_seconds = self._wanted(options.get("w"), options.get("write_wait"))
        try:
            namespace = writable_namespace(self.namespace)
            stored = written((await self._node.write(namespace, (operation,), copies, wait_seconds))[0])
        except Exception as error:
            raise error_of_request(_request_error(error), is_write=True) from error
        etag = None if value is None else stored.etag
        context = context_token.text_of(operation.address, stored.row)
        return Written(etag, context, str(Receipt(namespace, stored.dot)))

    def _wanted(self, w: int | None, write_wait: Duration | None) -> tuple[int, float | None]:
        """The copies of a write, and the seconds that it waits for them. Raises InvalidArgumentError."""
        copies = self._node.defaults_of(self.namespace, self.name)[0] if w is None else checked(copies_of, "w", w)
        return copies, None if write_wait is None else checked(wait_ms_of, "write_wait", write_wait) / 1_000

    # Many rows

    async def range(self, **bounds: Unpack[Bounds]) -> AsyncGenerator[Row]:
        """Rows from `start` to before `end`, in order of their keys' UTF-8 bytes. They are read a few hundred at a
        time, so that neither the loop nor the storage is blocked for long. Rows written in the meantime may be
        included."""
        async for page in self.pages(**bounds):
            for row in page:
                shown = self._resolved(row)
                assert shown is not None, "it is listed"
                yield shown

    async def pages(self, *, limit: int | None = None, **bounds: Unpack[Bounds]) -> AsyncGenerator[list[Row]]:
        """Pages of rows with unresolved siblings, up to `limit` rows; a page may be empty."""
        wanted = listed(limit, bounds)
        keys = key_range(self.name, wanted.prefix, wanted.start, wanted.end)
        pages = local_pages(
            self._node.view,
            self.namespace,
            keys,
            self._node.now_ms,
            rows_max=wanted.page_rows,
            keys_only=wanted.keys_only,
        )
        left = limit
        while left is None or left > 0:
            with told_as_client():
                page = next(pages, None)
            if page is None:
                return
            yield page if left is None else page[:left]
            left = None if left is None else left - len(page)
            await asyncio.sleep(0)

    async def batch(
        self,
        operations: Iterable[Put | Delete] | AsyncIterable[Put | Delete],
        *,
        w: int | None = None,
        write_wait: Duration | None = None,
        idempotent: bool = False,
    ) -> AsyncGenerator[BatchOutcome]:
        """Put and delete rows, in order; yields an outcome for each. Holds at most 500 operations or 1 MiB in memory.
        This is not a transaction."""
        checked(arguments.flag, "idempotent", idempotent)
        copies, wait_seconds = self._wanted(w, write_wait)
        with told_as_client():
            writable_namespace(self.namespace)
        async for places in in_groups(operations, self._prepared, _size_of):
            prepared = [place for place in places if not isinstance(place, BatchOutcome)]
            results = iter(await self._results(prepared, copies, wait_seconds))
            for place in places:
                yield place if isinstance(place, BatchOutcome) else self._outcome(place, next(results))

    def _prepared(self, operation: Put | Delete) -> Operation:
        """Raises InvalidArgumentError."""
        address = self._address(operation.row)
        options: PutOptions = {"context": operation.context}
        if isinstance(operation, Delete):
            return _operation(address, None, options, operation.etag)
        value = checked(value_bytes, operation.value, self._value_bytes_max)
        return _operation(address, value, {**options, "ttl": operation.ttl}, operation.etag)

    async def _results(
        self, operations: Sequence[Operation], copies: int, wait_seconds: float | None
    ) -> Sequence[Result | RequestError]:
        """A result for each operation. If they cannot be written, each has the error."""
        if not operations:
            return ()
        try:
            return await self._node.write(self.namespace, operations, copies, wait_seconds)
        except CopiesMissingError as error:
            return [error if isinstance(result, Stored) else result for result in error.results]
        except Exception as error:
            return [_request_error(error)] * len(operations)

    def _outcome(self, operation: Operation, result: Result | RequestError) -> BatchOutcome:
        key = key_of(operation.address).decode()
        if isinstance(result, Stored):
            etag = None if operation.value is None else result.etag
            return BatchOutcome(key, etag, str(Receipt(self.namespace, result.dot)), None)
        error = result if isinstance(result, RequestError) else refused(result)
        return BatchOutcome(key, None, None, error_of_request(error, is_write=True))

    def watch(self, *, prefix: str | None = None, since: str | None = None, snapshot: bool = False) -> NodeWatch:
        """Watch for changes from now on, or after the event id `since`; see NodeWatch."""
        return NodeWatch(self._node, self.namespace, self.name, prefix=prefix, since=since, snapshot=snapshot)

    # The table itself

    async def describe(self) -> dict[str, Any] | None:
        """Its counts and settings, as in the API's documentation; None if it has neither rows nor settings."""
        with told_as_client():
            return tables.described(self._node, self.namespace, self.name)

    async def configure(self, *, conflicts: str | None = None, w: int | None = None, r: int | None = None) -> None:
        """Change the given settings. `conflicts` is `lww` or `siblings`; `w` and `r` are defaults of writes and
        reads."""
        given = settings_given(conflicts, w, r)
        with told_as_client(is_write=True):
            writable_namespace(self.namespace)
            await tables.configure(self._node, self.name, given)

    async def drop(self) -> None:
        """Delete its settings and rows; rows put in the meantime may stay."""
        with told_as_client(is_write=True):
            await tables.drop(self._node, writable_namespace(self.namespace), self.name)


@contextmanager
def told_as_client(*, is_write: bool = False) -> Iterator[None]:
    """Raise an error of the client instead of the member's."""
    try:
        yield
    except ClientError:
        raise
    except Exception as error:
        raise error_of_request(_request_error(error), is_write=is_write) from error


def _request_error(error: Exception) -> RequestError:
    request_error = request_error_of(error)
    if request_error is None:
        log.error("request_failed", exc_info=error)
    return request_error or internal_error()


def _operation(address: bytes, value: bytes | None, options: PutOptions, etag: str | None = None) -> Operation:
    """Raises InvalidArgumentError."""
    if_match, context, ttl = options.get("if_match"), options.get("context"), options.get("ttl")
    name, tags = ("if_match", if_match) if etag is None else ("etag", etag)
    return Operation(
        address,
        value,
        None if tags is None else checked(conditions.tags_of, name, tags),
        checked(arguments.flag, "if_absent", options.get("if_absent", False)),
        None if context is None else checked(context_token.seen_in, context, address),
        None if ttl is None else checked(life_ms_of, "ttl", ttl),
    )


def _size_of(operation: Operation) -> int:
    return len(operation.address) + len(operation.value or b"")
