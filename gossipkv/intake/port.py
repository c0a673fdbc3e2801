"""A port: accepts connections within bounds, and hands them to aiohttp.

The port accepts by itself, because no server of asyncio can refuse a connection. Moreover, uvloop stops listening
when there is no file descriptor for a connection. A connection beyond a bound is answered 503 and closed. The last
connections are kept for addresses that have few, so that one address cannot keep probes out. No address is exempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from gossipkv.intake.connection import BODY_BUFFER_BYTES, READ_BYTES, BoundedHandler, Connection, request_of
from gossipkv.intake.limits import PortBounds

BACKLOG = 1024
ACCEPTED_AT_ONCE = 64
"""The maximum number of connections accepted before other work gets its turn."""
RETRY_SECONDS = 0.25
"""The time that the port waits for a file descriptor before it tries again."""
KEPT_SHARE = 32
"""One of this many connections is kept for addresses that have fewer than `FEW_CONNECTIONS`."""
FEW_CONNECTIONS = 4
LOOK_SECONDS = 1.0

Overloaded = Callable[[str], web.Response]
"""The function that returns an answer with status 503 and this detail."""


class Port:
    """A listening port, from `start` to `stop`."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        bounds: PortBounds,
        overloaded: Overloaded,
        **settings: Any,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings: dict[str, Any] = {
            "loop": self._loop,
            "access_log": None,
            # Decompressed bodies could exceed any limit.
            "auto_decompress": False,
            "keepalive_timeout": bounds.limits.keepalive_timeout_seconds,
            "read_bufsize": BODY_BUFFER_BYTES,
            **settings,
        }
        self._server = web.Server(handler, request_factory=request_of)
        self._sockets: list[socket.socket] = []
        self._connections: dict[Connection, None] = {}
        self._per_address: dict[str, int] = {}
        self._opening: set[asyncio.Task[Any]] = set()
        self._looking: asyncio.Task[None] | None = None
        self.bounds = bounds
        self.overloaded = overloaded
        self.read_buffer = memoryview(bytearray(READ_BYTES))
        self.now = self._loop.time

    async def start(self, host: str, port: int) -> None:
        """Listen on all addresses of the host; port 0 means any free one. Raises OSError."""
        found = await self._loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, kind, protocol, _, address in dict.fromkeys(found):
                self._sockets.append(listening := socket.socket(family, kind, protocol))
                listening.setblocking(False)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listening.bind(address)
                listening.listen(BACKLOG)
        except OSError:
            self._close_sockets()
            raise
        for listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)
        self._looking = self._loop.create_task(self._look())

    @property
    def number(self) -> int:
        """The number of the port that is listened on."""
        return int(self._sockets[0].getsockname()[1])

    @property
    def has_connections(self) -> bool:
        """Whether any connection is open, or its last request still runs."""
        return bool(self._connections)

    async def stop(self, seconds: float) -> None:
        """Accept no further connections, answer complete requests within this time, and close all connections.
        Idempotent."""
        self._close_sockets()
        if self._opening:
            await asyncio.wait(self._opening)
        # Requests that have arrived begin before idle connections are closed.
        await asyncio.sleep(0)
        self._server.pre_shutdown()
        await self._server.shutdown(seconds)
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    def _close_sockets(self) -> None:
        for listening in self._sockets:
            if listening.fileno() != -1:
                self._loop.remove_reader(listening)
                listening.close()

    # Accepting

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Most often there is no file descriptor. Whatever the cause, trying again at once would only spin.
                self.bounds.not_accepted.count(reason=error.strerror, consequence="new connections wait")
                self._loop.remove_reader(listening)
                self._loop.call_later(RETRY_SECONDS, self._accept_again, listening)
                return
            address = str(peer[0]).removeprefix("::ffff:")
            if self._admits(address):
                self._open(accepted, address)
            else:
                self._turn_away(accepted)

    def _accept_again(self, listening: socket.socket) -> None:
        if listening.fileno() != -1:
            self._loop.add_reader(listening, self._accept, listening)
            self._accept(listening)

    def _admits(self, address: str) -> bool:
        bounds, here = self.bounds, self._per_address.get(address, 0)
        if here >= bounds.per_address.limit:
            bounds.per_address.refusals.count(address=address, limit=bounds.per_address.limit)
            return False
        kept = bounds.connections.limit // KEPT_SHARE if here >= FEW_CONNECTIONS else 0
        if bounds.connections.used >= bounds.connections.limit - kept:
            bounds.connections.refusals.count(address=address, limit=bounds.connections.limit)
            return False
        return True

    def _open(self, accepted: socket.socket, address: str) -> None:
        handler = BoundedHandler(self, self._server, **self._settings)
        connection = Connection(self, handler, address)
        self._connections[connection] = None
        self.bounds.connections.used += 1
        here = self._per_address[address] = self._per_address.get(address, 0) + 1
        self.bounds.per_address.used = max(self.bounds.per_address.used, here)
        task = self._loop.create_task(self._connect(connection, accepted))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self, connection: Connection, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError:
            # The client has closed the connection already.
            accepted.close()
            self.closed(connection)

    def _turn_away(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        response = self.overloaded("there are too many connections")
        assert isinstance(response.body, bytes), "an answer in memory"
        headers = {**response.headers, "Content-Length": str(len(response.body)), "Connection": "close"}
        lines = [f"HTTP/1.1 {response.status} {response.reason}", *(f"{name}: {headers[name]}" for name in headers)]
        with contextlib.suppress(OSError):
            accepted.send("\r\n".join([*lines, "", ""]).encode() + response.body)
            accepted.shutdown(socket.SHUT_WR)
        accepted.close()

    def closed(self, connection: Connection) -> None:
        """Stop counting a connection. Called when it is closed and its last request has ended."""
        if connection not in self._connections:
            return
        del self._connections[connection]
        self.bounds.connections.used -= 1
        left = self._per_address[connection.address] - 1
        if left:
            self._per_address[connection.address] = left
        else:
            del self._per_address[connection.address]

    # Deadlines

    async def _look(self) -> None:
        limits = self.bounds.limits
        pause = min(LOOK_SECONDS, limits.head_timeout_seconds / 4, limits.answer_timeout_seconds / 4)
        while True:
            await asyncio.sleep(pause)
            now = self.now()
            self.bounds.per_address.used = max(self._per_address.values(), default=0)
            for connection in list(self._connections):
                connection.look(now)
