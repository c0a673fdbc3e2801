"""How a request's body is read into memory, within its own limit and the bound on all bodies."""

from __future__ import annotations

from aiohttp import web

from gossipkv.intake.bound import Share
from gossipkv.intake.connection import BoundedHandler


class BodyTooLargeError(Exception):
    """The error for a body that is larger than this request may have."""


class NoRoomForBodyError(Exception):
    """The error for a body that does not fit beside all bodies that are held now."""

    def __init__(self) -> None:
        super().__init__("the bodies of other requests take all the memory that there is for bodies")


def share_of(request: web.BaseRequest) -> Share:
    """Return what the request has taken of the bound on bodies. All of it is given back once the request is
    answered."""
    handler = request.protocol
    assert isinstance(handler, BoundedHandler), "all ports are bounded"
    return handler.body


async def body_of(request: web.BaseRequest, bytes_max: int) -> bytes:
    """Return the whole body. Its size is taken from the bound before it is read, or while it arrives if the size is not
    announced. Raises BodyTooLargeError, NoRoomForBodyError, and what reading raises."""
    content = request.content
    if content.is_eof():
        # The body is here already, so it is as small as a connection's buffer.
        whole = content.read_nowait()
        if len(whole) > bytes_max:
            raise BodyTooLargeError
        return whole
    share = share_of(request)
    announced = request.content_length
    if announced is not None:
        if announced > bytes_max:
            raise BodyTooLargeError
        if not share.take(announced):
            raise NoRoomForBodyError
    # Do not keep a list of chunks: each of them may be one byte long.
    body = bytearray()
    while chunk := await content.readany():
        size_bytes = len(body) + len(chunk)
        if size_bytes > bytes_max:
            raise BodyTooLargeError
        if size_bytes > share.held and not share.take(len(chunk)):
            raise NoRoomForBodyError
        body += chunk
    return bytes(body)
