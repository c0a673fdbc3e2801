"""A server that carries writes out and dies before it has answered: all that a client sees is a broken connection."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Death(enum.Enum):
    BEFORE_THE_BODY = "it has read the headers alone"
    AFTER_THE_BODY = "it has read all of the request"
    AMID_THE_ANSWER = "it has sent a part of the answer's headers"
    AMID_THE_CONTENT = "it has sent a part of the answer's body"
    BY_RESET = "it resets the connection"


class DyingServer:
    """Answers requests to the row or table `warm`, and keeps their connection; dies of all others. Each connection is
    a new life: the server is there again at once, as a process under a supervisor is."""

    def __init__(self, death: Death) -> None:
        self._death = death
        self.requests: list[str] = []
        """Method and path of those that it died of."""
        self.reused = 0
        """Those of them that did not come first on their connection."""
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[DyingServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    @asynccontextmanager
    async def port(self) -> AsyncIterator[int]:
        """For a server that runs in a thread."""
        async with self.running():
            yield int(self.url.rpartition(":")[2])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered = 0
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, path, _ = head.split(" ", 2)
                if "warm" not in path:
                    self.requests.append(f"{method} {path.partition('?')[0]}")
                    self.reused += answered > 0
                    if self._death is Death.BEFORE_THE_BODY:
                        return
                await _read_body(reader, head)
                if "warm" not in path:
                    self._die(writer)
                    return
                writer.write(b'HTTP/1.1 204 No Content\r\nETag: "1"\r\n\r\n')
                answered += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _die(self, writer: asyncio.StreamWriter) -> None:
        if self._death is Death.AMID_THE_ANSWER:
            writer.write(b"HTTP/1.1 204 No Con")
        elif self._death is Death.AMID_THE_CONTENT:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        elif self._death is Death.BY_RESET:
            writer.transport.abort()


async def _read_body(reader: asyncio.StreamReader, head: str) -> None:
    headers = head.lower()
    if "transfer-encoding: chunked" in headers:
        while (size := int(await reader.readline(), 16)) > 0:
            await reader.readexactly(size + 2)
        await reader.readline()
    elif "content-length: " in headers:
        await reader.readexactly(int(headers.partition("content-length: ")[2].partition("\r\n")[0]))
