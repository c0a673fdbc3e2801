"""The command line and the configuration of every program of the cluster.

Paths under /run and /var are the node's own. Leader election is off: there is one of each.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.cluster import provisioner
from tests.kubernetes.cluster.certificates import Authority
from tests.kubernetes.cluster.network import Addresses

NODE_NAME = "node"
REGION, ZONE = "region-a", "zone-a"
CLUSTER_DOMAIN = "cluster.local"
PAUSE_IMAGE = "localhost/gossipkv-test-pause:1"
DNS_READY_PORT = 8181
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
_CNI_PLUGINS = "/usr/lib/cni"


def etcd(data: str, client_port: int, peer_port: int) -> list[str]:
    """Nothing that a test cluster knows must survive the machine, so writes are not synced."""
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return [
        *("etcd", "--unsafe-no-fsync", f"--data-dir={data}"),
        *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
        *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"),
    ]


def kube_apiserver(
    binary: Path, authority: Authority, etcd_port: int, address: str, port: int, services: str
) -> list[str]:
    """PodSecurity is among the admission plugins that are on by default."""
    serving, kubelet_client = authority.issued("kube-apiserver"), authority.issued("kubelet-client")
    return [
        str(binary),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        f"--secure-port={port}",
        f"--service-cluster-ip-range={services}",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={authority.own.certificate}",
        f"--kubelet-certificate-authority={authority.own.certificate}",
        f"--kubelet-client-certificate={kubelet_client.certificate}",
        f"--kubelet-client-key={kubelet_client.key}",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={authority.token_key}",
        f"--service-account-signing-key-file={authority.token_key}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--profiling=false",
    ]


@dataclass(frozen=True, slots=True)
class NodeComponents:
    """What runs inside the node's namespaces. `directory` is the cluster's own, `binaries` the tools' directory."""

    directory: Path
    binaries: Path
    authority: Authority
    addresses: Addresses

    def write_configurations(self) -> None:
        self._configuration("containerd.toml").parent.mkdir()
        self._configuration("cni").mkdir()
        self._configuration("containerd.toml").write_text(self._containerd(), encoding="utf-8")
        self._configuration("cni/pods.conflist").write_text(json.dumps(self._cni(), indent=2), encoding="utf-8")
        self._configuration("kubelet.json").write_text(json.dumps(self._kubelet(), indent=2), encoding="utf-8")
        self._configuration("kube-proxy.json").write_text(json.dumps(self._kube_proxy(), indent=2), encoding="utf-8")
        self._configuration("Corefile").write_text(self._corefile(), encoding="utf-8")

    def kubeconfig(self, user: str) -> Path:
        return self._configuration(f"{user}.kubeconfig")

    def command(self, name: str) -> list[str]:
        """The command line of a component by its name."""
        match name:
            case "etcd":
                return etcd("/var/lib/etcd", 2379, 2380)
            case "kube-apiserver":
                binary = self.binaries / "kube-apiserver"
                address = self.addresses.node
                return kube_apiserver(binary, self.authority, 2379, address, 6443, self.addresses.services)
            case "kube-controller-manager":
                return self._kube_controller_manager()
            case "kube-scheduler":
                kubeconfig = self.kubeconfig("kube-scheduler")
                return [str(self.binaries / name), f"--kubeconfig={kubeconfig}", "--leader-elect=false"]
            case "containerd":
                return ["containerd", "--config", str(self._configuration("containerd.toml"))]
            case "kubelet":
                return self._kubelet_command()
            case "kube-proxy":
                return [str(self.binaries / name), f"--config={self._configuration('kube-proxy.json')}"]
            case "coredns":
                return [str(self.binaries / name), f"-conf={self._configuration('Corefile')}"]
            case "provisioner":
                script, kubeconfig = str(Path(provisioner.__file__)), self.kubeconfig("provisioner")
                return [sys.executable, "-I", script, "--kubeconfig", str(kubeconfig), "--node", NODE_NAME]
        raise AssertionError(f"no component is named {name}")

    def _configuration(self, name: str) -> Path:
        return self.directory / "configuration" / name

    def _kube_controller_manager(self) -> list[str]:
        return [
            str(self.binaries / "kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig('kube-controller-manager')}",
            f"--cluster-cidr={self.addresses.pods}",
            f"--root-ca-file={self.authority.own.certificate}",
            f"--service-account-private-key-file={self.authority.token_key}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            # Where several managers elect a leader, one that loses the API server ends, and its successor begins to
            # count a node's silence anew. The one here lives on and must not count an outage as the node's silence.
            "--node-monitor-grace-period=300s",
        ]

    def _kubelet_command(self) -> list[str]:
        return [
            str(self.binaries / "kubelet"),
            f"--config={self._configuration('kubelet.json')}",
            f"--kubeconfig={self.kubeconfig('kubelet')}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={self.addresses.node}",
            f"--node-labels=topology.kubernetes.io/region={REGION},topology.kubernetes.io/zone={ZONE}",
        ]

    def _kubelet(self) -> dict[str, object]:
        serving = self.authority.issued("kubelet")
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": str(self.authority.own.certificate)},
            },
            "tlsCertFile": str(serving.certificate),
            "tlsPrivateKeyFile": str(serving.key),
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "clusterDNS": [self.addresses.dns_service],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": "",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.addresses.name}",
            "enforceNodeAllocatable": ["none"],
            "failCgroupV1": False,
            "failSwapOn": False,
            # A machine without CAP_SYS_RESOURCE may not lower a process' score.
            "oomScoreAdj": 0,
            "evictionHard": {"memory.available": "1%", "nodefs.available": "1%", "imagefs.available": "1%"},
            # An image that was imported cannot be pulled again.
            "imageGCHighThresholdPercent": 100,
            "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        }

    def _kube_proxy(self) -> dict[str, object]:
        # Zero leaves the machine's own limits of connection tracking alone.
        untouched = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(self.kubeconfig("kube-proxy"))},
            "mode": "nftables",
            "clusterCIDR": self.addresses.pods,
            "hostnameOverride": NODE_NAME,
            "oomScoreAdj": 0,
            "conntrack": untouched,
        }

    def _cni(self) -> dict[str, object]:
        leases = {"type": "host-local", "dataDir": "/run/pod-addresses", "ranges": [[{"subnet": self.addresses.pods}]]}
        bridge = {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {**leases, "routes": [{"dst": "0.0.0.0/0"}]},
        }
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}

    def _containerd(self) -> str:
        return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
# Without CAP_SYS_RESOURCE a pod's sandbox would fail on a lowered score.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{_CNI_PLUGINS}"
conf_dir = "{self._configuration("cni")}"
"""

    def _corefile(self) -> str:
        # There is no world outside to forward to: other names do not exist, which is quicker than a timeout.
        return f"""\
{CLUSTER_DOMAIN} in-addr.arpa {{
    bind {self.addresses.node}
    errors
    ready {self.addresses.node}:{DNS_READY_PORT}
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {self.kubeconfig("coredns")}
    }}
}}
. {{
    bind {self.addresses.node}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
