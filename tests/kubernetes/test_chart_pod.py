"""The pod of a member."""

from __future__ import annotations

import pytest
import yaml

from gossipkv.config.settings import load, rules, variable_of
from tests.kubernetes.chart_rendering import (
    CHART,
    FULLNAME,
    HEADLESS,
    NAMESPACE,
    RELEASE,
    SELECTOR,
    VALUES_FILES,
    Rendered,
    rendered,
    values_file,
)


@pytest.fixture(scope="module")
def defaults() -> Rendered:
    return rendered()


def test_the_environment_is_that_of_a_member(defaults: Rendered) -> None:
    environment = defaults.environment
    assert environment.pop("GOSSIPKV_STORAGE_BYTES_MAX").isdecimal()
    assert environment == {
        "GOSSIPKV_MEMBER": {"fieldRef": {"fieldPath": "metadata.name"}},
        "GOSSIPKV_ADVERTISE_HOST": {"fieldRef": {"fieldPath": "status.podIP"}},
        "GOSSIPKV_HTTP_HOST": "0.0.0.0",
        "GOSSIPKV_GOSSIP_HOST": "0.0.0.0",
        "GOSSIPKV_CLUSTER": f"{NAMESPACE}.{FULLNAME}",
        "GOSSIPKV_DATA_DIR": "/data",
        "GOSSIPKV_LOG_FORMAT": "json",
        "GOSSIPKV_DISCOVERY": "kubernetes",
        "GOSSIPKV_DISCOVERY_SERVICE": HEADLESS,
        "GOSSIPKV_DISCOVERY_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "GOSSIPKV_DISCOVERY_DNS_NAME": f"{HEADLESS}.{NAMESPACE}.svc.cluster.local",
        "GOSSIPKV_SERVER": "http://127.0.0.1:7080",
    }


@pytest.mark.parametrize("name", [None, *VALUES_FILES])
def test_the_program_takes_the_environment(name: str | None) -> None:
    environment = rendered(*([name] if name else [])).environment
    known = {variable_of(setting) for setting in rules()} | {"GOSSIPKV_SERVER"}
    assert environment.keys() <= known
    # A reference to a field of the pod becomes text of this kind.
    load({}, {key: value if isinstance(value, str) else "kv-gossipkv-0" for key, value in environment.items()})


def test_settings_reach_the_member_as_they_are_written() -> None:
    environment = rendered("settings").environment
    assert environment["GOSSIPKV_CLUSTER"] == "flags"
    assert environment["GOSSIPKV_STORAGE_BYTES_MAX"] == "68719476736"
    assert environment["GOSSIPKV_DISCOVERY_INTERVAL_S"] == "0.25"
    assert environment["GOSSIPKV_GOSSIP_INTERVAL_MS"] == "500"
    assert environment["GOSSIPKV_LOG_FORMAT"] == "console"


def test_whole_numbers_survive_both_ways_into_helm() -> None:
    given = {"settings.storage_bytes_max": 70368744177664}
    assert rendered(values=given).environment["GOSSIPKV_STORAGE_BYTES_MAX"] == "70368744177664"


def test_on_ipv6_members_listen_there_and_commands_ask_there() -> None:
    environment = rendered("ipv6").environment
    assert environment["GOSSIPKV_HTTP_HOST"] == environment["GOSSIPKV_GOSSIP_HOST"] == "::"
    assert environment["GOSSIPKV_SERVER"] == "http://[::1]:7080"


def test_variables_of_services_are_kept_out(defaults: Rendered) -> None:
    assert defaults.pod["spec"]["enableServiceLinks"] is False
    assert defaults.test_pod["spec"]["enableServiceLinks"] is False


def test_probes_ask_the_right_endpoints(defaults: Rendered) -> None:
    container = defaults.container
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/livez", "port": "http"},
        "liveness": {"path": "/livez", "port": "http"},
        "readiness": {"path": "/readyz", "port": "http"},
    }
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"http": 7080, "gossip": 7081}


@pytest.mark.parametrize("name", [None, "settings", "scheduling"])
def test_the_grace_period_is_longer_than_a_clean_leave(name: str | None) -> None:
    objects = rendered(*([name] if name else []))
    stop_s = float(objects.environment.get("GOSSIPKV_STOP_TIMEOUT_S", rules()["stop_timeout_s"][1]))
    sleep_s = objects.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert objects.pod["spec"]["terminationGracePeriodSeconds"] > stop_s + sleep_s


def test_a_member_serves_on_while_services_learn_that_it_ends(defaults: Rendered) -> None:
    assert defaults.container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    # Kubernetes takes a sleep of 0 only from 1.32 on.
    assert "lifecycle" not in rendered("settings").container


@pytest.mark.parametrize("name", [None, *VALUES_FILES])
def test_pods_are_restricted(name: str | None) -> None:
    objects = rendered(*([name] if name else []))
    for spec in (objects.pod["spec"], objects.test_pod["spec"]):
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == 65532
        assert context["fsGroupChangePolicy"] == "OnRootMismatch"
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        own = [each for each in spec["containers"] if each["name"] != "beside"]
        assert len(own) == 1
        assert own[0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert own[0]["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in own[0]["resources"]["limits"]


def test_members_are_spread_over_zones_and_nodes(defaults: Rendered) -> None:
    spread = defaults.pod["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert all(each["whenUnsatisfiable"] == "ScheduleAnyway" for each in spread)
    assert all(each["labelSelector"] == {"matchLabels": SELECTOR} for each in spread)


def test_scheduling_is_as_given() -> None:
    objects = rendered("scheduling")
    given = yaml.safe_load(values_file("scheduling").read_text())
    spec = objects.pod["spec"]
    for key in ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints"):
        assert spec[key] == given[key]
    assert spec["terminationGracePeriodSeconds"] == 90
    assert objects.only("StatefulSet")["spec"]["updateStrategy"]["type"] == "OnDelete"
    assert objects.only("StatefulSet")["spec"]["minReadySeconds"] == 5
    other = rendered("priority")
    assert other.pod["spec"]["priorityClassName"] == "system-cluster-critical"
    assert "topologySpreadConstraints" not in other.pod["spec"]
    assert other.only("StatefulSet")["spec"]["updateStrategy"]["rollingUpdate"] == {"partition": 2}


def test_the_image_is_that_of_the_chart_unless_given(defaults: Rendered) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert defaults.container["image"] == f"gossipkv:{version}"
    assert rendered(values={"image.tag": "1.2"}).container["image"] == "gossipkv:1.2"


def test_a_digest_goes_before_a_tag_in_all_pods() -> None:
    objects = rendered("image")
    given = yaml.safe_load(values_file("image").read_text())["image"]
    for spec in (objects.pod["spec"], objects.test_pod["spec"]):
        assert spec["containers"][0]["image"] == f"{given['repository']}@{given['digest']}"
        assert spec["containers"][0]["imagePullPolicy"] == "Always"
        assert spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "mirror"}]


def test_extensions_are_taken_in() -> None:
    objects = rendered("extensions")
    given = yaml.safe_load(values_file("extensions").read_text())
    spec, container = objects.pod["spec"], objects.container
    assert objects.environment["GOSSIPKV_ZONE"] == "a"
    assert container["envFrom"] == given["extraEnvFrom"]
    assert spec["volumes"] == given["extraVolumes"]
    assert container["volumeMounts"][1:] == given["extraVolumeMounts"]
    assert spec["initContainers"] == given["initContainers"]
    assert spec["containers"][1:] == given["extraContainers"]
    assert objects.only("ConfigMap", f"{RELEASE}-as-map")["data"] == {"members": "3"}
    assert objects.only("ConfigMap", f"{FULLNAME}-as-text")
    assert objects.test_pod["spec"]["containers"][0]["args"][-1] == "5"
