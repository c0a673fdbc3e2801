"""Reading a request's body within its limits, into memory."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.hdrs import CONTENT_ENCODING

from gossipkv.api.problem import ProblemError
from gossipkv.intake.body import BodyTooLargeError, NoRoomForBodyError, body_of
from gossipkv.member.driver import InboxFullError


def refuse_encoding(request: web.BaseRequest) -> None:
    """A value is stored as it was put. Stored encoded, without the header that says so, it would mislead its readers;
    decoded, it would not be what was put."""
    coding = request.headers.get(CONTENT_ENCODING, "identity")
    if coding.strip().lower() != "identity":
        raise ProblemError("encoded-body", "send the body as it is, without Content-Encoding")


async def read_body(request: web.BaseRequest, bytes_max: int, timeout_seconds: float, too_large: str) -> bytes:
    """The whole body. `too_large` is the kind of problem for a body of more than `bytes_max` bytes."""
    if CONTENT_ENCODING in request.headers:
        refuse_encoding(request)
    try:
        if request.content.is_eof():
            # It is here already: the usual case, without a timer.
            return await body_of(request, bytes_max)
        async with asyncio.timeout(timeout_seconds):
            return await body_of(request, bytes_max)
    except BodyTooLargeError:
        raise ProblemError(too_large, f"at most {bytes_max} bytes are taken", bytes_max=bytes_max) from None
    except NoRoomForBodyError as error:
        raise InboxFullError(str(error)) from None
    except TimeoutError:
        raise timed_out(timeout_seconds) from None


def timed_out(timeout_seconds: float) -> ProblemError:
    return ProblemError(
        "body-timeout", f"the body did not come within {timeout_seconds:g} seconds", headers={"Connection": "close"}
    )
