"""A cluster as an administrator reaches it: kubectl and helm, each call with a deadline."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.kubernetes.cluster.processes import ClusterError, run
from tests.kubernetes.cluster.tools import Tools

_CALL_TIMEOUT_S = 120.0
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Calls in one namespace. Every method raises ClusterError with what the program says."""

    kubeconfig: str
    namespace: str

    def __call__(self, *arguments: str, text_in: str | None = None, timeout_s: float = _CALL_TIMEOUT_S) -> str:
        command = [_program("kubectl"), f"--namespace={self.namespace}", *arguments]
        return run(command, timeout_s, text_in, environment=self._environment())

    def helm(self, *arguments: str, timeout_s: float = 300.0) -> str:
        command = [_program("helm"), f"--namespace={self.namespace}", *arguments]
        return run(command, timeout_s, environment=self._environment())

    def get(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self("get", *arguments, "--output=json"))
        return answer

    def apply(self, *objects: dict[str, Any], dry_run: bool = False) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        flags = ["--dry-run=server"] if dry_run else []
        self("apply", *flags, "--filename=-", text_in=json.dumps(listed))

    def of_pod(self, pod: str, path: str, **query: str) -> dict[str, Any]:
        """What a member's HTTP API answers, through the API server."""
        text = f"?{urlencode(query)}" if query else ""
        raw = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:7080/proxy{path}{text}"
        answer: dict[str, Any] = json.loads(self("get", "--raw", raw, timeout_s=20.0))
        return answer

    def create_namespace(self) -> None:
        """One that refuses pods which do not meet the restricted standard."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}})

    def account(self) -> str:
        """What the cluster and the pods say, for a failure to be understood."""
        parts = []
        for arguments in (
            ("get", "pods,statefulsets,persistentvolumeclaims,endpointslices", "--output=wide"),
            ("describe", "pods"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("logs", "--selector=app.kubernetes.io/name=gossipkv", "--tail=60", "--prefix"),
        ):
            try:
                parts.append(f"--- kubectl {' '.join(arguments)}\n{self(*arguments, timeout_s=30.0)}")
            except ClusterError as error:
                parts.append(str(error))
        return "\n".join(parts)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": self.kubeconfig}


def until(condition: Callable[[], object], what: str, timeout_s: float = 120.0) -> float:
    """Seconds until a condition was met. What the cluster refuses in the meantime counts as not met."""
    began = time.monotonic()
    refusal = ""
    while True:
        try:
            if condition():
                return time.monotonic() - began
            refusal = ""
        except ClusterError as error:
            refusal = f": {error}"
        assert time.monotonic() - began < timeout_s, f"in vain for {timeout_s:.0f} s: {what}{refusal}"
        time.sleep(_POLL_S)


def _program(name: str) -> str:
    """Of the tools that the tests build, else the machine's own."""
    built = Tools.default().binary(name)
    found = str(built) if Path(built).exists() else shutil.which(name)
    if found is None:
        raise ClusterError(f"`{name}` is not installed: install it, or unset KUBECONFIG and have it built")
    return found
