"""Writes rows until SIGTERM, as clients do through a Service, then prints what became of them as one line of JSON.

A row is written once: one that was not acknowledged is never tried again, so that what is acknowledged and what is not
can be told apart. Runs in a pod with nothing but the image. Arguments: URL, table, number of writers.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import signal
import sys
import time

from gossipkv.client import Client, ClientError

_PAUSE_S = 0.005
_PAUSE_AFTER_FAILURE_S = 0.05
_VIEW_INTERVAL_S = 0.5


class Load:
    def __init__(self, url: str, table: str) -> None:
        self._url = url
        self._table = table
        self.attempted = 0
        self.unacknowledged: list[str] = []
        self.acknowledged = 0
        self.refusals: collections.Counter[str] = collections.Counter()
        self.statuses: set[str] = set()
        self.longest_pause_s = 0.0
        self._last_s = time.monotonic()
        self.stopping = asyncio.Event()

    async def write(self) -> None:
        async with Client([self._url], timeout_s=10.0, passes=1) as client:
            while not self.stopping.is_set():
                row = f"row-{self.attempted:08d}"
                self.attempted += 1
                try:
                    await client.table(self._table).put(row, row.encode())
                except ClientError as error:
                    self.unacknowledged.append(row)
                    self.refusals[str(error).partition(": ")[2] or str(error)] += 1
                    await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)
                    continue
                self.acknowledged += 1
                now_s = time.monotonic()
                self.longest_pause_s = max(self.longest_pause_s, now_s - self._last_s)
                self._last_s = now_s
                await asyncio.sleep(_PAUSE_S)

    async def look_at_members(self) -> None:
        """Which statuses some member gives another."""
        while not self.stopping.is_set():
            async with Client([self._url], passes=1) as client:
                with contextlib.suppress(ClientError):
                    self.statuses |= {each["status"] for each in (await client.cluster())["members"]}
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), _VIEW_INTERVAL_S)


async def main() -> None:
    load = Load(sys.argv[1], sys.argv[2])
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stopping.set)
    await asyncio.gather(load.look_at_members(), *(load.write() for _ in range(int(sys.argv[3]))))
    summary = {
        "attempted": load.attempted,
        "acknowledged": load.acknowledged,
        "unacknowledged": load.unacknowledged,
        "refusals": dict(load.refusals),
        "longest_pause_seconds": round(load.longest_pause_s, 3),
        "statuses": sorted(load.statuses),
    }
    sys.stdout.write(json.dumps(summary) + "\n")


asyncio.run(main())
