"""Who reaches members, and what members may do."""

from __future__ import annotations

import pytest
import yaml

from tests.kubernetes.chart_rendering import (
    FULLNAME,
    HEADLESS,
    NAMESPACE,
    SELECTOR,
    Object,
    Rendered,
    rendered,
    values_file,
)


@pytest.fixture(scope="module")
def defaults() -> Rendered:
    return rendered()


# Services and routes


def test_members_find_each_other_before_they_are_ready(defaults: Rendered) -> None:
    spec = defaults.only("Service", HEADLESS)["spec"]
    assert spec["clusterIP"] == "None"
    assert spec["publishNotReadyAddresses"] is True
    assert spec["selector"] == SELECTOR
    assert [(each["name"], each["port"]) for each in spec["ports"]] == [("http", 7080), ("gossip", 7081)]


def test_clients_reach_ready_members_and_no_gossip(defaults: Rendered) -> None:
    spec = defaults.only("Service", FULLNAME)["spec"]
    assert "publishNotReadyAddresses" not in spec
    assert spec["type"] == "ClusterIP"
    assert spec["selector"] == SELECTOR
    assert spec["ports"] == [{"name": "http", "port": 7080, "targetPort": "http", "protocol": "TCP"}]


def test_the_client_service_is_as_given() -> None:
    service = rendered("load-balancer").only("Service", FULLNAME)
    given = yaml.safe_load(values_file("load-balancer").read_text())["service"]
    assert service["metadata"]["annotations"] == given.pop("annotations")
    assert service["spec"]["ports"][0]["port"] == given.pop("port")
    assert service["spec"].items() >= given.items()
    assert rendered("node-port").only("Service", FULLNAME)["spec"]["ports"][0]["nodePort"] == 30780


@pytest.mark.parametrize("service", [FULLNAME, HEADLESS])
def test_address_families_are_of_both_services(service: str, defaults: Rendered) -> None:
    assert "ipFamilyPolicy" not in defaults.only("Service", service)["spec"]
    assert rendered("dual-stack").only("Service", service)["spec"]["ipFamilyPolicy"] == "PreferDualStack"
    given = {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]}
    assert rendered(values=given).only("Service", service)["spec"].items() >= given.items()


def test_an_ingress_leads_to_the_client_service_alone() -> None:
    ingress = rendered("ingress").only("Ingress")
    assert ingress["spec"]["ingressClassName"] == "public"
    assert ingress["spec"]["tls"] == [{"secretName": "kv-tls", "hosts": ["kv.example.com"]}]
    first, second = ingress["spec"]["rules"]
    backend = {"service": {"name": FULLNAME, "port": {"name": "http"}}}
    assert first["http"]["paths"] == [{"path": "/v1", "pathType": "Prefix", "backend": backend}]
    assert second["host"] == "*.kv.example.com"
    assert second["http"]["paths"] == [{"path": "/v1/usr", "pathType": "Exact", "backend": backend}]


def test_a_route_leads_to_the_client_service_alone() -> None:
    spec = rendered("http-route").only("HTTPRoute")["spec"]
    assert spec["parentRefs"] == [{"name": "public", "namespace": "gateways", "sectionName": "https"}]
    (rule,) = spec["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/v1"}}]
    assert rule["backendRefs"] == [{"name": FULLNAME, "port": 80}]


# Rights and limits


def test_the_role_is_the_least(defaults: Rendered) -> None:
    assert defaults.only("Role")["rules"] == [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]}
    ]
    binding = defaults.only("RoleBinding")
    assert binding["roleRef"]["name"] == FULLNAME
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": FULLNAME, "namespace": NAMESPACE}]


def test_the_token_is_in_the_members_alone(defaults: Rendered) -> None:
    assert defaults.only("ServiceAccount")["automountServiceAccountToken"] is False
    assert defaults.pod["spec"]["automountServiceAccountToken"] is True
    assert defaults.test_pod["spec"]["automountServiceAccountToken"] is False


def test_discovery_by_dns_needs_no_rights() -> None:
    objects = rendered("dns")
    assert not objects.of("Role")
    assert not objects.of("RoleBinding")
    assert objects.pod["spec"]["automountServiceAccountToken"] is False
    assert objects.environment["GOSSIPKV_DISCOVERY"] == "dns"
    assert objects.environment["GOSSIPKV_DISCOVERY_DNS_NAME"] == f"{HEADLESS}.{NAMESPACE}.svc.cluster.example"
    assert "GOSSIPKV_DISCOVERY_SERVICE" not in objects.environment


def test_an_account_of_others_is_used_as_it_is() -> None:
    objects = rendered("existing-account")
    assert objects.pod["spec"]["serviceAccountName"] == "store"
    assert not objects.of("ServiceAccount") + objects.of("Role") + objects.of("PodDisruptionBudget")
    account = rendered("annotated-account").only("ServiceAccount", "store")
    assert account["metadata"]["annotations"] == {"example.com/role": "store"}
    assert rendered("annotated-account").only("RoleBinding")["subjects"][0]["name"] == "store"


@pytest.mark.parametrize("name", [None, "single"])
def test_a_drain_always_goes_on(name: str | None) -> None:
    spec = rendered(*([name] if name else [])).only("PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1
    assert "minAvailable" not in spec
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert spec["selector"]["matchLabels"] == SELECTOR


def ports_of(rule: Object) -> set[int]:
    return {each["port"] for each in rule.get("ports", [])}


MEMBERS = {"podSelector": {"matchLabels": SELECTOR}}


@pytest.mark.parametrize("name", ["network-policy", "network-policy-open"])
def test_gossip_is_between_members_alone(name: str) -> None:
    spec = rendered(name).only("NetworkPolicy")["spec"]
    assert spec["podSelector"]["matchLabels"] == SELECTOR
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (gossip,) = [rule for rule in spec["ingress"] if 7081 in ports_of(rule) or not ports_of(rule)]
    assert gossip == {"from": [MEMBERS], "ports": [{"port": 7081, "protocol": "TCP"}]}
    assert spec["egress"][0]["to"] == [MEMBERS]
    assert ports_of(spec["egress"][0]) == {7080, 7081}


def test_http_is_from_anywhere_unless_peers_are_given() -> None:
    http = rendered("network-policy-open").only("NetworkPolicy")["spec"]["ingress"][1]
    assert http == {"ports": [{"port": 7080, "protocol": "TCP"}]}
    objects = rendered("network-policy")
    restricted = objects.only("NetworkPolicy")["spec"]["ingress"][1]
    assert len(restricted["from"]) == 3
    assert MEMBERS in restricted["from"]
    # `helm test` must get through too.
    admitted = [each["podSelector"]["matchLabels"] for each in restricted["from"] if "podSelector" in each]
    assert any(objects.test_pod["metadata"]["labels"].items() >= labels.items() for labels in admitted)


def test_dns_and_the_api_server_are_reached() -> None:
    egress = rendered("network-policy-open").only("NetworkPolicy")["spec"]["egress"]
    assert [ports_of(rule) for rule in egress[1:]] == [{53}, {443, 6443, 8443}]
    assert {each["protocol"] for each in egress[1]["ports"]} == {"UDP", "TCP"}
    assert not any("to" in rule for rule in egress[1:])
    restricted = rendered("network-policy").only("NetworkPolicy")["spec"]
    assert restricted["egress"][2]["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    assert restricted["egress"][3] == {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}
    assert ports_of(restricted["ingress"][2]) == {9000}
    # Members that look up DNS do not talk to the API server.
    assert len(rendered("dns").only("NetworkPolicy")["spec"]["egress"]) == 2
