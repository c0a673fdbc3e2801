"""What HTTP adds to an exchange: the real transport at both ends, and the bytes counted in between."""

from __future__ import annotations

import asyncio

from benchmarks.processes import LOOPBACK, free_ports
from gossipkv.transport.http import HttpTransport


class _Counter:
    """Passes TCP on to a port and counts."""

    def __init__(self, target: int) -> None:
        self.bytes = 0
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection(LOOPBACK, self._target)
        for source, target in ((reader, onward_writer), (onward_reader, writer)):
            self._tasks.add(asyncio.create_task(self._pass_on(source, target)))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(65536):
            self.bytes += len(content)
            writer.write(content)
        writer.close()

    async def finish(self) -> None:
        await asyncio.gather(*self._tasks)


async def http_bytes(asked_bytes: int, answered_bytes: int) -> int:
    """All bytes, both ways and without those of TCP, of an exchange of frames of these sizes over HTTP."""
    serving_port, dialling_port, counting_port = free_ports(3)
    serving, dialling = HttpTransport(LOOPBACK, serving_port), HttpTransport(LOOPBACK, dialling_port)
    counter = _Counter(serving_port)

    async def answer(_: bytes) -> bytes:
        return bytes(answered_bytes)

    await serving.start(answer)
    await dialling.start(answer)
    server = await asyncio.start_server(counter.accept, LOOPBACK, counting_port)
    try:
        await dialling.exchange(f"http://{LOOPBACK}:{counting_port}", bytes(asked_bytes))
    finally:
        await dialling.close()
        await counter.finish()
        await serving.close()
        server.close()
    return counter.bytes
