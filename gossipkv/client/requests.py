"""One request, sent to servers until one answers it.

| what happened | a read | a write |
| --- | --- | --- |
| no connection was made | next server | next server |
| 429, or 503 with Retry-After, that does not say `stored` | next server | next server |
| the answer was lost or cut, 502, 504, 503 without Retry-After | next server | given up: it may stand |
| `not-enough-members`, `too-few-copies` | raised | raised: the server has waited already |
| any other answer | the answer | the answer |

A write that is declared repeatable is treated as a read. When every server has been tried, it begins anew after a
pause, as often as `passes` says, while the deadline lasts.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from gossipkv.client.endpoints import Endpoint, Endpoints
from gossipkv.client.errors import (
    PROBLEM_TYPE_PREFIX,
    DeadlineError,
    NotEnoughMembersError,
    RefusedError,
    TooFewCopiesError,
    UnavailableError,
    error_of,
)

LINE_BYTES_MAX = 8 * 2**20
"""Of an answer to a batch, and of an event."""
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_LOST = (aiohttp.ClientError, TimeoutError, OSError)
_PASS_PAUSE_S = 0.1
_PASS_PAUSE_S_MAX = 5.0
_MAY_STAND = "the request may have been carried out"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    data: bytes | None = None
    is_repeatable: bool = True
    """Whether carrying it out twice is the same as once."""
    may_be_absent: bool = False
    """Whether it is an answer that there is no such row."""
    wait_s: float = 0.0
    """How long the server itself may wait before it answers."""

    @property
    def is_write(self) -> bool:
        return self.method != "GET"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    server: str


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

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=LINE_BYTES_MAX)

    async def close(self) -> None:
        await self._session.close()

    async def answer(
        self, request: Request, *, deadline_s: float | None = None, preferred: str | None = None
    ) -> Answer:
        """The answer of the first server that gives one, with a status below 400. Raises ClientError."""
        limit_s = deadline_s if deadline_s is not None else self._deadline_s
        under_way: list[Endpoint] = []
        try:
            async with asyncio.timeout(limit_s):
                return await self._persist(request, preferred, under_way)
        except TimeoutError:
            may_stand = bool(under_way) and request.is_write
            consequence = f"; {_MAY_STAND}" if may_stand else ""
            raise DeadlineError(f"no answer within {limit_s} s{consequence}", may_stand=may_stand) from None

    async def _persist(self, request: Request, preferred: str | None, under_way: list[Endpoint]) -> Answer:
        failures: list[UnavailableError] = []
        for number in range(self._passes):
            if number:
                asked_s = [failure.retry_after_s for failure in failures if failure.retry_after_s is not None]
                pause_s = min(_PASS_PAUSE_S * 2**number * self._rng.uniform(0.5, 1.0), _PASS_PAUSE_S_MAX)
                await asyncio.sleep(max([pause_s, *asked_s[:1]]))
            # What an earlier pass may have left behind is still to be told of.
            failures = [failure for failure in failures if failure.may_stand][-1:]
            for endpoint in self.endpoints.order(preferred):
                under_way.append(endpoint)
                try:
                    return await self._attempt(endpoint, request)
                except (NotEnoughMembersError, TooFewCopiesError):
                    raise
                except UnavailableError as failure:
                    failures.append(failure)
                    if failure.may_stand and not request.is_repeatable:
                        raise joined(failures) from failure
                    if not failure.may_stand:
                        under_way.pop()
        raise joined(failures)

    async def _attempt(self, endpoint: Endpoint, request: Request) -> Answer:
        """Raises ClientError; UnavailableError where another server may be asked."""
        try:
            async with self._sent(endpoint, request, self._timeout_s + request.wait_s) as response:
                body = await response.read()
                answer = Answer(response.status, response.headers, body, endpoint.url)
        except _NEVER_SENT as error:
            raise self._failed(endpoint, UnavailableError(f"{endpoint.url}: {reason(error)}")) from error
        except (aiohttp.InvalidURL, ValueError) as error:
            raise RefusedError(f"{endpoint.url!r} is no URL of a server") from error
        except _LOST as error:
            lost = UnavailableError(f"{endpoint.url}: {reason(error)}", may_stand=request.is_write)
            raise self._failed(endpoint, lost) from error
        if answer.status < 400 or (request.may_be_absent and _is_absence(answer)):
            self.endpoints.succeeded(endpoint)
            return answer
        raise self._refusal(endpoint, request, answer)

    def _refusal(self, endpoint: Endpoint, request: Request, answer: Answer) -> Exception:
        retry_after_s = _seconds(answer.headers.get("Retry-After"))
        error = error_of(answer.status, _problem(answer.body), retry_after_s)
        if not isinstance(error, UnavailableError):
            if answer.status < 500:
                self.endpoints.succeeded(endpoint)
            return error
        if isinstance(error, NotEnoughMembersError | TooFewCopiesError):
            self.endpoints.succeeded(endpoint)
            return error
        # Something in between may answer so, too, and does not know what the server behind it has done.
        has_done_nothing = answer.status == 429 or (answer.status == 503 and retry_after_s is not None)
        may_stand = request.is_write and not has_done_nothing
        refusal = type(error)(
            f"{endpoint.url}: {error}", error.problem, may_stand=may_stand, retry_after_s=retry_after_s
        )
        return self._failed(endpoint, refusal)

    def _failed(self, endpoint: Endpoint, failure: UnavailableError) -> UnavailableError:
        self.endpoints.failed(endpoint, asyncio.get_running_loop().time(), failure.retry_after_s)
        return failure

    @asynccontextmanager
    async def _sent(
        self, endpoint: Endpoint, request: Request, silence_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s, sock_read=silence_s)
        url = _url(endpoint.url, request.path, request.query)
        # A file in memory is sent in pieces, and a new one for each attempt from its start.
        body = None if request.data is None else io.BytesIO(request.data)
        async with self._session.request(
            request.method, url, headers=request.headers, data=body, timeout=timeout
        ) as response:
            yield response

    @asynccontextmanager
    async def stream(
        self, endpoint: Endpoint, request: Request, silence_s: float
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of one server's answer as it comes. Raises ClientError, also for what breaks while it is read."""
        try:
            async with self._sent(endpoint, request, silence_s) as response:
                if response.status >= 400:
                    answer = Answer(response.status, response.headers, await response.read(), endpoint.url)
                    raise self._refusal(endpoint, request, answer)
                self.endpoints.succeeded(endpoint)
                yield response.content
        except _LOST as error:
            raise self._failed(endpoint, UnavailableError(f"{endpoint.url}: {reason(error)}")) from error

    async def json(self, path: str, query: Mapping[str, str] | None = None, *, wait_s: float = 0.0) -> dict[str, Any]:
        answer = await self.answer(Request("GET", path, query, {"Accept": "application/json"}, wait_s=wait_s))
        return json_of(answer)

    async def is_ready(self, url: str) -> bool:
        """Raises UnavailableError where the server does not answer."""
        try:
            async with self._sent(Endpoint(url), Request("GET", "/readyz"), self._timeout_s) as response:
                return response.status == 200
        except (*_LOST, ValueError) as error:
            raise UnavailableError(f"{url}: {reason(error)}") from error


def joined(failures: Sequence[UnavailableError]) -> UnavailableError:
    """One error that names what each server said."""
    message = "; ".join(str(failure) for failure in failures)
    last = failures[-1]
    may_stand = any(failure.may_stand for failure in failures)
    if may_stand:
        message += f"; {_MAY_STAND}"
    # The last one's kind may say that nothing was stored, which is not true of the earlier ones.
    error = UnavailableError if may_stand else type(last)
    return error(message, last.problem, may_stand=may_stand, retry_after_s=last.retry_after_s)


def json_of(answer: Answer) -> dict[str, Any]:
    """Raises RefusedError."""
    try:
        content = json.loads(answer.body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise RefusedError(f"{answer.server} does not answer like gossipkv")
    return content


def reason(error: BaseException) -> str:
    """In words for people."""
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


def _is_absence(answer: Answer) -> bool:
    """The store's word, not that of something in between which knows no such path."""
    return answer.status == 404 and _problem(answer.body).get("type") == PROBLEM_TYPE_PREFIX + "row-not-found"


def _problem(body: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _seconds(text: str | None) -> float | None:
    """Of Retry-After; a date counts as a moment."""
    if text is None:
        return None
    return float(text) if text.isascii() and text.isdigit() else 1.0


def _url(server: str, path: str, query: Mapping[str, str] | None) -> URL:
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in (query or {}).items())
    return URL(f"{server}{path}{'?' + text if text else ''}", encoded=True)
