"""Keep-alive connections that cost little: what measures shares the cores with what is measured."""

from __future__ import annotations

import asyncio

from benchmarks.processes import LOOPBACK

REQUEST_TIMEOUT_S = 10.0


class Connections:
    """To one server; a request takes a free connection or waits for one. Opened as needed, up to a number."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._free: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None] = asyncio.LifoQueue()
        for _ in range(count):
            self._free.put_nowait(None)

    async def status_of(self, method: str, path: str, body: bytes = b"") -> int:
        """Send a request and read its answer whole; returns the status. Raises OSError, TimeoutError."""
        streams = await self._free.get()
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            reader, writer = streams or await asyncio.open_connection(LOOPBACK, self._port)
            head = f"{method} {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_content_length(answer))
        self._free.put_nowait((reader, writer))
        return int(answer.split(b" ", 2)[1])

    def close(self) -> None:
        while not self._free.empty():
            if streams := self._free.get_nowait():
                streams[1].close()


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0
