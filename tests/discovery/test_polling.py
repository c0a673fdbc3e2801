"""Sources that are asked now and then."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from gossipkv.discovery import interval
from gossipkv.discovery.base import Discovery, DiscoveryError, FoundMembers
from gossipkv.discovery.dns import DnsDiscovery
from gossipkv.discovery.static import StaticDiscovery


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses made, which take no time."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(interval, "sleep", sleep)
    return made


@pytest.mark.parametrize("discovery", [StaticDiscovery(["http://a:1"], 10), DnsDiscovery("127.0.0.1", 1, 10)])
async def test_the_first_look_is_at_once_and_each_later_one_after_the_interval_more_or_less(
    discovery: Discovery, pauses: list[float]
) -> None:
    await discovery.find()
    assert pauses == []
    for _ in range(20):
        await discovery.find()
    assert len(pauses) == 20
    assert all(8 <= pause <= 12 for pause in pauses)
    assert len(set(pauses)) > 10
    await discovery.close()


async def test_a_fixed_list_is_found_as_it_is() -> None:
    assert await StaticDiscovery(["http://a:1", "http://b:1"]).find() == FoundMembers(("http://a:1", "http://b:1"))


async def test_all_addresses_of_a_name_are_found_in_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        kind = (socket.SOCK_STREAM, 6, "")
        return [
            (socket.AF_INET6, *kind, ("fd00::1", 7081, 0, 0)),
            (socket.AF_INET, *kind, ("10.0.0.1", 7081)),
            (socket.AF_INET, *kind, ("10.0.0.1", 7081)),
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    found = await DnsDiscovery("kv", 7081).find()
    assert found == FoundMembers(("http://10.0.0.1:7081", "http://[fd00::1]:7081"))


async def test_a_name_that_is_not_known_is_named_and_looked_up_again_after_the_interval(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    discovery = DnsDiscovery("kv.shop.svc", 7081, 10)
    for _ in range(2):
        with pytest.raises(DiscoveryError, match=r"kv\.shop\.svc"):
            await discovery.find()
    assert len(pauses) == 1
