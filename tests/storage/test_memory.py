"""What storage in memory does beyond the contract: faults, crashes and backups."""

from __future__ import annotations

import pytest

from gossipkv.core.model.room import Usage
from gossipkv.core.store.storage import StorageError, StorageFailedError, StorageFullError
from gossipkv.storage.memory import MemoryStorage


def put_page(storage: MemoryStorage, content: bytes) -> None:
    transaction = storage.begin()
    transaction.put_page("usr", 1, content)
    transaction.commit()


def pages_of(storage: MemoryStorage) -> list[tuple[int, bytes]]:
    with storage.view() as view:
        return list(view.pages("usr"))


def test_a_commit_that_fails_for_want_of_room_leaves_nothing_and_the_next_succeeds() -> None:
    storage = MemoryStorage()
    put_page(storage, b"old")
    storage.fail_next_commit(StorageFullError("full"))
    with pytest.raises(StorageFullError, match="full"):
        put_page(storage, b"lost")
    assert pages_of(storage) == [(1, b"old")]
    put_page(storage, b"new")
    assert pages_of(storage) == [(1, b"new")]


def test_a_failed_volume_takes_no_writes_until_the_process_starts_again() -> None:
    storage = MemoryStorage()
    put_page(storage, b"old")
    storage.fail_next_commit(StorageFailedError("input/output error"))
    with pytest.raises(StorageFailedError):
        put_page(storage, b"lost")
    with pytest.raises(StorageFailedError):
        storage.begin()
    assert pages_of(storage) == [(1, b"old")]
    storage.crash()
    put_page(storage, b"new")
    assert pages_of(storage) == [(1, b"new")]


def test_an_empty_commit_touches_no_volume_and_cannot_fail() -> None:
    storage = MemoryStorage()
    storage.fail_next_commit(StorageError("armed"))
    storage.begin().commit()
    with pytest.raises(StorageError, match="armed"):
        put_page(storage, b"lost")


def test_a_crash_ends_what_was_open() -> None:
    storage = MemoryStorage()
    view, transaction = storage.view(), storage.begin()
    transaction.put_page("usr", 1, b"lost")
    storage.crash()
    with pytest.raises(AssertionError):
        transaction.put_page("usr", 1, b"late")
    with pytest.raises(AssertionError):
        transaction.commit()
    with pytest.raises(AssertionError):
        view.identity()
    assert pages_of(storage) == []


def test_a_backup_is_apart_from_the_store_and_can_be_restored_twice() -> None:
    storage = MemoryStorage()
    put_page(storage, b"old")
    backup = storage.snapshot()
    for content in (b"new", b"newer"):
        put_page(storage, content)
        assert pages_of(backup) == [(1, b"old")]
        storage.restore(backup)
        assert pages_of(storage) == [(1, b"old")]


def test_the_usage_is_what_a_test_sets() -> None:
    storage = MemoryStorage()
    assert storage.usage.share == 0.0
    storage.usage = Usage(95, 100)
    assert storage.usage.share == 0.95
