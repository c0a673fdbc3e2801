"""The failure detector by itself: what it asks, what it believes, and what it says of itself."""

from __future__ import annotations

import random
from typing import Unpack

import pytest

from gossipkv.core.membership.probe import ProbeRequest
from gossipkv.core.membership.suspicion import LONGEST, Suspicion
from gossipkv.core.membership.swim import HEALTH_MAX, KNOCK_PERIODS, Swim
from gossipkv.core.model.member import ALIVE, DEAD, INCARNATION_END, LEFT, SUSPECT
from gossipkv.core.model.tally import Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Ack, Ping, PingRequest
from gossipkv.core.protocol.rumours import RUMOURS_PER_MESSAGE_MAX, Life, Rumour, Rumours, rank
from tests.core.replica_settings import ReplicaSettings

PERIOD_MS = 1_000


def detector(*others: str, **settings: Unpack[ReplicaSettings]) -> Swim:
    options = ReplicaOptions(member="self", **settings)
    swim = Swim(options, random.Random(1), Tally(), 0)
    swim.begin_life(10)
    for other in others:
        swim.learn(other, 1)
    return swim


def wait(swim: Swim, duration_ms: int) -> list[ProbeRequest]:
    """Let time pass in ticks; what was asked meanwhile, all of it unanswered."""
    asked: list[ProbeRequest] = []
    for _ in range(0, duration_ms, 100):
        swim.advance(swim.now_ms + 100)
        swim.tick()
        asked += swim.requests
        swim.requests = []
    return asked


def status(swim: Swim, member: str) -> str:
    return swim.standings[member].status


def answer(swim: Swim, request: ProbeRequest, *rumours: Rumour) -> None:
    swim.answered(request, request.target, [Ack(request.target, rumours)])


def test_each_member_is_probed_once_before_any_is_probed_again() -> None:
    swim = detector("a", "b", "c")
    targets = []
    for _ in range(6 * PERIOD_MS // 100):
        for request in wait(swim, 100):
            targets.append(request.target)
            answer(swim, request)
    assert sorted(targets[:3]) == sorted(targets[3:]) == ["a", "b", "c"]
    assert swim.tally.probes == {"direct": 6}


def test_who_has_answered_gossip_within_the_period_is_not_probed() -> None:
    swim = detector("a")
    [first] = wait(swim, 100)
    answer(swim, first)
    for _ in range(20):
        swim.heard("a")
        assert wait(swim, 500) == []


def test_a_member_that_does_not_answer_is_pinged_through_others() -> None:
    swim = detector("a", "b", "c", "d", "e")
    first, *others = wait(swim, 900)
    assert isinstance(first.message, Ping)
    assert len({request.target for request in others} - {first.target}) == 3
    assert all(request.message == PingRequest(first.target) for request in others)
    swim.receive(others[0].target, Ack(first.target))
    wait(swim, 2 * PERIOD_MS)
    assert status(swim, first.target) == ALIVE
    assert swim.tally.probes["indirect"] == 1


def test_who_is_asked_to_ping_another_does_and_tells_when_that_one_answers() -> None:
    swim = detector("a", "b")
    assert swim.receive("a", PingRequest("b")) == Ack("self")
    [ping] = swim.requests
    assert (ping.target, ping.message) == ("b", Ping())
    swim.requests = []
    answer(swim, ping)
    [told] = swim.requests
    assert (told.target, told.message) == ("a", Ack("b"))


def test_a_member_that_no_one_reaches_is_suspect_and_dead_once_its_suspicion_has_run_out() -> None:
    swim = detector("a")
    wait(swim, PERIOD_MS + 200)
    assert status(swim, "a") == SUSPECT
    shortest_ms = swim.standings["a"].suspicion.shortest_ms  # type: ignore[union-attr]
    wait(swim, shortest_ms - 400)
    assert status(swim, "a") == SUSPECT
    wait(swim, 600)
    assert status(swim, "a") == DEAD
    assert swim.tally.suspicions == {"begun": 1, "dead": 1}


def test_confirmations_by_different_members_shorten_a_suspicion_and_the_same_one_does_not() -> None:
    suspicion = Suspicion(0, 1_000, 2)
    suspicion.confirm("a")
    assert suspicion.ends_ms == LONGEST * 1_000
    assert not suspicion.confirm("a")
    assert suspicion.confirm("b")
    assert 1_000 < suspicion.ends_ms < LONGEST * 1_000
    assert suspicion.confirm("c")
    assert suspicion.ends_ms == 1_000
    assert not suspicion.confirm("d"), "no more are needed"


def test_a_refutation_ends_a_suspicion_and_a_stale_word_does_not() -> None:
    swim = detector("a", "b")
    swim.receive("b", Ping((Rumour("a", SUSPECT, Life(1, 3), "b"),)))
    assert status(swim, "a") == SUSPECT
    swim.receive("b", Ping((Rumour("a", ALIVE, Life(1, 3)),)))
    assert status(swim, "a") == SUSPECT
    swim.receive("b", Ping((Rumour("a", ALIVE, Life(1, 4)),)))
    assert status(swim, "a") == ALIVE
    wait(swim, 500)
    assert swim.tally.suspicions == {"refuted": 1}


def test_a_member_refutes_what_is_said_against_it_and_the_answer_says_so() -> None:
    swim = detector("a")
    answered = swim.receive("a", Ping((Rumour("self", DEAD, Life(10, 0)),)))
    assert answered is not None
    assert Rumour("self", ALIVE, Life(10, 1)) in answered.rumours
    assert (swim.health, swim.tally.refutations) == (1, 1)


def test_who_holds_what_was_refuted_long_since_is_told_again() -> None:
    swim = detector("a")
    swim.receive("a", Ping((Rumour("self", SUSPECT, Life(10, 4), "b"),)))
    wait(swim, 60 * PERIOD_MS)
    answered = swim.receive("a", Ping((Rumour("self", SUSPECT, Life(10, 2), "b"),)))
    assert answered is not None
    assert Rumour("self", ALIVE, Life(10, 5)) in answered.rumours


def test_a_suspect_is_told_first_of_all_that_it_is() -> None:
    swim = detector("a", "b")
    swim.receive("b", Ping((Rumour("a", SUSPECT, Life(1, 0), "b"),)))
    answered = swim.receive("a", Ping())
    assert answered is not None
    assert answered.rumours[0] == Rumour("a", SUSPECT, Life(1, 0), "self")


def test_a_dead_member_that_answers_is_alive_and_is_asked_to_tell_others() -> None:
    swim = detector("a", "b")
    swim.receive("b", Ping((Rumour("a", DEAD, Life(1, 0)),)))
    swim.heard("a")
    assert status(swim, "a") == ALIVE
    assert [(r.target, r.message) for r in swim.requests] == [("a", Ping((Rumour("a", DEAD, Life(1, 0)),)))]


def test_whoever_answers_and_is_suspected_again_and_again_is_told_so_once_per_period() -> None:
    swim = detector("a", "b")
    told = 0
    for _ in range(50):
        swim.receive("b", Ping((Rumour("a", SUSPECT, Life(1, 0), "b"),)))
        swim.heard("a")
        assert status(swim, "a") == ALIVE
        told += len(swim.requests)
        swim.requests = []
    assert told == 1
    swim.advance(swim.now_ms + PERIOD_MS)
    swim.receive("b", Ping((Rumour("a", SUSPECT, Life(1, 0), "b"),)))
    swim.heard("a")
    assert [request.target for request in swim.requests] == ["a"]


def test_an_answer_that_accuses_without_end_is_refuted_once_per_period() -> None:
    swim = detector("a")
    pings = 0
    for refutations in range(50):
        pings += len(swim.requests)
        swim.requests = []
        accusation = Rumour("self", DEAD, Life(10, refutations))
        answer(swim, ProbeRequest("a", Ping()), accusation)
        assert swim.life == Life(10, refutations + 1)
    assert pings == 1


def test_what_a_life_has_refuted_stays_refuted_when_a_later_one_turns_out_to_be_older() -> None:
    swim = detector("a", "b")
    swim.receive("b", Ping((Rumour("a", ALIVE, Life(1, 3)),)))
    swim.receive("b", Ping((Rumour("a", ALIVE, Life(2, 4)),)))
    swim.learn("a", 2, has_left=True)
    swim.replaced("a", 1)
    for stale in (Life(1, 2), Life(2, 3)):
        swim.receive("b", Ping((Rumour("a", DEAD, stale),)))
        assert status(swim, "a") == ALIVE
        assert swim.standings["a"].life == Life(1, 3)


def test_a_refutation_under_a_later_life_than_the_members_own_stands() -> None:
    swim = detector("a", "b")
    swim.receive("b", Ping((Rumour("a", ALIVE, Life(5, 1)),)))
    swim.replaced("a", 1)
    swim.receive("b", Ping((Rumour("a", DEAD, Life(5, 0)),)))
    assert status(swim, "a") == ALIVE
    assert swim.standings["a"].life == Life(5, 1)


def test_a_dead_member_is_pinged_now_and_then() -> None:
    swim = detector("a", "b")
    swim.receive("b", Ping((Rumour("a", DEAD, Life(1, 0)),)))
    knocks = 0
    for _ in range(3 * KNOCK_PERIODS):
        for request in wait(swim, PERIOD_MS):
            knocks += request.target == "a"
            if request.target == "b":
                answer(swim, request)
    assert knocks == 3


def test_who_left_stays_left_until_a_later_life_speaks() -> None:
    swim = detector("a", "b")
    swim.receive("b", Ping((Rumour("a", LEFT, Life(1, 0)),)))
    for word in (Rumour("a", ALIVE, Life(1, 9)), Rumour("a", SUSPECT, Life(1, 9), "b"), Rumour("a", DEAD, Life(1, 9))):
        swim.receive("b", Ping((word,)))
        assert status(swim, "a") == LEFT
    swim.requests = []
    swim.learn("a", 1, has_left=True)
    assert "a" not in {request.target for request in wait(swim, 20 * PERIOD_MS)}
    swim.learn("a", 2)
    assert status(swim, "a") == ALIVE


def test_a_member_that_has_left_by_a_rumour_alone_is_told_of_it_at_once_and_now_and_then() -> None:
    swim = detector("a")
    left = Rumour("a", LEFT, Life(1, 0))
    swim.receive("b", Ping((left,)))
    assert [(r.target, r.message.rumours[0]) for r in swim.requests] == [("a", left)]
    swim.requests = []
    assert "a" in {request.target for request in wait(swim, 2 * KNOCK_PERIODS * PERIOD_MS)}
    answered = swim.receive("a", Ping())
    assert answered is not None
    assert left in answered.rumours


def test_a_member_that_has_not_left_refutes_that_it_has() -> None:
    swim = detector("a")
    for refuted in (Life(10, 7), Life(11, 0), Life(12, 3)):
        answered = swim.receive("a", Ping((Rumour("self", LEFT, refuted),)))
        assert answered is not None
        assert Rumour("self", ALIVE, Life(refuted.start + 1, 0)) in answered.rumours
    swim.receive("a", Ping((Rumour("self", LEFT, Life(9, 0)),)))
    assert swim.life == Life(13, 0)


def test_a_member_that_has_left_does_not_refute_it() -> None:
    swim = detector("a")
    swim.leave(True)
    for _ in range(60):
        swim.receive("a", Ping())
    answered = swim.receive("a", Ping((Rumour("self", LEFT, Life(10, 0)),)))
    assert answered is not None
    assert "self" not in {rumour.member for rumour in answered.rumours}
    assert (swim.life, swim.tally.refutations) == (Life(10, 0), 0)


def test_a_rumour_about_a_start_ahead_of_the_clock_is_refused_counted_and_named_once() -> None:
    swim = detector("a", clock_skew_ms_max=100)
    for member in ("self", "a", "a"):
        for rumoured in (DEAD, LEFT):
            swim.receive("a", Ping((Rumour(member, rumoured, Life(101, 0)),)))
    assert (swim.life, status(swim, "a"), swim.tally.rumours_refused) == (Life(10, 0), ALIVE, 6)
    assert [(notice.event, notice.fields["peer"]) for notice in swim.outbox.take()] == [
        ("rumour_refused", "self"),
        ("rumour_refused", "a"),
    ]
    swim.receive("a", Ping((Rumour("a", DEAD, Life(100, 0)),)))
    assert status(swim, "a") == DEAD
    swim.learn("a", INCARNATION_END - 1)
    assert swim.standings["a"].life == Life(100, 0), "a later start can override it"


def test_a_refutation_never_exceeds_what_a_message_can_hold() -> None:
    swim = detector("a")
    answered = swim.receive("a", Ping((Rumour("self", SUSPECT, Life(10, INCARNATION_END - 1), "b"),)))
    assert answered is not None
    assert Rumour("self", ALIVE, Life(11, 0)) in answered.rumours


def test_a_member_that_leaves_says_so_at_once_and_probes_no_one_any_more() -> None:
    swim = detector("a", "b")
    swim.leave(True)
    told = [request.message for request in swim.requests]
    assert told == [Ping((Rumour("self", LEFT, Life(10, 0)),))] * 2
    swim.requests = []
    assert wait(swim, 10 * PERIOD_MS) == []


def test_a_member_that_wakes_up_late_declares_no_one_dead_before_it_has_heard_again() -> None:
    swim = detector("a", "b", "c")
    for other in "abc":
        swim.receive("a", Ping((Rumour(other, SUSPECT, Life(1, 0), "x"),)))
    swim.advance(swim.now_ms + 10**7)
    swim.tick()
    assert {status(swim, other) for other in "abc"} == {SUSPECT}
    assert swim.health == swim.tally.wakes_late == 1
    wait(swim, 1_000)
    assert {status(swim, other) for other in "abc"} == {SUSPECT}


def test_a_clock_that_is_set_back_or_forth_lets_no_suspicion_run_out() -> None:
    swim = detector("a", "b", "c")
    swim.receive("b", Ping((Rumour("a", SUSPECT, Life(1, 0), "b"),)))
    for jump_ms in (-(10**9), 10**9, -(10**6)):
        swim.advance(swim.now_ms + jump_ms)
        swim.tick()
    assert status(swim, "a") == SUSPECT


def test_local_health_gets_worse_with_silent_helpers_and_better_with_each_answer() -> None:
    swim = detector("a", "b", "c", "d", "e")
    wait(swim, 60 * PERIOD_MS)
    assert swim.health == HEALTH_MAX
    for _ in range(2 * HEALTH_MAX * PERIOD_MS * (1 + HEALTH_MAX) // 100):
        for request in wait(swim, 100):
            answer(swim, request, Rumour(request.target, ALIVE, Life(1, 99)))
    assert swim.health == 0


def test_helpers_that_answer_show_that_the_fault_is_not_here() -> None:
    swim = detector("a", "b", "c")
    first, *helpers = wait(swim, 900)
    for helper in helpers:
        answer(swim, helper)
    wait(swim, 200)
    assert status(swim, first.target) == SUSPECT
    assert swim.health == 0


def test_a_probe_whose_exchange_was_never_begun_accuses_no_one() -> None:
    swim = detector("a")
    for request in wait(swim, 100):
        swim.forget(request)
    swim.forget_batch()
    wait(swim, 700)
    assert status(swim, "a") == ALIVE


@pytest.mark.parametrize("members", [2, 10, 200])
def test_a_rumour_is_passed_on_a_bounded_number_of_times(members: int) -> None:
    rumours = Rumours()
    rumours.add(Rumour("a", DEAD, Life(1, 0)))
    taken = 0
    while rumours.take(members):
        taken += 1
    assert taken == {2: 2, 10: 5, 200: 10}[members]
    assert not rumours


def test_a_message_holds_few_rumours_and_each_comes_in_turn() -> None:
    rumours = Rumours()
    for number in range(30):
        rumours.add(Rumour(f"m{number:02}", DEAD, Life(1, 0)))
    first, second, third = (rumours.take(200) for _ in range(3))
    assert len(first) == RUMOURS_PER_MESSAGE_MAX
    assert len({rumour.member for rumour in first + second + third}) == 30


def test_what_is_outdone_is_not_passed_on() -> None:
    rumours = Rumours()
    rumours.add(Rumour("a", SUSPECT, Life(1, 0), "b"))
    rumours.add(Rumour("a", SUSPECT, Life(1, 0), "c"))
    rumours.add(Rumour("a", ALIVE, Life(1, 1)))
    assert rumours.take(10) == (Rumour("a", ALIVE, Life(1, 1)),)


def test_words_on_a_member_are_in_one_order() -> None:
    words = [
        (ALIVE, Life(1, 0)),
        (SUSPECT, Life(1, 0)),
        (DEAD, Life(1, 0)),
        (ALIVE, Life(1, 1)),
        (DEAD, Life(1, 7)),
        (LEFT, Life(1, 0)),
        (ALIVE, Life(2, 0)),
    ]
    ranks = [rank(*word) for word in words]
    assert ranks == sorted(set(ranks))


def test_a_word_that_a_member_is_alive_accuses_no_one_and_is_not_answered_by_a_refutation() -> None:
    swim = detector("a")
    wait(swim, 60 * PERIOD_MS)
    answered = swim.receive("a", Ping((Rumour("self", ALIVE, Life(10, 0)),)))
    assert answered is not None
    assert "self" not in {rumour.member for rumour in answered.rumours}
    assert swim.tally.refutations == 0


def test_no_one_pings_a_member_that_has_left_or_is_unknown_for_another() -> None:
    swim = detector("a", "b")
    swim.receive("b", Ping((Rumour("a", LEFT, Life(1, 0)),)))
    swim.requests = []
    for member in ("a", "stranger"):
        swim.receive("b", PingRequest(member, ()))
    assert [request.target for request in swim.requests] == []


def test_a_member_that_is_let_go_is_suspected_no_longer() -> None:
    swim = detector("a", "b")
    swim.receive("b", Ping((Rumour("a", SUSPECT, Life(1, 0), "b"),)))
    swim.let_go("a")
    wait(swim, 60 * PERIOD_MS)
    assert status(swim, "a") != DEAD


def test_a_later_life_begins_with_nothing_refuted() -> None:
    swim = detector("a")
    swim.learn("a", 5)
    assert swim.standings["a"].life == Life(5, 0)
    swim.learn("a", 4)
    assert swim.standings["a"].life == Life(5, 0)


def test_members_that_have_been_heard_are_asked_to_help_before_any_that_may_be_invented() -> None:
    swim = detector("a", "b", "c", "target")
    swim.heard("b")
    assert [swim._some_live(3, "target") for _ in range(5)] == [["b"]] * 5
    assert sorted(detector("a", "b", "target")._some_live(3, "target")) == ["a", "b"]
    assert len(detector("a", "b", "c", "target")._some_live(2, "target")) == 2
