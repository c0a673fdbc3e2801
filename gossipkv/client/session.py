"""The HTTP session that requests of a client go through. It sends each write once, and follows no redirects.

aiohttp sends a request of an idempotent method again, without a word, when the connection breaks before the answer
has come. To aiohttp, PUT and DELETE are idempotent. To a store they are not: a write that was carried out and is sent
again makes a second version, which may undo what another client wrote in between, and a condition that held the first
time no longer holds. A middleware is the documented place between aiohttp's retries and its connections: it turns the
errors that aiohttp retries into one that it passes on.
"""

from __future__ import annotations

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""No connection was made, so that the server knows nothing of the request."""
_RETRIED_BY_AIOHTTP = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)
_READS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADER_BYTES_MAX = 32 * 1024
"""Of one header of an answer. A `Gossipkv-Context` of many replicas is longer than the 8 KiB of aiohttp's default."""


class ConnectionBrokenError(aiohttp.ClientConnectionError):
    """The connection broke while a write was under way: it may have been carried out."""


async def sent_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Send a write once, whatever becomes of it. A middleware; raises ConnectionBrokenError."""
    try:
        return await handler(request)
    except NEVER_SENT:
        raise
    except _RETRIED_BY_AIOHTTP as error:
        if request.method in _READS:
            raise
        raise ConnectionBrokenError(_reason(error)) from error


def new_session(*, read_bufsize: int) -> aiohttp.ClientSession:
    """A session without cookies and without repeats."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        max_field_size=HEADER_BYTES_MAX,
        middlewares=(sent_once,),
        read_bufsize=read_bufsize,
    )


def _reason(error: Exception) -> str:
    """In words for people: aiohttp's are those of its own source."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed the connection without an answer"
    return f"the connection broke ({error.strerror})" if isinstance(error, OSError) and error.strerror else str(error)
