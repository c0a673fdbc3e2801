"""What the chart renders, before a real API server with the kinds of the Prometheus operator and the Gateway API.

No node runs: admission, defaults and validation are as in a cluster, and nothing is reconciled.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.chart_rendering import (
    CHART,
    FULLNAME,
    NAMESPACE,
    RELEASE,
    VALUES_FILES,
    rendered,
    rendered_text,
    run_helm,
)
from tests.kubernetes.cluster.api_server import ApiServer, running_api_server
from tests.kubernetes.cluster.processes import ClusterError
from tests.kubernetes.cluster.tools import Tools

RESTRICTED = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]


@pytest.fixture(scope="module")
def api_server() -> Iterator[ApiServer]:
    with running_api_server(Tools.default()) as server:
        server.install_crds()
        for namespace in (NAMESPACE, "monitoring"):
            server.kubectl("create", "namespace", namespace)
        server.kubectl("label", "namespace", NAMESPACE, *RESTRICTED)
        yield server


def dry_run(api_server: ApiServer, manifest: str) -> str:
    """Raises ClusterError at a refusal, at an unknown field and at a warning."""
    strictly = ("--dry-run=server", "--validate=strict", "--warnings-as-errors")
    return api_server.kubectl("apply", *strictly, "--filename=-", text_in=manifest)


@pytest.mark.parametrize("name", [None, *VALUES_FILES])
def test_a_restricted_namespace_takes_every_object(name: str | None, api_server: ApiServer) -> None:
    files = [name] if name else []
    said = dry_run(api_server, rendered_text(*files))
    assert said.count("created (server dry run)") == len(rendered(*files))


@pytest.mark.parametrize("value", ["containerSecurityContext.allowPrivilegeEscalation", "podSecurityContext.runAsUser"])
def test_the_namespace_is_restricted_indeed(value: str, api_server: ApiServer) -> None:
    less = rendered_text(values={value: True if value.endswith("Escalation") else 0})
    with pytest.raises(ClusterError, match="restricted:latest"):
        dry_run(api_server, less)


def test_an_unknown_field_is_refused(api_server: ApiServer) -> None:
    service = rendered().only("Service", FULLNAME)
    service["spec"]["sessionAfinity"] = "None"
    with pytest.raises(ClusterError, match="sessionAfinity"):
        dry_run(api_server, yaml.safe_dump(service))


def helm(api_server: ApiServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_helm(*arguments, f"--namespace={NAMESPACE}", f"--kubeconfig={api_server.kubeconfig}")


def test_a_release_is_upgraded_from_another_version_of_the_chart(api_server: ApiServer, tmp_path: Path) -> None:
    earlier = tmp_path / "gossipkv"
    shutil.copytree(CHART, earlier)
    text = (earlier / "Chart.yaml").read_text()
    (earlier / "Chart.yaml").write_text(re.sub(r"(?m)^version: .*$", "version: 0.0.1", text))
    installed = helm(api_server, "install", RELEASE, str(earlier), "--set=commonLabels.team=one")
    assert installed.returncode == 0, installed.stderr
    try:
        changes = "commonLabels.team=two,replicaCount=5,persistentVolumeClaimRetentionPolicy.whenScaled=Delete"
        upgraded = helm(api_server, "upgrade", RELEASE, str(CHART), f"--set={changes}")
        assert upgraded.returncode == 0, upgraded.stderr
        kept = yaml.safe_load(api_server.kubectl("get", "statefulset", FULLNAME, f"-n{NAMESPACE}", "-oyaml"))
        assert kept["spec"]["replicas"] == 5
        assert kept["metadata"]["labels"]["helm.sh/chart"] != "gossipkv-0.0.1"
    finally:
        assert helm(api_server, "uninstall", RELEASE).returncode == 0
