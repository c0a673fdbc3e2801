"""What every cluster holds from the start: the right of CoreDNS to read, its Service, and the default StorageClass.

CoreDNS is a process of the node, not a pod, since its image would have to be built first. Its Service therefore selects
nothing, and the EndpointSlice that a controller would write is written here.
"""

from __future__ import annotations

from tests.kubernetes.cluster.network import Addresses
from tests.kubernetes.cluster.provisioner import PROVISIONER, STORAGE_CLASS

_DNS_PORTS = [{"name": "dns", "protocol": "UDP", "port": 53}, {"name": "dns-tcp", "protocol": "TCP", "port": 53}]


def objects(addresses: Addresses) -> dict[str, object]:
    """One List to be applied."""
    items = [*_dns_rights(), _dns_service(addresses), _dns_endpoints(addresses), _storage_class()]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _dns_rights() -> list[dict[str, object]]:
    verbs = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": verbs},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs},
    ]
    api_group = "rbac.authorization.k8s.io"
    name = "system:coredns"
    kind = {"apiVersion": f"{api_group}/v1", "metadata": {"name": name}}
    return [
        {**kind, "kind": "ClusterRole", "rules": rules},
        {
            **kind,
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": api_group, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": api_group, "kind": "User", "name": name}],
        },
    ]


def _dns_service(addresses: Addresses) -> dict[str, object]:
    labels = {"k8s-app": "kube-dns"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {"clusterIP": addresses.dns_service, "ports": _DNS_PORTS},
    }


def _dns_endpoints(addresses: Addresses) -> dict[str, object]:
    labels = {"kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "gossipkv-tests"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "addressType": "IPv4",
        "ports": _DNS_PORTS,
        "endpoints": [{"addresses": [addresses.node], "conditions": {"ready": True}}],
    }


def _storage_class() -> dict[str, object]:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": annotations},
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }
