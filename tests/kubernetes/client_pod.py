"""Pods that use the store as an application would: by the name of its Service, from elsewhere in the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubernetes.kubectl import until
from tests.kubernetes.release import Release

_PROGRAM = Path(__file__).parent / "load" / "write_load.py"
_WRITERS = 4
_IDLE = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); signal.pause()"
_TERMINATE = "import os, signal; os.kill(1, signal.SIGTERM)"
_REQUESTS = {"requests": {"cpu": "50m", "memory": "64Mi"}}


@dataclass(frozen=True, slots=True)
class ClientPod:
    """Idles, for commands to be run in it."""

    release: Release
    name: str = "client"

    def start(self) -> None:
        pod = _pod(self.name, self.release.image, ["python", "-c", _IDLE])
        self.release.kubectl.apply(pod)
        self.release.kubectl("wait", "--for=condition=Ready", f"pod/{self.name}", "--timeout=60s")

    def write(self, table: str, rows: Iterable[str]) -> set[str]:
        """Puts rows through the client Service; their keys."""
        keys = set(rows)
        lines = "".join(json.dumps({"row": row, "value": row}) + "\n" for row in sorted(keys))
        command = ["gossipkv", "--server", self.release.service_url, "import", table, "-"]
        self.release.kubectl("exec", "--stdin", self.name, "--", *command, text_in=lines)
        return keys


@dataclass(frozen=True, slots=True)
class WriteLoad:
    """Writes without end through the client Service."""

    release: Release
    table: str

    @property
    def name(self) -> str:
        return f"load-{self.table}"

    def start(self) -> None:
        """Returns when rows arrive."""
        kubectl = self.release.kubectl
        program = {"write_load.py": _PROGRAM.read_text(encoding="utf-8")}
        kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name}, "data": program})
        command = ["python", "/load/write_load.py", self.release.service_url, self.table, str(_WRITERS)]
        pod = _pod(self.name, self.release.image, command)
        pod["spec"]["volumes"] = [{"name": "load", "configMap": {"name": self.name}}]
        pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "load", "mountPath": "/load"}]
        kubectl.apply(pod)
        kubectl("wait", "--for=condition=Ready", f"pod/{self.name}", "--timeout=60s")
        first = self.release.ready_pods()[0]
        until(lambda: self.release.rows(first, self.table), "the load writes", 60.0)

    def stop(self) -> dict[str, Any]:
        """Its account of what it wrote."""
        kubectl = self.release.kubectl
        kubectl("exec", self.name, "--", "python", "-c", _TERMINATE)
        kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{self.name}", "--timeout=60s")
        account: dict[str, Any] = json.loads(kubectl("logs", self.name).splitlines()[-1])
        kubectl("delete", "pod", self.name, "--wait=false")
        return account

    def lost(self, account: dict[str, Any], pod: str) -> set[str]:
        """Acknowledged rows that a member does not have."""
        unacknowledged = set(account["unacknowledged"])
        written = {f"row-{number:08d}" for number in range(account["attempted"])}
        return written - unacknowledged - self.release.rows(pod, self.table)


def figures(account: dict[str, Any], lost: int) -> str:
    refused = ", ".join(f"{count} × {reason}" for reason, count in account["refusals"].items())
    return (
        f"{account['attempted']} writes attempted, {account['acknowledged']} acknowledged, "
        f"{len(account['unacknowledged'])} refused{f' ({refused})' if refused else ''}, {lost} lost, "
        f"longest pause {account['longest_pause_seconds']:.2f} s"
    )


def _pod(name: str, image: str, command: list[str]) -> dict[str, Any]:
    """As the restricted standard demands."""
    container = {
        "name": "client",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "resources": _REQUESTS,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
