"""A context that names writes which a member has not seen: forged ones are refused at every door, real ones wait."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gossipkv import ContextAheadError, Delete, Put
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.core.model.address import address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.clock import timestamp_at
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.rows.view import context_token
from tests.cli.conftest import Run
from tests.cli.members_in_thread import MembersInThread
from tests.cli.ways import Ways, row_path

TABLES = ("last", "beside")
PROBLEM = "urn:gossipkv:problem:context-ahead"

Write = Callable[[Ways, int, str, str, "bytes | None", str], Any]
"""Put or delete a row of a table at a member, with a context; returns what tells that it was refused, or None."""


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MembersInThread]:
    with MembersInThread(tmp_path_factory.mktemp("members"), 3).running() as members:
        yield members


@pytest.fixture
def ways(members: MembersInThread, run: Run, tmp_path: Path) -> Ways:
    ways = Ways(members, run, tmp_path)
    status, _, body = ways.ask("PUT", "/v1/usr/tables/beside", b'{"conflicts":"siblings"}')
    assert status in (201, 204), body
    wait_until(lambda: all(settings_at(ways, number) == "siblings" for number in range(3)))
    return ways


def settings_at(ways: Ways, member: int) -> str | None:
    status, _, body = ways.ask("GET", "/v1/usr/tables/beside", member=member)
    return json.loads(body)["settings"]["conflicts"] if status == 200 else None


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def by_http(ways: Ways, member: int, table: str, key: str, value: bytes | None, context: str) -> Any:
    method = "DELETE" if value is None else "PUT"
    with ways._asked(method, row_path(table, key), value, member, {"Gossipkv-Context": context}) as response:
        body = response.read()
        if response.status < 300:
            return None
        problem = json.loads(body)
        assert (response.status, problem["type"]) == (409, PROBLEM)
        assert response.headers["Retry-After"] == "1"
        assert "try again" in problem["detail"]
        assert "member that you read from" in problem["detail"]
        return problem


def by_batch(ways: Ways, member: int, table: str, key: str, value: bytes | None, context: str) -> Any:
    line: dict[str, Any] = {"row": key, "context": context}
    line |= {"delete": True} if value is None else {"value": value.decode()}
    body = b"\n".join([json.dumps(line).encode(), json.dumps({"row": "beside it", "value": "x"}).encode()])
    _, _, answer = ways.ask("POST", f"/v1/usr/tables/{table}/rows:batch", body, member=member)
    first, second = [json.loads(each) for each in answer.splitlines()]
    assert second["status"] < 300, "other lines are not affected"
    if first["status"] < 300:
        return None
    assert (first["status"], first["problem"]["type"]) == (409, PROBLEM)
    return first


def by_sync(ways: Ways, member: int, table: str, key: str, value: bytes | None, context: str) -> Any:
    with ways.client(member) as client:
        try:
            if value is None:
                client.table(table).delete(key, context=context)
            else:
                client.table(table).put(key, value, context=context)
        except ContextAheadError as error:
            return error
    return None


def by_client_batch(ways: Ways, member: int, table: str, key: str, value: bytes | None, context: str) -> Any:
    operation = Delete(key, context=context) if value is None else Put(key, value, context=context)
    with ways.client(member) as client:
        [outcome] = client.table(table).batch([operation])
    assert outcome.error is None or (isinstance(outcome.error, ContextAheadError) and not outcome.error.may_stand)
    return outcome.error


def by_embedded(ways: Ways, member: int, table: str, key: str, value: bytes | None, context: str) -> Any:
    rows = ways.members.nodes[member].table(table)
    try:
        ways.members.ask(rows.delete(key, context=context) if value is None else rows.put(key, value, context=context))
    except ContextAheadError as error:
        return error
    return None


def by_command(ways: Ways, member: int, table: str, key: str, value: bytes | None, context: str) -> Any:
    words = ["delete", table, key] if value is None else ["put", table, key, value.decode()]
    outcome = ways.run(*words, "--context", context, "--server", ways.members.urls[member], code=None)
    if outcome.code == ExitCode.OK:
        return None
    assert outcome.code == ExitCode.UNAVAILABLE
    assert "try again" in outcome.err
    return outcome


DOORS: list[Write] = [by_http, by_batch, by_sync, by_client_batch, by_embedded, by_command]


def forged(table: str, key: str, context: dict[int, int]) -> str:
    address = address_of(table, key.encode())
    version = Version(Dot(*next(iter(context.items()))), timestamp_at(1), b"")
    return context_token.text_of(address, StoredRow((version,), Context(context)))


def replicas(ways: Ways) -> list[int]:
    _, _, body = ways.ask("GET", "/v1/cluster")
    members = sorted(json.loads(body)["members"], key=lambda member: str(member["member"]))
    return [int(member["replica"], 16) for member in members]


def holds(ways: Ways, member: int, table: str, key: str) -> tuple[int, bytes]:
    status, _, body = ways.ask("GET", row_path(table, key), member=member)
    return status, body


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("value", [b"forged", None], ids=["put", "delete"])
def test_a_forged_context_is_refused_and_the_row_does_not_diverge(
    ways: Ways, door: Write, table: str, value: bytes | None
) -> None:
    key = f"{door.__name__}-{'put' if value else 'delete'}"
    with ways.client() as client:
        client.table(table).put(key, b"before", w=3)
    for context in ({replica: 10**6} for replica in [replicas(ways)[1], 99]):
        assert door(ways, 0, table, key, value, forged(table, key, context)) is not None
    for number in range(3):
        with ways.client(number) as client:
            at = client.table(table, resolve=b",".join)
            row = at.get(key)
            assert row is not None
            at.put(key, b"%d" % number, context=row.context, w=3)
    for number in range(3):
        assert holds(ways, number, table, key) == (200, b"2")


@pytest.mark.parametrize("door", [by_http, by_sync, by_client_batch, by_embedded, by_command])
@pytest.mark.parametrize("table", TABLES)
def test_what_was_read_at_one_member_is_replaced_at_another_at_once(ways: Ways, door: Write, table: str) -> None:
    """As through a load balancer: the second member may not have heard of the write yet, and gets it first."""
    for number in range(20):
        key = f"{door.__name__}-{number}"
        with ways.client(number % 3) as client:
            written = client.table(table).put(key, b"read")
        assert door(ways, (number + 1) % 3, table, key, b"new", written.context or "") is None
        assert holds(ways, (number + 1) % 3, table, key) == (200, b"new")


def test_an_update_through_two_members_behind_one_address_loses_nothing(ways: Ways) -> None:
    for number in range(20):
        with ways.client(number % 3) as client:
            client.table("last").update("counter", lambda value: b"%d" % (int(value or b"0") + 1))
        # The next client is another one: it has read nothing, and its member may not have heard of the write yet.
        wait_until(lambda: holds(ways, (number + 1) % 3, "last", "counter") == (200, b"%d" % (number + 1)))  # noqa: B023
