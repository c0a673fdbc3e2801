"""What a shard keeps in step with its rows: journal, fingerprint, counts, context."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gossipkv.core.model.address import SYSTEM, USER, key_of, table_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.clock import timestamp_at
from gossipkv.core.model.collected import NOTHING_COLLECTED, Proof
from gossipkv.core.model.fingerprint import PAGE_BYTES, PAGES, FingerprintTable
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Range, RowCopy
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Counts, ShardRecord, StorageError
from gossipkv.core.store.store import Intake
from tests.core.disks import NOW_MS, Disk, at

PLACES = st.integers(0, 2)
ADDRESSES = st.sampled_from([b"one\0a", b"one\0b", b"two\0a", b"two\0c"])


class Shards(RuleBasedStateMachine):
    """Three replicas that write, send each other rows, forget what is stable, and start anew."""

    def __init__(self) -> None:
        super().__init__()
        self.disks = [Disk(replica) for replica in (1, 2, 3)]

    @rule(place=PLACES, address=ADDRESSES, value=st.none() | st.binary(max_size=3), skew_ms=st.integers(0, 3))
    def write(self, place: int, address: bytes, value: bytes | None, skew_ms: int) -> None:
        self.disks[place].do(Operation(address, value), NOW_MS + skew_ms)

    @rule(sender=PLACES, receiver=PLACES, data=st.data())
    def send(self, sender: int, receiver: int, data: st.DataObject) -> None:
        copies = self.disks[sender].copies()
        if copies:
            self.disks[receiver].take_in(data.draw(st.lists(st.sampled_from(copies), max_size=3)))

    @rule(place=PLACES, address=ADDRESSES)
    def learn_what_is_stable(self, place: int, address: bytes) -> None:
        """What every copy of a row covers; of other rows it covers nothing."""
        held = [disk.rows().get(address) for disk in self.disks]
        contexts = [row.context for row in held if row is not None]
        if len(contexts) == len(self.disks):
            self.disks[place].store.set_stable(USER, contexts)

    @rule(place=PLACES)
    def start_anew(self, place: int) -> None:
        self.disks[place].storage.crash()
        self.disks[place].load()

    @invariant()
    def every_entry_of_a_row_context_has_its_journal_entry_and_there_are_no_others(self) -> None:
        for disk in self.disks:
            expected = {
                (origin, sequence, address)
                for address, row in disk.rows().items()
                for origin, sequence in row.context.items()
            }
            assert disk.journal() == expected

    @invariant()
    def sums_and_counts_equal_those_computed_from_the_rows(self) -> None:
        for disk in self.disks:
            fingerprint = FingerprintTable()
            counted: Counter[tuple[str, str]] = Counter()
            for address, row in disk.rows().items():
                fingerprint.replace(address, (), row.versions)
                value, table = row.winner.value, table_of(address)
                counted[table, "rows"] += value is not None
                counted[table, "tombstones"] += value is None
                counted[table, "bytes"] += 0 if value is None else len(key_of(address)) + len(value)
            tables = {table for table, _ in counted}
            assert disk.shard.tables == {
                table: Counts(*(counted[table, what] for what in ("rows", "tombstones", "bytes"))) for table in tables
            }
            assert disk.shard.fingerprint.nodes() == fingerprint.nodes()
            assert disk.shard.fingerprint.root == fingerprint.root

    @invariant()
    def leaves_list_exactly_the_rows(self) -> None:
        for disk in self.disks:
            rows = disk.rows()
            fingerprint = FingerprintTable()
            leaves = {fingerprint.replace(address, (), row.versions) for address, row in rows.items()}
            with disk.storage.view() as view:
                assert {address for leaf in leaves for address in view.leaf(USER, leaf)} == set(rows)

    @invariant()
    def a_replica_covers_its_own_writes(self) -> None:
        for disk in self.disks:
            own = [row.context.get(disk.store.replica, 0) for row in disk.rows().values()]
            assert disk.shard.context.get(disk.store.replica, 0) >= max(own, default=0)


TestShards = Shards.TestCase
TestShards.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_a_start_finds_all_that_was_saved() -> None:
    disk = Disk(1)
    for key in "abc":
        disk.put(key)
    disk.delete("b")
    with disk.committing():
        disk.shard.adopt(Context({2: 7}))
    before = disk.shard
    disk.storage.crash()
    disk.load()
    assert disk.shard is not before
    assert disk.shard.context == {1: 4, 2: 7}
    assert disk.shard.floors == {2: 7}
    assert disk.shard.tables == {"table": Counts(2, 1, 12)}
    assert disk.shard.fingerprint.root == before.fingerprint.root
    assert disk.shard.next_dot(1) == Dot(1, 5)


def test_an_overwritten_row_takes_its_journal_entry_along() -> None:
    disk = Disk(1)
    disk.put("a")
    disk.put("b")
    disk.put("a")
    assert disk.journal() == {(1, 2, at("b")), (1, 3, at("a"))}


def test_a_walk_raises_the_floor_to_what_it_adopts_and_a_context_never_goes_back() -> None:
    disk = Disk(1)
    disk.put("a")
    with disk.committing():
        disk.shard.adopt(Context({1: 1, 2: 9}))
        disk.shard.adopt(Context({2: 5}))
        disk.shard.advance(2, 3)
    assert disk.shard.context == {1: 1, 2: 9}
    assert disk.shard.floors == {2: 9}


def test_forgetting_a_stable_entry_raises_the_floor_over_it() -> None:
    disk, other = Disk(1), Disk(2)
    other.put("a")
    disk.take_in(other.copies())
    disk.store.set_stable(USER, [Context({1: 1, 2: 1}), Context({1: 1, 2: 3})])
    disk.put("a", now_ms=NOW_MS + 1)
    assert disk.rows()[at("a")].context == {1: 1}
    assert disk.shard.floors == {2: 1}
    assert disk.journal() == {(1, 1, at("a"))}


def test_a_shard_is_ahead_while_it_holds_a_row_that_it_does_not_cover() -> None:
    disk, other = Disk(1), Disk(2)
    other.put("a")
    disk.take_in(other.copies())
    with disk.storage.view() as view:
        assert disk.shard.is_ahead(view)
        disk.shard.advance(2, 1)
        assert not disk.shard.is_ahead(view)
        assert disk.shard.digest(view).rows == 1


@pytest.mark.parametrize(("page", "content"), [(0, b"too short"), (PAGES, bytes(PAGE_BYTES))])
def test_a_fingerprint_that_is_damaged_on_disk_is_not_believed(page: int, content: bytes) -> None:
    disk = Disk(1)
    disk.put("a")
    transaction = disk.storage.begin()
    transaction.put_page(USER, page, content)
    transaction.commit()
    with pytest.raises(StorageError, match="a page of the fingerprint of usr cannot be decoded"):
        disk.load()


def test_a_floor_that_was_raised_is_found_at_the_next_start() -> None:
    """Otherwise the journal would seem to have no gaps where entries were dropped, and a pull would claim them."""
    disk = Disk(1)
    disk.put("a")
    later = Version(Dot(2, 5), timestamp_at(NOW_MS + 1), b"later")
    disk.take_in([RowCopy(at("a"), StoredRow((later,), Context({1: 1, 2: 5})))])
    disk.cover({2: Range(0, 5)}, Intake())
    disk.shard.stable = Context({1: 1})
    [(address, row)] = disk.rows().items()
    with disk.committing() as transaction:
        disk.shard.store(transaction, address, row, row)
    assert disk.shard.floors == {1: 1}
    disk.storage.crash()
    disk.load()
    assert disk.shard.floors == {1: 1}


def test_a_proof_that_names_no_one_known_is_taken_to_name_all_that_are_known_now() -> None:
    """Proofs of version 0.1.0 do not say whom their collector knew."""
    disk = Disk(1)
    old = Proof(Context({1: 5}), frozenset(), frozenset())
    new = Proof(Context({1: 6}), frozenset([1]), frozenset([1, 9]))
    for proofs, found in (
        ((old, new), (Proof(old.marks, frozenset([1, 2]), frozenset([1, 2])), new)),
        ((new,), (new,)),
    ):
        transaction = disk.storage.begin()
        transaction.put_shard_record(SYSTEM, ShardRecord(Context({1: 3, 2: 4}), Context()))
        transaction.put_collected(USER, NOTHING_COLLECTED._replace(proofs=proofs))
        transaction.commit()
        with disk.storage.view() as view:
            assert Shard.load(view, USER).collected.proofs == found
