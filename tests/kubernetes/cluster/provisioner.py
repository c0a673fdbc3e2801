"""Makes volumes for claims as a storage driver does: a directory of the node per claim, gone when the claim is gone.

Runs as a process of the node. A claim is served once the scheduler has chosen the node for its pod; a volume is emptied
and deleted once Kubernetes has released it and its policy is Delete. Everything is read anew each time, so that an
outage of the API server or a restart costs nothing but time.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import shutil
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PROVISIONER = "gossipkv.test/directories"
STORAGE_CLASS = "standard"
VOLUMES = Path("/var/local-volumes")
_INTERVAL_S = 0.3
_REQUEST_TIMEOUT_S = 10.0
_CLAIMS, _VOLUMES = "/api/v1/persistentvolumeclaims", "/api/v1/persistentvolumes"


@dataclass(frozen=True, slots=True)
class Api:
    """As much of a Kubernetes client as this needs."""

    host: str
    port: int
    context: ssl.SSLContext

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Api:
        """Reads a kubeconfig as `Authority.write_kubeconfig` writes it."""
        kubeconfig = json.loads(path.read_text(encoding="utf-8"))
        cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode("ascii")
        context = ssl.create_default_context(cadata=authority)
        pem = path.with_suffix(".pem")
        pem.touch(0o600)
        pem.write_bytes(b"".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
        context.load_cert_chain(pem)
        url = urlsplit(cluster["server"])
        assert url.hostname is not None
        assert url.port is not None
        return cls(url.hostname, url.port, context)

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Raises OSError or http.client.HTTPException when the API does not answer, or refuses."""
        connection = http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=_REQUEST_TIMEOUT_S)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 400 and response.status not in (404, 409):
            raise http.client.HTTPException(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
        parsed: dict[str, Any] = json.loads(answer)
        return parsed


def serve_once(api: Api, node_name: str) -> None:
    """Brings volumes into step with claims."""
    volumes = api.request("GET", _VOLUMES)["items"]
    present = {volume["metadata"]["name"] for volume in volumes}
    for claim in api.request("GET", _CLAIMS)["items"]:
        if is_waiting(claim, node_name) and volume_name(claim) not in present:
            (VOLUMES / volume_name(claim)).mkdir(mode=0o755, exist_ok=True)
            api.request("POST", _VOLUMES, volume_for(claim, node_name))
            _log(f"{volume_name(claim)} for {claim['metadata']['namespace']}/{claim['metadata']['name']}")
    for volume in volumes:
        if is_released(volume):
            name = volume["metadata"]["name"]
            shutil.rmtree(VOLUMES / name, ignore_errors=True)
            api.request("DELETE", f"{_VOLUMES}/{name}")
            _log(f"{name} deleted")


def is_waiting(claim: dict[str, Any], node_name: str) -> bool:
    """Whether a pod on this node waits for a volume of ours."""
    annotations = claim["metadata"].get("annotations", {})
    return (
        claim["status"].get("phase") == "Pending"
        and claim["spec"].get("storageClassName") == STORAGE_CLASS
        and not claim["spec"].get("volumeName")
        and annotations.get("volume.kubernetes.io/selected-node") == node_name
        and "deletionTimestamp" not in claim["metadata"]
    )


def is_released(volume: dict[str, Any]) -> bool:
    """Whether a volume of ours has lost its claim and is to be deleted with it."""
    spec = volume["spec"]
    return (
        spec.get("storageClassName") == STORAGE_CLASS
        and spec["persistentVolumeReclaimPolicy"] == "Delete"
        and volume["status"].get("phase") == "Released"
        and "deletionTimestamp" not in volume["metadata"]
    )


def volume_name(claim: dict[str, Any]) -> str:
    return f"pvc-{claim['metadata']['uid']}"


def volume_for(claim: dict[str, Any], node_name: str) -> dict[str, Any]:
    """A volume already bound to the claim, from its side."""
    metadata, spec = claim["metadata"], claim["spec"]
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node_name]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(claim),
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": str(VOLUMES / volume_name(claim))},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        },
    }


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Provisions directories of a node as volumes until it is killed")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--node", required=True)
    arguments = parser.parse_args()
    api = Api.from_kubeconfig(arguments.kubeconfig)
    while True:
        try:
            serve_once(api, arguments.node)
        except (OSError, http.client.HTTPException) as error:
            _log(f"{type(error).__name__}: {error}")
        time.sleep(_INTERVAL_S)


if __name__ == "__main__":
    main()
