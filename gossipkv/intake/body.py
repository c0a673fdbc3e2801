"""Reading a request's body into memory, within its own limit and the bound on all bodies."""

from __future__ import annotations

from aiohttp import web

from gossipkv.intake.bound import Share
from gossipkv.intake.connection import BoundedHandler


class BodyTooLargeError(Exception):
    """The body is larger than this request may have."""


class NoRoomForBodyError(Exception):
    """All bodies that are held now leave no room for this one."""

    def __init__(self) -> None:
        super().__init__("the bodies of other requests take all the memory that there is for bodies")


def share_of(request: web.BaseRequest) -> Share:
    """What the request has taken of the bound on bodies. All of it is given back once the request is answered."""
    handler = request.protocol
    assert isinstance(handler, BoundedHandler), "all ports are bounded"
    return handler.body


async def body_of(request: web.BaseRequest, bytes_max: int) -> bytes:
    """The whole body. Its size is taken from the bound before it is read, or while it arrives if it does not say its
    size, and given back once the request is answered. Raises BodyTooLargeError, NoRoomForBodyError, and what reading
    raises."""
    content = request.content
    if content.is_eof():
        # It is here already, so it is as small as a connection's buffer.
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
    # Not a list of chunks: these may be of one byte each.
    body = bytearray()
    while chunk := await content.readany():
        size_bytes = len(body) + len(chunk)
        if size_bytes > bytes_max:
            raise BodyTooLargeError
        if size_bytes > share.held and not share.take(len(chunk)):
            raise NoRoomForBodyError
        body += chunk
    return bytes(body)
