"""Export from a directory that no member uses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from gossipkv import Node, SyncClient
from gossipkv.cli.files.stored_rows import stored_rows
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.storage.lmdb import LmdbStorage
from tests.cli.conftest import Run, served
from tests.processes.members import free_port

ROWS = 6_000
"""More than are looked at in one view."""


@contextmanager
def member_on(data_dir: Path) -> Iterator[str]:
    """The URL of a member that holds these data."""

    @asynccontextmanager
    async def running() -> AsyncIterator[int]:
        port = free_port()
        node = Node(data_dir=data_dir, member="m0", gossip_port=free_port(), http_port=port, bootstrap_timeout_ms=1)
        async with node:
            yield port

    with served(running) as url:
        yield url


@pytest.mark.parametrize("format_name", ["ndjson", "tsv"])
def test_it_is_the_same_as_from_the_member(run: Run, tmp_path: Path, format_name: str) -> None:
    data_dir = tmp_path / "data"
    with member_on(data_dir) as url:
        with SyncClient([url]) as client:
            rows, carts = client.table("rows"), client.table("carts")
            for number in range(20):
                rows.put(f"{number:05}", b"\xff\t\n%d" % number)
            rows.delete("00003")
            rows.put("00004", b"v", ttl="1ms")
            carts.configure(conflicts="siblings")
            carts.put("alice", b"milk")
            carts.put("alice", b"bread")
        tables = ("rows", "carts")
        of_member = [run("export", table, "--format", format_name, "--server", url).out for table in tables]
    assert of_member[0].count(b"\n") == 18
    assert (b"siblings" in of_member[1]) == (format_name == "ndjson")
    here = [run("export", table, "--format", format_name, "--data-dir", data_dir).out for table in tables]
    assert here == of_member
    assert json.loads(run("export", "members", "-n", "sys", "--data-dir", data_dir).out)["row"] == "m0"


def test_a_large_table_is_exported_whole(run: Run, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    source = tmp_path / "rows.tsv"
    source.write_text("".join(f"{number:05}\t{number}\n" for number in range(ROWS)))
    with member_on(data_dir) as url:
        run("import", "large", source, "--server", url)
    out = run("export", "large", tmp_path / "out.tsv", "--data-dir", data_dir)
    assert "6,000 rows" in out.err
    assert (tmp_path / "out.tsv").read_text() == source.read_text()


def test_of_large_rows_few_are_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipkv.rows.view.local_rows.PAGE_BYTES_MAX", 2_500)
    keys = [f"{number}" for number in range(8)]
    with member_on(tmp_path) as url, SyncClient([url]) as client:
        for key in keys:
            client.table("t").put(key, b"v" * (1_000 if key != "5" else 10_000))
    with stored_rows(tmp_path, "usr", "t") as pages:
        lengths = [len(page) for page in pages]
    assert lengths == [3, 3, 2]


def test_what_is_no_members_data_is_told(run: Run, tmp_path: Path) -> None:
    missing = run("export", "t", "--data-dir", tmp_path / "absent", code=ExitCode.DATA_DIRECTORY)
    assert "absent holds no data of a member" in missing.err
    assert not (tmp_path / "absent").exists()
    (tmp_path / "data.mdb").write_bytes(b"no store" * 4096)
    assert "cannot be opened" in run("export", "t", "--data-dir", tmp_path, code=ExitCode.DATA_DIRECTORY).err


def test_data_in_use_are_left_alone(run: Run, tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path / "data")
    try:
        outcome = run("export", "t", tmp_path / "out", "--data-dir", tmp_path / "data", code=ExitCode.DATA_DIRECTORY)
        assert "in use by another process" in outcome.err
        assert not (tmp_path / "out").exists()
    finally:
        storage.close()


def test_rows_come_from_one_place(run: Run, member: str, tmp_path: Path) -> None:
    outcome = run("export", "t", "--data-dir", tmp_path, "--server", member, code=ExitCode.USAGE)
    assert "not from both" in outcome.err
    run("export", "no name", "--data-dir", tmp_path, code=ExitCode.USAGE)
