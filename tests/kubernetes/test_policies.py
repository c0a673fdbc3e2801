from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

from tests.kubernetes.client_pod import ClientPod
from tests.kubernetes.cluster_under_test import ClusterUnderTest
from tests.kubernetes.kubectl import Kubectl, until
from tests.kubernetes.release import CHART, Release
from tests.kubernetes.summary import Summary


def _claims(kubectl: Kubectl) -> list[str]:
    return [each["metadata"]["name"] for each in kubectl.get("persistentvolumeclaims")["items"]]


def test_a_release_without_persistence_works_and_refills_a_lost_member(
    cluster_under_test: ClusterUnderTest, namespaces: Callable[[], Kubectl], summary: Summary
) -> None:
    release = Release(namespaces(), "gossipkv-fleeting", cluster_under_test.image)
    release.install("persistence.enabled=false", "replicaCount=2", "preStopSleepSeconds=0")
    client = ClientPod(release)
    client.start()
    rows = client.write("fleeting", (f"row {number}" for number in range(300)))
    release.wait_converged(2)
    assert not _claims(release.kubectl)
    victim = f"{release.name}-0"
    replica = release.replica_ids()[victim]
    took_s = release.replace(victim) + release.wait_converged(2)
    assert release.replica_ids()[victim] != replica
    assert release.rows(victim, "fleeting") == rows
    summary.add("persistence.enabled=false", f"a member whose pod was deleted is full again after {took_s:.1f} s")
    release.uninstall()


@pytest.mark.parametrize(("policy", "kept"), [("Retain", 1), ("Delete", 0)])
def test_uninstalling_leaves_what_the_retention_policy_says(
    cluster_under_test: ClusterUnderTest, namespaces: Callable[[], Kubectl], summary: Summary, policy: str, kept: int
) -> None:
    release = Release(namespaces(), "gossipkv", cluster_under_test.image)
    retention = () if policy == "Retain" else (f"persistentVolumeClaimRetentionPolicy.whenDeleted={policy}",)
    release.install("replicaCount=1", "preStopSleepSeconds=0", "settings.bootstrap_timeout_ms=1000", *retention)
    assert len(_claims(release.kubectl)) == 1
    release.uninstall()
    until(lambda: not release.pods(), "the pod is gone")
    until(lambda: len(_claims(release.kubectl)) == kept, f"{kept} claims are left")
    left = release.kubectl("get", "statefulset,service,role,rolebinding,poddisruptionbudget", "--output=name").split()
    assert not [name for name in left if "gossipkv" in name]
    summary.add("uninstall", f"{policy}: {kept} of 1 volume claims left")


def test_the_network_policy_is_one_that_the_api_server_takes(release: Release, summary: Summary) -> None:
    rendered = release.kubectl.helm("template", release.name, str(CHART), "--set=networkPolicy.enabled=true")
    policies = [each for each in yaml.safe_load_all(rendered) if each and each["kind"] == "NetworkPolicy"]
    assert len(policies) == 1
    release.kubectl.apply(*policies, dry_run=True)
    summary.add(
        "network policy",
        "rendered and taken by the API server; its effect is not tested, which needs a network plugin that enforces it",
    )
