"""What a member that was away gets first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gossipkv.core.inputs import Write
from gossipkv.core.model.address import SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Cursor, Delta, Envelope, FetchValue, Pull, Range, TooFar, WalkBegin
from gossipkv.core.protocol.parcel import row_bytes
from gossipkv.core.transfer.newest_first import SHARE, newest, serve
from gossipkv.core.transfer.pull import Pulling
from tests.core.cluster import Cluster
from tests.core.disks import NOW_MS, Disk, at, values

VALUE = bytes(100)


def keys_of_newest(server: Disk, base: Context, bytes_max: int) -> list[str]:
    with server.storage.view() as view:
        found = newest(view, server.shard, base, bytes_max)
    return [copy.address.decode().partition("\0")[2] for copy in found.rows] if found is not None else []


def answers(server: Disk, asked: Pull | FetchValue, part_bytes: int) -> tuple[Delta | TooFar, ...]:
    assert isinstance(asked, Pull)
    with server.storage.view() as view:
        return serve(view, server.shard, asked, part_bytes)


def server_of(rows: int) -> Disk:
    server = Disk(1)
    for number in range(rows):
        server.put(f"row{number:02}")
    return server


def test_the_newest_rows_of_all_writers_come_in_the_order_of_their_writing_and_once() -> None:
    server, other = Disk(1), Disk(2)
    server.put("first", now_ms=NOW_MS)
    other.put("second", now_ms=NOW_MS + 1)
    server.put("third", now_ms=NOW_MS + 2)
    other.put("fourth", now_ms=NOW_MS + 3)
    server.take_in(other.copies())
    server.shard.adopt(other.shard.context)
    server.put("second", b"again", now_ms=NOW_MS + 4)
    assert keys_of_newest(server, Context(), 10_000) == ["second", "fourth", "third", "first"]
    assert keys_of_newest(server, Context({1: 2}), 10_000) == ["second", "fourth"], "what is covered is not lacking"
    assert keys_of_newest(server, Context(), 120) == ["second"], "and no more than there is room for"
    assert keys_of_newest(server, Context(server.shard.context), 10_000) == []


def test_the_tombstone_of_an_expiry_is_as_new_as_the_expiry() -> None:
    server, other = Disk(1), Disk(2)
    other.put("plain", now_ms=NOW_MS + 1_000)
    server.do(Operation(at("lease"), b"held", ttl_ms=60_000), NOW_MS)
    with server.committing() as transaction:
        server.store.expire(transaction, USER, at("lease"), NOW_MS + 60_000)
    server.take_in(other.copies())
    server.shard.adopt(other.shard.context)
    assert keys_of_newest(server, Context(), 10_000) == ["lease", "plain"]


def test_what_fits_into_one_message_is_sent_once() -> None:
    server = server_of(20)
    [part] = answers(server, Pull(USER, Context({1: 18})), 10_000)
    assert isinstance(part, Delta)
    assert part.cursor is None
    assert part.ranges == {1: Range(18, 20)}


def test_a_pull_in_parts_begins_with_the_newest_and_then_reads_the_journal_from_its_beginning() -> None:
    server, puller = server_of(40), Disk(2)
    puller.take_in(server.copies())
    puller.shard.adopt(server.shard.context)
    for number in range(8):
        server.put(f"row{number:02}", b"new")
    pulling = Pulling(Context(puller.shard.context))
    received: list[list[str]] = []
    while True:
        [part] = answers(server, pulling.request(USER), 200)
        assert isinstance(part, Delta)
        received.append([copy.address.decode().partition("\0")[2] for copy in part.rows])
        if not puller.shard.context.covers_all(server.shard.context):
            assert puller.shard.context == {1: 40}
        ranges = pulling.take(part, puller.take_in(part.rows))
        if ranges is not None:
            puller.cover(ranges, pulling.intake)
            break
    assert received[0] == ["row07"]
    assert [key for part in received[1:] for key in part] == [f"row{number:02}" for number in range(8)]
    assert values(puller) == values(server)
    assert puller.shard.context == server.shard.context


def test_a_pull_that_goes_on_gets_what_is_behind_its_cursor_alone() -> None:
    server = server_of(40)
    [part] = answers(server, Pull(USER, Context({1: 32}), Cursor(1, 34)), 200)
    assert isinstance(part, Delta)
    assert part.rows[0].address == at("row34")


def test_whoever_must_walk_gets_the_newest_rows_with_the_word_and_they_claim_nothing() -> None:
    server = server_of(40)
    too_far, rows = answers(server, Pull(USER, Context()), 2_000)
    assert too_far == TooFar(USER)
    assert isinstance(rows, Delta)
    assert rows.ranges == {}
    assert rows.cursor is None
    assert [copy.address for copy in rows.rows] == [
        at(f"row{number:02}") for number in range(39, 39 - len(rows.rows), -1)
    ]
    assert len(rows.rows) > 1
    assert sum(map(row_bytes, rows.rows)) <= 2_000 // SHARE


@pytest.fixture
def cluster() -> Cluster:
    """a and b, of whom b has been away since before many rows were written, and members joined."""
    cluster = Cluster()
    for name in ("a", "b"):
        cluster.start(name, part_bytes=2_000)
    cluster.introduce("a", "b")
    cluster.write("a", *(Operation(at(f"old{number:03}"), VALUE) for number in range(100)))
    cluster.settle()
    return cluster


def away(cluster: Cluster, rows: int) -> None:
    """b goes, a writes rows and hears of more members than one message holds, and b returns."""
    storage = cluster.members["b"].storage
    cluster.crash("b")
    for number in range(rows):
        cluster.now_ms += 10
        cluster.write("a", Operation(at(f"new{number:03}"), VALUE))
    settings = [Operation(address_of("tables", b"usr/t%02d" % number), b"{}") for number in range(60)]
    cluster.answer_to("a", Write(SYSTEM, tuple(settings)))
    cluster.start("b", storage, part_bytes=2_000)


def exchanges(cluster: Cluster) -> Iterator[tuple[Envelope, Envelope]]:
    """What b asks of a and is answered, until it has all."""
    while not cluster.has_converged(cluster.members):
        if cluster.waiting("b", "a") is None:
            cluster.now_ms += 1_000
            cluster.tick("b")
            continue
        asked, answer = cluster.deliver("b", "a")
        assert isinstance(answer, Envelope)
        yield asked, answer
        while cluster.waiting("a", "b"):
            cluster.deliver("a", "b")


def asks_for_bulk(envelope: Envelope, shard: str) -> bool:
    return any(
        (isinstance(message, WalkBegin) or (isinstance(message, Pull) and message.cursor)) and message.shard == shard
        for message in envelope.messages
    )


@pytest.mark.parametrize("rows", [20, 200], ids=["pull", "walk"])
def test_a_member_that_was_away_gets_the_newest_rows_first_and_the_system_before_the_bulk(
    cluster: Cluster, rows: int
) -> None:
    away(cluster, rows)
    talk = list(exchanges(cluster))
    parts = [m.rows for _, answer in talk for m in answer.messages if isinstance(m, Delta) and m.shard == USER]
    first = [copy.address for copy in next(filter(None, parts))]
    missed = [at(f"new{number:03}") for number in range(rows)]
    assert first == missed[: -len(first) - 1 : -1]
    assert len(first) < rows
    system = [place for place, (asked, _) in enumerate(talk) if asks_for_bulk(asked, SYSTEM)]
    users = [place for place, (asked, _) in enumerate(talk) if asks_for_bulk(asked, USER)]
    assert max(system) < min(users)


@pytest.mark.parametrize("rows", [30, 300], ids=["pull", "walk"])
def test_what_is_written_during_a_long_transfer_arrives_before_its_end_and_once(cluster: Cluster, rows: int) -> None:
    away(cluster, rows)
    b = cluster.members["b"]
    exchanging = exchanges(cluster)
    for _ in range(6):
        next(exchanging)
    cluster.write("a", Operation(at("meanwhile"), b"new"))
    sent = []
    for _ in range(2):
        cluster.now_ms += 1_300
        cluster.tick("a")
        asked, _ = cluster.deliver("a", "b")
        sent += [copy.address for m in asked.messages if isinstance(m, Delta) and m.shard == USER for copy in m.rows]
    assert sent == [at("meanwhile")]
    assert b.rows()[at("meanwhile")].winner.value == b"new"
    assert not Context(b.context()).covers_all(Context(cluster.members["a"].context()))
    assert not cluster.has_converged(cluster.members)
    assert list(exchanging)
