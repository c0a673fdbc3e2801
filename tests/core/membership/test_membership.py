"""Who is known, where, and whom to talk to."""

from __future__ import annotations

import random

import pytest

from gossipkv.core.membership.membership import (
    CROSSING_ROUNDS,
    DEAD_ROUNDS,
    FANOUT_MARGIN,
    PUSH_TO_ALL_MAX,
    UNFOUND_MAX,
    Membership,
)
from gossipkv.core.membership.peer import Peer
from gossipkv.core.membership.swim import Swim
from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.member import ALIVE, DEAD, LEFT, MemberRecord
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.tally import Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.transfer.pull import Pulling
from gossipkv.core.transfer.walk import Walk

OPTIONS = ReplicaOptions(
    member="self", endpoints={"gossip": "http://self:1"}, gossip_interval_ms=1_000, retry_ms_max=30_000, fanout=0
)


def membership(options: ReplicaOptions = OPTIONS) -> Membership:
    rng = random.Random(1)
    outbox = Outbox()
    return Membership(options, rng, Swim(options, rng, Tally(), 0, outbox=outbox), outbox)


DOT = Dot(1, 1)


def record(endpoint: str, *, replica: int = 7, incarnation: int = 1, has_left: bool = False) -> MemberRecord:
    return MemberRecord(replica, incarnation, {"gossip": endpoint}, has_left)


def member(known: Membership, name: str) -> Peer:
    peer = known.member(name)
    assert peer is not None
    return peer


def names(peers: list[Peer]) -> list[str]:
    return [peer.member or peer.endpoint for peer in peers]


def with_members(count: int, options: ReplicaOptions = OPTIONS) -> Membership:
    known = membership(options)
    for number in range(count):
        known.learn_record(f"m{number:02}", record(f"http://m{number:02}:1", replica=number + 1), DOT)
    return known


def test_discovered_endpoints_are_peers_without_a_name_and_the_own_one_is_none() -> None:
    known = membership()
    known.discovered(["http://b:1", "http://self:1", "http://a:1", "http://b:1"])
    assert names(list(known.peers())) == ["http://a:1", "http://b:1"]
    assert known.members() == []


def test_an_address_that_has_not_answered_is_given_up_once_several_reports_in_a_row_lack_it() -> None:
    known = membership()
    for _ in range(2):
        known.discovered(["http://a:1", "http://b:1"])
        for _ in range(UNFOUND_MAX - 1):
            known.discovered(["http://b:1"])
        assert names(list(known.peers())) == ["http://a:1", "http://b:1"]
    known.discovered(["http://b:1"])
    assert names(list(known.peers())) == ["http://b:1"]


def test_an_address_that_has_not_answered_is_given_up_once_a_list_of_all_members_lacks_it() -> None:
    known = membership()
    known.discovered(["http://a:1"])
    known.discovered(["http://b:1"], frozenset(["b"]))
    assert names(list(known.peers())) == ["http://b:1"]


def test_a_contact_that_answers_becomes_the_member_that_it_says_it_is() -> None:
    known = membership()
    known.discovered(["http://a:1"])
    [contact] = known.peers()
    assert known.identified(contact, "a", 1, 0) is known.member("a")
    assert member(known, "a").endpoint == "http://a:1"
    known.discovered(["http://a:1"])
    assert len(list(known.peers())) == 1


def test_a_contact_that_answers_as_this_member_is_an_own_endpoint_from_then_on() -> None:
    known = membership()
    known.discovered(["http://alias:1"])
    [contact] = known.peers()
    known.identified(contact, "self", 1, 0)
    known.discovered(["http://alias:1"])
    assert list(known.peers()) == []


def test_a_contact_that_turns_out_to_be_a_known_member_is_no_second_peer() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1"), DOT)
    known.discovered(["alias-of-a:1"])
    contact = next(peer for peer in known.peers() if peer.member is None)
    assert known.identified(contact, "a", 1, 0) is known.member("a")
    assert names(list(known.peers())) == ["a"]
    assert member(known, "a").endpoint == "http://a:1"


def test_a_later_life_that_answers_elsewhere_is_reached_there_though_the_old_address_has_not_failed_yet() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1", incarnation=1), DOT)
    known.discovered(["http://a:2"])
    contact = next(peer for peer in known.peers() if peer.member is None)
    assert known.identified(contact, "a", 2, 0) is known.member("a")
    assert member(known, "a").endpoint == "http://a:2"


def test_a_second_address_of_a_member_is_tried_again_when_the_one_in_use_fails_and_not_before() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1", incarnation=1), DOT)
    known.discovered(["http://a:2"])
    contact = next(peer for peer in known.peers() if peer.member is None)
    known.identified(contact, "a", 1, 0)
    for _ in range(3):
        known.discovered(["http://a:2"])
        known.sync_partner(0)
        assert [peer.endpoint for peer in known.peers()] == ["http://a:1"]
        assert not known.has_unknown_contacts
    known.failed(member(known, "a"), 0)
    known.sync_partner(0)
    assert sorted(peer.endpoint for peer in known.peers()) == ["http://a:1", "http://a:2"]


def test_whoever_is_at_the_address_of_a_member_that_is_forgotten_is_asked_who_it_is() -> None:
    known = membership()
    known.discovered(["http://a:1"])
    known.learn_record("a", record("http://a:1", replica=7), DOT)
    assert not known.has_unknown_contacts
    known.forget(7)
    known.sync_partner(0)
    assert [(peer.member, peer.endpoint) for peer in known.peers()] == [(None, "http://a:1")]
    assert not known.has_unknown_contacts, "a list written by hand may still name it"
    known.discovered([], frozenset(["self"]))
    known.discovered(["http://a:1"], frozenset(["self", "b"]))
    assert known.has_unknown_contacts, "it is another one's by now"


def test_where_somebody_else_is_by_now_the_address_in_the_record_is_tried_next() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1", incarnation=1), DOT)
    known.discovered(["http://a:2"])
    contact = next(peer for peer in known.peers() if peer.member is None)
    moved = known.identified(contact, "a", 2, 0)
    assert moved.endpoint == "http://a:2"
    assert known.identified(moved, "b", 1, 0).endpoint == "http://a:2"
    assert member(known, "a").endpoint == "http://a:1"


def test_a_member_that_is_gone_is_let_go_again_when_what_took_it_back_was_a_late_word() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1"), DOT)
    known.discovered(["http://a:2"], frozenset({"self"}))
    gone = member(known, "a")
    known.heard_from(gone, 0)
    assert not gone.is_let_go
    known.failed(gone, 0)
    assert gone.is_let_go


def test_an_endpoint_that_another_member_answers_at_says_nothing_of_the_one_that_was_there() -> None:
    known = with_members(1)
    gone = member(known, "m00")
    answering = known.identified(gone, "new", 1, 0)
    assert (answering.member, answering.endpoint) == ("new", "http://m00:1")
    assert (gone.failures, gone.replica) == (1, 1)
    assert known.identified(gone, "m00", 1, 0) is gone


def test_a_record_names_the_contact_at_its_endpoint() -> None:
    known = membership()
    known.discovered(["http://a:1"])
    [contact] = known.peers()
    assert known.learn_record("a", record("http://a:1"), DOT) is contact
    assert list(known.peers()) == [contact]
    assert known.learn_record("a", record("http://a:1"), DOT) is None, "it is no news any more"


def test_the_own_record_and_one_without_a_gossip_endpoint_make_no_peer() -> None:
    known = membership()
    assert known.learn_record("self", record("http://elsewhere:1"), DOT) is None
    assert known.learn_record("a", MemberRecord(1, 1, {"http": "http://a:2"}), DOT) is None
    assert list(known.peers()) == []


def test_a_member_that_moved_is_tried_at_its_new_endpoint_at_once() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1"), DOT)
    known.failed(member(known, "a"), 0)
    member(known, "a").standing.status = DEAD
    known.learn_record("a", record("http://a:2", incarnation=2), DOT)
    peer = member(known, "a")
    assert (peer.endpoint, peer.status, peer.is_idle(0), peer.conversation.is_sync_due) == (
        "http://a:2",
        ALIVE,
        True,
        True,
    )


def test_a_member_that_moves_to_the_endpoint_of_a_contact_takes_its_place() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1"), DOT)
    known.discovered(["http://a:2"])
    known.learn_record("a", record("http://a:2", incarnation=2), DOT)
    assert names(list(known.peers())) == ["a"]


def test_a_member_that_returns_as_another_replica_starts_from_nothing_known() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1", replica=7, incarnation=1), DOT)
    peer = member(known, "a")
    peer.conversation.learn_context("usr", Context({1: 5}), Context())
    known.learn_record("a", record("http://a:1", replica=8, incarnation=2), DOT)
    assert (peer.replica, peer.conversation.contexts) == (8, {})
    peer.become_replica(7, 1)
    assert peer.replica == 8, "an older incarnation is no news"
    assert known.names() == {8: "a"}


def test_pauses_double_up_to_a_bound_and_end_with_the_first_success() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1"), DOT)
    peer = member(known, "a")
    pauses = []
    for _ in range(40):
        known.failed(peer, 1_000_000)
        pauses.append(peer.retry_at_ms - 1_000_000)
    for failures, pause_ms in enumerate(pauses):
        expected_ms = min(1_000 * 2**failures, 30_000)
        assert 0.75 * expected_ms <= pause_ms <= 1.25 * expected_ms
    assert not peer.is_idle(1_000_000)
    known.succeeded(peer)
    assert peer.is_idle(1_000_000)


def test_a_dead_member_is_never_forgotten() -> None:
    known = with_members(1)
    peer = member(known, "m00")
    for _ in range(20):
        known.failed(peer, 0)
    assert peer.status == ALIVE, "exchanges that fail are no proof"
    peer.standing.status = DEAD
    assert known.sync_partner(10**9) is peer
    known.learn_record("m00", record("http://m00:1", incarnation=2, has_left=True), DOT)
    assert peer.status == LEFT


def test_a_sync_partner_is_any_that_may_be_tried_now() -> None:
    known = with_members(4)
    known.learn_record("m00", record("http://m00:1", incarnation=2, has_left=True), DOT)
    known.failed(member(known, "m01"), 0)
    member(known, "m02").exchange = 1
    known.discovered(["http://new:1"])
    chosen = {peer.endpoint for peer in (known.sync_partner(0) for _ in range(100)) if peer is not None}
    assert chosen == {"http://m03:1", "http://new:1"}
    assert membership().sync_partner(0) is None


@pytest.mark.parametrize(
    ("count", "fanout", "targets", "reaches_all"),
    [
        (0, 0, 0, True),
        (PUSH_TO_ALL_MAX, 0, PUSH_TO_ALL_MAX, True),
        (PUSH_TO_ALL_MAX + 1, 0, 3 + FANOUT_MARGIN, False),
        (40, 0, 4 + FANOUT_MARGIN, False),
        (5, 3, 3, False),
        (3, 5, 3, True),
    ],
)
def test_a_small_cluster_is_pushed_to_whole_and_a_large_one_in_part(
    count: int, fanout: int, targets: int, reaches_all: bool
) -> None:
    known = with_members(count, ReplicaOptions(member="self", fanout=fanout))
    all_answered(known)
    pushed = known.push_targets()
    assert len({peer.member for peer in pushed}) == len(pushed) == targets
    assert known.pushes_to_all() == reaches_all


def test_those_that_are_dead_or_have_left_are_not_pushed_to() -> None:
    known = with_members(3)
    all_answered(known)
    member(known, "m00").standing.status = DEAD
    known.learn_record("m01", record("http://m01:1", incarnation=2, has_left=True), DOT)
    assert names(known.push_targets()) == ["m02"]


def test_one_that_has_never_answered_is_not_pushed_to_and_gets_one_round_in_three() -> None:
    known = with_members(4)
    known.succeeded(member(known, "m01"))
    assert names(known.push_targets()) == ["m01"]
    partners = [peer.member for peer in (known.sync_partner(0) for _ in range(300)) if peer is not None]
    assert 200 <= partners.count("m01") < 260


def all_answered(known: Membership) -> None:
    for peer in known.members():
        peer.has_answered = True


def in_zones(near: int, far: int, fanout: int = 0) -> Membership:
    known = membership(ReplicaOptions(member="self", zone="here", fanout=fanout))
    for number in range(near + far):
        zone = "here" if number < near else "there"
        told = MemberRecord(number + 1, 1, {"gossip": f"http://m{number:02}:1"}, zone=zone)
        known.learn_record(f"m{number:02}", told, DOT)
        known.succeeded(member(known, f"m{number:02}"))
    return known


def test_rounds_stay_in_the_zone_but_for_one_in_every_few_which_never_fails_to_come() -> None:
    known = in_zones(near=2, far=6)
    zones = [peer.zone for peer in (known.sync_partner(0) for _ in range(10 * CROSSING_ROUNDS)) if peer is not None]
    assert zones == (["here"] * (CROSSING_ROUNDS - 1) + ["there"]) * 10


def test_where_no_one_is_in_the_zone_or_no_zone_is_known_all_are_tried() -> None:
    assert {peer.zone for peer in (in_zones(0, 3).sync_partner(0) for _ in range(5)) if peer is not None} == {"there"}
    known = with_members(3)
    assert {peer.member for peer in (known.sync_partner(0) for _ in range(50)) if peer is not None} == {
        "m00",
        "m01",
        "m02",
    }


def test_one_round_in_every_few_tries_a_dead_member() -> None:
    known = with_members(3)
    member(known, "m01").standing.status = DEAD
    tried = [peer.status for peer in (known.sync_partner(0) for _ in range(10 * DEAD_ROUNDS)) if peer is not None]
    assert tried == ([ALIVE] * (DEAD_ROUNDS - 1) + [DEAD]) * 10


def test_where_all_are_dead_each_round_tries_one() -> None:
    known = with_members(2)
    for peer in known.members():
        peer.standing.status = DEAD
    assert {peer.member for peer in (known.sync_partner(0) for _ in range(30)) if peer is not None} == {"m00", "m01"}


@pytest.mark.parametrize(("near", "far", "fanout"), [(6, 6, 4), (1, 6, 4), (20, 2, 9)])
def test_a_push_to_some_goes_to_the_own_zone_first_and_to_others_too(near: int, far: int, fanout: int) -> None:
    known = in_zones(near, far, fanout)
    for _ in range(30):
        zones = [peer.zone for peer in known.push_targets()]
        assert len(zones) == fanout
        assert 1 <= zones.count("there") <= max(fanout - near, -(-fanout // 3))


def test_a_fanout_of_one_crosses_now_and_then() -> None:
    known = in_zones(4, 4, 1)
    crossed = sum(known.push_targets()[0].zone == "there" for _ in range(300))
    assert 50 < crossed < 150


def test_a_transfer_is_given_up_after_three_failures() -> None:
    known = with_members(1)
    peer = member(known, "m00")
    peer.conversation.offered.add("usr")
    for failures in (1, 2, 3):
        peer.conversation.walks["usr"] = Walk("usr")
        known.failed(peer, 0)
        assert ("usr" in peer.conversation.walks) == (failures < 3)
    assert peer.conversation.offered == set()


ALL = frozenset({"self", "m00", "m01", "m02"})
FOUND = [f"http://m{number:02}:1" for number in range(3)]


def events(known: Membership) -> list[tuple[str, object]]:
    return [(notice.event, notice.fields["peer"]) for notice in known.outbox.take()]


def test_a_member_that_does_not_exist_any_more_is_let_go_at_once() -> None:
    known = with_members(3)
    gone = member(known, "m01")
    gone.conversation.walks["usr"] = Walk("usr")
    all_answered(known)
    known.discovered([FOUND[0], FOUND[2]], ALL - {"m01"})
    assert [(peer.member, peer.status) for peer in known.members()] == [("m00", ALIVE), ("m01", LEFT), ("m02", ALIVE)]
    assert names(known.push_targets()) == ["m00", "m02"]
    assert {peer.member for peer in (known.sync_partner(0) for _ in range(50)) if peer is not None} == {"m00", "m02"}
    assert not gone.is_idle(10**9)
    assert not gone.conversation.walks
    assert gone.record is not None
    assert not gone.record.has_left
    known.discovered(FOUND, ALL - {"m01"})
    assert events(known) == [("member_let_go", "m01")]


def test_a_member_that_is_silent_but_exists_is_never_let_go() -> None:
    known = with_members(1)
    known.failed(member(known, "m00"), 0)
    member(known, "m00").standing.status = DEAD
    known.discovered(FOUND[:1], ALL)
    assert member(known, "m00").status == DEAD
    assert known.sync_partner(10**9) is member(known, "m00")


def test_no_one_is_let_go_or_taken_back_where_it_is_not_known_who_exists() -> None:
    known = with_members(2)
    known.discovered(FOUND, ALL - {"m00"})
    known.discovered(["http://elsewhere:1"], None)
    assert [peer.status for peer in known.members()] == [LEFT, ALIVE]


def test_a_contact_is_not_let_go_before_it_is_known_whose_it_is() -> None:
    known = membership()
    known.discovered(["http://new:1"], frozenset({"self"}))
    assert [peer.is_let_go for peer in known.peers()] == [False]


def test_a_member_that_was_let_go_is_taken_back_when_it_is_listed_again() -> None:
    known = with_members(1)
    peer = member(known, "m00")
    known.failed(peer, 0)
    known.discovered(FOUND, ALL - {"m00"})
    peer.conversation.is_sync_due = False
    known.discovered(FOUND, ALL)
    assert (peer.status, peer.conversation.is_sync_due, peer.is_idle(0)) == (ALIVE, True, True)
    assert events(known) == [("member_let_go", "m00"), ("member_taken_back", "m00")]


def test_a_member_that_was_let_go_is_taken_back_when_it_speaks() -> None:
    known = with_members(1)
    peer = member(known, "m00")
    known.failed(peer, 0)
    known.discovered(FOUND, ALL - {"m00"})
    known.heard_from(peer, 5)
    assert (peer.status, peer.failures, peer.conversation.is_sync_due, peer.is_idle(5)) == (ALIVE, 1, True, True)


def test_a_member_that_was_let_go_is_taken_back_when_it_answers() -> None:
    known = with_members(1)
    peer = member(known, "m00")
    known.discovered(FOUND, ALL - {"m00"})
    known.succeeded(peer)
    assert (peer.status, peer.conversation.is_sync_due) == (ALIVE, True)


def test_a_member_that_was_let_go_is_taken_back_when_its_record_tells_of_a_later_start() -> None:
    known = with_members(1)
    peer = member(known, "m00")
    known.discovered(FOUND, ALL - {"m00"})
    known.learn_record("m00", record("http://m00:1", incarnation=1), DOT)
    assert peer.status == LEFT
    known.learn_record("m00", record("http://m00:2", incarnation=2), DOT)
    assert (peer.status, peer.is_idle(0)) == (ALIVE, True)


def test_a_member_that_is_first_heard_of_after_it_has_gone_is_not_tried() -> None:
    known = membership()
    known.discovered(FOUND, frozenset({"self", "m00"}))
    for name in ("m00", "m01"):
        known.learn_record(name, record(f"http://{name}:1"), DOT)
    assert [peer.status for peer in known.members()] == [ALIVE, LEFT]
    known.discovered([], None)
    known.learn_record("m02", record("http://m02:1"), DOT)
    assert member(known, "m02").status == ALIVE


def test_a_member_that_has_left_of_its_own_will_is_not_taken_back_by_a_list() -> None:
    known = with_members(1)
    known.learn_record("m00", record("http://m00:1", incarnation=2, has_left=True), DOT)
    known.discovered(FOUND, ALL)
    assert member(known, "m00").status == LEFT


def test_only_the_member_that_runs_as_a_replica_is_forgotten_with_it() -> None:
    known = with_members(3)
    gone = member(known, "m00")
    gone.conversation.pulls[USER] = Pulling(Context())
    known.forget(1)
    assert names(known.members()) == ["m01", "m02"]
    assert gone.conversation.pulls == {}
    assert [notice.fields for notice in known.outbox.take()] == [{"peer": "m00", "replica": f"{1:016x}"}]
    assert known.is_forgotten(1)
    assert not known.is_forgotten(2)
    assert known.learn_record("m00", record("http://m00:1", replica=1), DOT) is None, "whatever is said of it"
    assert known.learn_record("m00", record("http://m00:1", replica=9), DOT) is not None, "it is another one"
    assert known.remember(1)
    assert not known.remember(2)
    assert not known.is_forgotten(1)


def test_replicas_that_speak_and_that_records_name_are_told_apart() -> None:
    known = with_members(2)
    member(known, "m00").record = None
    member(known, "m00").replica = 55
    member(known, "m01").become_replica(66, 2)
    assert known.recorded() == {2}
    assert known.unlisted() == {55, 66}
    assert known.names() == {55: "m00", 66: "m01"}
    assert {2, 66} <= known.replicas()


def test_a_later_life_that_speaks_ends_only_that_a_member_has_left() -> None:
    known = with_members(2)
    for name, status in (("m00", DEAD), ("m01", LEFT)):
        peer = member(known, name)
        peer.standing.status = status
        peer.incarnation = peer.standing.life.start
        known.heard_from(peer, 0)
        assert peer.status == status, "it speaks as the life that it was"
        peer.incarnation += 1
        known.heard_from(peer, 0)
    assert member(known, "m00").status == DEAD, "to be heard is not to be reached"
    assert member(known, "m01").status == ALIVE


def test_a_member_that_answers_as_an_earlier_life_than_the_one_that_left_is_alive() -> None:
    known = membership()
    known.learn_record("a", record("http://a:1", incarnation=5, has_left=True), DOT)
    peer = member(known, "a")
    assert peer.status == LEFT
    peer.incarnation = 3
    known.replaced(peer)
    assert peer.status == ALIVE, "its clock was set back, and its disk lost"
    contact = Peer("http://b:1")
    known.replaced(contact)
    assert contact.member is None


def test_a_member_at_an_address_that_another_one_had_is_not_told_unreached_for_that() -> None:
    known = membership()
    known.learn_record("a", record("http://host:1"), DOT)
    former = member(known, "a")
    former.is_told_unreached = True
    assert not known.identified(former, "b", 1, 0).is_told_unreached
    contact = Peer("http://host:2")
    contact.is_told_unreached = True
    assert known.identified(contact, "c", 1, 0).is_told_unreached, "its end is told when it answers"
