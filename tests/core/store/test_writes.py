"""What a write makes of a row, what is written again under other names or times, and what watchers are told."""

from __future__ import annotations

import pytest

from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.clock import HybridClock, milliseconds, timestamp_at
from gossipkv.core.model.collected import Proof
from gossipkv.core.model.lacking import Lack
from gossipkv.core.model.row import Conflicts, Seen, StoredRow, Version
from gossipkv.core.model.write import (
    CONTEXT_REQUIRED,
    TOO_MANY_SIBLINGS,
    UNREADABLE,
    Declined,
    NotMatched,
    Operation,
    StoredWrite,
)
from gossipkv.core.protocol.base import Abridged, Base
from gossipkv.core.protocol.messages import RowCopy
from gossipkv.core.store import store as room
from gossipkv.core.store.store import Authority
from gossipkv.core.store.tables import TableSettings, settings_address
from tests.core.disks import NOW_MS, SKEW_MS_MAX, TABLE, Disk, at
from tests.core.test_forged_contexts import keeping_siblings


def held_by(disk: Disk, *versions: Version, key: str = "a", context: dict[int, int] | None = None) -> StoredRow:
    """Let the store take in a row of these versions."""
    covered = context or {version.dot.replica: version.dot.sequence for version in versions}
    row = StoredRow(versions, Context(covered))
    disk.take_in([RowCopy(at(key), row)])
    return disk.rows()[at(key)]


def version(
    replica: int,
    sequence: int,
    at_ms: int = NOW_MS,
    value: bytes | None = b"v",
    expires_ms: int | None = None,
    above: int | None = None,
) -> Version:
    return Version(Dot(replica, sequence), timestamp_at(at_ms), value, expires_ms, above)


# Writes of clients.


def test_a_write_expires_after_its_time_to_live() -> None:
    disk = Disk(1)
    for ttl_ms, expires_ms in ((None, None), (1, NOW_MS + 1), (500, NOW_MS + 500)):
        result = disk.do(Operation(at("a"), b"v", ttl_ms=ttl_ms))
        assert isinstance(result, StoredWrite)
        assert result.row.winner.expires_ms == expires_ms


def test_a_write_outranks_what_was_collected_and_what_its_writer_has_read() -> None:
    disk = Disk(1)
    later = timestamp_at(NOW_MS + 5_000)
    disk.shard.note_timestamp(later)
    disk.put("a")
    assert disk.rows()[at("a")].winner.timestamp == later + 1
    other = Disk(1, knows_settings=False)
    held = held_by(other, version(2, 1, NOW_MS + 3_000))
    other.shard.advance(2, 1)
    result = other.do(Operation(at("a"), b"new", seen=held.seen))
    assert isinstance(result, StoredWrite)
    assert result.row.winner.timestamp == held.winner.timestamp + 1


def test_if_the_last_write_wins_a_row_is_there_if_its_winner_is() -> None:
    rows = [version(2, 1, NOW_MS, None, None, 0), version(3, 1, NOW_MS - 1, b"v", None, 0)]
    for disk, exists in ((Disk(1), False), (keeping_siblings(1), True)):
        held_by(disk, *rows)
        result = disk.do(Operation(at("a"), b"new", if_absent=True))
        assert isinstance(result, NotMatched if exists else StoredWrite)


def test_an_unreadable_row_is_replaced_by_a_write_that_covers_it_and_judged_by_no_condition() -> None:
    for disk in (Disk(1), keeping_siblings(1), Disk(1, knows_settings=False)):
        held_by(disk, version(2, 4, value=b"lost"), context={2: 4, 3: 7})
        with disk.committing() as transaction:
            disk.shard.quarantine(transaction, {at("a"): "damaged"})
        for operation in (Operation(at("a"), b"new", ("*",)), Operation(at("a"), b"new", None, True)):
            assert disk.do(operation) == Declined(UNREADABLE, None, 0)
        result = disk.do(Operation(at("a"), b"new"))
        assert isinstance(result, StoredWrite)
        assert result.row.winner.siblings_above is None
        assert result.row.context == {1: result.dot.sequence, 2: 4, 3: 7}


def test_a_row_keeps_siblings_up_to_the_limit_and_more_only_if_there_were_more() -> None:
    disk = keeping_siblings(1)
    disk.store._siblings_max = 2
    assert isinstance(disk.do(Operation(at("a"), b"1")), StoredWrite)
    assert isinstance(disk.do(Operation(at("a"), b"2")), StoredWrite)
    refused = disk.do(Operation(at("a"), b"3"))
    assert refused == Declined(TOO_MANY_SIBLINGS, disk.rows()[at("a")].etag, 2)
    assert disk.do(Operation(at("a"), None)) == Declined(CONTEXT_REQUIRED, disk.rows()[at("a")].etag, 2)
    held_by(disk, *[version(replica, 1, above=0) for replica in (5, 4, 3)])
    row = disk.rows()[at("a")]
    assert len(row.versions) == 5
    disk.shard.advance(5, 1)
    one = Seen(Context({5: 1}), row.seen.timestamp, 0)
    result = disk.do(Operation(at("a"), b"in place of one", seen=one))
    assert isinstance(result, StoredWrite)
    assert len(result.row.versions) == 5, "it leaves as many as there were"


def test_a_writer_that_names_the_row_replaces_it_and_a_row_that_is_gone_is_replaced_by_anyone() -> None:
    disk = keeping_siblings(1)
    first = disk.do(Operation(at("a"), b"1"))
    assert isinstance(first, StoredWrite)
    by_star = disk.do(Operation(at("a"), b"2", ("*",)))
    assert isinstance(by_star, StoredWrite)
    assert len(by_star.row.versions) == 2, "it names no versions"
    by_tag = disk.do(Operation(at("a"), b"3", (by_star.etag,)))
    assert isinstance(by_tag, StoredWrite)
    assert [each.value for each in by_tag.row.versions] == [b"3"]
    deleted = disk.do(Operation(at("a"), None, (by_tag.etag,)))
    assert isinstance(deleted, StoredWrite)
    again = disk.do(Operation(at("a"), b"4"))
    assert isinstance(again, StoredWrite)
    assert ([each.value for each in again.row.versions], again.existed) == ([b"4"], False)


def test_a_row_that_merges_have_made_too_large_may_only_be_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "is_carriable", lambda _: False)
    for disk in (Disk(1), keeping_siblings(1)):
        assert isinstance(disk.do(Operation(at("a"), b"")), Declined)
        held = held_by(disk, version(3, 1, NOW_MS, b"12", None, 0), version(2, 1, NOW_MS - 1, b"3", None, 0))
        disk.shard.advance(2, 1)
        disk.shard.advance(3, 1)
        for value, is_taken in ((b"123", False), (b"12", True)):
            result = disk.do(Operation(at("a"), value, seen=held.seen))
            assert isinstance(result, StoredWrite) is is_taken
            if not is_taken:
                assert isinstance(result, Declined)
                assert result.etag == held.etag
        assert isinstance(disk.do(Operation(at("a"), b"1", seen=disk.rows()[at("a")].seen)), Declined), (
            "it has as many versions as before"
        )


# Writes again.


def written(disk: Disk, *versions: Version) -> None:
    """Let the store have written these versions itself, and have taken in the others."""
    row = StoredRow(versions, Context({each.dot.replica: each.dot.sequence for each in reversed(versions)}))
    with disk.committing() as transaction:
        disk.shard.store(transaction, at("a"), None, row)
        disk.shard.advance(1, row.context[1])


def restamped(disk: Disk, *dots: Dot, above: int = 0, now_ms: int = NOW_MS) -> StoredRow:
    # The clock has been set right, and what it was before is forgotten.
    disk.store._clock = HybridClock(SKEW_MS_MAX)
    with disk.committing() as transaction:
        disk.store.restamp(transaction, USER, at("a"), frozenset(dots), above, now_ms)
    return disk.rows()[at("a")]


def test_what_is_stamped_again_has_the_present_time_and_as_long_to_live_as_before() -> None:
    disk = Disk(1)
    ahead_ms = NOW_MS + SKEW_MS_MAX
    written(disk, version(1, 3, ahead_ms, b"v", ahead_ms + 700))
    row = restamped(disk, Dot(1, 3))
    assert row.winner == Version(Dot(1, 4), timestamp_at(NOW_MS), b"v", NOW_MS + 700, None)
    assert row.context == disk.shard.context == {1: 4}
    assert disk.journal() == {(1, 4, at("a"))}


def test_what_is_stamped_again_stands_above_all_that_it_must_outrank() -> None:
    later = timestamp_at(NOW_MS + 50)
    for above, collected, kept_ms in ((later, 0, NOW_MS - 9), (0, later, NOW_MS - 9), (0, 0, NOW_MS + 50)):
        disk = keeping_siblings(1)
        written(disk, version(1, 8, NOW_MS + 90_000, above=0), version(2, 1, kept_ms, above=0))
        disk.shard.note_timestamp(collected)
        row = restamped(disk, Dot(1, 8), above=above)
        assert row.winner.timestamp == later + 1
        assert (row.winner.dot, len(row.versions)) == (Dot(1, 9), 2)
    disk = keeping_siblings(1)
    written(disk, version(1, 8, NOW_MS + 90_000, above=0))
    disk.shard.note_timestamp(timestamp_at(NOW_MS + SKEW_MS_MAX + 5_000))
    row = restamped(disk, Dot(1, 8))
    assert milliseconds(row.winner.timestamp) == NOW_MS + SKEW_MS_MAX, "others refuse what is further ahead"


def test_siblings_that_are_stamped_again_keep_their_order_and_outrank_nothing_of_the_future() -> None:
    disk = keeping_siblings(1)
    high, low = timestamp_at(NOW_MS + SKEW_MS_MAX + 90_000), timestamp_at(NOW_MS - 100)
    second, first = Version(Dot(1, 9), high + 2, b"2", None, low), Version(Dot(1, 8), high + 1, b"1", None, high)
    written(disk, second, first)
    row = restamped(disk, second.dot, first.dot)
    now = timestamp_at(NOW_MS)
    assert row.versions == (
        Version(Dot(1, 11), now + 1, b"2", None, low),
        Version(Dot(1, 10), now, b"1", None, low),
    )
    assert row.context == {1: 11}


def test_the_rest_of_a_row_keeps_its_names_when_versions_of_one_that_is_gone_are_adopted() -> None:
    for own, above in ((1, 1), (5, 0)):
        disk = keeping_siblings(own)
        disk.shard.advance(own, 4)
        gone, kept = version(3, 7, NOW_MS, b"gone", NOW_MS + 9, 0), version(2, 1, NOW_MS, b"kept", above=0)
        held_by(disk, gone, kept)
        with disk.committing() as transaction:
            disk.store.adopt(transaction, USER, at("a"), 3)
        row = disk.rows()[at("a")]
        adopted = gone._replace(dot=Dot(own, 5), timestamp=gone.timestamp + above)
        assert set(row.versions) == {adopted, kept}
        assert row.context == {own: 5, 2: 1, 3: 7}
        assert disk.shard.context[own] == 5


def test_an_expiry_is_a_write_of_this_replica() -> None:
    disk = Disk(1)
    disk.do(Operation(at("a"), b"v", ttl_ms=5))
    with disk.committing() as transaction:
        disk.store.expire(transaction, USER, at("a"), NOW_MS + 5)
    row = disk.rows()[at("a")]
    assert (row.winner.dot, row.winner.value, row.winner.expires_ms) == (Dot(1, 2), None, NOW_MS + 5)
    assert disk.shard.context == {1: 2}


def test_a_renewal_writes_names_in_doubt_again_and_keeps_those_that_are_certain_or_proved() -> None:
    for certain, proved in ((2, 0), (0, 2)):
        disk = Disk(1)
        for key in "abc":
            disk.put(key)
        stamps = {address: row.winner.timestamp for address, row in disk.rows().items()}
        disk.load()
        disk.shard.note_certain(0)
        names = disk.shard.names
        assert names is not None
        disk.shard.names = names._replace(certain=certain)
        if proved:
            disk.shard.note_collection(Proof(Context({1: proved}), frozenset([1]), frozenset([2])), 0, Context())
        with disk.committing() as transaction:
            disk.store.renew(transaction, 9)
        assert {address: row.winner.dot for address, row in disk.rows().items()} == {
            at("a"): Dot(1, 1),
            at("b"): Dot(1, 2),
            at("c"): Dot(9, 1),
        }
        assert {address: row.winner.timestamp for address, row in disk.rows().items()} == stamps
        assert disk.shard.context == {1: 2, 9: 1}
        assert disk.shard.collected.lineage == (1,)
        assert disk.store.shards[SYSTEM].collected.lineage == ()
        assert (disk.store.replica, disk.shard.tells_all) == (9, True)


# Authorities.


def test_what_a_peer_covers_and_does_not_hold_is_dropped_unless_a_row_is_lacking_on_either_side() -> None:
    disk = Disk(1)
    for key in ("gone", "lacking here", "lacking there", "beyond"):
        held_by(disk, version(2, 9 if key == "beyond" else 3), key=key)
    disk.shard.note_lack(at("lacking here"), Lack(Context({2: 3}), Context(), "inconsistent"))
    authority = Authority(Context({2: 5}), frozenset([at("lacking there")]))
    addresses = [at(key) for key in ("gone", "lacking here", "lacking there", "beyond", "absent")]
    with disk.committing() as transaction:
        assert disk.store.drop_superseded(transaction, USER, addresses, authority) == 1
    assert set(disk.rows()) == {at("lacking here"), at("lacking there"), at("beyond")}
    assert disk.shard.has_dropped


def test_a_copy_from_an_authority_replaces_what_that_covers() -> None:
    for authority, values in ((Authority(Context({2: 5}), frozenset()), {b"new"}), (None, {b"new", b"old"})):
        disk = keeping_siblings(1)
        held_by(disk, version(2, 3, value=b"old", above=0))
        arrived = RowCopy(at("a"), StoredRow((version(3, 1, value=b"new", above=0),), Context({3: 1})))
        with disk.committing() as transaction:
            disk.store.take_in(transaction, USER, [arrived], NOW_MS, authority=authority)
        assert {each.value for each in disk.rows()[at("a")].versions} == values


# What was collected.


def test_a_version_up_to_the_marks_is_taken_to_repair_a_row_or_if_the_row_is_lacking() -> None:
    proof = Proof(Context({2: 5}), frozenset([1]), frozenset([1]))
    arrived = [RowCopy(at("a"), StoredRow((version(2, 3),), Context({2: 3})))]

    def is_taken(
        *, is_repair: bool = False, is_behind: bool = False, is_lacking: bool = False, covered: int = 5
    ) -> bool:
        disk = Disk(1)
        disk.shard.advance(2, covered)
        if covered >= 5:
            disk.shard.note_collection(proof, 0, Context())
        else:
            disk.shard.note_collection(Proof(Context({4: 1}), frozenset([1]), frozenset([1])), 0, Context())
        if is_lacking:
            disk.shard.note_lack(at("a"), Lack(Context({2: 9}), Context(), "inconsistent"))
        with disk.committing() as transaction:
            disk.store.take_in(transaction, USER, arrived, NOW_MS, is_repair=is_repair, is_behind=is_behind)
        return at("a") in disk.rows()

    assert not is_taken()
    assert is_taken(is_repair=True)
    assert is_taken(is_lacking=True)
    assert is_taken(covered=4), "it is above the marks"
    assert not is_taken(covered=4, is_behind=True), "it is covered and not held, and its sender may not know why"
    assert is_taken(covered=4, is_behind=True, is_lacking=True)
    assert is_taken(covered=2, is_behind=True)


def test_proofs_fit_up_to_so_many_ids_each_and_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(1)
    monkeypatch.setattr(room, "PROOF_IDS_MAX", 3)
    monkeypatch.setattr(room, "PROOFS_IDS_MAX", 8)

    def proof(marks: int, listed: int, known: int) -> Proof:
        return Proof(
            Context(dict.fromkeys(range(10, 10 + marks), 1)), frozenset(range(listed)), frozenset(range(known))
        )

    def fits(*proofs: Proof) -> bool:
        return disk.store._proofs_fit(disk.shard, proofs)

    assert fits(proof(3, 3, 2))
    assert not fits(proof(3, 3, 3)), "there are nine"
    assert fits(proof(3, 1, 0), proof(0, 3, 1))
    assert not fits(proof(3, 1, 0), proof(0, 3, 2))
    for counts in ((4, 0, 0), (0, 4, 0), (0, 0, 4)):
        assert not fits(proof(*counts))
    disk.shard.base = Base((Dot(10, 1),), 1)
    disk.store.shards[SYSTEM].base = Base((Dot(0, 1),), 1)
    for counts in ((4, 0, 0), (0, 4, 0), (0, 0, 4)):
        assert fits(proof(*counts)), "one of them is omitted"


# Bases.


def test_contexts_and_proofs_are_sent_without_the_base_and_read_with_it() -> None:
    disk = Disk(1)
    for name in (SYSTEM, USER):
        disk.store.shards[name].advance(7, 4)
        disk.store.shards[name].base = Base((Dot(7, 4), Dot(8, 2)), 1)
    store = disk.store
    assert store.base_number(USER) != 0
    sent = store.abridged(USER, Context({7: 4, 1: 3}))
    assert isinstance(sent, Abridged)
    assert sent == {1: 3}
    assert store.resolved(USER, sent) == {7: 4, 1: 3}
    proof = Proof(Context({7: 4, 1: 3}), frozenset([1, 7]), frozenset([1, 2, 7]))
    [short] = store.abridged_proofs(USER, (proof,))
    assert (set(short.marks), set(short.listed), set(short.known)) == ({1}, {1}, {1, 2})
    assert store.resolved_proofs(USER, (short,)) == (proof,)
    unknown = Abridged({1: 3}, 99)
    assert store.resolved_proofs(USER, (short._replace(marks=unknown), short)) == (proof,)
    assert store.resolved(USER, unknown) is unknown


def test_what_a_peer_omits_is_omitted_here_once_it_is_recognised_and_covered() -> None:
    disk = Disk(1)
    base = Base((Dot(7, 4), Dot(8, 2)), 0)
    for name in (SYSTEM, USER):
        disk.store.shards[name].base = base
    disk.shard.advance(7, 4)
    disk.store.resolved(USER, Abridged({}, base.of_length(2).number))
    assert disk.shard.base.length == 0, "8's writes are not covered"
    disk.shard.advance(8, 2)
    disk.store.settle(lambda *_: False)
    assert (disk.shard.base.length, disk.store.shards[SYSTEM].base.length) == (2, 0)
    disk.store.resolved(USER, Abridged({}, base.of_length(1).number))
    assert disk.shard.base.length == 2, "it omits more already"


# What is stable, and what watchers are told.


def test_what_is_known_of_others_outlives_a_batch_that_failed_and_what_was_learned_in_it_does_not() -> None:
    disk = Disk(1)
    disk.put("a")
    disk.store.set_stable(USER, [Context({1: 1}), Context({1: 5})])
    with disk.committing() as transaction:
        disk.shard.quarantine(transaction, {at("a"): "damaged"})
    disk.shard.give_up(at("a"))
    with disk.committing():
        pass
    disk.store.knows_settings = True
    with disk.storage.view() as view:
        disk.store.load(view)
    assert (disk.shard.stable, disk.shard.given_up, disk.shard.lacking) == ({1: 1}, {at("a")}, {})
    assert not disk.store.knows_settings
    again = Disk(1)
    again.storage = disk.storage
    again.store = type(disk.store)(1, SKEW_MS_MAX)
    again.load()
    assert list(again.shard.lacking) == [at("a")], "the next process asks for it again"
    assert again.store.sequences_at_start == {SYSTEM: 0, USER: 1}


def test_changes_are_collected_while_someone_watches_and_taken_once() -> None:
    disk = Disk(1)
    disk.put("before")
    assert disk.store.take_changes(1) == []
    disk.store.watch(is_watched=True)
    disk.put("a")
    disk.store.watch(is_watched=True)
    disk.shard.has_dropped = True
    changes = next(each for each in disk.store.take_changes(7) if each.shard == USER)
    assert (list(changes.rows), changes.revision, changes.context, changes.has_dropped) == ([at("a")], 7, {1: 2}, True)
    assert changes.unreadable == frozenset()
    with disk.committing() as transaction:
        disk.shard.quarantine(transaction, {at("a"): "damaged"})
    changes = next(each for each in disk.store.take_changes(8) if each.shard == USER)
    assert (list(changes.rows), changes.has_dropped, list(changes.unreadable)) == ([], False, [at("a")])
    assert changes.context == {}, "what is lacking may not have been sent"
    disk.load()
    disk.put("b")
    assert [list(each.rows) for each in disk.store.take_changes(9) if each.shard == USER] == [[at("b")]]
    disk.store.watch(is_watched=False)
    disk.shard.has_dropped = True
    assert disk.store.take_changes(10) == []
    assert not disk.shard.has_dropped


def test_settings_of_tables_count_in_the_batch_in_which_they_are_written_or_come() -> None:
    writer, taker = Disk(1), Disk(2)
    operation = Operation(settings_address(TABLE), TableSettings(Conflicts.SIBLINGS).to_json())
    with writer.committing() as transaction:
        result = writer.store.write(transaction, SYSTEM, operation, NOW_MS)
    assert isinstance(result, StoredWrite)
    with taker.committing() as transaction:
        taker.store.take_in(transaction, SYSTEM, [RowCopy(operation.address, result.row)], NOW_MS)
    for disk in (writer, taker):
        assert TABLE.encode() in disk.store.tables.with_siblings
        disk.put("a", b"1")
        disk.put("a", b"2")
        assert len(disk.rows()[at("a")].versions) == 2
    users = Disk(3)
    users.take_in([RowCopy(operation.address, result.row)])
    assert users.store.tables.with_siblings == frozenset(), "it is a row of a user"
