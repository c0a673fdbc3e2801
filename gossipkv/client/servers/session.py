"""The HTTP session of a client. It sends each write once, and follows no redirects.

aiohttp silently repeats a request of an idempotent method when the connection breaks before the answer. For aiohttp,
PUT and DELETE are idempotent. For this store they are not: a repeated write makes a second version, which may undo what
another client wrote in between, and its condition may no longer hold. A middleware is the documented place between
aiohttp's retries and its connections. It turns the errors that aiohttp retries into one that aiohttp passes on.
"""

from __future__ import annotations

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""No connection was made, so the server has not seen the request."""
_RETRIED_BY_AIOHTTP = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)
_READS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADER_BYTES_MAX = 32 * 1024
"""Maximum size of a header. A `Gossipkv-Context` of many replicas exceeds aiohttp's default of 8 KiB."""


class ConnectionBrokenError(aiohttp.ClientConnectionError):
    """The connection broke while a write was under way: it may have been carried out."""


async def sent_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """A middleware that sends a write at most once. Raises ConnectionBrokenError."""
    try:
        return await handler(request)
    except NEVER_SENT:
        raise
    except _RETRIED_BY_AIOHTTP as error:
        if request.method in _READS:
            raise
        raise ConnectionBrokenError(_reason(error)) from error


def new_session(*, read_bufsize: int) -> aiohttp.ClientSession:
    """A session without cookies and without retries."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        max_field_size=HEADER_BYTES_MAX,
        middlewares=(sent_once,),
        read_bufsize=read_bufsize,
    )


def _reason(error: Exception) -> str:
    """The cause of an error for people, because aiohttp's texts refer to its internals."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed the connection without an answer"
    return f"the connection broke ({error.strerror})" if isinstance(error, OSError) and error.strerror else str(error)
