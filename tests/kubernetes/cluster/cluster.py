"""A single-node Kubernetes of real components, in namespaces of its own, which leaves nothing behind.

All that belongs to a cluster lies in one directory or is found through the state file in it: process 1 of the node, the
number that names its interfaces and control groups, and the components that run. Another program can therefore pick a
cluster up by its directory, and end it.
"""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.kubernetes.cluster import bootstrap, control_groups, debian, network, pause_image
from tests.kubernetes.cluster.certificates import Authority
from tests.kubernetes.cluster.components import DNS_READY_PORT, NODE_NAME, PAUSE_IMAGE, NodeComponents
from tests.kubernetes.cluster.namespaces import Namespaces
from tests.kubernetes.cluster.network import Addresses
from tests.kubernetes.cluster.processes import ClusterError, Daemon, run, tail, wait_until
from tests.kubernetes.cluster.tools import Tools

DIRECTORY_PREFIX = "gossipkv-cluster-"
_STATE = "state.json"
_READY_TIMEOUT_S = 120.0
_PREPARE_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 3.0
"""The API server would go on serving its watches for a minute. An outage begins at once."""
_KUBECTL_TIMEOUT_S = 60.0
_IMPORT_TIMEOUT_S = 300.0
_HIDDEN_IN_NODE = ("/etc", "/run", "/var", "/proc", "/sys", "/dev")

Say = Callable[[str], None]


@dataclass(slots=True)
class Cluster:
    """A cluster that runs, or is being started or ended. Made by `up` or `open`."""

    directory: Path
    addresses: Addresses
    tools: Tools
    namespaces: Namespaces | None = None
    components: dict[str, Daemon] = field(default_factory=dict)

    @classmethod
    def up(cls, directory: Path | None, say: Say, ends_with_caller: bool = False) -> Cluster:
        """Starts a cluster and returns when its node takes pods.

        directory: must not exist, or be empty; None for a fresh one under $TMPDIR.
        ends_with_caller: when the calling thread dies without `down`, so does the cluster; its directory is cleared
            away by the next `up`.
        Raises ClusterError; what was started by then is ended.
        """
        debian_packages = debian.install_missing()
        if debian_packages:
            say(f"installed {' '.join(debian_packages)}")
        tools = Tools.default()
        tools.build_missing(say)
        for dead in default_directories():
            _clear_away_if_dead(dead, say)
        directory = _fresh(directory)
        try:
            with tools.locked():
                addresses = network.connect()
        except BaseException:
            shutil.rmtree(directory)
            raise
        cluster = cls(directory, addresses, tools)
        try:
            cluster._write_state()
            cluster._start_all(say, ends_with_caller)
        except BaseException as error:
            if isinstance(error, ClusterError):
                cluster._keep_logs(say)
            cluster.down()
            raise
        return cluster

    @classmethod
    def open(cls, directory: Path) -> Cluster:
        """A cluster that another program started. Raises ClusterError when there is none."""
        try:
            state = json.loads((directory / _STATE).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ClusterError(f"no cluster lies in {directory}") from error
        first_process = state["first_process"]
        namespaces = Namespaces(Daemon(**first_process)) if first_process else None
        components = {name: Daemon(**daemon) for name, daemon in state["components"].items()}
        return cls(
            directory, Addresses(state["number"], state["name"]), Tools(Path(state["tools"])), namespaces, components
        )

    @property
    def kubeconfig(self) -> Path:
        """For an administrator, usable on this machine."""
        return self.directory / "kubeconfig"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    def down(self) -> None:
        """Ends all processes and takes away mounts, interfaces, control groups and the directory."""
        if self.namespaces is not None:
            self.namespaces.end()
        network.disconnect(self.addresses)
        control_groups.remove(self.addresses.name)
        shutil.rmtree(self.directory)

    def is_alive(self) -> bool:
        return self.namespaces is not None and self.namespaces.first_process.is_alive()

    def stop(self, component: str) -> None:
        """Ends one component, for instance `kube-apiserver`; pods go on. Raises ClusterError when it does not run."""
        daemon = self.components.get(component)
        if daemon is None:
            raise ClusterError(f"{component} does not run; there are {' '.join(self.components)}")
        daemon.end(_STOP_TIMEOUT_S)
        del self.components[component]
        self._write_state()

    def start(self, component: str) -> None:
        """Starts a component that was stopped. For the API server and DNS, returns when they answer."""
        if component in self.components and self.components[component].is_alive():
            raise ClusterError(f"{component} runs already")
        self._launch(component, self._node().command(component))
        if component == "kube-apiserver":
            self._wait_for("kube-apiserver", self._api_server_is_ready)
        if component == "coredns":
            self._wait_for("coredns", self._dns_is_ready)

    def kubectl(self, *arguments: str, text_in: str | None = None) -> str:
        """What kubectl prints, as administrator. Raises ClusterError with what it says when it fails."""
        kubectl = [str(self.tools.binary("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        return run(kubectl, _KUBECTL_TIMEOUT_S, text_in)

    def load_image(self, archive: Path) -> None:
        """Imports what `docker save`, `buildah push oci-archive:` or `docker-archive:` wrote, under its names."""
        assert self.namespaces is not None
        importing = ["ctr", "--namespace", "k8s.io", "images", "import", str(archive.absolute())]
        self.namespaces.run(importing, _IMPORT_TIMEOUT_S)

    def install_crds(self) -> None:
        """Defines ServiceMonitor, PrometheusRule and HTTPRoute. Returns when they can be used."""
        install_definitions(self.kubectl, self.tools)

    def run_in_node(self, argv: Sequence[str], timeout_s: float = 60.0) -> str:
        """What a program prints that runs in the node's namespaces as root."""
        assert self.namespaces is not None
        return self.namespaces.run(argv, timeout_s)

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory of each component, and `containers` for what the pods' groups are charged with."""
        used = {name: _resident_bytes(daemon) for name, daemon in self.components.items() if daemon.is_alive()}
        return {**used, "containers": control_groups.memory_bytes(self.addresses.name)}

    def _start_all(self, say: Say, ends_with_caller: bool) -> None:
        with _timed("certificates and configuration", say):
            self._write_configuration()
        with _timed("namespaces and network", say):
            self._create_node(ends_with_caller)
        with _timed("etcd and kube-apiserver", say):
            for component in ("etcd", "containerd"):
                self._launch(component, self._node().command(component))
            self._launch("kube-apiserver", self._node().command("kube-apiserver"))
            self._load_pause_image()
            self._wait_for("kube-apiserver", self._api_server_is_ready)
        with _timed("node ready", say):
            for component in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"):
                self._launch(component, self._node().command(component))
            self.kubectl("apply", "-f", "-", text_in=json.dumps(bootstrap.objects(self.addresses)))
            self._launch("provisioner", self._node().command("provisioner"))
            self._launch("coredns", self._node().command("coredns"))
            self._wait_for("kubelet", self._node_is_ready)
        with _timed("names and the default service account", say):
            self._wait_for("coredns", self._dns_is_ready)
            self._wait_for("kube-controller-manager", self._has_default_service_account)

    def _write_configuration(self) -> None:
        authority = Authority.create(self._authority.directory)
        service_names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        hosts = [self.addresses.node, self.addresses.api_service, *service_names, "localhost", "127.0.0.1"]
        authority.issue("kube-apiserver", "kube-apiserver", hosts=hosts)
        authority.issue("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
        administrator = authority.issue("administrator", "administrator", "system:masters")
        authority.write_kubeconfig(self.kubeconfig, self.addresses.api_server_url, administrator)
        node = self._node()
        node.write_configurations()
        authority.issue("kubelet", f"system:node:{NODE_NAME}", "system:nodes", [self.addresses.node, NODE_NAME])
        authority.issue("provisioner", "gossipkv-test-provisioner", "system:masters")
        users = ("kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns")
        for user in users:
            authority.issue(user, f"system:{user}")
        for user in (*users, "kubelet", "provisioner"):
            authority.write_kubeconfig(node.kubeconfig(user), self.addresses.api_server_url, authority.issued(user))

    def _create_node(self, ends_with_caller: bool) -> None:
        self.namespaces = Namespaces.create(self.tools.pause, self.logs / "node.log", ends_with_caller)
        self._write_state()
        network.plug(self.addresses, self.namespaces.first_process.pid)
        control_groups.create(self.addresses.name)
        settings = {
            "NODE_DIRECTORY": str(self.directory),
            "NODE_NAME": NODE_NAME,
            "NODE_ADDRESS": self.addresses.node,
            "MACHINE_ADDRESS": self.addresses.machine,
        }
        environment = [f"{name}={value}" for name, value in settings.items()]
        script = str(Path(__file__).with_name("prepare-node.sh"))
        self.namespaces.run(["env", *environment, "sh", script], _PREPARE_TIMEOUT_S)

    def _load_pause_image(self) -> None:
        archive = self.directory / "pause.tar"
        pause_image.write(self.tools.pause, PAUSE_IMAGE, archive, platform.machine())
        self._wait_for("containerd", self._containerd_answers)
        self.load_image(archive)

    def _launch(self, component: str, argv: Sequence[str]) -> None:
        assert self.namespaces is not None
        self.components[component] = self.namespaces.start(argv, self.logs / f"{component}.log")
        self._write_state()

    def _wait_for(self, component: str, condition: Callable[[], bool]) -> None:
        """Raises ClusterError with the end of the component's log when it dies or the deadline passes."""
        daemon, log = self.components[component], self.logs / f"{component}.log"

        def is_met() -> bool:
            if not daemon.is_alive():
                raise ClusterError(f"{component} ended\n{tail(log)}")
            return condition()

        try:
            wait_until(is_met, f"{component} is ready", _READY_TIMEOUT_S)
        except ClusterError as error:
            raise ClusterError(f"{error}\n{tail(log)}") from error

    def _api_server_is_ready(self) -> bool:
        return self._answers(lambda: self.kubectl("get", "--raw", "/readyz"))

    def _containerd_answers(self) -> bool:
        return self._answers(lambda: self.run_in_node(["ctr", "--namespace", "k8s.io", "images", "list", "-q"]))

    def _node_is_ready(self) -> bool:
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        return self._answers(lambda: self.kubectl("get", "node", NODE_NAME, "-o", f"jsonpath={path}"), "True")

    def _has_default_service_account(self) -> bool:
        return self._answers(lambda: self.kubectl("get", "serviceaccount", "default", "-o", "name"))

    def _dns_is_ready(self) -> bool:
        with contextlib.suppress(urllib.error.URLError, OSError):
            # A proxy that the machine is set to use does not know the node.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{self.addresses.node}:{DNS_READY_PORT}/ready", timeout=5) as response:
                return bool(response.status == 200)
        return False

    @staticmethod
    def _answers(command: Callable[[], str], expected: str | None = None) -> bool:
        with contextlib.suppress(ClusterError):
            answer = command().strip()
            return expected is None or answer == expected
        return False

    @property
    def _authority(self) -> Authority:
        return Authority(self.directory / "certificates")

    def _node(self) -> NodeComponents:
        return NodeComponents(self.directory, self.tools.binaries, self._authority, self.addresses)

    def _write_state(self) -> None:
        state = {
            "number": self.addresses.number,
            "name": self.addresses.name,
            "tools": str(self.tools.directory),
            "first_process": _as_dict(self.namespaces.first_process) if self.namespaces else None,
            "components": {name: _as_dict(daemon) for name, daemon in self.components.items()},
        }
        fresh = self.directory / f"{_STATE}.new"
        fresh.write_text(json.dumps(state, indent=2), encoding="utf-8")
        fresh.rename(self.directory / _STATE)

    def _keep_logs(self, say: Say) -> None:
        """What a start that failed has to say outlives its directory."""
        if self.logs.exists():
            kept = Path(tempfile.mkdtemp(prefix="gossipkv-failed-cluster-logs-"))
            shutil.copytree(self.logs, kept, dirs_exist_ok=True)
            say(f"the logs are kept in {kept}")


def install_definitions(kubectl: Callable[..., str], tools: Tools) -> None:
    """Server-side, since these definitions are longer than an annotation may be."""
    files = [argument for path in tools.definitions() for argument in ("-f", str(path))]
    kubectl("apply", "--server-side", *files)
    kubectl("wait", "--for=condition=Established", "--timeout=30s", *files)


def default_directories() -> list[Path]:
    """The clusters that were started without a directory being named."""
    return sorted(path.parent for path in Path(tempfile.gettempdir()).glob(f"{DIRECTORY_PREFIX}*/{_STATE}"))


def _clear_away_if_dead(directory: Path, say: Say) -> None:
    """A cluster that has no first process yet is one that is being started."""
    with contextlib.suppress(ClusterError):
        cluster = Cluster.open(directory)
        if cluster.namespaces is not None and not cluster.is_alive():
            cluster.down()
            say(f"cleared away {directory}, whose cluster had died")


def _fresh(directory: Path | None) -> Path:
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX)).resolve()
    directory = directory.resolve()
    if str(directory).startswith(tuple(f"{hidden}/" for hidden in _HIDDEN_IN_NODE)):
        raise ClusterError(f"{directory} cannot be seen from within the node; name one that is not below /etc or /var")
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise ClusterError(f"{directory} is not empty")
    return directory


def _as_dict(daemon: Daemon) -> dict[str, int]:
    return {"pid": daemon.pid, "started_ticks": daemon.started_ticks}


def _resident_bytes(daemon: Daemon) -> int:
    for line in Path(f"/proc/{daemon.pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def _timed(step: str, say: Say) -> Iterator[None]:
    began = time.monotonic()
    yield
    say(f"{time.monotonic() - began:5.1f} s  {step}")
