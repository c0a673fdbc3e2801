"""How long a write takes to reach those who watch its table at another member."""

from __future__ import annotations

import asyncio
import re
import time
from typing import cast

import uvloop

from benchmarks.bench import Bench
from benchmarks.connections import Connections
from benchmarks.figures import median, milliseconds, percentile
from benchmarks.processes import LOOPBACK, StepError
from benchmarks.propagation import start_members
from benchmarks.rows import TABLE, row_path, row_value
from benchmarks.table import Line

TITLE = "From a write on one member to those who watch on another"
METHOD = """\
Three `gossipkv serve` with default settings and one client on all cores. One writer puts new rows on the first member
at a steady rate, each of which is told to all who watch the table at the second: one connection for each watcher. The
time runs from the moment the PUT is due until a watcher has the event: both commits and the exchange between the
members are part of it, and so is the time that the client takes for the events before."""

SEEN_TIMEOUT_S = 30.0
_WRITING_CONNECTIONS = 16
_EVENT = re.compile(rb'"row":"row-0*(\d+)"')


def measure(bench: Bench) -> list[Line]:
    ports = start_members(bench, "watches")
    watchers, rate, duration_s = bench.scale.watchers, bench.scale.watched_rate_per_second, bench.scale.watched_s
    what = f"1 writer at {rate} writes/s, {watchers} watchers: median, p99"
    try:
        delays_ms = uvloop.run(_watched(ports[0], ports[1], watchers, rate, duration_s))
    except StepError as error:
        return [Line.not_measured(what, str(error))]
    spread = f"{milliseconds(median(delays_ms))}, {milliseconds(percentile(delays_ms, 0.99))}"
    return [Line(f"{what} ({len(delays_ms):,} events)", spread)]


class _Watcher(asyncio.Protocol):
    """A connection that notes when it was told of each row."""

    def __init__(self, writes: int) -> None:
        self.seen_at_s: dict[int, float] = {}
        self.transport: asyncio.Transport | None = None
        self.is_watching = asyncio.Event()
        self.has_seen_all = asyncio.Event()
        self._writes = writes
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        head = f"GET /v1/usr/tables/{TABLE}/rows:watch HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n"
        self.transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        text = self._rest + data
        end = text.rfind(b"\n\n")
        whole, self._rest = text[: end + 2], text[end + 2 :]
        if b": watching" in whole:
            self.is_watching.set()
        for found in _EVENT.finditer(whole):
            self.seen_at_s[int(found[1])] = now_s
        if len(self.seen_at_s) >= self._writes:
            self.has_seen_all.set()


async def _watched(write_port: int, watch_port: int, count: int, rate: int, duration_s: int) -> list[float]:
    """The delays of all events. Raises StepError."""
    loop = asyncio.get_running_loop()
    writes = rate * duration_s
    watchers = [_Watcher(writes) for _ in range(count)]
    writing = Connections(write_port, _WRITING_CONNECTIONS)
    try:
        async with asyncio.timeout(duration_s + SEEN_TIMEOUT_S):
            for watcher in watchers:
                await loop.create_connection(lambda watcher=watcher: watcher, LOOPBACK, watch_port)  # type: ignore[misc]
                await watcher.is_watching.wait()
            due_s = await _write(writing, rate, writes)
            for watcher in watchers:
                await watcher.has_seen_all.wait()
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise StepError(f"the watchers were not told of all writes: {error!r}") from None
    finally:
        writing.close()
        for watcher in watchers:
            if watcher.transport is not None:
                watcher.transport.close()
    return [(seen_s - due_s[number]) * 1000 for watcher in watchers for number, seen_s in watcher.seen_at_s.items()]


async def _write(writing: Connections, rate: int, writes: int) -> list[float]:
    """When each was due."""
    began_s = time.perf_counter()
    due_s = [began_s + number / rate for number in range(writes)]
    async with asyncio.TaskGroup() as tasks:
        for number, at_s in enumerate(due_s):
            if (ahead_s := at_s - time.perf_counter()) > 0:
                await asyncio.sleep(ahead_s)
            tasks.create_task(writing.status_of("PUT", row_path(number), row_value(number)))
    return due_s
