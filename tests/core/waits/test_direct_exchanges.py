"""Exchanges about single rows: whom they go to, what counts as an answer, and how reads end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.lacking import CLOCK_SKEW, RECALLS_PER_ROUND, Lack, LackedRow
from gossipkv.core.model.member import DEAD, LEFT
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import (
    Delta,
    Envelope,
    FetchValue,
    Message,
    RowCopy,
    ValuePart,
    WalkFetchRows,
    WalkRows,
)
from gossipkv.core.protocol.parcel import outlined
from gossipkv.core.store.shard import Shard
from gossipkv.core.transfer.fetch import Fetching
from gossipkv.core.waits.answers import Found, Resolved
from gossipkv.core.waits.direct_exchanges import (
    Comparison,
    Direct,
    DirectExchanges,
    Handover,
    Purpose,
    Reading,
    Recall,
    Repair,
)
from tests.core.cluster import START_MS, Cluster
from tests.core.disks import at
from tests.core.test_replica import settled

ROW = at("row")


class Asking:
    """Member a among b and c, with which it has nothing more to exchange."""

    def __init__(self) -> None:
        self.cluster = settled(Cluster(), "a", "b", "c", part_bytes=1_000, whole_row_bytes_max=500)
        self.a = self.cluster.members["a"]
        self.replica = self.a.driver.replica
        self.direct: DirectExchanges = self.replica._direct
        self.shard: Shard = self.replica.shards[USER]
        self.b, self.c = self.replica.peers

    def due(self) -> list[tuple[str | None, Purpose]]:
        """Who is about to be asked, and for what; nothing is about to be asked any more."""
        due, self.direct._due = self.direct._due, []
        return [(direct.peer.member, direct.purpose) for direct in due]

    def answer(self, purpose: Purpose, *messages: Message, **envelope: object) -> Direct:
        """Let b answer an exchange for this purpose."""
        direct = Direct(self.b, self.b.replica or 0, purpose)
        word = Envelope("test", "b", self.b.replica or 0, 1, self.cluster.now_ms, messages)
        transaction = self.a.storage.begin()
        self.direct.answered(transaction, direct, replace(word, **envelope), self.cluster.now_ms)  # type: ignore[arg-type]
        self.replica._store.save(transaction)
        transaction.commit()
        return direct

    def messages(self, purpose: Purpose) -> tuple[Message, ...]:
        with self.a.storage.view() as view:
            return self.direct._messages(view, Direct(self.b, 2, purpose))

    def resolved(self, *, is_ending: bool = False) -> list[Resolved]:
        with self.a.storage.view() as view:
            return self.direct.resolve(view, self.replica.shards, self.cluster.now_ms, is_ending=is_ending)


@pytest.fixture
def asking() -> Asking:
    return Asking()


def copy(sequence: int = 1, value: bytes | None = b"value", replica: int = 2, address: bytes = ROW) -> RowCopy:
    version = Version(Dot(replica, sequence), (START_MS << 16) + sequence, value)
    return RowCopy(address, StoredRow((version,), Context({replica: sequence})))


# Reads.


def test_a_read_asks_each_member_that_has_not_left_or_answered_and_is_not_being_asked(asking: Asking) -> None:
    reading = Reading(USER, ROW, 3)
    asking.direct.read(1, reading)
    assert len(asking.direct._due) == 2
    asking.direct.tick()
    assert asking.due() == [("b", reading), ("c", reading)], "they are being asked"
    reading.answered["b"] = 2
    asking.direct.tick()
    assert asking.due() == [("c", reading)]
    asking.c.is_let_go = True
    asking.direct.tick()
    assert asking.due() == []
    asking.c.is_let_go, asking.c.conversation.is_outdated = False, True
    asking.direct.tick()
    assert asking.due() == [], "no rows are exchanged with it"
    asking.c.conversation.is_outdated, asking.c.replica = False, None
    asking.direct.tick()
    assert asking.due() == []


def test_an_answer_counts_with_the_row_or_without_one_and_is_compared(asking: Asking) -> None:
    for sequence, rows in ((1, ()), (2, (copy(),))):
        reading = Reading(USER, ROW, 2)
        asking.answer(reading, WalkRows(USER, rows, None))
        assert reading.answered == {"b": 2}
        [comparison] = asking.direct._comparisons
        assert comparison == Comparison(asking.b, reading, (Dot(2, 1),) if sequence == 2 else None)
        asking.direct._comparisons.clear()
    assert asking.a.rows()[ROW] == copy().row


def test_what_is_no_answer_to_a_read(asking: Asking) -> None:
    def counts(*messages: Message, **envelope: object) -> bool:
        reading = Reading(USER, ROW, 2)
        asking.answer(reading, *messages, **envelope)
        return bool(reading.answered)

    assert counts(WalkRows(USER, (), None))
    assert not counts(WalkRows(USER, (), None), member="c")
    assert not counts(WalkRows(USER, (), None), replica=99)
    assert not counts(WalkRows(SYSTEM, (), None))
    assert not counts()
    lacked = Delta(USER, {}, (), lacking=(LackedRow(ROW, Context({2: 1})),))
    assert not counts(lacked, WalkRows(USER, (), None)), "it lacks the row"
    other = Delta(USER, {}, (), lacking=(LackedRow(at("other"), Context({2: 1})),))
    assert counts(other, WalkRows(USER, (), None))
    ahead = Version(Dot(2, 1), (asking.cluster.now_ms + 10**9) << 16, b"value")
    skewed = RowCopy(ROW, StoredRow((ahead,), Context({2: 1})))
    assert not counts(WalkRows(USER, (skewed,), None)), "it is refused here"
    assert not counts(ValuePart(USER, ROW, Dot(2, 1), 0, b"value")), "no value was asked for"


def test_a_read_ends_with_the_merged_row_once_enough_have_answered(asking: Asking) -> None:
    reading = Reading(USER, ROW, 2)
    asking.direct.read(1, reading)
    assert asking.resolved() == []
    asking.answer(reading, WalkRows(USER, (copy(),), None))
    assert asking.resolved() == [Resolved(1, Found(copy().row, {"b": 2}, 2))]
    assert reading.is_over
    assert asking.resolved() == []


@pytest.mark.parametrize(
    ("is_ending", "deadline_ms", "is_cut", "is_late"), [(True, None, True, False), (False, 0, False, True)]
)
def test_a_read_that_is_cut_or_late_tells_who_has_answered_and_no_row(
    asking: Asking, is_ending: bool, deadline_ms: int | None, is_cut: bool, is_late: bool
) -> None:
    reading = Reading(USER, ROW, 3, None if deadline_ms is None else asking.cluster.now_ms + deadline_ms)
    asking.direct.read(1, reading)
    reading.answered["b"] = 2
    found = Found(None, {"b": 2}, 2)
    assert asking.resolved(is_ending=is_ending) == [Resolved(1, found, is_cut=is_cut, is_late=is_late)]
    reading.answered["c"] = 3
    asking.direct.read(2, reading)
    [ended] = asking.resolved(is_ending=True)
    assert (ended.is_cut, ended.is_late) == (False, False), "it was answered"


def test_an_own_copy_that_may_lack_a_part_does_not_count(asking: Asking) -> None:
    reading = Reading(USER, ROW, 2)
    assert reading.found(asking.replica.shards).copies == 1
    asking.shard.note_lack(ROW, Lack(Context({2: 1}), Context(), "inconsistent"))
    assert reading.found(asking.replica.shards).copies == 0


def test_reads_of_a_batch_that_failed_go_on_and_ask_again(asking: Asking) -> None:
    reading = Reading(USER, ROW, 2)
    asking.direct.read(1, reading)
    asking.answer(reading, WalkRows(USER, (), None))
    assert len(asking.resolved()) == 1
    asking.direct._due.append(Direct(asking.b, 2, reading))
    asking.direct.forget_batch()
    assert (reading.answered, reading.is_over, asking.due(), asking.direct._comparisons) == ({}, False, [], [])
    assert list(asking.direct.readings) == [reading]
    asking.direct.withdraw(1)
    assert (list(asking.direct.readings), reading.is_over) == ([], True)
    asking.direct.note_committed()
    asking.direct.forget_batch()
    assert list(asking.direct.readings) == []
    asking.direct.withdraw(1)


def test_late_reads_end_although_the_batch_fails_and_others_go_on(asking: Asking) -> None:
    now_ms = asking.cluster.now_ms
    readings = {1: Reading(USER, ROW, 3, now_ms), 2: Reading(USER, ROW, 3, now_ms + 1), 3: Reading(USER, ROW, 3)}
    for ticket, reading in readings.items():
        asking.direct.read(ticket, reading)
    assert asking.direct.lapse(asking.replica.shards, now_ms) == [Resolved(1, Found(None, {}, 1), is_late=True)]
    assert [reading.is_over for reading in readings.values()] == [True, False, False]
    assert list(asking.direct.readings) == [readings[2], readings[3]]


# Repairs.


def test_members_with_another_row_than_a_finished_read_found_are_sent_it(asking: Asking) -> None:
    asking.cluster.write("a", Operation(ROW, b"value"))
    asking.a.outbox.clear()
    asking.due()
    dot = asking.a.rows()[ROW].winner.dot
    over, going_on, of_nothing = Reading(USER, ROW, 2), Reading(USER, ROW, 2), Reading(USER, at("none"), 2)
    over.is_over = of_nothing.is_over = True
    asking.direct._comparisons = [
        Comparison(asking.b, over, (dot,)),
        Comparison(asking.c, over, None),
        Comparison(asking.b, over, (Dot(9, 9),)),
        Comparison(asking.b, going_on, None),
        Comparison(asking.b, of_nothing, (Dot(9, 9),)),
    ]
    with asking.a.storage.view() as view:
        asking.direct._repair(view)
    repair = Repair(USER, ROW)
    assert asking.due() == [("c", repair), ("b", repair)]
    assert asking.replica.tally.reads_repaired == 2
    assert [comparison.reading for comparison in asking.direct._comparisons] == [going_on]
    [delta] = asking.messages(repair)
    assert isinstance(delta, Delta)
    assert (delta.ranges, [each.address for each in delta.rows]) == ({}, [ROW])


def test_the_answer_to_a_repair_says_nothing(asking: Asking) -> None:
    asking.answer(Repair(USER, ROW), WalkRows(USER, (copy(),), None))
    assert ROW not in asking.a.rows()


# Hand-overs.


def test_a_hand_over_names_as_many_rows_as_one_message_holds_and_asks_for_them(asking: Asking) -> None:
    operations = [Operation(at(f"row{number}"), bytes(300)) for number in range(5)]
    asking.cluster.write("a", *operations, Operation(at("large"), bytes(900)))
    rows = {address: asking.a.rows()[address].winner.dot for address in [*(o.address for o in operations), at("large")]}
    delta, asked = asking.messages(Handover(USER, rows, {}))
    assert isinstance(delta, Delta)
    assert isinstance(asked, WalkFetchRows)
    assert [each.address for each in delta.rows] == list(asked.addresses) == [at("row0"), at("row1")]
    large, asked = asking.messages(Handover(USER, {at("large"): rows[at("large")], at("gone"): Dot(1, 1)}, {}))
    assert isinstance(large, Delta)
    assert isinstance(asked, WalkFetchRows)
    assert [each.address for each in large.large] == list(asked.addresses) == [at("large")]
    assert large.rows == ()


def test_a_hand_over_is_done_once_all_rows_come_back_with_the_write_or_something_later(asking: Asking) -> None:
    one, other = copy(3), copy(4, address=at("other"))
    rows = {ROW: Dot(2, 3), at("other"): Dot(2, 4)}
    handed: dict[str, int] = {}
    asking.answer(Handover(USER, rows, handed), WalkRows(USER, (one, other), None))
    assert (handed, asking.due()) == ({"b": 2}, [])
    handed.clear()
    asking.answer(Handover(USER, rows, handed), WalkRows(USER, (one,), None))
    assert (handed, asking.due()) == ({}, [("b", Handover(USER, {at("other"): Dot(2, 4)}, handed))])
    asking.answer(Handover(USER, rows, handed), WalkRows(USER, (copy(2),), None))
    assert (handed, asking.due()) == ({}, []), "no row is there yet, so there is nothing to go on with"
    large = (outlined(*one), outlined(*other))
    asking.answer(Handover(USER, rows, handed), WalkRows(USER, (), None, large))
    assert handed == {"b": 2}


# Large rows.


def test_one_large_row_is_fetched_at_a_time_and_for_no_read_that_is_over(asking: Asking) -> None:
    large = outlined(*copy(1, bytes(900)))
    reading = Reading(USER, ROW, 2)
    asking.answer(reading, WalkRows(USER, (), None, (large,)))
    assert reading.answered == {}
    [direct] = asking.direct._due
    assert direct.fetching is not None
    assert direct.dots == (Dot(2, 1),)
    with asking.a.storage.view() as view:
        assert asking.direct._messages(view, direct) == (direct.fetching.asked,)
        assert isinstance(direct.fetching.asked, FetchValue)
        assert asking.direct._messages(view, Direct(asking.b, 2, reading, Fetching())) == ()
    asking.answer(Reading(USER, ROW, 2), WalkRows(USER, (), None, (large,)))
    assert len(asking.direct._due) == 1, "another is being fetched"
    asking.due()
    over = Reading(USER, ROW, 2, is_over=True)
    asking.answer(over, WalkRows(USER, (), None, (large,)))
    assert asking.due() == []
    part = ValuePart(USER, ROW, Dot(2, 1), 0, bytes(900))
    transaction = asking.a.storage.begin()
    word = Envelope("test", "b", 2, 1, asking.cluster.now_ms, (replace(part, shard=SYSTEM), part))
    asking.direct.answered(transaction, direct, word, asking.cluster.now_ms)
    assert transaction.row(USER, ROW) is not None
    transaction.abort()
    assert reading.answered == {"b": 2}
    assert asking.direct._comparisons[-1].dots == (Dot(2, 1),)


# Rows that are lacking.


def lacks(asking: Asking, *addresses: bytes, through: int = 5) -> None:
    for address in addresses:
        asking.shard.note_lack(address, Lack(Context({2: through}), Context(), CLOCK_SKEW))


def recall(asking: Asking) -> list[tuple[str | None, Purpose]]:
    asking.direct.recall({USER: asking.shard}, [], asking.cluster.now_ms)
    return asking.due()


def test_a_bounded_number_of_lacking_rows_is_asked_for_per_round_in_turn(asking: Asking) -> None:
    addresses = [at(f"{number:02}") for number in range(RECALLS_PER_ROUND + 3)]
    lacks(asking, *addresses)
    asked = [[purpose.address for _, purpose in recall(asking) if isinstance(purpose, Recall)] for _ in range(11)]
    assert {len(each) for each in asked} == {RECALLS_PER_ROUND}
    assert {len(set(each)) for each in asked} == {RECALLS_PER_ROUND}
    counts = [sum(address in each for each in asked) for address in addresses]
    assert counts == [RECALLS_PER_ROUND] * len(addresses), "each has its turn as often as the others"
    assert asked[0][0] != asked[1][0]


def test_a_row_that_is_being_asked_for_is_not_asked_for_again(asking: Asking) -> None:
    lacks(asking, ROW)
    asking.direct.recall({USER: asking.shard}, [], 0)
    asking.direct.recall({USER: asking.shard}, [], 0)
    assert len(asking.due()) == 1


def test_a_lacking_row_is_asked_for_at_members_that_answer_and_first_where_it_certainly_is(asking: Asking) -> None:
    lacks(asking, ROW)
    members = [recall(asking)[0] for _ in range(4)]
    assert {member for member, _ in members} == {"b", "c"}
    assert all(isinstance(purpose, Recall) and not purpose.is_enough for _, purpose in members)
    asking.c.conversation.learn_context(USER, Context({2: 5}), Context())
    expected = Recall(USER, ROW, Context({2: 5}), is_enough=True)
    assert [recall(asking)[0] for _ in range(3)] == [("c", expected)] * 3
    asking.c.failures = 1
    assert recall(asking)[0][0] == "b"
    asking.b.standing.status = LEFT
    assert recall(asking) == []
    asking.c.failures, asking.c.standing.status = 0, DEAD
    assert recall(asking) == []


def test_whoever_has_answered_is_asked_again_after_the_others(asking: Asking) -> None:
    lacks(asking, ROW)
    asking.direct._heard[USER, ROW] = (Context({2: 5}), {2})
    assert [recall(asking)[0][0] for _ in range(3)] == ["c"] * 3
    asking.direct._heard[USER, ROW][1].add(3)
    assert {recall(asking)[0][0] for _ in range(4)} == {"b", "c"}


def test_a_row_is_recalled_once_one_that_holds_all_or_all_that_may_hold_it_have_answered(asking: Asking) -> None:
    asking.direct._shards = asking.replica.shards
    lacks(asking, ROW)
    enough = Recall(USER, ROW, Context({2: 5}), is_enough=True)
    asking.answer(enough, WalkRows(USER, (), None))
    assert asking.shard.lacking == {}
    lacks(asking, ROW)
    asking.answer(enough._replace(is_enough=False), WalkRows(USER, (), None))
    assert asking.direct._heard == {(USER, ROW): (Context({2: 5}), {2})}
    assert list(asking.shard.lacking) == [ROW]
    lacked = Delta(USER, {}, (), lacking=(LackedRow(ROW, Context({2: 1})),))
    asking.direct._heard.clear()
    asking.answer(enough, lacked, WalkRows(USER, (), None))
    assert list(asking.shard.lacking) == [ROW], "it lacks the row itself"
    asking.direct._heard[USER, ROW] = (Context({2: 5}), {3})
    asking.answer(enough._replace(is_enough=False), WalkRows(USER, (), None))
    assert (asking.shard.lacking, asking.direct._heard) == ({}, {}), "all have answered"


def test_answers_from_before_more_was_missing_do_not_count(asking: Asking) -> None:
    asking.direct._shards = asking.replica.shards
    lacks(asking, ROW, through=6)
    asking.direct._heard[USER, ROW] = (Context({2: 6}), {3})
    asking.answer(Recall(USER, ROW, Context({2: 5}), is_enough=True), WalkRows(USER, (), None))
    assert list(asking.shard.lacking) == [ROW]
    assert asking.direct._heard == {}
    asking.direct._heard[USER, ROW] = (Context({2: 5}), {3})
    asking.answer(Recall(USER, ROW, Context({2: 6}), is_enough=False), WalkRows(USER, (), None))
    assert asking.direct._heard == {(USER, ROW): (Context({2: 6}), {2})}
    asking.shard.clear_lack(ROW)
    asking.answer(Recall(USER, ROW, Context({2: 6}), is_enough=False), WalkRows(USER, (), None))
    assert asking.direct._heard == {}


@pytest.mark.parametrize(
    ("waited_ms", "heard", "lists_all"), [(0, [], False), (59_999, [], False), (60_000, [], True), (0, [2], True)]
)
def test_a_member_whose_record_is_lacking_may_hold_a_row_until_it_has_answered_or_long_been_silent(
    asking: Asking, waited_ms: int, heard: list[int], lists_all: bool
) -> None:
    record = address_of(MEMBERS_TABLE, b"b")
    asking.direct._follow_records([record], START_MS)
    asking.direct._follow_records([record, address_of(MEMBERS_TABLE, b"a")], START_MS + waited_ms)
    assert asking.direct._lists_all(set(heard)) is lists_all
    asking.direct._follow_records([record], START_MS - 10**6)
    assert asking.direct._records_lacking == {record: START_MS - 10**6}, "a clock set back begins the time again"
    asking.direct._follow_records([], START_MS)
    assert asking.direct._lists_all(set())
