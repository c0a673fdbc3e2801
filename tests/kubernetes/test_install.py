from __future__ import annotations

from datetime import datetime

import pytest

from tests.kubernetes.client_pod import ClientPod
from tests.kubernetes.cluster.processes import ClusterError
from tests.kubernetes.release import CHART, Release
from tests.kubernetes.summary import Summary

_IDLE_MEMORY_MIB_MAX = 150
_RESIDENT = "print([line.split()[1] for line in open('/proc/1/status') if line.startswith('VmRSS')][0])"


def test_three_members_find_each_other_and_converge(release: Release, client: ClientPod, summary: Summary) -> None:
    rows = client.write("install", (f"row {number}" for number in range(500)))
    took_s = release.wait_converged(3)
    assert all(release.rows(pod, "install") == rows for pod in release.ready_pods())
    summary.add("converge", f"3 members equal {took_s:.1f} s after 500 rows were written through the Service")


def test_the_test_of_the_chart_passes(release: Release) -> None:
    said = release.kubectl.helm("test", release.name, "--timeout=120s")
    assert "Phase:          Succeeded" in said


def test_a_member_with_kubernetes_discovery_idles_in_little_memory(release: Release, summary: Summary) -> None:
    resident = {
        pod: int(release.kubectl("exec", pod, "--", "python", "-c", _RESIDENT)) / 1024 for pod in release.ready_pods()
    }
    summary.add("memory", ", ".join(f"{mib:.0f} MiB resident in {pod}" for pod, mib in sorted(resident.items())))
    assert max(resident.values()) < _IDLE_MEMORY_MIB_MAX


def test_members_start_quickly(release: Release, summary: Summary) -> None:
    for name, pod in release.pods().items():
        started = datetime.fromisoformat(pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"])
        served = next(line for line in release.log(name) if line["event"] == "serving")
        seconds = (datetime.fromisoformat(served["timestamp"]) - started).total_seconds()
        # Kubernetes tells the start in whole seconds.
        summary.add("start", f"{name} serves {seconds:.1f} s after its container started")
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_zone_of_the_node_reaches_the_table_of_members(release: Release) -> None:
    nodes = {node["metadata"]["name"]: node["metadata"]["labels"] for node in release.kubectl.get("nodes")["items"]}
    pods = release.pods()
    for view in release.views().values():
        for name in pods:
            labels = nodes[pods[name]["spec"]["nodeName"]]
            assert view[name]["zone"] == labels.get("topology.kubernetes.io/zone")


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("replicaCount=many", "replicaCount"),
        ("persistence.size=big", "size"),
        ("replicas=3", "replicas"),
        ("settings.gossip_interval=1", "gossip_interval"),
    ],
)
def test_a_wrong_value_fails_at_install_with_its_name(release: Release, setting: str, named: str) -> None:
    with pytest.raises(ClusterError, match=named):
        release.kubectl.helm("install", "gossipkv-wrong", str(CHART), f"--set={setting}")
    assert "gossipkv-wrong" not in release.kubectl.helm("list", "--short")


def test_the_namespace_enforces_the_restricted_standard(release: Release) -> None:
    namespace = release.kubectl.get("namespace", release.kubectl.namespace)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    container = {"name": "c", "image": release.image, "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "violating"}, "spec": {"containers": [container]}}
    with pytest.raises(ClusterError, match='violates PodSecurity "restricted'):
        release.kubectl.apply(pod)
