"""The programs that are built from source, because no distribution has them: Kubernetes, Helm, CoreDNS, kubeconform.

They are kept in a directory outside the repository, `GOSSIPKV_TEST_TOOLS` or `~/.cache/gossipkv-tools`, with the
version of each beside it. Only what is missing or of another version is built. The first build takes up to 20 minutes
on two cores and downloads Go modules; later runs need neither network nor Go.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.cluster.processes import ClusterError, run

_GO_MINOR_MIN = 26
_BUILD_TIMEOUT_S = 1800.0
_SOURCES = Path(__file__).parent


def _kubernetes_version() -> str:
    """What the tools module requires."""
    found = re.search(r"k8s\.io/kubernetes (v[0-9.]+)", (_SOURCES / "go-tools" / "go.mod").read_text(encoding="utf-8"))
    assert found is not None, "go-tools/go.mod requires no Kubernetes"
    return found[1]


KUBERNETES_VERSION = _kubernetes_version()


@dataclass(frozen=True, slots=True)
class Program:
    """One thing in the cache. `package` is what Go builds, here or in the module that it comes from."""

    name: str
    version: str
    package: str
    is_of_tools_module: bool = False


_KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
_PROGRAMS = (
    *(Program(name, KUBERNETES_VERSION, f"k8s.io/kubernetes/cmd/{name}", True) for name in _KUBERNETES),
    Program("helm", "v4.3.1", "helm.sh/helm/v4/cmd/helm"),
    Program("coredns", "v1.15.0", "github.com/coredns/coredns"),
    Program("kubeconform", "v0.8.0", "github.com/yannh/kubeconform/cmd/kubeconform"),
)


@dataclass(frozen=True, slots=True)
class Definitions:
    """Custom resource definitions that a Go module carries."""

    name: str
    module: str
    version: str
    files: tuple[str, ...]


_MONITORING = "example/prometheus-operator-crd/monitoring.coreos.com"
_DEFINITIONS = (
    Definitions(
        "prometheus-operator",
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        (f"{_MONITORING}_servicemonitors.yaml", f"{_MONITORING}_prometheusrules.yaml"),
    ),
    Definitions(
        "gateway-api",
        "sigs.k8s.io/gateway-api",
        "v1.6.3",
        ("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",),
    ),
)


@dataclass(frozen=True, slots=True)
class Tools:
    """The cache directory."""

    directory: Path

    @classmethod
    def default(cls) -> Tools:
        chosen = os.environ.get("GOSSIPKV_TEST_TOOLS")
        return cls(Path(chosen).absolute() if chosen else Path.home() / ".cache" / "gossipkv-tools")

    @property
    def binaries(self) -> Path:
        return self.directory / "bin"

    @property
    def pause(self) -> Path:
        return self.binaries / "pause"

    def binary(self, name: str) -> Path:
        return self.binaries / name

    def definitions(self) -> list[Path]:
        """Files to apply for ServiceMonitor, PrometheusRule and HTTPRoute."""
        return [
            self.directory / "definitions" / each.name / Path(file).name for each in _DEFINITIONS for file in each.files
        ]

    def build_missing(self, say: Callable[[str], None]) -> None:
        """Brings the cache into step. Another build into the same directory is waited for."""
        with self.locked():
            self.binaries.mkdir(exist_ok=True)
            for program in _PROGRAMS:
                self._make(program.name, program.version, self.binary(program.name), program, say)
            for each in _DEFINITIONS:
                self._make(each.name, each.version, self.directory / "definitions" / each.name, each, say)
            self._make("pause", _pause_version(), self.pause, None, say)

    def _make(
        self,
        name: str,
        version: str,
        target: Path,
        recipe: Program | Definitions | None,
        say: Callable[[str], None],
    ) -> None:
        stamp = self.directory / "versions" / name
        if target.exists() and stamp.exists() and stamp.read_text(encoding="utf-8").strip() == version:
            return
        say(f"{name} {version} is being built")
        began = time.monotonic()
        fresh = self.directory / f".{name}.building"
        match recipe:
            case Program():
                _build(recipe, fresh)
            case Definitions():
                _copy_definitions(recipe, fresh)
            case None:
                run(["gcc", "-static", "-Os", "-s", "-o", str(fresh), str(_SOURCES / "pause.c")], 60.0)
        if target.is_dir():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh.rename(target)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(f"{version}\n", encoding="utf-8")
        say(f"{name} {version} is built: {time.monotonic() - began:.1f} s")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One program of this machine at a time."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / ".lock").open("w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _build(program: Program, target: Path) -> None:
    _require_go()
    flags = ["-s", "-w"]
    if program.is_of_tools_module:
        major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
        version = "k8s.io/component-base/version"
        flags += [f"-X {version}.gitVersion={KUBERNETES_VERSION}"]
        flags += [f"-X {version}.gitMajor={major}", f"-X {version}.gitMinor={minor}"]
        flags += [f"-X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES_VERSION}"]
        command = ["go", "build", "-trimpath", "-ldflags", " ".join(flags), "-o", str(target), program.package]
        run(_gently(command), _BUILD_TIMEOUT_S, directory=_SOURCES / "go-tools", environment=_go_environment())
        return
    destination = target.with_suffix(".directory")
    command = ["go", "install", "-trimpath", "-ldflags", " ".join(flags), f"{program.package}@{program.version}"]
    environment = {**_go_environment(), "GOBIN": str(destination)}
    run(_gently(command), _BUILD_TIMEOUT_S, environment=environment)
    (destination / program.name).rename(target)
    destination.rmdir()


def _copy_definitions(definitions: Definitions, target: Path) -> None:
    _require_go()
    module = f"{definitions.module}@{definitions.version}"
    described = json.loads(run(["go", "mod", "download", "-json", module], 300.0, environment=_go_environment()))
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for file in definitions.files:
        (target / Path(file).name).write_bytes((Path(described["Dir"]) / file).read_bytes())


def _go_environment() -> dict[str, str]:
    # With the second JSON library, /openapi/v2 of the API server is not what kubectl and Helm can read.
    return {**os.environ, "CGO_ENABLED": "0", "GOEXPERIMENT": "nojsonv2", "GOFLAGS": "", "GOWORK": "off"}


def _gently(command: Sequence[str]) -> list[str]:
    """A build must leave the machine usable."""
    return ["nice", "-n", "10", *command]


def _require_go() -> None:
    advice = f"install Go 1.{_GO_MINOR_MIN} or later"
    try:
        said = run(["go", "env", "GOVERSION"], 60.0)
    except ClusterError as error:
        raise ClusterError(f"{error}\n{advice}") from error
    found = re.match(r"go1\.(\d+)", said)
    if found is None or int(found[1]) < _GO_MINOR_MIN:
        raise ClusterError(f"{said.strip()} is too old: {advice}")


def _pause_version() -> str:
    """The source is its own version."""
    return hashlib.sha256((_SOURCES / "pause.c").read_bytes()).hexdigest()[:12]
