"""Discovery against an API server that does what such servers do at times."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from gossipkv.discovery import watch_stream
from gossipkv.discovery.api_fault import ApiFaultError
from gossipkv.discovery.base import DiscoveryError, FoundMembers
from gossipkv.discovery.kubernetes import BREAKS_TOLERATED, PAGE_ITEMS, KubernetesDiscovery, in_cluster_client
from tests.discovery.api_server import (
    Answer,
    ApiServer,
    answering,
    answering_text,
    endpoint,
    endpoint_slice,
    line,
    streaming,
)
from tests.discovery.conftest import Clock, Discoverer, eventually, find, find_until
from tests.discovery.pods import BOTH, KV_1, KV_1_AND_2, fallback, is_sound, put_pods, with_kv_2

FORBIDDEN = (
    'endpointslices.discovery.k8s.io is forbidden: User "system:serviceaccount:shop:kv" cannot list resource '
    '"endpointslices" in API group "discovery.k8s.io" in the namespace "shop"'
)


@pytest.fixture(autouse=True)
def pods(server: ApiServer) -> None:
    put_pods(server)


async def test_a_version_that_is_forgotten_at_the_start_of_a_watch_is_listed_anew_at_once(
    discoverer: Discoverer, server: ApiServer, clock: Clock
) -> None:
    discovery = discoverer.start()
    await find(discovery)
    server.next["watch"].append(answering(410, "too old resource version"))
    assert await find(discovery) == FoundMembers(KV_1, BOTH, "north")
    assert [request["verb"] for request in server.requests][:3] == ["list", "watch", "list"]
    assert clock.pauses == []


async def test_a_version_that_is_forgotten_during_a_watch_is_listed_anew(
    discoverer: Discoverer, server: ApiServer
) -> None:
    discovery = discoverer.start()
    await find(discovery)
    looking = asyncio.create_task(find(discovery))
    await eventually(lambda: server.is_watched)
    server.put(with_kv_2(), silently=True)
    server.error(410)
    assert await looking == FoundMembers(KV_1_AND_2, BOTH | {"kv-2"}, "north")


async def test_a_list_that_expires_between_two_pages_begins_again(discoverer: Discoverer, server: ApiServer) -> None:
    for number in range(PAGE_ITEMS):
        server.put(endpoint_slice(f"more-{number:03}", endpoint(f"m-{number}", f"10.1.0.{number}")))

    async def expire(request: web.Request) -> web.StreamResponse:
        server.next["list"].append(answering(410))
        return server._list(request)

    server.next["list"].append(expire)
    found = await find(discoverer.start())
    assert is_sound(found)
    assert len(found.endpoints) == PAGE_ITEMS + 1
    assert [request.get("continue") for request in server.asked("list")] == [None, "100", None, "100"]


async def test_versions_that_are_always_forgotten_are_no_hot_loop(
    discoverer: Discoverer, server: ApiServer, clock: Clock
) -> None:
    server.always["list"] = answering(410)
    looking = asyncio.create_task(discoverer.start().find())
    await eventually(lambda: len(server.requests) >= 6)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert len(clock.pauses) >= len(server.requests) - 2
    assert clock.pauses[3] > clock.pauses[0]


async def test_a_refusal_says_in_one_line_which_role_to_grant_and_the_fallback_stands_in(
    discoverer: Discoverer, server: ApiServer
) -> None:
    server.always["list"] = answering(403, FORBIDDEN)
    discovery = discoverer.start(fallback)
    refused = [await find(discovery) for _ in range(3)]
    assert {found.failure for found in refused} == {refused[0].failure}
    assert refused[0] == FoundMembers(("http://10.9.9.9:7081",), failure=refused[0].failure)
    for words in (
        "service account shop/kv may not list EndpointSlices",
        "namespace shop",
        'apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["get", "list", "watch"]',
    ):
        assert words in refused[0].failure
    assert "\n" not in refused[0].failure
    server.always["list"] = None
    assert await find(discovery) == FoundMembers(KV_1, BOTH, "north")


async def test_a_role_that_allows_lists_alone_is_told_of_and_does_not_flap(
    discoverer: Discoverer, server: ApiServer
) -> None:
    server.always["watch"] = answering(403, FORBIDDEN.replace("cannot list", "cannot watch"))
    discovery = discoverer.start()
    assert is_sound(await find(discovery))
    refused = [await find(discovery) for _ in range(4)]
    assert all("may not watch EndpointSlices" in found.failure for found in refused)
    assert all(found.endpoints == KV_1 for found in refused)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (answering(401, "Unauthorized"), "token"),
        (answering(404, "the server could not find the requested resource"), "discovery.k8s.io/v1"),
        (answering(500, "etcdserver: leader changed"), "500 to list: etcdserver: leader changed"),
        (answering(503), "503"),
        (answering_text(502, "<html>bad gateway</html>"), "502"),
        (answering_text(200, "<html>log in</html>"), "no list of EndpointSlices"),
        (answering_text(200, '{"items": [', "application/json"), "no list of EndpointSlices"),
        (answering_text(200, "[]", "application/json"), "no list of EndpointSlices"),
        (answering_text(200, '{"items": [7], "metadata": {"resourceVersion": "1"}}'), "no list of EndpointSlices"),
        (streaming(b'{"items": [', breaks_off=True), "breaks off"),
    ],
    ids=["401", "404", "500", "503", "HTML 502", "HTML 200", "truncated", "array", "no slices", "broken off"],
)
async def test_a_list_that_fails_is_told_of_and_made_again_after_a_pause(
    discoverer: Discoverer, server: ApiServer, clock: Clock, answer: Answer, words: str
) -> None:
    server.always["list"] = answer
    discovery = discoverer.start(fallback)
    for _ in range(3):
        found = await find(discovery)
        assert words in found.failure
        assert (found.endpoints, found.members) == (("http://10.9.9.9:7081",), None)
    assert len(clock.pauses) == 2
    server.always["list"] = None
    assert await find(discovery) == FoundMembers(KV_1, BOTH, "north")


async def test_pauses_grow_to_a_bound_and_shrink_again_after_a_steady_watch(
    discoverer: Discoverer, server: ApiServer, clock: Clock
) -> None:
    server.always["list"] = answering(500)
    discovery = discoverer.start(pause_seconds_min=1, pause_seconds_max=8)
    for _ in range(9):
        await find(discovery)
    for pause, bound in zip(clock.pauses, (1, 2, 4, 8, 8, 8, 8, 8), strict=True):
        assert bound / 2 <= pause <= bound
    server.always["list"] = None
    await find(discovery)
    clock.now_seconds += 5
    server.put(with_kv_2())
    await find(discovery)
    clock.pauses.clear()
    server.always["list"] = server.always["watch"] = answering(500)
    server.error(500)
    await find(discovery)
    await find(discovery)
    assert clock.pauses[0] <= 1


async def test_too_many_requests_are_answered_by_the_wait_that_is_asked_for(
    discoverer: Discoverer, server: ApiServer, clock: Clock
) -> None:
    server.next["list"].append(answering(429, "slow down", {"Retry-After": "17"}))
    discovery = discoverer.start()
    assert "429" in (await find(discovery)).failure
    assert is_sound(await find(discovery))
    assert clock.pauses == [17]


async def test_a_wait_without_end_is_not_believed(discoverer: Discoverer, server: ApiServer, clock: Clock) -> None:
    server.next["list"] += [answering(429, "", {"Retry-After": after}) for after in ("999999999", "Wed, 21 Oct 2026")]
    discovery = discoverer.start(pause_seconds_max=8)
    await find_until(discovery, is_sound)
    assert clock.pauses[0] == 120
    assert clock.pauses[1] <= 8


@pytest.mark.parametrize(
    "answer",
    [
        streaming(b'{"type": "ADDED", "obj'),
        streaming(line("ADDED", {"metadata": {"name": "x", "resourceVersion": "1"}, "endpoints": [7]})),
        streaming(b"<html>bad gateway</html>\n"),
        streaming(b"\xff\xfe\n"),
        streaming(b"7\n"),
        streaming(line("MODIFIED", {"metadata": {}})),
        streaming(b'{"type": "ADDED"', breaks_off=True),
        streaming(b"x" * 200_000, stalls=True),
    ],
    ids=["truncated", "no slice", "HTML", "no text", "no event", "no version", "broken off", "endless line"],
)
async def test_a_watch_that_cannot_be_followed_is_replaced_by_a_list_after_a_pause(
    discoverer: Discoverer, server: ApiServer, clock: Clock, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(watch_stream.WatchStream.__init__, "__defaults__", (100_000,))
    discovery = discoverer.start()
    await find(discovery)
    server.next["watch"].append(answer)
    server.put(with_kv_2(), silently=True)
    assert await find(discovery) == FoundMembers(KV_1_AND_2, BOTH | {"kv-2"}, "north")
    assert len(clock.pauses) == 1


async def test_watches_that_break_off_again_and_again_are_told_of_while_lists_still_help(
    discoverer: Discoverer, server: ApiServer, clock: Clock
) -> None:
    server.always["watch"] = streaming(b"{", breaks_off=True)
    discovery = discoverer.start()
    found = [await find(discovery) for _ in range(BREAKS_TOLERATED + 3)]
    assert [is_sound(one) for one in found] == [True] * (BREAKS_TOLERATED + 1) + [False] * 2
    assert {one.failure for one in found[-2:]} == {"the watch of EndpointSlices broke off: ClientPayloadError"}
    assert all((one.endpoints, one.members) == (KV_1, BOTH) for one in found)
    assert len(clock.pauses) >= len(server.asked("watch")) - 1
    server.always["watch"] = None
    await find(discovery)
    clock.now_seconds += 60
    server.put(with_kv_2())
    assert (await find_until(discovery, is_sound))[-1].endpoints == KV_1_AND_2


async def test_watches_that_are_closed_at_once_are_no_hot_loop(
    discoverer: Discoverer, server: ApiServer, clock: Clock
) -> None:
    server.always["watch"] = streaming()
    discovery = discoverer.start(pause_seconds_min=1, pause_seconds_max=30)
    await find(discovery)
    looking = asyncio.create_task(discovery.find())
    await eventually(lambda: len(server.asked("watch")) >= 8)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert len(clock.pauses) >= len(server.asked("watch")) - 1
    assert max(clock.pauses) > 10


async def test_a_watch_that_stalls_is_given_up_and_what_it_missed_is_listed(
    discoverer: Discoverer, server: ApiServer
) -> None:
    discovery = discoverer.start(watch_seconds=1, stall_seconds=0.05)
    await find(discovery)
    server.next["watch"].append(streaming(stalls=True))
    server.put(with_kv_2(), silently=True)
    assert await find(discovery) == FoundMembers(KV_1_AND_2, BOTH | {"kv-2"}, "north")


async def test_a_list_that_stalls_is_given_up(discoverer: Discoverer, server: ApiServer) -> None:
    server.always["list"] = streaming(b"{", stalls=True)
    assert "does not answer in time" in (await find(discoverer.start(list_timeout_seconds=0.05))).failure


async def test_an_outage_removes_no_one_and_ends_when_the_server_is_back(
    discoverer: Discoverer, server: ApiServer
) -> None:
    discovery = discoverer.start()
    await find(discovery)
    looking = asyncio.create_task(find_until(discovery, lambda found: "cannot be reached" in found.failure))
    await eventually(lambda: server.is_watched)
    await server.stop()
    during = await looking
    assert all(found.endpoints == KV_1 for found in during)
    assert during[-1].members is None
    again = [await find(discovery) for _ in range(3)]
    assert {found.failure for found in again} == {during[-1].failure}
    server.put(with_kv_2(), silently=True)
    await server.start()
    assert (await find_until(discovery, is_sound))[-1] == FoundMembers(KV_1_AND_2, BOTH | {"kv-2"}, "north")


async def test_a_fallback_that_fails_too_is_told_of_and_the_last_known_endpoints_stand(
    discoverer: Discoverer, server: ApiServer
) -> None:
    async def failing() -> tuple[str, ...]:
        raise DiscoveryError("looking up kv: no such name")

    discovery = discoverer.start(failing)
    await find(discovery)
    server.always["list"] = server.always["watch"] = answering(500)
    found = await find(discovery)
    assert found.endpoints == KV_1
    assert "500" in found.failure
    assert "no such name" in found.failure


# Access


def test_outside_a_pod_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ApiFaultError, match="automountServiceAccountToken"):
        in_cluster_client()


async def test_a_pod_without_a_token_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    discovery = KubernetesDiscovery("kv-headless", "shop", "kv-0", 7081, fallback)
    found = await find(discovery)
    assert found.endpoints == ("http://10.9.9.9:7081",)
    assert "automountServiceAccountToken" in found.failure
    await discovery.close()


async def test_a_token_that_is_not_accepted_is_read_again(server: ApiServer, clock: Clock) -> None:
    from kubernetes.aio.client import ApiClient, Configuration

    connections: list[Configuration] = []

    def connect() -> ApiClient:
        connections.append(Configuration(host=server.url))
        return ApiClient(connections[-1])

    server.next["list"].append(answering(401))
    discovery = KubernetesDiscovery(
        "kv-headless", "shop", "kv-0", 7081, connect=connect, clock=clock.read, sleep=clock.sleep
    )
    await find_until(discovery, is_sound)
    await discovery.close()
    assert len(connections) == 2
