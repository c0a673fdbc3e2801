"""The files of deployment/ before the tools that read them: shellcheck, helm, and a real API server.

The API server is asked for dry runs: admission, defaults and validation as in a cluster, and nothing is kept.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.chart_rendering import CHART, run_helm
from tests.kubernetes.cluster.api_server import ApiServer, running_api_server
from tests.kubernetes.cluster.processes import ClusterError
from tests.kubernetes.cluster.tools import Tools

DEPLOYMENT = Path(__file__).parents[2] / "deployment"
SCRIPTS = sorted(DEPLOYMENT.glob("*/*.sh"))
INSTALLS = (
    ("local/values.yaml",),
    ("local/values.yaml", "local/values-monitoring.yaml"),
    ("aws/values-eks.yaml",),
    ("aws/values-eks.yaml", "local/values-monitoring.yaml"),
    ("aws/values-eks.yaml", "aws/values-strict-zones.yaml", "aws/values-nlb.yaml"),
)
"""What the READMEs install, as values files in order."""


@pytest.fixture(scope="module")
def api_server() -> Iterator[ApiServer]:
    tools = Tools.default()
    tools.build_missing(print)
    with running_api_server(tools) as server:
        server.install_crds()
        yield server


def dry_run(server: ApiServer, manifest: str) -> list[str]:
    """What the server says to each object. Raises ClusterError when it refuses one."""
    said = server.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "--filename=-", text_in=manifest
    )
    return said.splitlines()


def rendered(names: tuple[str, ...]) -> list[dict[str, Any]]:
    files = [f"--values={DEPLOYMENT / name}" for name in names]
    ended = run_helm("template", "gossipkv", str(CHART), "--namespace=default", *files)
    assert ended.returncode == 0, ended.stderr
    objects = [each for each in yaml.safe_load_all(ended.stdout) if each]
    assert {"StatefulSet", "Service"} <= {each["kind"] for each in objects}
    return objects


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing_in_a_script(script: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    assert shellcheck, "shellcheck is not on PATH: apt-get install shellcheck"
    ended = subprocess.run([shellcheck, str(script)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_there_are_scripts_to_check() -> None:
    assert {path.name for path in SCRIPTS} >= {"push.sh", "repository.sh", "teardown.sh"}


def test_the_storage_class_is_one_to_an_api_server(api_server: ApiServer) -> None:
    said = dry_run(api_server, (DEPLOYMENT / "aws" / "storage-class.yaml").read_text())
    assert said == ["storageclass.storage.k8s.io/gossipkv-gp3 created (server dry run)"]


def test_the_api_server_refuses_a_storage_class_with_an_unknown_field(api_server: ApiServer) -> None:
    manifest = (DEPLOYMENT / "aws" / "storage-class.yaml").read_text()
    with pytest.raises(ClusterError, match="allowsVolumeExpansion"):
        dry_run(api_server, manifest.replace("allowVolumeExpansion", "allowsVolumeExpansion"))


@pytest.mark.parametrize("names", INSTALLS, ids=" ".join)
def test_an_install_is_rendered_to_objects_that_an_api_server_takes(
    api_server: ApiServer, names: tuple[str, ...]
) -> None:
    objects = rendered(names)
    said = dry_run(api_server, yaml.safe_dump_all(objects))
    assert len([line for line in said if line.endswith("(server dry run)")]) == len(objects)


def test_the_dashboards_install_has_the_objects_of_the_prometheus_operator() -> None:
    kinds = {each["kind"] for each in rendered(("local/values.yaml", "local/values-monitoring.yaml"))}
    assert {"ServiceMonitor", "PrometheusRule", "ConfigMap"} <= kinds


def test_every_values_file_of_the_chart_is_part_of_an_install_here() -> None:
    found = {str(path.relative_to(DEPLOYMENT)) for path in DEPLOYMENT.glob("*/values*.yaml")}
    assert found - {"local/values-prometheus-stack.yaml"} == {name for names in INSTALLS for name in names}


def test_members_on_eks_are_one_in_each_zone_or_wait_when_told_to_be_strict() -> None:
    objects = rendered(("aws/values-eks.yaml", "aws/values-strict-zones.yaml"))
    (members,) = [each for each in objects if each["kind"] == "StatefulSet"]
    zone, _ = members["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert (zone["topologyKey"], zone["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "DoNotSchedule")
    assert zone["labelSelector"]["matchLabels"] == members["spec"]["selector"]["matchLabels"]


def test_the_network_policy_on_eks_keeps_gossip_among_members() -> None:
    (policy,) = [each for each in rendered(("aws/values-eks.yaml",)) if each["kind"] == "NetworkPolicy"]
    (gossip,) = [rule for rule in policy["spec"]["ingress"] if 7081 in {each["port"] for each in rule["ports"]}]
    assert gossip["from"] == [{"podSelector": policy["spec"]["podSelector"]}]
