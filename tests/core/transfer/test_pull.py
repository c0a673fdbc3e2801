"""Pulls out of a journal, in one part and in many, with the server's rows moving in between."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import Context
from gossipkv.core.protocol.messages import Cursor, Delta, FetchValue, Pull, Range, RowCopy, TooFar
from gossipkv.core.protocol.parcel import Parcel, row_bytes
from gossipkv.core.transfer.pull import Pulling, is_walk_cheaper, push, serve
from tests.core.disks import NOW_MS, SKEW_MS_MAX, Disk, at, values

WIDE = 2**20
NARROW = 100
"""Bytes for one row and not for two."""


def ask(server: Disk, pull: Pull, part_bytes: int = WIDE) -> Delta | TooFar:
    with server.storage.view() as view:
        return serve(view, server.shard, pull, part_bytes)


def part_of(server: Disk, asked: Pull | FetchValue, part_bytes: int = WIDE) -> Delta:
    assert isinstance(asked, Pull)
    part = ask(server, asked, part_bytes)
    assert isinstance(part, Delta)
    return part


def take(puller: Disk, pulling: Pulling, part: Delta) -> bool:
    """Take a part in as a replica does; returns whether it was the last."""
    ranges = pulling.take(part, puller.take_in(part.rows))
    if ranges is not None:
        puller.cover(ranges, pulling.intake)
    return ranges is not None


def pull_all(puller: Disk, server: Disk, part_bytes: int = WIDE) -> None:
    pulling = Pulling(Context(puller.shard.context))
    while not take(puller, pulling, part_of(server, pulling.request(USER), part_bytes)):
        pass


def pair(rows: int) -> tuple[Disk, Disk]:
    """A server, and a puller that is level with it."""
    server, puller = Disk(1), Disk(2)
    for number in range(rows):
        server.put(f"row{number:02}")
    pull_all(puller, server)
    return server, puller


def test_a_pull_brings_the_current_copies_of_what_is_lacking_and_covers_it() -> None:
    server, puller = pair(3)
    server.put("row01", b"new")
    server.put("row01", b"newest")
    part = part_of(server, Pull(USER, Context(puller.shard.context)))
    assert part.ranges == {1: Range(3, 5)}
    assert [(copy.address, copy.row.winner.value) for copy in part.rows] == [(at("row01"), b"newest")]
    assert part.cursor is None
    pull_all(puller, server)
    assert values(puller) == values(server)
    assert puller.shard.context == server.shard.context


def test_a_pull_of_nothing_is_an_empty_part() -> None:
    server, puller = pair(1)
    assert ask(server, Pull(USER, Context(puller.shard.context))) == Delta(USER, {}, ())


def test_a_row_that_runs_ahead_of_the_servers_context_is_sent_and_not_claimed() -> None:
    server, puller, third = *pair(1), Disk(3)
    third.put("third")
    third.put("early")
    server.take_in([copy for copy in third.copies() if copy.address == at("early")])
    server.shard.advance(3, 1)
    part = part_of(server, Pull(USER, Context(puller.shard.context)))
    assert part.ranges == {3: Range(0, 1)}
    assert [copy.address for copy in part.rows] == [at("early")]


def test_nothing_is_covered_before_the_last_part() -> None:
    server, puller = pair(20)
    for number in range(4):
        server.put(f"row{number:02}", b"new")
    pulling = Pulling(Context(puller.shard.context))
    covered = []
    is_last = False
    while not is_last:
        is_last = take(puller, pulling, part_of(server, pulling.request(USER), NARROW))
        covered.append(puller.shard.context[1])
    assert covered == [20, 20, 20, 24]
    assert values(puller) == values(server)


def test_a_row_that_moves_ahead_of_the_cursor_between_parts_is_not_lost() -> None:
    server, puller = pair(20)
    for number in range(4):
        server.put(f"row{number:02}", b"new")
    pulling = Pulling(Context(puller.shard.context))
    assert not take(puller, pulling, part_of(server, pulling.request(USER), NARROW))
    server.put("row03", b"moved")
    server.put("later")
    while not take(puller, pulling, part_of(server, pulling.request(USER), NARROW)):
        pass
    assert puller.rows()[at("row03")].winner.value == b"moved"
    assert puller.shard.context == {1: 24}, "the writes since the first part are not claimed"
    pull_all(puller, server)
    assert values(puller) == values(server)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 3]), st.integers(0, 5)), min_size=1, max_size=6),
    st.lists(st.lists(st.tuples(st.sampled_from([1, 3]), st.integers(0, 11)), max_size=2), max_size=12),
    st.integers(NARROW, 3 * NARROW),
)
def test_whatever_is_written_between_parts_the_puller_holds_what_it_covers(
    lacking: list[tuple[int, int]], between: list[list[tuple[int, int]]], part_bytes: int
) -> None:
    server, puller = pair(30)
    writers = {1: server, 3: Disk(3)}
    pull_all(writers[3], server)

    def write(writer: int, number: int) -> None:
        writers[writer].put(f"row{number:02}", b"by %d" % writer)
        pull_all(server, writers[3])

    for one in lacking:
        write(*one)
    at_the_start = Context(server.shard.context)
    rows_at_the_start = server.rows()
    pulling = Pulling(Context(puller.shard.context))
    while not take(puller, pulling, part_of(server, pulling.request(USER), part_bytes)):
        for one in between.pop() if between else ():
            write(*one)
    assert puller.shard.context == at_the_start
    assert puller.holds_all_of(rows_at_the_start)


def test_a_lost_part_is_asked_for_again_from_the_same_cursor() -> None:
    server, puller = pair(20)
    for number in range(3):
        server.put(f"row{number:02}", b"new")
    pulling = Pulling(Context(puller.shard.context))
    take(puller, pulling, part_of(server, pulling.request(USER), NARROW))
    assert pulling.request(USER) == pulling.request(USER) == Pull(USER, Context({1: 20}), Cursor(1, 21))


def test_a_row_refused_in_an_early_part_holds_its_origin_back_in_the_end() -> None:
    server, puller = pair(20)
    server.put("row00", b"skewed", NOW_MS + SKEW_MS_MAX + 1)
    server.put("row01", b"new", NOW_MS)
    pull_all(puller, server, NARROW)
    assert puller.shard.context == {1: 20}
    assert puller.rows()[at("row00")].winner.value == b"value"


def test_a_context_below_the_floor_is_too_far_behind() -> None:
    server = pair(3)[0]
    with server.committing():
        server.shard.adopt(Context({2: 5}))
    assert ask(server, Pull(USER, Context({1: 3, 2: 4}))) == TooFar(USER)
    assert isinstance(ask(server, Pull(USER, Context({1: 2, 2: 5}))), Delta)


@pytest.mark.parametrize(("lacking", "is_cheaper"), [(5, False), (6, True)])
def test_a_peer_that_lacks_more_than_one_row_in_four_walks_unless_one_message_holds_it(
    lacking: int, is_cheaper: bool
) -> None:
    server = pair(20)[0]
    base = Context({1: 20 - lacking})
    assert is_walk_cheaper(server.shard, base) == is_cheaper
    assert isinstance(ask(server, Pull(USER, base), NARROW), TooFar if is_cheaper else Delta)
    assert isinstance(ask(server, Pull(USER, base), WIDE), Delta)
    assert isinstance(ask(server, Pull(USER, base, Cursor(1, 18)), NARROW), Delta), "a pull under way goes on"


def test_a_push_holds_the_named_origins_alone_or_is_none() -> None:
    server, third = pair(2)[0], Disk(3)
    third.put("third")
    pull_all(server, third)
    with server.storage.view() as view:
        delta = push(view, server.shard, Context({1: 1}), [1], WIDE)
        assert delta is not None
        assert delta.ranges == {1: Range(1, 2)}
        assert [copy.address for copy in delta.rows] == [at("row01")]
        assert push(view, server.shard, Context(), [1, 3], NARROW) is None
    with server.committing():
        server.shard.adopt(Context({4: 2}))
    with server.storage.view() as view:
        assert push(view, server.shard, Context({4: 1}), [4], WIDE) is None


def test_a_parcel_takes_one_row_of_any_size_and_then_only_what_fits() -> None:
    disk = Disk(1)
    disk.put("large", bytes(1000))
    disk.put("small")
    large, small = disk.copies()
    parcel = Parcel(10)
    assert parcel.add(*large)
    assert not parcel.add(*small)
    assert parcel.copies() == (large,)
    assert row_bytes(RowCopy(*large)) - row_bytes(RowCopy(*small)) == 1000 - len(b"value")
