"""`python -m tests.kubernetes.cluster`: a real single-node Kubernetes for the tests, on this machine alone."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from tests.kubernetes.cluster import cluster, debian
from tests.kubernetes.cluster.api_server import running_api_server
from tests.kubernetes.cluster.cluster import Cluster
from tests.kubernetes.cluster.processes import ClusterError
from tests.kubernetes.cluster.tools import Tools


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _tools(_: Path | None) -> None:
    began = time.monotonic()
    for package in debian.install_missing():
        _say(f"installed {package}")
    Tools.default().build_missing(_say)
    _say(f"{time.monotonic() - began:5.1f} s  tools")


def _up(directory: Path | None) -> None:
    began = time.monotonic()
    started = Cluster.up(directory, _say)
    _say(f"{time.monotonic() - began:5.1f} s  in all")
    _say(f"export KUBECONFIG={started.kubeconfig}")


def _down(directory: Path | None) -> None:
    found = _chosen(directory)
    found.down()
    _say(f"{found.directory} is gone")


def _status(directory: Path | None) -> None:
    found = _chosen(directory)
    if not found.is_alive():
        raise ClusterError(f"the cluster in {found.directory} has ended; clear it away by `down`")
    for name, used in found.memory_bytes().items():
        _say(f"{used / 2**20:7.1f} MiB  {name}")
    _say(f"{found.addresses.range} is its network, {found.logs} its logs")
    _say(f"export KUBECONFIG={found.kubeconfig}")


def _shell(directory: Path | None) -> None:
    found = _chosen(directory)
    assert found.namespaces is not None
    os.environ["KUBECONFIG"] = str(found.kubeconfig)
    os.environ["PATH"] = f"{found.tools.binaries}{os.pathsep}{os.environ['PATH']}"
    command = found.namespaces.entering([os.environ.get("SHELL", "/bin/sh")])
    os.execvp(command[0], command)


def _stop_api_server(directory: Path | None) -> None:
    _chosen(directory).stop("kube-apiserver")


def _start_api_server(directory: Path | None) -> None:
    _chosen(directory).start("kube-apiserver")


def _install_crds(directory: Path | None) -> None:
    _chosen(directory).install_crds()


def _api_server(directory: Path | None) -> None:
    tools = Tools.default()
    tools.build_missing(_say)
    with running_api_server(tools, directory) as server:
        _say(f"export KUBECONFIG={server.kubeconfig}")
        _say("Ctrl-C ends it")
        signal.pause()


def _chosen(directory: Path | None) -> Cluster:
    if directory is not None:
        return Cluster.open(directory.resolve())
    found = cluster.default_directories()
    if len(found) != 1:
        listed = "\n".join(str(each) for each in found) or "none runs under the directory for temporary files"
        raise ClusterError(f"name the cluster by --directory; {listed}")
    return Cluster.open(found[0])


_COMMANDS = {
    "tools": (_tools, "install and build what is missing, into the cache"),
    "up": (_up, "start a cluster and wait until its node is ready"),
    "down": (_down, "end a cluster and clear all of it away"),
    "status": (_status, "say what runs and how much memory it takes"),
    "shell": (_shell, "a shell inside the node"),
    "stop-api-server": (_stop_api_server, "end the API server; pods go on"),
    "start-api-server": (_start_api_server, "start the API server again"),
    "install-crds": (_install_crds, "define ServiceMonitor, PrometheusRule and HTTPRoute"),
    "api-server": (_api_server, "an API server alone, until interrupted, to validate manifests with"),
}


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kubernetes.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, description) in _COMMANDS.items():
        command = commands.add_parser(name, help=description)
        command.add_argument("--directory", type=Path, help="of the cluster; by default one under $TMPDIR")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        _COMMANDS[arguments.command][0](arguments.directory)
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was started is ended\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
