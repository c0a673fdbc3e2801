from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from gossipkv.client import Change, Client, Kind, RefusedError, UnavailableError, Watch
from gossipkv.client.servers.events import Event, EventParser
from tests.client.contract_server import ContractServer, Store, problem

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
async def servers() -> AsyncIterator[list[ContractServer]]:
    store = Store()
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(ContractServer(store).running()) for _ in range(2)]


async def next_of(watch: Watch) -> Change:
    async with asyncio.timeout(20):
        return await anext(watch)


async def test_changes_come_in_order_and_only_those_of_the_prefix(servers: list[ContractServer]) -> None:
    store = servers[0].store
    async with Client([servers[0].url]) as client, client.table("t").watch(prefix="a", since="0") as watch:
        await store.write("a1", "1")
        await store.write("b1", "1")
        await store.write("a1", None)
        first, second = await next_of(watch), await next_of(watch)
    assert (first.kind, first.row, first.value, first.etag, first.event_id) == (Kind.PUT, "a1", b"1", "1", "1")
    assert (second.kind, second.row, second.value) == (Kind.DELETE, "a1", None)


@pytest.mark.parametrize("ending", ["overflow", "end"])
async def test_a_watch_that_a_member_ends_goes_on_at_another_without_a_gap_or_a_repeat(
    servers: list[ContractServer], ending: str
) -> None:
    store = servers[0].store
    for number in range(10):
        await store.write(str(number), "v")
    for server in servers:
        server.ending = ending
    async with Client([server.url for server in servers]) as client, client.table("t").watch(since="0") as watch:
        rows = [(await next_of(watch)).row for _ in range(10)]
    assert rows == [str(number) for number in range(10)]
    assert all(server.requests for server in servers)


async def test_a_watch_survives_the_death_of_its_member(servers: list[ContractServer]) -> None:
    store = servers[0].store
    async with AsyncExitStack() as stack:
        dying = ContractServer(store)
        running = dying.running()
        await running.__aenter__()
        client = await stack.enter_async_context(Client([dying.url, servers[0].url]))
        watch = await stack.enter_async_context(client.table("t").watch(since="0"))
        await store.write("a", "1")
        assert (await next_of(watch)).row == "a"
        await running.__aexit__(None, None, None)
        await store.write("b", "2")
        assert (await next_of(watch)).row == "b"
        assert watch.server == servers[0].url


async def test_a_watch_from_before_the_journal_begins_with_a_reset(servers: list[ContractServer]) -> None:
    store = servers[0].store
    await store.write("a", "1")
    await store.write("b", "2")
    store.first = 2
    async with Client([servers[0].url]) as client, client.table("t").watch(since="1") as watch:
        assert (await next_of(watch)).kind is Kind.RESET
        assert [(await next_of(watch)).row for _ in range(2)] == ["a", "b"]
        assert (await next_of(watch)).kind is Kind.CURRENT
        await store.write("c", "3")
        assert (await next_of(watch)).row == "c"


async def test_the_rows_after_a_reset_are_told_anew_when_they_were_cut_off(servers: list[ContractServer]) -> None:
    store = servers[0].store
    await store.write("a", "1")
    store.first = 1
    servers[0].cuts_snapshots = True
    async with Client([servers[0].url]) as client, client.table("t").watch(since="0") as watch:
        kinds = [(await next_of(watch)).kind for _ in range(4)]
    assert kinds == [Kind.RESET, Kind.RESET, Kind.PUT, Kind.CURRENT]


@pytest.mark.parametrize("length", [4_097, 8_404, 100_000])
async def test_a_watch_with_an_id_that_no_header_holds_begins_anew(servers: list[ContractServer], length: int) -> None:
    await servers[0].store.write("a", "1")
    async with Client([servers[0].url]) as client, client.table("t").watch(since="A" * length) as watch:
        assert [(await next_of(watch)).kind for _ in range(3)] == [Kind.RESET, Kind.PUT, Kind.CURRENT]


async def test_a_heartbeat_moves_the_id_on(servers: list[ContractServer]) -> None:
    for number in range(3):
        await servers[0].store.write("a", str(number))
    async with Client([servers[0].url]) as client, client.table("t").watch() as watch:
        following = asyncio.create_task(next_of(watch))
        async with asyncio.timeout(20):
            while watch.event_id != "3":
                await asyncio.sleep(0.01)
        await servers[0].store.write("b", "1")
        assert (await following).row == "b"


async def test_a_watch_that_no_member_serves_is_given_up() -> None:
    async with Client([NOWHERE]) as client, client.table("t").watch(give_up_s=0) as watch:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1"):
            await next_of(watch)


async def test_a_watch_that_is_refused_is_not_tried_elsewhere(servers: list[ContractServer]) -> None:
    servers[0].refusals = [lambda: problem(400, "invalid-parameter")]
    async with Client([servers[0].url]) as client, client.table("t").watch() as watch:
        with pytest.raises(RefusedError):
            await next_of(watch)
    assert len(servers[0].requests) == 1


def events(text: bytes) -> list[Event]:
    parser = EventParser()
    return [event for line in text.splitlines(keepends=True) if (event := parser.take(line)) is not None]


async def test_an_event_longer_than_any_is_the_members_fault(
    servers: list[ContractServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossipkv.client.servers.requests.LINE_BYTES_MAX", 1_000)
    await servers[0].store.write("a", "v" * 10_000)
    async with Client([servers[0].url]) as client, client.table("t").watch(since="0") as watch:
        with pytest.raises(RefusedError, match="does not answer like gossipkv"):
            await next_of(watch)


def test_an_event_stream_is_taken_apart() -> None:
    text = b": heartbeat\n\n: heartbeat\nid: 6\n\nevent: put\r\nid: 7\r\ndata: {\ndata:}\n\nevent: end\n\n"
    text += b"retry: 5\n\ndata: x\n\n"
    assert events(text) == [
        Event("", "", "6"),
        Event("put", "{\n}", "7"),
        Event("end", "", "7"),
        Event("message", "x", "7"),
    ]
