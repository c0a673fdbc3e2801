"""What scripts, probes and Prometheus rely on."""

from __future__ import annotations

import re

import pytest

from .conftest import Api


async def test_the_cluster_has_the_shape_that_scripts_rely_on(api: Api) -> None:
    await api.put("k")
    cluster = (await api.ask("GET", "/v1/cluster")).json
    assert (cluster["cluster"], cluster["member"]) == ("gossipkv", "gossipkv-0")
    (member,) = cluster["members"]
    identity = api.node.identity
    assert {name: member[name] for name in ("member", "status", "self", "replica", "incarnation", "zone")} == {
        "member": "gossipkv-0",
        "status": "alive",
        "self": True,
        "replica": f"{identity.replica:016x}",
        "incarnation": identity.incarnation,
        "zone": None,
    }
    assert {"name": "http", "endpoint": "http://m0:7080"} in member["protocols"]
    assert set(member["shards"]) == {"usr", "sys"}
    usr = member["shards"]["usr"]
    assert (usr["rows"], usr["tombstones"], usr["rows_behind"], usr["last_sync_seconds"]) == (1, 0, 0, None)
    assert re.fullmatch("[0-9a-f]{16}", usr["fingerprint"])
    assert (await api.ask("GET", "/v1/cluster/members")).json["items"][0]["member"] == "gossipkv-0"


async def test_the_fingerprint_changes_with_each_write(api: Api) -> None:
    async def fingerprint() -> str:
        return str((await api.ask("GET", "/v1/cluster")).json["members"][0]["shards"]["usr"]["fingerprint"])

    empty = await fingerprint()
    await api.put("k")
    assert await fingerprint() != empty
    await api.delete("k")
    assert await fingerprint() == empty


async def test_a_member_that_moves_is_live_and_one_that_does_not_is_not(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await api.ask("GET", "/livez")).status == 200
    monkeypatch.setattr(type(api.node), "is_live", False)
    answer = await api.ask("GET", "/livez")
    assert (answer.status, answer.problem) == (503, "not-live")


async def test_a_member_is_ready_once_it_has_been_brought_up_to_date(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.node.wait_ready()
    assert (await api.ask("GET", "/readyz")).status == 200
    monkeypatch.setattr(type(api.node), "is_ready", False)
    answer = await api.ask("GET", "/readyz")
    assert (answer.status, answer.problem) == (503, "not-ready")


async def test_a_storage_that_does_not_move_leaves_probes_and_reads_answering(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stuck() -> None:
        raise TimeoutError

    await api.put("k", b"value")
    monkeypatch.setattr(api.node, "status", stuck)
    for path in ("/v1/cluster", "/v1/cluster/members", "/metrics"):
        answer = await api.ask("GET", path)
        assert (answer.status, answer.problem) == (503, "storage-stuck")
        assert answer.headers["Retry-After"] == "1"
    for path in ("/livez", "/v1/usr/tables/t/rows/k", "/v1/usr/tables/t/rows", "/v1/usr/tables"):
        assert (await api.ask("GET", path)).status == 200


async def test_metrics_are_in_the_format_of_prometheus_with_a_label_per_route(api: Api) -> None:
    for key in ("a", "b", "c"):
        await api.put(key)
    answer = await api.ask("GET", "/metrics")
    assert answer.headers["Content-Type"] == api.metrics.CONTENT_TYPE
    route = "/v1/{namespace}/tables/{table}/rows/{row}"
    assert f'gossipkv_http_requests_total{{method="PUT",route="{route}",status="201"}} 3.0' in answer.body.decode()
    assert 'gossipkv_rows{shard="usr"} 3.0' in answer.body.decode()
