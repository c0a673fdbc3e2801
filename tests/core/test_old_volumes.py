"""Old volumes: disks that come back, or were set back to an old copy. None of them brings back what was deleted.

The counterexamples behind `core/model/collected.py`, each with the order of events that breaks a weaker rule.
"""

from __future__ import annotations

import pytest

from gossipkv.core.inputs import Discovered, FollowChanges, Forget, Received
from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.collected import LINEAGE_MAX, PROOFS_MAX, Collected, Proof, is_outdated
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Delta, Envelope, Range, RowCopy
from gossipkv.core.store.forgotten import Forgotten
from gossipkv.core.store.store import Intake
from gossipkv.core.watch.watch_position import WatchPosition
from gossipkv.core.watch.watching import ResumeState, Tail, WatchResetError, standing
from gossipkv.storage.encoding import decode_collected
from gossipkv.storage.memory import MemoryStorage
from tests.core.cluster import Cluster, Member, sent
from tests.core.disks import NOW_MS, Disk
from tests.core.upkeep.test_collection import AGE_MS, ROW, clustered, is_there, live, start

OTHER = address_of("table", b"other")
COLLECTED_SECONDS = AGE_MS // 1_000 + 40
FILLING_ROWS = 100
"""Rows of 100 kB, for which a newcomer needs many exchanges."""


def copy_of(member: Member) -> MemoryStorage:
    """A copy of the volume as it is now."""
    storage = MemoryStorage()
    storage.restore(member.storage.snapshot())
    return storage


def delete_and_collect(cluster: Cluster, by: str) -> None:
    cluster.write(by, Operation(ROW, None))
    live(cluster, COLLECTED_SECONDS)
    assert not any(is_there(member) for member in cluster.members.values()), "the tombstone is collected"


def replace_disk(cluster: Cluster, name: str, *others: str) -> Member:
    """Let a member lose its disk, come back, and fill itself from the others."""
    cluster.crash(name)
    member = start(cluster, name)
    cluster.introduce(name, *others)
    live(cluster, 20)
    return member


def restart_on(cluster: Cluster, name: str, storage: MemoryStorage, *others: str) -> Member:
    """Let a member start on this volume and meet the others."""
    if name in cluster.members:
        cluster.crash(name)
    member = start(cluster, name, storage)
    cluster.introduce(name, *others)
    return member


def copied_then_deleted(deleter: str = "a") -> tuple[Cluster, MemoryStorage]:
    """Three members hold a row, c is copied, the row is deleted by a member and collected by all."""
    cluster = clustered("a", "b", "c")
    cluster.write("a", Operation(ROW, b"value"))
    live(cluster, 5)
    copy = copy_of(cluster.members["c"])
    delete_and_collect(cluster, deleter)
    return cluster, copy


@pytest.mark.parametrize("deleter", ["a", "b", "c"])
def test_a_volume_set_back_is_outdated_for_a_member_that_filled_itself_after_the_collection(deleter: str) -> None:
    cluster, copy = copied_then_deleted(deleter)
    replace_disk(cluster, "b", "a", "c")
    storage = cluster.members["a"].storage
    cluster.crash("a")
    returned = restart_on(cluster, "c", copy, "b")
    live(cluster, 20)
    assert returned.is_fenced
    assert not is_there(cluster.members["b"])
    restart_on(cluster, "a", storage, "b")
    live(cluster, 20)
    assert not is_there(cluster.members["a"])
    assert not is_there(cluster.members["b"])


def test_a_volume_set_back_is_outdated_though_the_found_address_answers_before_the_record_is_covered() -> None:
    """Discovery finds b at a second address. Its answer from there comes when its record is here and not yet covered,
    so nothing is concluded from it. All later exchanges go to the address in the record, where no proof of a single
    member is believed."""
    cluster, copy = copied_then_deleted()
    replace_disk(cluster, "b", "a", "c")
    filled = restart_on(cluster, "b", cluster.members["b"].storage, "a", "c")
    cluster.crash("a")
    cluster.crash("c")
    returned = start(cluster, "c", copy)
    cluster.second_endpoints["memory://found-b"] = "b"
    cluster.run("c", Discovered(("memory://found-b", "memory://a")))
    record = address_of(MEMBERS_TABLE, b"b")
    row = filled.rows(SYSTEM)[record]
    written = row.winner.dot
    pushed = Delta(SYSTEM, {filled.replica_id: Range(written.sequence - 1, written.sequence)}, (RowCopy(record, row),))
    asked = Envelope(
        "test", "b", filled.replica_id, filled.driver.replica.identity.incarnation, cluster.now_ms, (pushed,)
    )
    cluster.answer_to("c", Received(sent(asked)))
    live(cluster, 20)
    assert returned.is_fenced


def test_proofs_outlive_the_replacement_of_every_member_that_collected() -> None:
    cluster, copy = copied_then_deleted()
    replace_disk(cluster, "b", "a", "c")
    replace_disk(cluster, "a", "b", "c")
    returned = restart_on(cluster, "c", copy, "a", "b")
    live(cluster, 20)
    assert returned.is_fenced
    assert not is_there(cluster.members["a"])
    assert not is_there(cluster.members["b"])


def test_a_copy_that_knew_none_of_those_who_deleted_is_outdated_too() -> None:
    cluster = clustered("a", "b", "c")
    cluster.write("a", Operation(ROW, b"value"))
    live(cluster, 5)
    copy = copy_of(cluster.members["c"])
    # Every replica that writes from here on is one that the copy has never heard of.
    replace_disk(cluster, "a", "b", "c")
    replace_disk(cluster, "b", "a", "c")
    cluster.write("a", Operation(OTHER, b"later"))
    delete_and_collect(cluster, "a")
    returned = restart_on(cluster, "c", copy, "a", "b")
    live(cluster, 20)
    assert returned.is_fenced
    assert not is_there(cluster.members["a"])


def test_a_replaced_disk_that_comes_back_to_a_member_that_filled_itself_is_outdated() -> None:
    cluster = clustered("a", "b", "c")
    cluster.write("a", Operation(ROW, b"value"))
    live(cluster, 5)
    old = cluster.members["c"].storage
    replace_disk(cluster, "c", "a", "b")
    delete_and_collect(cluster, "b")
    replace_disk(cluster, "b", "a", "c")
    cluster.crash("a")
    returned = restart_on(cluster, "c", old, "b")
    live(cluster, 20)
    assert returned.is_fenced
    assert not is_there(cluster.members["b"])


def test_a_newcomer_that_filled_itself_from_an_old_volume_is_as_outdated_as_its_source() -> None:
    cluster, copy = copied_then_deleted()
    storage = cluster.members["a"].storage
    cluster.crash("a")
    cluster.crash("b")
    # Nobody who is up remembers the deletion: the old copy is all that a new b finds.
    restart_on(cluster, "c", copy)
    filled = start(cluster, "b")
    cluster.introduce("b", "c")
    live(cluster, 30)
    assert is_there(filled)
    restart_on(cluster, "a", storage, "b")
    cluster.crash("c")
    live(cluster, 30)
    assert filled.is_fenced
    assert not is_there(cluster.members["a"])


def fill_in_part(cluster: Cluster, name: str, source: str) -> Member:
    """Let a new member begin to fill itself from another one, and stop that one before the end."""
    member = start(cluster, name)
    cluster.write(name, Operation(OTHER, b"written by the newcomer"))
    cluster.introduce(name, source)
    while not is_there(member):
        cluster.flow()
        cluster.now_ms += 50
        cluster.tick(name)
    assert len(member.rows()) < FILLING_ROWS, "it is in the midst of filling itself"
    cluster.crash(source)
    return member


def filled_in_part(deleter: str) -> tuple[Cluster, Member, MemoryStorage]:
    """Among many rows one is deleted and collected while c is copied; a new b has taken it in from the copy."""
    cluster = clustered("a", "b", "c")
    cluster.write("a", Operation(ROW, b"value"))
    cluster.write("a", *[Operation(address_of("table", b"%d" % n), b"x" * 100_000) for n in range(FILLING_ROWS)])
    live(cluster, 5)
    copy = copy_of(cluster.members["c"])
    delete_and_collect(cluster, deleter)
    storage = cluster.members["a"].storage
    cluster.crash("a")
    cluster.crash("b")
    restart_on(cluster, "c", copy)
    return cluster, fill_in_part(cluster, "b", "c"), storage


@pytest.mark.parametrize("deleter", ["a", "b"])
def test_what_a_newcomer_took_in_part_from_an_old_volume_goes_when_it_fills_itself(deleter: str) -> None:
    cluster, newcomer, storage = filled_in_part(deleter)
    restart_on(cluster, "a", storage, "b")
    live(cluster, 60)
    assert not is_there(cluster.members["a"])
    assert not is_there(newcomer)
    assert not newcomer.is_fenced
    assert OTHER in cluster.members["a"].rows(), "what the newcomer wrote itself counts"
    assert len(newcomer.rows()) == FILLING_ROWS + 1


def test_an_audit_takes_nothing_that_was_deleted_from_a_newcomer_that_an_old_volume_filled_in_part() -> None:
    cluster, newcomer, storage = filled_in_part("a")
    keeper = restart_on(cluster, "a", storage, "b")
    # Only a asks, so the newcomer does not learn that the row was deleted.
    for _ in range(90):
        cluster.now_ms += 1_000
        cluster.tick("a")
        newcomer.outbox.clear()
        while cluster.waiting("a", "b") is not None:
            cluster.deliver("a", "b")
            newcomer.outbox.clear()
    assert "audit_found_rows" in keeper.events()
    assert is_there(newcomer)
    assert not is_there(keeper)
    assert OTHER in keeper.rows(), "what the newcomer wrote itself is taken"


def test_a_newcomer_that_was_interrupted_adopts_nothing_that_an_old_volume_gave_it() -> None:
    cluster = clustered("a", "b", "c")
    cluster.write("b", Operation(ROW, b"value"))
    cluster.write("a", *[Operation(address_of("table", b"%d" % n), b"x" * 100_000) for n in range(FILLING_ROWS)])
    live(cluster, 5)
    # The writer of the row is gone, and the old volume knows it.
    replace_disk(cluster, "b", "a", "c")
    copy = copy_of(cluster.members["c"])
    delete_and_collect(cluster, "a")
    storage = cluster.members["a"].storage
    cluster.crash("a")
    cluster.crash("b")
    restart_on(cluster, "c", copy)
    newcomer = fill_in_part(cluster, "b", "c")
    taken = newcomer.rows()[ROW]
    # Two newcomers know of the others and have not heard what they cover.
    start(cluster, "d")
    newcomer = restart_on(cluster, "b", newcomer.storage, "d")
    live(cluster, 120)
    assert newcomer.rows()[ROW] == taken
    assert not cluster.members["d"].is_fenced
    restart_on(cluster, "a", storage, "b")
    live(cluster, 60)
    assert not is_there(cluster.members["a"])
    assert not is_there(newcomer)


def test_watches_of_a_newcomer_begin_anew_when_it_drops_what_was_deleted() -> None:
    cluster, newcomer, storage = filled_in_part("b")
    cluster.answer_to("b", FollowChanges(is_watched=True))
    with newcomer.storage.view() as view:
        tail = Tail(view, USER)
    restart_on(cluster, "a", storage, "b")
    newcomer.changes.clear()
    live(cluster, 60)
    dropping = next(changes for changes in newcomer.changes if changes.has_dropped)
    with pytest.raises(WatchResetError, match="given up rows"):
        tail.take(dropping)


def test_a_volume_that_takes_a_new_id_goes_on_covering_what_it_collected() -> None:
    disk = Disk(1)
    disk.load()
    disk.put("row")
    disk.delete("row")
    disk.put("other")
    disk.shard.note_collection(proof({1: 2}, 1, 2, listed=(1, 2)), 0, Context({1: 2}))
    with disk.committing() as transaction:
        disk.store.renew(transaction, 9)
    # Otherwise this proof would find a member outdated that fills itself from here, by its lineage.
    assert disk.shard.context == Context({1: 2, 9: 1})
    assert not disk.store.is_outdated(USER, disk.shard.collected.proofs)


def test_of_a_peer_below_the_marks_nothing_is_taken_that_is_covered_and_not_held() -> None:
    disk = Disk(9)
    value = Version(Dot(1, 5), 7 << 16, b"deleted")
    disk.cover({1: Range(0, 5), 2: Range(0, 3)}, Intake())
    disk.shard.note_collection(proof({2: 3}, 1, 2, 9), 0, Context({2: 3}))
    with disk.committing() as transaction:
        # The tombstone, which was write 3 of 2, had dropped the entry of 1: the marks do not cover the value.
        for is_behind in (True, False):
            copies = [RowCopy(ROW, StoredRow((value,), Context({1: 5})))]
            disk.store.take_in(transaction, USER, copies, NOW_MS, is_behind=is_behind)
            assert (transaction.row(USER, ROW) is None) is is_behind
        news = Version(Dot(1, 6), 8 << 16, b"news")
        disk.store.take_in(
            transaction, USER, [RowCopy(OTHER, StoredRow((news,), Context({1: 6})))], NOW_MS, is_behind=True
        )
        assert transaction.row(USER, OTHER) is not None


def test_an_old_volume_that_became_a_new_replica_on_its_way_is_still_outdated() -> None:
    cluster, copy = copied_then_deleted()
    # c wrote after the copy was made, so whoever has heard of that makes the copy take a new id.
    cluster.write("c", Operation(OTHER, b"by c"))
    live(cluster, 5)
    storage = cluster.members["a"].storage
    cluster.crash("a")
    member = cluster.members["b"]
    proofs = member.driver.replica.shards[USER].collected.proofs
    assert proofs
    # A member that has everything but the proofs, as in version 0.1.0 after it had filled itself.
    shard = member.driver.replica.shards[USER]
    shard._keep_collected(Collected())
    returned = restart_on(cluster, "c", copy, "b")
    renewed = returned.replica_id
    cluster.crash("b")
    live(cluster, 2)
    restart_on(cluster, "a", storage, "c")
    live(cluster, 20)
    assert returned.is_fenced or not is_there(returned)
    assert not is_there(cluster.members["a"])
    assert renewed


def test_a_watch_from_before_a_deletion_is_reset_at_a_member_that_filled_itself_after_the_collection() -> None:
    cluster = clustered("a", "b", "c")
    cluster.write("a", Operation(ROW, b"value"))
    live(cluster, 5)
    told = WatchPosition(Context(cluster.members["b"].context()))
    delete_and_collect(cluster, "a")
    cluster.write("b", Operation(OTHER, b"later"))
    filled = replace_disk(cluster, "b", "a", "c")
    newcomer = start(cluster, "d")
    cluster.introduce("a", "d")
    live(cluster, 20)
    for member in (cluster.members["a"], filled, newcomer):
        with member.storage.view() as view:
            assert standing(view, USER, told, Tail(view, USER)) is ResumeState.FORGOTTEN
            now = WatchPosition(Context(member.context()))
            assert standing(view, USER, now, Tail(view, USER)) is ResumeState.HELD


def test_an_old_volume_gives_nothing_to_a_member_that_dials_it_first() -> None:
    cluster, copy = copied_then_deleted()
    cluster.write("b", Operation(OTHER, b"later"))
    live(cluster, 5)
    returned = restart_on(cluster, "c", copy)
    # Only a asks; c never begins an exchange of its own.
    for _ in range(30):
        cluster.now_ms += 1_000
        cluster.tick("a")
        cluster.tick("b")
        returned.outbox.clear()
        for source, target in (("a", "c"), ("b", "c"), ("a", "b"), ("b", "a")):
            while cluster.waiting(source, target) is not None and not returned.is_fenced:
                cluster.deliver(source, target)
    # The name in a request is no evidence. It is when c can ask a or b itself.
    assert not returned.is_fenced
    assert not is_there(cluster.members["a"])
    assert not is_there(cluster.members["b"])
    returned = restart_on(cluster, "c", returned.storage)
    live(cluster, 15)
    assert returned.is_fenced
    assert not is_there(cluster.members["a"])
    assert not is_there(cluster.members["b"])


def test_a_newcomer_is_not_outdated_whatever_was_collected_before_it_came() -> None:
    cluster, _ = copied_then_deleted()
    newcomer = start(cluster, "d")
    cluster.write("d", Operation(OTHER, b"written alone"))
    live(cluster, 15)
    cluster.introduce("a", "d")
    live(cluster, 30)
    assert not newcomer.is_fenced
    assert all(OTHER in member.rows() for member in cluster.members.values())
    assert cluster.members["a"].driver.replica.shards[USER].collected.proofs
    assert newcomer.driver.replica.shards[USER].collected.proofs


def test_a_newcomer_that_restarts_in_the_midst_of_filling_itself_is_not_outdated() -> None:
    cluster, _ = copied_then_deleted()
    cluster.write("a", *[Operation(address_of("table", b"%d" % row), b"x" * 100_000) for row in range(100)])
    live(cluster, 5)
    newcomer = start(cluster, "d")
    cluster.write("d", Operation(OTHER, b"written alone"))
    cluster.introduce("a", "d")
    while len(newcomer.rows()) < 20:
        cluster.flow()
        cluster.now_ms += 50
        cluster.tick("d")
    assert len(newcomer.rows()) < 100, "it is in the midst of filling itself"
    storage = newcomer.storage
    restarted = restart_on(cluster, "d", storage, "a")
    live(cluster, 60)
    assert not restarted.is_fenced
    assert len(restarted.rows()) == 101


def test_parts_of_a_cluster_that_never_met_keep_their_proofs_apart_until_all_have_met() -> None:
    cluster, _ = copied_then_deleted()
    for name in ("x", "y"):
        start(cluster, name)
    live_apart = [("a", "b", "c"), ("x", "y")]
    cluster.introduce("x", "y")
    live(cluster, 20)
    cluster.write("x", Operation(OTHER, b"value"))
    live(cluster, 5)
    cluster.write("x", Operation(OTHER, None))
    live(cluster, COLLECTED_SECONDS)
    assert live_apart
    cluster.introduce("a", "x")
    live(cluster, 60)
    assert not any(member.is_fenced for member in cluster.members.values())
    cluster.write("y", Operation(ROW, b"value"))
    live(cluster, 5)
    delete_and_collect(cluster, "b")
    live(cluster, 30)
    assert {len(m.driver.replica.shards[USER].collected.proofs) for m in cluster.members.values()} == {1}
    assert len({m.driver.replica.shards[USER].collected.digest() for m in cluster.members.values()}) == 1


def test_a_forgotten_volume_that_comes_back_to_a_member_that_filled_itself_is_outdated() -> None:
    cluster = clustered("a", "b", "c")
    cluster.write("a", Operation(ROW, b"value"))
    live(cluster, 5)
    old = cluster.members["c"].storage
    cluster.crash("c")
    live(cluster, 20)
    assert cluster.answer_to("a", Forget("c", is_forced=True)) is Forgotten.DONE
    delete_and_collect(cluster, "a")
    replace_disk(cluster, "b", "a")
    cluster.crash("a")
    returned = restart_on(cluster, "c", old, "b")
    live(cluster, 20)
    assert returned.is_fenced
    assert not is_there(cluster.members["b"])


# Proofs by themselves


def proof(marks: dict[int, int], *known: int, listed: tuple[int, ...] = ()) -> Proof:
    return Proof(Context(marks), frozenset(listed), frozenset(known))


def test_only_what_a_proof_knows_and_what_does_not_cover_it_is_outdated() -> None:
    proofs = (proof({1: 5}, 1, 2, listed=(2,)), proof({3: 2}, 3))
    assert is_outdated(proofs, 2, (), Context({1: 4}))
    assert is_outdated(proofs, 9, (2,), Context({1: 4}))
    assert not is_outdated(proofs, 9, (1,), Context({1: 4})), "the source was replaced, and no one waited for it"
    assert not is_outdated(proofs, 2, (), Context({1: 5}))
    assert not is_outdated(proofs, 9, (), Context())
    assert not is_outdated(proofs, 3, (), Context({3: 2}))
    assert not is_outdated((), 1, (), Context())


def test_a_proof_is_adopted_once_it_is_covered_and_takes_the_place_of_those_it_implies() -> None:
    collected = Collected((proof({1: 5}, 1, 2),))
    assert collected.adopting((proof({1: 6}, 1, 2, 3),), Context({1: 5})) == collected
    assert collected.adopting((proof({1: 6}, 1, 2, 3),), Context({1: 6})).proofs == (proof({1: 6}, 1, 2, 3),)
    assert collected.adopting((proof({1: 4}, 1),), Context({1: 6})) == collected
    assert len(collected.adopting((proof({2: 1}, 9),), Context({2: 1})).proofs) == 2


def test_proofs_become_one_when_every_listed_member_covers_both() -> None:
    collected = Collected((proof({1: 5}, 1), proof({2: 5}, 2)))
    extended = collected.extended(proof({1: 6}, 1, 3), 7, settled=Context({1: 6}))
    assert extended.proofs == (proof({2: 5}, 2), proof({1: 6}, 1, 3))
    assert extended.extended(proof({1: 7}, 1), 7, Context({1: 7, 2: 5})).proofs == (proof({1: 7, 2: 5}, 1, 2, 3),)


def test_a_collection_that_another_proof_implies_adds_none() -> None:
    collected = Collected((proof({1: 5, 2: 5}, 1, 2),))
    assert collected.extended(proof({1: 5}, 1), 7, settled=Context({1: 5})).proofs == collected.proofs


def test_proofs_and_lineages_are_bounded() -> None:
    collected = Collected()
    for replica in range(1, 100):
        collected = collected.adopting((proof({replica: 1}, replica),), Context({replica: 1})).inheriting([replica], 0)
    assert len(collected.proofs) == PROOFS_MAX
    assert collected.lineage == tuple(range(100 - LINEAGE_MAX, 100))
    assert collected.marks == Context(dict.fromkeys(range(1, 100), 1))
    assert collected.adopting((proof({1: 1}, 0),), Context({1: 1})).inheriting([7], 0).lineage == ()


def test_what_version_0_1_0_stored_is_read() -> None:
    stored = bytes.fromhex("94cd1234c30107")
    assert decode_collected(stored) == Collected((proof({1: 7}),), 0x1234)
