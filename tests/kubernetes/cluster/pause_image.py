"""The image of a pod's sandbox: the pause program in an otherwise empty image, written as `docker save` would."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write(pause: Path, image: str, target: Path, machine: str) -> None:
    """`machine` is what `platform.machine()` says. The same program gives the same image."""
    program = pause.read_bytes()
    layer = _tar({"pause": (program, 0o755)})
    configuration = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    configuration_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = json.dumps([{"Config": configuration_name, "RepoTags": [image], "Layers": ["layer.tar"]}]).encode()
    files = {
        configuration_name: (configuration, 0o644),
        "layer.tar": (layer, 0o644),
        "manifest.json": (manifest, 0o644),
    }
    target.write_bytes(_tar(files))


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
