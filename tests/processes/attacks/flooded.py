"""A member that is flooded, its memory, and raw connections to it. All of it stays on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.processes.command import Command

MIB = 2**20


class Flooded:
    """A running member, and the most memory that it has had since `begin`."""

    def __init__(self, command: Command, http_port: int, gossip_port: int) -> None:
        self.command = command
        self.http_port = http_port
        self.gossip_port = gossip_port
        self.idle_mib = 0.0
        self.peak_mib = 0.0
        self.growth_mib_max = 64
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def memory_mib(self) -> float:
        status = Path(f"/proc/{self.command.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else 0.0

    @property
    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.command.process.pid}/fd").iterdir()))

    def begin(self) -> None:
        self.idle_mib = self.peak_mib = self.memory_mib

    @property
    def growth_mib(self) -> float:
        return self.peak_mib - self.idle_mib

    def end(self) -> None:
        self._has_ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._has_ended.wait(0.01):
            with contextlib.suppress(OSError):
                self.peak_mib = max(self.peak_mib, self.memory_mib)

    # Requests

    async def status(self, method: str, path: str, body: bytes = b"") -> int:
        """The status of one request on a connection of its own; 0 if there is no answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        return await answer_to(self.http_port, [head.encode() + body])

    async def metric(self, sample: str) -> float:
        """The value of a sample. Waits until a connection is taken."""
        deadline = time.monotonic() + 20
        while True:
            async with connected(self.http_port) as (reader, writer):
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                with contextlib.suppress(OSError):
                    text = (await asyncio.wait_for(reader.read(), 20)).decode()
                    for line in text.splitlines():
                        if line.startswith(sample + " "):
                            return float(line.rsplit(" ", 1)[1])
            assert time.monotonic() < deadline, f"no {sample}"
            await asyncio.sleep(0.1)

    async def serves_again(self) -> None:
        """Wait until it takes a small write."""
        await self.takes("/v1/usr/tables/probe/rows/k", b"v")

    async def takes(self, path: str, value: bytes) -> None:
        """Wait until it takes a write."""
        deadline = time.monotonic() + 20
        while await self.status("PUT", path, value) not in (201, 204):
            assert time.monotonic() < deadline, self.command.output[-2000:]
            await asyncio.sleep(0.1)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(port: int, *, is_slow: bool = False) -> AsyncIterator[Pair]:
    """A connection; a slow one takes a few KiB from the network before it is read."""
    client = socket.socket()
    client.setblocking(False)
    if is_slow:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    except OSError:
        client.close()
        raise
    reader, writer = await asyncio.open_connection(sock=client, limit=1024 if is_slow else 2**16)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def answer_to(port: int, pieces: Iterable[bytes], *, pause_s: float = 0.0, seconds: float = 20.0) -> int:
    """Send pieces, and return the status of the first answer; 0 if the connection is ended without one."""
    try:
        async with asyncio.timeout(seconds), connected(port) as (reader, writer):
            status = asyncio.ensure_future(reader.readline())
            try:
                for piece in pieces:
                    if status.done():
                        break
                    writer.write(piece)
                    await writer.drain()
                    if pause_s:
                        await asyncio.sleep(pause_s)
            except OSError:
                pass
            return status_of(await status)
    except OSError:
        return 0


def status_of(line: bytes) -> int:
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", line)
    return int(found[1]) if found else 0


async def counted(attempts: Iterable[Awaitable[int]]) -> Counter[int]:
    return Counter(await asyncio.gather(*attempts))
