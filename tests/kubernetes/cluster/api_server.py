"""An API server and its etcd alone, on loopback: enough to have manifests judged by the real thing, in seconds.

Without a node nothing runs and nothing is reconciled. It needs neither root nor namespaces, and ends with the program
that started it.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.cluster import components, debian
from tests.kubernetes.cluster.certificates import Authority
from tests.kubernetes.cluster.cluster import install_definitions
from tests.kubernetes.cluster.processes import ClusterError, Daemon, ending_with_caller, run, start, tail, wait_until
from tests.kubernetes.cluster.tools import Tools

_ADDRESS = "127.0.0.1"
_SERVICES = "10.199.0.0/24"
_READY_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 2.0
_KUBECTL_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Runs inside `running_api_server`."""

    kubeconfig: Path
    tools: Tools

    def kubectl(self, *arguments: str, text_in: str | None = None) -> str:
        """What kubectl prints, as administrator. Raises ClusterError with what it says when it fails."""
        kubectl = [str(self.tools.binary("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        return run(kubectl, _KUBECTL_TIMEOUT_S, text_in)

    def install_crds(self) -> None:
        """Defines ServiceMonitor, PrometheusRule and HTTPRoute. Returns when they can be used."""
        install_definitions(self.kubectl, self.tools)


@contextlib.contextmanager
def running_api_server(tools: Tools, directory: Path | None = None) -> Iterator[ApiServer]:
    """Raises ClusterError when it does not come to answer.

    tools: complete, see `Tools.build_missing`.
    directory: where its files lie, gone at the end; None for one under $TMPDIR.
    """
    debian.install_missing(["etcd", "openssl", "setpriv"])
    chosen = directory or Path(tempfile.mkdtemp(prefix="gossipkv-api-server-"))
    daemons: list[Daemon] = []
    try:
        yield _start(tools, chosen, daemons)
    finally:
        for daemon in reversed(daemons):
            daemon.end(_END_TIMEOUT_S)
        shutil.rmtree(chosen)


def _start(tools: Tools, directory: Path, daemons: list[Daemon]) -> ApiServer:
    authority = Authority.create(directory / "certificates")
    authority.issue("kube-apiserver", "kube-apiserver", hosts=[_ADDRESS, "localhost"])
    authority.issue("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
    administrator = authority.issue("administrator", "administrator", "system:masters")
    etcd_port, peer_port, port = _free_ports(3)
    server = ApiServer(directory / "kubeconfig", tools)
    authority.write_kubeconfig(server.kubeconfig, f"https://{_ADDRESS}:{port}", administrator)
    log = directory / "kube-apiserver.log"
    etcd = components.etcd(str(directory / "etcd"), etcd_port, peer_port)
    daemons.append(start(ending_with_caller(etcd), directory / "etcd.log"))
    binary = tools.binary("kube-apiserver")
    command = components.kube_apiserver(binary, authority, etcd_port, _ADDRESS, port, _SERVICES)
    # No controller makes the service accounts that this admission would demand of a pod.
    command += ["--disable-admission-plugins=ServiceAccount"]
    daemons.append(start(ending_with_caller(command), log))

    def is_ready() -> bool:
        if not daemons[-1].is_alive():
            raise ClusterError(f"kube-apiserver ended\n{tail(log)}")
        try:
            server.kubectl("get", "--raw", "/readyz")
            server.kubectl("get", "namespace", "default")
        except ClusterError:
            return False
        return True

    wait_until(is_ready, "kube-apiserver is ready", _READY_TIMEOUT_S)
    return server


def _free_ports(count: int) -> list[int]:
    """Ports that no one listens on now, all different."""
    sockets = [socket.create_server((_ADDRESS, 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
