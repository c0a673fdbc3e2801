"""One request, sent to servers until one answers it.

| what happened | a read | a write |
| --- | --- | --- |
| no connection was made | next server | next server |
| 429, or a problem of a type that says that nothing was stored | next server | next server |
| the answer was lost or cut, 502, 504, any other 503 | next server | given up: it may stand |
| `too-few-copies`: it is stored | | raised |
| a redirect | raised | raised |
| any other answer | the answer | the answer |

A request is sent again only as in this table: see `session.py` for what aiohttp would do. A redirect is not followed,
because it would send the request to a server that the caller has not named.

A write that is declared repeatable is treated as a read. When every server has been tried, all are tried again after a
pause, up to `passes` times within the deadline. There is only one pass for `too-few-members` and `too-few-answers`,
because the servers have already waited. They have done so for `context-ahead` too, but not for long.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from gossipkv.client.errors import (
    ContextAheadError,
    DeadlineError,
    RefusedError,
    TooFewAnswersError,
    TooFewCopiesError,
    TooFewMembersError,
    UnavailableError,
    error_of,
    has_stored_nothing,
    type_of,
)
from gossipkv.client.servers.endpoints import Endpoint, Endpoints
from gossipkv.client.servers.session import NEVER_SENT, new_session

LINE_BYTES_MAX = 32 * 2**20
"""Of a stream. The longest that a member sends holds a value of 4 MiB, the most that a member may be set to take, of
which JSON writes each byte in six."""
_READ_BYTES = 256 * 1024
"""Of an answer, before the server has to wait for its reader."""
_LOST = (aiohttp.ClientError, TimeoutError, OSError)
_PASS_PAUSE_S = 0.1
_PASS_PAUSE_S_MAX = 5.0
_MAY_STAND = "the request may have been carried out"
_OTHER = "is it the URL of a member's HTTP port?"

Shape = Mapping[str, type]
"""What an answer in JSON must have, by name. The items of a list are objects."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    path: str
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    data: bytes | None = None
    is_repeatable: bool = True
    """Whether the request may be carried out twice."""
    may_be_absent: bool = False
    """Whether "there is no such row" is a valid answer."""
    wait_s: float = 0.0
    """How long the server itself may wait before it answers."""
    check: Callable[[HttpAnswer], None] | None = None
    """Called with the answer; raises UnavailableError if it is incomplete."""

    @property
    def is_write(self) -> bool:
        return self.method != "GET"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    server: str


_WAITED_FOR = (TooFewMembersError, TooFewAnswersError)
"""Errors of servers that have already waited for other members."""

_OF_HEALTHY = (*_WAITED_FOR, ContextAheadError)
"""Errors of servers that are well: other members do not answer, or the context is of another member."""


class Requests:
    """`timeout_s` bounds a silence of a server, `connect_timeout_s` the wait for a connection, `deadline_s` a call
    with all its attempts."""

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        timeout_s: float,
        connect_timeout_s: float,
        deadline_s: float | None = None,
        passes: int = 1,
    ) -> None:
        assert passes >= 1
        self.endpoints = endpoints
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._deadline_s = deadline_s
        self._passes = passes
        self._rng = random.Random()
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Raises RefusedError if it is open."""
        if self._session is not None:
            raise RefusedError("the client is open already: use each client within one `with` at a time")
        self._session = new_session(read_bufsize=_READ_BYTES)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def answer(self, request: HttpRequest, *, preferred: str | None = None) -> HttpAnswer:
        """The answer of the first server that gives one, with a status below 400. Raises ClientError."""
        limit_s = None if self._deadline_s is None else self._deadline_s + request.wait_s
        under_way: list[Endpoint] = []
        try:
            async with asyncio.timeout(limit_s):
                return await self._persist(request, preferred, under_way)
        except TimeoutError:
            may_stand = bool(under_way) and request.is_write
            consequence = f"; {_MAY_STAND}" if may_stand else ""
            raise DeadlineError(f"no answer within {limit_s} s{consequence}", may_stand=may_stand) from None

    async def _persist(self, request: HttpRequest, preferred: str | None, under_way: list[Endpoint]) -> HttpAnswer:
        failures: list[UnavailableError] = []
        for number in range(self._passes):
            if number:
                asked_s = [failure.retry_after_s for failure in failures if failure.retry_after_s is not None]
                pause_s = min(_PASS_PAUSE_S * 2**number * self._rng.uniform(0.5, 1.0), _PASS_PAUSE_S_MAX)
                await asyncio.sleep(max([pause_s, *asked_s[:1]]))
            # An earlier pass may have stored the write; the error must still say so.
            failures = [failure for failure in failures if failure.may_stand][-1:]
            for endpoint in self.endpoints.order(preferred):
                under_way.append(endpoint)
                try:
                    return await self._attempt(endpoint, request)
                except TooFewCopiesError:
                    raise
                except UnavailableError as failure:
                    failures.append(failure)
                    if failure.may_stand and not request.is_repeatable:
                        raise joined(failures) from failure
                    if not failure.may_stand:
                        under_way.pop()
            if any(isinstance(failure, _WAITED_FOR) for failure in failures):
                break
        raise joined(failures)

    async def _attempt(self, endpoint: Endpoint, request: HttpRequest) -> HttpAnswer:
        """Raises ClientError; UnavailableError where another server may be asked."""
        try:
            async with self._sent(endpoint, request, self._timeout_s + request.wait_s) as response:
                body = await response.read()
                answer = HttpAnswer(response.status, response.headers, body, endpoint.url)
        except NEVER_SENT as error:
            raise self._failed(endpoint, UnavailableError(f"{endpoint.url}: {reason(error)}")) from error
        except _LOST as error:
            lost = UnavailableError(f"{endpoint.url}: {reason(error)}", may_stand=request.is_write)
            raise self._failed(endpoint, lost) from error
        _refuse_redirect(answer)
        if answer.status >= 400 and not (request.may_be_absent and _is_absence(answer)):
            raise self._refusal(endpoint, request, answer)
        if request.check is not None:
            try:
                request.check(answer)
            except UnavailableError as error:
                raise self._failed(endpoint, error) from None
        self.endpoints.succeeded(endpoint)
        return answer

    def _refusal(self, endpoint: Endpoint, request: HttpRequest, answer: HttpAnswer) -> Exception:
        problem = _problem(answer.body)
        error = error_of(answer.status, problem)
        if not isinstance(error, UnavailableError) or error.may_stand:
            if answer.status != 500:
                self.endpoints.succeeded(endpoint)
            if type_of(problem) or isinstance(error, UnavailableError):
                return error
            return type(error)(f"{answer.server} answered: {error}; {_OTHER}", problem)
        retry_after_s = _seconds(answer.headers.get("Retry-After"))
        refusal = type(error)(
            f"{endpoint.url}: {error}",
            error.problem,
            may_stand=request.is_write and not has_stored_nothing(answer.status, error.problem),
            retry_after_s=retry_after_s,
        )
        return refusal if isinstance(refusal, _OF_HEALTHY) else self._failed(endpoint, refusal)

    def _failed(self, endpoint: Endpoint, failure: UnavailableError) -> UnavailableError:
        self.endpoints.failed(endpoint, asyncio.get_running_loop().time(), failure.retry_after_s)
        return failure

    @asynccontextmanager
    async def _sent(
        self, endpoint: Endpoint, request: HttpRequest, silence_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one attempt. Raises RefusedError if the client is not open."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s, sock_read=silence_s)
        url = _url(endpoint.url, request.path, request.query)
        # A file in memory is sent in pieces, and a new one for each attempt from its start.
        body = None if request.data is None else io.BytesIO(request.data)
        if self._session is None:
            raise RefusedError("the client is not open: use it within `async with client:`")
        async with self._session.request(
            request.method, url, headers=request.headers, data=body, timeout=timeout, allow_redirects=False
        ) as response:
            yield response

    @asynccontextmanager
    async def stream(
        self, endpoint: Endpoint, request: HttpRequest, silence_s: float
    ) -> AsyncIterator[AsyncGenerator[bytes]]:
        """The lines of one server's answer as they arrive. Raises ClientError, also if the answer breaks off."""
        try:
            async with self._sent(endpoint, request, silence_s) as response:
                if response.status >= 300:
                    answer = HttpAnswer(response.status, response.headers, await response.read(), endpoint.url)
                    _refuse_redirect(answer)
                    raise self._refusal(endpoint, request, answer)
                self.endpoints.succeeded(endpoint)
                async with aclosing(_lines(response.content, endpoint.url)) as lines:
                    yield lines
        except _LOST as error:
            raise self._failed(endpoint, UnavailableError(f"{endpoint.url}: {reason(error)}")) from error

    async def json(
        self, path: str, shape: Shape, query: Mapping[str, str] | None = None, *, wait_s: float = 0.0
    ) -> dict[str, Any]:
        answer = await self.answer(HttpRequest("GET", path, query, {"Accept": "application/json"}, wait_s=wait_s))
        content = json_of(answer)
        with read_from(answer.server):
            for name, kind in shape.items():
                if not isinstance(content[name], kind):
                    raise TypeError(f"`{name}` is of another type")
                if kind is list and not all(isinstance(item, dict) for item in content[name]):
                    raise TypeError(f"`{name}` holds something else than objects")
        return content

    async def is_ready(self, url: str) -> bool:
        """Send a request to one server. Raises UnavailableError if it does not answer."""
        try:
            async with self._sent(Endpoint(url), HttpRequest("GET", "/readyz"), self._timeout_s) as response:
                return response.status == 200
        except _LOST as error:
            raise UnavailableError(f"{url}: {reason(error)}") from error


def joined(failures: Sequence[UnavailableError]) -> UnavailableError:
    """One error that says how each server failed."""
    message = "; ".join(str(failure) for failure in failures)
    may_stand = any(failure.may_stand for failure in failures)
    # An error type may be true for one server and not for all: for example, that nothing was stored.
    waited = [failure for failure in failures if isinstance(failure, _WAITED_FOR)]
    telling = (waited or failures)[-1]
    if may_stand:
        return UnavailableError(f"{message}; {_MAY_STAND}", telling.problem, may_stand=True)
    return type(telling)(message, telling.problem, retry_after_s=telling.retry_after_s)


def json_of(answer: HttpAnswer) -> dict[str, Any]:
    """Raises RefusedError."""
    with read_from(answer.server):
        content = json.loads(answer.body)
        if not isinstance(content, dict):
            raise TypeError("it is no object")
        return content


@contextmanager
def read_from(server: str) -> Iterator[None]:
    """Read what a server answered. Raises RefusedError if it is not what a member answers."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RefusedError(f"{server} does not answer like gossipkv; {_OTHER}") from error


def reason(error: BaseException) -> str:
    """The cause of an error, for people."""
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        if number is None or isinstance(error, aiohttp.ClientConnectorDNSError):
            # A failed look-up of a name has numbers of its own.
            return f"cannot be reached ({error.os_error.strerror or error.os_error})"
        return f"cannot be reached ({os.strerror(number)})"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "cannot be reached (no connection in time)"
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    return str(error) or type(error).__name__


async def _lines(content: aiohttp.StreamReader, server: str) -> AsyncGenerator[bytes]:
    """Complete lines without their ends; an incomplete one is dropped. Raises RefusedError if a line is too long."""
    parts: list[bytes] = []
    size_bytes = 0
    async for chunk in content.iter_any():
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            _refuse_long_line(size_bytes + len(end), server)
            yield b"".join([*parts, end]) if parts else end
            parts, size_bytes = [], 0
        parts.append(rest)
        size_bytes += len(rest)
        _refuse_long_line(size_bytes, server)


def _refuse_long_line(size_bytes: int, server: str) -> None:
    if size_bytes > LINE_BYTES_MAX:
        raise RefusedError(f"{server} does not answer like gossipkv: a line of more than {LINE_BYTES_MAX} bytes")


def _refuse_redirect(answer: HttpAnswer) -> None:
    """Refuse redirects. Status 300 is not one: it is the answer for a row with siblings."""
    if 300 < answer.status < 400:
        target = answer.headers.get("Location", "no address")
        raise RefusedError(
            f"{answer.server} answered {answer.status}, a redirect to {target}, which is not followed: "
            "give the URL of a member"
        )


def _is_absence(answer: HttpAnswer) -> bool:
    """Whether the answer is the store's, not that of a proxy which does not know the path."""
    return answer.status == 404 and type_of(_problem(answer.body)) == "row-not-found"


def _problem(body: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _seconds(text: str | None) -> float | None:
    """The seconds of Retry-After; a date counts as a short pause."""
    if text is None:
        return None
    return float(text) if text.isascii() and text.isdigit() else 1.0


def _url(server: str, path: str, query: Mapping[str, str] | None) -> URL:
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in (query or {}).items())
    return URL(f"{server}{path}{'?' + text if text else ''}", encoded=True)
