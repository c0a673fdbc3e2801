"""`make teardown` of deployment/aws, with stand-ins for its tools: what it deletes, in which order, what it asks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.deployment.stand_ins import Tools

SCRIPT = Path(__file__).parents[2] / "deployment" / "aws" / "teardown.sh"
VOLUMES = "pvc-1 vol-1 gossipkv/data-gossipkv-0\npvc-2 vol-2 gossipkv/data-gossipkv-1\n"
CHANGES = ("delete", "uninstall", "patch", "apply")


@pytest.fixture
def cluster(tools: Tools) -> Tools:
    """A cluster with two volumes and a load balancer."""
    tools.answer("get persistentvolumes", VOLUMES)
    tools.answer("get services", "gossipkv gossipkv\n")
    return tools


def teardown(tools: Tools, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"CLUSTER": "gossipkv", "REGION": "eu-central-1", "KUBECONFIG": "kubeconfig", "NAMESPACE": "gossipkv"}
    return tools.run(SCRIPT, known | environment, typed)


def changes(tools: Tools) -> list[str]:
    return [call for call in tools.calls if any(f" {word} " in f"{call} " for word in CHANGES)]


@pytest.mark.parametrize("choice", ["", "maybe", "YES"])
def test_without_a_choice_nothing_is_done(cluster: Tools, choice: str) -> None:
    outcome = teardown(cluster, KEEP_DATA=choice)
    assert outcome.returncode == 2
    assert "KEEP_DATA=yes" in outcome.stderr
    assert cluster.calls == []


@pytest.mark.parametrize("typed", ["", "\n", "yes\n", "gossip\n"])
def test_volumes_are_not_deleted_unless_the_name_of_the_cluster_is_typed(cluster: Tools, typed: str) -> None:
    outcome = teardown(cluster, typed, KEEP_DATA="no")
    assert outcome.returncode == 2
    assert "nothing was deleted" in outcome.stderr
    assert changes(cluster) == []


def test_one_who_is_asked_sees_the_volumes_first(cluster: Tools) -> None:
    outcome = teardown(cluster, KEEP_DATA="no")
    before, _, _ = outcome.stdout.partition("Type the name")
    assert "vol-1 gossipkv/data-gossipkv-0" in before
    assert "vol-2 gossipkv/data-gossipkv-1" in before


@pytest.mark.parametrize(("typed", "confirm"), [("gossipkv\n", ""), ("", "gossipkv")])
def test_all_goes_in_an_order_that_leaves_nothing_behind(cluster: Tools, typed: str, confirm: str) -> None:
    outcome = teardown(cluster, typed, KEEP_DATA="no", CONFIRM=confirm)
    assert outcome.returncode == 0, outcome.stderr
    order = [
        cluster.index(part)
        for part in (
            "delete service gossipkv",
            "helm uninstall",
            "delete persistentvolumeclaims",
            "wait --for delete persistentvolume/pvc-1",
            "wait --for delete persistentvolume/pvc-2",
            "eksctl delete cluster",
            "ec2 describe-volumes",
        )
    ]
    assert order == sorted(order)


def test_kept_volumes_are_retained_before_anything_is_deleted_and_named_at_the_end(cluster: Tools) -> None:
    outcome = teardown(cluster, KEEP_DATA="yes")
    assert outcome.returncode == 0, outcome.stderr
    done = changes(cluster)
    assert [call for call in done if "persistentvolumeclaims" in call] == []
    for call, volume in zip(done[:2], ("pvc-1", "pvc-2"), strict=True):
        assert f"patch persistentvolume {volume}" in call
        assert '"persistentVolumeReclaimPolicy": "Retain"' in call
    _, _, after = outcome.stdout.partition("these volumes were kept")
    assert "vol-1" in after
    assert "vol-2" in after


@pytest.mark.parametrize(
    "failing",
    [
        "get persistentvolumes",
        "delete service gossipkv",
        "delete ingresses",
        "get services",
        "helm uninstall",
        "delete persistentvolumeclaims",
        "wait --for delete persistentvolume/pvc-1",
    ],
)
def test_the_cluster_stays_while_something_that_would_be_left_behind_does_not_go(tools: Tools, failing: str) -> None:
    tools.answer(failing, status=1)
    tools.answer("get persistentvolumes", VOLUMES)
    tools.answer("get services", "gossipkv gossipkv\n")
    outcome = teardown(tools, KEEP_DATA="no", CONFIRM="gossipkv")
    assert outcome.returncode != 0
    assert [call for call in tools.calls if call.startswith("eksctl")] == []


def test_the_cluster_is_reached_by_name_and_not_by_whatever_the_file_said_before(cluster: Tools) -> None:
    teardown(cluster, KEEP_DATA="yes")
    assert cluster.calls[0] == (
        "aws eks update-kubeconfig --name gossipkv --region eu-central-1 --kubeconfig kubeconfig"
    )


def test_a_cluster_without_volumes_asks_nothing(tools: Tools) -> None:
    outcome = teardown(tools, KEEP_DATA="no")
    assert outcome.returncode == 0, outcome.stderr
    assert tools.index("eksctl delete cluster") > 0
