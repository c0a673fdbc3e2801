from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kubernetes.cluster.image import PROJECT
from tests.kubernetes.cluster.pip_configuration import PipConfiguration
from tests.kubernetes.summary import Summary
from tests.kubernetes.unpacked_image import UnpackedImage

_DEADLINE_S = 30.0
_COMPILERS = ("cc", "gcc", "g++", "clang", "make", "ld", "as", "rustc", "go")


@pytest.fixture(scope="module")
def image(image_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> UnpackedImage:
    return UnpackedImage.of(image_archive, tmp_path_factory.mktemp("image"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class _Member:
    """`serve` in the image."""

    def __init__(self, process: subprocess.Popen[str], name: str, url: str, data: Path, log: Path) -> None:
        self.process = process
        self.name = name
        self.url = url
        self.data = data
        self._log = log

    @property
    def events(self) -> list[str]:
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["event"] for line in lines if line.startswith("{")]

    def answers(self, path: str) -> bool:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                self.url + path, timeout=5
            ) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def wait_for(self, path: str) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not self.answers(path):
            assert self.process.poll() is None, self._log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, f"{path} is not answered: {self._log.read_text(encoding='utf-8')}"
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        subprocess.run(["runc", "kill", self.name, str(number)], check=True, timeout=_DEADLINE_S)

    def modules(self) -> str:
        """What the program has mapped into its memory."""
        state = json.loads(subprocess.run(["runc", "state", self.name], capture_output=True, check=True).stdout)
        return Path(f"/proc/{state['pid']}/maps").read_text(encoding="utf-8")


@contextmanager
def _serving(image: UnpackedImage, directory: Path) -> Iterator[_Member]:
    data, log = directory / "data", directory / "log"
    data.mkdir()
    user, group = (int(part) for part in image.configuration["User"].split(":"))
    os.chown(data, user, group)
    port = _free_port()
    environment = {
        "GOSSIPKV_HTTP_PORT": str(port),
        "GOSSIPKV_GOSSIP_PORT": str(_free_port()),
        "GOSSIPKV_ADVERTISE_HOST": "127.0.0.1",
        "GOSSIPKV_LOG_FORMAT": "json",
        "GOSSIPKV_BOOTSTRAP_TIMEOUT_MS": "1",
    }
    command = [*image.configuration["Entrypoint"], *image.configuration["Cmd"]]
    with image.bundle(command, environment, data) as (bundle, name), log.open("w") as output:
        process = subprocess.Popen(
            ["runc", "run", "--bundle", str(bundle), name],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        member = _Member(process, name, f"http://127.0.0.1:{port}", data, log)
        try:
            yield member
        finally:
            if process.poll() is None:
                member.signal(signal.SIGKILL)
            process.wait(_DEADLINE_S)


def test_it_says_what_it_is_and_runs_as_a_numeric_user(image: UnpackedImage, summary: Summary) -> None:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    labels = image.configuration["Labels"]
    assert labels["org.opencontainers.image.version"] == version
    assert re.fullmatch(r"[0-9a-f]{40}|", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert image.configuration["User"] == "65532:65532"
    assert image.configuration["Entrypoint"] == ["gossipkv"]
    assert image.configuration["Cmd"] == ["serve"]
    assert set(image.configuration["ExposedPorts"]) == {"7080/tcp", "7081/tcp"}
    assert "Volumes" not in image.configuration
    answer = image.run("--version")
    assert (answer.returncode, answer.stdout.strip()) == (0, version), answer.stderr
    summary.add("image", f"{image.archive_bytes / 1e6:.0f} MB uncompressed")


def test_it_has_neither_pip_nor_a_compiler(image: UnpackedImage) -> None:
    directories = ("usr/local/bin", "usr/bin", "bin", "usr/local/sbin", "usr/sbin", "opt/gossipkv/bin")
    programs = {path.name for directory in directories for path in (image.root / directory).glob("*")}
    assert {"python", "gossipkv"} <= programs
    assert not programs & set(_COMPILERS)
    assert not [name for name in programs if name.startswith("pip")]
    for module in ("pip", "ensurepip", "hatchling", "pytest"):
        answer = image.execute(["python", "-c", f"import {module}"])
        assert answer.returncode != 0, f"{module} can be imported"
        assert "ModuleNotFoundError" in answer.stderr


def test_nothing_of_the_machine_that_built_it_is_in_it(image: UnpackedImage) -> None:
    configuration = PipConfiguration.of_this_machine()
    found = {"etc/pip.conf", *(str(path).lstrip("/") for path in configuration.paths() if path.is_dir())} & image.names
    assert found <= {"etc/ssl/certs"}
    words = configuration.secrets()
    said = "\n".join([*image.history, *image.configuration["Env"]])
    assert not [word for word in words if word in said]
    for path in (image.root / "opt" / "gossipkv").rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert not [word for word in words if word.encode() in content], path


def test_every_module_has_its_bytecode(image: UnpackedImage) -> None:
    """A read-only root keeps none that is made later."""
    library = next((image.root / "opt" / "gossipkv" / "lib").glob("python3*/site-packages"))
    for package in ("gossipkv", "aiohttp", "kubernetes"):
        sources = list((library / package).rglob("*.py"))
        assert sources
        for source in sources:
            assert list((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")), source


def test_a_member_serves_from_a_read_only_root_and_leaves_on_sigterm(
    image: UnpackedImage, tmp_path: Path, summary: Summary
) -> None:
    began = time.monotonic()
    with _serving(image, tmp_path) as member:
        member.wait_for("/livez")
        summary.add("image", f"{time.monotonic() - began:.2f} s from start to the first answer, runc included")
        member.wait_for("/readyz")
        # Discovery is static: the Kubernetes client, and what it alone brings, is not loaded.
        assert "pydantic_core" not in member.modules()
        assert "uvloop" in member.modules()
        member.signal(signal.SIGTERM)
        assert member.process.wait(_DEADLINE_S) == 0
        assert "stopping" in member.events
        assert list(member.data.iterdir())


def test_a_member_that_is_told_to_end_while_it_starts_ends(image: UnpackedImage, tmp_path: Path) -> None:
    with _serving(image, tmp_path) as member:
        deadline = time.monotonic() + _DEADLINE_S
        while not list(member.data.iterdir()):
            assert time.monotonic() < deadline, "it does not open its data directory"
            time.sleep(0.001)
        member.signal(signal.SIGTERM)
        assert member.process.wait(_DEADLINE_S) in (0, 143)
