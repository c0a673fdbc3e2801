"""The script of `helm test`, against members in this process."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from gossipkv.api.options import ApiOptions
from gossipkv.api.routes import build_api
from gossipkv.api.server import serve
from gossipkv.client import Client
from gossipkv.core.model.member import GOSSIP
from gossipkv.core.options import ReplicaOptions
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode
from gossipkv.storage.memory import MemoryStorage
from gossipkv.transport.memory import MemoryNetwork, MemoryTransport
from tests.chart.values_readme import CHART

SCRIPT = CHART / "files/write_and_read.py"
DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("write_and_read", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def running_members(peers: dict[str, tuple[str, ...]]) -> AsyncIterator[list[str]]:
    """The API's URLs of members at these gossip endpoints, each with those that it is told of."""
    network = MemoryNetwork()
    async with AsyncExitStack() as stack:
        urls = []
        for number, (endpoint, told) in enumerate(peers.items()):
            options = ReplicaOptions(
                member=f"gossipkv-{number}",
                endpoints={GOSSIP: endpoint},
                bootstrap_timeout_ms=1,
                gossip_interval_ms=10,
            )
            metrics, transport = Metrics(), MemoryTransport(network, endpoint)
            node = MemberNode(options, MemoryStorage(), transport, StaticDiscovery(told), metrics)
            await node.start()
            stack.push_async_callback(node.stop)
            server = await serve(build_api(node, metrics, ApiOptions()), "127.0.0.1", 0, ApiOptions())
            stack.push_async_callback(server.stop)
            urls.append(f"http://127.0.0.1:{server.port}")
        yield urls


async def test_a_row_written_on_one_member_is_read_on_another_and_deleted(
    script: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_members({"memory://0": ("memory://1",), "memory://1": ("memory://0",)}) as (first, second):
        await script.write_and_read(first, second, "a-row", time.monotonic() + DEADLINE_S)
        async with Client([first]) as client:
            assert await client.table(script.TABLE).get("a-row") is None
    assert f"read it on {second}, and deleted it" in capsys.readouterr().out


async def test_a_single_member_is_written_on_and_read(script: Any) -> None:
    async with running_members({"memory://0": ()}) as (only,):
        await script.write_and_read(only, only, "a-row", time.monotonic() + DEADLINE_S)


async def test_a_row_that_does_not_arrive_by_the_deadline_is_an_error_and_is_deleted(script: Any) -> None:
    async with running_members({"memory://0": (), "memory://1": ()}) as (first, second):
        with pytest.raises(TimeoutError):
            await script.write_and_read(first, second, "a-row", time.monotonic())
        async with Client([first]) as client:
            assert await client.table(script.TABLE).get("a-row") is None


def test_a_failure_is_told_on_one_line() -> None:
    url = "http://127.0.0.1:1"
    command = [sys.executable, "-I", "-c", SCRIPT.read_text(), url, url, "a-row", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("row a-row, written on ")
    assert len(ended.stderr.splitlines()) == 1
