"""Contexts that leave out what replicas that are gone have written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.protocol.base import NO_BASE, Abridged, AbridgedIds, Base

DOTS = st.builds(Dot, st.integers(1, 12), st.integers(0, 5))
ENTRIES = st.lists(DOTS, max_size=10, unique=True).map(tuple)
CONTEXTS = st.dictionaries(st.integers(1, 12), st.integers(1, 9), max_size=12).map(Context)


@given(ENTRIES, CONTEXTS, st.data())
def test_a_context_that_is_abridged_and_resolved_is_what_it_was(
    entries: tuple[Dot, ...], context: Context, data: st.DataObject
) -> None:
    sender = Base(entries, data.draw(st.integers(0, len(entries))))
    receiver = Base(entries, data.draw(st.integers(0, len(entries))))
    sent = sender.abridged(context)
    assert receiver.resolved(sent) == context
    assert context.covers_all(sent)


@given(ENTRIES, ENTRIES, CONTEXTS, st.data())
def test_whatever_the_receiver_knows_it_takes_no_more_for_covered_than_the_sender_covers(
    entries: tuple[Dot, ...], others: tuple[Dot, ...], context: Context, data: st.DataObject
) -> None:
    sent = Base(entries, data.draw(st.integers(0, len(entries)))).abridged(context)
    received = Base(others, data.draw(st.integers(0, len(others)))).resolved(sent)
    assert context.covers_all(received)
    assert isinstance(received, Abridged) or received == context


@given(ENTRIES, ENTRIES, st.data())
def test_knowing_more_keeps_what_is_left_out_if_that_still_comes_first(
    entries: tuple[Dot, ...], others: tuple[Dot, ...], data: st.DataObject
) -> None:
    former = Base(entries, data.draw(st.integers(0, len(entries))))
    later = former.of_entries(entries + others)
    assert (later.number, later.length, later.settled) == (former.number, former.length, former.settled)
    assert later.length_of(former.number) is not None
    other = former.of_entries(others)
    rebuilt = Base(others, other.length)
    assert (other.number, other.settled) == (rebuilt.number, rebuilt.settled)
    assert others[: other.length] == entries[: other.length]


def test_only_what_is_recent_is_sent() -> None:
    gone = tuple(Dot(replica, replica) for replica in range(1, 10_001))
    context = Context(dict(gone) | {77_777: 3})
    sent = Base(gone, len(gone)).abridged(context)
    assert sent == {77_777: 3}
    assert isinstance(sent, Abridged)


def test_a_context_that_covers_less_leaves_out_less() -> None:
    base = Base((Dot(1, 5), Dot(2, 5), Dot(3, 5)), 3)
    lagging = Context({1: 5, 2: 4, 3: 5})
    assert base.abridged(lagging) == {2: 4, 3: 5}
    assert base.resolved(base.abridged(lagging)) == lagging
    assert type(base.abridged(Context({9: 9}))) is Context


def test_a_retired_replica_that_writes_again_has_an_entry() -> None:
    base = Base((Dot(1, 5), Dot(2, 5)), 2)
    assert base.abridged(Context({1: 6, 2: 5})) == {1: 6}
    again = base.of_entries((*base.entries, Dot(1, 6)))
    assert again.of_length(3).abridged(Context({1: 6, 2: 5})) == {}


def test_a_base_that_is_not_recognised_leaves_a_lower_bound() -> None:
    sent = Base((Dot(1, 5),), 1).abridged(Context({1: 5, 2: 2}))
    received = NO_BASE.resolved(sent)
    assert isinstance(received, Abridged)
    assert received == {2: 2}


def test_what_was_learned_otherwise_is_named_as_by_a_member_that_knows_nothing_else() -> None:
    former = Base((Dot(1, 5), Dot(2, 5), Dot(3, 5)), 1)
    learned = (Dot(1, 5), Dot(4, 4), Dot(3, 5), Dot(6, 6))
    later = former.of_entries(learned)
    for length in range(5):
        assert later.of_length(length).number == Base(learned, length).number
    assert former.of_entries(learned[:1]).number == Base(learned[:1], 1).number


def test_a_base_stands_for_the_entries_that_its_sender_omitted_and_an_unknown_one_for_none() -> None:
    entries = (Dot(1, 5), Dot(2, 6), Dot(3, 7))
    base = Base(entries, 2)
    for length in range(4):
        number = base.of_length(length).number
        assert base.settled_at(number) == Context(dict(entries[:length]))
        assert base.length_of(number) == length
    assert base.settled_at(base.of_length(3).number + 1) == Context()
    assert base.length_of(base.of_length(3).number + 1) is None


@given(ENTRIES, st.frozensets(st.integers(1, 15)), st.data())
def test_a_set_of_replicas_that_is_abridged_and_resolved_is_what_it_was(
    entries: tuple[Dot, ...], replicas: frozenset[int], data: st.DataObject
) -> None:
    sender = Base(entries, data.draw(st.integers(0, len(entries))))
    receiver = Base(entries, data.draw(st.integers(0, len(entries))))
    sent = sender.abridged_ids(replicas)
    assert sent <= replicas
    assert sent.isdisjoint(sender.settled)
    assert receiver.resolved_ids(sent) == replicas


def test_a_set_names_what_it_omits_by_runs_of_those_that_are_not_in_it_and_those_that_are() -> None:
    base = Base(tuple(Dot(replica, 1) for replica in range(1, 8)), 6)
    sent = base.abridged_ids(frozenset([2, 3, 6, 7, 8]))
    assert isinstance(sent, AbridgedIds)
    assert (set(sent), sent.base, sent.runs) == ({7, 8}, base.number, (1, 2, 2, 1))
    assert base.resolved_ids(sent) == frozenset([2, 3, 6, 7, 8])
    begins_in_it = base.abridged_ids(frozenset([1]))
    assert isinstance(begins_in_it, AbridgedIds)
    assert begins_in_it.runs == (0, 1, 5)
    assert NO_BASE.abridged_ids(frozenset([1])) == {1}
    assert type(NO_BASE.abridged_ids(frozenset([1]))) is frozenset


def test_a_set_whose_base_is_not_recognised_is_none() -> None:
    entries = tuple(Dot(replica, 1) for replica in range(1, 5))
    sent = Base(entries, 4).abridged_ids(frozenset([2, 9]))
    assert Base(entries[:3], 3).resolved_ids(sent) is None, "it knows fewer"
    assert Base((*entries[:3], Dot(7, 1)), 0).resolved_ids(sent) is None, "it knows another one there"
    assert Base((*entries, Dot(7, 1)), 0).resolved_ids(sent) == frozenset([2, 9])


def test_a_base_within_a_context_omits_at_most_what_that_covers() -> None:
    base = Base((Dot(1, 5), Dot(2, 5), Dot(3, 5)), 2)
    assert base.within(Context({1: 5, 2: 5})) is base
    assert base.within(Context({1: 9, 2: 4, 3: 5})).length == 1
    assert base.within(Context({2: 5})).length == 0
