"""Reading a request's body within its limits, into memory."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.hdrs import CONTENT_ENCODING

from gossipkv.api.problem import ProblemError


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
    content = request.content
    if content.is_eof():
        body = content.read_nowait()
        if len(body) > bytes_max:
            raise _too_large(too_large, bytes_max)
        return body
    if (request.content_length or 0) > bytes_max:
        raise _too_large(too_large, bytes_max)
    chunks: list[bytes] = []
    size_bytes = 0
    try:
        async with asyncio.timeout(timeout_seconds):
            while chunk := await content.readany():
                chunks.append(chunk)
                size_bytes += len(chunk)
                if size_bytes > bytes_max:
                    raise _too_large(too_large, bytes_max)
    except TimeoutError:
        raise timed_out(timeout_seconds) from None
    return b"".join(chunks)


def timed_out(timeout_seconds: float) -> ProblemError:
    return ProblemError(
        "body-timeout", f"the body did not come within {timeout_seconds:g} seconds", headers={"Connection": "close"}
    )


def _too_large(kind: str, bytes_max: int) -> ProblemError:
    return ProblemError(kind, f"at most {bytes_max} bytes are taken", bytes_max=bytes_max)
