"""What every storage does, whatever it keeps its rows on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossipkv.core.model.address import address_of
from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.store.storage import Counts, Identity, JournalEntry, ShardRecord, Storage
from tests.contracts.storages import (
    SIBLINGS,
    A,
    B,
    Process,
    addresses_in,
    committing,
    everything,
    put_one_of_each,
    put_rows,
    row,
)


@pytest.fixture(params=["memory", "lmdb"])
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / "data" if request.param == "lmdb" else None)
    yield process
    process.storage.close()


@pytest.fixture
def storage(process: Process) -> Storage:
    return process.storage


def test_a_new_storage_is_empty(storage: Storage) -> None:
    with storage.view() as view:
        assert view.identity() is None
        assert view.shard_record("usr") is None
        assert view.table_counts("usr") == {}
        assert view.row("usr", b"table\0key") is None
        assert view.journal_heads("usr") == {}
        assert list(view.pages("usr")) == []
        assert addresses_in(view, "usr") == []
    assert 0 <= storage.usage.share < 0.1


def test_a_record_rests_on_what_is_settled_until_something_else_is(process: Process) -> None:
    with committing(process.storage) as transaction:
        transaction.put_shard_record("usr", ShardRecord(Context({A: 5}), Context({A: 2})))
        transaction.put_settled("usr", Context({A: 1, B: 9}))
    record = ShardRecord(Context({A: 5, B: 9}), Context({A: 2, B: 9}))
    with process.storage.view() as view:
        assert (view.shard_record("usr"), view.settled("usr")) == (record, {A: 1, B: 9})
        assert (view.shard_record("sys"), view.settled("sys")) == (None, {})
    process.dies_and_starts()
    with committing(process.storage) as transaction:
        assert transaction.shard_record("usr") == record
        transaction.put_settled("usr", Context())
        assert transaction.shard_record("usr") == ShardRecord(Context({A: 5}), Context({A: 2}))


def test_revisions_number_the_commits_that_readers_see(storage: Storage) -> None:
    with storage.view() as before:
        with committing(storage) as transaction:
            put_one_of_each(transaction)
            own = transaction.revision()
        with storage.view() as after:
            assert before.revision() < own == after.revision()
    aborted = storage.begin()
    put_one_of_each(aborted)
    aborted.abort()
    with storage.view() as view:
        assert view.revision() == own


def test_what_is_committed_is_read_as_it_was_put(storage: Storage) -> None:
    with committing(storage) as transaction:
        put_one_of_each(transaction)
    with storage.view() as view:
        assert view.identity() == Identity("cluster", "gossipkv-0", A, 3)
        assert view.shard_record("usr") == ShardRecord(Context({A: 5, B: 9}), Context({B: 2}))
        assert view.table_counts("usr") == {"table": Counts(1, 2, 3)}
        assert list(view.pages("usr")) == [(1023, b"\x01" * 1024)]
        assert view.row("usr", b"table\0key") == row()
        assert list(view.journal("usr", A, 0)) == [JournalEntry(1, b"table\0key")]
        assert list(view.leaf("usr", 65_535)) == [b"table\0key"]


def test_a_commit_outlives_the_process(process: Process) -> None:
    with committing(process.storage) as transaction:
        put_one_of_each(transaction)
    with process.storage.view() as view:
        before = everything(view)
    process.dies_and_starts()
    with process.storage.view() as view:
        assert everything(view) == before


def test_a_process_that_dies_in_a_transaction_leaves_nothing_of_it(process: Process) -> None:
    put_rows(process.storage, "usr", b"table\0old")
    with process.storage.view() as view:
        before = everything(view)
    transaction = process.storage.begin()
    put_one_of_each(transaction)
    transaction.delete_row("usr", b"table\0old", 7)
    process.dies_and_starts()
    with process.storage.view() as view:
        assert everything(view) == before
    put_rows(process.storage, "usr", b"table\0new")


def test_an_aborted_transaction_leaves_nothing(storage: Storage) -> None:
    put_rows(storage, "usr", b"table\0old")
    with storage.view() as view:
        before = everything(view)
    transaction = storage.begin()
    put_one_of_each(transaction)
    transaction.delete_row("usr", b"table\0old", 7)
    transaction.abort()
    transaction.abort()
    with storage.view() as view:
        assert everything(view) == before


def test_an_ended_transaction_takes_no_more_writes(storage: Storage) -> None:
    transaction = storage.begin()
    transaction.commit()
    transaction.abort()
    with pytest.raises(AssertionError):
        transaction.put_page("usr", 1, b"page")
    with pytest.raises(AssertionError):
        transaction.commit()


def test_there_is_one_transaction_at_a_time(storage: Storage) -> None:
    transaction = storage.begin()
    with pytest.raises(AssertionError):
        storage.begin()
    transaction.abort()
    storage.begin().abort()


def test_a_view_does_not_see_what_is_not_committed(storage: Storage) -> None:
    put_rows(storage, "usr", b"table\0old")
    transaction = storage.begin()
    transaction.put_row("usr", b"table\0new", row(), 7, is_new=True)
    transaction.delete_row("usr", b"table\0old", 7)
    with storage.view() as view:
        assert addresses_in(view, "usr") == [b"table\0old"]
        assert view.row("usr", b"table\0new") is None
    transaction.abort()


def test_a_view_sees_the_state_it_began_with(storage: Storage) -> None:
    put_rows(storage, "usr", b"table\0a", b"table\0b")
    with storage.view() as view:
        before = everything(view)
        with committing(storage) as transaction:
            put_one_of_each(transaction)
            transaction.delete_row("usr", b"table\0a", 7)
            transaction.put_row("usr", b"table\0b", row(2), 7, is_new=False)
        with committing(storage) as transaction:
            transaction.put_row("usr", b"table\0a", row(3), 7, is_new=True)
            transaction.put_row("usr", b"table\0b", row(4), 7, is_new=False)
        assert view.row("usr", b"table\0b") == row()
        assert everything(view) == before
    with storage.view() as view:
        assert view.row("usr", b"table\0b") == row(4)


def test_a_scan_is_not_disturbed_by_commits_meanwhile(storage: Storage) -> None:
    addresses = [b"table\0%04d" % number for number in range(300)]
    put_rows(storage, "usr", *addresses)
    with storage.view() as view:
        scan = view.rows("usr", b"", b"\xff")
        found = [next(scan)[0] for _ in range(3)]
        with committing(storage) as transaction:
            for address in addresses[::2]:
                transaction.delete_row("usr", address, 7)
            for address in addresses:
                transaction.put_row("usr", address + b"+", row(2), 7, is_new=True)
        assert found + [address for address, _ in scan] == addresses


def test_views_on_one_thread_are_consistent_while_another_thread_commits(storage: Storage) -> None:
    addresses = [b"table\0%03d" % number for number in range(100)]
    put_rows(storage, "usr", *addresses)
    is_reading = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            is_reading.wait(30)
            for sequence in range(2, 40):
                with committing(storage) as transaction:
                    for address in addresses:
                        transaction.put_row("usr", address, row(sequence), 7, is_new=False)
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while writer.is_alive():
        with storage.view() as view:
            rows = {found.winner.dot for _, found in view.rows("usr", b"", b"\xff")}
            single = view.row("usr", addresses[-1])
        is_reading.set()
        assert single is not None
        assert rows == {single.winner.dot}
        seen |= rows
    writer.join()
    assert not failures
    assert seen


def test_a_transaction_sees_its_own_writes_in_order(storage: Storage) -> None:
    put_rows(storage, "usr", b"t\0b", b"t\0d", b"t\0e")
    transaction = storage.begin()
    transaction.put_row("usr", b"t\0c", row(), 7, is_new=True)
    transaction.put_row("usr", b"t\0a", row(), 7, is_new=True)
    transaction.put_row("usr", b"t\0d", row(9), 7, is_new=False)
    transaction.delete_row("usr", b"t\0e", 7)
    transaction.put_journal("usr", A, 4, b"t\0c")
    transaction.put_table_counts("usr", "t", Counts(1, 1, 1))
    assert addresses_in(transaction, "usr") == [b"t\0a", b"t\0b", b"t\0c", b"t\0d"]
    assert addresses_in(transaction, "usr", reverse=True) == [b"t\0d", b"t\0c", b"t\0b", b"t\0a"]
    assert transaction.row("usr", b"t\0d") == row(9)
    assert transaction.row("usr", b"t\0e") is None
    assert list(transaction.leaf("usr", 7)) == [b"t\0a", b"t\0b", b"t\0c", b"t\0d"]
    assert transaction.journal_heads("usr") == {A: 4}
    assert transaction.table_counts("usr") == {"t": Counts(1, 1, 1)}
    transaction.commit()


def test_rows_come_by_address_from_start_up_to_but_not_including_end(storage: Storage) -> None:
    addresses = [b"t\0" + key for key in (b"a", b"a\0", b"ab", b"b", b"\xc3\xa9", b"\xf0\x9f\x98\x80")]
    put_rows(storage, "usr", *reversed(addresses))
    with storage.view() as view:
        assert addresses_in(view, "usr") == addresses
        assert addresses_in(view, "usr", reverse=True) == addresses[::-1]
        assert addresses_in(view, "usr", b"t\0a\0", b"t\0b") == addresses[1:3]
        assert addresses_in(view, "usr", b"t\0a\0", b"t\0b", reverse=True) == addresses[2:0:-1]
        assert addresses_in(view, "usr", b"t\0a", b"t\0b\0", reverse=True) == addresses[3::-1]
        assert addresses_in(view, "usr", b"t\0b", b"t\0a") == []
        assert addresses_in(view, "usr", b"t\0b", b"t\0a", reverse=True) == []
        assert addresses_in(view, "usr", b"t\0a", b"t\0a") == []
        assert addresses_in(view, "usr", b"u", b"v", reverse=True) == []


@pytest.mark.parametrize("is_reverse", [False, True])
def test_a_scan_of_many_rows_is_whole_and_lazy(storage: Storage, is_reverse: bool) -> None:
    addresses = [b"t\0%05d" % number for number in range(1000)]
    put_rows(storage, "usr", *addresses)
    if is_reverse:
        addresses.reverse()
    with storage.view() as view:
        assert addresses_in(view, "usr", reverse=is_reverse) == addresses
        assert next(view.rows("usr", b"", b"\xff", reverse=is_reverse))[0] == addresses[0]


def test_shards_and_tables_never_see_their_neighbours(storage: Storage) -> None:
    shards = ("sys", "us", "usr", "usr2")
    addresses = [address_of("a", b"k"), address_of("a.b", b"k"), address_of("ab", b"k")]
    with committing(storage) as transaction:
        for number, shard in enumerate(shards, start=1):
            for address in addresses:
                transaction.put_row(shard, address, row(number), 7, is_new=True)
            transaction.put_journal(shard, B, number, addresses[0])
            transaction.put_page(shard, 0xFF, b"%d" % number)
            transaction.put_table_counts(shard, "a", Counts(number))
            transaction.put_shard_record(shard, ShardRecord(Context({A: number}), Context()))
    with storage.view() as view:
        for number, shard in enumerate(shards, start=1):
            assert list(view.rows(shard, b"", b"\xff")) == [(address, row(number)) for address in addresses]
            assert addresses_in(view, shard, reverse=True) == addresses[::-1]
            assert addresses_in(view, shard, b"a\0", b"a\1") == addresses[:1]
            assert view.journal_heads(shard) == {B: number}
            assert list(view.pages(shard)) == [(0xFF, b"%d" % number)]
            assert view.table_counts(shard) == {"a": Counts(number)}
            assert view.shard_record(shard) == ShardRecord(Context({A: number}), Context())
            assert list(view.leaf(shard, 7)) == addresses


@pytest.mark.parametrize("key", [b"k" * 400, "é".encode() * 200, b"\0" * 400, "\U0010ffff".encode() * 100])
def test_the_longest_address_has_room_everywhere(storage: Storage, key: bytes) -> None:
    address = address_of("t" * 64, key)
    with committing(storage) as transaction:
        transaction.put_row("usr", address, row(), 65_535, is_new=True)
        transaction.put_journal("usr", B, SEQUENCE_MAX, address)
    with storage.view() as view:
        assert view.row("usr", address) == row()
        assert addresses_in(view, "usr", address, address + b"\0") == [address]
        assert list(view.leaf("usr", 65_535)) == [address]
        assert list(view.leaf("usr", 65_535, address)) == []
        assert list(view.journal("usr", B, SEQUENCE_MAX - 1)) == [JournalEntry(SEQUENCE_MAX, address)]
        assert view.journal_heads("usr") == {B: SEQUENCE_MAX}


@pytest.mark.parametrize(
    "stored",
    [
        row(),
        row(value=b""),
        row(value=None),
        row(expires_ms=1_700_000_000_000),
        row(value=b"v" * 2**20),
        row()._replace(context=Context({A: 2})),
        row()._replace(context=Context({A: 1, B: 8})),
        row()._replace(context=Context({B: 8, A: 1})),
        SIBLINGS,
    ],
    ids=["value", "empty", "tombstone", "expiry", "1 MiB", "ahead", "two origins", "order", "siblings"],
)
def test_a_row_comes_back_as_it_was(process: Process, stored: StoredRow) -> None:
    with committing(process.storage) as transaction:
        transaction.put_row("usr", b"t\0k", stored, 7, is_new=True)
        assert transaction.row("usr", b"t\0k") == stored
    process.dies_and_starts()
    with process.storage.view() as view:
        found = view.row("usr", b"t\0k")
        assert found == stored
        assert found is not None
        assert isinstance(found, StoredRow)
        assert isinstance(found.context, Context)
        assert isinstance(found.winner, Version)
        assert isinstance(found.winner.dot, Dot)


def test_a_deleted_row_is_gone_from_its_leaf_as_well(storage: Storage) -> None:
    put_rows(storage, "usr", b"t\0a", b"t\0b")
    with committing(storage) as transaction:
        transaction.delete_row("usr", b"t\0a", 7)
        transaction.delete_row("usr", b"t\0never", 7)
    with storage.view() as view:
        assert view.row("usr", b"t\0a") is None
        assert addresses_in(view, "usr") == [b"t\0b"]
        assert list(view.leaf("usr", 7)) == [b"t\0b"]


def test_a_row_put_again_stands_once_in_its_leaf(storage: Storage) -> None:
    put_rows(storage, "usr", b"t\0a")
    with committing(storage) as transaction:
        transaction.put_row("usr", b"t\0a", row(2), 7, is_new=False)
    with storage.view() as view:
        assert list(view.rows("usr", b"", b"\xff")) == [(b"t\0a", row(2))]
        assert list(view.leaf("usr", 7)) == [b"t\0a"]


def test_a_leaf_lists_its_own_addresses_after_the_one_given(storage: Storage) -> None:
    put_rows(storage, "usr", b"t\0a", b"t\0a\0", b"t\0b", leaf=0x0100)
    put_rows(storage, "usr", b"t\0below", leaf=0x00FF)
    put_rows(storage, "usr", b"t\0above", leaf=0x0101)
    with storage.view() as view:
        assert list(view.leaf("usr", 0x0100)) == [b"t\0a", b"t\0a\0", b"t\0b"]
        assert list(view.leaf("usr", 0x0100, b"t\0a")) == [b"t\0a\0", b"t\0b"]
        assert list(view.leaf("usr", 0x0100, b"t\0aa")) == [b"t\0b"]
        assert list(view.leaf("usr", 0x0100, b"t\0b")) == []
        assert list(view.leaf("usr", 5)) == []


def test_the_journal_of_an_origin_comes_from_after_the_sequence_given_in_either_order(storage: Storage) -> None:
    sequences = (1, 2, 255, 256, 65_536, SEQUENCE_MAX)
    with committing(storage) as transaction:
        for origin in (B, 1, A, 2**64 - 2):
            for sequence in reversed(sequences):
                transaction.put_journal("usr", origin, sequence, b"t\0%d" % sequence)
        transaction.delete_journal("usr", A, SEQUENCE_MAX, b"t\0%d" % SEQUENCE_MAX)
        transaction.delete_journal("usr", A, 3, b"t\x003")
        transaction.put_journal("usr", A, 2, b"t\0other")
    with storage.view() as view:
        assert [entry.sequence for entry in view.journal("usr", B, 0)] == list(sequences)
        assert [entry.sequence for entry in view.journal("usr", B, 2)] == list(sequences[2:])
        assert [entry.sequence for entry in view.journal("usr", B, SEQUENCE_MAX)] == []
        assert next(view.journal("usr", A, 1)) == JournalEntry(2, b"t\0other")
        assert list(view.journal("usr", 99, 0)) == []
        assert [entry.sequence for entry in view.journal("usr", B, 0, reverse=True)] == list(reversed(sequences))
        assert [entry.sequence for entry in view.journal("usr", A, 2, reverse=True)] == [65_536, 256, 255]
        assert list(view.journal("usr", B, SEQUENCE_MAX, reverse=True)) == []
        assert list(view.journal("usr", 99, 0, reverse=True)) == []
        heads = {1: SEQUENCE_MAX, A: 65_536, 2**64 - 2: SEQUENCE_MAX, B: SEQUENCE_MAX}
        assert list(view.journal_heads("usr").items()) == list(heads.items())
        assert view.journal_heads("sys") == {}


def test_a_journal_entry_says_which_other_row_it_named_and_is_deleted_for_the_row_that_it_names(
    storage: Storage,
) -> None:
    with committing(storage) as transaction:
        assert transaction.put_journal("usr", A, 1, b"t\0one") is None
        assert transaction.put_journal("usr", A, 1, b"t\0one") is None
    with committing(storage) as transaction:
        assert transaction.put_journal("usr", A, 1, b"t\0other") == b"t\0one"
        transaction.delete_journal("usr", A, 1, b"t\0one")
        assert list(transaction.journal("usr", A, 0)) == [JournalEntry(1, b"t\0other")]
    with committing(storage) as transaction:
        transaction.delete_journal("usr", A, 1, b"t\0one")
        assert list(transaction.journal("usr", A, 0)) == [JournalEntry(1, b"t\0other")]
        transaction.delete_journal("usr", A, 1, b"t\0other")
        assert list(transaction.journal("usr", A, 0)) == []
        assert transaction.put_journal("usr", A, 1, b"t\0third") is None


def test_counts_of_zero_remove_the_record_of_the_table(storage: Storage) -> None:
    with committing(storage) as transaction:
        transaction.put_table_counts("usr", "b", Counts(1, 2, 2**40))
        transaction.put_table_counts("usr", "a", Counts(0, 1, 0))
    with committing(storage) as transaction:
        transaction.put_table_counts("usr", "a", Counts())
        transaction.put_table_counts("usr", "never", Counts())
    with storage.view() as view:
        assert view.table_counts("usr") == {"b": Counts(1, 2, 2**40)}


def test_pages_come_in_order_and_the_last_one_put_stands(storage: Storage) -> None:
    with committing(storage) as transaction:
        for page in (1023, 0, 256, 255):
            transaction.put_page("usr", page, b"%d" % page)
        transaction.put_page("usr", 256, b"again")
    with storage.view() as view:
        assert list(view.pages("usr")) == [(0, b"0"), (255, b"255"), (256, b"again"), (1023, b"1023")]


def test_a_record_stays_as_it_was_put_when_the_shard_moves_on(storage: Storage) -> None:
    context = Context({A: 1})
    with committing(storage) as transaction:
        transaction.put_shard_record("usr", ShardRecord(context, Context()))
        context[A] = 2
    with storage.view() as view:
        found = view.shard_record("usr")
        assert found is not None
        found.context[A] = 3
    with storage.view() as view:
        assert view.shard_record("usr") == ShardRecord(Context({A: 1}), Context())
