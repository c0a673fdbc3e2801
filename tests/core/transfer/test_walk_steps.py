"""Walks step by step: what is asked next, what is fetched, and what a walker that is behind notes."""

from __future__ import annotations

import pytest

from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.collected import Collected, Proof
from gossipkv.core.model.fingerprint import EMPTY, LEAF_SUMS, LEAVES_PER_NODE, NODES, Pair, leaf_of, term_of
from gossipkv.core.model.lacking import LackedRow
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.messages import (
    FetchValue,
    LargeRow,
    LeafEntry,
    LeafVersion,
    Position,
    RefusedRow,
    RowCopy,
    WalkBegin,
    WalkEntries,
    WalkFetch,
    WalkFetchRows,
    WalkList,
    WalkNodes,
    WalkRoot,
    WalkRows,
    WalkSums,
)
from gossipkv.core.store.store import Authority, Intake
from gossipkv.core.transfer import walk as room
from gossipkv.core.transfer.walk import LEAVES_PER_MESSAGE, NODES_PER_MESSAGE, Walk, WalkFaultError, _list
from tests.core.disks import Disk, at
from tests.core.transfer.test_walk import answer, collecting, shared_leaf

CLAIM = Context({2: 9})
PROOF = Proof(Context({2: 5}), frozenset([2]), frozenset([2]))


def root(
    nodes: dict[int, Pair] | None = None, collected: Collected | None = None, lacking: tuple[LackedRow, ...] = ()
) -> WalkRoot:
    found = nodes or {}
    return WalkRoot(
        USER, CLAIM, tuple(found.get(node, EMPTY) for node in range(NODES)), collected or Collected(), lacking
    )


def begun(disk: Disk, *, is_audit: bool = False, is_repair: bool = False, is_behind: bool = False) -> Walk:
    """A walk that has begun and found nothing different yet."""
    walk = Walk(USER, is_audit=is_audit, is_repair=is_repair)
    walk.request()
    walk.take_root(disk.shard, root(collected=Collected((PROOF,)) if is_behind else None))
    walk._nodes = []
    return walk


# What is asked next.


def test_questions_come_from_the_bottom_up_and_a_walk_is_finished_without_any() -> None:
    walk = Walk(USER)
    assert (walk.request(), walk.is_finished) == (WalkBegin(USER), False)
    walk.take_root(Disk(1).shard, root({3: (1, 0), 7: (0, 1)}))
    assert (walk.nodes_left, walk.is_finished) == (2, False)
    assert walk.request() == WalkNodes(USER, (3, 7))
    walk._to_list = [5]
    assert walk.request() == WalkList(USER, (5,), b"")
    walk._to_fetch, walk._after = [6], b"after"
    assert walk.request() == WalkFetch(USER, (6,), b"after")
    walk._rows = [at("a")]
    assert walk.request() == WalkFetchRows(USER, (at("a"),))
    walk.fetching.asked = FetchValue(USER, at("b"), Dot(2, 1), 0, 0)
    assert walk.request() == walk.fetching.asked
    walk.fetching.asked = None
    finished = []
    for left in ("_rows", "_to_fetch", "_to_list", "_nodes"):
        finished.append(walk.is_finished)
        setattr(walk, left, [])
    assert [*finished, walk.is_finished] == [False, False, False, False, True]
    walk._arrived = {9, 4}
    assert (walk.is_finished, walk.request()) == (False, WalkList(USER, (4, 9), b""))
    assert walk._arrived == set()
    walk._to_list = []
    walk.fetching.want([LargeRow(at("b"), (), Context())])
    assert not walk.is_finished


def test_a_question_names_a_bounded_number_of_nodes_leaves_and_rows() -> None:
    walk = begun(Disk(1))
    walk._nodes = list(range(NODES))
    assert walk.request() == WalkNodes(USER, tuple(range(NODES_PER_MESSAGE)))
    walk._to_list = list(range(LEAVES_PER_MESSAGE + 1))
    assert walk.request() == WalkList(USER, tuple(range(LEAVES_PER_MESSAGE)), b"")
    walk._to_fetch = list(range(LEAVES_PER_MESSAGE + 1))
    assert walk.request() == WalkFetch(USER, tuple(range(LEAVES_PER_MESSAGE)), b"")


def test_a_question_names_rows_as_far_as_their_addresses_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    walk = begun(Disk(1))
    walk._rows = [at("a"), at("b"), at("c")]
    size = len(at("a")) + 3
    for room_bytes, count in ((2 * size, 2), (2 * size - 1, 1), (3 * size, 3)):
        monkeypatch.setattr(room, "ADDRESS_BYTES_PER_MESSAGE", room_bytes)
        asked = walk.request()
        assert isinstance(asked, WalkFetchRows)
        assert len(asked.addresses) == count


# Sums.


def test_an_audit_compares_visible_sums_and_any_other_walk_both() -> None:
    for is_audit, nodes in ((True, [3]), (False, [3, 7])):
        walk = Walk(USER, is_audit=is_audit)
        walk.request()
        walk.take_root(Disk(1).shard, root({3: (1, 0), 7: (0, 1)}, Collected((PROOF,))))
        assert walk._nodes == nodes
        assert walk.is_behind is not is_audit, "an audit drops nothing"


def test_a_leaf_that_is_empty_here_is_fetched_one_that_is_empty_there_is_skipped_and_others_are_listed() -> None:
    disk = Disk(1)
    disk.put("here")
    disk.put("both")
    here, both = leaf_of(at("here")), leaf_of(at("both"))
    for is_behind in (False, True):
        walk = begun(disk, is_behind=is_behind)
        walk._nodes = sorted({here >> 8, both >> 8})
        asked = walk.request()
        assert isinstance(asked, WalkNodes)
        sums = {both: (7, 7), (both & ~0xFF) | ((both + 1) & 0xFF): (1, 0)}
        places = [node * LEAVES_PER_NODE + offset for node in asked.nodes for offset in range(LEAVES_PER_NODE)]
        leaves = [LEAF_SUMS.pack(*sums.get(place, EMPTY)) for place in places]
        walk.take_sums(disk.shard, WalkSums(USER, asked.nodes, b"".join(leaves)))
        assert walk._to_list == [both]
        assert walk._to_fetch == [(both & ~0xFF) | ((both + 1) & 0xFF)]
        assert walk.emptied == ([here] if is_behind else [])
        assert (walk._nodes, walk.nodes_left) == ([], 0)


# Lists.


def listing(disk: Disk, walk: Walk, *entries: LeafEntry, leaves: tuple[int, ...] = (1,)) -> list[bytes]:
    """The rows that are to be fetched after this list."""
    walk._to_list, walk._rows = list(leaves), []
    walk.request()
    with disk.storage.view() as view:
        walk.take_entries(view, WalkEntries(USER, entries, None))
    assert walk._to_list == []
    return walk._rows


def entry(key: str, *versions: Version) -> LeafEntry:
    return LeafEntry(at(key), tuple(LeafVersion(each.dot, term_of(at(key), each)) for each in versions))


def test_a_listed_row_is_fetched_unless_all_its_versions_are_here_or_replaced() -> None:
    disk = Disk(1)
    held, replaced = Version(Dot(2, 4), 9, b"v", None, 0), Version(Dot(2, 3), 8, b"v", None, 0)
    disk.take_in([RowCopy(at("a"), StoredRow((held,), Context({2: 4})))])
    walk = begun(disk)
    assert listing(disk, walk, entry("a", held)) == []
    assert listing(disk, walk, entry("a", held, replaced)) == []
    assert listing(disk, walk, entry("b", held)) == [at("b")]
    news = held._replace(dot=Dot(2, 5))
    assert listing(disk, walk, entry("a", held, news)) == [at("a")]
    other = held._replace(value=b"another under the same dot")
    assert listing(disk, walk, entry("a", other)) == [at("a")]


def test_a_repair_fetches_each_row_of_other_versions() -> None:
    disk = Disk(1)
    held, replaced = Version(Dot(2, 4), 9, b"v", None, 0), Version(Dot(2, 3), 8, b"v", None, 0)
    disk.take_in([RowCopy(at("a"), StoredRow((held,), Context({2: 4})))])
    walk = begun(disk, is_repair=True)
    assert listing(disk, walk, entry("a", held)) == []
    assert listing(disk, walk, entry("a", replaced)) == [at("a")]
    assert listing(disk, walk, entry("a", held, replaced)) == [at("a")]


def test_a_walker_that_is_behind_fetches_rows_of_which_it_holds_more_than_the_peer_that_covers_it() -> None:
    disk = Disk(1)
    covered, beyond = Version(Dot(2, 9), 9, b"v", None, 0), Version(Dot(2, 10), 8, b"v", None, 0)
    both = Version(Dot(3, 1), 7, b"v", None, 0)
    for key, versions in (("a", (covered, both)), ("b", (beyond, both))):
        context = Context({each.dot.replica: each.dot.sequence for each in versions})
        disk.take_in([RowCopy(at(key), StoredRow(versions, context))])
    for is_behind in (False, True):
        walk = begun(disk, is_behind=is_behind)
        assert listing(disk, walk, entry("a", both), entry("b", both)) == ([at("a")] if is_behind else [])
        assert walk.authority == (Authority(CLAIM, frozenset()) if is_behind else None)


def test_rows_that_a_peer_does_not_list_are_noted_as_far_as_its_answer_goes() -> None:
    disk = Disk(1)
    first, second = sorted(shared_leaf(2))
    leaf = leaf_of(at(first))
    other = next(key for key in map("{:07}".format, range(10_000)) if leaf_of(at(key)) != leaf)
    for key in (first, second, other):
        disk.put(key)
    leaves = (leaf, leaf_of(at(other)))

    def absent(resume: Position | None, *entries: LeafEntry, after: bytes = b"") -> set[bytes]:
        walk = begun(disk, is_behind=True)
        walk._to_list, walk._after = list(leaves), after
        walk.request()
        with disk.storage.view() as view:
            walk.take_entries(view, WalkEntries(USER, entries, resume))
        return walk.absent

    assert absent(None) == {at(first), at(second), at(other)}
    assert absent(None, entry(second)) == {at(first), at(other)}
    assert absent(None, after=at(first)) == {at(second), at(other)}
    assert absent(Position(0, at(first))) == {at(first)}
    assert absent(Position(1, b"")) == {at(first), at(second)}
    assert absent(Position(1, at(other))) == {at(first), at(second), at(other)}


def test_leaves_into_which_others_bring_what_the_claim_covers_are_visited_again() -> None:
    disk = Disk(1)
    covered = RowCopy(at("a"), StoredRow((Version(Dot(2, 9), 9, b"v"),), Context({2: 9})))
    beyond = RowCopy(at("b"), StoredRow((Version(Dot(2, 10), 9, b"v"),), Context({2: 10})))
    for is_behind in (True, False):
        walk = begun(disk, is_behind=is_behind)
        walk.note_arrivals([covered, beyond])
        assert walk._arrived == ({leaf_of(at("a"))} if is_behind else set())
    walk = Walk(USER)
    walk.is_behind = True
    walk.note_arrivals([covered])
    assert walk._arrived == set(), "nothing is claimed yet"
    assert walk.authority is None


# Rows.


def test_rows_that_were_served_are_asked_for_no_more() -> None:
    walk = begun(Disk(1))
    walk._rows = [at("a"), at("b"), at("c")]
    walk.request()
    large = LargeRow(at("a"), (), Context())
    copy = RowCopy(at("b"), StoredRow((Version(Dot(2, 9), 9, b"v"),), Context({2: 9})))
    refused = RefusedRow((2,), "inconsistent")
    walk.take_rows(WalkRows(USER, (copy,), Position(2, b""), (large,)), Intake(refused=[refused]))
    assert (walk._rows, walk.rows_received, walk.intake.refused) == ([at("c")], 2, [refused])
    assert not walk.fetching.is_finished
    assert walk.seal() == {}, "the refused row may have superseded anything"
    walk.request()
    walk.fetching.asked = None
    walk.take_rows(WalkRows(USER, (), None), Intake())
    assert walk._rows == []
    assert begun(Disk(1)).seal() == CLAIM


@pytest.mark.parametrize(
    ("resume", "leaves", "after"),
    [
        (None, [], b""),
        (Position(1, b""), [2, 3], b""),
        (Position(2, b"x"), [3], b"x"),
        (Position(0, b"b"), [1, 2, 3], b"b"),
    ],
)
def test_leaves_that_were_served_are_visited_no_more(resume: Position | None, leaves: list[int], after: bytes) -> None:
    walk = begun(Disk(1))
    walk._to_fetch, walk._after = [1, 2, 3], b"a"
    walk.request()
    walk.take_rows(WalkRows(USER, (), resume), Intake())
    assert (walk._to_fetch, walk._after) == (leaves, after)


@pytest.mark.parametrize("resume", [Position(3, b""), Position(4, b""), Position(0, b"a"), Position(0, b"")])
def test_an_answer_that_does_not_go_on_is_a_fault(resume: Position) -> None:
    walk = begun(Disk(1))
    walk._to_fetch, walk._after = [1, 2, 3], b"a"
    walk.request()
    with pytest.raises(WalkFaultError):
        walk.take_rows(WalkRows(USER, (), resume), Intake())


# Serving.


def test_a_peer_with_rows_that_cannot_be_read_claims_no_proof_and_names_what_it_lacks() -> None:
    peer = Disk(2)
    peer.put("a")
    peer.put("b")
    collecting(peer, "a")
    found = answer(peer, WalkBegin(USER))
    assert isinstance(found, WalkRoot)
    assert (found.context, found.collected, found.lacking) == ({2: 3}, peer.shard.collected, ())
    assert found.collected.proofs
    with peer.committing() as transaction:
        peer.shard.quarantine(transaction, {at("b"): "damaged"})
    found = answer(peer, WalkBegin(USER))
    assert isinstance(found, WalkRoot)
    assert (found.collected.proofs, found.lacking) == ((), (LackedRow(at("b"), Context({2: 2})),))


def test_a_list_ends_where_the_next_row_has_no_room() -> None:
    peer = Disk(2)
    one, two, three = shared_leaf(3)
    for key in (one, two, three):
        peer.put(key)
    size, leaf, held = len(at(one)) + room.ENTRY_BYTES, leaf_of(at(one)), peer.rows()[at(one)].winner
    with peer.storage.view() as view:
        for part_bytes, count in ((1, 1), (2 * size - 1, 1), (2 * size, 2), (3 * size, 3)):
            found = _list(view, peer.shard, (leaf,), b"", part_bytes)
            assert len(found.entries) == count
            last = None if count == 3 else Position(0, found.entries[-1].address)
            assert found.resume == last
            assert found.entries[0].versions == (LeafVersion(held.dot, term_of(at(one), held)),)


def test_a_row_that_has_gone_is_served_by_nothing() -> None:
    peer = Disk(2)
    for key in "ac":
        peer.put(key)
    found = answer(peer, WalkFetchRows(USER, (at("a"), at("b"), at("c"))), part_bytes=1)
    assert isinstance(found, WalkRows)
    assert ([copy.address for copy in found.rows], found.resume) == ([at("a")], Position(2, b""))
    found = answer(peer, WalkFetchRows(USER, (at("b"), at("c"))))
    assert isinstance(found, WalkRows)
    assert ([copy.address for copy in found.rows], found.resume) == ([at("c")], None)
