"""The image of gossipkv, built from the project's Dockerfile on a machine that has no registry and no Docker.

- The image that the Dockerfile begins with is made here, once, and bears the public one's name.
- buildah's storage lies beside the other tools: what a step made is taken again while what it was made of is the same.
- How this machine reaches a package index is mounted during the build and is not in the image.
"""

from __future__ import annotations

import os
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from tests.kubernetes.cluster.base_image import Interpreter
from tests.kubernetes.cluster.pip_configuration import PipConfiguration
from tests.kubernetes.cluster.processes import ClusterError, run
from tests.kubernetes.cluster.tools import Tools

PROJECT = Path(__file__).resolve().parents[3]
_BUILD_TIMEOUT_S = 900.0
_BUILDAH_TIMEOUT_S = 300.0
_BUILD_STAGE = "gossipkv-build-stage"


def version() -> str:
    """The project's, which is also the tag that the chart takes."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        project: dict[str, str] = tomllib.load(file)["project"]
    return project["version"]


def build_image(tag: str, directory: Path, say: Callable[[str], None], tools: Tools | None = None) -> Path:
    """An archive of the image, such as `ctr images import` and `docker load` take. `tag` is such as gossipkv:0.1.0;
    the archive is written to the directory. Raises ClusterError."""
    tools = tools or Tools.default()
    storage = tools.directory / "images"
    storage.mkdir(parents=True, exist_ok=True)
    with tools.locked():
        return _build(tag, directory, say, storage)


def _build(tag: str, directory: Path, say: Callable[[str], None], storage: Path) -> Path:
    interpreter = Interpreter.found()
    _make_base(interpreter, storage, say)
    began = time.monotonic()
    arguments = {"PYTHON_VERSION": interpreter.version, "VERSION": version(), "REVISION": _of_commit("%H")}
    arguments["CREATED"] = _of_commit("%cI")
    with tempfile.TemporaryDirectory() as scratch:
        bud = ["bud", "--isolation=chroot", "--network=host", "--pull-never", "--layers", "--force-rm"]
        bud += [f"--build-arg={name}={value}" for name, value in arguments.items()]
        # First the stage that fetches packages, by itself: a mount leaves an empty file where it was, and the second
        # build, which takes that stage from the first, has none. With a name it is no leftover below.
        mounts = PipConfiguration.of_this_machine().mounts(Path(scratch) / "pip.conf")
        stage = ["--target=build", f"--tag={_BUILD_STAGE}"]
        _buildah(storage, *bud, *mounts, *stage, str(PROJECT), timeout_s=_BUILD_TIMEOUT_S)
        _buildah(storage, *bud, f"--tag={tag}", str(PROJECT), timeout_s=_BUILD_TIMEOUT_S)
    archive = directory / f"{tag.replace(':', '-').replace('/', '-')}.tar"
    archive.unlink(missing_ok=True)
    _buildah(storage, "push", f"localhost/{tag}", f"docker-archive:{archive}:{tag}")
    _buildah(storage, "rmi", "--prune")
    say(f"image {tag}: {time.monotonic() - began:.1f} s, {archive.stat().st_size / 1e6:.0f} MB")
    return archive


def _make_base(interpreter: Interpreter, storage: Path, say: Callable[[str], None]) -> None:
    """Makes the image that the Dockerfile begins with, unless it is there."""
    stamp = storage / "base"
    key = interpreter.key()
    if stamp.exists() and stamp.read_text(encoding="ascii") == key and _exists(storage, interpreter.image):
        return
    say(f"the base image {interpreter.image} is being made, with Python {interpreter.release}")
    began = time.monotonic()
    # Not where temporary files go: that may be mounted in a way which forbids devices.
    with tempfile.TemporaryDirectory(dir=storage, prefix="root-") as scratch:
        root = Path(scratch) / "root"
        interpreter.make_root(root)
        container = _buildah(storage, "from", "scratch").strip()
        try:
            _buildah(storage, "add", container, str(root), "/")
            path = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
            _buildah(storage, "config", f"--env=PATH={path}", "--env=LANG=C.UTF-8", "--cmd=python3", container)
            _buildah(storage, "commit", container, interpreter.image)
        finally:
            _buildah(storage, "rm", container)
    stamp.write_text(key, encoding="ascii")
    say(f"the base image is made: {time.monotonic() - began:.1f} s")


def _exists(storage: Path, name: str) -> bool:
    try:
        _buildah(storage, "inspect", "--type=image", name)
    except ClusterError:
        return False
    return True


def _of_commit(form: str) -> str:
    """Of the last commit, or nothing where this is no clone."""
    try:
        return run(["git", "-C", str(PROJECT), "log", "-1", f"--format={form}"], 30.0).strip()
    except ClusterError:
        return ""


def _buildah(storage: Path, *arguments: str, timeout_s: float = _BUILDAH_TIMEOUT_S) -> str:
    command = ["buildah", f"--root={storage}/storage", f"--runroot={storage}/run", "--storage-driver=overlay"]
    return run([*command, *arguments], timeout_s, environment={**os.environ, "BUILDAH_ISOLATION": "chroot"})
