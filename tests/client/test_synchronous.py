from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from gossipkv.client import Delete, InvalidArgumentError, Kind, NotFoundError, Put, RefusedError, UnavailableError
from gossipkv.client.synchronous import SyncClient
from tests.cli.conftest import running_member, served
from tests.client.contract_server import ContractServer


@pytest.fixture(scope="module")
def member() -> Iterator[str]:
    with served(running_member) as url:
        yield url


def test_rows_are_written_read_updated_listed_and_deleted(member: str) -> None:
    with SyncClient([member]) as client:
        table = client.table("sync")
        assert table.get("a") is None
        first = table.put("a", b"1")
        table.put("b", b"2", if_absent=True)
        table.update("a", lambda value: (value or b"") + b"1")
        row = table.get("a")
        assert row is not None
        assert row.value == b"11"
        assert row.etag != first.etag
        assert [row.row for row in table.range(page_rows=1)] == ["a", "b"]
        table.delete("a")
        assert [row.row for row in table.range(keys_only=True)] == ["b"]
        assert [each["table"] for each in client.tables()] == ["sync"]
        assert len(client.cluster()["members"]) == 1
        table.configure(conflicts="siblings")
        described = table.describe()
        assert described is not None
        assert (described["rows"], described["settings"]["conflicts"]) == (1, "siblings")
        table.drop()
        assert table.describe() is None


def test_a_batch_gives_an_outcome_for_each_operation(member: str) -> None:
    with SyncClient([member]) as client:
        table = client.table("sync-batch")
        operations = (Put("a", b"1"), Put("", b"no key"), Delete("a"), Put("b", b"\xff", etag="none"))
        outcomes = list(table.batch(operations))
        assert [outcome.error is None for outcome in outcomes] == [True, False, True, False]
        assert [outcome.etag is None for outcome in outcomes] == [False, True, True, True]


def test_errors_are_raised_where_the_call_was_made(member: str) -> None:
    with SyncClient(["http://127.0.0.1:1"], passes=1) as client, pytest.raises(UnavailableError):
        client.table("t").get("a")
    with SyncClient([member]) as client, pytest.raises(RefusedError):
        client.receipt("no-such-receipt")
    with SyncClient([member]) as client, pytest.raises(RefusedError, match="does not forget itself"):
        client.forget("gossipkv-0")
    with SyncClient([member]) as client, pytest.raises(NotFoundError, match="no such member"):
        client.forget("no/such member")
    with SyncClient([member]) as client, pytest.raises(NotFoundError, match="no such member"):
        client.forget("no/such member", force=True)
    for wrong in ("true", 1, None):
        with SyncClient([member]) as client, pytest.raises(InvalidArgumentError, match="force"):
            client.forget("gossipkv-9", force=wrong)  # type: ignore[arg-type]


def test_a_table_is_not_set_to_more_copies_than_there_are_members(member: str) -> None:
    with SyncClient([member]) as client:
        for setting in ("w", "r"):
            with pytest.raises(RefusedError, match="the number of members is 1"):
                client.table("many").configure(**{setting: 2})  # type: ignore[arg-type]
        assert client.table("many").describe() is None


def test_one_client_serves_many_threads(member: str) -> None:
    with SyncClient([member]) as client:
        table = client.table("threads")
        threads = [threading.Thread(target=table.put, args=(str(number), b"v")) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert [row.row for row in table.range()] == [str(number) for number in range(8)]


@asynccontextmanager
async def watched() -> AsyncIterator[int]:
    async with ContractServer().running() as server:
        await server.store.write("a", "1")
        await server.store.write("b", "2")
        yield int(server.url.rpartition(":")[2])


def test_a_watch_is_an_iterator_that_can_be_closed() -> None:
    with served(watched) as url, SyncClient([url]) as client:
        changes = client.table("t").watch(since="0")
        first, second = next(changes), next(changes)
        assert [(change.kind, change.row) for change in (first, second)] == [(Kind.PUT, "a"), (Kind.PUT, "b")]
        changes.close()
