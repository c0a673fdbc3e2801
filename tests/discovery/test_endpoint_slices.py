"""What the slices of a Service say of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from gossipkv.discovery.base import FoundMembers
from gossipkv.discovery.endpoint_slices import EndpointSlices, SliceError
from tests.discovery.api_server import endpoint, endpoint_slice


def found(*items: dict[str, Any]) -> FoundMembers:
    slices = EndpointSlices("kv-0", 9_999)
    slices.replace_all(list(items))
    return slices.found()


OWN = endpoint("kv-0", "10.0.0.1")


def test_all_slices_and_both_families_count() -> None:
    assert found(
        endpoint_slice("four", OWN, endpoint("kv-1", "10.0.0.2")),
        endpoint_slice("four-more", endpoint("kv-2", "10.0.0.3")),
        endpoint_slice("six", endpoint("kv-0", "fd00::1"), endpoint("kv-1", "fd00::2"), family="IPv6"),
    ) == FoundMembers(
        ("http://10.0.0.2:7081", "http://10.0.0.3:7081", "http://[fd00::2]:7081"), frozenset({"kv-0", "kv-1", "kv-2"})
    )


def test_pods_that_are_not_ready_or_terminating_count_as_well() -> None:
    waiting = endpoint("kv-1", "10.0.0.2", ready=False, serving=False, terminating=False)
    ending = endpoint("kv-2", "10.0.0.3", ready=False, serving=False, terminating=True)
    assert len(found(endpoint_slice("a", OWN, waiting, ending)).endpoints) == 2


def test_an_endpoint_that_stands_in_two_slices_counts_once() -> None:
    moving = endpoint("kv-1", "10.0.0.2")
    assert found(endpoint_slice("a", OWN, moving), endpoint_slice("b", moving)).endpoints == ("http://10.0.0.2:7081",)


def test_the_port_is_the_one_named_gossip_or_else_the_configured_one() -> None:
    other = endpoint("kv-1", "10.0.0.2")
    assert found(endpoint_slice("a", other, gossip_port=7_777)).endpoints == ("http://10.0.0.2:7777",)
    assert found(endpoint_slice("a", other, gossip_port=None)).endpoints == ("http://10.0.0.2:9999",)
    assert found(endpoint_slice("a", other) | {"ports": None}).endpoints == ("http://10.0.0.2:9999",)


def test_a_member_without_a_pod_is_named_for_its_host() -> None:
    by_host = {"addresses": ["10.0.0.2"], "hostname": "kv-1", "targetRef": {"kind": "Node", "name": "n"}}
    own_by_host = {"addresses": ["10.0.0.1"], "hostname": "kv-0"}
    assert found(endpoint_slice("a", by_host, own_by_host)) == FoundMembers(
        ("http://10.0.0.2:7081",), frozenset({"kv-0", "kv-1"})
    )


def test_members_are_not_known_where_an_endpoint_has_no_name() -> None:
    assert found(endpoint_slice("a", OWN, endpoint(None, "10.0.0.2"))) == FoundMembers(("http://10.0.0.2:7081",))


def test_members_are_not_known_where_the_own_one_is_missing() -> None:
    assert found() == FoundMembers(())
    assert found(endpoint_slice("a", endpoint("kv-1", "10.0.0.2"))).members is None


def test_the_zone_is_that_of_the_own_endpoint() -> None:
    own, other = endpoint("kv-0", "10.0.0.1", zone="north"), endpoint("kv-1", "10.0.0.2", zone="south")
    assert found(endpoint_slice("a", other, own)).zone == "north"
    assert found(endpoint_slice("a", other)).zone is None


def test_a_slice_of_nothing_is_none() -> None:
    empty = endpoint_slice("a") | {"endpoints": None}
    assert found(empty, endpoint_slice("b", OWN)) == FoundMembers((), frozenset({"kv-0"}))


@pytest.mark.parametrize(
    "item",
    [
        None,
        7,
        {},
        {"metadata": {}},
        {"metadata": {"name": 7}},
        {"metadata": {"name": "a"}, "endpoints": [7]},
        {"metadata": {"name": "a"}, "endpoints": [{}]},
        {"metadata": {"name": "a"}, "endpoints": 7},
        {"metadata": {"name": "a"}, "endpoints": [{"addresses": [7]}]},
        {"metadata": {"name": "a"}, "ports": [{"name": "gossip", "port": "x"}]},
    ],
)
def test_what_is_no_slice_is_refused_and_changes_nothing(item: object) -> None:
    slices = EndpointSlices("kv-0", 9_999)
    slices.replace_all([endpoint_slice("a", endpoint("kv-1", "10.0.0.2"))])
    before = slices.found()
    with pytest.raises(SliceError):
        slices.replace_all([item])
    with pytest.raises(SliceError):
        slices.put(item)
    assert slices.found() == before
