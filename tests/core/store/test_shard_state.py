"""What a shard knows beside its rows: names, floors, its base, what it lacks, and what of it is on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import Context, Dot, entry_hash
from gossipkv.core.model.clock import timestamp_at
from gossipkv.core.model.collected import Proof
from gossipkv.core.model.fingerprint import FingerprintTable
from gossipkv.core.model.lacking import LACKING_ORIGINS_MAX, LACKING_ROWS_MAX, UNREADABLE, Lack, LackedRow
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.base import Base
from gossipkv.core.protocol.messages import RowCopy
from gossipkv.core.protocol.names import Names
from gossipkv.core.store import shard as room
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import EXPIRIES, FIRST_DEADLINE, TOMBSTONES, Counts, Deadline, Quarantined, Transaction
from gossipkv.rows.arguments.limits import TIME_MS_MAX
from tests.core.disks import NOW_MS, Disk, at
from tests.core.transfer.test_walk import shared_leaf


def row(*dots: tuple[int, int], at_ms: int = NOW_MS, context: dict[int, int] | None = None) -> StoredRow:
    versions = tuple(Version(Dot(*dot), timestamp_at(at_ms), b"value") for dot in dots)
    return StoredRow(versions, Context(context or dict(dots)))


def lack(origin: int, through: int, reason: str = "inconsistent") -> Lack:
    return Lack(Context({origin: through}), Context(), reason)


def saved(disk: Disk, change: Callable[[Shard], object]) -> Shard:
    """The shard as it is on disk after a change of the one in memory was saved."""
    with disk.committing():
        change(disk.shard)
    disk.storage.crash()
    with disk.storage.view() as view:
        return Shard.load(view, USER)


# Names.


def in_doubt(told: int, certain: int, last: int = 5) -> Shard:
    """The shard of replica 1, which has compared with no one yet."""
    shard = Shard(USER, Context({1: last, 2: 3} if last else {2: 3}), Context(), {})
    shard.names = Names(told, certain)
    shard.belong_to(1, tells_all=False)
    return shard


def test_others_are_shown_what_they_may_have_heard_of() -> None:
    shard = in_doubt(3, 2)
    assert (shard.last_own, shard.told, shard.certain) == (5, 3, 2)
    assert shard.shown == {1: 3, 2: 3}
    assert shard.context == {1: 5, 2: 3}
    assert in_doubt(0, 0).shown == {2: 3}, "no entry is 0"
    assert in_doubt(5, 0).shown == {1: 5, 2: 3}
    shard.tell_all()
    assert (shard.told, shard.shown) == (5, {1: 5, 2: 3})


def test_data_without_names_may_be_known_to_all_and_are_in_no_doubt() -> None:
    shard = Shard(USER, Context({1: 5}), Context(), {})
    assert (shard.last_own, shard.told, shard.certain, shard.shown) == (0, 0, 0, {1: 5})
    shard.belong_to(1, tells_all=False)
    assert (shard.names, shard.tells_all) == (Names(5, 5), False)
    shard.advance(1, 7)
    assert (shard.told, shard.certain) == (5, 5)


def test_names_that_are_certain_stay_so() -> None:
    shard = in_doubt(3, 2)
    for sequence, certain in ((4, 4), (3, 4), (5, 5)):
        shard.note_certain(sequence)
        assert shard.certain == certain


def test_a_renewed_shard_begins_with_names_that_no_one_else_has() -> None:
    shard = in_doubt(3, 2)
    shard.be_renewed(9)
    assert (shard.replica, shard.names, shard.tells_all, shard.last_own, shard.told) == (9, Names(0, 0), True, 0, 0)


def test_the_names_are_stored_with_the_batch_in_which_others_may_hear_of_more() -> None:
    disk = Disk(1)
    disk.shard.names, disk.shard.tells_all = Names(0, 0), False
    disk.put("a")
    assert saved(disk, lambda _: None).names == Names(0, 0)
    disk.load()
    disk.shard.tells_all = False
    assert saved(disk, Shard.tell_all).names == Names(1, 0)
    disk.load()
    loaded = saved(disk, lambda shard: shard.be_renewed(9))
    assert loaded.names == Names(0, 0)


def test_a_digest_is_of_what_others_are_shown() -> None:
    for told in (0, 3, 5):
        shard = in_doubt(told, 0)
        digest = shard._shown_hash()
        assert digest == shard.shown.digest()
        shard.advance(2, 9)
        shard.advance(1, 8)
        assert shard._shown_hash() == shard.shown.digest()
    assert entry_hash(1, 0) == 0


def test_a_digest_says_whether_writes_are_withheld_rows_are_lacking_and_how_many_there_are() -> None:
    disk = Disk(1)
    disk.put("a")
    disk.delete("b")
    with disk.storage.view() as view:
        digest = disk.shard.digest(view)
        assert (digest.rows, digest.tombstones, digest.is_withholding, digest.is_lacking) == (1, 1, False, False)
        assert (digest.is_ahead, digest.fingerprint) == (False, disk.shard.fingerprint.root.visible)
        disk.shard.note_lack(at("x"), lack(2, 1))
        disk.shard.names, disk.shard.tells_all = Names(1, 0), False
        digest = disk.shard.digest(view)
        assert (digest.is_withholding, digest.is_lacking, digest.is_ahead) == (True, True, True)


def test_the_hash_of_the_proofs_follows_them() -> None:
    disk = Disk(1)
    with disk.storage.view() as view:
        hashes = [disk.shard.digest(view).proofs_hash for _ in range(2)]
        disk.shard.advance(2, 5)
        disk.shard.note_collection(Proof(Context({2: 5}), frozenset([1]), frozenset([1])), 0, Context())
        hashes.append(disk.shard.digest(view).proofs_hash)
    assert hashes[0] == hashes[1] != hashes[2]
    assert hashes[2] == disk.shard.collected.digest()


# Contexts, floors and bases.


def test_a_withdrawn_replica_is_covered_up_to_what_is_certain_and_the_journal_serves_no_one_below() -> None:
    disk = Disk(1)
    disk.shard.advance(2, 9)
    disk.shard.floors = Context({2: 3})
    assert disk.shard.entries == 1
    disk.shard.withdraw(2, 5)
    assert (disk.shard.context, disk.shard.floors) == ({2: 5}, {2: 5})
    disk.shard.floors = Context({2: 7})
    disk.shard.withdraw(2, 5)
    assert disk.shard.floors == {2: 7}
    disk.shard.withdraw(2, 0)
    assert (disk.shard.context, disk.shard.entries) == ({}, 0)
    assert disk.shard._shown_hash() == Context().digest()
    disk.shard.withdraw(3, 0)
    assert disk.shard.context == {}


def test_a_withdrawn_replica_is_omitted_no_longer() -> None:
    disk = Disk(1)
    disk.shard.advance(2, 9)
    disk.shard.rest_on(Base((Dot(2, 9),), 1))
    assert (disk.shard.entries, disk.shard.has_entry(2)) == (0, False)
    disk.shard.withdraw(2, 5)
    assert (disk.shard.base.length, disk.shard.entries, disk.shard.has_entry(2)) == (0, 1, True)


def test_the_entries_are_those_beside_the_base() -> None:
    disk = Disk(1)
    base = Base((Dot(2, 5), Dot(3, 5)), 2)
    disk.shard.advance(2, 5)
    disk.shard.advance(3, 5)
    assert disk.shard.entries == 2
    disk.shard.rest_on(base)
    assert (disk.shard.entries, disk.shard.floors) == (0, {2: 5, 3: 5})
    for origin, through, entries in ((2, 5, 0), (2, 6, 1), (2, 7, 1), (4, 1, 2), (3, 4, 2)):
        disk.shard.advance(origin, through)
        assert disk.shard.entries == entries == len(disk.shard.unsettled())
    assert [disk.shard.has_entry(origin) for origin in (2, 3, 4, 5)] == [True, False, True, False]
    disk.shard.load_base(Base())
    assert disk.shard.entries == 3


def test_a_base_is_stored_with_the_context_that_omits_it() -> None:
    disk = Disk(1)
    disk.shard.advance(2, 5)
    disk.shard.advance(3, 4)
    disk.shard.floors = Context({2: 2, 3: 1})
    with disk.committing():
        disk.shard.rest_on(Base((Dot(2, 5),), 1))
    with disk.storage.view() as view:
        record = view.shard_record(USER)
        assert record is not None
        assert view.settled(USER) == {2: 5}
    with disk.committing():
        disk.shard.rest_on(disk.shard.base)
    assert disk.shard.record()[:2] == (Context({3: 4}), Context({3: 1}))


def test_an_unchanged_base_changes_nothing() -> None:
    disk = Disk(1)
    with disk.committing():
        pass
    disk.shard.rest_on(Base((Dot(2, 5),), 0))
    assert (disk.shard._record_changed, disk.shard._base_changed) == (False, False)


# What is on disk.


def test_each_part_that_changed_is_saved() -> None:
    disk = Disk(1)
    disk.put("a")
    proof = Proof(Context({1: 1}), frozenset([1, 2]), frozenset([1, 2]))
    assert saved(disk, lambda shard: shard.advance(2, 7)).context == {1: 1, 2: 7}
    disk.load()
    assert saved(disk, lambda shard: shard.note_collection(proof, 9, Context())).collected.proofs == (proof,)
    disk.load()
    assert saved(disk, lambda shard: shard.note_timestamp(20)).collected.timestamp == 20
    disk.load()
    assert saved(disk, lambda shard: shard.inherit([5], 1)).collected.lineage == ()
    other = Disk(3)
    assert saved(other, lambda shard: shard.inherit([5, 3], 3)).collected.lineage == (5,)
    loaded = saved(disk, lambda shard: shard.note_lack(at("x"), lack(2, 7)))
    assert (list(loaded.lacking), loaded.lacking_through) == ([at("x")], {2: 7})
    disk.load()
    assert saved(disk, lambda shard: shard.clear_lack(at("x"))).lacking == {}


def test_the_timestamp_of_what_was_collected_never_goes_back() -> None:
    disk = Disk(1)
    for timestamp, latest in ((20, 20), (10, 20), (30, 30)):
        disk.shard.note_timestamp(timestamp)
        assert disk.shard.collected.timestamp == latest


def test_an_empty_table_is_forgotten_once_that_is_saved() -> None:
    disk = Disk(1)
    disk.put("a")
    assert disk.shard.rows == 1
    with disk.committing() as transaction:
        held = transaction.row(USER, at("a"))
        assert held is not None
        disk.shard.remove(transaction, at("a"), held)
        assert disk.shard.tables == {"table": Counts(0, 0, 0)}
    assert (disk.shard.tables, disk.shard.rows, disk.shard.totals) == ({}, 0, Counts())
    disk.load()
    assert disk.shard.tables == {}


def test_the_rows_of_all_tables_are_counted_at_the_start() -> None:
    disk = Disk(1)
    for key in "ab":
        disk.put(key)
    disk.do(Operation(b"other\0a", b"value"))
    disk.load()
    assert (disk.shard.rows, disk.shard.totals) == (3, Counts(3, 0, 18))


# Rows.


def test_a_row_that_is_removed_leaves_nothing_behind_and_raises_the_floor() -> None:
    disk = Disk(1)
    disk.take_in([RowCopy(at("a"), StoredRow(row((2, 3)).versions, Context({2: 3, 4: 1})))])
    disk.shard.changed = {}
    with disk.committing() as transaction:
        held = transaction.row(USER, at("a"))
        assert held is not None
        disk.shard.remove(transaction, at("a"), held)
    assert (disk.rows(), disk.journal(), disk.shard.floors) == ({}, set(), {2: 3, 4: 1})
    assert disk.shard.fingerprint.root == FingerprintTable().root
    assert disk.shard.changed == {}


def test_what_is_dropped_is_no_event_for_watchers_unless_a_part_stays() -> None:
    disk = Disk(1)
    held = row((2, 3), (4, 1))
    disk.take_in([RowCopy(at("a"), held), RowCopy(at("b"), held)])
    disk.shard.changed, disk.shard.has_dropped = {at("a"): held}, False
    with disk.committing() as transaction:
        disk.shard.drop(transaction, at("a"), held, None)
        assert disk.shard.has_dropped
        assert disk.shard.changed == {}
        kept = row((2, 3))
        disk.shard.drop(transaction, at("b"), held, kept)
    assert disk.rows()[at("b")] == StoredRow(kept.versions, held.context), "what it covered is covered"
    assert list(disk.shard.changed) == [at("b")]


def test_an_entry_that_is_dropped_raises_the_floor() -> None:
    disk = Disk(1)
    held = row((2, 3), context={2: 3, 4: 6})
    disk.take_in([RowCopy(at("a"), held)])
    with disk.committing() as transaction:
        disk.shard.drop_entry(transaction, at("a"), held, 4)
    assert disk.rows()[at("a")].context == {2: 3}
    assert disk.shard.floors == {4: 6}
    assert disk.journal() == {(2, 3, at("a"))}


def test_a_write_that_replaces_an_unreadable_row_releases_it() -> None:
    disk = Disk(1)
    disk.put("a")
    with disk.committing() as transaction:
        disk.shard.quarantine(transaction, {at("a"): "damaged"})
    assert disk.shard.quarantined == {at("a"): Quarantined("damaged", Context({1: 1}))}
    assert disk.shard.lacking[at("a")] == Lack(Context({1: 1}), Context(), UNREADABLE)
    assert not disk.shard.is_whole(at("a"))
    assert disk.shard.missing_of(at("a")) == {1: 1}
    disk.shard.give_up(at("a"))
    assert (disk.shard.given_up, disk.shard.lacking) == ({at("a")}, {})
    assert not disk.shard.is_whole(at("a"))
    assert disk.shard.missing_of(at("a")) == {1: 1}
    disk.put("a")
    assert (disk.shard.quarantined, disk.shard.given_up) == ({}, set())
    assert disk.shard.is_whole(at("a"))
    assert disk.shard.missing_of(at("a")) == {}
    [notice] = disk.store.outbox.take()
    assert (notice.event, notice.fields["row"]) == ("unreadable_row_replaced", "a")
    disk.put("b")
    assert disk.store.outbox.take() == [], "it is told once"


def test_a_quarantined_row_counts_in_nothing_and_leaves_the_others_as_they_are() -> None:
    disk, without = Disk(1), Disk(1)
    for one in (disk, without):
        one.put("a")
        one.do(Operation(at("b"), b"value", ttl_ms=1_000))
        one.do(Operation(at("c"), b"value", ttl_ms=2_000))
        one.delete("d")
        one.delete("e")
    with disk.committing() as transaction:
        disk.shard.quarantine(transaction, {at("b"): "damaged", at("d"): "damaged"})
    with without.committing() as transaction:
        for key in "bd":
            held = transaction.row(USER, at(key))
            assert held is not None
            without.shard.remove(transaction, at(key), held)
    for one in (disk, without):
        assert one.journal() == {(1, 1, at("a")), (1, 3, at("c")), (1, 5, at("e"))}
        with one.storage.view() as view:
            expiries = list(view.deadlines(USER, EXPIRIES, FIRST_DEADLINE, TIME_MS_MAX))
            tombstones = list(view.deadlines(USER, TOMBSTONES, FIRST_DEADLINE, TIME_MS_MAX))
        assert expiries == [Deadline(NOW_MS + 2_000, at("c"))]
        assert tombstones == [Deadline(NOW_MS, at("e"))]
    assert disk.shard.tables == without.shard.tables == {"table": Counts(2, 1, 12)}
    assert disk.shard.fingerprint.nodes() == without.shard.fingerprint.nodes()
    assert disk.shard.rows != 0


def test_a_row_whose_versions_expire_at_different_times_has_an_entry_for_each() -> None:
    disk = Disk(1)
    versions = (
        Version(Dot(4, 1), timestamp_at(NOW_MS + 3), None, NOW_MS + 5, 0),
        Version(Dot(3, 1), timestamp_at(NOW_MS + 2), b"v", NOW_MS + 20, 0),
        Version(Dot(2, 1), timestamp_at(NOW_MS + 1), b"v", NOW_MS + 10, 0),
        Version(Dot(5, 1), timestamp_at(NOW_MS), b"v", None, 0),
    )
    disk.take_in([RowCopy(at("a"), StoredRow(versions, Context({2: 1, 3: 1, 4: 1, 5: 1})))])

    def entries(index: str) -> list[int]:
        with disk.storage.view() as view:
            return [deadline.at_ms for deadline in view.deadlines(USER, index, FIRST_DEADLINE, TIME_MS_MAX)]

    assert (entries(EXPIRIES), entries(TOMBSTONES)) == ([NOW_MS + 10, NOW_MS + 20], [])
    disk.delete("a", NOW_MS + 30)
    assert (entries(EXPIRIES), entries(TOMBSTONES)) == ([], [NOW_MS + 30])
    disk.put("a", now_ms=NOW_MS + 40)
    assert (entries(EXPIRIES), entries(TOMBSTONES)) == ([], [])


# What is lacking.


def test_what_is_lacking_is_bounded_by_rows_and_by_origins() -> None:
    shard = Disk(1).shard
    for number in range(LACKING_ROWS_MAX):
        assert shard.note_lack(at(f"{number}"), lack(2, 1))
    assert not shard.note_lack(at("more"), lack(2, 1))
    assert shard.note_lack(at("0"), lack(2, 5)), "it is lacking already"
    assert shard.lacking[at("0")].through == {2: 5}
    assert shard.lacking_through == {2: 5}
    shard = Disk(1).shard
    many = Context(dict.fromkeys(range(LACKING_ORIGINS_MAX - 1), 1))
    assert shard.note_lack(at("wide"), Lack(many, Context(), "inconsistent"))
    assert shard.note_lack(at("a"), lack(10**6, 1))
    assert not shard.note_lack(at("b"), lack(10**6 + 1, 1))
    assert shard.note_lack(at("b"), lack(10**6, 1))


def test_a_write_is_held_if_it_is_covered_and_may_not_be_missing() -> None:
    shard = Disk(1).shard
    shard.advance(2, 5)
    shard.note_lack(at("a"), lack(2, 3))
    assert [shard.holds(Dot(2, sequence)) for sequence in (3, 4, 5, 6)] == [False, True, True, False]
    assert not shard.is_whole(at("a"))
    assert shard.is_whole(at("b"))
    assert shard.missing_of(at("a")) == {2: 3}
    shard.note_lack(at("b"), lack(2, 4))
    shard.clear_lack(at("a"))
    assert list(shard.lacking) == [at("b")]
    assert shard.lacking_through == {2: 4}


def test_messages_name_a_bounded_number_of_lacking_rows_and_say_what_may_be_missing_beyond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "LACKING_ROWS_MAX", 2)
    shard = Disk(1).shard
    shard._set_lacking({at("a"): lack(2, 3), at("b"): lack(3, 1)})
    assert (len(shard.lacked_rows()), shard.unnamed) == (2, {})
    shard._set_lacking({at("a"): lack(2, 3), at("b"): lack(3, 1), at("c"): lack(2, 4), at("d"): lack(3, 1)})
    assert shard.lacked_rows() == (LackedRow(at("a"), Context({2: 3})), LackedRow(at("b"), Context({3: 1})))
    assert shard.unnamed == {2: 4}


def test_an_unreadable_row_that_no_message_can_name_is_not_noted() -> None:
    shard = Disk(1).shard
    shard.quarantined = {
        at("a"): Quarantined("damaged", Context({2: 3})),
        b"no address": Quarantined("damaged", Context({2: 9})),
        at("empty"): Quarantined("damaged", Context()),
    }
    shard.given_up = {at("a")}
    shard.note_lack(at("a"), lack(4, 1, "inconsistent"))
    shard._lacking_changed = False
    shard.note_unreadable(shard.quarantined)
    assert list(shard.lacking) == [at("a")]
    assert (shard.lacking[at("a")].through, shard.lacking_through) == ({2: 3, 4: 1}, {2: 3, 4: 1})
    assert (shard.given_up, shard._lacking_changed) == (set(), True)
    shard._lacking_changed = False
    shard.note_unreadable([])
    assert not shard._lacking_changed


# Rows ahead of the context.


def test_an_entry_that_names_no_version_here_does_not_make_a_shard_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(1)
    disk.take_in([RowCopy(at("a"), row((2, 1), context={2: 1, 3: 7}))])
    with disk.storage.view() as view:
        assert disk.shard.is_ahead(view)
        disk.shard.advance(2, 1)
        assert not disk.shard.is_ahead(view), "3's write was replaced"
    for number in range(3):
        disk.take_in([RowCopy(at(f"b{number}"), row((2, 1 + number), context={2: 1 + number, 3: 8 + number}))])
    disk.shard.advance(2, 9)
    with disk.storage.view() as view:
        monkeypatch.setattr(room, "AHEAD_ENTRIES_MAX", 4)
        assert not disk.shard.is_ahead(view)
        monkeypatch.setattr(room, "AHEAD_ENTRIES_MAX", 3)
        assert disk.shard.is_ahead(view), "they are too many to look at"


class Untouchable:
    """A transaction in which nothing may be read or written."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(name)


def test_what_has_not_changed_is_not_written_again() -> None:
    disk, untouchable = Disk(1), cast("Transaction", Untouchable())
    changes: list[Callable[[Shard], object]] = [
        lambda shard: shard.advance(2, 5),
        lambda shard: shard.rest_on(Base((Dot(2, 5),), 1)),
        lambda shard: shard.note_collection(Proof(Context({2: 5}), frozenset([1]), frozenset([1])), 9, Context()),
        lambda shard: shard.note_lack(at("x"), lack(3, 7)),
        lambda shard: shard.note_certain(1),
    ]
    disk.put("a")
    for change in changes:
        with disk.committing():
            change(disk.shard)
        disk.shard.save(untouchable)
    disk.load()
    disk.shard.save(untouchable)
    disk.shard.advance(2, 5)
    disk.shard.adopt(Context({2: 5}))
    disk.shard.note_timestamp(9)
    disk.shard.rest_on(disk.shard.base)
    disk.shard.tell_all()
    disk.shard.save(untouchable)
    disk.shard.advance(2, 6)
    with pytest.raises(AssertionError, match="put_shard_record"):
        disk.shard.save(untouchable)


def test_a_floor_that_was_raised_for_a_row_that_was_removed_is_saved() -> None:
    disk = Disk(1)
    disk.take_in([RowCopy(at("a"), row((2, 3)))])
    with disk.committing() as transaction:
        held = transaction.row(USER, at("a"))
        assert held is not None
        disk.shard.remove(transaction, at("a"), held)
    disk.load()
    assert disk.shard.floors == {2: 3}


def test_a_walk_raises_no_floor_over_what_was_covered_already() -> None:
    shard = Disk(1).shard
    shard.advance(2, 5)
    shard.adopt(Context({2: 5, 3: 1}))
    assert (shard.context, shard.floors) == ({2: 5, 3: 1}, {3: 1})
    shard.adopt(Context({2: 4}))
    assert (shard.context, shard.floors) == ({2: 5, 3: 1}, {3: 1})


def test_the_proofs_of_a_peer_are_adopted_as_far_as_they_are_covered_and_fit() -> None:
    shard = Disk(1).shard
    shard.advance(2, 5)
    proofs = [Proof(Context({2: through}), frozenset([through]), frozenset([through])) for through in (5, 6)]
    shard.adopt_proofs(tuple(proofs))
    assert shard.collected.proofs == (proofs[0],)
    shard.advance(2, 6)
    shard.proofs_fit = lambda found: len(found) < 2
    shard.adopt_proofs(tuple(proofs))
    assert shard.collected.proofs == (proofs[0],)
    assert Shard(USER, Context({2: 6}), Context(), {}).proofs_fit(tuple(proofs)), "unless there is a limit"


def test_other_rows_of_a_leaf_count_on_when_one_of_them_cannot_be_read() -> None:
    one, other = shared_leaf(2)
    disk, without = Disk(1), Disk(1)
    for key in (one, other):
        disk.put(key)
    without.take_in([copy for copy in disk.copies() if copy.address == at(other)])
    with disk.committing() as transaction:
        disk.shard.quarantine(transaction, {at(one): "damaged"})
    assert disk.shard.fingerprint.nodes() == without.shard.fingerprint.nodes()
    disk.load()
    assert disk.shard.fingerprint.nodes() == without.shard.fingerprint.nodes()
    assert disk.shard.tables == without.shard.tables
    assert list(disk.shard.quarantined) == [at(one)]


def test_a_row_of_a_table_that_has_no_name_is_quarantined_and_counted_nowhere() -> None:
    disk = Disk(1)
    with disk.committing() as transaction:
        disk.shard.quarantine(transaction, {b"No Table!\0row": "damaged"})
    assert disk.shard.tables == {}
    assert list(disk.shard.quarantined) == [b"No Table!\0row"]


def test_a_digest_is_right_before_the_replica_is_known_and_after_many_changes() -> None:
    shard = Shard(USER, Context({1: 5}), Context(), {})
    assert shard._shown_hash() == Context({1: 5}).digest()
    shard.belong_to(1, tells_all=True)
    for number in range(1, 40):
        shard.advance(number % 7, number)
        if number % 3 == 0:
            assert shard._shown_hash() == shard.context.digest()
    shard = in_doubt(3, 0)
    for _ in range(2):
        assert shard._shown_hash() == shard.shown.digest()
