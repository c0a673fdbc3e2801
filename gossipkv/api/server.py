"""The API on a port: its bounds are those of `intake`, its deadlines for bodies those of the handlers."""

from __future__ import annotations

import asyncio
import logging
import os

from aiohttp import web

from gossipkv.api.options import ApiOptions
from gossipkv.api.problem import ProblemError
from gossipkv.api.route_table import RouteTable
from gossipkv.intake.client_faults import ClientFaults
from gossipkv.intake.limits import PortBounds
from gossipkv.intake.port import Port

DRAIN_POLL_SECONDS = 0.02
HEADER_BYTES_MAX = 32 * 1024
"""Maximum size of a header. Version 0.1.0 gave out event ids longer than aiohttp's default of 8 KiB. These must be
answered with a reset, because an error would block the watch."""
LINGERING_SECONDS = 5.0
"""How long the rest of a refused body is read, so that the client sees the answer and not a reset."""

_logger = logging.getLogger("gossipkv.api.http")
_logger.addFilter(ClientFaults())


class Server:
    """A listening server; see `serve`."""

    def __init__(self, api: RouteTable, listening: Port, shutdown_timeout_seconds: float) -> None:
        self._api = api
        self._port = listening
        self._shutdown_timeout_seconds = shutdown_timeout_seconds
        self.port = listening.number
        """The port that the server listens on, even if any free one was requested."""

    async def drain(self, seconds: float) -> None:
        """Close each connection after its next answer, so that clients go to another member before this one refuses
        their writes. Returns when no connection is open, or after this many seconds."""
        self._api.is_draining = True
        deadline = asyncio.get_running_loop().time() + seconds
        while self._port.has_connections:
            if asyncio.get_running_loop().time() >= deadline:
                return
            await asyncio.sleep(DRAIN_POLL_SECONDS)

    async def stop(self) -> None:
        """Accept no more connections, answer the complete requests within the shutdown deadline, and close all
        connections. A request with an incomplete body is cut off."""
        await self._port.stop(self._shutdown_timeout_seconds)


async def serve(api: RouteTable, host: str, port: int, options: ApiOptions) -> Server:
    """Listen; port 0 means any free one. Raises OSError if the address is not available."""

    def overloaded(detail: str) -> web.Response:
        headers = {"Retry-After": str(options.retry_after_seconds)}
        return ProblemError("overloaded", detail, headers=headers).response()

    bounds = PortBounds(options.port)
    api.account_for(bounds)
    listening = Port(
        api.dispatch,
        bounds,
        overloaded,
        logger=_logger,
        lingering_time=LINGERING_SECONDS,
        max_field_size=HEADER_BYTES_MAX,
    )
    try:
        await listening.start(host, port)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(
            error.errno,
            f"cannot listen on {host}:{port} for HTTP: {reason}; choose another port with --http-port or "
            "GOSSIPKV_HTTP_PORT",
        ) from error
    return Server(api, listening, options.shutdown_timeout_seconds)
