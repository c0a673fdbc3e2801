"""What rows of `sys` say of replicas that are gone, and what keeps one from being retired."""

from __future__ import annotations

from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.clock import timestamp_at
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.messages import RowCopy
from gossipkv.core.store.forgotten import forgetting, forgotten_in, withdrawn_in
from gossipkv.core.store.retired import Retired, Retirement, last_writes
from gossipkv.core.upkeep.retirement import _runs_ahead
from tests.core.disks import NOW_MS, Disk, at


def copy(address: bytes, value: bytes | None) -> RowCopy:
    return RowCopy(address, StoredRow((Version(Dot(9, 1), 1, value),), Context({9: 1})))


def listing(*retirements: Retirement) -> list[RowCopy]:
    return [copy(operation.address, operation.value) for operation in Retired().added(retirements)]


def test_a_replica_of_which_rows_hold_later_writes_runs_ahead() -> None:
    disk = Disk(1)
    version = Version(Dot(2, 9), timestamp_at(NOW_MS), b"ahead")
    disk.take_in([RowCopy(at("a"), StoredRow((version,), Context({2: 9})))])
    with disk.storage.view() as view:
        found = [_runs_ahead(view, Retirement(2, {SYSTEM: 0, USER: sequence})) for sequence in (8, 9)]
        assert found == [True, False]
        assert not _runs_ahead(view, Retirement(3, {SYSTEM: 0, USER: 0}))


def test_the_last_writes_of_a_replica_are_the_greatest_that_any_row_lists() -> None:
    copies = listing(
        Retirement(5, {SYSTEM: 3, USER: 9}), Retirement(6, {SYSTEM: 99, USER: 99}), Retirement(5, {SYSTEM: 4, USER: 7})
    )
    assert last_writes(copies, 5) == {SYSTEM: 4, USER: 9}
    assert last_writes(copies, 7) == {}
    elsewhere = [copy(address_of(MEMBERS_TABLE, b"00000000"), each.row.winner.value) for each in copies]
    assert last_writes(elsewhere, 5) == {}


def test_a_row_about_a_replica_says_that_it_is_forgotten_and_its_deletion_that_it_is_no_longer() -> None:
    said = [
        copy(forgetting(5, "a").address, b"{}"),
        copy(forgetting(6, "b").address, None),
        copy(address_of(MEMBERS_TABLE, b"%016x" % 7), b"{}"),
        copy(address_of(MEMBERS_TABLE, b"%016x" % 8), None),
        copy(address_of("forgotten", b"no replica"), None),
    ]
    assert forgotten_in(said) == [5]
    assert withdrawn_in(said) == [6]
