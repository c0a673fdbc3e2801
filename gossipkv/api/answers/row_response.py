"""Answers of the row calls, in one write.

A row's response has few headers, all known in advance. Building it here costs a third of aiohttp's general response,
and that is most of the cost of reading one row. The rest of the protocol is kept: Date, Content-Length, keep-alive of
HTTP/1.0 and 1.1, no body for HEAD, and waiting for a client that reads slowly.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from gossipkv.api.answers import alone

_COPIED_BYTES_MAX = 64 * 1024
"""Up to about this size, joining head and body is cheaper than writing them separately."""

_STATUS_LINES = {status: f"{status} {HTTPStatus(status).phrase}\r\n" for status in (200, 201, 204, 304)}
_BODILESS = frozenset({204, 304})


class RowResponse(web.StreamResponse):
    """A response with status 200, 201, 204 or 304. `etag` is without quotes; `context` is `Gossipkv-Context`."""

    def __init__(
        self,
        status: int,
        etag: str | None = None,
        body: bytes = b"",
        context: str | None = None,
        receipt: str | None = None,
    ) -> None:
        super().__init__(status=status)
        self._etag = etag
        self._context = context
        self.body = body
        self._receipt = receipt
        self.alone: str | None = None
        """`Gossipkv-Alone`, while the member is alone."""
        self._keeps_alive = True
        self._answered: BaseRequest | None = None

    @property
    def keep_alive(self) -> bool:
        return self._keeps_alive

    def force_close(self) -> None:
        self._keeps_alive = False

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter:
        """Write the whole response. Raises ConnectionResetError if the client is gone."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._answered = request
        self._keeps_alive = self._keeps_alive and request.keep_alive
        head = self._head(request.version >= HttpVersion11).encode()
        body = self.body
        if not body or request.method == "HEAD":
            transport.write(head)
        elif len(body) <= _COPIED_BYTES_MAX:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        return request.writer

    def _head(self, is_current: bool) -> str:
        status = self.status
        if is_current:
            protocol, connection = "HTTP/1.1 ", "" if self._keeps_alive else "Connection: close\r\n"
        else:
            protocol, connection = "HTTP/1.0 ", "Connection: keep-alive\r\n" if self._keeps_alive else ""
        etag = "" if self._etag is None else f'ETag: "{self._etag}"\r\n'
        if self._context is not None:
            etag += f"Gossipkv-Context: {self._context}\r\n"
        if self._receipt is not None:
            etag += f"Gossipkv-Receipt: {self._receipt}\r\n"
        if self.alone is not None:
            etag += f"{alone.HEADER}: {self.alone}\r\n"
        content = "" if status in _BODILESS else f"Content-Length: {len(self.body)}\r\n"
        if status == HTTPStatus.OK:
            content += "Content-Type: application/octet-stream\r\n"
        return f"{protocol}{_STATUS_LINES[status]}{etag}{content}{connection}Date: {_date(int(time.time()))}\r\n\r\n"

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait until the client has read enough of it."""
        assert self._answered is not None, "prepare comes first"
        assert not data, "the response has been written"
        await self._answered.writer.drain()


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
