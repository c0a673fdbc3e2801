"""What a member makes of records and rows about itself, of its clock, and of what it says with each message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossipkv.core.effects import Arrival
from gossipkv.core.inputs import Answered, Failed, Received
from gossipkv.core.membership.membership import AHEAD, TOO_MANY
from gossipkv.core.membership.namesakes import ProcessIdentity
from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.clock import timestamp_at
from gossipkv.core.model.member import DEAD, MemberRecord
from gossipkv.core.model.room import CATCHING_UP, NO_ROOM, Allowance, Room, Usage
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Envelope, RowCopy
from gossipkv.core.replica import (
    RECORDS_NAMED_MAX,
    REFUSED_SENDERS_MAX,
    TURN_INTERVALS,
    RefusedEnvelopeError,
    Replica,
)
from gossipkv.core.store.fence import FORGOTTEN, OUTDATED
from gossipkv.core.store.forgotten import forgetting
from tests.core.cluster import START_MS, Cluster, endpoint_of
from tests.core.disks import at
from tests.core.test_replica import settled


class Own:
    """Member a beside b, with which it has nothing more to exchange."""

    def __init__(self) -> None:
        self.cluster = settled(Cluster(), "a", "b")
        self.a = self.cluster.members["a"]
        self.replica: Replica = self.a.driver.replica
        [self.peer] = self.replica.peers
        self.address = address_of(MEMBERS_TABLE, b"a")
        self.record = MemberRecord.from_json(self.a.rows(SYSTEM)[self.address].winner.value or b"")

    def must_refute(self, **changed: object) -> bool:
        """Whether the member writes its record again after it has read this one under its name."""
        record = replace(self.record, **changed)  # type: ignore[arg-type]
        version = Version(Dot(9, 1), timestamp_at(START_MS), record.to_json())
        self.replica._must_refute = False
        self.replica._learn_member(self.address, StoredRow((version,), Context({9: 1})))
        return self.replica._must_refute

    def refuted(self, theirs: MemberRecord | None) -> MemberRecord:
        """The record that it writes in place of this one."""
        value = theirs.to_json() if theirs is not None else b"{}"
        transaction = self.a.storage.begin()
        self.replica.write(transaction, SYSTEM, [Operation(self.address, value)], self.cluster.now_ms)
        self.replica._refute(transaction, self.cluster.now_ms)
        row = transaction.row(SYSTEM, self.address)
        identity = transaction.identity()
        transaction.abort()
        assert row is not None
        assert identity == self.replica.identity
        return MemberRecord.from_json(row.winner.value or b"")


@pytest.fixture
def own() -> Own:
    return Own()


# Its own record.


def test_its_own_record_stands_and_one_that_another_has_written_does_not(own: Own) -> None:
    record = own.record
    assert not own.must_refute()
    assert own.must_refute(replica=9)
    assert own.must_refute(incarnation=record.incarnation + 1)
    assert not own.must_refute(incarnation=record.incarnation - 1), "it is of its own past"
    assert own.must_refute(token=record.token + 1)
    assert own.must_refute(token=record.token + 1, started=record.started + 1)
    assert not own.must_refute(token=record.token + 1, started=record.started - 1), "that process has gone"
    assert not own.must_refute(token=0), "version 0.1.0 does not say which process it is"
    assert own.must_refute(endpoints={"gossip": "memory://elsewhere"})
    assert own.must_refute(has_left=True)
    assert not own.must_refute(token=record.token + 1, started=record.started - 1, has_left=True)


def test_a_record_that_says_it_has_left_stands_if_it_has_said_so_itself(own: Own) -> None:
    replica = own.replica
    replica._has_left = True
    assert not own.must_refute(has_left=True)
    assert (replica._has_left, replica._probing.swim.has_left) == (True, True)
    assert not own.must_refute(has_left=False)
    assert (replica._has_left, replica._probing.swim.has_left) == (False, False), "the word to leave was not committed"


def test_the_zone_is_the_one_in_its_record(own: Own) -> None:
    own.must_refute(zone="z")
    assert (own.replica.zone, own.replica._membership.zone) == ("z", "z")
    own.must_refute(zone="other", incarnation=own.record.incarnation - 1)
    assert own.replica.zone == "z", "it is of its own past"


def test_a_deleted_or_unreadable_record_is_written_again(own: Own) -> None:
    for value in (None, b"{}"):
        for member, must_refute in ((b"a", True), (b"b", False)):
            own.replica._must_refute = False
            row = StoredRow((Version(Dot(9, 1), 1, value),), Context({9: 1}))
            own.replica._learn_member(address_of(MEMBERS_TABLE, member), row)
            assert own.replica._must_refute is must_refute


def test_a_record_is_outdone_by_one_more(own: Own) -> None:
    incarnation = own.record.incarnation
    assert own.refuted(replace(own.record, incarnation=incarnation + 5)).incarnation == incarnation + 6
    assert own.refuted(replace(own.record, incarnation=incarnation - 5)).incarnation == incarnation + 7
    assert own.refuted(None).incarnation == incarnation + 8


def test_a_record_that_no_one_believes_is_not_outdone(own: Own) -> None:
    ahead = own.cluster.now_ms + own.replica.options.clock_skew_ms_max
    incarnation = own.record.incarnation
    assert own.refuted(replace(own.record, incarnation=ahead + 1)).incarnation == incarnation + 1
    assert own.refuted(replace(own.record, incarnation=ahead)).incarnation == ahead + 1


def test_the_log_says_who_wrote_the_record_that_is_outdone(own: Own) -> None:
    own.refuted(replace(own.record, replica=0xAB))
    own.refuted(None)
    told = [notice.fields["by"] for notice in own.replica._outbox.take() if notice.event == "own_record_outdone"]
    assert told == [f"replica {0xAB:016x}", "something that cannot be read"]
    transaction = own.a.storage.begin()
    own.replica.write(transaction, SYSTEM, [Operation(own.address, None)], own.cluster.now_ms)
    own.replica._refute(transaction, own.cluster.now_ms)
    transaction.abort()
    [notice] = own.replica._outbox.take()
    assert notice.fields["by"] == "a member that was told to forget this one"


def test_a_process_that_is_outdone_twice_still_runs(own: Own) -> None:
    other = replace(own.record, token=own.record.token + 1)
    own.refuted(other)
    assert not own.replica._namesakes.run_as("a")
    own.refuted(replace(other, token=other.token + 1))
    assert not own.replica._namesakes.run_as("a"), "they are two"
    own.refuted(None)
    own.refuted(replace(other, token=other.token + 1))
    assert not own.replica._namesakes.run_as("a"), "another record stood there since"
    own.refuted(replace(other, token=other.token + 1))
    assert own.replica._namesakes.run_as("a")


def test_a_record_of_another_process_that_runs_is_left_for_its_turn(own: Own) -> None:
    replica, now_ms = own.replica, own.cluster.now_ms
    turn_ms = TURN_INTERVALS * replica.options.gossip_interval_ms
    assert replica._may_refute(now_ms)
    process = replica._process()
    replica._namesakes.outdone(process._replace(token=process.token + 1))
    assert replica._namesakes.run_as("a")
    assert not replica._may_refute(now_ms)
    assert not replica._may_refute(now_ms + turn_ms - 1)
    assert replica._may_refute(now_ms + turn_ms)
    assert not replica._may_refute(now_ms - 1), "a clock that is set back begins the turn again"
    assert replica._may_refute(now_ms - 1 + turn_ms)


# Its clock.


@pytest.mark.parametrize(
    ("ahead_ms", "failures", "is_confirmed"),
    [(0, 0, True), (600_000, 0, True), (-600_000, 0, True), (600_001, 0, False), (-600_001, 0, False), (0, 1, False)],
)
def test_a_clock_is_confirmed_by_a_member_that_answers_and_has_about_the_same_time(
    own: Own, ahead_ms: int, failures: int, is_confirmed: bool
) -> None:
    own.peer.clock_ahead_ms, own.peer.failures = ahead_ms, failures
    assert own.replica._is_clock_confirmed() is is_confirmed


def test_an_incarnation_that_others_refuse_is_given_up_once_the_clock_is_confirmed(own: Own) -> None:
    replica, cluster = own.replica, own.cluster
    ahead = cluster.now_ms + 10**9
    replica.identity = replica.identity._replace(incarnation=ahead)
    replica._probing.swim.begin_life(ahead)
    own.peer.failures = 1
    cluster.tick("a")
    assert replica.identity.incarnation == ahead, "it may be this clock that is wrong"
    own.peer.failures = 0
    cluster.tick("a")
    assert replica.identity.incarnation == cluster.now_ms
    assert replica._probing.swim.life.start == cluster.now_ms
    record = MemberRecord.from_json(own.a.rows(SYSTEM)[own.address].winner.value or b"")
    assert record.incarnation == cluster.now_ms
    with own.a.storage.view() as view:
        assert view.identity() == replica.identity


# Whom it refuses.


def test_a_bounded_number_of_senders_is_named_and_all_are_counted(own: Own) -> None:
    for number in range(REFUSED_SENDERS_MAX + 3):
        envelope = Envelope("other", "x", 100 + number, 1, own.cluster.now_ms, ())
        for _ in range(2):
            [outcome] = own.cluster.run("a", Received(envelope)).outcomes
            assert isinstance(outcome, RefusedEnvelopeError)
    assert own.replica.tally.envelopes_refused == {"other_cluster": 2 * (REFUSED_SENDERS_MAX + 3)}
    assert own.a.events().count("envelope_refused") == REFUSED_SENDERS_MAX


def test_members_that_are_too_many_are_named_once_for_all(own: Own) -> None:
    for member in ("x", "y"):
        own.replica._refuse_record(member, TOO_MANY)
        own.replica._refuse_record(member, AHEAD)
    told = [notice.fields for notice in own.replica._outbox.take()]
    assert [fields["peer"] for fields in told] == ["x", "x", "y"]
    assert own.replica.tally.records_refused == {TOO_MANY: 2, AHEAD: 2}


def test_rows_that_call_members_forgotten_which_answer_are_counted_and_a_bounded_number_is_named(own: Own) -> None:
    assert own.peer.replica is not None
    row = StoredRow((Version(Dot(9, 1), 1, b"{}"),), Context({9: 1}))
    copy = RowCopy(forgetting(own.peer.replica, "b").address, row)
    for _ in range(2):
        own.replica._follow_members([copy])
    assert own.replica.tally.forgettings_refused == 2
    [notice] = own.replica._outbox.take()
    assert (notice.event, notice.fields["peer"], notice.is_warning) == ("forgetting_not_believed", "b", True)
    own.replica._named = {("x", str(number)) for number in range(RECORDS_NAMED_MAX)}
    own.replica._follow_members([copy])
    assert own.replica._outbox.take() == []
    own.replica._named.pop()
    own.replica._follow_members([copy])
    assert len(own.replica._outbox.take()) == 1


def test_a_refused_record_is_looked_at_again_until_it_is_taken_or_gone(own: Own) -> None:
    replica, cluster = own.replica, own.cluster
    skew_ms = replica.options.clock_skew_ms_max
    ahead = MemberRecord(77, cluster.now_ms + skew_ms + 5_000, {"gossip": endpoint_of("x")})
    transaction = own.a.storage.begin()
    for name in (b"x", b"y"):
        replica.write(
            transaction, SYSTEM, [Operation(address_of(MEMBERS_TABLE, name), ahead.to_json())], cluster.now_ms
        )
    replica._learn_records(transaction)
    assert replica._membership.refused == {"x": AHEAD, "y": AHEAD}
    refused = replica.tally.records_refused[AHEAD]
    replica._look_at_refused(transaction)
    assert replica.tally.records_refused[AHEAD] == refused, "it is no other refusal"
    replica.write(transaction, SYSTEM, [Operation(address_of(MEMBERS_TABLE, b"y"), None)], cluster.now_ms)
    replica._membership.refused["y"] = AHEAD
    replica._probing.advance(cluster.now_ms + 5_000)
    replica._look_at_refused(transaction)
    transaction.abort()
    assert replica._membership.refused == {}
    assert [peer.member for peer in replica.peers] == ["b", "x"]


def test_a_member_that_answered_and_is_not_listed_is_listed_once_its_record_is_acceptable(own: Own) -> None:
    record, own.peer.record = own.peer.record, None
    assert record is not None
    with own.a.storage.view() as view:
        own.peer.has_answered = False
        own.replica._look_at_refused(view)
        assert own.peer.record is None
        own.peer.has_answered = True
        own.replica._look_at_refused(view)
    assert own.peer.record == record


# What it says with each message.


def test_each_message_names_the_process_and_says_how_the_member_stands(own: Own) -> None:
    replica = own.replica
    replica._allowance = Allowance(Room.SPENT)
    for is_ready, knows_settings, has_met_others in ((True, False, True), (False, True, False), (True, False, False)):
        replica.is_ready = is_ready
        replica._store.knows_settings, replica._store.has_met_others = knows_settings, has_met_others
        envelope = replica._envelope((), 5)
        identity = replica.identity
        assert (envelope.cluster, envelope.member) == (identity.cluster, identity.member)
        assert (envelope.replica, envelope.incarnation) == (identity.replica, identity.incarnation)
        assert (envelope.now_ms, envelope.is_ready, envelope.room) == (5, is_ready, Room.SPENT)
        assert envelope.is_informed is (knows_settings or has_met_others)
        process = ProcessIdentity(envelope.started, envelope.token, envelope.replica, envelope.endpoint, envelope.born)
        assert process == replica._process()


def test_whoever_has_met_others_before_it_started_is_informed(own: Own) -> None:
    alone = Cluster()
    storage = alone.start("a").storage
    assert not alone.members["a"].driver.replica._store.has_met_others
    alone.crash("a")
    assert not alone.start("a", storage).driver.replica._store.has_met_others
    storage = own.a.storage
    assert not own.replica._store.has_met_others
    own.cluster.crash("a")
    again = own.cluster.start("a", storage)
    assert again.driver.replica._store.has_met_others


def test_an_answer_that_could_not_be_read_shows_that_someone_is_there(own: Own) -> None:
    membership, cluster = own.replica._membership, own.cluster
    for was_answered, is_gossip in ((False, True), (True, True), (True, False)):
        membership.has_been_answered = False
        cluster.write("a", Operation(at("row"), b"value"))
        [send] = own.a.outbox
        own.a.outbox.clear()
        if not is_gossip:
            under_way = own.replica._exchanges._under_way
            under_way[send.exchange] = under_way[send.exchange]._replace(owner=own.replica._direct)
        cluster.run("a", Failed(send.exchange, "lost", was_answered=was_answered))
        assert membership.has_been_answered is (was_answered and is_gossip)
        own.peer.failures, own.peer.retry_at_ms, own.peer.exchange = 0, 0, None


def test_an_answer_of_its_own_is_no_sign_of_others(own: Own) -> None:
    replica, cluster = own.replica, own.cluster
    cluster.write("a", Operation(at("row"), b"value"))
    [send] = own.a.outbox
    replica._solitude._heard_ms = 7
    mirrored = replica._envelope((), cluster.now_ms)
    cluster.run("a", Answered(send.exchange, mirrored))
    assert replica._solitude._heard_ms == 7


# Room.


def test_puts_are_refused_while_another_member_that_lives_is_short_of_room(own: Own) -> None:
    replica = own.replica
    assert replica._crowded() == []
    for room in (Room.SCARCE, Room.SPENT):
        own.peer.room = room
        assert replica._crowded() == ["b"]
    own.peer.standing.status = DEAD
    assert replica._crowded() == []
    own.peer.standing.status = "alive"
    replica._allowance = Allowance()
    put, delete = Operation(at("row"), b"value"), Operation(at("row"), None)
    with own.a.storage.view() as view:
        declined = replica._lack_of_room_for(view, USER, put)
        assert declined is not None
        assert declined.reason == NO_ROOM
        assert replica._lack_of_room_for(view, SYSTEM, put) is None
        assert replica._lack_of_room_for(view, USER, delete) is None
        assert replica.tally.puts_refused == 1
        replica._allowance = Allowance(Room.SPENT)
        assert replica._lack_of_room_for(view, USER, delete) is not None, "it would leave a tombstone of no row"
        assert replica.tally.puts_refused == 2


@pytest.mark.parametrize(
    ("spare", "on_their_way", "is_promised"),
    [(501, 10**9, False), (500, 10**9, False), (499, 4, False), (499, 5, True)],
)
def test_puts_wait_while_rows_on_their_way_take_the_room_that_is_left(
    own: Own, monkeypatch: pytest.MonkeyPatch, spare: int, on_their_way: int, is_promised: bool
) -> None:
    replica = own.replica
    monkeypatch.setattr(replica._gossip, "on_their_way", lambda: on_their_way)
    replica.allow(Allowance(spare_bytes=spare), Usage(100, 1_000))
    with own.a.storage.view() as view:
        declined = replica._lack_of_room_for(view, USER, Operation(at("row"), b"value"))
    assert (declined is not None) is is_promised
    if declined is not None:
        assert declined.reason == CATCHING_UP


@pytest.mark.parametrize("has_ticked", [True, False])
def test_upkeep_pauses_if_a_batch_that_found_no_room_held_its_tick(own: Own, has_ticked: bool) -> None:
    now_ms = own.cluster.now_ms
    own.replica.note_too_big([], now_ms, has_ticked=has_ticked)
    assert own.replica._upkeep.is_waiting(now_ms) is has_ticked


# What others hear of it when it is fenced.


def test_a_fence_says_what_others_cover_and_which_names_are_in_doubt(own: Own) -> None:
    replica = own.replica
    own.peer.conversation.contexts[USER] = Context({1: 4, 2: 7})
    store, shard = replica._store, replica.shards[USER]
    shard.advance(1, 30)
    store.sequences_at_start = {SYSTEM: 0, USER: 5}
    assert replica._fence().reason == OUTDATED
    assert replica._fence().covered[USER] == {1: 4, 2: 7}
    assert replica._fence().ambiguous_after == {}
    replica._gossip.is_outdated = True
    shard.note_certain(3)
    assert replica._fence().ambiguous_after[USER] == 5
    shard.note_certain(9)
    assert replica._fence().ambiguous_after[USER] == 9
    replica._membership._forgotten.add(replica.identity.replica)
    assert replica._fence().reason == FORGOTTEN


# Delays.


def test_rows_written_since_the_start_measure_the_delay_under_the_name_of_their_writer(own: Own) -> None:
    assert own.peer.replica is not None
    started = own.replica.started_ms

    def copy(replica: int, at_ms: int, value: bytes | None, expires_ms: int | None = None) -> RowCopy:
        version = Version(Dot(replica, 1), timestamp_at(at_ms), value, expires_ms)
        return RowCopy(at("row"), StoredRow((version,), Context({replica: 1})))

    changed = {
        USER: [
            copy(own.peer.replica, started, b"v"),
            copy(99, started + 5, None),
            copy(99, started - 1, b"before"),
            copy(99, started + 6, None, expires_ms=started + 9),
            copy(99, started + 7, b"expires", expires_ms=started + 9),
        ]
    }
    assert own.replica._arrivals(changed) == [
        Arrival("b", started),
        Arrival("unknown", started + 5),
        Arrival("unknown", started + 7),
    ]


def test_a_clock_that_is_set_back_makes_the_start_earlier(own: Own) -> None:
    before = own.replica.started_ms
    own.cluster.now_ms += 1_000
    own.cluster.tick("a")
    assert own.replica.started_ms == before
    own.cluster.now_ms = before - 5_000
    own.cluster.tick("a")
    assert own.replica.started_ms == before - 5_000
