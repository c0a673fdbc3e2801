"""Rows above every limit of a message, on every path that carries rows. All frames go through the codec's limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Unpack

import pytest

from gossipkv.codec import encode
from gossipkv.core.effects import Send
from gossipkv.core.inputs import Answered, Await, Failed, Read, Received, Write
from gossipkv.core.model.address import SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.fingerprint import leaf_of
from gossipkv.core.model.lacking import CLOCK_SKEW
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import ROW_TOO_LARGE, TOO_MANY_SIBLINGS, Declined, Operation, Result, StoredWrite
from gossipkv.core.protocol import parcel
from gossipkv.core.protocol.envelope_room import FRAME_BYTES_MAX
from gossipkv.core.protocol.messages import (
    Delta,
    Envelope,
    FetchValue,
    Message,
    Pull,
    RefusedRow,
    RowCopy,
    ValuePart,
    WalkFetch,
    WalkFetchRows,
    WalkList,
)
from gossipkv.core.protocol.parcel import OUTLINE_BYTES_MAX, is_carriable, outline_bytes, outlined
from gossipkv.core.store.tables import settings_address
from gossipkv.core.transfer.fetch import Fetching
from gossipkv.core.waits.answers import Receipt
from gossipkv.core.waits.direct_exchanges import Direct
from tests.core.cluster import Cluster, Member, sent
from tests.core.replica_settings import ReplicaSettings

KIB, MIB = 1024, 1024 * 1024
SMALL: ReplicaSettings = {"part_bytes": 2_000, "whole_row_bytes_max": 1_000}
"""Limits under which a row of a few kilobytes is a large one."""
LARGE = address_of("beside", b"large")


def joined(*names: str, **settings: Unpack[ReplicaSettings]) -> Cluster:
    """Members of a cluster that has a table with siblings."""
    cluster = Cluster()
    limits: ReplicaSettings = {"value_bytes_max": 5 * MIB}
    for name in names:
        cluster.start(name, **(limits | settings))
    cluster.introduce(*names)
    cluster.answer_to(names[0], Write(SYSTEM, (Operation(settings_address("beside"), b'{"conflicts":"siblings"}'),)))
    cluster.settle()
    return cluster


def put(cluster: Cluster, name: str, address: bytes, value: bytes) -> Result:
    [result] = cluster.results(name, Operation(address, value))
    return result


def values_of(row: StoredRow | None) -> set[bytes | None]:
    return {version.value for version in row.versions} if row is not None else set()


def messages_of(*envelopes: Envelope | Exception) -> list[Message]:
    return [m for envelope in envelopes if isinstance(envelope, Envelope) for m in envelope.messages]


def equal(cluster: Cluster) -> bool:
    """Whether all members hold the same rows, values included."""
    first, *others = [member.rows() for member in cluster.members.values()]
    return all({a: r.versions for a, r in rows.items()} == {a: r.versions for a, r in first.items()} for rows in others)


def bring_about_siblings(cluster: Cluster, values: list[bytes], name: str = "a") -> None:
    for value in values:
        result = put(cluster, name, LARGE, value)
        assert isinstance(result, StoredWrite)


# Whatever is stored is carried.


SHAPES: dict[str, list[bytes]] = {
    "two values of 1 MiB": [b"1" * MIB, b"2" * MIB],
    "64 values of 40 kB": [b"%02d" % number * 20_000 for number in range(64)],
    "one value of 4 MiB": [b"4" * 4 * MIB],
    "three values of 4 MiB": [b"1" * 4 * MIB, b"2" * 4 * MIB, b"3" * 4 * MIB],
    "a row just above what travels in one piece": [b"1" * (5 * MIB // 4)],
    "a row just below it": [b"1" * (5 * MIB // 4 - 200)],
    "values of no bytes between large ones": [b"1" * MIB, b"", b"2" * MIB],
}


@pytest.mark.parametrize("values", SHAPES.values(), ids=SHAPES.keys())
def test_a_row_that_fits_no_frame_and_all_behind_it_reach_old_and_new_members(values: list[bytes]) -> None:
    cluster = joined("a", "b", siblings_max=65)
    bring_about_siblings(cluster, values)
    cluster.write("a", *(Operation(address_of("t", b"%03d" % number), b"v") for number in range(200)))
    cluster.settle()
    storage = cluster.members["b"].storage
    cluster.crash("b")
    bring_about_siblings(cluster, [b"while b was away"])
    cluster.write("a", Operation(address_of("t", b"later"), b"v"))
    cluster.start("b", storage)
    cluster.start("c")
    cluster.introduce("a", "b", "c")
    cluster.settle()
    assert values_of(cluster.members["c"].rows()[LARGE]) == {*values, b"while b was away"}
    assert len(cluster.members["c"].rows()) == 202
    assert equal(cluster)
    assert all(member.driver.replica.is_ready for member in cluster.members.values())


def test_three_concurrent_values_of_1_mib_at_three_members_meet() -> None:
    cluster = joined("a", "b", "c")
    for name in ("a", "b", "c"):
        put(cluster, name, LARGE, name.encode() * MIB)
    cluster.write("b", Operation(address_of("t", b"behind"), b"v"))
    cluster.settle()
    assert values_of(cluster.members["c"].rows()[LARGE]) == {b"a" * MIB, b"b" * MIB, b"c" * MIB}
    assert equal(cluster)


def test_many_large_rows_in_both_shards_at_once_never_exceed_a_frame() -> None:
    cluster = joined("a", "b")
    for number in range(6):
        for name in ("a", "b"):
            cluster.write(name, Operation(address_of("t", f"{name}{number}".encode()), bytes(MIB + number)))
            table = settings_address(f"{name}{number}")
            cluster.answer_to(name, Write(SYSTEM, (Operation(table, b"{}" + b" " * 400 * KIB),)))
    cluster.start("c")
    cluster.introduce("a", "b", "c")
    cluster.settle()
    assert len(cluster.members["c"].rows()) == 12


def test_rows_of_the_longest_keys_are_walked_for_by_as_many_as_a_frame_holds() -> None:
    cluster = joined("a", "b")
    key = b"%04d" + b"k" * 396
    addresses = [address_of("t" * 64, key % number) for number in range(5_000)]
    cluster.write("a", *(Operation(address, b"old") for address in addresses))
    cluster.settle()
    storage = cluster.members["b"].storage
    cluster.crash("b")
    cluster.write("a", *(Operation(address, b"new") for address in addresses))
    cluster.start("b", storage)
    cluster.settle()
    assert {row.winner.value for row in cluster.members["b"].rows().values()} == {b"new"}


def test_what_is_asked_for_at_once_is_answered_as_far_as_a_frame_holds_it() -> None:
    """An envelope of many questions, each of which may be answered with a part."""
    cluster = joined("a", "b")
    addresses = tuple(address_of("t", b"%d" % number) for number in range(8))
    for address in addresses:
        cluster.write("a", Operation(address, bytes(MIB)))
    cluster.settle()
    identity = cluster.members["b"].driver.replica.identity
    leaves = tuple(map(leaf_of, addresses))
    questions = (WalkFetchRows(USER, addresses), WalkFetch(USER, leaves), WalkList(USER, leaves), Pull(USER, Context()))
    asked = Envelope("test", "b", identity.replica, identity.incarnation, cluster.now_ms, questions * 60)
    answer = cluster.answer_to("a", Received(asked))
    assert isinstance(answer, Envelope)
    assert answer.messages
    assert len(encode(answer)) <= FRAME_BYTES_MAX


# One exchange after the other.


def test_a_large_row_is_offered_pulled_and_fetched_and_claims_nothing_before_it_is_whole() -> None:
    cluster = joined("a", "b", **SMALL)
    value = bytes(range(256)) * 10
    put(cluster, "a", LARGE, value)
    a, b = cluster.members["a"], cluster.members["b"]
    before = b.context()
    fetched = 0
    while LARGE not in b.rows():
        assert b.context() == before
        if cluster.waiting("a", "b"):
            cluster.deliver("a", "b")
        if cluster.waiting("b", "a"):
            _, answer = cluster.deliver("b", "a")
            fetched += sum(isinstance(message, ValuePart) for message in messages_of(answer))
    assert fetched == 3
    assert b.context() == a.context()
    assert values_of(b.rows()[LARGE]) == {value}


def fragments(cluster: Cluster, asker: str, answerer: str) -> Iterator[ValuePart]:
    """The fragments that one member fetches from another, until nothing is under way between them."""
    while cluster.waiting(asker, answerer) or cluster.waiting(answerer, asker):
        if cluster.waiting(answerer, asker):
            cluster.deliver(answerer, asker)
        if cluster.waiting(asker, answerer):
            _, answer = cluster.deliver(asker, answerer)
            yield from (message for message in messages_of(answer) if isinstance(message, ValuePart))


def test_a_fetch_goes_on_where_it_was_interrupted() -> None:
    cluster = joined("a", "b", **SMALL)
    put(cluster, "a", LARGE, bytes(5_000))
    found = fragments(cluster, "b", "a")
    offsets = [next(found).offset, next(found).offset]
    cluster.drop("b", "a")
    cluster.now_ms += 5_000
    cluster.tick("b")
    offsets += [part.offset for part in found]
    assert offsets == [0, 1_000, 2_000, 3_000, 4_000]
    assert values_of(cluster.members["b"].rows()[LARGE]) == {bytes(5_000)}


def test_only_values_that_are_missing_are_fetched() -> None:
    cluster = joined("a", "b", **SMALL)
    bring_about_siblings(cluster, [b"1" * 3_000, b"2" * 3_000])
    cluster.settle()
    bring_about_siblings(cluster, [b"3" * 1_500])
    assert b"".join(part.data for part in fragments(cluster, "b", "a")) == b"3" * 1_500
    assert len(cluster.members["b"].rows()[LARGE].versions) == 3


def test_a_row_that_is_replaced_while_it_is_fetched_is_fetched_as_it_stands() -> None:
    cluster = joined("a", "b", **SMALL)
    address = address_of("t", b"hot")
    put(cluster, "a", address, b"1" * 3_000)
    found = fragments(cluster, "b", "a")
    assert next(found).data == b"1" * 1_000
    put(cluster, "a", address, b"2" * 3_000)
    assert next(found).data == b""
    assert next(found).data == b"2" * 1_000
    put(cluster, "a", address, b"small")
    assert next(found).rows
    list(found)
    assert values_of(cluster.members["b"].rows()[address]) == {b"small"}
    cluster.settle()


def test_a_value_added_while_a_row_is_fetched_does_not_begin_it_again() -> None:
    cluster = joined("a", "b", **SMALL)
    bring_about_siblings(cluster, [b"1" * 3_000])
    found = fragments(cluster, "b", "a")
    next(found)
    bring_about_siblings(cluster, [b"2" * 3_000])
    assert [part.offset for part in found][:2] == [1_000, 2_000]
    cluster.settle()
    assert equal(cluster)


def test_a_row_overwritten_here_while_it_is_fetched_keeps_the_later_write() -> None:
    cluster = joined("a", "b", **SMALL)
    address = address_of("t", b"hot")
    put(cluster, "a", address, b"1" * 3_000)
    found = fragments(cluster, "b", "a")
    next(found)
    cluster.now_ms += 10
    put(cluster, "b", address, b"later")
    list(found)
    cluster.settle()
    assert values_of(cluster.members["a"].rows()[address]) == {b"later"}


def test_bytes_that_are_not_the_value_named_hold_back_the_row_alone() -> None:
    cluster = joined("a", "b", "c", **SMALL)
    put(cluster, "a", LARGE, bytes(2_500))
    cluster.write("c", Operation(address_of("t", b"other"), b"v"))
    b, c = (cluster.members[name] for name in "bc")
    while values_of(b.rows().get(LARGE)) == set() and (cluster.waiting("a", "b") or cluster.waiting("b", "a")):
        if cluster.waiting("a", "b"):
            cluster.deliver("a", "b")
        if send := cluster.waiting("b", "a"):
            b.outbox.remove(send)
            answer = cluster.answer_to("a", Received(sent(send.content)))
            assert isinstance(answer, Envelope)
            damaged = tuple(
                dataclasses.replace(m, data=b"x" * len(m.data)) if isinstance(m, ValuePart) else m
                for m in answer.messages
            )
            cluster.run("b", Answered(send.exchange, sent(dataclasses.replace(answer, messages=damaged))))
    assert LARGE not in b.rows()
    assert list(b.driver.replica.shards[USER].lacking) == [LARGE]
    assert b.driver.replica.tally.rows_refused["damaged_value"] == 1
    while cluster.waiting("c", "b"):
        cluster.deliver("c", "b")
    assert b.context()[c.replica_id] == c.context()[c.replica_id]
    cluster.settle()
    assert equal(cluster)


def test_a_walker_fetches_large_rows_before_it_covers_anything() -> None:
    cluster = joined("a", **SMALL)
    bring_about_siblings(cluster, [b"1" * 3_000, b"2" * 3_000])
    cluster.write("a", *(Operation(address_of("t", b"%03d" % number), bytes(100)) for number in range(100)))
    cluster.start("b", **SMALL)
    cluster.introduce("a", "b")
    b = cluster.members["b"]
    for _ in range(400):
        if LARGE in b.rows() and b.context():
            break
        assert not b.context()
        assert not b.driver.replica.is_ready
        if not cluster.flow():
            cluster.now_ms += 1_000
            cluster.tick("a")
            cluster.tick("b")
    assert len(b.rows()) == 101
    cluster.settle()
    assert equal(cluster)


def test_other_rows_and_rounds_go_on_while_a_large_row_is_fetched() -> None:
    cluster = joined("a", "b", **SMALL)
    put(cluster, "a", LARGE, bytes(100_000))
    found = fragments(cluster, "b", "a")
    next(found)
    cluster.write("a", Operation(address_of("t", b"meanwhile"), b"v"))
    b = cluster.members["b"]
    for seen, _ in enumerate(found):  # noqa: B007
        cluster.now_ms += 700
        cluster.tick("a")
        if address_of("t", b"meanwhile") in b.rows():
            break
    assert seen < 50
    assert LARGE not in b.rows()


def test_a_member_that_must_walk_gets_the_newest_row_though_it_is_large() -> None:
    cluster = joined("a", "b", **SMALL)
    storage = cluster.members["b"].storage
    cluster.crash("b")
    cluster.write("a", *(Operation(address_of("t", b"%03d" % number), bytes(100)) for number in range(300)))
    cluster.now_ms += 10
    put(cluster, "a", LARGE, bytes(3_000))
    cluster.start("b", storage, **SMALL)
    b = cluster.members["b"]
    while LARGE not in b.rows():
        if not cluster.flow():
            cluster.now_ms += 1_000
            cluster.tick("b")
    assert not b.context().get(cluster.members["a"].replica_id)
    assert len(b.rows()) < 150
    cluster.settle()
    assert equal(cluster)


# Reads of several members, hand-overs and repairs.


def read(cluster: Cluster, name: str, address: bytes, members: int) -> Callable[[], Any]:
    """Begin a read; returns what tells its outcome, None while there is none."""
    member = cluster.members[name]
    outcomes: dict[int, Any] = {}
    keep = member.keep

    def keeping(effects: Any) -> None:
        outcomes.update({resolved[0]: resolved[1] for resolved in effects.resolved})
        keep(effects)

    member.keep = keeping  # type: ignore[method-assign]
    cluster.run(name, Read(1, USER, address, members))
    return lambda: outcomes.get(1)


def directs(member: Member) -> list[Send[Envelope]]:
    """Exchanges beside the agenda."""
    return [send for send in member.outbox if send.exchange in member.driver.replica.direct_exchanges]


def deliver(cluster: Cluster, source: str, send: Send[Envelope]) -> Envelope:
    """Carry out this exchange and no other."""
    cluster.members[source].outbox.remove(send)
    answer = cluster.answer_to(send.endpoint.removeprefix("memory://"), Received(sent(send.content)))
    assert isinstance(answer, Envelope)
    cluster.run(source, Answered(send.exchange, sent(answer)))
    return answer


def test_a_read_of_several_members_fetches_a_large_row_before_it_counts_the_answer() -> None:
    cluster = joined("a", "b", **SMALL)
    bring_about_siblings(cluster, [b"1" * 3_000, b"2" * 3_000])
    cluster.members["a"].outbox.clear()
    found = read(cluster, "b", LARGE, 2)
    b = cluster.members["b"]
    fetched = 0
    while found() is None:
        [send] = directs(b)
        fetched += sum(isinstance(message, ValuePart) for message in deliver(cluster, "b", send).messages)
    assert fetched == 6
    assert values_of(found().row) == {b"1" * 3_000, b"2" * 3_000}
    assert found().answered == {"a": cluster.members["a"].replica_id}


def test_a_read_whose_fetch_fails_is_not_answered_and_asks_again() -> None:
    cluster = joined("a", "b", **SMALL)
    put(cluster, "a", LARGE, bytes(3_000))
    cluster.members["a"].outbox.clear()
    found = read(cluster, "b", LARGE, 2)
    b = cluster.members["b"]
    for _ in range(2):
        deliver(cluster, "b", directs(b)[0])
    [send] = directs(b)
    b.outbox.remove(send)
    cluster.run("b", Failed(send.exchange, "lost"))
    assert found() is None
    cluster.tick("b")
    while found() is None:
        deliver(cluster, "b", directs(b)[0])
    assert values_of(found().row) == {bytes(3_000)}


def test_reads_of_large_rows_fetch_one_after_the_other_and_all_are_answered() -> None:
    cluster = joined("a", "b", "c", **SMALL)
    put(cluster, "a", LARGE, b"a" * 3_000)
    put(cluster, "c", LARGE, b"c" * 3_000)
    for name in ("a", "c"):
        cluster.members[name].outbox.clear()
    found = read(cluster, "b", LARGE, 3)
    b = cluster.members["b"]
    for _ in range(100):
        if found() is not None:
            break
        under_way = b.driver.replica.direct_exchanges.values()
        fetching = [d for d in under_way if isinstance(d, Direct) and d.fetching is not None]
        assert len(fetching) <= 1
        if not directs(b):
            cluster.tick("b")
        for send in directs(b):
            deliver(cluster, "b", send)
    assert values_of(found().row) == {b"a" * 3_000, b"c" * 3_000}


def test_whoever_a_read_finds_behind_is_given_the_large_row() -> None:
    cluster = joined("a", "b", **SMALL)
    put(cluster, "a", LARGE, bytes(3_000))
    a, b = cluster.members["a"], cluster.members["b"]
    a.outbox.clear()
    read(cluster, "a", LARGE, 2)
    deliver(cluster, "a", directs(a)[0])
    [repair] = directs(a)
    [delta] = repair.content.messages
    assert isinstance(delta, Delta)
    assert delta.large
    deliver(cluster, "a", repair)
    while LARGE not in b.rows():
        cluster.deliver("b", "a")
    assert not b.context().get(a.replica_id), "what was not asked for claims nothing"


def test_a_large_row_that_is_handed_over_counts_once_the_member_says_that_it_holds_it() -> None:
    cluster = joined("a", "b", **SMALL)
    a, b = cluster.members["a"], cluster.members["b"]
    [peer] = a.driver.replica.peers
    peer.conversation.offered.add(USER)  # It catches up, and pushes are held back.
    result = put(cluster, "a", LARGE, bytes(3_000))
    assert isinstance(result, StoredWrite)
    a.outbox.clear()
    receipt = Receipt(USER, result.dot)
    cluster.run("a", Await(1, 2, receipt, {LARGE: result.dot}))
    is_over = False
    for _ in range(20):
        for send in directs(a):
            deliver(cluster, "a", send)
        has_it = LARGE in b.rows()
        is_over = any(one.ticket == 1 for one in a.resolved)
        assert has_it or not is_over
        if is_over:
            break
        cluster.run("a", Await(1, 2, receipt, {LARGE: result.dot}))
        if cluster.waiting("b", "a"):
            cluster.deliver("b", "a")
        cluster.tick("a")
        a.outbox[:] = directs(a)
    assert is_over
    assert not b.context().get(a.replica_id)


# What is refused.


def test_a_write_that_would_make_a_row_too_large_to_be_carried_is_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "ROW_BYTES_MAX", 10_000)
    cluster = joined("a")
    bring_about_siblings(cluster, [b"1" * 4_000, b"2" * 4_000])
    before = cluster.members["a"].rows()
    declined = put(cluster, "a", LARGE, b"3" * 4_000)
    assert isinstance(declined, Declined)
    assert (declined.reason, declined.siblings) == (ROW_TOO_LARGE, 2)
    assert cluster.members["a"].rows() == before
    seen = before[LARGE].seen
    [result] = cluster.results("a", Operation(LARGE, b"3" * 4_000, seen=seen))
    assert isinstance(result, StoredWrite)


def test_a_row_that_merges_have_left_too_large_can_be_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = joined("a", "b", "c")
    for name in ("a", "b", "c"):
        put(cluster, name, LARGE, name.encode() * 4_000)
    cluster.settle()
    row = cluster.members["a"].rows()[LARGE]
    monkeypatch.setattr(parcel, "ROW_BYTES_MAX", 5_000)
    one = row.versions[0].dot
    seen = row.seen._replace(context=Context({one.replica: one.sequence}))
    beside = Operation(LARGE, b"4" * 4_000, seen=seen)
    [declined] = cluster.results("a", beside)
    assert isinstance(declined, Declined)
    others = Context({v.dot.replica: v.dot.sequence for v in row.versions[1:]})
    fewer = Operation(LARGE, b"5" * 2_000, seen=row.seen._replace(context=others))
    [written] = cluster.results("a", fewer)
    assert isinstance(written, StoredWrite)
    cluster.settle()


def test_a_value_longer_than_any_member_may_take_is_declined() -> None:
    cluster = joined("a")
    for table in (b"t", b"beside"):
        declined = put(cluster, "a", address_of(table.decode(), b"k"), bytes(4 * MIB + 1))
        assert isinstance(declined, Declined)
        assert declined.reason == ROW_TOO_LARGE


def test_more_siblings_than_one_member_takes_are_taken_in_from_another() -> None:
    cluster = joined("a", siblings_max=64)
    cluster.start("b", siblings_max=2)
    cluster.introduce("a", "b")
    bring_about_siblings(cluster, [b"%d" % number for number in range(64)])
    cluster.settle()
    assert len(cluster.members["b"].rows()[LARGE].versions) == 64
    declined = put(cluster, "b", LARGE, b"one more")
    assert isinstance(declined, Declined)
    assert declined.reason == TOO_MANY_SIBLINGS


# Fetching by itself.


def test_what_was_not_asked_for_is_no_answer() -> None:
    fetching = Fetching()
    cluster = joined("a")
    put(cluster, "a", LARGE, bytes(3_000))
    copy = RowCopy(LARGE, cluster.members["a"].rows()[LARGE])
    dot = copy.row.winner.dot
    assert fetching.take(ValuePart(USER, LARGE, dot, 0, b"x")) is None
    fetching.want([outlined(*copy)])
    empty = Cluster()
    with empty.start("b").storage.view() as view:
        assert fetching.assembled(view, USER) is None
        assert isinstance(fetching.asked, FetchValue)
        assert fetching.take(ValuePart(USER, LARGE, dot, 7, b"x")) is None
        assert fetching.take(ValuePart(USER, address_of("t", b"k"), dot, 0, b"x")) is None
        assert fetching.take(ValuePart(USER, LARGE, dot, 0, bytes(1_000))) == []
        assert fetching.asked.offset == 1_000
        assert fetching.take(ValuePart(USER, LARGE, dot, 1_000, bytes(2_001)))
        assert fetching.is_finished, "more bytes than the value has are refused with the row"


def test_a_later_copy_that_is_refused_holds_back_what_the_copies_named_before_it_cover() -> None:
    """The peer has replaced the row while it was fetched, and its copy no longer names the origin of the range."""
    fetching = Fetching()
    cluster = joined("a")
    put(cluster, "a", LARGE, bytes(3_000))
    copy = RowCopy(LARGE, cluster.members["a"].rows()[LARGE])
    dot = copy.row.winner.dot
    later = RefusedRow((7,), CLOCK_SKEW, LARGE, Context({7: 1}))
    fetching.want([outlined(*copy)])
    with Cluster().start("b").storage.view() as view:
        assert fetching.assembled(view, USER) is None
        assert fetching.take(ValuePart(USER, LARGE, dot, 0, b"")) == []
    assert fetching.is_finished
    [refused] = fetching.refusing([later])
    assert refused == RefusedRow(
        tuple(sorted((7, dot.replica))), CLOCK_SKEW, LARGE, Context({7: 1, **copy.row.context})
    )
    assert fetching.refusing([later]) == [later], "nothing is fetched any more"


def test_the_size_of_an_outline_is_never_taken_to_be_less_than_it_is() -> None:
    for versions in (1, 2, 20):
        row = StoredRow(
            tuple(Version(Dot(2**64 - 1 - n, 2**62), 2**62, b"v", 2**62, 2**62) for n in range(versions)),
            Context({2**64 - 1 - n: 2**62 for n in range(versions)}),
        )
        large = outlined(LARGE, row)
        empty = Envelope("test", "a", 1, 1, 0, (Delta(USER, {}, ()),))
        full = dataclasses.replace(empty, messages=(Delta(USER, {}, (), large=(large,)),))
        assert outline_bytes(large) >= len(encode(full)) - len(encode(empty))


def test_a_write_that_names_what_is_there_replaces_it_and_one_that_names_nothing_stands_beside_it() -> None:
    cluster = joined("a")
    results = [put(cluster, "a", LARGE, value) for value in (b"1", b"2")]
    assert values_of(cluster.members["a"].rows()[LARGE]) == {b"1", b"2"}
    last = results[-1]
    assert isinstance(last, StoredWrite)
    [result] = cluster.results("a", Operation(LARGE, b"3", if_match=(last.etag,)))
    assert isinstance(result, StoredWrite)
    assert values_of(cluster.members["a"].rows()[LARGE]) == {b"3"}


def test_a_row_whose_outline_alone_is_too_large_is_not_carriable() -> None:
    def with_versions(count: int) -> RowCopy:
        versions = tuple(Version(Dot(1, count - n), 1, None, siblings_above=0) for n in range(count))
        return RowCopy(LARGE, StoredRow(versions, Context({1: count})))

    fitting = next(n for n in range(1, 10**6, 500) if outline_bytes(outlined(*with_versions(n))) > OUTLINE_BYTES_MAX)
    assert not is_carriable(with_versions(fitting))
    assert is_carriable(with_versions(fitting - 500))
