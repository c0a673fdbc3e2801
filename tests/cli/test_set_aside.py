"""Data that were set aside: what is listed of them, and what a merge brings back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gossipkv import SyncClient
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.causality import Context
from gossipkv.core.store.storage import View
from gossipkv.storage.account import Account
from gossipkv.storage.lmdb import LmdbStorage
from gossipkv.storage.set_aside import set_aside
from gossipkv.storage.unshared_rows import ROWS_FILE, write_unshared_rows
from tests.cli.conftest import Run
from tests.cli.test_export_here import member_on

NOW_MS = 1_767_323_045_678


def data_of(data_dir: Path, fill: Callable[[SyncClient], object]) -> tuple[int, dict[str, Context]]:
    """Data of a stopped member; its replica id, and what it covers."""
    with member_on(data_dir) as url, SyncClient([url]) as client:
        fill(client)
    storage = LmdbStorage(data_dir)
    with storage.view() as view:
        identity = view.identity()
        assert identity is not None
        covered = {shard: _context(view, shard) for shard in (SYSTEM, USER)}
    storage.close()
    return identity.replica, covered


def _context(view: View, shard: str) -> Context:
    record = view.shard_record(shard)
    return Context() if record is None else Context(record.context)


def set_of(tmp_path: Path, fill: Callable[[SyncClient], object], **known: Any) -> Path:
    """Data of a member that were set aside, and the file of their rows."""
    data_dir = tmp_path / "data"
    replica, _ = data_of(data_dir, fill)
    account = Account(replica, "a reason", NOW_MS, **known)
    path = set_aside(data_dir, account)
    write_unshared_rows(path, account)
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / ROWS_FILE).read_text().splitlines()]


def test_what_is_missing_is_put_back_and_nothing_else_changes(run: Run, member: str, tmp_path: Path) -> None:
    def fill(client: SyncClient) -> None:
        table = client.table("aside")
        for row, value in (("missing", b"\xff"), ("same", b"s"), ("other", b"ours"), ("a/b c", b"v")):
            table.put(row, value)
        table.put("gone", b"v")
        table.delete("gone")
        table.delete("kept")
        table.put("brief", b"v", ttl="1ms")
        table.put("long", b"v", ttl="1h")

    path = set_of(tmp_path, fill)
    by_row = {item["row"]: item for item in lines(path)}
    assert len(by_row) == 8
    assert (by_row["missing"]["kind"], by_row["missing"]["value"]) == ("put", {"base64": "/w=="})
    assert (by_row["gone"]["kind"], by_row["gone"]["delete"]) == ("delete", True)
    assert by_row["long"]["expires"] > by_row["long"]["timestamp"]
    with SyncClient([member]) as client:
        table = client.table("aside")
        for row, value in (("same", b"s"), ("other", b"theirs"), ("kept", b"kept")):
            table.put(row, value)
        before = {row.row: row.etag for row in table.range()}
        dry = run("set-aside", "merge", path, "--dry-run", code=ExitCode.CONFLICTS)
        assert {row.row: row.etag for row in table.range()} == before
        first = run("set-aside", "merge", path, code=ExitCode.CONFLICTS)
        assert dry.out == first.out
        assert "dry run" in dry.err
        said = first.out.decode().splitlines()
        assert "aside/other: left: the cluster has another value" in said
        assert "aside/kept: left: deleted in the set, and not in the cluster" in said
        after = {row.row: row for row in table.range()}
        assert {row: found.etag for row, found in after.items() if row in before} == before
        assert {row: found.value for row, found in after.items() if row not in before} == {
            "missing": b"\xff",
            "a/b c": b"v",
            "long": b"v",
        }
        run("set-aside", "merge", path, code=ExitCode.CONFLICTS)
        assert {row.row: row.etag for row in table.range()} == {row: found.etag for row, found in after.items()}
        table.put("other", b"ours")
        table.delete("kept")
        assert "8 rows" in run("set-aside", "merge", path).err
        assert run("export", "aside", "--data-dir", path).out, "the set is as it was"


def test_what_others_are_known_to_have_is_not_put_back(run: Run, member: str, tmp_path: Path) -> None:
    def fill(client: SyncClient) -> None:
        for number in range(6):
            client.table("covered").put(f"{number}", b"v")

    data_dir = tmp_path / "data"
    replica, covered = data_of(data_dir, fill)
    account = Account(replica, "a reason", NOW_MS, {USER: Context({replica: 4}), SYSTEM: covered[SYSTEM]})
    path = set_aside(data_dir, account)
    listed = write_unshared_rows(path, account)
    assert listed == (2, ["usr/covered/4", "usr/covered/5"])
    run("set-aside", "merge", path)
    with SyncClient([member]) as client:
        assert [row.row for row in client.table("covered").range()] == ["4", "5"]


def test_names_that_may_stand_for_other_writes_count_as_unknown(tmp_path: Path) -> None:
    def fill(client: SyncClient) -> None:
        for number in range(6):
            client.table("old").put(f"{number}", b"v")

    data_dir = tmp_path / "data"
    replica, _ = data_of(data_dir, fill)
    account = Account(replica, "a reason", NOW_MS, {USER: Context({replica: 40})}, {USER: 3})
    path = set_aside(data_dir, account)
    assert write_unshared_rows(path, account).first == ["usr/old/3", "usr/old/4", "usr/old/5"]


def test_siblings_are_put_beside_what_is_there_and_settings_come_first(run: Run, member: str, tmp_path: Path) -> None:
    def fill(client: SyncClient) -> None:
        for name in ("carts-there", "carts-new"):
            table = client.table(name)
            table.configure(conflicts="siblings")
            table.put("alice", b"milk")
            table.put("alice", b"bread")

    path = set_of(tmp_path, fill)
    assert [len(item.get("siblings", ())) for item in lines(path) if item["namespace"] == USER] == [2, 2]
    with SyncClient([member]) as client:
        there = client.table("carts-there", resolve=b"+".join)
        there.configure(conflicts="siblings")
        there.put("alice", b"eggs")
        there.put("alice", b"milk")
        run("set-aside", "merge", path)
        run("set-aside", "merge", path)
        row, new = there.get("alice"), client.table("carts-new", resolve=b"+".join).get("alice")
        assert row is not None
        assert sorted(row.siblings) == [b"bread", b"eggs", b"milk"]
        assert new is not None
        assert sorted(new.siblings) == [b"bread", b"milk"]


def test_settings_that_differ_are_left(run: Run, member: str, tmp_path: Path) -> None:
    path = set_of(tmp_path, lambda client: client.table("settled").configure(conflicts="siblings"))
    with SyncClient([member]) as client:
        client.table("settled").configure(conflicts="lww")
        outcome = run("set-aside", "merge", path, code=ExitCode.CONFLICTS)
        assert b"sys/tables/settled: left" in outcome.out
        described = client.table("settled").describe()
        assert described is not None
        assert described["settings"]["conflicts"] == "lww"


def test_a_write_that_the_cluster_knows_is_not_put_back_though_its_row_is_gone(run: Run, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with member_on(data_dir) as url, SyncClient([url]) as client:
        table = client.table("known")
        table.put("deleted", b"v")
        table.put("kept", b"v")
        copy = tmp_path / "copy"
        copy.mkdir()
        storage_file = (data_dir / "data.mdb").read_bytes()
        (copy / "data.mdb").write_bytes(storage_file)
        table.delete("deleted")
        outcome = run("set-aside", "merge", copy, "--server", url)
        assert "2 known to the cluster" in outcome.err
        assert [row.row for row in table.range()] == ["kept"]


def test_sets_are_listed(run: Run, tmp_path: Path) -> None:
    path = set_of(tmp_path, lambda client: client.table("listed").put("k", b"v"))
    shown = json.loads(run("set-aside", "list", "--data-dir", tmp_path / "data", "-o", "json").out)
    assert shown["path"] == str(path)
    assert (shown["set_aside"], shown["reason"], shown["rows_only_here"]) == ("2026-01-02T03:04:05.678Z", "a reason", 1)
    out = run("set-aside", "list", "--data-dir", tmp_path / "data").out.decode()
    assert "rows only here" in out
    assert "a reason" in out
    assert run("set-aside", "list", "--data-dir", tmp_path / "nothing").out.decode().count("\n") == 1


def test_what_is_no_set_is_told(run: Run, tmp_path: Path) -> None:
    outcome = run("set-aside", "merge", tmp_path / "absent", code=ExitCode.DATA_DIRECTORY)
    assert "absent holds no data of a member" in outcome.err
    path = set_of(tmp_path, lambda client: client.table("unreached").put("k", b"v"))
    run("set-aside", "merge", path, "--server", "http://127.0.0.1:1", code=ExitCode.UNAVAILABLE)
