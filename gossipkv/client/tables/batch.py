"""Many writes to one table, in bounded memory.

Operations are taken from the given iterable as they are sent, one request of bounded size at a time. Results come back
in the same order, one per operation. A batch is not a transaction: each operation succeeds or fails by itself.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gossipkv.client.arguments import checked, life_text, wait_seconds
from gossipkv.client.errors import (
    ClientError,
    InvalidArgumentError,
    TooFewCopiesError,
    UnavailableError,
    write_error_of,
)
from gossipkv.client.servers.requests import HttpAnswer, HttpRequest, Requests
from gossipkv.client.tables.row import line_of, value_to_send
from gossipkv.client.tables.write import copies_query
from gossipkv.rows.arguments import arguments, conditions, names
from gossipkv.rows.arguments.durations import Duration
from gossipkv.rows.arguments.invalid import InvalidInputError, shown
from gossipkv.rows.arguments.values import value_bytes

REQUEST_ROWS_MAX = 500
REQUEST_BYTES_MAX = 1024 * 1024
"""Maximum size of a request; a single operation may exceed it."""
_HEADERS = {"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class Put:
    row: str
    value: bytes
    etag: str | None = None
    """The etag that the row must have."""
    context: str | None = None
    """The context of a read; the write replaces what was read."""
    ttl: Duration | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    row: str
    etag: str | None = None
    context: str | None = None


BatchOperation = Put | Delete
PreparedT = TypeVar("PreparedT")


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """The outcome of one operation."""

    row: str | None
    etag: str | None
    receipt: str | None
    error: ClientError | None
    """None: it was stored."""


class Batches:
    """Batches to one table. `path` is the path of the requests. With `is_repeatable`, a request is sent again, to the
    next server, if it is not answered in full, or if a server did not process one of its operations."""

    def __init__(
        self, requests: Requests, path: str, *, is_repeatable: bool, w: int | None, write_wait: Duration | None
    ) -> None:
        self._requests = requests
        self._path = path
        self._is_repeatable = is_repeatable
        self._query = copies_query(w, write_wait)
        self._wait_s = wait_seconds("write_wait", write_wait)

    async def carried_out(
        self, operations: Iterable[BatchOperation] | AsyncIterable[BatchOperation]
    ) -> AsyncGenerator[BatchOutcome]:
        async for places in in_groups(operations, _line, len):
            lines = [place for place in places if isinstance(place, bytes)]
            answered = iter(await self.answered(lines) if lines else ())
            for place in places:
                yield place if isinstance(place, BatchOutcome) else next(answered)

    async def answered(self, lines: Sequence[bytes]) -> list[BatchOutcome]:
        """Send one request. Raises UnavailableError if it is not answered in full."""
        found: list[BatchOutcome] = []

        def check(answer: HttpAnswer) -> None:
            found[:] = _outcomes(answer, len(lines))
            for outcome in found:
                error = outcome.error
                is_elsewhere = isinstance(error, UnavailableError) and not isinstance(error, TooFewCopiesError)
                if self._is_repeatable and is_elsewhere:
                    raise UnavailableError(f"{answer.server}: {error}", may_stand=True)

        body = b"".join(line + b"\n" for line in lines)
        request = HttpRequest(
            "POST", self._path, self._query, _HEADERS, body, self._is_repeatable, wait_s=self._wait_s, check=check
        )
        await self._requests.answer(request)
        return found


def _outcomes(answer: HttpAnswer, lines: int) -> list[BatchOutcome]:
    """Raises UnavailableError."""
    try:
        found = [_outcome(json.loads(line)) for line in answer.body.splitlines() if line.strip()]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UnavailableError(f"{answer.server} does not answer like gossipkv: {error}", may_stand=True) from error
    if len(found) != lines:
        raise UnavailableError(f"{answer.server}: answered {len(found)} of {lines} lines", may_stand=True)
    return found


def _outcome(result: dict[str, Any]) -> BatchOutcome:
    status: int = result["status"]
    error = None if status < 400 else write_error_of(status, result.get("problem", {}))
    return BatchOutcome(result.get("row"), result.get("etag"), result.get("receipt"), error)


async def in_groups(
    operations: Iterable[BatchOperation] | AsyncIterable[BatchOperation],
    prepared: Callable[[BatchOperation], PreparedT],
    size_of: Callable[[PreparedT], int],
) -> AsyncGenerator[list[PreparedT | BatchOutcome]]:
    """The prepared operations of each request. An operation that cannot be sent is replaced by its outcome."""
    places: list[PreparedT | BatchOutcome] = []
    size_bytes = 0
    async for operation in _each(operations):
        place: PreparedT | BatchOutcome
        try:
            checked(_check_operation, operation)
            place = prepared(operation)
            added_bytes = size_of(place)
        except InvalidArgumentError as error:
            row: object = getattr(operation, "row", None)
            place, added_bytes = BatchOutcome(row if isinstance(row, str) else None, None, None, error), 0
        if places and (len(places) == REQUEST_ROWS_MAX or size_bytes + added_bytes > REQUEST_BYTES_MAX):
            yield places
            places, size_bytes = [], 0
        places.append(place)
        size_bytes += added_bytes
    if places:
        yield places


def _check_operations(operations: object) -> None:
    """Raises InvalidInputError."""
    if not isinstance(operations, Iterable | AsyncIterable):
        raise InvalidInputError("operations", f"are an iterable of Put and Delete, not {shown(operations)}")


def _check_operation(operation: object) -> None:
    """Raises InvalidInputError."""
    if not isinstance(operation, Put | Delete):
        raise InvalidInputError("operation", f"is a Put or a Delete, not {shown(operation)}")


async def _each(operations: Iterable[BatchOperation] | AsyncIterable[BatchOperation]) -> AsyncIterator[BatchOperation]:
    checked(_check_operations, operations)
    if isinstance(operations, AsyncIterable):
        async for operation in operations:
            yield operation
        return
    for operation in operations:
        yield operation


def _line(operation: BatchOperation) -> bytes:
    """Raises InvalidArgumentError."""
    entry: dict[str, object] = {"row": checked(names.row_key, operation.row).decode()}
    if isinstance(operation, Delete):
        entry["delete"] = True
    else:
        entry["value"] = value_to_send(checked(value_bytes, operation.value))
        if operation.ttl is not None:
            entry["ttl"] = life_text("ttl", operation.ttl)
    if operation.etag is not None:
        entry["etag"] = checked(conditions.header_of, "etag", operation.etag)
    if operation.context is not None:
        entry["context"] = checked(arguments.header_text, "context", operation.context)
    return line_of(entry)
