"""An installed chart and the members that it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubernetes.kubectl import Kubectl, until

CHART = Path(__file__).resolve().parents[2] / "helm" / "gossipkv"
_SELECTOR = "--selector=app.kubernetes.io/name=gossipkv,app.kubernetes.io/instance="
_READY_TIMEOUT_S = 240.0


@dataclass(frozen=True, slots=True)
class Release:
    """`name` holds "gossipkv", so that it is the full name of all resources too. `image` is a reference."""

    kubectl: Kubectl
    name: str
    image: str

    @property
    def service_url(self) -> str:
        return f"http://{self.name}:7080"

    def install(self, *settings: str, chart: Path = CHART) -> float:
        """Seconds until all members are ready."""
        began = time.monotonic()
        self.kubectl.helm("install", self.name, str(chart), *self._flags(settings))
        return time.monotonic() - began

    def upgrade(self, *settings: str) -> float:
        """To the chart in this repository; seconds until all members are of the new revision, and ready."""
        began = time.monotonic()
        self.kubectl.helm(
            "upgrade", self.name, str(CHART), "--reset-then-reuse-values", *self._flags(settings), timeout_s=400.0
        )
        self.kubectl("rollout", "status", f"statefulset/{self.name}", "--timeout=300s", timeout_s=320.0)
        return time.monotonic() - began

    def uninstall(self) -> None:
        self.kubectl.helm("uninstall", self.name, "--wait", "--timeout=120s")

    def scale(self, replicas: int) -> None:
        self.kubectl.helm(
            "upgrade", self.name, str(CHART), "--reset-then-reuse-values", f"--set=replicaCount={replicas}"
        )

    def pods(self) -> dict[str, dict[str, Any]]:
        """By name; those that are ending too."""
        items = self.kubectl.get("pods", _SELECTOR + self.name, "--field-selector=status.phase!=Succeeded")["items"]
        return {
            pod["metadata"]["name"]: pod for pod in items if "controller-revision-hash" in pod["metadata"]["labels"]
        }

    def ready_pods(self) -> list[str]:
        return [name for name, pod in self.pods().items() if _is_ready(pod)]

    def lives(self) -> dict[str, tuple[str, int]]:
        """Each pod's uid and how often its container was restarted: equal, if nothing was."""
        lives = {}
        for name, pod in self.pods().items():
            containers = pod["status"].get("containerStatuses", [])
            lives[name] = (pod["metadata"]["uid"], sum(each["restartCount"] for each in containers))
        return lives

    def replace(self, *pods: str) -> float:
        """Deletes pods; seconds until others have taken their names."""
        before = {name: life[0] for name, life in self.lives().items()}
        self.kubectl("delete", "pod", *pods, "--wait=false")

        def are_replaced() -> bool:
            now = {name: life[0] for name, life in self.lives().items()}
            return all(pod in now and now[pod] != before[pod] for pod in pods)

        return until(are_replaced, f"{', '.join(pods)} replaced")

    def views(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Per ready member, what it says of each member."""
        views = {}
        for pod in self.ready_pods():
            members = self.kubectl.of_pod(pod, "/v1/cluster")["members"]
            views[pod] = {member["member"]: member for member in members}
        return views

    def is_whole(self, count: int) -> bool:
        """Whether so many members are ready and know each other alive."""
        return self._is_whole(count, self.views())

    def wait_converged(self, count: int) -> float:
        """Seconds until so many members are ready, know each other alive, and hold the same rows in both shards. While
        clients write they never do."""

        def has_converged() -> bool:
            views = self.views()
            return self._is_whole(count, views) and len({_fingerprints(pod, views) for pod in views}) == 1

        return until(has_converged, f"{count} members hold the same", _READY_TIMEOUT_S)

    def _is_whole(self, count: int, views: Mapping[str, Mapping[str, dict[str, Any]]]) -> bool:
        alive = [sorted(name for name, each in view.items() if each["status"] == "alive") for view in views.values()]
        return len(views) == count == len(self.pods()) and all(each == sorted(views) for each in alive)

    def rows(self, pod: str, table: str) -> set[str]:
        """The keys that one member has."""
        keys: set[str] = set()
        query = {"limit": "1000", "keys_only": "true"}
        while True:
            page = self.kubectl.of_pod(pod, f"/v1/usr/tables/{table}/rows", **query)
            keys |= {item["row"] for item in page["items"]}
            if page["next_cursor"] is None:
                return keys
            query["cursor"] = page["next_cursor"]

    def replica_ids(self) -> dict[str, str]:
        return {pod: view[pod]["replica"] for pod, view in self.views().items()}

    def log(self, pod: str) -> list[dict[str, Any]]:
        lines = self.kubectl("logs", pod, "--container=gossipkv").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def _flags(self, settings: Sequence[str]) -> list[str]:
        repository, _, tag = self.image.rpartition(":")
        values: Mapping[str, str] = {"image.repository": repository, "image.tag": tag, "persistence.size": "1Gi"}
        flags = [f"--set={name}={value}" for name, value in values.items()]
        return [*flags, *(f"--set={setting}" for setting in settings), "--wait", "--timeout=240s"]


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return is_ready and "deletionTimestamp" not in pod["metadata"]


def _fingerprints(pod: str, views: Mapping[str, Mapping[str, dict[str, Any]]]) -> tuple[str, str]:
    shards = views[pod][pod]["shards"]
    return shards["usr"]["fingerprint"], shards["sys"]["fingerprint"]
