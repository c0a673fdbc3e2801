from __future__ import annotations

import asyncio
import random

from gossipkv.client.servers.endpoints import PAUSE_S_MAX, PAUSE_S_MIN, Choice, Endpoints
from gossipkv.client.servers.probe import probe
from gossipkv.client.servers.requests import Requests
from tests.client.contract_server import ContractServer

URLS = ["http://a", "http://b", "http://c"]


def round_robin() -> Endpoints:
    return Endpoints(URLS, Choice.ROUND_ROBIN, random.Random(1))


def orders(endpoints: Endpoints, count: int, preferred: str | None = None) -> list[list[str]]:
    return [[endpoint.url for endpoint in endpoints.order(preferred)] for _ in range(count)]


def test_healthy_servers_are_asked_in_turn() -> None:
    assert sorted(order[0] for order in orders(round_robin(), 6)) == sorted(URLS * 2)


def test_clients_begin_at_different_servers() -> None:
    assert {Endpoints(URLS, Choice.ROUND_ROBIN, random.Random(seed)).order()[0].url for seed in range(50)} == set(URLS)


def test_a_failing_server_is_asked_last_until_it_answers_again() -> None:
    endpoints = round_robin()
    failing = endpoints.order()[0]
    endpoints.failed(failing, now_s=0)
    assert {order[-1] for order in orders(endpoints, 6)} == {failing.url}
    endpoints.succeeded(failing)
    assert {order[0] for order in orders(endpoints, 3)} == set(URLS)


def test_when_all_fail_the_one_that_is_due_soonest_is_asked_first() -> None:
    endpoints = round_robin()
    for delay_s, endpoint in enumerate(endpoints.order()):
        endpoints.failed(endpoint, now_s=0, retry_after_s=30 - delay_s)
    due = [endpoint.retry_at_s for endpoint in endpoints.order()]
    assert due == [28, 29, 30]


def test_the_pause_doubles_with_each_failure_up_to_a_limit_and_heeds_what_the_server_asks() -> None:
    endpoints = round_robin()
    endpoint = endpoints.order()[0]
    for number in range(12):
        endpoints.failed(endpoint, now_s=100)
        longest_s = min(PAUSE_S_MIN * 2**number, PAUSE_S_MAX)
        assert 100 + longest_s / 2 <= endpoint.retry_at_s <= 100 + longest_s
    endpoints.failed(endpoint, now_s=100, retry_after_s=500)
    assert endpoint.retry_at_s == 600


def test_a_preferred_server_is_asked_first_while_it_is_healthy() -> None:
    endpoints = round_robin()
    assert {order[0] for order in orders(endpoints, 3, "http://b")} == {"http://b"}
    endpoints.failed(next(each for each in endpoints.order() if each.url == "http://b"), now_s=0)
    assert "http://b" not in {order[0] for order in orders(endpoints, 3, "http://b")}


def test_in_order_the_one_that_answered_last_stays_first() -> None:
    endpoints = Endpoints(URLS, Choice.IN_ORDER)
    assert orders(endpoints, 2) == [URLS, URLS]
    endpoints.succeeded(endpoints.order()[1])
    assert orders(endpoints, 1) == [["http://b", "http://c", "http://a"]]


async def test_a_probe_brings_a_server_back_that_is_ready_again() -> None:
    async with ContractServer().running() as server:
        server.is_ready = False
        endpoints = Endpoints([server.url, "http://127.0.0.1:1"], Choice.ROUND_ROBIN)
        requests = Requests(endpoints, timeout_s=5, connect_timeout_s=1)
        await requests.open()
        endpoint = next(each for each in endpoints.order() if each.url == server.url)
        endpoints.failed(endpoint, asyncio.get_running_loop().time() - 60)
        task = asyncio.create_task(probe(requests))
        async with asyncio.timeout(20):
            while endpoint.failures < 2:
                await asyncio.sleep(0.01)
            server.is_ready = True
            while not endpoint.is_healthy:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await requests.close()
