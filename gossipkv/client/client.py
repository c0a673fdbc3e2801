"""The client.

Servers are tried in order, from the one that answered last. A request goes to the next server when this one cannot be
reached or says that it did nothing (502, 503, 504, 429). When an answer is lost on the way the request may have been
carried out: it is sent again only if carrying it out twice is the same as once.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from gossipkv.client.errors import RefusedError, UnavailableError, error_of
from gossipkv.client.row import BatchResult, Page, Value, Written, row_from_json, value_from_json
from gossipkv.client.watch import Watch

_LINE_BYTES_MAX = 8 * 2**20
"""Of an answer to a batch."""
_CONTEXT = "Gossipkv-Context"
_SEVERAL = 300
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class AsyncClient:
    """Use as `async with`. `timeout_s` bounds a silence of the server, `connect_timeout_s` the wait for a
    connection. Every method raises ClientError."""

    def __init__(self, servers: Sequence[str], *, timeout_s: float = 30.0, connect_timeout_s: float = 3.0) -> None:
        assert servers
        self._servers = [server.rstrip("/") for server in servers]
        self._first = 0
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s, sock_read=timeout_s)

    async def __aenter__(self) -> AsyncClient:
        self._session = aiohttp.ClientSession(
            timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=_LINE_BYTES_MAX
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    @property
    def server(self) -> str:
        """The server that is asked first."""
        return self._servers[self._first]

    # Rows

    async def get(self, table: str, row: str, namespace: str = "usr", *, r: int | None = None) -> Value:
        """As `r` members together hold it. Raises NotFoundError."""
        query = {} if r is None else {"r": str(r)}
        async with self._answer("GET", _row_path(namespace, table, row), query=query) as response:
            content, etag, context = await response.read(), _etag(response), response.headers.get(_CONTEXT, "")
            if response.status != _SEVERAL:
                return Value(content, etag, context)
            try:
                siblings = tuple(value_from_json(item["value"]) for item in json.loads(content)["siblings"])
                return Value(siblings[0], etag, context, siblings)
            except (ValueError, LookupError, TypeError) as error:
                raise RefusedError(f"{self.server} does not answer like gossipkv") from error

    async def put(
        self,
        table: str,
        row: str,
        value: bytes,
        namespace: str = "usr",
        *,
        if_match: str | None = None,
        if_absent: bool = False,
        context: str | None = None,
        ttl: str | None = None,
        w: int | None = None,
        write_wait: str | None = None,
    ) -> str:
        """The new ETag. `context` is that of a read; `ttl` as `30s`. Raises ConditionFailedError."""
        written = await self.write(
            table,
            row,
            value,
            namespace,
            if_match=if_match,
            if_absent=if_absent,
            context=context,
            ttl=ttl,
            w=w,
            write_wait=write_wait,
        )
        return written.etag

    async def write(
        self,
        table: str,
        row: str,
        value: bytes,
        namespace: str = "usr",
        *,
        if_match: str | None = None,
        if_absent: bool = False,
        context: str | None = None,
        ttl: str | None = None,
        w: int | None = None,
        write_wait: str | None = None,
    ) -> Written:
        """Put a row, durable at `w` members when this returns; `write_wait`, such as 2s, bounds the wait for them.
        Raises ConditionFailedError; UnavailableError whose `may_stand` tells whether it is stored."""
        headers = _conditions(if_match, if_absent) | _given(context)
        headers["Content-Type"] = "application/octet-stream"
        path = _row_path(namespace, table, row)
        query = _wanted(w, write_wait) | ({} if ttl is None else {"ttl": ttl})
        async with self._answer("PUT", path, query=query, headers=headers, data=value, is_repeatable=False) as response:
            return Written(_etag(response), response.headers.get("Gossipkv-Receipt", ""))

    async def receipt(self, receipt: str, *, wait: str | None = None, within: str | None = None) -> dict[str, Any]:
        """Who has a write; once so many members have it, or `all`, or `within` so long. Shape as in the API's
        documentation."""
        query = {name: text for name, text in (("wait", wait), ("timeout", within)) if text is not None}
        return await self._json(f"/v1/cluster/receipts/{_segment(receipt)}", query)

    async def delete(
        self,
        table: str,
        row: str,
        namespace: str = "usr",
        *,
        if_match: str | None = None,
        context: str | None = None,
        w: int | None = None,
        write_wait: str | None = None,
    ) -> None:
        """Also where there is no such row. Raises ConditionFailedError."""
        headers = _conditions(if_match, if_absent=False) | _given(context)
        path, query = _row_path(namespace, table, row), _wanted(w, write_wait)
        async with self._answer("DELETE", path, query=query, headers=headers, is_repeatable=False):
            pass

    async def pages(
        self, table: str, namespace: str = "usr", *, limit: int | None = None, page_rows: int = 500, **query: str
    ) -> AsyncIterator[Page]:
        """Rows in order of their keys, up to `limit`, a page of up to `page_rows` at a time; some may be empty.
        `query`: prefix, start, end, keys_only."""
        left = limit
        while True:
            query["limit"] = str(page_rows if left is None else min(left, page_rows))
            answer = await self._json(_table_path(namespace, table) + "/rows", query)
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
        for _ in self._servers:
            try:
                return await self._batch(table, lines, namespace)
            except UnavailableError as error:
                failures.append(error)
                self._first = (self._first + 1) % len(self._servers)
        raise _unavailable(failures)

    async def _batch(self, table: str, lines: Sequence[bytes], namespace: str) -> list[BatchResult]:
        path = _table_path(namespace, table) + "/rows:batch"
        headers = {"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"}
        body = b"".join(line + b"\n" for line in lines)
        async with self._answer("POST", path, headers=headers, data=body) as response:
            try:
                results = [_batch_result(line) async for line in response.content if line.strip()]
            except (aiohttp.ClientError, OSError, ValueError, KeyError) as error:
                raise UnavailableError(f"{self.server}: {_reason(error)}", may_stand=True) from error
        if len(results) != len(lines):
            detail = f"answered {len(results)} of {len(lines)} lines"
            raise UnavailableError(f"{self.server}: {detail}", may_stand=True)
        return results

    def watch(
        self,
        table: str,
        namespace: str = "usr",
        *,
        prefix: str | None = None,
        since: str | None = None,
        snapshot: bool = False,
        silence_s: float = 60.0,
        give_up_s: float = 60.0,
    ) -> Watch:
        """Changes as they come, from now on, or behind the event id `since`; see Watch."""
        return Watch(
            self._servers,
            self._stream,
            _table_path(namespace, table) + "/rows:watch",
            prefix=prefix,
            since=since,
            snapshot=snapshot,
            silence_s=silence_s,
            give_up_s=give_up_s,
        )

    @asynccontextmanager
    async def _stream(
        self, server: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], silence_s: float
    ) -> AsyncIterator[aiohttp.StreamReader]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout.sock_connect, sock_read=silence_s)
        try:
            async with self._session.get(_url(server, path, query), headers=headers, timeout=timeout) as response:
                if response.status >= 400:
                    raise error_of(response.status, await _problem(response))
                yield response.content
        except (aiohttp.InvalidURL, ValueError) as error:
            raise RefusedError(f"{server!r} is no URL of a server") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(f"{server}: {_reason(error)}") from error

    # Tables and members

    async def tables(self, namespace: str = "usr") -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self._json(f"/v1/{namespace}/tables"))["items"]
        return items

    async def set_table(self, table: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Change the settings given; what the table is like then."""
        path = _table_path("usr", table)
        async with self._answer("PUT", path, data=json.dumps(settings).encode()):
            pass
        return await self._json(path)

    async def cluster(self) -> dict[str, Any]:
        """What the server knows of each member; shape as in the API's documentation."""
        return await self._json("/v1/cluster")

    async def is_ready(self) -> bool:
        """Whether the first server is. Raises UnavailableError where it does not answer."""
        try:
            async with self._session.get(URL(self.server + "/readyz", encoded=True)) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnavailableError(f"{self.server}: {_reason(error)}") from error

    # Requests

    async def _json(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        async with self._answer("GET", path, query=query, headers=headers) as response:
            try:
                answer: dict[str, Any] = await response.json()
            except (aiohttp.ContentTypeError, ValueError) as error:
                raise RefusedError(f"{self.server} does not answer like gossipkv") from error
            return answer

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        is_repeatable: bool = True,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer of the first server that gives one, with a status below 400."""
        failures: list[UnavailableError] = []
        for step in range(len(self._servers)):
            index = (self._first + step) % len(self._servers)
            server = self._servers[index]
            try:
                url = _url(server, path, query)
                # A file in memory is sent in pieces, and a new one for each attempt from its start.
                body = None if data is None else io.BytesIO(data)
                response = await self._session.request(method, url, headers=headers, data=body)
            except _NEVER_SENT as error:
                failures.append(UnavailableError(f"{server}: {_reason(error)}"))
                continue
            except (aiohttp.InvalidURL, ValueError) as error:
                raise RefusedError(f"{server!r} is no URL of a server") from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                failures.append(UnavailableError(f"{server}: {_reason(error)}", may_stand=not is_repeatable))
                if not is_repeatable:
                    break
                continue
            async with response:
                if response.status >= 400:
                    refusal = error_of(response.status, await _problem(response))
                    if isinstance(refusal, UnavailableError) and not refusal.may_stand:
                        failures.append(UnavailableError(f"{server}: {refusal}", refusal.problem))
                        continue
                    raise refusal
                self._first = index
                yield response
                return
        raise _unavailable(failures)


def _unavailable(failures: Sequence[UnavailableError]) -> UnavailableError:
    message = "; ".join(str(failure) for failure in failures)
    if failures[-1].may_stand:
        return UnavailableError(f"{message}; the request may have been carried out", may_stand=True)
    return UnavailableError(message, failures[-1].problem)


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        if number is None or isinstance(error, aiohttp.ClientConnectorDNSError):
            # A failed look-up of a name has numbers of its own.
            return f"cannot be reached ({error.os_error.strerror or error.os_error})"
        return f"cannot be reached ({os.strerror(number)})"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "cannot be reached (no connection in time)"
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    return str(error) or type(error).__name__


async def _problem(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        problem = json.loads(await response.read())
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _url(server: str, path: str, query: Mapping[str, str] | None) -> URL:
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in (query or {}).items())
    return URL(f"{server}{path}{'?' + text if text else ''}", encoded=True)


def _table_path(namespace: str, table: str) -> str:
    return f"/v1/{quote(namespace, safe='')}/tables/{_segment(table)}"


def _row_path(namespace: str, table: str, row: str) -> str:
    return f"{_table_path(namespace, table)}/rows/{_segment(row)}"


def _segment(text: str) -> str:
    """One segment of a path. `.` and `..` would be taken for steps, were they not encoded."""
    return quote(text, safe="") if text not in (".", "..") else text.replace(".", "%2E")


def _etag(response: aiohttp.ClientResponse) -> str:
    """As in listings, without the quotes that a header wants."""
    return response.headers.get("ETag", "").strip('"')


def _wanted(w: int | None, write_wait: str | None) -> dict[str, str]:
    wanted = (("w", None if w is None else str(w)), ("write_wait", write_wait))
    return {name: text for name, text in wanted if text is not None}


def _conditions(if_match: str | None, if_absent: bool) -> dict[str, str]:
    headers = {}
    if if_match is not None:
        is_quoted = if_match == "*" or if_match.startswith(('"', "W/"))
        headers["If-Match"] = if_match if is_quoted else f'"{if_match}"'
    if if_absent:
        headers["If-None-Match"] = "*"
    return headers


def _given(context: str | None) -> dict[str, str]:
    return {} if context is None else {_CONTEXT: context}


def _batch_result(line: bytes) -> BatchResult:
    """Raises ClientError where the server, and not the line, is why it does not stand."""
    result = json.loads(line)
    status: int = result["status"]
    if status < 400:
        return BatchResult(error=None)
    error = error_of(status, result["problem"])
    if status >= 500:
        raise error
    return BatchResult(error=str(error))
