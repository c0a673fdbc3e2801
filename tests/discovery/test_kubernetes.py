"""Discovery against an API server that does as it should."""

from __future__ import annotations

import asyncio

import pytest

from gossipkv.discovery.base import FoundMembers
from gossipkv.discovery.kubernetes import PAGE_ITEMS
from tests.discovery.api_server import ApiServer, endpoint, endpoint_slice
from tests.discovery.conftest import Clock, Discoverer, eventually, find
from tests.discovery.pods import BOTH, KV_1, KV_1_AND_2, put_pods, with_kv_2


@pytest.fixture(autouse=True)
def pods(server: ApiServer) -> None:
    put_pods(server)


async def test_the_first_list_tells_endpoints_members_and_the_own_zone(
    discoverer: Discoverer, server: ApiServer
) -> None:
    assert await find(discoverer.start()) == FoundMembers(KV_1, BOTH, "north")
    [request] = server.requests
    assert request["namespace"] == "shop"
    assert request["labelSelector"] == "kubernetes.io/service-name=kv-headless"


async def test_all_pages_of_a_long_list_are_read(discoverer: Discoverer, server: ApiServer) -> None:
    for number in range(2 * PAGE_ITEMS + 1):
        server.put(endpoint_slice(f"more-{number:03}", endpoint(f"m-{number}", f"10.1.{number // 200}.{number % 200}")))
    found = await find(discoverer.start())
    assert len(found.endpoints) == 2 * PAGE_ITEMS + 2
    assert [request.get("continue") for request in server.asked("list")] == [None, "100", "200"]


async def test_pods_that_come_go_and_move_are_told_of_as_it_happens(discoverer: Discoverer, server: ApiServer) -> None:
    discovery = discoverer.start()
    await find(discovery)
    server.put(with_kv_2())
    assert await find(discovery) == FoundMembers(KV_1_AND_2, BOTH | {"kv-2"}, "north")
    server.put(endpoint_slice("kv-b", endpoint("kv-2", "10.0.0.4")))
    assert (await find(discovery)).endpoints == (*KV_1, "http://10.0.0.4:7081")
    server.delete("kv-b")
    assert await find(discovery) == FoundMembers(KV_1, BOTH, "north")
    assert len(server.asked("list")) == len(server.asked("watch")) == 1


async def test_a_watch_asks_for_bookmarks_and_an_end_and_goes_on_from_the_list(
    discoverer: Discoverer, server: ApiServer
) -> None:
    listed = server.version
    discovery = discoverer.start(watch_seconds=40)
    await find(discovery)
    server.put(with_kv_2())
    await find(discovery)
    [watch] = server.asked("watch")
    assert watch["resourceVersion"] == str(listed)
    assert watch["allowWatchBookmarks"] == "true"
    assert 30 <= int(watch["timeoutSeconds"]) <= 40


async def test_what_happens_between_list_and_watch_is_not_missed(discoverer: Discoverer, server: ApiServer) -> None:
    discovery = discoverer.start()
    await find(discovery)
    server.put(with_kv_2())
    assert (await find(discovery)).endpoints == KV_1_AND_2


async def test_changes_that_change_nothing_for_gossip_are_not_told(discoverer: Discoverer, server: ApiServer) -> None:
    discovery = discoverer.start()
    await find(discovery)
    server.put(endpoint_slice("kv-a", *server.slices["kv-a"]["endpoints"][::-1]))
    server.bookmark()
    server.put(with_kv_2())
    assert (await find(discovery)).endpoints == KV_1_AND_2


async def test_a_watch_that_ends_when_due_is_resumed_from_the_last_bookmark(
    discoverer: Discoverer, server: ApiServer, clock: Clock
) -> None:
    discovery = discoverer.start()
    await find(discovery)
    looking = asyncio.create_task(find(discovery))
    await eventually(lambda: server.is_watched)
    server.bookmark()
    clock.now_seconds += 60
    server.end_watches()
    await eventually(lambda: len(server.asked("watch")) == 2)
    bookmarked = server.version
    server.put(with_kv_2())
    assert await looking == FoundMembers(KV_1_AND_2, BOTH | {"kv-2"}, "north")
    assert server.asked("watch")[1]["resourceVersion"] == str(bookmarked)
    assert len(server.asked("list")) == 1
    assert clock.pauses == []


async def test_a_missed_event_is_made_up_for_by_the_next_list(
    discoverer: Discoverer, server: ApiServer, clock: Clock
) -> None:
    discovery = discoverer.start(relist_seconds=300)
    await find(discovery)
    looking = asyncio.create_task(find(discovery))
    await eventually(lambda: server.is_watched)
    server.put(with_kv_2(), silently=True)
    clock.now_seconds += 400
    server.end_watches()
    assert (await looking).endpoints == KV_1_AND_2
    assert len(server.asked("list")) == 2


async def test_a_list_that_is_due_bounds_the_watch(discoverer: Discoverer, server: ApiServer, clock: Clock) -> None:
    discovery = discoverer.start(watch_seconds=60, relist_seconds=10)
    await find(discovery)
    server.put(with_kv_2())
    await find(discovery)
    assert int(server.asked("watch")[0]["timeoutSeconds"]) <= 12
