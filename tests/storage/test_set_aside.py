from __future__ import annotations

import errno
from pathlib import Path

import lmdb
import pytest

from gossipkv.core.model.causality import Context
from gossipkv.core.store.storage import Identity, StorageError
from gossipkv.storage import set_aside as module
from gossipkv.storage.account import ACCOUNT_FILE, Account
from gossipkv.storage.lmdb import LmdbStorage
from gossipkv.storage.set_aside import all_set_aside, set_aside

REPLICA = 0x9258018B7FC8043C
NOW_MS = 1_767_323_045_678
IDENTITY = Identity("gossipkv", "gossipkv-0", REPLICA, 1)
ACCOUNT = Account(REPLICA, "a reason", NOW_MS, {"usr": Context({REPLICA: 7, 2: 3})}, {"usr": 5})


def fill(data_dir: Path) -> None:
    storage = LmdbStorage(data_dir)
    transaction = storage.begin()
    transaction.put_identity(IDENTITY)
    transaction.commit()
    storage.close()


def identity_in(data_dir: Path) -> Identity | None:
    """As whoever opens the directory finds it."""
    storage = LmdbStorage(data_dir)
    try:
        with storage.view() as view:
            return view.identity()
    finally:
        storage.close()


def test_what_is_set_aside_can_be_read_and_the_directory_is_empty(tmp_path: Path) -> None:
    fill(tmp_path)
    path = set_aside(tmp_path, ACCOUNT)
    assert path == tmp_path / "set-aside" / "20260102T030405Z-9258018b7fc8043c"
    assert identity_in(path) == IDENTITY
    assert identity_in(tmp_path) is None
    assert all_set_aside(tmp_path) == [path]
    assert Account.read(path, 0) == ACCOUNT


def test_a_set_without_an_account_or_with_a_damaged_one_is_one_of_which_nothing_is_known(tmp_path: Path) -> None:
    fill(tmp_path)
    path = set_aside(tmp_path, ACCOUNT)
    for damage in (b"", b"{}", b"[]", b'{"replica": 7}', b"\xff"):
        (path / ACCOUNT_FILE).write_bytes(damage)
        account = Account.read(path, REPLICA)
        assert (account.replica, account.covered, account.reason) == (REPLICA, {}, "not known")
    (path / ACCOUNT_FILE).unlink()
    assert not Account.read(path, REPLICA).knows_others("usr")


def test_writes_of_an_old_copy_are_covered_up_to_where_its_names_are_its_own() -> None:
    assert ACCOUNT.covered_through("usr", REPLICA) == 5
    assert [ACCOUNT.is_ambiguous("usr", REPLICA, sequence) for sequence in (5, 6)] == [False, True]
    assert (ACCOUNT.covered_through("usr", 2), ACCOUNT.is_ambiguous("usr", 2, 9)) == (3, False)
    assert ACCOUNT.covered_through("sys", REPLICA) == 0
    assert not ACCOUNT.is_ambiguous("sys", REPLICA, 9)


def test_nothing_that_was_set_aside_is_written_over(tmp_path: Path) -> None:
    paths = []
    for _ in range(3):
        fill(tmp_path)
        paths.append(set_aside(tmp_path, ACCOUNT))
    assert all_set_aside(tmp_path) == sorted(paths)
    assert len(set(paths)) == 3
    assert [identity_in(path) for path in paths] == [IDENTITY] * 3


@pytest.mark.parametrize("step", range(5))
def test_an_end_at_any_moment_leaves_the_data_where_they_were_or_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    fill(tmp_path)
    moments = iter(range(5))

    def ended(*_: object) -> None:
        if next(moments) == step:
            raise OSError(errno.EIO, "Input/output error")

    rename = Path.rename

    def rename_unless_ended(source: Path, target: Path) -> Path:
        ended()
        return rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(module, "_sync", ended)
        patched.setattr(Path, "rename", rename_unless_ended)
        with pytest.raises(StorageError, match="cannot be set aside"):
            set_aside(tmp_path, ACCOUNT)
    has_moved = step > 2
    assert [identity_in(path) for path in all_set_aside(tmp_path)] == ([IDENTITY] if has_moved else [])
    assert identity_in(tmp_path) == (None if has_moved else IDENTITY)
    if not has_moved:
        assert identity_in(set_aside(tmp_path, ACCOUNT)) == IDENTITY


def test_data_in_use_are_not_set_aside(tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path)
    with pytest.raises(StorageError, match="in use by another process"):
        set_aside(tmp_path, ACCOUNT)
    storage.close()
    assert all_set_aside(tmp_path) == []


def test_a_store_that_must_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no data of a member"):
        LmdbStorage(tmp_path / "absent", must_exist=True)
    assert not (tmp_path / "absent").exists()
    other = tmp_path / "other"
    with lmdb.open(str(other)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"of", b"another program")
    before = (other / "data.mdb").read_bytes()
    with pytest.raises(StorageError, match="not the data of a member"):
        LmdbStorage(other, must_exist=True)
    assert (other / "data.mdb").read_bytes() == before
