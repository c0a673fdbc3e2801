"""The Debian packages that hold what is not built here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.kubernetes.cluster.processes import ClusterError, run

_APT_TIMEOUT_S = 600.0
_PACKAGE_OF_PROGRAM = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "nft": "nftables",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "etcd": "etcd-server",
    "prometheus": "prometheus",
    "shellcheck": "shellcheck",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "openssl": "openssl",
    "gcc": "gcc",
}
"""An absolute path is a file that is not looked for in PATH."""


def install_missing(programs: Iterable[str] = tuple(_PACKAGE_OF_PROGRAM)) -> list[str]:
    """Installs the packages of the programs that are missing, and says which those were.

    Raises ClusterError with the command to run where this user may not install.
    """
    missing = sorted({_PACKAGE_OF_PROGRAM[program] for program in programs if not _is_installed(program)})
    if not missing:
        return []
    command = f"apt-get install --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(f"programs are missing; run as root on Debian 12 or later: {command}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # The packages' own services would run beside the tests; a policy of 101 tells Debian not to start them.
    policy = Path("/usr/sbin/policy-rc.d")
    is_ours = not policy.exists()
    if is_ours:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        policy.chmod(0o755)
    try:
        run(["apt-get", "update"], _APT_TIMEOUT_S, environment=environment)
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
        run(install, _APT_TIMEOUT_S, environment=environment)
    finally:
        if is_ours:
            policy.unlink()
    return missing


def _is_installed(program: str) -> bool:
    return Path(program).exists() if program.startswith("/") else shutil.which(program) is not None
