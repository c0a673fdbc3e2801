"""The client as the commands use it: rows by table name and key, one account of one server.

Servers are tried in order, from the one that answered last, each once. gossipkv/client/requests.py says when a request
goes to the next one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from gossipkv.client.batch import results
from gossipkv.client.cluster_client import Client
from gossipkv.client.endpoints import Choice
from gossipkv.client.errors import UnavailableError, error_of
from gossipkv.client.path import etag_of, row_path, table_path
from gossipkv.client.requests import Request, joined
from gossipkv.client.row import BatchResult, Page, Value, row_from_json


class AsyncClient(Client):
    """Use as `async with`. `timeout_s` bounds a silence of the server, `connect_timeout_s` the wait for a
    connection. Every method raises ClientError."""

    def __init__(self, servers: Sequence[str], *, timeout_s: float = 30.0, connect_timeout_s: float = 3.0) -> None:
        super().__init__(
            servers,
            choice=Choice.IN_ORDER,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            deadline_s=None,
            passes=1,
        )

    async def get(self, table: str, row: str, namespace: str = "usr") -> Value:
        """Raises NotFoundError."""
        answer = await self._requests.answer(Request("GET", row_path(namespace, table, row)))
        return Value(answer.body, etag_of(answer.headers))

    async def put(
        self,
        table: str,
        row: str,
        value: bytes,
        namespace: str = "usr",
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> str:
        """The new ETag. Raises ConditionFailedError."""
        written = await self.table(table, namespace=namespace).put(row, value, if_match=if_match, if_absent=if_absent)
        return written.etag or ""

    async def delete(self, table: str, row: str, namespace: str = "usr", *, if_match: str | None = None) -> None:
        """Also where there is no such row. Raises ConditionFailedError."""
        await self.table(table, namespace=namespace).delete(row, if_match=if_match)

    async def pages(
        self, table: str, namespace: str = "usr", *, limit: int | None = None, page_rows: int = 500, **query: str
    ) -> AsyncIterator[Page]:
        """Rows in order of their keys, up to `limit`, a page of up to `page_rows` at a time; some may be empty.
        `query`: prefix, start, end, keys_only."""
        left = limit
        while True:
            query["limit"] = str(page_rows if left is None else min(left, page_rows))
            answer = await self._requests.json(table_path(namespace, table) + "/rows", query)
            page = Page([row_from_json(item) for item in answer["items"]], answer["next_cursor"])
            yield page
            if left is not None:
                left -= len(page.rows)
            if page.next_cursor is None or left == 0:
                return
            query["cursor"] = page.next_cursor

    async def batch(self, table: str, lines: Sequence[bytes], namespace: str = "usr") -> list[BatchResult]:
        """Carry out NDJSON lines of puts and deletes, in order; a result for each. To be used for lines that may be
        carried out twice: all of them are sent to the next server when one answers late, in part, or 503 for a
        line."""
        failures: list[UnavailableError] = []
        for _ in range(len(self._requests.endpoints)):
            try:
                found = await results(self._requests, namespace, table, list(lines), is_repeatable=True)
                return [_batch_result(result) for result in found]
            except UnavailableError as error:
                failures.append(error)
                self._requests.endpoints.passed_over(self._requests.endpoints.first)
        raise joined(failures)


def _batch_result(result: dict[str, Any]) -> BatchResult:
    """Raises ClientError where the server, and not the line, is why it does not stand."""
    status: int = result["status"]
    if status < 400:
        return BatchResult(error=None)
    error = error_of(status, result["problem"])
    if status >= 500:
        raise error
    return BatchResult(error=str(error))
