"""What storage on a volume does beyond the contract: room, faults, locks and formats."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest

from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.fingerprint import FingerprintTable
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.store.storage import StorageError, StorageFailedError, StorageFullError
from gossipkv.storage.directory import DataDirectory
from gossipkv.storage.encoding import FORMAT_VERSION
from gossipkv.storage.lmdb import LmdbStorage, LmdbTransaction

A = 0x8000_0000_0000_0001
MAP_SIZE_BYTES = 2**20


@contextmanager
def opened(path: Path, map_size_bytes: int = MAP_SIZE_BYTES) -> Iterator[LmdbStorage]:
    storage = LmdbStorage(path, map_size_bytes)
    try:
        yield storage
    finally:
        storage.close()


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LmdbStorage]:
    with opened(tmp_path / "data") as storage:
        yield storage


def address_of(number: int) -> bytes:
    return b"table\0%06d" % number


def put_rows(storage: LmdbStorage, first: int, count: int, value_bytes: int = 100) -> None:
    """Commit rows with ascending numbers, or abort and raise, as the driver does."""
    transaction = storage.begin()
    try:
        for number in range(first, first + count):
            version = Version(Dot(A, number + 1), number << 16, b"v" * value_bytes)
            address = address_of(number)
            transaction.put_row("usr", address, StoredRow((version,), Context({A: number + 1})), 7, is_new=True)
            transaction.put_journal("usr", A, number + 1, address)
        transaction.commit()
    finally:
        transaction.abort()


def rows_in(storage: LmdbStorage) -> int:
    with storage.view() as view:
        return sum(1 for _ in view.rows("usr", b"", b"\xff"))


@contextmanager
def files_limited_to(size_bytes: int) -> Iterator[None]:
    """A write across this size is cut short by the kernel, as it is by a volume that runs full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_map_fails_the_transaction_and_nothing_else(storage: LmdbStorage) -> None:
    put_rows(storage, 0, 10)
    with pytest.raises(StorageFullError, match="no room in the map"):
        put_rows(storage, 10, 10_000)
    assert rows_in(storage) == 10
    put_rows(storage, 10, 10)
    assert rows_in(storage) == 20


def test_a_transaction_that_a_full_map_ended_takes_no_more_writes(storage: LmdbStorage) -> None:
    transaction = storage.begin()
    with pytest.raises(StorageFullError):
        transaction.put_page("usr", 0, b"p" * 2 * MAP_SIZE_BYTES)
    with pytest.raises(AssertionError):
        transaction.put_page("usr", 0, b"late")
    with pytest.raises(AssertionError):
        transaction.commit()
    transaction.abort()


def fill(storage: LmdbStorage, share_max: float) -> int:
    """Put rows until so much is used or there is no room, and say how many there are."""
    number = 0
    while storage.usage.share < share_max:
        try:
            put_rows(storage, number, 20)
        except StorageFullError:
            return number
        number += 20
    return number


def test_a_store_that_fills_its_map_uses_most_of_it_and_says_so(storage: LmdbStorage) -> None:
    assert storage.usage.share < 0.05
    rows = fill(storage, 1.1)
    assert rows == rows_in(storage)
    assert 0.8 < storage.usage.share <= 1


def test_rows_that_are_deleted_give_their_room_back(storage: LmdbStorage) -> None:
    rows = fill(storage, 0.6)
    full = storage.usage.share
    for first in range(0, rows - 20, 20):
        transaction = storage.begin()
        for deleted in range(first, first + 20):
            transaction.delete_row("usr", address_of(deleted), 7)
            transaction.delete_journal("usr", A, deleted + 1, address_of(deleted))
        transaction.commit()
    assert storage.usage.share < 0.3 < full


def test_the_volume_counts_where_it_has_less_room_than_the_map(
    storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_rows(storage, 0, 500)
    assert storage.usage.share < 0.5
    monkeypatch.setattr(DataDirectory, "free_bytes", lambda _: 0)
    assert storage.usage.share > 0.5


def test_a_write_that_fails_stops_all_writing_and_no_reading(storage: LmdbStorage, tmp_path: Path) -> None:
    put_rows(storage, 0, 10)
    size_bytes = (tmp_path / "data" / "data.mdb").stat().st_size
    with files_limited_to(size_bytes + 10_000), pytest.raises(StorageFailedError, match="not tried again"):
        put_rows(storage, 10, 1000)
    with pytest.raises(StorageFailedError, match="not tried again"):
        storage.begin()
    assert rows_in(storage) == 10


def test_a_process_that_starts_again_after_a_failure_writes_again(tmp_path: Path) -> None:
    with opened(tmp_path) as storage:
        put_rows(storage, 0, 10)
        size_bytes = (tmp_path / "data.mdb").stat().st_size
        with files_limited_to(size_bytes + 10_000), pytest.raises(StorageFailedError):
            put_rows(storage, 10, 1000)
    with opened(tmp_path) as storage:
        put_rows(storage, 10, 10)
        assert rows_in(storage) == 20


def test_a_volume_that_runs_full_in_the_middle_of_a_write_is_full_and_not_failed(
    storage: LmdbStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_rows(storage, 0, 10)
    size_bytes = (tmp_path / "data" / "data.mdb").stat().st_size
    monkeypatch.setattr(DataDirectory, "free_bytes", lambda _: 100)
    with (
        files_limited_to(size_bytes + 10_000),
        pytest.raises(StorageFullError, match="no room on the volume"),
    ):
        put_rows(storage, 10, 1000)
    assert rows_in(storage) == 10
    put_rows(storage, 10, 10)
    assert rows_in(storage) == 20


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        (lmdb.MapFullError, -30792, StorageFullError),
        (lmdb.TxnFullError, -30788, StorageFullError),
        (lmdb.DiskError, errno.ENOSPC, StorageFullError),
        (lmdb.Error, errno.EDQUOT, StorageFullError),
        (lmdb.Error, errno.EIO, StorageFailedError),
        (lmdb.PanicError, -30795, StorageFailedError),
        (lmdb.Error, None, StorageFailedError),
    ],
)
def test_what_lmdb_reports_is_room_or_failure(
    storage: LmdbStorage,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[lmdb.Error],
    code: int | None,
    expected: type[StorageError],
) -> None:
    error = kind("mdb_txn_commit")
    if code is not None:
        monkeypatch.setattr(error, "code", code, raising=False)
    assert type(storage.failure_of(error)) is expected


def test_a_second_opener_is_told_which_directory_is_in_use(storage: LmdbStorage, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=rf"{tmp_path / 'data'} is in use"):
        LmdbStorage(tmp_path / "data", MAP_SIZE_BYTES)
    script = (
        "import sys; from pathlib import Path; from gossipkv.storage.lmdb import LmdbStorage; "
        "LmdbStorage(Path(sys.argv[1]), 2**20)"
    )
    root = Path(__file__).parents[2]
    second = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    assert second.returncode != 0
    assert "is in use by another process" in second.stderr
    put_rows(storage, 0, 1)


def test_a_directory_can_be_opened_again_once_it_is_closed(tmp_path: Path) -> None:
    for number in range(3):
        storage = LmdbStorage(tmp_path, MAP_SIZE_BYTES)
        put_rows(storage, number, 1)
        assert rows_in(storage) == number + 1
        storage.close()


def test_data_of_a_newer_format_are_refused_and_left_alone(tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path, MAP_SIZE_BYTES)
    put_rows(storage, 0, 1)
    storage.close()
    with lmdb.open(str(tmp_path), max_dbs=1) as environment, environment.begin(write=True) as transaction:
        meta = environment.open_db(b"meta", transaction)
        assert transaction.get(b"format", db=meta) == b"%d" % FORMAT_VERSION
        transaction.put(b"format", b"%d" % (FORMAT_VERSION + 1), db=meta)
    for _ in range(2):
        with pytest.raises(StorageError, match=f"of format {FORMAT_VERSION + 1}"):
            LmdbStorage(tmp_path, MAP_SIZE_BYTES)


def test_a_file_that_is_not_lmdb_s_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a store" * 1000)
    with pytest.raises(StorageError, match="cannot be opened"):
        LmdbStorage(tmp_path, MAP_SIZE_BYTES)


def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be used"):
        LmdbStorage(tmp_path / "file", MAP_SIZE_BYTES)


def test_a_damaged_row_is_a_storage_error(tmp_path: Path) -> None:
    damages = (
        b"",
        b"\xc1",
        b"\x01",
        b"\x90",
        b"\x95\x01\x01\x01\x01\x01",
        b"\x97\x02\x01\x01\x01\x01\x01\x01",
    )
    with opened(tmp_path) as storage:
        put_rows(storage, 1, 1)
    with lmdb.open(str(tmp_path), max_dbs=1) as environment, environment.begin(write=True) as transaction:
        rows = environment.open_db(b"rows", transaction)
        for number, damaged in enumerate(damages):
            transaction.put(b"usr\0table\0damaged%d" % number, damaged, db=rows)
    with opened(tmp_path) as storage, storage.view() as view:
        assert view.row("usr", address_of(1)) is not None
        for number in range(len(damages)):
            with pytest.raises(StorageError, match="cannot be decoded"):
                view.row("usr", b"table\0damaged%d" % number)


def test_the_store_passes_lmdb_s_own_verification(tmp_path: Path) -> None:
    with opened(tmp_path, 16 * MAP_SIZE_BYTES) as storage:
        for first in range(0, 1000, 100):
            put_rows(storage, first, 100)
        put_rows(storage, 1000, 3, value_bytes=2**20)
        transaction = storage.begin()
        for number in range(0, 1000, 3):
            transaction.delete_row("usr", address_of(number), 7)
        transaction.commit()
    verification = subprocess.run(
        [sys.executable, "-m", "lmdb", "verify", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert verification.returncode == 0, verification.stdout + verification.stderr
    with opened(tmp_path, 16 * MAP_SIZE_BYTES) as storage:
        assert rows_in(storage) == 1003 - 334


def test_a_view_that_has_ended_takes_no_reader_slot_however_long_it_is_referred_to(storage: LmdbStorage) -> None:
    put_rows(storage, 0, 1)
    ended = []
    for _ in range(2_000):
        with storage.view() as view:
            assert view.row("usr", address_of(0)) is not None
        ended.append(view)
    assert storage.view() is not None


def make_older(path: Path) -> None:
    """Let the data be of format 3, with a fingerprint page as it was made then."""
    with lmdb.open(str(path), max_dbs=9) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"format", b"3", db=environment.open_db(b"meta", transaction))
        transaction.put(b"usr\0\0\0", bytes(1024), db=environment.open_db(b"pages", transaction))


def pages_of(storage: LmdbStorage) -> dict[int, bytes]:
    with storage.view() as view:
        return {page: content for page, content in view.pages("usr") if any(content)}


def pages_given_by_rows(storage: LmdbStorage) -> dict[int, bytes]:
    table = FingerprintTable()
    with storage.view() as view:
        for address, row in view.rows("usr", b"", b"\x7f"):
            table.replace(address, (), row.versions)
    return dict(table.take_dirty_pages())


def test_data_of_format_3_are_given_fingerprints_of_contents_once(tmp_path: Path) -> None:
    with opened(tmp_path) as storage:
        put_rows(storage, 0, 50)
    make_older(tmp_path)
    with opened(tmp_path) as storage:
        assert pages_of(storage) == pages_given_by_rows(storage) != {}
        with storage.view() as view:
            revision = view.revision()
    with opened(tmp_path) as storage, storage.view() as view:
        assert view.revision() == revision


def test_an_upgrade_that_is_cut_short_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as storage:
        put_rows(storage, 0, 50)
    make_older(tmp_path)

    def die(*_: object) -> None:
        raise StorageError("cut short")

    with monkeypatch.context() as patched:
        patched.setattr(LmdbTransaction, "commit", die)
        with pytest.raises(StorageError, match="cut short"):
            LmdbStorage(tmp_path, MAP_SIZE_BYTES)
    with lmdb.open(str(tmp_path), max_dbs=9) as environment, environment.begin() as transaction:
        assert transaction.get(b"format", db=environment.open_db(b"meta", transaction)) == b"3"
    with opened(tmp_path) as storage:
        assert pages_of(storage) == pages_given_by_rows(storage) != {}


def test_data_that_are_only_read_stay_of_their_format(tmp_path: Path) -> None:
    with opened(tmp_path) as storage:
        put_rows(storage, 0, 1)
    make_older(tmp_path)
    storage = LmdbStorage(tmp_path, MAP_SIZE_BYTES, must_exist=True)
    assert rows_in(storage) == 1
    storage.close()
    with lmdb.open(str(tmp_path), max_dbs=9) as environment, environment.begin() as transaction:
        assert transaction.get(b"format", db=environment.open_db(b"meta", transaction)) == b"3"
