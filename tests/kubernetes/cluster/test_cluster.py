"""Clusters are started and ended here as `python -m tests.kubernetes.cluster` does it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.cluster import network
from tests.kubernetes.cluster.cluster import Cluster
from tests.kubernetes.cluster.components import PAUSE_IMAGE
from tests.kubernetes.cluster.processes import ClusterError, wait_until

_ROOT = Path(__file__).parents[3]
_STARTER = """
import pathlib, signal, sys
from tests.kubernetes.cluster.cluster import Cluster
Cluster.up(pathlib.Path(sys.argv[1]), print, ends_with_caller=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    started = Cluster.up(tmp_path_factory.mktemp("cluster"), _say_nothing, ends_with_caller=True)
    yield started
    if started.directory.exists():
        started.down()


def _say_nothing(_: str) -> None:
    """Nobody reads along."""


def _left_of(cluster: Cluster) -> list[str]:
    """What of a cluster can be seen on the machine."""
    name = cluster.addresses.name
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{name}")]
    interfaces = [path.name for path in Path("/sys/class/net").iterdir() if path.name == name]
    mounts = [line for line in Path("/proc/mounts").read_text("utf-8").splitlines() if str(cluster.directory) in line]
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(cluster.directory) in command:
            commands.append(command)
    return [*groups, *interfaces, *mounts, *commands]


def _pod(name: str, *, is_restricted: bool) -> str:
    container: dict[str, object] = {"name": "pause", "image": PAUSE_IMAGE, "imagePullPolicy": "IfNotPresent"}
    spec: dict[str, object] = {"containers": [container]}
    if is_restricted:
        container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        spec["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


_VOLUME_CLAIM = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
)


def test_a_restricted_namespace_takes_a_modest_pod_with_a_volume_and_no_other(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "strict")
    cluster.kubectl("label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted")
    within = ("--namespace", "strict")
    cluster.kubectl("apply", *within, "-f", "-", text_in=_VOLUME_CLAIM)
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        cluster.kubectl("create", *within, "-f", "-", text_in=_pod("bold", is_restricted=False))
    wait_until(lambda: _has_default_account(cluster, "strict"), "the namespace has its account", 30.0)
    cluster.kubectl("create", *within, "-f", "-", text_in=_pod("modest", is_restricted=True))
    cluster.kubectl("wait", *within, "--for=condition=Ready", "--timeout=60s", "pod/modest")
    volumes = cluster.directory / "var" / "local-volumes"
    assert len(list(volumes.iterdir())) == 1
    cluster.kubectl("delete", "namespace", "strict")
    wait_until(lambda: not list(volumes.iterdir()), "the volume goes with its claim", 30.0)


def _has_default_account(cluster: Cluster, namespace: str) -> bool:
    return bool(cluster.kubectl("get", "serviceaccounts", "--namespace", namespace, "-o", "name"))


def test_the_api_server_can_be_stopped_and_started(cluster: Cluster) -> None:
    cluster.stop("kube-apiserver")
    with pytest.raises(ClusterError):
        cluster.kubectl("get", "--raw", "/readyz")
    # Another program finds the cluster by its directory.
    Cluster.open(cluster.directory).start("kube-apiserver")
    assert cluster.kubectl("get", "--raw", "/readyz") == "ok"


def test_a_monitor_of_a_service_can_be_made_once_it_is_defined(cluster: Cluster) -> None:
    cluster.install_crds()
    monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": "some"}}
    text = json.dumps({**monitor, "spec": {"selector": {}, "endpoints": [{"port": "http"}]}})
    assert "created" in cluster.kubectl("apply", "-f", "-", text_in=text)


def test_a_cluster_that_has_ended_leaves_nothing_behind(cluster: Cluster) -> None:
    assert _left_of(cluster)
    cluster.down()
    assert _left_of(cluster) == []
    assert not cluster.directory.exists()


def test_a_directory_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(ClusterError, match="is not empty"):
        Cluster.up(tmp_path, _say_nothing)
    assert (tmp_path / "something").exists()


def test_a_cluster_dies_with_its_starter_and_can_be_cleared_away(tmp_path: Path) -> None:
    directory = tmp_path / "cluster"
    with subprocess.Popen([sys.executable, "-c", _STARTER, str(directory)], cwd=_ROOT, stdout=subprocess.DEVNULL) as up:
        try:
            wait_until((directory / "logs" / "kube-apiserver.log").exists, "the cluster is half started", 60.0)
        finally:
            up.send_signal(signal.SIGKILL)
    cluster = Cluster.open(directory)
    wait_until(lambda: not cluster.is_alive(), "the cluster dies", 30.0)
    cluster.down()
    assert _left_of(cluster) == []


def test_two_clusters_have_networks_of_their_own() -> None:
    first, second = network.connect(), network.connect()
    try:
        assert first.range != second.range
        assert len({first.name, second.name}) == 2
        assert all(Path("/sys/class/net", each.name).exists() for each in (first, second))
    finally:
        network.disconnect(first)
        network.disconnect(second)
