"""Conversations with peers: whom a member addresses, what it concludes from a word, and when it tries again."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Unpack

import pytest

from gossipkv.core.inputs import Discovered, Failed, Received
from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import RETIRED_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.backoff import Backoff
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.collected import Collected, Proof
from gossipkv.core.model.lacking import RECALLS_PER_ROUND, Lack, LackedRow
from gossipkv.core.model.member import ALIVE, DEAD
from gossipkv.core.model.room import NO_ROOM, Room
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.base import Abridged
from gossipkv.core.protocol.messages import (
    Covered,
    Cursor,
    Delta,
    Digest,
    Envelope,
    FetchValue,
    LargeRow,
    Message,
    Offer,
    Pull,
    Range,
    RefusedRow,
    RowCopy,
    State,
    TooFar,
    Unlisted,
    ValuePart,
    WalkBegin,
    WalkEntries,
    WalkFetch,
    WalkFetchRows,
    WalkList,
    WalkNodes,
    WalkRows,
)
from gossipkv.core.protocol.parcel import outlined
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.shortage import Wait
from gossipkv.core.store.storage import Quarantined
from gossipkv.core.store.store import Intake
from gossipkv.core.sync import gossip as room
from gossipkv.core.sync.gossip import ASIDE_ROWS_MAX, UNPROVEN_AT_ONCE, Gossip
from gossipkv.core.transfer.conversation import Conversation, InFlight, LastDigest
from gossipkv.core.transfer.fetch import Fetching
from gossipkv.core.transfer.pull import Pulling
from gossipkv.core.transfer.walk import Walk
from tests.core.cluster import START_MS, Cluster, Member, endpoint_of
from tests.core.disks import at
from tests.core.replica_settings import ReplicaSettings
from tests.core.test_replica import settled

HOUR_MS = 3_600_000


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


class Talking:
    """Member a among b and c, with which it has nothing more to exchange."""

    def __init__(self, **settings: Unpack[ReplicaSettings]) -> None:
        self.cluster = settled(Cluster(), "a", "b", "c", **settings)
        self.a = self.cluster.members["a"]
        self.replica = self.a.driver.replica
        self.gossip: Gossip = self.replica._gossip
        self.shard: Shard = self.replica.shards[USER]
        self.b, self.c = self.replica.peers

    def word(self, *messages: Message, member: str = "b") -> Envelope:
        """What a member sends."""
        identity = self.cluster.members[member].driver.replica.identity
        return Envelope(
            "test", member, identity.replica, identity.incarnation, self.cluster.now_ms, messages, is_ready=True
        )

    def told(self, *messages: Message, member: str = "b") -> tuple[Message, ...]:
        """The answer to these messages of a member."""
        answer = self.cluster.answer_to("a", Received(self.word(*messages, member=member)))
        assert isinstance(answer, Envelope)
        return answer.messages


@pytest.fixture
def talking() -> Talking:
    return Talking()


def dialled(member: Member) -> set[str]:
    """Where the exchanges go that are under way."""
    return {send.endpoint for send in member.outbox}


# Whom it addresses.


def test_only_a_few_that_have_never_answered_are_dialled_at_a_time(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    a = cluster.members["a"]
    cluster.write("a", Operation(at("row"), b"value"))
    assert dialled(a) == {endpoint_of("b")}
    strangers = tuple(f"memory://stranger{number:02}" for number in range(UNPROVEN_AT_ONCE + 5))
    cluster.run("a", Discovered((endpoint_of("b"), *strangers)))
    assert len(dialled(a) - {endpoint_of("b")}) == UNPROVEN_AT_ONCE, "one that has answered takes no place of theirs"
    cluster.tick("a")
    assert len(dialled(a) - {endpoint_of("b")}) == UNPROVEN_AT_ONCE
    ended = [send for send in a.outbox if send.endpoint in strangers][:3]
    tried = dialled(a)
    for send in ended:
        a.outbox.remove(send)
    cluster.run("a", *(Failed(send.exchange, "not there") for send in ended))
    assert len(dialled(a) - tried) == 3, "others take their places"
    cluster.deliver("a", "b")
    cluster.write("a", Operation(at("row"), b"later"))
    assert endpoint_of("b") in dialled(a), "one that has answered waits for none of them"


def agenda(talking: Talking) -> list[Message]:
    """What goes to b now."""
    with talking.a.storage.view() as view:
        return list(talking.gossip._agenda(view, talking.b, talking.cluster.now_ms))


def test_a_round_goes_out_once_with_the_digests_of_all_shards(talking: Talking) -> None:
    conversation = talking.b.conversation
    conversation.is_sync_due, conversation.asked = True, InFlight(has_values=True)
    found = agenda(talking)
    assert [(type(message), message.shard) for message in found if isinstance(message, Digest)] == [
        (Digest, SYSTEM),
        (Digest, USER),
    ]
    assert len(found) == 2
    assert conversation.asked == InFlight({name: shard.shown for name, shard in talking.replica.shards.items()})
    assert not conversation.is_sync_due
    assert agenda(talking) == []
    assert conversation.asked == InFlight()
    conversation.is_sync_due = conversation.is_outdated = True
    assert [type(message) for message in agenda(talking)] == [Digest, Digest, State], "it is told why"


def test_what_is_covered_here_is_told_once(talking: Talking) -> None:
    conversation = talking.b.conversation
    talking.shard.advance(9, 4)
    talking.shard.note_lack(at("x"), Lack(Context({9: 2}), Context(), "inconsistent"))
    conversation.is_sync_due = False
    conversation.notes = {USER}
    assert agenda(talking) == [Covered(USER, Context({9: 4}), Context({9: 2}))]
    assert agenda(talking) == []


def test_transfers_ask_on_and_those_of_the_users_wait_for_the_system(talking: Talking) -> None:
    conversation = talking.b.conversation
    conversation.is_sync_due = False
    pulling, walking = Pulling(Context({9: 1})), Walk(USER)
    conversation.pulls[USER], conversation.walks[USER] = pulling, walking
    assert agenda(talking) == [Pull(USER, Context({9: 1})), WalkBegin(USER)]
    assert conversation.asked == InFlight(pulls={USER: pulling}, walks={USER: walking})
    conversation.pulls[SYSTEM] = Pulling(Context(), cursor=Cursor(1, 1))
    assert agenda(talking) == [Pull(SYSTEM, Context(), Cursor(1, 1))]
    del conversation.pulls[SYSTEM]
    conversation.asides[USER] = aside = Fetching()
    aside.asked = FetchValue(USER, at("row"), Dot(2, 1), 7, 0)
    assert agenda(talking)[2:] == [aside.asked]
    pulling.fetching.asked = aside.asked
    assert agenda(talking) == [aside.asked, WalkBegin(USER)], "one answer serves both"


class Full:
    """An envelope that takes nothing, whatever room it seems to have left."""

    bytes_left = 0

    def takes(self, _: object) -> bool:
        return False


def test_what_finds_no_room_waits_for_the_next_envelope(talking: Talking, monkeypatch: pytest.MonkeyPatch) -> None:
    talking.cluster.write("a", Operation(at("row"), b"value"))
    conversation = talking.b.conversation
    conversation.is_sync_due = conversation.is_outdated = False
    conversation.fresh, conversation.notes = {USER: {1}}, {USER}
    conversation.pulls[USER], conversation.walks[USER], conversation.asides[USER] = (
        Pulling(Context()),
        Walk(USER),
        Fetching(),
    )
    conversation.asides[USER].asked = FetchValue(USER, at("row"), Dot(2, 1), 7, 0)
    with monkeypatch.context() as patch:
        patch.setattr(room, "EnvelopeRoom", Full)
        assert agenda(talking) == []
        assert (conversation.fresh, conversation.notes) == ({USER: {1}}, {USER})
        assert conversation.asked == InFlight()
        patch.setattr(Full, "bytes_left", talking.gossip._push_bytes_max - 1)
        assert agenda(talking) == []
        patch.setattr(Full, "bytes_left", talking.gossip._push_bytes_max)
        assert [type(message) for message in agenda(talking)] == [Delta]
        conversation.is_sync_due = conversation.is_outdated = True
        assert [type(message) for message in agenda(talking)] == [Digest, Digest], "a round always has room"
    kinds = [type(message) for message in agenda(talking)]
    assert kinds == [Covered, Pull, WalkBegin, FetchValue]


def test_the_room_of_a_push_is_that_of_the_largest_row_and_all_that_goes_with_it() -> None:
    for part, whole in ((2_000, 1_000), (1_000, 2_000)):
        talking = Talking(part_bytes=part, whole_row_bytes_max=whole)
        assert talking.gossip._push_bytes_max == 2_000 + room._RANGES_BYTES_MAX


def test_what_a_stranger_or_an_unlisted_member_says_of_itself_is_answered_by_nothing(talking: Talking) -> None:
    words = (State(USER, Context({2: 1})), Covered(USER, Context({2: 1})), Offer(USER))
    stranger = replace(talking.word(*words), member="stranger", replica=99)
    answer = talking.cluster.answer_to("a", Received(stranger))
    assert isinstance(answer, Envelope)
    assert answer.messages == ()
    talking.b.record = None
    assert talking.told(*words) == ()
    assert talking.told(Delta(USER, {}, ())) == (Unlisted(USER),)


def test_an_offer_is_pulled(talking: Talking) -> None:
    talking.b.exchange = 99
    assert talking.told(Offer(USER)) == ()
    assert list(talking.b.conversation.pulls) == [USER]


# Clocks.


def test_a_clock_that_is_set_back_lengthens_no_pause_before_a_peer_is_tried_again(cluster: Cluster) -> None:
    settled(cluster, "a", "b", gossip_interval_ms=1_000)
    cluster.write("a", Operation(at("row"), b"value"))
    cluster.drop("a", "b")
    assert cluster.waiting("a", "b") is None
    cluster.now_ms -= HOUR_MS
    cluster.tick("a")
    assert cluster.waiting("a", "b") is None, "the pause itself is not over"
    cluster.now_ms += 1_300
    cluster.tick("a")
    assert cluster.waiting("a", "b") is not None


def test_a_clock_that_is_set_back_puts_off_neither_rounds_nor_audits(cluster: Cluster) -> None:
    settled(cluster, "a", "b", gossip_interval_ms=1_000, audit_interval_ms=20_000)
    replica = cluster.members["a"].driver.replica
    [peer] = replica.peers
    cluster.now_ms -= HOUR_MS
    cluster.tick("a")
    rounds, audits = 0, 0
    for _ in range(30):
        cluster.now_ms += 1_300
        cluster.tick("a")
        if cluster.waiting("a", "b"):
            rounds += 1
            audits += USER in peer.conversation.walks
        while cluster.flow():
            pass
    assert rounds == 30
    assert 1 <= audits <= 2


# Names of this replica in what others say.


def rows_of_retired(replica: int, sequence: int) -> tuple[RowCopy, ...]:
    """A row that lists this replica as gone, with its last writes."""
    listing = b'["%016x.%d.%d"]' % (replica, 1, sequence)
    version = Version(Dot(9, 1), START_MS << 16, listing)
    return (RowCopy(address_of(RETIRED_TABLE, b"00000000"), StoredRow((version,), Context({9: 1}))),)


@pytest.mark.parametrize("kind", [Delta, WalkRows])
@pytest.mark.parametrize(("beyond", "is_renewed"), [(0, False), (1, True)])
def test_a_row_that_lists_a_later_write_of_this_replica_makes_it_a_new_one(
    cluster: Cluster, kind: type[Message], beyond: int, is_renewed: bool
) -> None:
    settled(cluster, "a", "b")
    a = cluster.members["a"]
    cluster.write("a", Operation(at("row"), b"value"))
    cluster.settle()
    rows = rows_of_retired(a.replica_id, 1 + beyond)
    message = Delta(SYSTEM, {}, rows) if kind is Delta else WalkRows(SYSTEM, rows, None)
    before = a.replica_id
    cluster.run("a", Received(Envelope("test", "b", 2, START_MS, cluster.now_ms, (message,))))
    assert (a.replica_id != before) is is_renewed


def test_a_row_of_the_users_that_looks_like_a_list_of_retired_replicas_says_nothing(cluster: Cluster) -> None:
    settled(cluster, "a", "b")
    a = cluster.members["a"]
    message = Delta(USER, {}, rows_of_retired(a.replica_id, 100))
    before = a.replica_id
    cluster.run("a", Received(Envelope("test", "b", 2, START_MS, cluster.now_ms, (message,))))
    assert a.replica_id == before


# What it knows of the others' rows.


def test_the_writes_on_their_way_are_those_lacking_here_and_for_each_member_those_that_one_of_them_lacks(
    talking: Talking,
) -> None:
    b, c = talking.b.conversation, talking.c.conversation
    assert talking.gossip.on_their_way() == 0
    b.contexts[USER] = Context({1: 5, 2: 7, 9: 1})
    c.contexts[USER] = Context({1: 3, 2: 6})
    talking.shard.advance(1, 9)
    talking.shard.advance(2, 4)
    assert talking.gossip.on_their_way() == 3 + 1 + 2 * 6
    talking.c.standing.status = DEAD
    assert talking.gossip.on_their_way() == 3 + 1 + 4, "one that is dead waits for nothing"
    del b.contexts[USER]
    assert talking.gossip.on_their_way() == 9, "one that has not said what it covers may lack all"
    b.is_outdated = True
    assert talking.gossip.on_their_way() == 0, "one that is outdated is sent nothing"
    b.is_outdated = False
    b.contexts[USER] = Context({1: 12})
    assert talking.gossip.on_their_way() == 3, "it knows more of them than are here"


def test_what_waits_for_room_is_told_per_member_and_shard(talking: Talking) -> None:
    assert talking.gossip.waits() == []
    for shard in (USER, SYSTEM):
        talking.b.conversation.fetches[shard] = Backoff()
    talking.c.conversation.pushes.failed(talking.cluster.now_ms, 1_000, 1_000, random.Random(1))
    assert talking.gossip.waits() == [
        Wait("b", SYSTEM, is_here=True),
        Wait("b", USER, is_here=True),
        Wait("c", USER, is_here=False),
    ]


@pytest.mark.parametrize(
    ("message", "waits"),
    [
        (Delta(USER, {}, ()), True),
        (WalkRows(USER, (), None), True),
        (WalkEntries(USER, (), None), True),
        (ValuePart(USER, at("row"), Dot(1, 1), 0, b"part"), True),
        (Covered(USER, Context()), False),
        (TooFar(USER), False),
    ],
)
def test_after_a_batch_that_found_no_room_nothing_is_fetched_for_some_time_from_a_member_that_sent_rows(
    talking: Talking, message: Message, waits: bool
) -> None:
    now_ms = talking.cluster.now_ms
    stranger = replace(talking.word(message), member="stranger")
    talking.gossip.note_too_big([stranger, talking.word(message)], now_ms)
    assert talking.b.conversation.fetches_wait(USER, now_ms) is waits
    assert not talking.b.conversation.fetches_wait(SYSTEM, now_ms)
    assert not talking.c.conversation.fetches_wait(USER, now_ms)


# When it fetches rows.


def test_rows_are_fetched_of_a_peer_that_may_be_dialled_and_is_listed_unless_it_was_too_much_just_now(
    talking: Talking,
) -> None:
    peer, pulls, walks = talking.b, talking.b.conversation.pulls, talking.b.conversation.walks

    def begins() -> bool:
        talking.gossip._start_pull(peer, USER)
        has_pulled = pulls.pop(USER, None) is not None
        talking.gossip._start_walk(peer, USER)
        has_walked = walks.pop(USER, None) is not None
        assert has_pulled is has_walked
        return has_pulled

    assert begins()
    endpoint, peer.endpoint = peer.endpoint, ""
    assert not begins()
    peer.endpoint = endpoint
    peer.conversation.is_outdated = True
    assert not begins()
    peer.conversation.is_outdated = False
    talking.gossip._did_not_fit(peer, USER, talking.cluster.now_ms)
    talking.gossip.tick(talking.cluster.now_ms)
    assert not begins()
    talking.cluster.now_ms += HOUR_MS
    talking.gossip.tick(talking.cluster.now_ms)
    assert begins()
    talking.c.conversation.walks[USER] = Walk(USER)
    assert not begins(), "the same rows come from c"
    talking.c.conversation.walks[USER] = Walk(USER, is_audit=True)
    assert begins()


def test_a_pull_begins_from_what_is_covered_and_a_walk_is_counted_and_told_of(talking: Talking) -> None:
    talking.shard.advance(9, 4)
    talking.gossip._start_pull(talking.b, USER)
    pulling = talking.b.conversation.pulls.pop(USER)
    talking.shard.advance(9, 5)
    assert pulling.base == Context({9: 4})
    for is_repair in (False, True):
        talking.gossip._start_walk(talking.b, USER, is_repair=is_repair)
        assert talking.b.conversation.walks.pop(USER).is_repair is is_repair
    assert talking.replica.tally.rounds["walk"] == 2
    started = [notice for notice in talking.gossip._outbox.take() if notice.event == "walk_started"]
    assert [notice.fields for notice in started] == [{"peer": "b", "shard": USER}] * 2


def test_large_rows_named_beside_transfers_are_fetched_from_one_peer_at_a_time(talking: Talking) -> None:
    for peer in (talking.b, talking.c):
        peer.conversation.asides[USER] = Fetching()
    assert talking.gossip._is_first_aside(talking.b, USER)
    assert not talking.gossip._is_first_aside(talking.c, USER)
    talking.b.is_let_go = True
    assert talking.gossip._is_first_aside(talking.c, USER), "one that is let go is not waited for"
    talking.b.is_let_go = False
    del talking.b.conversation.asides[USER]
    assert talking.gossip._is_first_aside(talking.c, USER)


def test_an_audit_begins_once_per_interval_over_all_that_may_be_fetched(cluster: Cluster) -> None:
    settled(cluster, "a", "b", gossip_interval_ms=1_000, audit_interval_ms=20_000)
    replica = cluster.members["a"].driver.replica
    [peer] = replica.peers
    walks = peer.conversation.walks
    gossip, last_ms = replica._gossip, cluster.now_ms + 20_000
    gossip._next_round_ms, gossip._next_audit_ms = cluster.now_ms, last_ms
    assert gossip.tick(last_ms - 1)
    assert walks == {}
    gossip._next_round_ms = last_ms
    peer.has_answered = False
    assert gossip.tick(last_ms)
    assert walks == {}, "it has never answered"
    gossip._next_round_ms = last_ms
    peer.has_answered = True
    assert gossip.tick(last_ms)
    assert [(name, walk.is_audit) for name, walk in walks.items()] == [(SYSTEM, True), (USER, True)]
    walks.clear()
    gossip._next_round_ms = last_ms + 19_999
    gossip.tick(last_ms + 19_999)
    assert walks == {}
    peer.conversation.is_outdated = True
    gossip._next_round_ms = last_ms + 20_000
    gossip.tick(last_ms + 20_000)
    assert list(walks) == [SYSTEM], "nothing of the users is taken from one that is outdated"


def test_rounds_are_about_an_interval_apart(cluster: Cluster) -> None:
    settled(cluster, "a", "b", gossip_interval_ms=1_000)
    replica = cluster.members["a"].driver.replica
    [peer] = replica.peers
    gossip, now_ms = replica._gossip, cluster.now_ms + HOUR_MS
    gaps = set()
    for _ in range(20):
        peer.conversation.is_sync_due = False
        assert gossip.tick(now_ms)
        assert peer.conversation.is_sync_due
        assert not gossip.tick(now_ms)
        gaps.add(gossip._next_round_ms - now_ms)
        assert not gossip.tick(gossip._next_round_ms - 1)
        assert gossip.witnesses._ticked_ms == gossip._next_round_ms - 1
        now_ms = gossip._next_round_ms
    assert 750 <= min(gaps) < 900 < 1_100 < max(gaps) <= 1_250


def test_a_round_is_due_for_a_member_that_has_no_one_to_begin_it_with(cluster: Cluster) -> None:
    gossip = cluster.start("a").driver.replica._gossip
    assert gossip.tick(cluster.now_ms)
    assert not gossip.tick(cluster.now_ms)
    assert gossip.tick(cluster.now_ms + HOUR_MS)


def test_each_round_learns_what_all_members_cover_and_which_names_are_certain(talking: Talking) -> None:
    gossip, peers = talking.gossip, (talking.b, talking.c)
    gossip.tick(talking.cluster.now_ms)
    talking.shard.advance(1, 5)
    for peer, through in zip(peers, (3, 4), strict=True):
        peer.conversation.contexts[USER] = Context({1: through})
        peer.conversation.compared[USER] = through - 1
    talking.shard.stable, now_ms = Context(), gossip._next_round_ms
    gossip.tick(now_ms - 1)
    assert (talking.shard.stable, talking.shard.certain) == ({}, 0)
    gossip.tick(now_ms)
    assert (talking.shard.stable, talking.shard.certain) == ({1: 3}, 2)


# What it makes of a word.


def test_a_word_of_a_member_tells_how_it_stands(talking: Talking) -> None:
    b, now_ms = talking.b, talking.cluster.now_ms
    b.is_ready = b.is_informed = False
    word = replace(talking.word(), now_ms=now_ms + 700, is_informed=True, room=Room.SCARCE)
    talking.cluster.answer_to("a", Received(word))
    assert (b.is_ready, b.is_informed, b.room, b.clock_ahead_ms) == (True, True, Room.SCARCE, 700)
    assert b.last_heard == talking.replica._exchanges.last
    late = replace(word, replica=77, incarnation=1, is_ready=False, is_informed=False, room=Room.AMPLE)
    talking.cluster.answer_to("a", Received(late))
    assert (b.is_ready, b.is_informed, b.room) == (True, True, Room.SCARCE), "the word is of earlier data"


def test_what_brings_rows_is_taken_in_before_rows_are_given(talking: Talking) -> None:
    row = StoredRow((Version(Dot(2, 1), START_MS << 16, b"value"),), Context({2: 1}))
    pull = Pull(USER, Context())
    answers = talking.told(pull, Delta(USER, {2: Range(0, 1)}, (RowCopy(at("row"), row),)))
    assert answers[0] == Covered(USER, Context({2: 1}))
    [delta] = [message for message in answers if isinstance(message, Delta)]
    assert [copy.address for copy in delta.rows] == [at("row")]


def test_a_stranger_is_compared_with_and_given_nothing_of_the_users(talking: Talking) -> None:
    digest = digest_of(talking)
    stranger = replace(talking.word(digest, Pull(USER, Context())), member="stranger", replica=99)
    answer = talking.cluster.answer_to("a", Received(stranger))
    assert isinstance(answer, Envelope)
    assert answer.messages == (digest, Unlisted(USER))


def digest_of(talking: Talking) -> Digest:
    """The member's own digest of the users' rows."""
    with talking.a.storage.view() as view:
        return talking.shard.digest(view)


def test_equal_digests_are_answered_with_a_digest_and_all_others_with_the_state_too(talking: Talking) -> None:
    now_ms = talking.cluster.now_ms = talking.cluster.now_ms + 5
    ours = digest_of(talking)
    assert talking.told(ours) == (ours,)
    assert talking.b.conversation.heard[USER] == LastDigest(ours, now_ms)
    for theirs in (
        replace(ours, context_hash=ours.context_hash ^ 1),
        replace(ours, fingerprint=ours.fingerprint ^ 1),
        replace(ours, is_lacking=True),
    ):
        assert talking.told(theirs) == (ours, State(USER, Context(), (), (), Context()))
    assert talking.told(replace(ours, proofs_hash=ours.proofs_hash ^ 1))[0] == ours
    assert len(talking.told(replace(ours, proofs_hash=ours.proofs_hash ^ 1))) == 2
    talking.shard.note_lack(at("row"), Lack(Context({2: 1}), Context(), "clock_skew"))
    assert len(talking.told(ours)) == 2, "it lacks a row itself"


def test_proofs_are_sent_to_a_member_that_has_others_alone(talking: Talking) -> None:
    proof = Proof(Context({9: 1}), frozenset([1, 2, 3]), frozenset([1, 2, 3]))
    talking.shard.advance(9, 1)
    talking.shard.note_collection(proof, 0, Context())
    ours = digest_of(talking)
    differing = replace(ours, context_hash=ours.context_hash ^ 1)
    told = {}
    for theirs in (differing, replace(differing, proofs_hash=ours.proofs_hash ^ 1)):
        [state] = [message for message in talking.told(theirs) if isinstance(message, State)]
        told[theirs.proofs_hash == ours.proofs_hash] = state.proofs
    assert told == {True: (), False: (proof,)}


def be_in_doubt(talking: Talking) -> None:
    """Put the member into the state after a start, before it has compared its names with another member."""
    talking.replica._store._telling.clear()
    for shard in talking.replica.shards.values():
        shard.tells_all = False


@pytest.mark.parametrize(
    ("message", "shows"),
    [
        (WalkBegin(USER), False),
        (WalkNodes(USER, (0,)), False),
        (WalkList(USER, (0,), b""), True),
        (WalkFetch(USER, (0,), b""), True),
        (WalkFetchRows(USER, (at("row"),)), True),
        (FetchValue(USER, at("row"), Dot(1, 1), 0, 0), True),
    ],
)
def test_others_hear_of_all_writes_once_they_are_shown_rows(talking: Talking, message: Message, shows: bool) -> None:
    be_in_doubt(talking)
    talking.told(message)
    assert talking.shard.tells_all is shows
    assert not talking.replica.shards[SYSTEM].tells_all


@pytest.mark.parametrize("is_equal", [True, False])
def test_a_member_in_doubt_about_its_names_is_sure_once_another_holds_the_same(
    talking: Talking, is_equal: bool
) -> None:
    theirs = digest_of(talking)
    be_in_doubt(talking)
    talking.told(theirs if is_equal else replace(theirs, context_hash=1))
    assert talking.shard.tells_all is is_equal
    assert not talking.replica.shards[SYSTEM].tells_all


def test_a_word_of_what_a_peer_covers_calls_for_a_round_if_it_is_news(talking: Talking) -> None:
    conversation = talking.b.conversation
    conversation.contexts[USER] = Context({1: 5})
    for context, is_news in (({1: 5}, False), ({1: 4}, False), ({1: 6}, True), ({2: 1}, True)):
        conversation.is_sync_due = False
        talking.b.exchange = 99
        talking.told(Covered(USER, Context(context), Context({3: 1})))
        assert conversation.is_sync_due is is_news
        assert conversation.contexts[USER] == {1: 5}, "anyone can say so in its name"
    assert conversation.lacking[USER] == {3: 1}


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_pull_names_what_the_puller_lacks_and_only_a_complete_context_is_served(
    talking: Talking, is_complete: bool
) -> None:
    talking.cluster.write("a", Operation(at("row"), b"value"))
    talking.cluster.settle()
    conversation, sent = talking.b.conversation, talking.replica.tally.rows_sent
    context = Context() if is_complete else Abridged({}, 12345)
    answers = talking.told(Pull(USER, context, lacking=Context({3: 1})))
    assert conversation.lacking[USER] == {3: 1}
    assert answers[0] == TooFar(USER) if not is_complete else isinstance(answers[0], Delta)
    assert (USER in conversation.offered) is is_complete
    assert (conversation.ahead.get(USER) == talking.shard.context) is is_complete
    assert talking.replica.tally.rows_sent - sent == is_complete


@pytest.mark.parametrize("context", [Context(), Abridged({}, 12345)])
def test_a_stranger_may_pull_the_system(talking: Talking, context: Context) -> None:
    stranger = replace(talking.word(Pull(SYSTEM, context, lacking=Context({3: 1}))), member="stranger", replica=99)
    answer = talking.cluster.answer_to("a", Received(stranger))
    assert isinstance(answer, Envelope)
    [message] = answer.messages
    assert isinstance(message, TooFar if isinstance(context, Abridged) else Delta)


def test_the_newest_rows_sent_with_the_first_part_of_a_pull_are_not_sent_again(talking: Talking) -> None:
    ahead = talking.b.conversation.ahead
    ahead[USER] = Context({9: 9})
    talking.told(Pull(USER, Context(), Cursor(1, 0)))
    assert ahead[USER] == {9: 9}
    talking.told(Pull(USER, Context()))
    assert ahead[USER] == talking.shard.context


def test_a_push_is_taken_in_covered_and_acknowledged(talking: Talking) -> None:
    row = StoredRow((Version(Dot(2, 1), START_MS << 16, b"value"),), Context({2: 1}))
    conversation = talking.b.conversation
    conversation.has_given, received = False, talking.replica.tally.rows_received
    pushed = Delta(USER, {2: Range(0, 1), 7: Range(3, 4)}, (RowCopy(at("row"), row),))
    assert talking.told(pushed) == (Covered(USER, Context({2: 1})),)
    assert talking.shard.context == {2: 1}, "what is not whole is not covered"
    assert conversation.has_given
    conversation.has_given = False
    assert talking.told(pushed) == (Covered(USER, Context({2: 1})),)
    assert not conversation.has_given, "it has given nothing new"
    assert talking.replica.tally.rows_received - received == 2


def test_a_push_that_names_a_large_row_claims_nothing(talking: Talking) -> None:
    lacked = (LackedRow(at("lacked"), Context({2: 1})),)
    talking.told(Delta(USER, {2: Range(0, 1)}, (), large=(large_row("row", 1),), lacking=lacked))
    assert talking.shard.context == {}
    assert talking.shard.lacking == {}
    talking.told(Delta(USER, {2: Range(0, 1)}, (), lacking=lacked))
    assert talking.shard.context == {2: 1}
    assert list(talking.shard.lacking) == [at("lacked")]


def test_a_state_that_nobody_asked_for_calls_for_a_round_and_says_nothing(talking: Talking) -> None:
    conversation = talking.b.conversation
    before = dict(conversation.contexts)
    conversation.is_sync_due = False
    talking.b.exchange = 99
    assert talking.told(State(USER, Context({7: 7}), (), (), Context())) == ()
    assert conversation.is_sync_due
    assert conversation.contexts == before


def test_a_sync_tells_the_settings_of_tables_if_it_is_of_the_system(talking: Talking) -> None:
    store = talking.replica._store
    talking.c.conversation.synced_at_ms.clear()
    for shard, is_informed, knows in ((USER, True, False), (SYSTEM, False, False), (SYSTEM, True, True)):
        store.knows_settings = False
        talking.b.is_informed = is_informed
        talking.gossip._synced(talking.b, shard, talking.cluster.now_ms)
        assert store.knows_settings is knows


def test_a_sync_is_noted_with_its_time_and_ends_the_pause_of_fetches(talking: Talking) -> None:
    conversation = talking.b.conversation
    conversation.synced_while_ready.clear()
    conversation.fetches[USER] = Backoff()
    talking.b.is_ready = False
    talking.gossip._synced(talking.b, USER, 5)
    assert conversation.synced_at_ms[USER] == 5
    assert (conversation.synced_while_ready, conversation.fetches) == (set(), {})
    talking.b.is_ready = True
    talking.gossip._synced(talking.b, USER, 6)
    assert conversation.synced_while_ready == {USER}


# Large rows that are named outside of transfers.


def large_row(key: str, sequence: int, value: bytes | None = b"value") -> LargeRow:
    row = StoredRow((Version(Dot(2, sequence), START_MS << 16, value),), Context({2: sequence}))
    return outlined(at(key), row)


def test_a_large_row_of_which_all_is_here_is_merged_at_once_and_nothing_is_asked_for(talking: Talking) -> None:
    talking.told(Delta(USER, {}, (), large=(large_row("gone", 1, None),)))
    assert talking.a.rows()[at("gone")].winner.is_tombstone
    assert talking.b.conversation.asides == {}
    talking.told(Delta(USER, {}, (), large=(large_row("row", 2),)))
    assert list(talking.b.conversation.asides) == [USER]
    [question] = [message for send in talking.a.outbox for message in send.content.messages]
    assert isinstance(question, FetchValue)
    assert question.address == at("row")


def test_a_bounded_number_of_large_rows_of_one_peer_waits_to_be_fetched(talking: Talking) -> None:
    large = [large_row(f"row{number:02}", 1 + number) for number in range(2 * ASIDE_ROWS_MAX)]
    talking.told(Delta(USER, {}, (), large=tuple(large[:1])))
    talking.told(Delta(USER, {}, (), large=tuple(large[1:])))
    [aside] = talking.b.conversation.asides.values()
    assert len(aside) == ASIDE_ROWS_MAX + 1
    talking.told(Delta(USER, {}, (), large=(large_row("more", 99),)))
    assert len(aside) == ASIDE_ROWS_MAX + 1
    talking.gossip._did_not_fit(talking.c, USER, talking.cluster.now_ms)
    word = talking.word(Delta(USER, {}, (), large=tuple(large[:1])), member="c")
    talking.cluster.answer_to("a", Received(word))
    assert talking.c.conversation.asides == {}, "what it sent just now did not fit"


def test_a_large_row_that_has_come_whole_is_no_longer_fetched(talking: Talking) -> None:
    talking.cluster.write("b", Operation(at("row"), b"value"))
    talking.cluster.members["b"].outbox.clear()
    row = talking.cluster.members["b"].rows()[at("row")]
    talking.told(Delta(USER, {}, (), large=(outlined(at("row"), row),)))
    assert list(talking.b.conversation.asides) == [USER]
    talking.cluster.deliver("a", "b")
    assert talking.a.rows()[at("row")] == row
    assert talking.b.conversation.asides == {}


# What it concludes from a comparison.


def compare(talking: Talking, state: State, *, is_found: bool = True, **digest: object) -> Conversation:
    """Let the state of b come with an answer; returns the conversation with it."""
    theirs = replace(digest_of(talking), **digest)  # type: ignore[arg-type]
    with talking.a.storage.view() as view:
        talking.gossip._reconcile(view, talking.b, theirs, state, talking.cluster.now_ms, is_found=is_found)
    return talking.b.conversation


def test_what_a_peer_lacks_is_pushed_and_what_is_missing_here_is_pulled(talking: Talking) -> None:
    talking.shard.advance(1, 5)
    conversation = compare(talking, State(USER, Context({1: 3})))
    assert conversation.fresh[USER] == {1}
    assert conversation.contexts[USER] == {1: 3}
    assert USER not in conversation.pulls
    assert conversation.synced_at_ms[USER] == talking.cluster.now_ms
    conversation.fresh.clear()
    conversation.synced_at_ms.clear()
    conversation = compare(talking, State(USER, Context({1: 5, 2: 1})))
    assert conversation.fresh == {}
    assert USER in conversation.pulls
    assert USER not in conversation.synced_at_ms, "it is not here yet"
    assert talking.gossip._written == set()


def test_a_peer_that_withholds_writes_is_pulled_from_though_nothing_is_missing(talking: Talking) -> None:
    assert USER in compare(talking, State(USER, Context()), is_withholding=True).pulls
    assert talking.replica.tally.rounds["walk"] == 0


def test_what_a_full_context_cannot_name_is_not_pulled(talking: Talking) -> None:
    talking.replica._store._origins_max = 0
    conversation = compare(talking, State(USER, Context({77: 1})))
    assert conversation.pulls == {}
    assert conversation.synced_at_ms[USER] == talking.cluster.now_ms


@pytest.mark.parametrize(("is_ahead", "anomalies"), [(False, 1), (True, 0)])
def test_equal_contexts_with_other_rows_are_repaired_and_an_anomaly_unless_rows_run_ahead(
    talking: Talking, is_ahead: bool, anomalies: int
) -> None:
    conversation = compare(talking, State(USER, Context()), fingerprint=7, is_ahead=is_ahead)
    assert conversation.walks[USER].is_repair
    assert talking.replica.tally.anomalies.total() == anomalies
    events = [notice.event for notice in talking.gossip._outbox.take()]
    assert events.count("contexts_equal_fingerprints_differ") == anomalies


def test_rows_that_are_known_to_be_lacking_explain_other_rows(talking: Talking) -> None:
    talking.b.conversation.lacking[USER] = Context({2: 1})
    conversation = compare(talking, State(USER, Context(), lacking=Context({2: 1})), fingerprint=7)
    assert (conversation.walks, talking.replica.tally.anomalies) == ({}, {})
    for number in range(RECALLS_PER_ROUND + 1):
        address = at(f"{number}")
        talking.shard.quarantined[address] = Quarantined("damaged", Context({2: 1}))
        talking.shard.lacking[address] = Lack(Context({2: 1}), Context(), "unreadable")
        conversation = compare(talking, State(USER, Context()), fingerprint=7)
        assert (USER in conversation.walks) is (number == RECALLS_PER_ROUND), "many unreadable rows come sooner so"
    assert conversation.walks[USER].is_repair
    assert talking.replica.tally.anomalies == {}


def test_rows_that_a_peer_lacks_as_well_are_no_difference(talking: Talking) -> None:
    talking.shard.advance(1, 5)
    conversation = compare(talking, State(USER, Context({1: 4})), fingerprint=7)
    assert conversation.walks == {}, "it is told what it lacks first"


def test_a_context_that_cannot_be_completed_is_remembered_and_makes_the_system_be_walked(talking: Talking) -> None:
    unknown = Abridged({3: 1}, 12345)
    conversation = compare(talking, State(USER, unknown, lacking=Context({4: 1})))
    assert (conversation.contexts[USER], conversation.lacking[USER]) == ({3: 1}, {4: 1})
    assert (conversation.walks, conversation.pulls) == ({}, {})
    theirs = replace(digest_of(talking), shard=SYSTEM)
    with talking.a.storage.view() as view:
        talking.gossip._reconcile(view, talking.b, theirs, State(SYSTEM, unknown), 0, is_found=True)
    assert list(conversation.walks) == [SYSTEM]


def test_a_proof_is_remembered_with_whether_its_host_was_found_and_adopted_where_it_may_be(talking: Talking) -> None:
    proof = Proof(Context({9: 1}), frozenset([1, 2, 3]), frozenset([1, 2, 3]))
    talking.shard.advance(9, 1)
    for is_found in (True, False):
        conversation = compare(talking, State(USER, Context({9: 1}), (proof,), (5,)), is_found=is_found)
        assert conversation.told_proofs == (proof,)
        assert conversation.told_where_found is is_found
        assert conversation.collected.lineage == (5,)
        assert conversation.collected.proofs == (proof,)
        assert talking.shard.collected.proofs == (proof,)


OUTDATING = Proof(Context({9: 5}), frozenset([1, 2, 3]), frozenset([1, 2, 3]))


@pytest.mark.parametrize("is_found", [True, False])
def test_a_proof_against_this_member_that_is_not_believed_keeps_anything_from_being_taken(
    talking: Talking, monkeypatch: pytest.MonkeyPatch, is_found: bool
) -> None:
    monkeypatch.setattr(talking.gossip.witnesses, "convicts", lambda *_, **__: False)
    talking.gossip._membership._aliases["memory://second"] = "b"
    conversation = compare(talking, State(USER, Context({9: 5, 2: 1}), (OUTDATING,)), is_found=is_found)
    assert conversation.contexts[USER] == {}
    assert (conversation.pulls, talking.gossip.is_outdated) == ({}, False)
    assert talking.replica.tally.proofs_refused == 1
    assert ("memory://second" in talking.gossip._membership._aliases) is is_found, "it is heard there once more"
    talking.b.record = None
    compare(talking, State(USER, Context({9: 5}), (OUTDATING,)))
    assert talking.replica.tally.proofs_refused == 1, "it is not listed, so nothing of it is taken anyway"


def test_a_proof_against_this_member_that_is_believed_outdates_it_once(
    talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talking.gossip.witnesses, "convicts", lambda *_, **__: True)
    conversation = talking.b.conversation
    for _ in range(2):
        compare(talking, State(USER, Context({9: 5}), (OUTDATING,), lacking=Context({9: 1})))
    assert talking.gossip.is_outdated
    assert (conversation.contexts[USER], conversation.lacking[USER]) == ({9: 5}, {9: 1}), "the fence says who has what"
    assert conversation.pulls == {}
    told = [notice for notice in talking.gossip._outbox.take() if notice.event == "data_are_outdated"]
    assert [(notice.fields, notice.is_warning) for notice in told] == [({"peer": "b", "shard": USER}, True)]


def test_a_peer_whose_data_are_outdated_is_told_so_and_nothing_more_is_exchanged_with_it(talking: Talking) -> None:
    talking.shard.advance(9, 5)
    talking.shard.note_collection(OUTDATING, 0, Context())
    conversation = talking.b.conversation
    conversation.pulls[USER], conversation.pulls[SYSTEM] = Pulling(Context()), Pulling(Context())
    conversation.is_sync_due = False
    for _ in range(2):
        compare(talking, State(USER, Context({2: 1})))
    assert (conversation.is_outdated, conversation.is_sync_due) == (True, True)
    assert list(conversation.pulls) == [SYSTEM]
    assert conversation.contexts[USER] == {}
    told = [notice.event for notice in talking.gossip._outbox.take()]
    assert told == ["member_data_are_outdated"]
    compare(talking, State(USER, Context({9: 5})))
    assert not talking.b.conversation.is_outdated, "it has caught up"
    with talking.a.storage.view() as view:
        talking.b.conversation.is_outdated = True
        talking.gossip._reconcile(
            view, talking.b, replace(digest_of(talking), shard=SYSTEM), State(SYSTEM, Context({2: 1})), 0, is_found=True
        )
    assert conversation.contexts[SYSTEM] == {2: 1}, "the system's rows are exchanged all the same"


# The end of transfers.


def test_a_transfer_is_a_sync_if_all_of_it_found_room(talking: Talking) -> None:
    conversation, now_ms = talking.b.conversation, talking.cluster.now_ms
    conversation.notes.clear()
    conversation.synced_at_ms.clear()
    conversation.has_given = conversation.is_sync_due = False
    talking.gossip._transferred(talking.b, USER, Intake(refused=[RefusedRow((2,), NO_ROOM)]), now_ms)
    assert (conversation.notes, conversation.synced_at_ms, conversation.has_given) == ({USER}, {}, True)
    assert conversation.fetches_wait(USER, now_ms)
    assert not conversation.is_sync_due
    talking.gossip._transferred(talking.b, USER, Intake(), now_ms)
    assert (conversation.synced_at_ms, conversation.fetches) == ({USER: now_ms}, {})
    assert not conversation.is_sync_due
    conversation.has_given = False
    talking.gossip._transferred(talking.b, SYSTEM, Intake(), now_ms)
    assert (conversation.has_given, conversation.is_sync_due) == (False, True), "rows of the users may have waited"


def test_data_descend_from_a_source_that_gave_all_that_it_had_collected(talking: Talking) -> None:
    conversation, shard = talking.b.conversation, talking.shard
    proof = Proof(Context({9: 5}), frozenset([2]), frozenset([2]))
    conversation.collected = Collected((proof,), 0, (7,))

    def lineage_after(refused: list[RefusedRow], *, has_given: bool, through: int) -> tuple[int, ...]:
        shard.collected, conversation.has_given = Collected(), has_given
        shard.context[9] = through
        if refused:
            talking.gossip._transferred(talking.b, USER, Intake(refused=refused), 0)
        else:
            talking.gossip._caught_up(talking.b, USER, 0)
        assert bool(shard.collected.proofs) is (through == 5 and not refused and talking.b.replica is not None)
        return shard.collected.lineage

    assert lineage_after([], has_given=True, through=5) == (7, 2)
    assert lineage_after([], has_given=False, through=5) == ()
    assert lineage_after([], has_given=True, through=4) == ()
    assert lineage_after([RefusedRow((2,), "inconsistent")], has_given=True, through=5) == (), "a row is missing"
    talking.b.replica = None
    assert lineage_after([], has_given=True, through=5) == ()


def test_a_pull_covers_its_ranges_but_those_in_which_the_peer_may_lack_a_row_it_has_not_named(
    talking: Talking,
) -> None:
    conversation = talking.b.conversation
    pulling = Pulling(Context())
    pulling.claim = {2: Range(0, 5), 7: Range(3, 4), 8: Range(0, 2)}
    talking.shard.advance(7, 3)
    conversation.lacking[USER] = Context({2: 1, 7: 3})
    talking.gossip._conclude_pull(talking.b, USER, pulling, 0)
    assert talking.shard.context == {7: 3}, "it is not the pull under way"
    conversation.pulls[USER], deltas = pulling, talking.replica.tally.rounds["delta"]
    claim, pulling.claim = pulling.claim, None
    talking.gossip._conclude_pull(talking.b, USER, pulling, 0)
    assert USER in conversation.pulls, "its last part has not come"
    pulling.claim = claim
    talking.gossip._conclude_pull(talking.b, USER, pulling, 0)
    assert talking.shard.context == {7: 4, 8: 2}
    assert (conversation.pulls, talking.replica.tally.rounds["delta"] - deltas) == ({}, 1)
    conversation.pulls[USER] = pulling
    pulling.lacking = (LackedRow(at("named"), Context({2: 1})),)
    talking.gossip._conclude_pull(talking.b, USER, pulling, 0)
    assert talking.shard.context == {2: 5, 7: 4, 8: 2}
    assert list(talking.shard.lacking) == [at("named")]


# When exchanges fail.


def test_the_first_failure_is_logged_and_the_first_answer_after_it(talking: Talking) -> None:
    gossip, peer, now_ms = talking.gossip, talking.b, talking.cluster.now_ms
    peer.exchange = 5
    peer.conversation.asked = InFlight({USER: Context()})
    for was_answered in (True, False):
        gossip.failed(peer, "lost", now_ms, was_answered=was_answered)
        assert (peer.is_idle(now_ms + HOUR_MS), peer.conversation.is_unreadable) == (True, was_answered)
        assert peer.conversation.asked == InFlight()
    assert talking.replica.tally.rounds["failed"] == 1, "the second was no comparison"
    [notice] = gossip._outbox.take()
    assert (notice.event, notice.is_warning) == ("member_not_reached", True)
    assert (notice.fields["peer"], notice.fields["status"], notice.fields["reason"]) == ("b", ALIVE, "lost")
    peer.conversation.is_unreadable = True
    gossip._succeeded(peer)
    assert (peer.failures, peer.is_told_unreached, peer.conversation.is_unreadable) == (0, False, False)
    gossip._succeeded(peer)
    [notice] = gossip._outbox.take()
    assert (notice.event, notice.is_warning) == ("member_reached", True)
    peer.has_answered = False
    gossip._succeeded(peer)
    [notice] = gossip._outbox.take()
    assert (notice.event, notice.is_warning) == ("member_reached", False), "it is reached for the first time"
    peer.is_let_go = True
    gossip.failed(peer, "lost", now_ms)
    assert gossip._outbox.take() == []


def test_an_endpoint_that_fails_is_named_as_such(talking: Talking) -> None:
    contact = Peer("memory://nobody")
    talking.gossip.failed(contact, "lost", talking.cluster.now_ms)
    [notice] = talking.gossip._outbox.take()
    assert (notice.fields["peer"], notice.fields["status"]) == ("memory://nobody", "unknown")
    assert "discovery" in str(notice.fields["remedy"])


def test_after_a_batch_that_failed_transfers_begin_again_and_nothing_of_it_is_pushed(talking: Talking) -> None:
    talking.b.conversation.pulls[USER] = Pulling(Context())
    talking.c.conversation.is_sync_due = False
    talking.gossip._written.add(USER)
    talking.gossip.changed[USER] = []
    talking.gossip.forget_batch()
    assert (talking.b.conversation.pulls, talking.c.conversation.is_sync_due) == ({}, True)
    assert (talking.gossip._written, talking.gossip.changed) == (set(), {})
    talking.b.exchange, talking.b.conversation.asked = 3, InFlight({USER: Context()})
    talking.gossip.forget(talking.b)
    assert (talking.b.is_idle(10**15), talking.b.conversation.asked) == (True, InFlight())


@pytest.mark.parametrize(
    ("room", "has_values", "failures"),
    [
        (Room.AMPLE, True, 0),
        (Room.SCARCE, True, 0),
        (Room.SPENT, True, 4),
        (Room.SPENT, False, 3),
        (Room.AMPLE, False, 3),
    ],
)
def test_pushes_pause_longer_while_values_find_no_room_and_only_their_success_ends_that(
    talking: Talking, room: Room, has_values: bool, failures: int
) -> None:
    pushes = talking.b.conversation.pushes
    pushes.failures = 3
    talking.gossip._judge_pushed(talking.b, InFlight(has_values=has_values), room, talking.cluster.now_ms)
    assert (pushes.failures, talking.b.room) == (failures, room)


def test_names_that_were_compared_are_certain_up_to_the_beginning_of_the_comparison(talking: Talking) -> None:
    compared = talking.b.conversation.compared
    for asked, through in (({1: 4}, 4), ({1: 3}, 4), ({2: 9}, 4), ({1: 6}, 6)):
        compared.setdefault(USER, 0)
        talking.gossip._note_compared(talking.b, USER, Context(asked))
        assert compared[USER] == through
    compared.clear()
    talking.gossip._note_compared(talking.b, USER, Context({2: 9}))
    assert compared == {USER: 0}
