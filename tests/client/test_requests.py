"""The table of what is sent again: two servers, of which the first one asked does not simply answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from gossipkv.client import (
    Choice,
    Client,
    ClientError,
    InvalidArgumentError,
    Put,
    RefusedError,
    ServerFailedError,
    TooFewCopiesError,
)
from gossipkv.client import UnavailableError as Unavailable
from tests.client.contract_server import ContractServer, Store, problem

Refusal = Callable[[], web.Response]


def answering(status: int, kind: str, **members: object) -> Refusal:
    return lambda: problem(status, kind, retry_after=0, **members)


def from_in_between(status: int) -> Refusal:
    return lambda: web.Response(status=status, text="no upstream", headers={"Retry-After": "0"})


SENT_ON = None
"""The next server is asked, and answers."""

# The answer of the first server; what becomes of a read, of a write, and of one declared idempotent.
TABLE: dict[str, tuple[Refusal, type[ClientError] | None, type[ClientError] | None, type[ClientError] | None]] = {
    "rate limit": (from_in_between(429), SENT_ON, SENT_ON, SENT_ON),
    "overloaded": (answering(503, "overloaded"), SENT_ON, SENT_ON, SENT_ON),
    "stopping": (answering(503, "stopping"), SENT_ON, SENT_ON, SENT_ON),
    "too few members": (answering(503, "too-few-members", stored=False), SENT_ON, SENT_ON, SENT_ON),
    "context ahead": (answering(409, "context-ahead"), SENT_ON, SENT_ON, SENT_ON),
    "storage stuck": (answering(503, "storage-stuck"), SENT_ON, Unavailable, SENT_ON),
    "proxy 502": (from_in_between(502), SENT_ON, Unavailable, SENT_ON),
    "proxy 503": (from_in_between(503), SENT_ON, Unavailable, SENT_ON),
    "proxy 504": (from_in_between(504), SENT_ON, Unavailable, SENT_ON),
    "stored": (
        answering(503, "too-few-copies", stored=True, copies=1),
        TooFewCopiesError,
        TooFewCopiesError,
        TooFewCopiesError,
    ),
    "refused": (answering(403, "read-only-namespace"), RefusedError, RefusedError, RefusedError),
    "a wrong argument": (
        answering(400, "invalid-parameter"),
        InvalidArgumentError,
        InvalidArgumentError,
        InvalidArgumentError,
    ),
    "failed": (answering(500, "internal-error"), ServerFailedError, ServerFailedError, ServerFailedError),
    "full": (answering(507, "storage-full"), ServerFailedError, ServerFailedError, ServerFailedError),
}


@pytest.fixture
async def servers() -> AsyncIterator[list[ContractServer]]:
    store = Store()
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(ContractServer(store).running()) for _ in range(2)]


async def outcome(servers: list[ContractServer], kind: str) -> type[ClientError] | None:
    async with Client([server.url for server in servers], choice=Choice.IN_ORDER) as client:
        table = client.table("t")
        try:
            if kind == "read":
                await table.get("a")
            else:
                await table.put("a", b"1", idempotent=kind == "idempotent")
        except ClientError as error:
            return type(error)
    return None


@pytest.mark.parametrize("case", TABLE)
@pytest.mark.parametrize(("column", "kind"), [(1, "read"), (2, "write"), (3, "idempotent")])
async def test_a_request_is_sent_on_only_where_that_is_safe(
    servers: list[ContractServer], case: str, column: int, kind: str
) -> None:
    refusal, expected = TABLE[case][0], TABLE[case][column]
    servers[0].refusals = [refusal]
    assert await outcome(servers, kind) is expected
    assert len(servers[0].requests) == 1
    assert len(servers[1].requests) == (1 if expected is SENT_ON else 0)


async def test_requests_go_in_turn_to_those_that_do_well_and_to_all_when_they_are_ready_again(
    servers: list[ContractServer],
) -> None:
    first, second = servers
    first.is_ready = False
    first.refusals = [answering(503, "stopping")]
    async with Client([server.url for server in servers]) as client:
        table = client.table("t")
        for number in range(10):
            await table.put(str(number), b"v")
        assert len(first.requests) == 1, "it fails once, and is left alone from then on"
        assert len(second.requests) == 10
        first.is_ready = True
        async with asyncio.timeout(30):
            while len(first.requests) < 5:
                await table.get("0")
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("status", "kind", "may_stand"),
    [
        (503, "overloaded", False),
        (503, "stopping", False),
        (503, "too-few-members", False),
        (409, "context-ahead", False),
        (503, "storage-stuck", True),
        (503, "too-few-copies", True),
        (503, "of a later version", True),
    ],
)
async def test_what_becomes_of_a_line_of_a_batch_says_whether_it_may_stand(
    servers: list[ContractServer], status: int, kind: str, may_stand: bool
) -> None:
    """As the answer to a write of its own says it."""
    result = {"row": "a", "status": status, "problem": {"type": f"urn:gossipkv:problem:{kind}", "status": status}}
    servers[0].refusals = [lambda: web.Response(text=json.dumps(result))]
    async with Client([servers[0].url]) as client:
        [outcome] = [each async for each in client.table("t").batch([Put("a", b"1")])]
    assert isinstance(outcome.error, Unavailable)
    assert outcome.error.may_stand is may_stand
