"""Tables and their settings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gossipkv.core.model.address import SYSTEM
from gossipkv.core.model.write import Operation
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.store.tables import TableSettings, settings_address
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode
from gossipkv.storage.memory import MemoryStorage
from gossipkv.transport.memory import MemoryNetwork, MemoryTransport

from .conftest import Api, running

TABLES = "/v1/usr/tables"
DEFAULTS = {"conflicts": "lww", "w": 1, "r": 1}


async def settings_row(api: Api, table: str) -> bytes | None:
    answer = await api.ask("GET", f"/v1/sys/tables/tables/rows/{table}")
    return answer.body if answer.status == 200 else None


async def test_a_table_is_there_once_it_has_a_row(api: Api) -> None:
    assert (await api.ask("GET", f"{TABLES}/t")).problem == "table-not-found"
    await api.put("k", b"value")
    await api.put("gone")
    await api.delete("gone")
    described = {
        "table": "t",
        "rows": 1,
        "tombstones": 1,
        "value_bytes": 6,
        "conflicts_lost": 0,
        "settings": DEFAULTS,
    }
    assert (await api.ask("GET", f"{TABLES}/t")).json == described
    assert (await api.ask("GET", TABLES)).json == {"items": [described], "next_cursor": None}


async def test_tables_are_listed_by_name_with_those_that_have_settings_alone(api: Api) -> None:
    await api.put("k", table="b")
    await api.ask("PUT", f"{TABLES}/a", data=b'{"conflicts": "lww"}')
    items = (await api.ask("GET", TABLES)).json["items"]
    assert [(item["table"], item["rows"]) for item in items] == [("a", 0), ("b", 1)]


async def test_settings_are_a_row_that_replicates(api: Api) -> None:
    assert (await api.ask("PUT", f"{TABLES}/t", data=b'{"conflicts":"lww"}')).status == 201
    assert json.loads(await settings_row(api, "t") or b"") == DEFAULTS
    assert (await api.ask("PUT", f"{TABLES}/t")).status == 204
    assert (await api.ask("GET", f"{TABLES}/t")).json["settings"] == DEFAULTS


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"nonsense", 400, "invalid-body"),
        (b"[]", 400, "invalid-body"),
        (b"\xff", 400, "invalid-body"),
        (b"[" * 50_000, 400, "invalid-body"),
        (b" " * 70_000, 413, "body-too-large"),
        (b'{"w":0}', 422, "unsupported-setting"),
        (b'{"r":true}', 422, "unsupported-setting"),
        (b'{"conflicts":"first"}', 422, "unsupported-setting"),
        (b'{"conflicts":["lww"]}', 422, "unsupported-setting"),
        (b'{"replicas":3}', 422, "unsupported-setting"),
    ],
)
async def test_settings_that_cannot_be_are_refused(api: Api, body: bytes, status: int, problem: str) -> None:
    answer = await api.ask("PUT", f"{TABLES}/t", data=body)
    assert (answer.status, answer.problem) == (status, problem)
    assert await settings_row(api, "t") is None


async def test_settings_that_are_not_given_stay(three: Api) -> None:
    await three.ask("PUT", f"{TABLES}/t", data=b'{"conflicts":"siblings","w":2}')
    await three.ask("PUT", f"{TABLES}/t", data=b'{"r":3}')
    assert (await three.ask("GET", f"{TABLES}/t")).json["settings"] == {"conflicts": "siblings", "w": 2, "r": 3}


@pytest.fixture
async def three() -> AsyncIterator[Api]:
    """A member of three, once it knows the others."""
    network = MemoryNetwork()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(running(network=network))
        for name in ("m1", "m2"):
            endpoint = f"memory://{name}"
            options = ReplicaOptions(member=name, gossip_interval_ms=20, endpoints={"gossip": endpoint})
            transport, discovery = MemoryTransport(network, endpoint), StaticDiscovery(["memory://m0"])
            node = MemberNode(options, MemoryStorage(), transport, discovery, Metrics())
            await node.start()
            stack.push_async_callback(node.stop)
        async with asyncio.timeout(20):
            while (await api.node.reach()).members < 3:
                await asyncio.sleep(0.01)
        yield api


@pytest.mark.parametrize("body", [b'{"w":4}', b'{"r":4}', b'{"w":1000}', b'{"conflicts":"siblings","w":2,"r":1000}'])
async def test_more_copies_or_answers_than_there_are_members_are_refused(three: Api, body: bytes) -> None:
    """Otherwise no plain write to the table would be answered."""
    answer = await three.ask("PUT", f"{TABLES}/t", data=body)
    assert (answer.status, answer.problem) == (422, "unsupported-setting")
    assert "the number of members is 3" in answer.json["detail"]
    assert await settings_row(three, "t") is None
    assert (await three.ask("PUT", f"{TABLES}/t", data=b'{"w":3,"r":3}')).status == 201


async def test_other_settings_can_be_changed_though_the_members_have_become_fewer(api: Api) -> None:
    settings = TableSettings(w=3, r=2).to_json()
    await api.node.write(SYSTEM, [Operation(settings_address("t"), settings)])
    assert (await api.ask("PUT", f"{TABLES}/t", data=b'{"conflicts":"siblings"}')).status == 204
    assert (await api.ask("PUT", f"{TABLES}/t", data=b'{"r":1}')).status == 204
    assert (await api.ask("PUT", f"{TABLES}/t", data=b'{"w":2}')).problem == "unsupported-setting"
    assert (await api.ask("GET", f"{TABLES}/t")).json["settings"] == {"conflicts": "siblings", "w": 3, "r": 1}


async def test_a_deleted_table_is_gone_with_its_rows_and_settings_and_no_other(api: Api) -> None:
    await api.ask("PUT", f"{TABLES}/t", data=b"{}")
    await api.batch({"row": f"{n}", "value": "v"} for n in range(30))
    await api.put("k", table="s")
    await api.put("k", table="t2")
    for _ in range(2):
        assert (await api.ask("DELETE", f"{TABLES}/t")).status == 204
        assert (await api.ask("GET", f"{TABLES}/t")).status == 404
        assert await settings_row(api, "t") is None
    held = api.contents()
    assert sum(value is None for value in held.values()) == 30
    assert {address for address, value in held.items() if value is not None} == {b"s\0k", b"t2\0k"}


async def test_the_tables_of_the_system_are_readable_and_not_writable(api: Api) -> None:
    assert (await api.ask("GET", "/v1/sys/tables/members")).json["rows"] == 1
    assert [item["table"] for item in (await api.ask("GET", "/v1/sys/tables")).json["items"]] == ["members"]
    for method in ("PUT", "DELETE"):
        answer: Any = await api.ask(method, "/v1/sys/tables/members")
        assert (answer.status, answer.problem) == (403, "read-only-namespace")
    assert (await api.ask("GET", "/v1/sys/tables/members")).json["rows"] == 1


@pytest.mark.parametrize(
    "path", [f"{TABLES}/", f"{TABLES}/a%20b", "/v1/xyz/tables/t", "/v1/xyz/tables", f"{TABLES}?x=1"]
)
async def test_a_bad_table_is_refused(api: Api, path: str) -> None:
    assert (await api.ask("GET", path)).problem in {"invalid-table-name", "unknown-namespace", "unknown-parameter"}
