"""What is known of a peer, and when that is dropped."""

from __future__ import annotations

import random

import pytest

from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.backoff import Backoff
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.room import Room
from gossipkv.core.protocol.messages import Cursor, Digest, LargeRow
from gossipkv.core.transfer import conversation as room
from gossipkv.core.transfer.conversation import Conversation, LastDigest
from gossipkv.core.transfer.fetch import Fetching
from gossipkv.core.transfer.pull import Pulling
from gossipkv.core.transfer.walk import Walk


def known_peer() -> Peer:
    """A peer of which all has been learned that can be."""
    peer = Peer("memory://b")
    peer.become_replica(7, 100)
    peer.conversation.learn_context(USER, Context({1: 5}), Context({1: 4}))
    peer.conversation.compared[USER] = 5
    peer.conversation.covered, peer.conversation.vouched = Context({1: 5}), Context({1: 5})
    peer.conversation.has_given = peer.conversation.is_outdated = True
    peer.conversation.offered.add(USER)
    peer.conversation.ahead[SYSTEM] = Context({2: 1})
    peer.conversation.pulls[USER] = Pulling(Context())
    peer.conversation.is_sync_due = False
    peer.conversation.walks[SYSTEM], peer.conversation.asides[USER] = Walk(SYSTEM), Fetching()
    peer.conversation.heard[USER] = LastDigest(Digest(USER, 1, 1, 1, 1, False, 1), 1)
    peer.conversation.fetches[USER] = Backoff()
    peer.room = Room.NONE
    peer.conversation.pushes.failed(0, 100, 1_000, random.Random(1))
    return peer


def test_a_peer_with_other_data_is_known_to_cover_and_to_have_been_told_nothing() -> None:
    peer = known_peer()
    peer.become_replica(8, 101)
    assert (peer.replica, peer.incarnation) == (8, 101)
    assert (peer.conversation.contexts, peer.conversation.compared, peer.conversation.lacking) == ({}, {}, {})
    assert (peer.conversation.covered, peer.conversation.vouched) == (Context(), Context())
    assert (peer.conversation.has_given, peer.conversation.is_outdated) == (False, False)
    assert not peer.conversation.offered
    assert (peer.conversation.heard, peer.conversation.fetches) == ({}, {})
    assert not peer.conversation.ahead
    assert (peer.conversation.pulls, peer.conversation.walks, peer.conversation.asides) == ({}, {}, {})
    assert peer.conversation.is_sync_due
    assert (peer.room, peer.conversation.pushes) == (Room.AMPLE, Backoff())


def test_a_later_incarnation_with_the_same_data_is_known_as_before() -> None:
    peer = known_peer()
    peer.become_replica(7, 101)
    assert (peer.incarnation, peer.conversation.contexts) == (101, {USER: Context({1: 5})})
    assert USER in peer.conversation.pulls


def test_a_word_of_an_earlier_incarnation_changes_nothing() -> None:
    peer = known_peer()
    peer.become_replica(8, 99)
    assert (peer.replica, peer.incarnation, peer.conversation.contexts) == (7, 100, {USER: Context({1: 5})})


def test_a_peer_holds_what_it_covers_and_does_not_lack() -> None:
    peer = known_peer()
    assert [peer.conversation.holds(USER, Dot(1, sequence)) for sequence in (4, 5, 6)] == [False, True, False]
    assert not peer.conversation.holds(SYSTEM, Dot(1, 1))


def test_a_report_of_less_than_was_known_adds_what_is_lacking_and_takes_nothing_back() -> None:
    peer = known_peer()
    peer.conversation.learn_context(USER, Context({2: 3}), Context({2: 1}))
    assert peer.conversation.contexts[USER] == Context({1: 5, 2: 3})
    assert peer.conversation.lacking[USER] == Context({1: 4, 2: 1})
    peer.conversation.learn_context(USER, Context({1: 5, 2: 3}), Context())
    assert peer.conversation.lacking[USER] == Context()
    peer.conversation.learn_lacking(USER, Context({2: 2}))
    assert peer.conversation.lacking[USER] == Context({2: 2})
    peer.conversation.replace_context(USER, Context({1: 1}), Context({1: 1}))
    assert (peer.conversation.contexts[USER], peer.conversation.lacking[USER]) == (Context({1: 1}), Context({1: 1}))


def test_values_go_to_a_peer_with_room_that_has_not_just_refused_some() -> None:
    peer = Peer("memory://b")
    assert peer.takes_values(0)
    peer.learn_room(Room.SPENT)
    assert not peer.takes_values(0)
    peer.learn_room(Room.NONE)
    assert peer.room is Room.SPENT
    peer.learn_room(Room.AMPLE)
    peer.conversation.pushes.failed(1_000, 100, 1_000, random.Random(1))
    assert (peer.takes_values(1_000), peer.takes_values(2_000)) == (False, True)
    peer.clock_set_back(1_000)
    assert peer.takes_values(1_000)


def test_an_exchange_begins_with_a_peer_that_has_an_endpoint_none_under_way_and_no_pause() -> None:
    peer = Peer("memory://b")
    assert peer.is_idle(0)
    peer.retry_at_ms = 10
    assert (peer.is_idle(9), peer.is_idle(10)) == (False, True)
    peer.exchange = 1
    assert not peer.is_idle(10)
    peer.exchange, peer.is_let_go = None, True
    assert not peer.is_idle(10)
    peer.is_let_go, peer.endpoint = False, ""
    assert not peer.is_idle(10)


def test_the_transfers_of_one_shard_are_given_up_alone() -> None:
    conversation = Conversation()
    for shard in (USER, SYSTEM):
        conversation.pulls[shard], conversation.walks[shard] = Pulling(Context()), Walk(shard)
        conversation.asides[shard] = Fetching()
    conversation.abandon(USER)
    conversation.abandon(USER)
    assert [list(under_way) for under_way in (conversation.pulls, conversation.walks, conversation.asides)] == [
        [SYSTEM]
    ] * 3


def test_the_users_rows_wait_for_a_transfer_of_the_system_that_one_message_does_not_end() -> None:
    conversation = Conversation()
    assert not conversation.holds_back(USER)
    pulling = conversation.pulls[SYSTEM] = Pulling(Context())
    assert not conversation.holds_back(USER), "it may fit into one message"
    pulling.cursor = Cursor(1, 1)
    assert conversation.holds_back(USER)
    assert not conversation.holds_back(SYSTEM)
    pulling.cursor = None
    pulling.fetching.want([LargeRow(b"t\0k", (), Context())])
    assert conversation.holds_back(USER)
    del conversation.pulls[SYSTEM]
    conversation.walks[SYSTEM] = Walk(SYSTEM)
    assert conversation.holds_back(USER)
    conversation.walks[SYSTEM] = Walk(SYSTEM, is_audit=True)
    assert not conversation.holds_back(USER)


def test_a_peer_has_caught_up_with_what_it_was_offered_once_it_says_that_it_covers_more() -> None:
    conversation = Conversation()
    conversation.offered.add(USER)
    conversation.learn_context(USER, Context({1: 5}), Context())
    assert USER not in conversation.offered
    conversation.offered.add(USER)
    conversation.learn_context(USER, Context({1: 4}), Context())
    assert USER in conversation.offered, "it is no news"
    conversation.learn_context(USER, Context({1: 6}), Context())
    assert USER not in conversation.offered
    conversation.offered.add(USER)
    conversation.replace_context(USER, Context(), Context())
    assert USER not in conversation.offered


def test_of_a_peer_that_names_ever_more_replicas_less_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ENTRIES_MAX", 2)
    conversation = Conversation()
    for context, known in (({1: 1, 2: 1}, {1: 1, 2: 1}), ({3: 1}, {1: 1, 2: 1, 3: 1}), ({4: 1}, {4: 1})):
        conversation.learn_context(USER, Context(context), Context())
        assert conversation.contexts[USER] == known


def test_no_word_of_what_is_lacking_leaves_what_is_known_as_it_is() -> None:
    conversation = Conversation()
    conversation.learn_lacking(USER, Context())
    assert conversation.lacking == {}
