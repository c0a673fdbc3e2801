"""The chart as a whole: what it renders, how it is named, what it refuses."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.chart_rendering import (
    CHART,
    FULLNAME,
    HEADLESS,
    NAMESPACE,
    RELEASE,
    SELECTOR,
    VALUES_FILES,
    Rendered,
    refusal,
    rendered,
    rendered_text,
    run_helm,
    values_file,
)

VERSION_LABELS = {"helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"}


@pytest.fixture(scope="module")
def defaults() -> Rendered:
    return rendered()


# Linted and rendered as a whole


@pytest.mark.parametrize("name", [None, *VALUES_FILES])
def test_the_chart_is_strictly_clean(name: str | None) -> None:
    ended = run_helm("lint", "--strict", str(CHART), *([f"--values={values_file(name)}"] if name else []))
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", [None, *VALUES_FILES])
def test_every_object_is_named_placed_and_labelled(name: str | None) -> None:
    objects = rendered(*([name] if name else []))
    assert len(objects) >= 4
    identities = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(identities) == len(set(identities))
    for each in objects:
        if each["metadata"]["name"].endswith(("-as-map", "-as-text")):
            continue
        assert each["metadata"]["namespace"] in (NAMESPACE, "monitoring")
        labels = each["metadata"]["labels"]
        assert labels.keys() >= VERSION_LABELS | SELECTOR.keys()
        assert all(isinstance(value, str) and len(value) <= 63 for value in labels.values())


@pytest.mark.parametrize("name", [None, *VALUES_FILES])
def test_rendering_twice_is_rendering_once(name: str | None) -> None:
    files = [name] if name else []
    assert rendered_text(*files) == rendered_text(*files)


def test_the_defaults_make_these_objects(defaults: Rendered) -> None:
    assert sorted((each["kind"], each["metadata"]["name"]) for each in defaults) == [
        ("Pod", f"{FULLNAME}-test"),
        ("PodDisruptionBudget", FULLNAME),
        ("Role", FULLNAME),
        ("RoleBinding", FULLNAME),
        ("Service", FULLNAME),
        ("Service", HEADLESS),
        ("ServiceAccount", FULLNAME),
        ("StatefulSet", FULLNAME),
    ]


def test_the_chart_can_be_a_part_of_another(tmp_path: Path) -> None:
    parent = tmp_path / "shop"
    shutil.copytree(CHART, parent / "charts/gossipkv")
    dependency = {"name": "gossipkv", "version": ">=0-0", "condition": "gossipkv.enabled"}
    chart = {"apiVersion": "v2", "name": "shop", "version": "1.0.0", "dependencies": [dependency]}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(chart))
    values = {"global": {"region": "a"}, "gossipkv": {"enabled": True, "replicaCount": 5}}
    (parent / "values.yaml").write_text(yaml.safe_dump(values))
    assert rendered(chart=parent).only("StatefulSet", FULLNAME)["spec"]["replicas"] == 5
    assert not rendered(chart=parent, values={"gossipkv.enabled": False})


# Names


@pytest.mark.parametrize(
    ("release", "fullname"),
    [
        ("gossipkv", "gossipkv"),
        ("my-gossipkv", "my-gossipkv"),
        ("store", "store-gossipkv"),
        ("a.b", "a-b-gossipkv"),
    ],
)
def test_the_full_name_follows_the_release(release: str, fullname: str) -> None:
    assert rendered(release=release).only("StatefulSet")["metadata"]["name"] == fullname


def test_long_release_names_keep_within_the_limits_and_apart() -> None:
    names = {}
    for release in ("r" * 52 + "1", "r" * 52 + "2"):
        objects = rendered(release=release)
        names[release] = objects.only("StatefulSet")["metadata"]["name"]
        # The revision's label on pods is this name, a hyphen and up to ten characters.
        assert len(names[release]) <= 52
        assert all(len(each["metadata"]["name"]) <= 63 for each in objects)
    assert len(set(names.values())) == 2


def test_names_and_labels_can_be_given() -> None:
    objects = rendered("names")
    assert objects.only("StatefulSet")["metadata"]["name"] == "shared-store"
    selector = {"app.kubernetes.io/name": "store", "app.kubernetes.io/instance": RELEASE}
    assert objects.only("StatefulSet")["spec"]["selector"]["matchLabels"] == selector
    assert objects.pod["metadata"]["labels"] == selector | {"team": "store", "tier": "data"}
    assert objects.pod["metadata"]["annotations"] == {"example.com/scrape": "no"}
    assert all(each["metadata"]["labels"]["team"] == "store" for each in objects)


def test_labels_that_others_rely_on_cannot_be_overridden() -> None:
    given = {"commonLabels": dict.fromkeys([*SELECTOR, "app.kubernetes.io/component"], "other")}
    objects = rendered(values=given)
    assert objects.pod["metadata"]["labels"].items() >= SELECTOR.items()
    assert objects.only("Service", HEADLESS)["metadata"]["labels"]["app.kubernetes.io/component"] == "members"


# The StatefulSet


@pytest.mark.parametrize("name", [None, "ephemeral", "dns", "extensions"])
def test_scaling_changes_no_pod(name: str | None) -> None:
    files = [name] if name else []
    one, seven = (rendered(*files, values={"replicaCount": count}) for count in (1, 7))
    assert [each.only("StatefulSet")["spec"]["replicas"] for each in (one, seven)] == [1, 7]
    assert one.pod == seven.pod
    one.only("StatefulSet")["spec"]["replicas"] = 7
    assert one.only("StatefulSet") == seven.only("StatefulSet")


def test_a_new_version_of_the_chart_changes_no_pod_and_no_claim(tmp_path: Path, defaults: Rendered) -> None:
    chart = tmp_path / "gossipkv"
    shutil.copytree(CHART, chart)
    text = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(re.sub(r"(?m)^version: .*$", "version: 99.0.0", text))
    newer = rendered(chart=chart)
    assert newer.only("StatefulSet")["metadata"]["labels"]["helm.sh/chart"] == "gossipkv-99.0.0"
    assert newer.only("StatefulSet")["spec"] == defaults.only("StatefulSet")["spec"]


def test_members_start_at_once_and_are_named_by_the_headless_service(defaults: Rendered) -> None:
    spec = defaults.only("StatefulSet")["spec"]
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["serviceName"] == HEADLESS
    assert spec["selector"]["matchLabels"] == SELECTOR
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}
    assert spec["minReadySeconds"] == 0


def test_each_member_has_a_volume_that_stays(defaults: Rendered) -> None:
    spec = defaults.only("StatefulSet")["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["metadata"] == {"name": "data"}
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Gi"}}}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert defaults.container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
    assert "volumes" not in defaults.pod["spec"]


def test_volumes_are_as_given() -> None:
    spec = rendered("static-volumes").only("StatefulSet")["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == ""
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert claim["metadata"]["labels"] == {"team": "store"}
    assert claim["metadata"]["annotations"] == {"example.com/backup": "nightly"}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Delete", "whenScaled": "Delete"}


@pytest.mark.parametrize("name", [name for name in VALUES_FILES if name != "static-volumes"])
def test_volume_claims_bear_no_labels_of_the_chart(name: str) -> None:
    for claim in rendered(name).only("StatefulSet")["spec"].get("volumeClaimTemplates", []):
        assert "labels" not in claim["metadata"]


def test_without_persistence_an_empty_directory_takes_the_data() -> None:
    objects = rendered("ephemeral")
    spec = objects.only("StatefulSet")["spec"]
    assert "volumeClaimTemplates" not in spec
    assert "persistentVolumeClaimRetentionPolicy" not in spec
    (volume,) = objects.pod["spec"]["volumes"]
    assert volume == {"name": "data", "emptyDir": {"sizeLimit": "512Mi", "medium": "Memory"}}


@pytest.mark.parametrize(
    ("size", "volume_bytes"),
    [("8Gi", 8 * 2**30), ("1.5Gi", 1.5 * 2**30), ("512Mi", 2**29), ("100G", 1e11), ("2Ti", 2**41), ("20M", 2e7)],
)
def test_data_leave_a_tenth_of_the_volume_free(size: str, volume_bytes: float) -> None:
    text = rendered(values={"persistence.size": size}).environment["GOSSIPKV_STORAGE_BYTES_MAX"]
    assert int(text) % 4096 == 0
    assert 0.9 * volume_bytes - 4096 <= int(text) <= 0.9 * volume_bytes


# `helm test` and the notes


@pytest.mark.parametrize(("count", "last"), [(3, 2), (1, 0), (0, 0)])
def test_a_row_is_written_on_the_first_member_and_read_on_the_last(count: int, last: int) -> None:
    pod = rendered(values={"replicaCount": count}).test_pod
    (container,) = pod["spec"]["containers"]
    domain = f"{HEADLESS}.{NAMESPACE}.svc.cluster.local:7080"
    assert container["command"] == ["python", "-I", "-c"]
    script, *arguments = container["args"]
    assert script.strip() == (CHART / "files/write_and_read.py").read_text().strip()
    assert arguments == [f"http://{FULLNAME}-0.{domain}", f"http://{FULLNAME}-{last}.{domain}", "$(ROW)", "60"]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("name", [None, "names"])
def test_no_service_leads_to_the_pod_of_helm_test(name: str | None) -> None:
    objects = rendered(*([name] if name else []))
    labels = objects.test_pod["metadata"]["labels"]
    for service in objects.of("Service"):
        assert not labels.items() >= service["spec"]["selector"].items()


@pytest.mark.parametrize("name", [None, *VALUES_FILES])
def test_the_notes_are_written_for_these_values(name: str | None) -> None:
    values = [f"--values={values_file(name)}"] if name else []
    ended = run_helm("install", RELEASE, str(CHART), f"--namespace={NAMESPACE}", "--dry-run=client", *values)
    assert ended.returncode == 0, ended.stderr
    notes = ended.stdout.partition("NOTES:")[2]
    objects = rendered(*([name] if name else []))
    fullname = objects.only("StatefulSet")["metadata"]["name"]
    port = objects.only("Service", fullname)["spec"]["ports"][0]["port"]
    assert f"port-forward service/{fullname} 7080:{port}" in notes
    assert f"exec {fullname}-0 --container gossipkv -- gossipkv put" in notes
    assert f"test {RELEASE}" in notes
    assert ("the data are gone" in notes) == (name == "ephemeral")


# What is refused


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicaCount", "three"),
        ("replicas", 3),
        ("persistence.sise", "1Gi"),
        ("persistence.size", "8GB"),
        ("persistence.accessModes", []),
        ("settings.gossip_interval", 5),
        ("settings.gossip_interval_ms", "fast"),
        ("settings.stop_timeout_s", 0),
        ("settings.member", "a"),
        ("settings.peers", "http://a:7081"),
        ("discovery.kind", "etcd"),
        ("listenHost", "localhost"),
        ("image.digest", "latest"),
        ("image.pullSecrets", [{"name": "a"}]),
        ("service.type", "ExternalName"),
        ("service.trafficDistribution", "Near"),
        ("podDisruptionBudget.maxUnavailable", 0),
        ("podDisruptionBudget.minAvailable", 2),
        ("persistentVolumeClaimRetentionPolicy.whenDeleted", "Keep"),
        ("fullnameOverride", "a" * 53),
        ("topologySpreadConstraints", [{"topologyKey": "zone"}]),
        ("ingress.tls", [{"hosts": ["a"]}]),
        ("terminationGracePeriodSeconds", 25),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(path: str, value: Any) -> None:
    assert path.rsplit(".", 1)[-1] in refusal({path: value})
