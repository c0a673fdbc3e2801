"""Both storages after the same random writes: whatever one answers, the other does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipkv.core.model.row import StoredRow
from gossipkv.core.store.storage import EXPIRIES, Counts, Deadline, Transaction
from tests.contracts.storages import (
    BESIDE,
    SIBLINGS,
    A,
    B,
    Process,
    everything,
    row,
)

ADDRESSES = [table + b"\0" + key for table in (b"a", b"ab") for key in (b"k", b"k\0", b"l", b"\xc3\xa9")]
ROWS = [row(1), row(2, None), row(3, b"", 9), SIBLINGS, BESIDE]
WRITE = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(ADDRESSES), st.sampled_from(ROWS)),
    st.tuples(st.just("delete"), st.sampled_from(ADDRESSES)),
    st.tuples(st.just("journal"), st.sampled_from([1, A, B]), st.integers(1, 4), st.sampled_from(ADDRESSES)),
    st.tuples(st.just("forget"), st.sampled_from([1, A, B]), st.integers(1, 4), st.sampled_from(ADDRESSES)),
    st.tuples(st.just("expire"), st.sampled_from([1, 9, 300]), st.sampled_from(ADDRESSES)),
    st.tuples(st.just("expire not"), st.sampled_from([1, 9, 300]), st.sampled_from(ADDRESSES)),
    st.tuples(st.just("count"), st.sampled_from(["a", "ab"]), st.sampled_from([Counts(), Counts(2, 1, 9)])),
    st.tuples(st.just("page"), st.sampled_from([0, 255, 256]), st.binary(max_size=3)),
)
BATCH = st.tuples(
    st.sampled_from(["sys", "usr"]), st.lists(WRITE, max_size=12), st.sampled_from(["commit", "abort", "die"])
)
Writes = list[tuple[object, ...]]
Batch = tuple[str, Writes, str]


def apply(transaction: Transaction, shard: str, writes: Writes) -> None:
    for write in writes:
        match write:
            case ("put", bytes(address), StoredRow() as new):
                leaf = (0, 7, 8)[len(address) % 3]
                is_new = transaction.row(shard, address) is None
                transaction.put_row(shard, address, new, leaf, is_new=is_new)
            case ("delete", bytes(address)):
                transaction.delete_row(shard, address, (0, 7, 8)[len(address) % 3])
            case ("journal", int(origin), int(sequence), bytes(address)):
                transaction.put_journal(shard, origin, sequence, address)
            case ("forget", int(origin), int(sequence), bytes(address)):
                transaction.delete_journal(shard, origin, sequence, address)
            case ("expire", int(expires_ms), bytes(address)):
                transaction.put_deadline(shard, EXPIRIES, Deadline(expires_ms, address))
            case ("expire not", int(expires_ms), bytes(address)):
                transaction.delete_deadline(shard, EXPIRIES, Deadline(expires_ms, address))
            case ("count", str(table), Counts() as counts):
                transaction.put_table_counts(shard, table, counts)
            case ("page", int(page), bytes(content)):
                transaction.put_page(shard, page, content)
            case _:
                raise AssertionError(write)


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(BATCH, max_size=6), start=st.sampled_from(ADDRESSES), end=st.sampled_from(ADDRESSES))
def test_both_storages_hold_the_same_after_any_writes(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[Batch],
    start: bytes,
    end: bytes,
) -> None:
    processes = [Process(None), Process(tmp_path_factory.mktemp("data"))]
    for batch in batches:
        memory, volume = (outcome(process, batch, start, end) for process in processes)
        assert memory == volume
    for process in processes:
        process.storage.close()


def outcome(process: Process, batch: Batch, start: bytes, end: bytes) -> object:
    """What a transaction sees of its own writes, and what a view sees once it has ended."""
    shard, writes, ending = batch
    transaction = process.storage.begin()
    apply(transaction, shard, writes)
    own = everything(transaction), list(transaction.rows(shard, start, end, reverse=True))
    if ending == "commit":
        transaction.commit()
    elif ending == "abort":
        transaction.abort()
    else:
        process.dies_and_starts()
    with process.storage.view() as view:
        bounded = [list(view.rows("usr", start, end, reverse=is_reverse)) for is_reverse in (False, True)]
        return own, everything(view), bounded
