"""What discovery has found, which hosts may be dialled, and whose records are refused."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gossipkv.core.membership import membership as room
from gossipkv.core.membership.membership import AHEAD, TOO_MANY, UNFOUND_MAX, Membership
from gossipkv.core.membership.peer import Peer
from gossipkv.core.membership.swim import Swim
from gossipkv.core.model.address import SYSTEM, USER
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.member import ALIVE, DEAD, LEFT, SUSPECT, MemberRecord
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.tally import Tally
from gossipkv.core.options import DISCOVERED, RECORDED, ReplicaOptions
from gossipkv.core.transfer.pull import Pulling
from tests.core.membership.test_membership import DOT, OPTIONS, events, member, membership, names, record, with_members


def contact_at(known: Membership, endpoint: str) -> Peer:
    return next(peer for peer in known.peers() if peer.member is None and peer.endpoint == endpoint)


# Who is known.


def test_a_replica_id_that_is_not_known_is_in_no_list() -> None:
    known = with_members(2)
    member(known, "m00").replica = None
    assert known.names() == {2: "m01"}
    assert known.unlisted() == set()
    assert known.replicas() == {1, 2}
    member(known, "m01").record = None
    assert (known.unlisted(), known.recorded(), known.replicas()) == ({2}, {1}, {1, 2})
    member(known, "m01").standing.status = DEAD
    assert known.replicas() == {1}, "one that is dead and has no record counts no longer"
    assert names(known.listed()) == ["m00"]
    member(known, "m00").standing.status = DEAD
    assert names(known.present()) == ["m00"], "its record says that it is there"


def test_a_member_knows_of_others_if_one_is_listed_or_an_address_is_found_that_is_not_its_own() -> None:
    known = membership()
    assert not known.knows_of_others()
    known.discovered(["http://self:1"])
    assert not known.knows_of_others()
    known.discovered(["http://self:1", "http://a:1"])
    assert known.knows_of_others()
    known = with_members(2)
    assert known.knows_of_others()
    known.discovered(["http://self:1"], frozenset({"self", "m01"}))
    assert known.knows_of_others(), "one of them has not left"
    known.discovered(["http://self:1"], frozenset({"self"}))
    assert not known.knows_of_others()


def test_addresses_without_an_answer_are_told_once_they_have_been_tried() -> None:
    known = membership()
    known.discovered(["http://b:1", "http://a:1", "http://c:1"])
    assert known.unreached() == ()
    for endpoint in ("http://b:1", "http://a:1"):
        contact_at(known, endpoint).is_told_unreached = True
    assert known.unreached() == ("http://a:1", "http://b:1")


# Who is found.


def test_before_discovery_has_reported_everyone_may_be_where_it_says() -> None:
    known = with_members(1)
    assert (known.has_looked, known.is_found(member(known, "m00"))) == (False, True)
    known.discovered([])
    assert (known.has_looked, known.is_found(member(known, "m00"))) == (True, False)


@pytest.mark.parametrize(
    ("found", "existing", "endpoint", "recorded", "is_found"),
    [
        (["http://x:1"], None, "http://m00:1", "http://m00:1", False),
        (["http://m00:1"], None, "http://m00:1", "http://m00:1", True),
        (["http://m00:1"], None, "http://m00:1", None, True),
        (["http://m00:1"], None, "http://x:1", "http://m00:1", True),
        (["http://x:1"], None, "http://x:1", "http://m00:1", True),
        ([], {"m00"}, "http://m00:1", "http://m00:1", True),
        ([], {"self"}, "http://m00:1", "http://m00:1", False),
        ([], {"m00"}, "http://m00:1", None, True),
    ],
)
def test_a_member_is_found_by_its_name_by_its_record_or_where_it_is_reached(
    found: list[str], existing: set[str] | None, endpoint: str, recorded: str | None, is_found: bool
) -> None:
    known = with_members(1)
    peer = member(known, "m00")
    known.discovered(found, None if existing is None else frozenset(existing))
    peer.endpoint, peer.record = endpoint, None if recorded is None else record(recorded)
    assert known.is_found(peer) is is_found


# Addresses of one member.


def test_whoever_is_listed_and_was_not_let_go_keeps_its_failures() -> None:
    known = with_members(2)
    for peer in known.members():
        peer.failures = 2
    member(known, "m01").is_let_go = True
    known.discovered([], frozenset({"m00", "m01"}))
    assert [(peer.failures, peer.is_let_go) for peer in known.members()] == [(2, False), (0, False)]


def test_a_second_address_that_is_no_longer_found_is_dialled_again_when_it_is() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1"), DOT)
    known.discovered(["http://a:2"])
    known.identified(contact_at(known, "http://a:2"), "a", 1, 0)
    known.discovered(["http://a:1"])
    known.discovered(["http://a:2"])
    assert names(list(known.peers())) == ["a", "http://a:2"], "another member may be there by now"


def test_the_second_address_of_a_member_that_is_gone_is_asked_who_is_there() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1", replica=7), DOT)
    known.discovered(["http://a:2"])
    known.identified(contact_at(known, "http://a:2"), "a", 1, 0)
    known.forget(7)
    known.sync_partner(0)
    assert names(list(known.peers())) == ["http://a:2"]


def test_the_address_of_a_member_that_was_let_go_is_asked_who_is_there() -> None:
    known = with_members(1)
    known.discovered(["http://m00:1"], frozenset({"self", "new"}))
    known.sync_partner(0)
    assert names(list(known.peers())) == ["m00", "http://m00:1"]


def test_all_addresses_of_a_member_are_dialled_again_to_hear_what_it_says_there() -> None:
    known = with_members(2)
    known.discovered(["http://a:2", "http://b:2"])
    known.identified(contact_at(known, "http://a:2"), "m00", 1, 0)
    known.identified(contact_at(known, "http://b:2"), "m01", 1, 0)
    known.look_again(Peer("http://nobody:1"))
    known.look_again(member(known, "m00"))
    known.sync_partner(0)
    assert names(list(known.peers())) == ["m00", "m01", "http://a:2"]


def test_an_address_that_is_given_up_is_told_of_and_ends_that_it_is_not_reached() -> None:
    known = membership()
    known.discovered(["http://a:1", "http://b:1"])
    contact_at(known, "http://a:1").is_told_unreached = True
    for _ in range(UNFOUND_MAX - 1):
        known.discovered([])
    assert len(list(known.peers())) == 2
    known.discovered([])
    assert list(known.peers()) == []
    [notice] = known.outbox.take()
    assert (notice.event, notice.fields["peer"], notice.is_warning) == ("member_let_go", "http://a:1", True)


def test_a_report_with_the_address_begins_the_count_again() -> None:
    known = membership()
    for _ in range(2):
        known.discovered(["http://a:1"])
        for _ in range(UNFOUND_MAX - 1):
            known.discovered([])
    assert names(list(known.peers())) == ["http://a:1"]


# Hosts.


def test_a_host_in_a_record_is_dialled_while_discovery_knows_seeds_alone() -> None:
    known = with_members(1)
    assert known.may_dial("http://anywhere:1")
    assert not known.may_dial("")
    known.discovered(["http://seed:1"])
    assert known.may_dial("http://anywhere:1")
    known.discovered(["http://seed:1"], frozenset({"self", "m00"}))
    assert not known.may_dial("http://anywhere:1")
    assert known.may_dial("http://seed:9"), "the host counts, and not the port"
    known.discovered(["http://other:1"])
    assert not known.may_dial("http://anywhere:1"), "it has known all members once"
    assert known.may_dial("http://seed:1"), "it was found at some time"


@pytest.mark.parametrize(("rule", "may_dial"), [(RECORDED, True), (DISCOVERED, False)])
def test_a_setting_fixes_which_hosts_are_dialled(rule: str, may_dial: bool) -> None:
    known = membership(replace(OPTIONS, dialled_hosts=rule))
    assert known.may_dial("http://anywhere:1") is may_dial
    known.discovered(["http://seed:1"], frozenset({"self"}) if rule == RECORDED else None)
    assert known.may_dial("http://anywhere:1") is may_dial


def test_the_hosts_that_were_found_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "HOSTS_MAX", 2)
    known = membership(replace(OPTIONS, dialled_hosts=DISCOVERED))
    known.discovered(["http://a:1", "http://b:1"])
    known.discovered(["http://a:1"])
    known.discovered(["http://c:1"])
    assert [known.may_dial(f"http://{host}:1") for host in "abc"] == [True, False, True]
    assert known.is_vouched(Peer("http://a:5"))
    assert not known.is_vouched(Peer("http://b:1"))
    assert not known.is_vouched(Peer(""))


def test_a_member_at_a_host_that_was_not_found_is_listed_told_of_once_and_dialled_once_it_is_found() -> None:
    known = membership(replace(OPTIONS, dialled_hosts=DISCOVERED))
    known.learn_record("a", record("http://a:1"), DOT)
    peer = member(known, "a")
    assert (peer.endpoint, peer.is_unvouched) == ("", True)
    known.learn_record("a", record("http://a:1", incarnation=2), DOT)
    known.discovered(["http://b:1"])
    assert events(known) == [("member_not_dialled", "a")]
    peer.failures, peer.retry_at_ms, peer.conversation.is_sync_due = 3, 10**9, False
    known.discovered(["http://a:7"])
    assert (peer.endpoint, peer.is_unvouched, peer.failures, peer.retry_at_ms) == ("http://a:1", False, 0, 0)
    assert peer.conversation.is_sync_due


def test_whoever_has_not_answered_at_a_host_that_turns_out_not_to_be_found_is_dialled_no_longer() -> None:
    known = with_members(3)
    _, answering, elsewhere = known.members()
    answering.has_answered = True
    elsewhere.endpoint = "http://elsewhere:1"
    for peer in known.members():
        peer.conversation.pulls[USER] = Pulling(Context())
    known.discovered(["http://self:1"], frozenset({"self", "m00", "m01", "m02"}))
    assert [peer.endpoint for peer in known.members()] == ["", "http://m01:1", "http://elsewhere:1"]
    assert [USER in peer.conversation.pulls for peer in known.members()] == [False, True, True]
    assert [peer.is_unvouched for peer in known.members()] == [True, False, False]
    assert events(known) == [("member_not_dialled", "m00")]


def test_a_member_whose_new_host_may_not_be_dialled_is_reached_where_it_was() -> None:
    known = membership(replace(OPTIONS, dialled_hosts=DISCOVERED))
    known.discovered(["http://a:1"])
    known.learn_record("a", record("http://a:1"), DOT)
    known.learn_record("a", record("http://elsewhere:1", incarnation=2), DOT)
    peer = member(known, "a")
    assert (peer.endpoint, peer.is_unvouched) == ("http://a:1", True)
    known.learn_record("a", record("http://a:2", incarnation=3), DOT)
    assert (peer.endpoint, peer.is_unvouched) == ("http://a:2", False)


def test_another_process_of_the_name_leads_back_to_the_address_in_the_record() -> None:
    known = with_members(1)
    peer = member(known, "m00")
    peer.endpoint = "http://elsewhere:1"
    known.dial_as_recorded(peer)
    assert peer.endpoint == "http://m00:1"
    known.discovered(["http://self:1"], frozenset({"self", "m00"}))
    peer.endpoint = "http://elsewhere:1"
    known.dial_as_recorded(peer)
    assert peer.endpoint == "http://elsewhere:1", "the recorded host was not found"
    peer.record = None
    known.dial_as_recorded(peer)


# Refused records.


def full(members_max: int = 2) -> Membership:
    """As many members as there may be."""
    return with_members(members_max, replace(OPTIONS, members_max=members_max, clock_skew_ms_max=100))


def test_a_record_is_refused_if_it_is_ahead_or_of_one_member_too_many() -> None:
    known = full()
    assert known.refusal_of("m00", record("http://m00:1", incarnation=100)) is None
    assert (known.refused, known.lists_all) == ({}, True)
    assert known.refusal_of("m00", record("http://m00:1", incarnation=101)) == AHEAD
    assert (known.refused, known.lists_all) == ({"m00": AHEAD}, False)
    assert known.refusal_of("m00", record("http://m00:1", incarnation=100)) is None
    assert (known.refused, known.lists_all) == ({}, True)
    assert known.refusal_of("new", record("http://new:1")) == TOO_MANY
    assert known.refused == {"new": TOO_MANY}
    known.forget(77)
    assert known.refusal_of("new", record("http://new:1", replica=77)) == TOO_MANY
    assert known.lists_all, "one that is forgotten is not missing"
    with_room = with_members(1, replace(OPTIONS, members_max=2))
    assert with_room.refusal_of("new", record("http://new:1")) is None


def test_more_refused_records_than_are_remembered_leave_it_open_for_good_who_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "REFUSED_MAX", 2)
    known = full()
    for name in ("a", "b"):
        known.refusal_of(name, record("http://a:1", incarnation=101))
    known.refusal_of("b", record("http://a:1", incarnation=101))
    known.refused.clear()
    assert known.lists_all
    for name in ("a", "b", "c"):
        known.refusal_of(name, record("http://a:1", incarnation=101))
    known.refused.clear()
    assert not known.lists_all


def test_whoever_answers_under_ever_new_names_is_known_up_to_twice_as_many_as_there_may_be() -> None:
    known = full()
    for number in range(4):
        contact = Peer(f"http://c{number}:1")
        peer = known.identified(contact, f"c{number}", 1, 0)
        assert (known.member(f"c{number}") is peer) is (number < 2)
        assert (peer.member, peer.endpoint) == (f"c{number}", f"http://c{number}:1")


# What all hold.


def test_a_write_is_held_by_all_if_each_that_is_present_says_so_and_no_record_is_refused() -> None:
    known = full()
    for peer in known.members():
        peer.conversation.learn_context(USER, Context({1: 5}), Context())
    assert known.all_hold(USER, Dot(1, 5))
    assert not known.all_hold(USER, Dot(1, 6))
    assert not known.all_hold(SYSTEM, Dot(1, 5))
    known.refused["x"] = AHEAD
    assert not known.all_hold(USER, Dot(1, 5))
    known.refused.clear()
    last = member(known, "m01")
    last.conversation.contexts.clear()
    assert not known.all_hold(USER, Dot(1, 5))
    last.record, last.standing.status = None, SUSPECT
    assert not known.all_hold(USER, Dot(1, 5)), "it is alive"
    last.standing.status = DEAD
    assert known.all_hold(USER, Dot(1, 5))


def test_a_peer_is_listed_under_the_replica_that_it_runs_as_once_its_record_is_covered() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1", replica=7), Dot(9, 3))
    peer = member(known, "a")
    assert known.lists(peer, Context({9: 3}))
    assert not known.lists(peer, Context({9: 2}))
    assert not known.lists(None, Context({9: 3}))
    peer.replica = 8
    assert not known.lists(peer, Context({9: 3}))
    peer.replica, peer.record_dot = 7, None
    assert not known.lists(peer, Context({9: 3}))
    peer.record, peer.record_dot = None, Dot(9, 3)
    assert not known.lists(peer, Context({9: 3}))


# Who is forgotten.


def test_a_row_about_a_member_that_was_heard_lately_is_believed_once_it_has_been_silent() -> None:
    options = replace(OPTIONS, forget_silence_ms=5_000)
    rng, outbox = random.Random(1), Outbox()
    swim = Swim(options, rng, Tally(), 0, outbox=outbox)
    known = Membership(options, rng, swim, outbox)
    for name, replica in (("a", 7), ("b", 8)):
        known.learn_record(name, record(f"http://{name}:1", replica=replica), DOT)
    swim.heard("a")
    assert not known.hear_forgotten(7)
    assert (known.is_forgotten(7), known.is_called_forgotten(7), known.is_called_forgotten(8)) == (False, True, False)
    for _ in range(5):
        known.judge_again()
        assert not known.is_forgotten(7)
        swim.advance(swim.now_ms + 1_000)
    member(known, "a").has_answered = True
    known.judge_again()
    assert not known.is_forgotten(7), "it answers"
    member(known, "a").failures = 1
    known.judge_again()
    assert known.is_forgotten(7)
    assert known.is_called_forgotten(7)
    assert names(known.members()) == ["b"]
    assert known._not_believed == set(), "it is not judged again"
    assert known.hear_forgotten(99), "no member runs as it"


def test_what_was_denied_stays_known_and_what_is_stored_replaces_the_rest() -> None:
    known = with_members(2)
    known.forget(1)
    known._not_believed.add(2)
    assert known.remember(1)
    assert not known.is_forgotten(1)
    assert known.is_called_forgotten(1)
    assert not known.remember(2)
    assert known._not_believed == set()
    known.forget(5)
    known._not_believed.add(6)
    known.load_forgotten([3], [4])
    assert [known.is_forgotten(replica) for replica in range(1, 7)] == [False, False, True, False, False, False]
    assert [known.is_called_forgotten(replica) for replica in range(1, 7)] == [False, False, True, True, False, False]


def test_whoever_is_forgotten_was_not_reached_if_the_log_has_said_so() -> None:
    for is_told in (False, True):
        known = with_members(1)
        member(known, "m00").is_told_unreached = is_told
        known.forget(1)
        [notice] = known.outbox.take()
        assert (notice.event, notice.is_warning) == ("member_forgotten", is_told)


# Where a member is reached.


def test_a_member_that_fails_is_reached_where_another_address_answers() -> None:
    known = with_members(1)
    peer = member(known, "m00")
    known.discovered(["http://m00:2"])
    peer.failures = 1
    assert known.identified(contact_at(known, "http://m00:2"), "m00", 1, 0) is peer
    assert peer.endpoint == "http://m00:2"
    peer.failures, peer.endpoint = 0, ""
    known.identified(Peer("http://m00:3"), "m00", 1, 0)
    assert peer.endpoint == "http://m00:3"


def test_what_the_log_says_of_a_contact_holds_of_the_member_that_it_turns_out_to_be() -> None:
    for is_told in (False, True):
        known = membership()
        known.discovered(["http://a:1", "http://b:1"])
        for endpoint in ("http://a:1", "http://b:1"):
            contact_at(known, endpoint).is_told_unreached = is_told
        assert known.identified(contact_at(known, "http://a:1"), "a", 1, 0).is_told_unreached is is_told
        known.learn_record("b", record("http://b:1"), DOT)
        assert member(known, "b").is_told_unreached is is_told


def test_a_member_that_was_forgotten_and_comes_back_as_another_replica_is_probed_again() -> None:
    rng, outbox = random.Random(1), Outbox()
    swim = Swim(OPTIONS, rng, Tally(), 0, outbox=outbox)
    known = Membership(OPTIONS, rng, swim, outbox)
    known.learn_record("a", record("http://a:1", replica=7), DOT)
    known.forget(7)
    assert not swim.standings["a"].is_probed
    known.learn_record("a", record("http://a:1", replica=8), DOT)
    assert swim.standings["a"].is_probed


def test_a_word_allows_another_try_at_once_and_ends_no_failure() -> None:
    known = with_members(1)
    peer = member(known, "m00")
    known.failed(peer, 1_000)
    known.heard_from(peer, 500)
    assert (peer.retry_at_ms, peer.failures) == (500, 1)
    known.heard_from(peer, 900)
    assert peer.retry_at_ms == 500


def test_an_answer_ends_failures_and_pauses() -> None:
    known = with_members(1)
    peer = member(known, "m00")
    assert not known.has_been_answered
    known.failed(peer, 1_000)
    known.succeeded(peer)
    assert (peer.has_answered, peer.failures, peer.retry_at_ms) == (True, 0, 0)
    assert known.has_been_answered


def test_a_listing_that_says_it_has_left_lets_no_round_go_there() -> None:
    known = membership()
    known.learn_record("a", MemberRecord(7, 1, {"gossip": "http://a:1"}, has_left=True), DOT)
    assert member(known, "a").status == LEFT
    assert known.sync_partner(0) is None
    known.learn_record("a", record("http://a:1", incarnation=2), DOT)
    assert member(known, "a").status == ALIVE
    assert known.sync_partner(0) is member(known, "a")


@pytest.mark.parametrize(
    ("endpoint", "incarnation", "begins"), [("http://a:1", 1, False), ("http://a:2", 1, True), ("http://a:1", 2, True)]
)
def test_a_member_that_moves_or_starts_again_is_tried_at_once_and_compared_with(
    endpoint: str, incarnation: int, begins: bool
) -> None:
    known = membership()
    known.learn_record("a", record("http://a:1"), Dot(1, 1))
    known.discovered(["http://second:1"])
    known.identified(contact_at(known, "http://second:1"), "a", 1, 0)
    peer = member(known, "a")
    peer.failures, peer.retry_at_ms, peer.conversation.is_sync_due = 3, 10**9, False
    known.learn_record("a", record(endpoint, incarnation=incarnation), Dot(1, 2))
    after = (peer.failures, peer.retry_at_ms, peer.conversation.is_sync_due)
    assert after == ((0, 0, True) if begins else (3, 10**9, False))
    assert (peer.endpoint, peer.record_dot) == (endpoint, Dot(1, 2))
    known.sync_partner(0)
    assert (names(list(known.peers())) == ["a", "http://second:1"]) is begins, "what answers elsewhere may be another"


def test_a_record_that_is_no_news_lets_no_one_go_that_spoke() -> None:
    known = with_members(1)
    peer = member(known, "m00")
    known.discovered(["http://m00:2"], frozenset({"self"}))
    known.heard_from(peer, 0)
    known.learn_record("m00", record("http://m00:1"), DOT)
    assert not peer.is_let_go


@pytest.mark.parametrize("has_answered", [True, False])
def test_a_member_that_has_answered_is_not_let_go_because_its_record_comes_late(has_answered: bool) -> None:
    known = membership()
    known.discovered(["http://a:1"], frozenset({"self"}))
    peer = known.identified(contact_at(known, "http://a:1"), "a", 1, 0)
    if has_answered:
        known.succeeded(peer)
    known.learn_record("a", record("http://a:1"), DOT)
    assert peer.is_let_go is not has_answered


def test_a_member_that_answers_where_it_is_dialled_stays_as_it_is() -> None:
    known = with_members(1)
    peer = member(known, "m00")
    assert known.identified(peer, "m00", 9, 0) is peer
    assert (peer.endpoint, peer.failures, names(list(known.peers()))) == ("http://m00:1", 0, ["m00"])


def test_one_that_is_dialled_twice_and_answers_as_this_member_is_no_peer() -> None:
    known = membership()
    known.discovered(["http://alias:1"])
    contact = contact_at(known, "http://alias:1")
    assert known.identified(contact, "self", 1, 0) is contact
    assert known.identified(contact, "self", 1, 0) is contact
    assert list(known.peers()) == []


@pytest.mark.parametrize(("failures", "is_kept"), [(2, True), (3, False)])
def test_a_failure_leads_back_to_the_record_and_drops_what_pushes_wait_for(failures: int, is_kept: bool) -> None:
    known = with_members(1)
    peer = member(known, "m00")
    peer.endpoint, peer.failures, peer.conversation.is_sync_due = "http://elsewhere:1", failures - 1, False
    peer.conversation.pulls[USER] = Pulling(Context())
    peer.conversation.offered.add(USER)
    known.failed(peer, 5_000)
    assert (peer.endpoint, peer.conversation.is_sync_due, peer.conversation.offered) == ("http://m00:1", True, set())
    assert (USER in peer.conversation.pulls) is is_kept
    assert not peer.is_let_go


@pytest.mark.parametrize(
    ("count", "fanout", "is_all"), [(8, 0, True), (9, 0, False), (4, 4, True), (5, 4, False), (9, 9, True)]
)
def test_a_member_that_pushes_to_all_leaves_nothing_to_forward(count: int, fanout: int, is_all: bool) -> None:
    assert with_members(count, ReplicaOptions(member="self", fanout=fanout)).pushes_to_all() is is_all


def test_whoever_is_let_go_is_probed_no_longer_until_it_is_taken_back() -> None:
    rng, outbox = random.Random(1), Outbox()
    swim = Swim(OPTIONS, rng, Tally(), 0, outbox=outbox)
    known = Membership(OPTIONS, rng, swim, outbox)
    known.learn_record("a", record("http://a:1"), DOT)
    peer = member(known, "a")
    peer.is_told_unreached = True
    known.discovered([], frozenset({"self"}))
    known.discovered([], frozenset({"self"}))
    assert (swim.standings["a"].is_probed, peer.is_told_unreached) == (False, False)
    known.discovered([], frozenset({"self", "a"}))
    assert (swim.standings["a"].is_probed, peer.is_told_unreached) == (True, False)
    assert [(notice.event, notice.is_warning) for notice in outbox.take()] == [
        ("member_not_dialled", False),
        ("member_let_go", True),
        ("member_taken_back", False),
    ]
