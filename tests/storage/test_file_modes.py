"""Data are for the user of the process alone, whatever its umask is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gossipkv.cli.files.exports import _destination
from gossipkv.dev import plan
from gossipkv.storage.account import Account
from gossipkv.storage.lmdb import LmdbStorage
from gossipkv.storage.set_aside import set_aside
from gossipkv.storage.unshared_rows import write_unshared_rows
from tests.processes.members import free_port


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(directory: Path) -> dict[str, str]:
    """What of a directory, itself included, others than its owner may use."""
    paths = [directory, *directory.rglob("*")]
    return {str(path): oct(mode_of(path)) for path in paths if mode_of(path) & 0o077}


@pytest.mark.parametrize("mask", [0, 0o022, 0o027])
def test_what_a_store_creates_is_private(tmp_path: Path, mask: int) -> None:
    data_dir = tmp_path / "above" / "data"
    with umask(mask):
        LmdbStorage(data_dir).close()
        path = set_aside(data_dir, Account(1, "a test", 1_700_000_000_000))
        write_unshared_rows(path, Account(1, "a test", 1_700_000_000_000))
        LmdbStorage(data_dir).close()
        assert os.umask(mask) == mask, "a library does not change the umask of its program"
    assert {each.name for each in data_dir.rglob("*")} >= {"data.mdb", "lock", "account.json", "rows.ndjson"}
    assert open_to_others(data_dir) == {}


def test_files_of_an_earlier_version_become_private_and_a_directory_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    LmdbStorage(tmp_path / "data").close()
    for path in (tmp_path / "data").iterdir():
        path.chmod(0o644)
    (tmp_path / "data").chmod(0o2775)
    LmdbStorage(tmp_path / "data").close()
    assert set(open_to_others(tmp_path / "data")) == {str(tmp_path / "data")}
    assert mode_of(tmp_path / "data") == 0o2775


def test_what_serve_writes_is_private(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    words = [
        "serve",
        "--member",
        "m0",
        "--data-dir",
        data_dir,
        "--http-host",
        "127.0.0.1",
        "--gossip-host",
        "127.0.0.1",
    ]
    words += ["--http-port", free_port(), "--gossip-port", free_port(), "--bootstrap-timeout-ms", 1]
    command = [sys.executable, "-m", "gossipkv", *map(str, words)]
    with subprocess.Popen(command, umask=0, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 20
            while not (data_dir / "data.mdb").exists():
                assert time.monotonic() < until
                time.sleep(0.05)
            of_process = Path(f"/proc/{process.pid}/status").read_text()
            assert "Umask:\t0077" in of_process
            assert open_to_others(data_dir) == {}
        finally:
            process.terminate()


def test_the_members_of_dev_have_private_directories(tmp_path: Path) -> None:
    with umask(0):
        members = plan.plan(2, tmp_path / "dev", 7080)
        plan.write(members)
    for member in members:
        assert mode_of(member.data_dir) == mode_of(member.log.parent) == 0o700


@pytest.mark.parametrize(
    ("existing", "mask", "expected"),
    [
        (None, 0o022, 0o644),
        (None, 0o077, 0o600),
        (None, 0, 0o666),
        (0o600, 0o022, 0o600),
        (0o600, 0, 0o600),
        (0o640, 0o077, 0o640),
        (0o664, 0o022, 0o664),
    ],
)
def test_an_export_keeps_the_permissions_of_the_file_that_it_replaces(
    tmp_path: Path, existing: int | None, mask: int, expected: int
) -> None:
    target = tmp_path / "rows.ndjson"
    if existing is not None:
        target.write_bytes(b"before")
        target.chmod(existing)
    with umask(mask), _destination(str(target)) as output:
        output.write(b"after")
        [temporary] = [path for path in tmp_path.iterdir() if path != target]
        assert mode_of(temporary) == expected
    assert target.read_bytes() == b"after"
    assert mode_of(target) == expected
    assert list(tmp_path.iterdir()) == [target]
