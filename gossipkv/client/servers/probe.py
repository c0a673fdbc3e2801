"""Asks failing servers whether they are ready again.

It sleeps while all are healthy, and asks a failing server when its pause is over. So requests seldom go to a server
that still fails, and a recovered server is used again even while all others are healthy.
"""

from __future__ import annotations

import asyncio

from gossipkv.client.errors import UnavailableError
from gossipkv.client.servers.requests import Requests


async def probe(requests: Requests) -> None:
    """Runs until it is cancelled."""
    endpoints = requests.endpoints
    loop = asyncio.get_running_loop()
    while True:
        await endpoints.some_fail.wait()
        failing = endpoints.failing()
        if not failing:
            endpoints.some_fail.clear()
            continue
        pause_s = failing[0].retry_at_s - loop.time()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
            continue
        try:
            is_ready = await requests.is_ready(failing[0].url)
        except UnavailableError:
            is_ready = False
        if is_ready:
            endpoints.succeeded(failing[0])
        else:
            endpoints.failed(failing[0], loop.time())
