"""One connection: what of it is held in memory, and for how long.

aiohttp bounds the body of a request that is being read, and nothing else. This module adds:

- Reads are small, so that a connection holds little before its request is judged.
- The headers of a request are bounded as a whole, and so is what a client sends ahead of its answers (pipelining).
- What a request has taken of the bound on bodies is given back when the request is answered.
- Large answers are taken from a bound until the client has read them.

The module relies on private parts of aiohttp's RequestHandler. The tests in tests/intake check what is assumed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from gossipkv.intake.bound import Share

if TYPE_CHECKING:
    from gossipkv.intake.port import Port

READ_BYTES = 32 * 1024
"""The maximum size of a read."""
BODY_BUFFER_BYTES = 16 * 1024
"""If no handler reads a body, it is paused at twice this size."""
WRITE_BUFFER_BYTES = 32 * 1024
"""The part of an answer that may wait in memory once the bound on answers no longer counts the answer."""
HEAD_BYTES_MAX = 64 * 1024
AHEAD_BYTES_MAX = 32 * 1024
"""The maximum size of requests that wait for the answer of the one before."""
AHEAD_REQUESTS_MAX = 2
"""The maximum number of these requests, beyond those that arrive in one read."""
COUNTED_ANSWER_BYTES_MIN = WRITE_BUFFER_BYTES
"""Smaller answers are bounded by the number of connections."""
ANSWER_BYTES_PER_SECOND_MIN = 1_024

_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class BoundedHandler(RequestHandler):
    """The requests of one connection."""

    __slots__ = ("ahead_bytes", "body", "head_bytes", "head_since", "payload", "port")

    def __init__(self, port: Port, manager: web.Server, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self.port = port
        self.body = Share(port.bounds.bodies)
        """The part of the bound on bodies that the request under way has taken."""
        self.payload: StreamReader | None = None
        """The body of the latest request that was begun."""
        self.ahead_bytes = 0
        """The minimum size of what has arrived behind that request."""
        self.head_bytes = 0
        """The size of what has arrived of the headers that are awaited."""
        self.head_since: float | None = port.now()
        """The time since which headers have been awaited; None while the connection is idle or has a request."""
        self._max_msg_queue_size = AHEAD_REQUESTS_MAX
        self._msg_queue_resume_size = 0

    @property
    def is_running(self) -> bool:
        """Whether the code of a route runs. Then no deadline applies here: streamed answers have deadlines of their
        own."""
        return self._current_request is not None

    @property
    def has_request_waiting(self) -> bool:
        """Whether a request has arrived whose handling has not begun."""
        return bool(self._messages)

    @property
    def is_ahead(self) -> bool:
        """Whether the next byte belongs to a later request than those that have arrived."""
        payload = self._messages[-1][1] if self._messages else self.payload
        return payload is not None and payload.is_eof()

    def pause_ahead(self) -> None:
        """Stop reading until the requests that wait have been taken."""
        if not self._buffer_paused:
            self._pause_reading_for_buffer()

    async def _handle_request(
        self,
        request: web.BaseRequest,
        start_time: float | None,
        request_handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    ) -> tuple[web.StreamResponse, bool]:
        try:
            return await super()._handle_request(request, start_time, request_handler)
        finally:
            if self.body.held:
                self.body.keep(0)

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send an answer. A large one is counted against the bound on answers; if it does not fit, 503 is sent
        instead."""
        size = _body_bytes(resp)
        if size < COUNTED_ANSWER_BYTES_MIN or request.method == "HEAD":
            # Send the usual answer without another coroutine.
            return super().finish_response(request, resp, start_time)
        return self._finish_large(request, resp, start_time, size)

    async def _finish_large(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None, size: int
    ) -> tuple[web.StreamResponse, bool]:
        answers = self.port.bounds.answers
        if not answers.take(size):
            resp = self.port.overloaded("too many answers wait for clients that read slowly")
            return await super().finish_response(request, resp, start_time)
        if type(resp) is web.Response:
            resp = _InParts(resp)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            answers.give_back(size)


def request_of(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """Return the request that a handler begins, and start to count what arrives behind it."""
    assert isinstance(protocol, BoundedHandler), "all ports are bounded"
    protocol.payload = payload
    protocol.head_bytes = 0
    protocol.head_since = None
    if not protocol._messages:
        protocol.ahead_bytes = 0
    return web.BaseRequest(message, payload, protocol, writer, task, protocol._loop)


class _InParts(web.StreamResponse):
    """A response whose body is written in parts. aiohttp would copy the whole body, and keep it for as long as the
    client reads."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(status=response.status, reason=response.reason, headers=response.headers)
        assert isinstance(response.body, bytes), "an answer in memory"
        self._whole = response.body
        self.content_length = len(self._whole)
        if response.keep_alive is False:
            self.force_close()

    async def write_eof(self, data: bytes = b"") -> None:
        assert not data, "the body is known"
        for at in range(0, len(self._whole), WRITE_BUFFER_BYTES):
            await self.write(self._whole[at : at + WRITE_BUFFER_BYTES])
        await super().write_eof()


def _body_bytes(response: web.StreamResponse) -> int:
    body = getattr(response, "body", None)
    return len(body) if type(body) is bytes else 0


class Connection(asyncio.BufferedProtocol):
    """The link between the transport and the handler. It reads into a buffer that all connections of a port share."""

    __slots__ = ("_port", "address", "handler", "slow_since", "transport")

    def __init__(self, port: Port, handler: BoundedHandler, address: str) -> None:
        self._port = port
        self.handler = handler
        self.address = address
        self.transport: asyncio.Transport | None = None
        self.slow_since: tuple[float, int] | None = None
        """The time since which an answer has been waiting for its reader, and the bytes that were left then."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bound the write buffer, and begin to handle requests."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.handler.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """End the handler. The port counts the connection until the code of the route has ended too."""
        task = self.handler._task_handler
        self.handler.connection_lost(error)
        if task is None or task.done():
            self._port.closed(self)
        else:
            # The code of the route may go on, and hold memory, after its client is gone.
            task.add_done_callback(lambda _: self._port.closed(self))

    def pause_writing(self) -> None:
        """Let the handler wait, because the client reads slowly."""
        self.handler.pause_writing()

    def resume_writing(self) -> None:
        """Let the handler go on."""
        self.handler.resume_writing()

    def eof_received(self) -> None:
        """Tell the handler that the client has ended its side. The transport then closes the connection."""
        self.handler.eof_received()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Return the buffer of the port; `sizehint` is ignored."""
        return self._port.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand what has arrived to the handler, and count it as headers or as ahead of its answer."""
        handler = self.handler
        waiter = handler._waiter
        if waiter is not None and not waiter.done():
            # No request is under way, and none waits, so these bytes begin one.
            handler.data_received(bytes(self._port.read_buffer[:nbytes]))
            if not waiter.done():
                self._receive_head(nbytes)
            return
        was_ahead = handler.is_ahead
        handler.data_received(bytes(self._port.read_buffer[:nbytes]))
        if was_ahead:
            self._receive_ahead(nbytes)

    def _receive_head(self, size: int) -> None:
        handler = self.handler
        if handler.head_since is None:
            handler.head_since = self._port.now()
        handler.head_bytes += size
        if handler.head_bytes > HEAD_BYTES_MAX:
            self._port.bounds.large_heads.count(address=self.address)
            if self.transport is not None:
                self.transport.write(_HEAD_TOO_LARGE)
            handler.force_close()

    def _receive_ahead(self, size: int) -> None:
        handler = self.handler
        handler.ahead_bytes += size
        if handler.has_request_waiting:
            if handler.ahead_bytes > AHEAD_BYTES_MAX:
                handler.pause_ahead()
        elif handler.ahead_bytes > HEAD_BYTES_MAX:
            # One request has too large a head. The answer under way is the last one.
            self._port.bounds.large_heads.count(address=self.address)
            handler.close()

    def look(self, now: float) -> None:
        """End the connection if a deadline has passed; `now` is the event loop's time."""
        transport = self.transport
        if transport is None:
            return
        limits, bounds = self._port.bounds.limits, self._port.bounds
        head_since = self.handler.head_since
        if head_since is not None and now - head_since > limits.head_timeout_seconds:
            self.handler.head_since = None
            bounds.slow_heads.count(address=self.address)
            self.handler.force_close()
        left = transport.get_write_buffer_size()
        if not left or self.handler.is_running:
            self.slow_since = None
        elif self.slow_since is None:
            self.slow_since = now, left
        elif now - self.slow_since[0] > limits.answer_timeout_seconds:
            taken = self.slow_since[1] - left
            self.slow_since = now, left
            if taken < ANSWER_BYTES_PER_SECOND_MIN * limits.answer_timeout_seconds:
                bounds.slow_readers.count(address=self.address)
                transport.abort()
