"""Tables as objects, against a server that gives every documented answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from gossipkv.client import (
    Client,
    ClientError,
    ConditionFailedError,
    ContextAheadError,
    ContextRequiredError,
    InvalidArgumentError,
    NotFoundError,
    OverloadedError,
    TooFewAnswersError,
    TooFewCopiesError,
    TooFewMembersError,
    TooManySiblingsError,
    UnavailableError,
    UnresolvedSiblingsError,
)
from tests.client.contract_server import CONTEXT, ContractServer, problem

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
async def server() -> AsyncIterator[ContractServer]:
    async with ContractServer().running() as server:
        yield server


def merged_carts(values: Sequence[bytes]) -> bytes:
    return b",".join(sorted({item for value in values for item in value.split(b",")}))


async def test_a_row_that_is_not_there_is_none_and_one_that_is_has_its_etag_and_context(server: ContractServer) -> None:
    async with Client([server.url]) as client:
        table = client.table("t")
        assert await table.get("a") is None
        written = await table.put("a", b"1")
        assert (written.etag, written.context, written.receipt) == ("1", "[1]", "usr.0.1")
        row = await table.get("a")
        assert row is not None
        assert (row.row, row.value, row.etag, row.context) == ("a", b"1", "1", "[1]")
        await table.delete("a")


async def test_a_404_that_is_not_about_the_row_is_an_error(server: ContractServer) -> None:
    server.refusals = [lambda: problem(404, "path-not-found")]
    async with Client([server.url]) as client:
        with pytest.raises(NotFoundError):
            await client.table("t").get("a")


async def test_what_a_write_asks_for_is_in_its_query_and_headers(server: ContractServer) -> None:
    async with Client([server.url]) as client:
        await client.table("t").put("a", b"1", ttl=timedelta(minutes=5), w=2, write_wait=0.5, context="[7]")
        await client.table("t").put("b", b"1", ttl=30, if_absent=True)
        await client.table("t").get("b", r=2)
    first, second, third = server.requests
    assert dict(first.query) == {"ttl": "300s", "w": "2", "write_wait": "500ms"}
    assert first.headers[CONTEXT] == "[7]"
    assert dict(second.query) == {"ttl": "30s"}
    assert second.headers["If-None-Match"] == "*"
    assert dict(third.query) == {"r": "2"}


async def test_siblings_are_resolved_by_the_function_given_and_a_write_with_the_context_replaces_them(
    server: ContractServer,
) -> None:
    await server.store.write("cart", "apple")
    await server.store.write("cart", "pear")
    async with Client([server.url]) as client:
        carts = client.table("carts", resolve=merged_carts)
        row = await carts.get("cart")
        assert row is not None
        assert row.value == b"apple,pear"
        assert row.siblings == (b"pear", b"apple")
        await server.store.write("cart", "plum")
        await carts.put("cart", row.value, context=row.context)
    assert sorted(server.store.versions["cart"].values()) == ["apple,pear", "plum"]


async def test_siblings_without_a_function_are_handed_over_in_the_error(server: ContractServer) -> None:
    await server.store.write("cart", "apple")
    await server.store.write("cart", "pear")
    async with Client([server.url]) as client:
        with pytest.raises(UnresolvedSiblingsError, match="2 siblings") as unresolved:
            await client.table("carts").get("cart")
    assert unresolved.value.row.siblings == (b"pear", b"apple")


async def test_an_update_is_done_anew_when_the_row_has_changed_under_it(server: ContractServer) -> None:
    await server.store.write("n", "1")
    seen: list[bytes | None] = []

    async def add_one(value: bytes | None) -> bytes:
        seen.append(value)
        if len(seen) == 1:
            await server.store.write("n", "10", "[1]")
        return str(int(value or b"0") + 1).encode()

    async with Client([server.url]) as client:
        await client.table("t").update("n", add_one)
    assert seen == [b"1", b"10"]
    assert list(server.store.versions["n"].values()) == ["11"]


async def test_an_update_creates_deletes_and_leaves_absent_what_is_absent(server: ContractServer) -> None:
    async with Client([server.url]) as client:
        table = client.table("t")
        assert await table.update("a", lambda _: None) is None
        await table.update("a", lambda value: b"new" if value is None else b"wrong")
        assert server.requests[-1].headers["If-None-Match"] == "*"
        assert list(server.store.versions["a"].values()) == ["new"]
        await table.update("a", lambda _: None)
        assert server.store.versions["a"] == {}


async def test_an_update_that_never_finds_the_row_as_it_read_it_gives_up(server: ContractServer) -> None:
    async def disturbed(value: bytes | None) -> bytes:
        await server.store.write("n", "other", json.dumps(sorted(server.store.versions.get("n", {}))))
        return b"mine"

    async with Client([server.url]) as client:
        with pytest.raises(ConditionFailedError):
            await client.table("t").update("n", disturbed, attempts_max=3)
    assert sum(request.method == "PUT" for request in server.requests) == 3


async def test_too_few_copies_tells_how_many_and_is_not_sent_again(server: ContractServer) -> None:
    answer = {"stored": True, "copies": 1, "receipt": "usr.0.9"}
    server.refusals = [lambda: problem(503, "too-few-copies", retry_after=0, **answer)] * 2
    async with Client([server.url, server.url]) as client:
        with pytest.raises(TooFewCopiesError) as failure:
            await client.table("t").put("a", b"1", w=2, idempotent=True)
    assert (failure.value.copies, failure.value.receipt) == (1, "usr.0.9")
    assert failure.value.may_stand
    assert len(server.requests) == 1


async def test_a_server_that_knows_too_few_members_has_stored_nothing_so_the_next_is_asked(
    server: ContractServer,
) -> None:
    server.refusals = [lambda: problem(503, "too-few-members", retry_after=0, stored=False)]
    async with Client([server.url, server.url]) as client:
        await client.table("t").put("a", b"1", w=2)
    assert server.store.versions["a"] == {1: "1"}


async def test_too_few_members_everywhere_is_told_after_one_pass_for_the_servers_have_waited(
    server: ContractServer,
) -> None:
    server.refusals = [lambda: problem(503, "too-few-members", retry_after=0, stored=False)] * 9
    async with Client([server.url, NOWHERE, server.url]) as client:
        with pytest.raises(TooFewMembersError) as failure:
            await client.table("t").put("a", b"1", w=3)
    assert not failure.value.may_stand
    assert len(server.requests) == 2


async def test_a_read_with_too_few_answers_is_asked_of_the_next_server_and_not_again(server: ContractServer) -> None:
    server.refusals = [lambda: problem(503, "too-few-answers", retry_after=0)] * 3
    async with Client([server.url, server.url]) as client:
        with pytest.raises(TooFewAnswersError):
            await client.table("t").get("a", r=3)
        await server.store.write("a", "1")
        row = await client.table("t").get("a", r=2)
    assert row is not None
    assert len(server.requests) == 4


async def test_a_context_that_one_clock_does_not_allow_is_taken_to_the_next_server(server: ContractServer) -> None:
    server.refusals = [lambda: problem(409, "context-ahead")]
    async with Client([server.url, server.url]) as client:
        await client.table("t").put("a", b"1", context="[1]")
        server.refusals = [lambda: problem(409, "context-ahead")] * 9
        with pytest.raises(ContextAheadError) as failure:
            await client.table("t").put("a", b"1", context="[1]")
    assert not failure.value.may_stand


async def test_an_update_whose_context_is_of_a_member_that_is_gone_reads_again(server: ContractServer) -> None:
    await server.store.write("n", "1")
    async with Client([server.url], passes=1) as client:

        async def loses_its_member(value: bytes | None) -> bytes:
            if len(server.requests) == 1:
                server.refusals = [lambda: problem(409, "context-ahead", retry_after=0)]
            return b"2"

        await client.table("t").update("n", loses_its_member)
        assert list(server.store.versions["n"].values()) == ["2"]
        assert [request.method for request in server.requests] == ["GET", "PUT", "GET", "PUT"]
        server.refusals = []
        with pytest.raises(ContextAheadError):
            await client.table("t").update("n", lambda _: refused_once(server), attempts_max=2)


def refused_once(server: ContractServer) -> bytes:
    """A value whose put the server refuses."""
    server.refusals = [lambda: problem(409, "context-ahead", retry_after=0)]
    return b"3"


async def test_a_server_that_refuses_a_context_goes_on_being_asked_in_its_turn(server: ContractServer) -> None:
    async with ContractServer(server.store).running() as other, Client([server.url, other.url]) as client:
        for each in (server, other):
            each.refusals = [lambda: problem(409, "context-ahead", retry_after=0)]
        await client.table("t").put("a", b"1", context="[1]")
        before = len(server.requests), len(other.requests)
        for _ in range(6):
            await client.table("t").get("a")
        assert (len(server.requests), len(other.requests)) == (before[0] + 3, before[1] + 3)


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [(409, "too-many-siblings", TooManySiblingsError), (428, "context-required", ContextRequiredError)],
)
async def test_what_a_writer_can_act_on_has_an_error_of_its_own(
    server: ContractServer, status: int, kind: str, error: type[ClientError]
) -> None:
    server.refusals = [lambda: problem(status, kind)]
    async with Client([server.url]) as client:
        with pytest.raises(error):
            await client.table("t").delete("a")
    assert len(server.requests) == 1


async def test_an_overloaded_server_is_asked_again_in_the_next_pass(server: ContractServer) -> None:
    server.refusals = [lambda: problem(503, "overloaded", retry_after=0)]
    async with Client([server.url], passes=2) as client:
        await client.table("t").put("a", b"1")
    assert len(server.requests) == 2


async def test_servers_that_stay_overloaded_are_named_so(server: ContractServer) -> None:
    server.refusals = [lambda: problem(503, "overloaded", retry_after=0)] * 2
    async with Client([server.url], passes=2) as client:
        with pytest.raises(OverloadedError):
            await client.table("t").put("a", b"1")


@pytest.mark.parametrize(
    "refusal",
    [
        lambda: problem(503, "storage-stuck", retry_after=0),
        lambda: problem(502, "bad-gateway"),
        lambda: web.Response(status=503, text="no upstream", headers={"Retry-After": "0"}),
    ],
)
async def test_a_write_that_may_stand_is_sent_again_only_when_it_is_declared_idempotent(
    server: ContractServer, refusal: object
) -> None:
    assert callable(refusal)
    server.refusals = [refusal]
    async with Client([server.url, server.url]) as client:
        with pytest.raises(UnavailableError, match="may have been carried out") as failure:
            await client.table("t").put("a", b"1")
        assert failure.value.may_stand
        assert len(server.requests) == 1
        server.refusals = [refusal]
        await client.table("t").put("a", b"1", idempotent=True)
    assert server.store.versions["a"] == {1: "1"}


async def test_a_write_goes_on_to_the_next_server_when_no_connection_was_made(server: ContractServer) -> None:
    async with Client([NOWHERE, server.url]) as client:
        for number in range(4):
            await client.table("t").put(str(number), b"1")
    assert len(server.store.versions) == 4


async def test_a_receipt_is_asked_for_by_its_text_and_may_be_waited_for(server: ContractServer) -> None:
    def told() -> object:
        return problem(200, "receipt", copies=1, complete=True, members=[{"member": "m0"}])

    server.refusals = [told, told]  # type: ignore[list-item]
    async with Client([server.url]) as client:
        assert (await client.receipt("usr.0.1", wait="all", within=2))["members"] == [{"member": "m0"}]
        await client.receipt("usr.0.1")
    assert server.requests[0].path_qs == "/v1/cluster/receipts/usr.0.1?wait=all&timeout=2s"
    assert server.requests[1].path_qs == "/v1/cluster/receipts/usr.0.1"


async def test_settings_are_changed_one_by_one(server: ContractServer) -> None:
    async with Client([server.url]) as client:
        await client.table("carts").configure(conflicts="siblings", w=2)
    assert server.requests[0].path == "/v1/usr/tables/carts"
    assert json.loads(server.bodies[0]) == {"conflicts": "siblings", "w": 2}


async def test_a_put_of_no_value_is_refused_and_deletes_nothing(server: ContractServer) -> None:
    no_value: Any = None
    async with Client([server.url]) as client:
        await client.table("t").put("a", b"1")
        with pytest.raises(InvalidArgumentError, match="`value` is bytes, not None"):
            await client.table("t").put("a", no_value)
    assert [request.method for request in server.requests] == ["PUT"]
