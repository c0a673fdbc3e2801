"""Many writes to one table, in bounded memory.

Operations are taken from whoever gives them as they are sent, a request of a bounded size at a time; results come back
in the same order, one for each. A batch is no transaction: each operation stands or fails by itself.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from gossipkv.client.errors import ClientError, UnavailableError, error_of
from gossipkv.client.path import table_path
from gossipkv.client.requests import Answer, Request, Requests
from gossipkv.client.row import value_to_json

REQUEST_ROWS_MAX = 500
REQUEST_BYTES_MAX = 1024 * 1024
"""But for a single operation."""
_HEADERS = {"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class Put:
    row: str
    value: bytes
    etag: str | None = None
    """Only if the row has this one."""


@dataclass(frozen=True, slots=True)
class Delete:
    row: str
    etag: str | None = None


Operation = Put | Delete


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What became of one operation."""

    row: str | None
    etag: str | None
    error: ClientError | None
    """None: it stands."""


async def outcomes(
    requests: Requests,
    namespace: str,
    table: str,
    operations: Iterable[Operation] | AsyncIterable[Operation],
    *,
    is_idempotent: bool,
) -> AsyncGenerator[BatchOutcome]:
    async for lines in _requests_of(operations):
        for result in await results(requests, namespace, table, lines, is_repeatable=is_idempotent):
            yield _outcome(result)


async def results(
    requests: Requests, namespace: str, table: str, lines: list[bytes], *, is_repeatable: bool
) -> list[dict[str, Any]]:
    """The server's result for each line. Raises UnavailableError where it does not answer all of them."""
    body = b"".join(line + b"\n" for line in lines)
    path = table_path(namespace, table) + "/rows:batch"
    answer = await requests.answer(Request("POST", path, None, _HEADERS, body, is_repeatable))
    return results_of(answer, len(lines))


def results_of(answer: Answer, lines: int) -> list[dict[str, Any]]:
    try:
        found = [json.loads(line) for line in answer.body.splitlines() if line.strip()]
    except ValueError as error:
        raise UnavailableError(f"{answer.server} does not answer like gossipkv: {error}", may_stand=True) from error
    if len(found) != lines:
        detail = f"{answer.server}: answered {len(found)} of {lines} lines"
        raise UnavailableError(detail, may_stand=True)
    return found


async def _requests_of(operations: Iterable[Operation] | AsyncIterable[Operation]) -> AsyncIterator[list[bytes]]:
    lines: list[bytes] = []
    size = 0
    async for operation in _each(operations):
        line = _line(operation)
        if lines and (len(lines) == REQUEST_ROWS_MAX or size + len(line) > REQUEST_BYTES_MAX):
            yield lines
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield lines


async def _each(operations: Iterable[Operation] | AsyncIterable[Operation]) -> AsyncIterator[Operation]:
    if isinstance(operations, AsyncIterable):
        async for operation in operations:
            yield operation
        return
    for operation in operations:
        yield operation


def _line(operation: Operation) -> bytes:
    entry: dict[str, object] = {"row": operation.row}
    if isinstance(operation, Put):
        entry["value"] = value_to_json(operation.value)
    else:
        entry["delete"] = True
    if operation.etag is not None:
        entry["etag"] = operation.etag
    return json.dumps(entry).encode()


def _outcome(result: dict[str, Any]) -> BatchOutcome:
    status: int = result["status"]
    error = None if status < 400 else error_of(status, result.get("problem", {}))
    return BatchOutcome(result.get("row"), result.get("etag"), error)
