"""The yardstick of the HTTP API: an aiohttp application that does nothing.

The same server settings, the same shape of route, the same bytes in and out; but no store: a GET returns a constant, a
PUT reads its body and answers 204. Run as `python -m benchmarks.bare PORT`; ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web

from benchmarks.processes import LOOPBACK
from benchmarks.rows import row_value

_VALUE = row_value(1)


async def _get(_: web.Request) -> web.Response:
    return web.Response(body=_VALUE, content_type="application/octet-stream")


async def _put(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=204)


async def _serve(port: int) -> None:
    application = web.Application()
    path = "/v1/{namespace}/tables/{table}/rows/{row}"
    application.router.add_get(path, _get)
    application.router.add_put(path, _put)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
