"""The failure detector by itself: whom it probes and when, how local health slows it, and what it concludes."""

from __future__ import annotations

import pytest

from gossipkv.core.membership.health import MemberHealth
from gossipkv.core.membership.probe import ProbeRequest
from gossipkv.core.membership.suspicion import LONGEST, Suspicion, confirmations_needed, shortest_ms
from gossipkv.core.membership.swim import HEALTH_MAX, KNOCK_PERIODS, UNHEARD_MIN, Swim
from gossipkv.core.model.member import ALIVE, DEAD, INCARNATION_END, LEFT, SUSPECT
from gossipkv.core.protocol.messages import Ack, Ping, PingRequest
from gossipkv.core.protocol.rumours import Life, Rumour
from tests.core.membership.test_swim import PERIOD_MS, answer, detector, status, wait

TIMEOUT_MS = 500


def hear(swim: Swim, member: str, said: str, life: Life, accuser: str = "", sender: str = "b") -> None:
    swim.receive(sender, Ping((Rumour(member, said, life, accuser),)))


def at_once(swim: Swim) -> list[ProbeRequest]:
    """What is asked in a tick, without any time passing."""
    swim.tick()
    asked, swim.requests = swim.requests, []
    return asked


def pass_ms(swim: Swim, duration_ms: int) -> list[ProbeRequest]:
    """Let time pass in one step; what is asked then."""
    swim.advance(swim.now_ms + duration_ms)
    return at_once(swim)


# When.


def test_others_are_asked_once_the_timeout_has_passed_and_the_probe_ends_with_the_period() -> None:
    swim = detector("a", "b", "c")
    [ping] = at_once(swim)
    assert pass_ms(swim, TIMEOUT_MS - 1) == []
    helpers = pass_ms(swim, 1)
    assert len(helpers) == 2
    assert {request.probe for request in helpers} == {ping.probe}
    assert pass_ms(swim, 100) == [], "they are asked once"
    assert pass_ms(swim, 399) == []
    assert (status(swim, ping.target), swim.tally.probes["failed"]) == (ALIVE, 0)
    [following] = pass_ms(swim, 1)
    assert (status(swim, ping.target), swim.tally.probes["failed"]) == (SUSPECT, 1)
    assert following.probe == ping.probe + 1
    assert isinstance(following.message, Ping)


def test_others_are_asked_at_once_if_the_ping_fails_and_only_then() -> None:
    swim = detector("a", "b", "c")
    [ping] = at_once(swim)
    stray = ProbeRequest(ping.target, Ping(), ping.probe + 7)
    swim.failed(stray)
    swim.failed(ProbeRequest("b", PingRequest(ping.target), ping.probe))
    assert swim.requests == []
    swim.failed(ping)
    assert len(swim.requests) == 2
    swim.failed(ping)
    assert len(swim.requests) == 2, "they are asked once"
    swim.requests = []
    swim.heard(ping.target)
    wait(swim, PERIOD_MS)
    late = detector("a", "b")
    [ping] = at_once(late)
    answer(late, ping)
    late.failed(ping)
    assert late.requests == [], "it has answered"


def test_a_member_that_is_slow_itself_waits_longer_for_the_others() -> None:
    swim = detector("a", "b", "c")
    swim.health = 2
    [ping] = at_once(swim)
    assert pass_ms(swim, 3 * TIMEOUT_MS - 1 - PERIOD_MS) == []
    assert pass_ms(swim, PERIOD_MS) == []
    assert len(pass_ms(swim, 1)) == 2
    for _ in range(2):
        assert pass_ms(swim, 700) == []
    assert pass_ms(swim, 99) == []
    assert status(swim, ping.target) == ALIVE
    pass_ms(swim, 1)
    assert status(swim, ping.target) == SUSPECT


def test_time_passes_by_at_most_a_period_and_never_back() -> None:
    swim = detector("a")
    for step_ms, passed_ms, late in ((-(10**9), 0, 0), (PERIOD_MS, PERIOD_MS, 0), (PERIOD_MS + 1, PERIOD_MS, 1)):
        before_ms = swim._time_ms
        swim.advance(swim.now_ms + step_ms)
        assert (swim._time_ms - before_ms, swim.tally.wakes_late) == (passed_ms, late)


def test_a_late_wake_up_drops_the_probe_under_way_and_begins_another_at_once() -> None:
    swim = detector("a", "b")
    [ping] = at_once(swim)
    [following] = pass_ms(swim, 10 * PERIOD_MS)
    assert following.probe == ping.probe + 1
    assert swim.tally.probes["failed"] == 0
    assert status(swim, ping.target) == ALIVE, "it was not asked in vain"
    assert swim.health == 1
    swim.health = HEALTH_MAX
    pass_ms(swim, PERIOD_MS)
    [ping] = pass_ms(swim, 10 * PERIOD_MS)
    assert ping.probe == following.probe + 1, "it would be nine periods until the next one"
    assert swim.health == HEALTH_MAX


def test_a_suspicion_begins_anew_when_the_member_wakes_up_late() -> None:
    swim = detector("a", "b", "c")
    hear(swim, "a", SUSPECT, Life(1, 0), "b")
    suspicion = swim.standings["a"].suspicion
    assert suspicion is not None
    swim.advance(swim.now_ms + 400)
    assert suspicion.began_ms == 0
    swim.advance(swim.now_ms + 10**6)
    assert suspicion.began_ms == swim._time_ms
    swim._no_verdicts_until_ms = swim._time_ms + 100
    suspicion.shortest_ms, suspicion.needed = 50, 0
    swim.advance(swim.now_ms + 99)
    swim._end_suspicions()
    assert status(swim, "a") == SUSPECT
    swim.advance(swim.now_ms + 1)
    swim._end_suspicions()
    assert status(swim, "a") == DEAD
    assert swim.tally.suspicions["dead"] == 1
    assert swim._rumours.take(9) == (Rumour("a", DEAD, Life(1, 0)),)


@pytest.mark.parametrize("how", ["heard", "received"])
def test_after_a_late_wake_up_no_one_is_declared_dead_before_another_member_is_heard(how: str) -> None:
    swim = detector("a", "b")
    swim.advance(10 * PERIOD_MS)
    assert swim._no_verdicts_until_ms == swim._time_ms + shortest_ms(4, 3, PERIOD_MS)
    if how == "heard":
        swim.heard("stranger")
    else:
        swim.receive("b", Ping())
    assert swim._no_verdicts_until_ms == 0


# Whom.


def test_a_member_is_probed_again_once_a_period_has_passed_since_it_answered() -> None:
    swim = detector("a")
    swim.heard("a")
    swim._time_ms += PERIOD_MS - 1
    assert at_once(swim) == []
    swim._time_ms += 1
    swim._next_probe_ms = swim._time_ms
    assert [request.target for request in at_once(swim)] == ["a"]


def test_a_member_that_answered_is_probed_while_there_is_a_rumour_to_tell_or_it_is_suspect() -> None:
    swim = detector("a", "b")
    swim.heard("a")
    swim.heard("b")
    assert at_once(swim) == []
    hear(swim, "b", ALIVE, Life(1, 1), sender="a")
    swim._next_probe_ms = swim._time_ms
    [ping] = at_once(swim)
    assert ping.message == Ping((Rumour("b", ALIVE, Life(1, 1)),))
    silent = detector("a", "b")
    silent.heard("a")
    silent.heard("b")
    silent._become("a", SUSPECT, Life(1, 0))
    assert [request.target for request in at_once(silent)] == ["a"]


def test_dead_members_are_passed_over_in_the_order() -> None:
    swim = detector("a", "b", "c")
    for member in "ab":
        swim._become(member, DEAD, Life(1, 0))
    for _ in range(3):
        assert swim._next_target() == "c"
    swim._become("c", DEAD, Life(1, 0))
    assert swim._next_target() is None


def test_of_members_that_were_never_heard_no_more_are_probed_in_a_turn_than_of_others() -> None:
    swim = detector(*[f"m{number:02}" for number in range(40)])
    assert len(swim._next_order()) == UNHEARD_MIN
    for number in range(12):
        swim.heard(f"m{number:02}")
    order = swim._next_order()
    assert len(order) == len(set(order)) == 24
    assert {f"m{number:02}" for number in range(12)} <= set(order)
    few = detector("a", "b")
    few.heard("a")
    assert sorted(few._next_order()) == ["a", "b"]


def test_one_that_is_dead_or_said_to_have_left_is_pinged_in_one_period_of_several() -> None:
    for said, has_signed_off, is_pinged in ((DEAD, False, True), (LEFT, False, True), (LEFT, True, False)):
        swim = detector("a")
        swim._become("a", said, Life(1, 0))
        swim.standings["a"].has_signed_off = has_signed_off
        periods = [bool(pass_ms(swim, PERIOD_MS)) for _ in range(2 * KNOCK_PERIODS)]
        expected = [number % KNOCK_PERIODS == 0 and is_pinged for number in range(1, 2 * KNOCK_PERIODS + 1)]
        assert periods == expected, (said, has_signed_off)
    swim = detector("a")
    swim._become("a", DEAD, Life(1, 0))
    swim.let_go("a")
    assert all(pass_ms(swim, PERIOD_MS) == [] for _ in range(2 * KNOCK_PERIODS)), "it does not exist"


def test_helpers_are_alive_and_others_than_the_target() -> None:
    swim = detector("a", "b", "c", "d")
    swim._become("a", DEAD, Life(1, 0))
    swim._become("b", SUSPECT, Life(1, 0))
    swim.let_go("c")
    assert swim._some_live(3, "d") == []
    assert swim._some_live(3, "") == ["d"]


# What is concluded.


def test_a_probe_counts_by_how_it_was_answered() -> None:
    swim = detector("a", "b", "c")
    swim.health = 3
    [ping] = at_once(swim)
    answer(swim, ping)
    answer(swim, ping)
    assert (swim.tally.probes, swim.health) == ({"direct": 1}, 2), "one probe counts once"
    assert [pass_ms(swim, PERIOD_MS) for _ in range(3)] == [[], [], []]
    [ping] = pass_ms(swim, PERIOD_MS)
    swim.receive("b", Ack("stranger"))
    assert swim.tally.probes["indirect"] == 0, "the word is of another one"
    swim.receive("b", Ack(ping.target))
    assert (swim.tally.probes["indirect"], swim.health) == (1, 1)


def test_an_answer_to_an_exchange_counts_for_the_probe_of_that_member() -> None:
    swim = detector("a", "b")
    [ping] = at_once(swim)
    other = "b" if ping.target == "a" else "a"
    swim.heard(other)
    assert swim.tally.probes == {}
    swim.heard(ping.target)
    assert swim.tally.probes == {"heard": 1}


def test_an_answer_of_another_member_at_the_address_is_no_answer_of_the_target() -> None:
    swim = detector("a", "b")
    [ping] = at_once(swim)
    other = "b" if ping.target == "a" else "a"
    swim.answered(ping, other, [Ack(other)])
    assert swim.tally.probes == {}
    assert swim.standings[ping.target].heard_ms is None
    assert swim.standings[other].heard_ms is None


def test_an_answer_to_an_earlier_probe_says_nothing_of_this_one() -> None:
    swim = detector("a", "b")
    [ping] = at_once(swim)
    early = ProbeRequest(ping.target, ping.message, ping.probe - 1)
    swim._probe.target = "elsewhere"  # type: ignore[union-attr]
    swim.answered(early, early.target, [])
    assert swim.tally.probes == {}
    assert swim.standings[ping.target].heard_ms == 0, "it has answered all the same"


@pytest.mark.parametrize(("answers", "health"), [(0, 2), (1, 1), (2, 0)])
def test_helpers_that_are_silent_make_a_failed_probe_this_member_s_own_fault(answers: int, health: int) -> None:
    swim = detector("a", "b", "c")
    [ping] = at_once(swim)
    helpers = pass_ms(swim, TIMEOUT_MS)
    for helper in helpers[:answers]:
        answer(swim, helper)
    pass_ms(swim, TIMEOUT_MS)
    assert (swim.health, status(swim, ping.target)) == (health, SUSPECT)


def test_without_helpers_a_failed_probe_counts_once() -> None:
    swim = detector("a")
    at_once(swim)
    pass_ms(swim, PERIOD_MS)
    assert swim.health == 1
    swim.health = HEALTH_MAX
    swim._end_probe(swim._probe)  # type: ignore[arg-type]
    assert swim.health == HEALTH_MAX


def test_a_probe_that_is_forgotten_concludes_nothing_and_another_stands() -> None:
    swim = detector("a", "b")
    [ping] = at_once(swim)
    swim.forget(ProbeRequest("a", Ping(), ping.probe + 1))
    assert (swim._probe is None) is False
    swim.forget(ping)
    assert (swim._probe is None) is True
    swim.forget(ping)


def test_whoever_was_asked_to_ping_reports_to_the_one_that_asked_alone() -> None:
    swim = detector("a", "b")
    swim.answered(ProbeRequest("a", Ping(), 0), "a", [])
    assert swim.requests == []
    swim.answered(ProbeRequest("a", Ping(), 0, on_behalf_of="b"), "a", [])
    assert swim.requests == [ProbeRequest("b", Ack("a"))]


# Suspicions.


@pytest.mark.parametrize(
    ("multiplier", "members", "needed"), [(4, 3, 0), (4, 4, 2), (4, 9, 2), (2, 9, 0), (1, 9, 0), (5, 5, 3), (5, 4, 0)]
)
def test_a_suspicion_is_shortened_only_where_there_are_enough_others(
    multiplier: int, members: int, needed: int
) -> None:
    assert confirmations_needed(multiplier, members) == needed


def test_the_shortest_suspicion_grows_with_the_logarithm_of_the_cluster() -> None:
    assert shortest_ms(4, 9, 1_000) == 4_000
    assert shortest_ms(4, 99, 1_000) == 8_000
    assert shortest_ms(1, 1, 1_000) == 301


def test_a_suspicion_that_needs_no_confirmation_is_short_from_the_start() -> None:
    suspicion = Suspicion(50, 1_000, 0)
    assert suspicion.ends_ms == 1_050
    assert suspicion.confirm("a")
    assert suspicion.ends_ms == 1_050
    assert not suspicion.confirm("b")


def test_each_confirmation_shortens_a_suspicion_less_than_the_one_before() -> None:
    suspicion = Suspicion(0, 1_000, 3)
    ends = [suspicion.ends_ms]
    for accuser in "abcd":
        suspicion.confirm(accuser)
        ends.append(suspicion.ends_ms)
    assert ends == [6_000, 6_000, 3_500, 2_038, 1_000]
    assert ends[0] == LONGEST * 1_000


def test_a_suspect_that_others_accuse_too_is_spread_by_each_accuser_once() -> None:
    swim = detector("a", "b", "c", "d")
    hear(swim, "a", SUSPECT, Life(1, 0), "b")
    assert swim._rumours.take(99) == (Rumour("a", SUSPECT, Life(1, 0), "b"),)
    swim._rumours.drop("a")
    hear(swim, "a", SUSPECT, Life(1, 0), "b")
    assert not swim._rumours, "it is no news"
    hear(swim, "a", SUSPECT, Life(1, 0), "c")
    assert swim._rumours.take(99) == (Rumour("a", SUSPECT, Life(1, 0), "c"),)
    swim._rumours.drop("a")
    hear(swim, "a", SUSPECT, Life(0, 0), "d")
    assert not swim._rumours, "it is of an earlier life"
    swim._suspect("a")
    assert swim._rumours.take(99) == (Rumour("a", SUSPECT, Life(1, 0), "self"),)
    assert swim.tally.suspicions == {}, "it was begun by others"


def test_a_suspicion_of_its_own_is_counted_and_spread() -> None:
    swim = detector("a", "b", "c", "d")
    swim._suspect("a")
    assert (status(swim, "a"), swim.tally.suspicions) == (SUSPECT, {"begun": 1})
    assert swim._rumours.take(99) == (Rumour("a", SUSPECT, Life(1, 0), "self"),)
    suspicion = swim.standings["a"].suspicion
    assert suspicion is not None
    assert (suspicion.began_ms, suspicion.shortest_ms, suspicion.needed) == (0, shortest_ms(4, 5, PERIOD_MS), 2)


# Standings.


def test_whoever_is_away_and_answers_is_told_what_was_said_of_it_once_per_period() -> None:
    swim = detector("a", "b")
    for step_ms, is_told in ((0, True), (PERIOD_MS - 1, False), (1, True)):
        swim.advance(swim.now_ms + step_ms)
        swim._become("a", DEAD, Life(1, 0))
        swim.heard("a")
        assert status(swim, "a") == ALIVE
        assert swim.requests == ([ProbeRequest("a", Ping((Rumour("a", DEAD, Life(1, 0)),)))] if is_told else [])
        assert not swim._rumours
        swim.requests = []


def test_what_was_said_of_a_member_that_answers_is_passed_on_no_longer() -> None:
    swim = detector("a", "b")
    hear(swim, "a", DEAD, Life(1, 0))
    assert swim._rumours
    swim.heard("a")
    assert not swim._rumours.take(9)
    swim.learn("a", 5, has_left=True)
    hear(swim, "a", LEFT, Life(6, 0))
    swim.replaced("a", 4)
    assert not swim._rumours.take(9)


def test_a_record_of_a_life_that_is_known_changes_nothing() -> None:
    swim = detector("a", "b")
    swim._become("a", SUSPECT, Life(1, 0))
    assert swim.learn("a", 1) is swim.standings["a"]
    assert status(swim, "a") == SUSPECT
    swim.learn("a", 0)
    assert (status(swim, "a"), swim.standings["a"].life) == (SUSPECT, Life(1, 0))


def test_the_members_that_live_are_counted() -> None:
    swim = detector("a", "b", "c")
    assert swim._live == 4
    swim.let_go("a")
    assert swim._live == 3
    swim.take_back("a")
    assert swim._live == 4
    swim.learn("b", 5, has_left=True)
    assert swim._live == 3
    swim.replaced("b", 4)
    assert swim._live == 4
    swim._become("c", DEAD, Life(1, 0))
    assert swim._live == 3


def test_the_time_of_a_status_is_when_it_last_changed() -> None:
    swim = detector("a", "b")
    swim.advance(300)
    hear(swim, "a", ALIVE, Life(1, 3))
    assert swim.standings["a"].since_ms == 0
    hear(swim, "a", DEAD, Life(1, 3))
    assert swim.standings["a"].since_ms == 300
    swim.advance(500)
    swim.heard("a")
    assert swim.standings["a"].since_ms == 500
    assert swim.tally.suspicions == {"false_dead": 1}
    told = [(notice.event, notice.fields["before"]) for notice in swim.outbox.take()]
    assert told == [("member_dead", ALIVE), ("member_alive", DEAD)]


def test_a_later_life_is_no_refutation_of_what_was_said_of_the_one_before() -> None:
    swim = detector("a", "b")
    for said in (SUSPECT, DEAD):
        hear(swim, "a", said, Life(swim.standings["a"].life.start, 0), "b")
        hear(swim, "a", ALIVE, Life(swim.standings["a"].life.start + 1, 0))
        assert status(swim, "a") == ALIVE
    assert swim.tally.suspicions == {}


def test_a_later_life_has_not_signed_off() -> None:
    swim = detector("a")
    signed_off = []
    for start, has_left in ((1, True), (2, False), (1, True)):
        signed_off.append(swim.learn("a", start, has_left).has_signed_off)
    assert signed_off == [True, False, False], "the last word is of the life before"
    first = detector()
    assert first.learn("x", 1, has_left=True).has_signed_off
    assert first.standings["x"].status == LEFT
    assert first._live == 1
    assert not first.learn("y", 1).has_signed_off
    assert first._live == 2


def test_a_member_counts_as_alive_while_it_exists_and_is_at_most_suspected() -> None:
    health = MemberHealth()
    for said, lives in ((ALIVE, True), (SUSPECT, True), (DEAD, False), (LEFT, False)):
        health.status = said
        assert health.is_living is lives
    health.status, health.is_probed = ALIVE, False
    assert not health.is_living


def test_a_member_is_accused_of_what_it_is_held_for() -> None:
    life = Life(3, 1)
    assert MemberHealth(ALIVE, life).accusation("a", "self") == ()
    assert MemberHealth(SUSPECT, life).accusation("a", "self") == (Rumour("a", SUSPECT, life, "self"),)
    assert MemberHealth(DEAD, life).accusation("a", "self") == (Rumour("a", DEAD, life),)


def test_a_member_that_is_let_go_or_taken_back_is_judged_anew() -> None:
    swim = detector("a", "b")
    swim._become("a", SUSPECT, Life(1, 0))
    swim._rumours.add(Rumour("a", SUSPECT, Life(1, 0), "b"))
    swim.advance(70)
    swim.let_go("a")
    standing = swim.standings["a"]
    assert (standing.status, standing.suspicion, standing.since_ms, swim._live) == (ALIVE, None, 70, 2)
    assert not swim._rumours
    hear(swim, "a", DEAD, Life(1, 0))
    assert status(swim, "a") == ALIVE, "what is said of one that does not exist is nothing"
    standing.status = DEAD
    swim.take_back("a")
    assert (standing.status, standing.is_probed, swim._live) == (ALIVE, True, 3)
    standing.status = LEFT
    swim.take_back("a")
    assert standing.status == LEFT
    swim._become("b", DEAD, Life(1, 0))
    swim.let_go("b")
    assert status(swim, "b") == DEAD


def test_a_member_that_answers_as_an_earlier_life_takes_back_that_it_has_left_alone() -> None:
    swim = detector("a", "b")
    swim.learn("a", 5, has_left=True)
    for start in (5, 6):
        swim.replaced("a", start)
        assert status(swim, "a") == LEFT
    swim._become("b", DEAD, Life(5, 0))
    swim.replaced("b", 1)
    assert (status(swim, "b"), swim.standings["b"].life) == (DEAD, Life(5, 0)), "it refutes that itself"
    swim.replaced("a", 4)
    assert (status(swim, "a"), swim.standings["a"].life, swim.standings["a"].former) == (ALIVE, Life(4, 0), Life(5, 0))
    swim.replaced("stranger", 1)


def test_the_silence_of_a_member_is_the_time_since_it_last_answered_or_since_the_start() -> None:
    swim = detector("a")
    swim.advance(700)
    assert (swim.silence_ms("a"), swim.silence_ms("stranger")) == (700, 700)
    swim.heard("a")
    swim.advance(900)
    assert (swim.silence_ms("a"), swim.silence_ms("stranger")) == (200, 900)


# Its own life.


def test_a_life_never_goes_back_unless_others_refuse_it() -> None:
    swim = detector()
    swim.begin_life(5)
    assert swim.life == Life(10, 0)
    swim.begin_life(11)
    assert swim.life == Life(11, 0)
    swim.step_back(3)
    assert swim.life == Life(3, 0)


def test_a_start_is_ahead_beyond_the_skew_allowed() -> None:
    swim = detector(clock_skew_ms_max=100)
    swim.advance(50)
    assert [swim.is_ahead(start) for start in (150, 151)] == [False, True]


def test_a_word_of_an_earlier_life_of_this_member_is_a_word_against_it_that_needs_no_refutation() -> None:
    swim = detector("a")
    for said in (SUSPECT, DEAD, LEFT):
        answered = swim.receive("a", Ping((Rumour("self", said, Life(9, 99), "b"),)))
        assert answered is not None
        assert answered.rumours == (Rumour("self", ALIVE, Life(10, 0)),), "the sender is told how the member stands"
    assert (swim.life, swim.tally.refutations) == (Life(10, 0), 0)


def test_a_refutation_makes_judging_slower_up_to_a_bound() -> None:
    swim = detector("a")
    swim.health = HEALTH_MAX
    hear(swim, "self", DEAD, Life(10, 0), sender="a")
    assert (swim.life, swim.health, swim.tally.refutations) == (Life(10, 1), HEALTH_MAX, 1)


@pytest.mark.parametrize(
    ("said", "refuted"),
    [(Life(10, INCARNATION_END - 2), Life(10, INCARNATION_END - 1)), (Life(10, INCARNATION_END - 1), Life(11, 0))],
)
def test_the_greatest_refutation_is_followed_by_another_life(said: Life, refuted: Life) -> None:
    swim = detector("a")
    hear(swim, "self", SUSPECT, said, "b", sender="a")
    assert swim.life == refuted


def test_an_own_start_that_is_ahead_of_the_clock_can_be_accused() -> None:
    swim = detector("a", clock_skew_ms_max=0)
    hear(swim, "self", DEAD, Life(10, 0), sender="a")
    assert swim.life == Life(10, 1)
    hear(swim, "self", DEAD, Life(11, 0), sender="a")
    assert (swim.life, swim.tally.rumours_refused) == (Life(10, 1), 1)


def test_rumours_about_strangers_that_are_ahead_are_counted_and_not_named() -> None:
    swim = detector("a", clock_skew_ms_max=0)
    hear(swim, "stranger", DEAD, Life(99, 0), sender="a")
    assert swim.tally.rumours_refused == 1
    assert swim.outbox.take() == []


def test_to_leave_twice_is_to_leave_once_and_not_to_leave_takes_the_word_back() -> None:
    swim = detector("a", "b", "c", "d", "e")
    swim.leave(False)
    assert swim.requests == []
    swim.leave(True)
    swim.leave(True)
    assert len(swim.requests) == 3
    swim.requests = []
    swim.leave(False)
    assert swim.requests == []
    assert not swim._rumours
    assert len(at_once(swim)) == 1, "it probes again"


def test_a_probe_ends_once_though_no_other_follows() -> None:
    swim = detector("a")
    at_once(swim)
    swim.leave(True)
    pass_ms(swim, PERIOD_MS)
    assert pass_ms(swim, PERIOD_MS) == []
    assert swim.tally.probes == {"failed": 1}
