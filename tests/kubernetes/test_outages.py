from __future__ import annotations

import time

import pytest

from tests.kubernetes.client_pod import ClientPod, WriteLoad, figures
from tests.kubernetes.cluster_under_test import ClusterUnderTest
from tests.kubernetes.kubectl import until
from tests.kubernetes.release import Release
from tests.kubernetes.summary import Summary

_OUTAGE_S = 60.0


def test_without_its_role_a_member_says_which_and_finds_the_others_by_dns(
    release: Release, client: ClientPod, summary: Summary
) -> None:
    kubectl = release.kubectl
    binding = kubectl.get("rolebinding", release.name)
    kubectl("delete", "rolebinding", release.name)
    try:
        release.replace(*sorted(release.pods()))
        took_s = release.wait_converged(3)
        rows = client.write("no-role", (f"row {number}" for number in range(100)))
        release.wait_converged(3)
        for pod in release.ready_pods():
            assert release.rows(pod, "no-role") == rows
            said = [line for line in release.log(pod) if "endpointslices" in str(line).lower()]
            assert said, f"{pod} does not say what it lacks"
    finally:
        binding["metadata"] = {key: binding["metadata"][key] for key in ("name", "labels")}
        kubectl.apply(binding)
    summary.add("no permission", f"3 members found each other by DNS, equal {took_s:.1f} s after their pods were new")


@pytest.mark.controls_cluster
def test_an_outage_of_the_api_server_stops_no_writes_and_removes_no_member(
    release: Release, cluster_under_test: ClusterUnderTest, summary: Summary
) -> None:
    assert cluster_under_test.own is not None
    load = WriteLoad(release, "outage")
    load.start()
    before = release.lives()
    cluster_under_test.own.stop("kube-apiserver")
    try:
        # What is tested is that nothing happens for a minute, so there is no condition to wait for.
        time.sleep(_OUTAGE_S)
    finally:
        cluster_under_test.own.start("kube-apiserver")
    until(lambda: release.is_whole(3), "the members are seen again")
    account = load.stop()
    release.wait_converged(3)
    lost = set().union(*(load.lost(account, pod) for pod in release.ready_pods()))
    summary.add("API server away for a minute", figures(account, len(lost)))
    assert account["statuses"] == ["alive"]
    assert account["longest_pause_seconds"] < _OUTAGE_S / 2
    assert not lost
    assert release.lives() == before
    # Discovery goes on: a pod that is replaced is found at its new address.
    release.replace(f"{release.name}-2")
    found_s = release.wait_converged(3)
    summary.add("API server away for a minute", f"afterwards a new pod is found, equal {found_s:.1f} s")
