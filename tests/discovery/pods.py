"""The Service that most tests of discovery by Kubernetes begin with, and what is found of it."""

from __future__ import annotations

from gossipkv.discovery.base import FoundMembers
from tests.discovery.api_server import ApiServer, endpoint, endpoint_slice


def put_pods(server: ApiServer) -> None:
    server.put(endpoint_slice("kv-a", endpoint("kv-0", "10.0.0.1", zone="north"), endpoint("kv-1", "10.0.0.2")))


def with_kv_2() -> dict[str, object]:
    return endpoint_slice("kv-b", endpoint("kv-2", "10.0.0.3"))


KV_1 = ("http://10.0.0.2:7081",)
KV_1_AND_2 = ("http://10.0.0.2:7081", "http://10.0.0.3:7081")
BOTH = frozenset({"kv-0", "kv-1"})


def is_sound(found: FoundMembers) -> bool:
    return not found.failure


async def fallback() -> tuple[str, ...]:
    return ("http://10.9.9.9:7081",)
