from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.cluster import provisioner

_CLAIM: dict[str, Any] = {
    "metadata": {
        "name": "data-web-0",
        "namespace": "shop",
        "uid": "1b2c",
        "annotations": {"volume.kubernetes.io/selected-node": "node"},
    },
    "spec": {
        "storageClassName": "standard",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    },
    "status": {"phase": "Pending"},
}


class RecordedApi(provisioner.Api):
    """Answers with fixed lists and records what is written."""

    def __init__(self, claims: list[dict[str, Any]], volumes: list[dict[str, Any]]) -> None:
        self._lists = {"/api/v1/persistentvolumeclaims": claims, "/api/v1/persistentvolumes": volumes}
        self.written: list[tuple[str, str]] = []

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        if method == "GET":
            return {"items": self._lists[path]}
        self.written.append((method, path))
        return body or {}

    __slots__ = ("_lists", "written")
    __setattr__ = object.__setattr__


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(provisioner, "VOLUMES", tmp_path)
    return tmp_path


def _claim(**changes: Any) -> dict[str, Any]:
    claim = deepcopy(_CLAIM)
    for part, change in changes.items():
        claim[part].update(change)
    return claim


def _volume(phase: str) -> dict[str, Any]:
    return {**provisioner.volume_for(_CLAIM, "node"), "status": {"phase": phase}}


def test_a_claim_whose_pod_has_a_node_gets_a_directory_and_a_volume(volumes: Path) -> None:
    api = RecordedApi([_claim()], [])
    provisioner.serve_once(api, "node")
    assert api.written == [("POST", "/api/v1/persistentvolumes")]
    assert (volumes / "pvc-1b2c").is_dir()


def test_a_volume_is_bound_to_its_claim_and_to_the_node() -> None:
    spec = provisioner.volume_for(_claim(), "node")["spec"]
    assert spec["claimRef"]["uid"] == "1b2c"
    assert spec["capacity"] == {"storage": "1Gi"}
    term = spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]
    assert term["values"] == ["node"]


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"annotations": {}}},
        {"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}},
        {"spec": {"storageClassName": "another"}},
        {"spec": {"volumeName": "chosen-by-hand"}},
        {"status": {"phase": "Bound"}},
    ],
)
def test_a_claim_that_is_not_waiting_for_this_node_gets_nothing(changes: dict[str, Any], volumes: Path) -> None:
    api = RecordedApi([_claim(**changes)], [])
    provisioner.serve_once(api, "node")
    assert api.written == []
    assert list(volumes.iterdir()) == []


def test_a_claim_is_served_once(volumes: Path) -> None:
    api = RecordedApi([_claim()], [_volume("Available")])
    provisioner.serve_once(api, "node")
    assert api.written == []


def test_a_released_volume_is_deleted_with_what_it_holds(volumes: Path) -> None:
    (volumes / "pvc-1b2c").mkdir()
    (volumes / "pvc-1b2c" / "data.mdb").write_text("rows", encoding="utf-8")
    api = RecordedApi([], [_volume("Released")])
    provisioner.serve_once(api, "node")
    assert api.written == [("DELETE", "/api/v1/persistentvolumes/pvc-1b2c")]
    assert list(volumes.iterdir()) == []


def test_a_bound_volume_is_left_alone(volumes: Path) -> None:
    (volumes / "pvc-1b2c").mkdir()
    api = RecordedApi([], [_volume("Bound")])
    provisioner.serve_once(api, "node")
    assert api.written == []
    assert (volumes / "pvc-1b2c").is_dir()
