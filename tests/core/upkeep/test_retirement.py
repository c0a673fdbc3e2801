"""What rows of `sys` say of replicas that are gone, and what keeps one from being retired."""

from __future__ import annotations

from dataclasses import replace

from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.clock import timestamp_at
from gossipkv.core.model.lacking import Lack
from gossipkv.core.model.member import DEAD, LEFT
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.messages import RowCopy
from gossipkv.core.store.forgotten import forgetting, forgotten_in, withdrawn_in
from gossipkv.core.store.retired import Retired, Retirement, last_writes
from gossipkv.core.upkeep.retirement import LOOK_MS_MAX, _runs_ahead
from tests.core.cluster import Cluster
from tests.core.disks import NOW_MS, Disk, at
from tests.core.test_replica import settled


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


GONE, AGE_MS = 99, 5_000


class Retiring:
    """Member a beside b. Both cover all writes of a replica that is gone."""

    def __init__(self) -> None:
        self.cluster = settled(Cluster(), "a", "b", tombstone_age_ms_min=AGE_MS)
        self.a = self.cluster.members["a"]
        self.replica = self.a.driver.replica
        [self.b] = self.replica.peers
        self.retirer = self.replica._retirer
        self.now_ms = self.cluster.now_ms + 60_000
        for name, through in ((SYSTEM, 3), (USER, 4)):
            self.replica.shards[name].advance(GONE, through)
            self.b.conversation.contexts[name] = self.b.conversation.contexts[name].joined({GONE: through})
        self.b.conversation.vouched = self.b.conversation.vouched.joined({GONE: 4})

    def retired_after(self, duration_ms: int, step_ms: int = 1_000) -> int:
        """How many replicas are retired while this time passes."""
        retired = 0
        transaction = self.a.storage.begin()
        for _ in range(0, duration_ms, step_ms):
            self.now_ms += step_ms
            retired += self.retirer.tick(transaction, self.replica.identity.incarnation, self.now_ms)
        transaction.abort()
        return retired


def test_a_replica_that_is_gone_is_retired_once_all_cover_it_and_it_has_been_so_for_long_enough() -> None:
    retiring = Retiring()
    assert retiring.retired_after(1_000 + AGE_MS - 1_000) == 0, "the first look begins the time"
    assert retiring.retired_after(1_000) == 1
    [listed] = retiring.replica._store.retired.order
    assert listed == Retirement(GONE, {SYSTEM: 3, USER: 4})
    assert retiring.retired_after(10 * AGE_MS) == 0, "it is listed"


def test_a_replica_of_which_rows_run_ahead_is_not_retired() -> None:
    retiring = Retiring()
    version = Version(Dot(GONE, 9), timestamp_at(NOW_MS), b"ahead")
    transaction = retiring.a.storage.begin()
    copies = [RowCopy(at("a"), StoredRow((version,), Context({GONE: 9})))]
    retiring.replica._store.take_in(transaction, USER, copies, NOW_MS)
    retiring.replica._store.save(transaction)
    transaction.commit()
    assert retiring.retired_after(4 * AGE_MS) == 0


def test_a_later_write_of_a_replica_begins_the_time_again() -> None:
    retiring = Retiring()
    assert retiring.retired_after(AGE_MS) == 0
    retiring.replica.shards[USER].advance(GONE, 5)
    retiring.b.conversation.vouched.advance({GONE: 5})
    assert retiring.retired_after(AGE_MS) == 0
    assert retiring.retired_after(1_000) == 1


def test_time_counts_while_the_process_runs_alone() -> None:
    retiring = Retiring()
    retiring.retirer._age_ms_min = 2 * LOOK_MS_MAX
    step_ms = 10 * LOOK_MS_MAX
    assert retiring.retired_after(2 * step_ms, step_ms) == 0, "the process was paused meanwhile"
    retiring.now_ms -= 10**9
    assert retiring.retired_after(1, 1) == 0, "the clock was set back"
    assert retiring.retired_after(step_ms, step_ms) == 1


def test_what_keeps_a_replica_from_being_retired() -> None:
    def is_retired(**kept: object) -> bool:
        retiring = Retiring()
        b: Peer = retiring.b
        match kept:
            case {"vouched": int(through)}:
                b.conversation.vouched[GONE] = through
            case {"system": int(through)}:
                b.conversation.contexts[SYSTEM][GONE] = through
            case {"users": int(through)}:
                b.conversation.contexts[USER][GONE] = through
            case {"status": str(status)}:
                b.standing.status = status
            case {"lacking": True}:
                retiring.replica.shards[SYSTEM].note_lack(at("x"), Lack(Context({5: 1}), Context(), "inconsistent"))
            case {"refused": True}:
                retiring.replica._membership.refused["x"] = "too_many"
            case {"contact": True}:
                retiring.replica._membership.discovered(["memory://x"])
            case {"runs": True}:
                retiring.b.replica = GONE
            case {"older": True}:
                assert b.record is not None
                b.record = replace(b.record, incarnation=b.record.incarnation - 1)
            case _:
                pass
        return retiring.retired_after(2 * AGE_MS) == 1

    assert is_retired()
    assert not is_retired(vouched=3)
    assert not is_retired(system=2)
    assert not is_retired(system=4), "b knows a later write"
    assert is_retired(users=3), "what it vouched for counts"
    assert not is_retired(users=5)
    assert not is_retired(status=DEAD)
    assert not is_retired(lacking=True)
    assert not is_retired(refused=True)
    assert not is_retired(contact=True)
    assert not is_retired(runs=True)
    assert not is_retired(older=True), "it is the turn of b"
    assert is_retired(status=LEFT)
