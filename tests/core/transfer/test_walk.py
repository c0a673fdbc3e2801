"""Walks between two shards: what they bring, what they claim, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import Context
from gossipkv.core.model.collected import Proof
from gossipkv.core.model.fingerprint import EMPTY, LEAF_SUMS, LEAVES_PER_NODE, NODES, leaf_of
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import (
    Message,
    Position,
    Range,
    RefusedRow,
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
from gossipkv.core.store.store import Intake
from gossipkv.core.transfer.walk import Walk, WalkFaultError, serve
from tests.core.disks import Disk, at, values

WIDE = 2**20

WRITES = st.lists(
    st.tuples(st.integers(0, 14), st.none() | st.binary(max_size=3), st.booleans()), min_size=1, max_size=25
)


def answer(peer: Disk, question: Message, part_bytes: int = WIDE) -> Message:
    assert isinstance(question, WalkBegin | WalkNodes | WalkList | WalkFetch | WalkFetchRows)
    with peer.storage.view() as view:
        return serve(view, peer.shard, question, part_bytes)


def take(walker: Disk, walk: Walk, message: Message) -> None:
    match message:
        case WalkRoot():
            walk.take_root(walker.shard, message)
        case WalkSums():
            walk.take_sums(walker.shard, message)
        case WalkEntries():
            with walker.storage.view() as view:
                walk.take_entries(view, message)
        case WalkRows():
            walk.take_rows(message, walker.take_in(message.rows))


def steps(walker: Disk, walk: Walk, peer: Disk, part_bytes: int = WIDE) -> Iterator[Message]:
    """Each answer once it has been taken in, until the walk is finished."""
    for _ in range(2000):
        if walk.is_finished:
            return
        message = answer(peer, walk.request(), part_bytes)
        take(walker, walk, message)
        yield message
    raise AssertionError("the walk does not end")


def walk_all(walker: Disk, peer: Disk, part_bytes: int = WIDE) -> Walk:
    walk = Walk(USER)
    for _ in steps(walker, walk, peer, part_bytes):
        pass
    return walk


def differing(writes: list[tuple[int, bytes | None, bool]]) -> tuple[Disk, Disk]:
    """A walker and a peer that have each written, and exchanged some of it."""
    walker, peer = Disk(1), Disk(2)
    for number, value, is_peers in writes:
        (peer if is_peers else walker).do(Operation(at(f"row{number}"), value))
        if number % 3 == 0:
            walker.take_in(peer.copies()[::2])
            peer.take_in(walker.copies()[::3])
    return walker, peer


@settings(max_examples=40, deadline=None)
@given(WRITES, st.sampled_from([1, 150, WIDE]))
def test_a_walker_holds_all_that_the_peer_had_tombstones_included(
    writes: list[tuple[int, bytes | None, bool]], part_bytes: int
) -> None:
    walker, peer = differing(writes)
    had, before = peer.rows(), walker.rows()
    walk = walk_all(walker, peer, part_bytes)
    assert walk.claim == peer.shard.context
    assert walker.holds_all_of(had)
    assert walker.holds_all_of(before)


@settings(max_examples=25, deadline=None)
@given(WRITES, WRITES)
def test_what_the_peer_learns_during_the_walk_is_not_claimed(
    writes: list[tuple[int, bytes | None, bool]], meanwhile: list[tuple[int, bytes | None, bool]]
) -> None:
    walker, peer = differing(writes)
    had, covered = peer.rows(), Context(peer.shard.context)
    walk = Walk(USER)
    for _ in steps(walker, walk, peer, 150):
        if meanwhile:
            number, value, is_peers = meanwhile.pop()
            (peer if is_peers else walker).do(Operation(at(f"row{number}"), value))
    assert walk.claim == covered
    assert walker.holds_all_of(had)


@settings(max_examples=25, deadline=None)
@given(WRITES, st.integers(1, 6))
def test_an_interrupted_walk_keeps_what_it_brought_and_the_next_one_ends_it(
    writes: list[tuple[int, bytes | None, bool]], steps_before: int
) -> None:
    walker, peer = differing(writes)
    had = peer.rows()
    interrupted = Walk(USER)
    for _, _ in zip(range(steps_before), steps(walker, interrupted, peer, 1), strict=False):
        pass
    first = interrupted.rows_received
    second = walk_all(walker, peer, 1).rows_received
    assert walker.holds_all_of(had)
    assert first + second <= len(had), "no row comes twice"


def test_equal_shards_are_told_by_the_sums_of_their_nodes() -> None:
    walker, peer = Disk(1), Disk(2)
    peer.put("a")
    walker.take_in(peer.copies())
    walk = Walk(USER)
    assert len(list(steps(walker, walk, peer))) == 1
    assert walk.claim == {2: 1}


def test_an_empty_walker_fetches_leaves_whole_without_listing_them() -> None:
    walker, peer = Disk(1), Disk(2)
    for number in range(50):
        peer.put(f"row{number}")
    messages = list(steps(walker, Walk(USER), peer))
    assert not any(isinstance(message, WalkEntries) for message in messages)
    assert values(walker) == values(peer)


def test_rows_of_a_differing_leaf_that_are_known_are_not_fetched() -> None:
    walker, peer = Disk(1), Disk(2)
    for number in range(20):
        peer.put(f"row{number}")
    walker.take_in(peer.copies())
    walker.put("row3", b"newer here")
    peer.put("row7", b"newer there")
    walk = walk_all(walker, peer)
    assert walk.rows_received == 1
    assert walker.rows()[at("row7")].winner.value == b"newer there"
    assert walker.rows()[at("row3")].winner.value == b"newer here"


def shared_leaf(count: int) -> list[str]:
    """Row keys that fall into the same leaf."""
    leaves: dict[int, list[str]] = {}
    number = 0
    while True:
        keys = leaves.setdefault(leaf_of(at(f"{number:07}")), [])
        keys.append(f"{number:07}")
        if len(keys) == count:
            return keys
        number += 1


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_leaf_that_does_not_fit_into_one_answer_is_resumed_behind_the_last_row(is_empty: bool) -> None:
    walker, peer = Disk(1), Disk(2)
    keys = shared_leaf(4)
    if not is_empty:
        walker.put(keys[1])
        walker.put(keys[3])
        peer.take_in([copy for copy in walker.copies() if copy.address == at(keys[1])])
    for key in keys[:3]:
        peer.put(key, b"theirs")
    walk = Walk(USER)
    positions = [
        message.resume
        for message in steps(walker, walk, peer, part_bytes=1)
        if isinstance(message, WalkEntries if not is_empty else WalkRows) and message.resume is not None
    ]
    assert positions == [Position(0, at(keys[0])), Position(0, at(keys[1]))]
    assert walker.holds_all_of(peer.rows())


@pytest.mark.parametrize("is_empty", [True, False])
def test_where_an_answer_ends_within_a_leaf_says_nothing_of_the_leaves_behind_it(is_empty: bool) -> None:
    """Rows of a later leaf may have lower addresses than the last row of the answer."""
    walker, peer = Disk(1), Disk(2)
    keys = shared_leaf(2)
    lower = next(key for key in map("{:07}".format, range(10_000)) if leaf_of(at(key)) > leaf_of(at(keys[0])))
    assert lower < keys[0]
    for key in (*keys, lower):
        peer.put(key)
    if not is_empty:
        walker.take_in(peer.copies())
        for key in (*keys, lower):
            peer.put(key, b"later")
    walk_all(walker, peer, part_bytes=1)
    assert values(walker) == values(peer)


def test_a_tombstone_is_brought_though_visible_sums_are_equal() -> None:
    walker, peer = Disk(1), Disk(2)
    peer.delete("gone")
    assert walker.shard.fingerprint.root.visible == peer.shard.fingerprint.root.visible
    walk_all(walker, peer)
    assert walker.rows()[at("gone")].winner.is_tombstone


def test_an_audit_compares_visible_sums_alone() -> None:
    walker, peer = Disk(1), Disk(2)
    peer.delete("gone")
    audit = Walk(USER, is_audit=True)
    assert len(list(steps(walker, audit, peer))) == 1
    peer.put("there")
    audit = Walk(USER, is_audit=True)
    list(steps(walker, audit, peer))
    assert values(walker)[at("there")] == b"value"
    assert walker.shard.context == {}


def fault_cases() -> list[tuple[str, Message]]:
    return [
        ("sums of other nodes", WalkSums(USER, (1,), bytes(LEAF_SUMS.size * LEAVES_PER_NODE))),
        ("entries", WalkEntries(USER, (), None)),
        ("rows", WalkRows(USER, (), None)),
    ]


@pytest.mark.parametrize(("name", "nonsense"), fault_cases())
def test_an_answer_that_was_not_asked_for_is_a_fault(name: str, nonsense: Message) -> None:
    walk = Walk(USER)
    walk.request()
    with pytest.raises(WalkFaultError):
        take(Disk(1), walk, nonsense)


def asking(question: type[Message]) -> tuple[Disk, Walk]:
    """A walk that has just asked this."""
    walker, peer = Disk(1), Disk(2)
    mine, theirs, shared = shared_leaf(3)
    peer.put(theirs)
    peer.put(shared)
    if question is not WalkFetch:
        walker.put(mine)
    walk = Walk(USER)
    for _ in steps(walker, walk, peer):
        if isinstance(walk.request(), question):
            return walker, walk
    raise AssertionError("this is never asked")


@pytest.mark.parametrize(
    ("question", "nonsense"),
    [
        (WalkList, WalkEntries(USER, (), Position(0, b""))),
        (WalkList, WalkEntries(USER, (), Position(2, b""))),
        (WalkFetch, WalkRows(USER, (), Position(0, b""))),
        (WalkFetch, WalkRows(USER, (), Position(2, b""))),
        (WalkFetchRows, WalkRows(USER, (), Position(0, b""))),
        (WalkFetch, WalkEntries(USER, (), None)),
        (WalkList, WalkRows(USER, (), None)),
        (WalkNodes, WalkSums(USER, (), b"")),
    ],
)
def test_an_answer_without_progress_or_beyond_the_question_is_a_fault(
    question: type[Message], nonsense: Message
) -> None:
    walker, walk = asking(question)
    with pytest.raises(WalkFaultError):
        take(walker, walk, nonsense)


def test_the_refused_rows_of_all_answers_hold_their_origins_back() -> None:
    _, walk = asking(WalkFetch)
    refused = Intake(refused=[RefusedRow((7,), "clock_skew")])
    walk.take_rows(WalkRows(USER, (), Position(0, b"\1")), refused)
    walk.request()
    walk.take_rows(WalkRows(USER, (), None), Intake())
    assert walk.is_finished
    assert walk.intake.holds_back(7)
    assert not walk.intake.holds_back(2)


def test_the_root_has_the_sums_of_all_nodes() -> None:
    peer = Disk(2)
    peer.put("a")
    root = answer(peer, WalkBegin(USER))
    assert isinstance(root, WalkRoot)
    assert len(root.nodes) == NODES
    assert sum(sums != EMPTY for sums in root.nodes) == 1


def collecting(disk: Disk, *keys: str) -> None:
    """Delete these rows and collect their tombstones, as if all members had heard of them."""
    for key in keys:
        disk.delete(key)
    with disk.committing() as transaction:
        marks = Context()
        for key in keys:
            row = transaction.row(USER, at(key))
            assert row is not None
            disk.store.collect(transaction, USER, at(key), row)
            marks.advance(row.context)
        disk.shard.note_collection(Proof(marks, frozenset([2]), frozenset([2])), 0, marks)


def test_a_walker_that_is_behind_what_was_collected_finds_what_it_holds_and_the_peer_does_not() -> None:
    one, beside = shared_leaf(2)
    alone = next(key for key in map(str, range(100)) if leaf_of(at(key)) != leaf_of(at(one)))
    peer, walker = Disk(2), Disk(1)
    for key in (one, beside, alone):
        peer.put(key)
    walker.take_in(peer.copies())
    collecting(peer, one, alone)
    walk = walk_all(walker, peer)
    assert walk.is_behind
    assert (walk.absent, walk.emptied) == ({at(one)}, [leaf_of(at(alone))])
    authority = walk.authority
    assert authority is not None
    with walker.committing() as transaction:
        assert walker.store.drop_superseded(transaction, USER, [at(one), at(alone)], authority) == 2
    assert set(walker.rows()) == {at(beside)}


def test_a_walker_that_covers_what_was_collected_drops_nothing() -> None:
    peer, walker = Disk(2), Disk(1)
    peer.put("a")
    walker.take_in(peer.copies())
    collecting(peer, "a")
    walker.cover({2: Range(0, 2)}, Intake())
    walk = walk_all(walker, peer)
    assert (walk.is_behind, walk.absent, walk.emptied, walk.authority) == (False, set(), [], None)
