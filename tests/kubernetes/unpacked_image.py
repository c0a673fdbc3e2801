"""The image without a container engine: its configuration, its files, and processes that runc runs in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RUN_TIMEOUT_S = 60.0
_WHITEOUT = ".wh."


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    """`configuration` is that of the image; `root` its file system; `history` the commands that made it."""

    configuration: dict[str, Any]
    history: list[str]
    names: frozenset[str]
    root: Path
    archive_bytes: int

    @classmethod
    def of(cls, archive: Path, directory: Path) -> UnpackedImage:
        """Lays the layers of an archive over one another below the directory."""
        root = directory / "root"
        root.mkdir()
        names: set[str] = set()
        with tarfile.open(archive) as image:
            manifest = json.load(_member(image, "manifest.json"))[0]
            described = json.load(_member(image, manifest["Config"]))
            for layer in manifest["Layers"]:
                with tarfile.open(fileobj=_member(image, layer)) as files:
                    _lay_over(files, root, names)
        history = [step.get("created_by", "") for step in described["history"]]
        return cls(described["config"], history, frozenset(names), root, archive.stat().st_size)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The entry point with these arguments, to its end."""
        return self.execute([*self.configuration["Entrypoint"], *arguments])

    def execute(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """A command in the image, to its end."""
        with self.bundle(command, {}, None) as (bundle, name):
            return subprocess.run(
                ["runc", "run", "--bundle", str(bundle), name],
                capture_output=True,
                text=True,
                timeout=_RUN_TIMEOUT_S,
                check=False,
            )

    @contextmanager
    def bundle(
        self, command: Sequence[str], environment: dict[str, str], data: Path | None
    ) -> Iterator[tuple[Path, str]]:
        """What runc runs, and a name for it: as the image says, on the machine's network, with a read-only root, no
        capabilities, and nothing to write to but `data`."""
        name = f"gossipkv-image-test-{uuid.uuid4().hex[:12]}"
        bundle = self.root.parent / name
        bundle.mkdir()
        specification = self._specification(command, environment, data)
        (bundle / "config.json").write_text(json.dumps(specification), encoding="utf-8")
        try:
            yield bundle, name
        finally:
            subprocess.run(["runc", "delete", "--force", name], capture_output=True, timeout=_RUN_TIMEOUT_S, check=True)
            shutil.rmtree(bundle)

    def _specification(self, command: Sequence[str], environment: dict[str, str], data: Path | None) -> dict[str, Any]:
        user, group = (int(part) for part in self.configuration["User"].split(":"))
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
        ]
        if data is not None:
            mounts.append({"destination": "/data", "type": "bind", "source": str(data), "options": ["bind", "rw"]})
        variables = self.configuration["Env"] + [f"{key}={value}" for key, value in environment.items()]
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": user, "gid": group},
                "args": list(command),
                "env": variables,
                "cwd": self.configuration["WorkingDir"],
                "noNewPrivileges": True,
                "capabilities": {},
            },
            "root": {"path": str(self.root), "readonly": True},
            "hostname": "image-test",
            "mounts": mounts,
            # Process 1 of its own process namespace, as in a pod: there, signals have no default effect.
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
        }


def _member(archive: tarfile.TarFile, name: str) -> Any:
    file = archive.extractfile(name)
    assert file is not None, f"the archive has no {name}"
    return file


def _lay_over(layer: tarfile.TarFile, root: Path, names: set[str]) -> None:
    for entry in layer:
        path = root / entry.name
        names.add(entry.name.removeprefix("./"))
        if path.name.startswith(_WHITEOUT):
            hidden = path.with_name(path.name.removeprefix(_WHITEOUT))
            if hidden.is_dir() and not hidden.is_symlink():
                shutil.rmtree(hidden)
            else:
                hidden.unlink(missing_ok=True)
            continue
        if os.path.lexists(path) and not entry.isdir():
            path.unlink()
        layer.extract(entry, root, filter="fully_trusted")
