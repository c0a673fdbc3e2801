"""Exchanges over HTTP/1.1: `POST /gossip/v1`, a frame for a frame.

A peer may be slow, broken or hostile. So every wait has a deadline, every body is counted while it is read,
nothing is decompressed, and all frames together are bounded (`intake`). The client closes idle connections before the
server does: a request must not be sent on a connection that the other end is closing.

| status | meaning | at the client |
| --- | --- | --- |
| 200 | the answer | returned |
| 409 | the node refuses the frame and says why; only a reason that members give is kept | REFUSED |
| 502, 503, 504 | the node is overloaded, or a proxy has found no node | UNREACHABLE |
| another 4xx or 5xx | the request is wrong, or the node failed on it | REFUSED |
| anything else | the server is not gossipkv | MALFORMED |
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from collections.abc import Iterable
from dataclasses import replace

import aiohttp
import structlog
from aiohttp import web, web_protocol

from gossipkv.intake.body import BodyTooLargeError, NoRoomForBodyError, body_of
from gossipkv.intake.bound import Bound, Refusals, Share
from gossipkv.intake.client_faults import ClientFaults
from gossipkv.intake.limits import PortBounds, PortLimits
from gossipkv.intake.port import Port
from gossipkv.transport.base import ExchangeError, ExchangeRefusedError, Fault, Serve

_log = structlog.get_logger(__name__)

PATH = "/gossip/v1"
CONTENT_TYPE = "application/vnd.gossipkv"

_CLIENT_KEEPALIVE_S = 15.0
_SERVER_KEEPALIVE_S = 30.0
_SHUTDOWN_TIMEOUT_S = 0.5
_LINGERING_TIME_S = 1.0
_CONNECTIONS_PER_PEER_MAX = 2
_RETRY_AFTER = {"Retry-After": "1"}
_REFUSAL_BYTES_MAX = 1024
_BAD_GATEWAY_STATUSES = (502, 503, 504)
_NAME = r"(?:'[^']{0,512}'|\"[^\"]{0,512}\")"
_MEMBERS_REFUSAL = re.compile(
    rf"this is cluster {_NAME}, the sender is of {_NAME}"
    rf"|another running member is named {_NAME}: give each its own name"
    rf"|another process runs on a copy of the data of {_NAME}"
    r"|protocol [0-9]{1,3}, not [0-9]{1,3}"
    r"|a context of too many replicas"
    r"|too many frames wait to be answered"
    r"|the member is stopping"
    r"|the cluster was told to forget this member's data: it starts again without them"
)
"""The reasons with which members refuse frames. Only these are logged by the sender."""

GOSSIP_LIMITS = PortLimits(
    name="gossip",
    keepalive_timeout_seconds=_SERVER_KEEPALIVE_S,
    bodies_bytes_max=16 * 1024 * 1024,
    answers_bytes_max=16 * 1024 * 1024,
)

_logger = logging.getLogger("gossipkv.transport.http")
_logger.addFilter(ClientFaults())


class HttpTransport:
    """A transport that serves on `host:port`; port 0 means any free one.

    `advertise` is the URL at which peers reach it, if that differs from `http://host:port`. It must be given if `host`
    stands for all addresses. `exchange_timeout_s` bounds an exchange as a whole; for a server, it bounds the arrival of
    a request and the departure of its answer.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        advertise: str | None = None,
        frame_bytes_max: int = 2 * 1024 * 1024,
        exchange_timeout_s: float = 10.0,
        connect_timeout_s: float = 3.0,
        limits: PortLimits = GOSSIP_LIMITS,
        requests_max: int = 128,
    ) -> None:
        self._host = host
        self._port = port
        self._advertise = advertise
        self._frame_bytes_max = frame_bytes_max
        self._exchange_timeout_s = exchange_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._serve: Serve | None = None
        self._server: Port | None = None
        self.bounds = PortBounds(replace(limits, answer_timeout_seconds=exchange_timeout_s))
        self.requests = Bound(
            f"{limits.name}_requests_max",
            requests_max,
            "find out which members send so much (gossipkv status lists them), look at gossipkv_commit_seconds for a "
            f"slow volume, or raise {limits.name}_requests_max",
        )
        """The requests under way."""
        self.slow_bodies = Refusals(
            f"{limits.name}_body_timeout", "look for members on a slow network, or raise exchange_timeout_s"
        )
        self.large_bodies = Refusals(
            f"{limits.name}_body_too_large", "no member sends such a message: find out what reaches the gossip port"
        )
        self._session: aiohttp.ClientSession | None = None

    @property
    def endpoint(self) -> str:
        """The URL at which peers reach this transport; before `start`, its port may still be 0."""
        if self._advertise is not None:
            return self._advertise
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def accounts(self) -> Iterable[Bound | Refusals]:
        """The accounts of what the server holds and what it refuses, for the metrics."""
        return (*self.bounds.bounds, *self.bounds.cuts, self.requests, self.slow_bodies, self.large_bodies)

    async def start(self, serve: Serve) -> None:
        """Begin to answer frames. Raises OSError, whose text names the setting of the port."""
        self._serve = serve
        server = Port(self._respond, self.bounds, _overloaded, logger=_logger, lingering_time=_LINGERING_TIME_S)
        try:
            await server.start(self._host, self._port)
        except OSError as error:
            detail = f"cannot serve gossip on {self._host}:{self._port} (--gossip-port, GOSSIPKV_GOSSIP_PORT)"
            raise OSError(error.errno, f"{detail}: {error.strerror}") from error
        self._server = server
        self._port = server.number
        self._session = self._new_session()

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=_CONNECTIONS_PER_PEER_MAX, keepalive_timeout=_CLIENT_KEEPALIVE_S
            ),
            timeout=aiohttp.ClientTimeout(total=self._exchange_timeout_s, sock_connect=self._connect_timeout_s),
            headers={"Content-Type": CONTENT_TYPE},
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close connections of the client at once; give requests that are being answered half a second. Idempotent."""
        session, self._session = self._session, None
        server, self._server = self._server, None
        if session is not None:
            await session.close()
        if server is not None:
            await server.stop(_SHUTDOWN_TIMEOUT_S)

    # The client.

    async def exchange(self, endpoint: str, frame: bytes) -> bytes:
        """Post a frame to an endpoint and return the answer. Raises ExchangeError; its text holds no words of a
        stranger."""
        if self._session is None:
            raise ExchangeError(Fault.UNREACHABLE, "this transport is closed")
        try:
            async with self._session.post(endpoint + PATH, data=frame, allow_redirects=False) as response:
                if response.status == 200 and response.content_type == CONTENT_TYPE:
                    return await self._answer(response)
                raise await _refusal(response)
        except TimeoutError as error:
            detail = f"{endpoint} did not answer within {self._exchange_timeout_s} s"
            raise ExchangeError(Fault.TIMEOUT, detail) from error
        except aiohttp.ClientResponseError as error:
            # The text of the error is not passed on, because it quotes the answer.
            raise ExchangeError(Fault.MALFORMED, f"{endpoint} does not speak HTTP") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: the endpoint is not a URL. A peer may have made it up.
            detail = f"{endpoint} cannot be reached: {_reason(error)}"
            raise ExchangeError(Fault.UNREACHABLE, detail) from error

    async def _answer(self, response: aiohttp.ClientResponse) -> bytes:
        answer = bytearray()
        share = Share(self.bounds.bodies)
        try:
            async for chunk in response.content.iter_any():
                answer += chunk
                if len(answer) > self._frame_bytes_max:
                    raise ExchangeError(Fault.MALFORMED, f"an answer of more than {self._frame_bytes_max} bytes")
                if not share.take(len(chunk)):
                    raise ExchangeError(Fault.UNREACHABLE, "other frames leave no room for the answer")
            return bytes(answer)
        finally:
            share.keep(0)

    # The server.

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        if request.raw_path != PATH:
            return web.Response(status=404, text=f"frames are posted to {PATH}")
        if request.method != "POST":
            return web.Response(status=405, text=f"frames are posted to {PATH}", headers={"Allow": "POST"})
        if request.content_type != CONTENT_TYPE or "Content-Encoding" in request.headers:
            return web.Response(status=415, text=f"send {CONTENT_TYPE}, not encoded")
        if not self.requests.take(1):
            return _overloaded("too many frames are being answered")
        try:
            return await self._exchanged(request)
        finally:
            self.requests.give_back(1)

    async def _exchanged(self, request: web.BaseRequest) -> web.Response:
        try:
            async with asyncio.timeout(self._exchange_timeout_s):
                frame = await body_of(request, self._frame_bytes_max)
        except TimeoutError:
            self.slow_bodies.count(address=request.remote)
            response = web.Response(status=408, text="the body did not arrive in time")
            response.force_close()
            return response
        except BodyTooLargeError:
            self.large_bodies.count(address=request.remote)
            return web.Response(status=413, text=f"a frame has at most {self._frame_bytes_max} bytes")
        except NoRoomForBodyError as error:
            return _overloaded(str(error))
        except web_protocol.RequestPayloadError:
            return web.Response(status=400, text="the body is not well-formed HTTP")
        return await self._served(frame)

    async def _served(self, frame: bytes) -> web.Response:
        assert self._serve is not None
        try:
            answer = await self._serve(frame)
        except ExchangeRefusedError as refusal:
            return web.Response(status=409, text=str(refusal))
        except Exception:
            _log.exception("frame_not_answered", endpoint=self.endpoint)
            return web.Response(status=500, text="failed to answer")
        return web.Response(body=answer, content_type=CONTENT_TYPE)


def _reason(error: Exception) -> str:
    """Return the system's own words for a connection that was not made: aiohttp wraps them in its settings."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and cause.errno:
        # A failed look-up of a name has error numbers of its own.
        return cause.strerror if isinstance(cause, socket.gaierror) and cause.strerror else os.strerror(cause.errno)
    return str(cause) or type(cause).__name__


def _overloaded(detail: str) -> web.Response:
    return web.Response(status=503, text=f"overloaded: {detail}", headers=_RETRY_AFTER)


async def _refusal(response: aiohttp.ClientResponse) -> ExchangeError:
    """Return the error for an answer other than 200. Of the answer, keep only the status, and the text of a 409 if a
    member would say it. A sender that makes members dial a stranger must not read the stranger's answer in their
    logs."""
    detail = f"status {response.status}"
    if response.status == 409:
        excerpt = await response.content.read(_REFUSAL_BYTES_MAX)
        text = excerpt.decode(errors="replace").strip()
        is_of_member = text.isprintable() and _MEMBERS_REFUSAL.fullmatch(text) is not None
        return ExchangeError(Fault.REFUSED, text if is_of_member else detail)
    if response.status in _BAD_GATEWAY_STATUSES:
        return ExchangeError(Fault.UNREACHABLE, detail)
    if response.status >= 400:
        return ExchangeError(Fault.REFUSED, detail)
    return ExchangeError(Fault.MALFORMED, detail)
