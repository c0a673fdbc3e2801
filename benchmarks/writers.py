"""The writers of the batch section: `python -m benchmarks.writers KIND PLACE ROWS`, each a process of its own.

Each writes rows that were not there, in groups of the same size, makes each group durable, and prints the seconds that
it took: from the first row handed in until the last is acknowledged.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import aiohttp
import lmdb
import uvloop

from benchmarks.processes import LOOPBACK
from benchmarks.rows import TABLE, groups, ndjson, row_key, row_value
from benchmarks.seeds import put_of
from gossipkv.config import logs
from gossipkv.core.model.address import USER
from gossipkv.core.model.write import NotMatched, Operation
from gossipkv.core.options import ReplicaOptions
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode
from gossipkv.storage.lmdb import MAP_SIZE_BYTES_DEFAULT, LmdbStorage
from gossipkv.transport.http import HttpTransport

GROUPS_IN_FLIGHT = 2
"""The next one is put together while one commits."""


def write_raw(directory: str, rows: int) -> float:
    """py-lmdb alone, with its default flags: one transaction per group."""
    environment = lmdb.open(directory, map_size=MAP_SIZE_BYTES_DEFAULT)
    batches = [[(row_key(n), row_value(n)) for n in group] for group in groups(rows)]
    began = time.perf_counter()
    for batch in batches:
        with environment.begin(write=True) as transaction:
            for key, value in batch:
                transaction.put(key, value)
    took_s = time.perf_counter() - began
    environment.close()
    return took_s


async def write_embedded(directory: str, rows: int) -> float:
    """A node in this process, without an API."""
    transport = HttpTransport(LOOPBACK, 0)
    node = MemberNode(
        ReplicaOptions(member="embedded"), LmdbStorage(Path(directory)), transport, StaticDiscovery([]), Metrics()
    )
    batches = [[put_of(n) for n in group] for group in groups(rows)]
    slots = asyncio.Semaphore(GROUPS_IN_FLIGHT)
    await node.start()

    async def write(batch: list[Operation]) -> None:
        results = await node.write(USER, batch)
        assert not any(isinstance(result, NotMatched) for result in results), "no write has a condition"
        slots.release()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for batch in batches:
            await slots.acquire()
            tasks.create_task(write(batch))
    took_s = time.perf_counter() - began
    await node.stop()
    return took_s


async def write_http(port: str, rows: int) -> float:
    """One request that streams lines to a server, and takes its results off meanwhile."""
    texts = [ndjson(group) for group in groups(rows)]

    async def lines() -> AsyncIterator[bytes]:
        for text in texts:
            yield text

    results = created = 0
    began = time.perf_counter()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_read=60)) as session:
        url = f"http://{LOOPBACK}:{port}/v1/usr/tables/{TABLE}/rows:batch"
        async with session.post(url, data=lines(), headers={"Content-Type": "application/x-ndjson"}) as response:
            async for line in response.content:
                results += 1
                created += b'"status":201' in line
    took_s = time.perf_counter() - began
    assert results == created == rows, f"{rows} rows were sent, {results} answered and {created} created"
    return took_s


_COROUTINES: dict[str, Callable[[str, int], Coroutine[None, None, float]]] = {
    "embedded": write_embedded,
    "http": write_http,
}


def main() -> None:
    kind, place, rows = sys.argv[1:]
    logs.configure("console", "error")
    if kind == "raw":
        took_s = write_raw(place, int(rows))
    else:
        took_s = uvloop.run(_COROUTINES[kind](place, int(rows)))
    print(took_s)


if __name__ == "__main__":
    main()
