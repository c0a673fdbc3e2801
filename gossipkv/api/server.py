"""The API on a port.

Slow clients are bounded: headers by the keep-alive deadline, which runs from the opening of a connection or its last
response; bodies by the deadlines of the handlers.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gossipkv.api.options import ApiOptions
from gossipkv.api.route_table import RouteTable

BACKLOG = 1024
DRAIN_POLL_SECONDS = 0.02
HEADER_BYTES_MAX = 32 * 1024
"""Maximum size of a header. Version 0.1.0 gave out event ids longer than aiohttp's default of 8 KiB. These must be
answered with a reset, because an error would block the watch."""
LINGERING_SECONDS = 5.0
"""How long the rest of a refused body is read, so that the client sees the answer and not a reset."""


class _OwnFaults(logging.Filter):
    """Filters out records that any client can cause: aiohttp logs each malformed request, and each client that
    disconnects during an answer, with a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError | ConnectionError)


_logger = logging.getLogger("gossipkv.api.http")
_logger.addFilter(_OwnFaults())


class Server:
    """A listening server; see `serve`."""

    def __init__(self, api: RouteTable, runner: web.ServerRunner, site: web.TCPSite) -> None:
        self._api = api
        self._runner = runner
        self._site = site

    @property
    def port(self) -> int:
        """The port that the server listens on, even if any free one was requested."""
        return self._site.port

    async def drain(self, seconds: float) -> None:
        """Close each connection after its next answer, so that clients go to another member before this one refuses
        their writes. Returns when no connection is open, or after this many seconds."""
        self._api.is_draining = True
        deadline = asyncio.get_running_loop().time() + seconds
        while self._runner.server is not None and self._runner.server.connections:
            if asyncio.get_running_loop().time() >= deadline:
                return
            await asyncio.sleep(DRAIN_POLL_SECONDS)

    async def stop(self) -> None:
        """Accept no more connections, answer the complete requests within the shutdown deadline, and close all
        connections. A request with an incomplete body is cut off."""
        await self._runner.cleanup()


async def serve(api: RouteTable, host: str, port: int, options: ApiOptions) -> Server:
    """Listen; port 0 means any free one. Raises OSError if the address is not available."""
    settings: dict[str, Any] = {
        "access_log": None,
        "logger": _logger,
        # A value is stored as it came, and a decompressed body would pass any limit.
        "auto_decompress": False,
        "keepalive_timeout": options.keepalive_timeout_seconds,
        "lingering_time": LINGERING_SECONDS,
        "max_field_size": HEADER_BYTES_MAX,
    }
    runner = web.ServerRunner(web.Server(api.dispatch, **settings), shutdown_timeout=options.shutdown_timeout_seconds)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(
            error.errno,
            f"cannot listen on {host}:{port} for HTTP: {reason}; choose another port with --http-port or "
            "GOSSIPKV_HTTP_PORT",
        ) from error
    return Server(api, runner, site)
