from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gossipkv.core.options import ReplicaOptions
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode
from gossipkv.storage.memory import MemoryStorage
from gossipkv.transport.memory import MemoryNetwork, MemoryTransport

from .conftest import Api, running


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
async def api(network: MemoryNetwork) -> AsyncIterator[Api]:
    async with running(network=network) as api:
        yield api


async def members(api: Api) -> list[str]:
    return [member["member"] for member in (await api.ask("GET", "/v1/cluster")).json["members"]]


async def test_a_member_is_forgotten_once_it_does_not_answer(api: Api, network: MemoryNetwork) -> None:
    options = ReplicaOptions(member="m 1", gossip_interval_ms=20, endpoints={"gossip": "memory://m1"})
    peer = MemberNode(
        options, MemoryStorage(), MemoryTransport(network, "memory://m1"), StaticDiscovery(["memory://m0"]), Metrics()
    )
    await peer.start()
    async with asyncio.timeout(20):
        await peer.wait_ready()
        while (answer := await api.ask("DELETE", "/v1/cluster/members/m%201")).problem == "member-not-found":
            await asyncio.sleep(0.01)
        while (answer := await api.ask("DELETE", "/v1/cluster/members/m%201")).status == 204:
            raise AssertionError("a member that runs was forgotten")
    assert (answer.status, answer.problem) == (409, "member-answers")
    answer = await api.ask("DELETE", "/v1/cluster/members/m%201?force=true")
    assert (answer.status, answer.problem) == (409, "member-answers"), "nor by force"
    await peer.stop()
    for query in ("", "?force=false"):
        answer = await api.ask("DELETE", f"/v1/cluster/members/m%201{query}")
        assert (answer.status, answer.problem) == (409, "member-heard")
        assert "10 minutes" in answer.json["detail"]
        assert "force" in answer.json["detail"]
    assert await members(api) == ["gossipkv-0", "m 1"]
    answer = await api.ask("DELETE", "/v1/cluster/members/m%201?force=true")
    assert (answer.status, answer.body) == (204, b"")
    assert await members(api) == ["gossipkv-0"]
    answer = await api.ask("DELETE", "/v1/cluster/members/m%201")
    assert (answer.status, answer.problem) == (404, "member-not-found")


async def test_a_member_does_not_forget_itself_nor_one_without_a_name(api: Api) -> None:
    answer = await api.ask("DELETE", "/v1/cluster/members/gossipkv-0")
    assert (answer.status, answer.problem) == (409, "own-member")
    for name in ("", "m" * 256):
        answer = await api.ask("DELETE", f"/v1/cluster/members/{name}")
        assert (answer.status, answer.problem) == (400, "invalid-member-name")
    answer = await api.ask("DELETE", "/v1/cluster/members/%FF")
    assert (answer.status, answer.problem) == (400, "invalid-path")
    assert await members(api) == ["gossipkv-0"]


@pytest.mark.parametrize(
    "query", ["force=yes", "force=", "force=TRUE", "force=1", "forced=true", "force=true&force=true"]
)
async def test_force_is_true_or_false(api: Api, query: str) -> None:
    answer = await api.ask("DELETE", f"/v1/cluster/members/gossipkv-9?{query}")
    assert answer.status == 400


async def test_the_cluster_tells_what_is_collected_and_what_for_whom_is_not(api: Api) -> None:
    assert (await api.ask("GET", "/v1/cluster")).json["collection"] == {"blocked_by": [], "collected": 0}


async def test_a_member_whose_data_are_outdated_takes_no_writes(api: Api) -> None:
    await api.put("k")
    await api.node.wait_ready()
    api.node._driver.is_fenced = True
    api.node.fenced.set()
    for answer in (await api.put("k"), await api.ask("DELETE", "/v1/cluster/members/gossipkv-9")):
        assert (answer.status, answer.problem) == (503, "stopping")
        assert answer.headers["Retry-After"] == "1"
    assert (await api.ask("GET", "/readyz")).status == 503
    assert (await api.ask("GET", "/livez")).status == 200
