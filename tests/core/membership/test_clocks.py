"""Whose clock is off, what a member does about it, and how it recovers."""

from __future__ import annotations

import pytest

from gossipkv.core.inputs import Forget, Leave, Write
from gossipkv.core.membership.clocks import COMPARED_INTERVALS, Clocks, OwnClockOffError
from gossipkv.core.membership.membership import Membership
from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.clock import milliseconds
from gossipkv.core.model.member import ALIVE
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.write import Operation
from tests.core.cluster import Cluster

MINUTE_MS = 60_000
AHEAD_MS = 20 * MINUTE_MS
ROW = address_of("table", b"row")
OTHER = address_of("table", b"other")


def compared(*ahead_ms: int) -> Clocks:
    """The clocks of a member whose peers' clocks are ahead by this much."""
    clocks = Clocks(10 * MINUTE_MS, 1_000, Outbox(), 0)
    for exchange, each in enumerate(ahead_ms):
        clocks.began(exchange, 5_000)
        clocks.answered(exchange, f"peer-{exchange}", 5_000 + each, 5_000)
    return clocks


@pytest.mark.parametrize(
    ("ahead_min", "is_off"),
    [
        ((), False),
        ((-10,), False),
        ((-11,), True),
        ((11,), False),
        ((-20, -20), True),
        ((20, 20), True),
        ((0, -20), False),
        ((0, 20), False),
        ((-20, 20), False),
        ((20, 20, 0), False),
        ((-20, -20, 0), True),
        ((-20, 0, 0), False),
    ],
)
def test_a_member_is_off_if_it_differs_from_the_lower_median(ahead_min: tuple[int, ...], is_off: bool) -> None:
    assert compared(*(minutes * MINUTE_MS for minutes in ahead_min)).is_off is is_off


def test_a_slow_answer_says_no_more_than_it_can() -> None:
    clocks = Clocks(10 * MINUTE_MS, 1_000, Outbox(), 0)
    clocks.began(1, 0)
    clocks.answered(1, "a", 1_000, AHEAD_MS)
    assert not clocks.is_off, "this member may have been paused"
    assert clocks.status().ahead_ms == 0


def test_a_clock_that_is_set_back_drops_what_was_compared_before() -> None:
    clocks = compared(-AHEAD_MS)
    clocks.began(7, 6_000)
    clocks.advance(6_000 - AHEAD_MS)
    assert clocks.compared("peer-0") is None
    assert clocks.is_off, "until the next comparison"
    clocks.answered(7, "peer-0", 6_000 - AHEAD_MS, 6_000 - AHEAD_MS)
    assert clocks.is_off, "the exchange began by the other clock"
    clocks.began(8, 6_000 - AHEAD_MS)
    clocks.answered(8, "peer-0", 6_000 - AHEAD_MS, 6_000 - AHEAD_MS)
    assert not clocks.is_off


@pytest.mark.parametrize("answering", [1, 2])
def test_a_clock_that_was_off_and_is_set_back_is_judged_by_as_many_others_as_before(answering: int) -> None:
    clocks = compared(AHEAD_MS, AHEAD_MS)
    assert clocks.is_off
    now_ms = 4_000
    clocks.advance(now_ms)
    for exchange in range(7, 7 + answering):
        clocks.began(exchange, now_ms)
        clocks.answered(exchange, f"peer-{exchange}", now_ms + AHEAD_MS, now_ms)
        assert clocks.is_off
    clocks.tick(now_ms + COMPARED_INTERVALS * 1_000 + 1)
    clocks.began(9, now_ms + COMPARED_INTERVALS * 1_000 + 1)
    clocks.answered(9, "peer-7", now_ms + AHEAD_MS, now_ms + COMPARED_INTERVALS * 1_000 + 1)
    assert not clocks.is_off, "there is but one other left"


def is_off_at(clocks: Clocks, now_ms: int) -> bool:
    """Let the time come, and tell whether the clock is off then."""
    clocks.tick(now_ms)
    return clocks.is_off


def test_a_member_that_reaches_nobody_is_not_off() -> None:
    clocks = compared(-AHEAD_MS)
    assert is_off_at(clocks, 5_000 + COMPARED_INTERVALS * 1_000)
    assert not is_off_at(clocks, 5_001 + COMPARED_INTERVALS * 1_000)
    assert [notice.event for notice in clocks.outbox.take()] == ["clock_off", "clock_no_longer_off"]


def answers(clocks: Clocks, now_ms: int, **ahead_ms: int) -> list[str]:
    """Let these peers answer, their clocks ahead by this much; returns what is logged."""
    for exchange, (peer, each) in enumerate(ahead_ms.items()):
        clocks.began(exchange, now_ms)
        clocks.answered(exchange, peer, now_ms + each, now_ms)
    return [notice.event for notice in clocks.outbox.take()]


def test_a_member_whose_clock_falls_behind_does_not_blame_the_first_peer_that_answers() -> None:
    clocks = Clocks(10 * MINUTE_MS, 1_000, Outbox(), 0)
    assert answers(clocks, 0, a=AHEAD_MS) == []
    assert answers(clocks, 1_000, a=AHEAD_MS, b=AHEAD_MS) == ["clock_off"]
    assert answers(clocks, 11_000, a=AHEAD_MS, b=AHEAD_MS) == []
    assert answers(clocks, 12_000, a=0, b=0) == ["clock_right_again"]


def test_a_peer_that_stays_off_is_named_once_however_the_own_clock_goes() -> None:
    clocks = Clocks(10 * MINUTE_MS, 1_000, Outbox(), 0)
    assert answers(clocks, 0, a=AHEAD_MS, b=0) == []
    assert answers(clocks, 9_999, a=AHEAD_MS, b=0) == []
    assert answers(clocks, 10_000, a=AHEAD_MS, b=0) == ["peer_clock_off"]
    assert answers(clocks, 11_000, a=AHEAD_MS, b=AHEAD_MS) == ["clock_off"]
    assert answers(clocks, 12_000, a=AHEAD_MS, b=0) == ["clock_right_again"]
    assert answers(clocks, 22_000, a=AHEAD_MS, b=0) == []
    clocks.tick(32_001)
    assert answers(clocks, 33_000, a=0, b=0) == ["peer_clock_right_again"]


def test_a_clock_behind_that_is_put_forward_is_off_until_it_is_compared() -> None:
    clocks = compared(AHEAD_MS, AHEAD_MS)
    clocks.tick(5_000 + AHEAD_MS)
    assert clocks.is_off
    assert clocks.compared("peer-0") is None
    clocks.outbox.take()
    assert answers(clocks, 6_000 + AHEAD_MS, a=0) == ["clock_right_again"]


# In a cluster


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    for name in ("a", "b", "c"):
        cluster.start(name)
    cluster.introduce("a", "b", "c")
    cluster.settle()
    return cluster


def flow(cluster: Cluster, seconds: int = 8) -> None:
    for _ in range(seconds):
        cluster.now_ms += 1_000
        for name in sorted(cluster.members):
            cluster.tick(name)
        for _ in range(100):
            if not cluster.flow():
                break


def write_ahead(cluster: Cluster, *operations: Operation) -> None:
    """Let a write before it has found out that its clock is ahead."""
    cluster.members["a"].clock_ahead_ms = AHEAD_MS
    cluster.write("a", *operations)


def test_a_member_whose_clock_is_ahead_refuses_writes_and_says_why(cluster: Cluster) -> None:
    cluster.members["a"].clock_ahead_ms = AHEAD_MS
    flow(cluster)
    for refused in (Write(USER, (Operation(ROW, b"value"),)), Write(USER, (Operation(ROW, b"value"),), 2), Forget("b")):
        [outcome] = cluster.run("a", refused).outcomes
        assert isinstance(outcome, OwnClockOffError)
        assert "20 min ahead of the others'" in str(outcome)
    cluster.write("b", Operation(ROW, b"value"))
    flow(cluster)
    assert ROW in cluster.members["a"].rows()
    assert cluster.status("a").clock.is_off
    assert cluster.status("a").clock.ahead_ms == pytest.approx(AHEAD_MS, abs=1_000)
    assert not cluster.status("b").clock.is_off


def test_the_member_and_its_peers_log_it_once_when_it_begins_and_once_when_it_ends(cluster: Cluster) -> None:
    cluster.members["a"].clock_ahead_ms = AHEAD_MS
    flow(cluster, 30)
    cluster.members["a"].clock_ahead_ms = 0
    flow(cluster, 30)
    told = {
        name: [notice.event for notice in member.notices if "clock" in notice.event and notice.is_warning]
        for name, member in cluster.members.items()
    }
    of_peers = ["peer_clock_off", "peer_clock_right_again"]
    assert told == {"a": ["clock_off", "clock_right_again"], "b": of_peers, "c": of_peers}


def test_two_members_apart_never_refuse_both(cluster: Cluster) -> None:
    cluster.answer_to("c", Leave())
    flow(cluster)
    cluster.crash("c")
    cluster.members["a"].clock_ahead_ms = -AHEAD_MS
    flow(cluster, 20)
    assert not cluster.status("a").clock.is_off
    assert cluster.status("b").clock.is_off


def test_a_clock_far_behind_refuses_too(cluster: Cluster) -> None:
    cluster.members["a"].clock_ahead_ms = -AHEAD_MS
    flow(cluster)
    [outcome] = cluster.run("a", Write(USER, (Operation(ROW, b"value"),))).outcomes
    assert isinstance(outcome, OwnClockOffError)
    assert "20 min behind the others'" in str(outcome)


def test_a_running_member_whose_record_is_refused_is_alive(cluster: Cluster) -> None:
    cluster.answer_to("a", Leave())
    flow(cluster)
    storage = cluster.members["a"].storage
    cluster.crash("a")
    cluster.now_ms += AHEAD_MS
    cluster.start("a", storage)
    cluster.now_ms -= AHEAD_MS
    cluster.members["a"].clock_ahead_ms = AHEAD_MS
    cluster.introduce("a", "b", "c")
    flow(cluster)
    statuses = {member.member: member.status for member in cluster.status("b").members}
    assert statuses["a"] == ALIVE
    cluster.members["a"].clock_ahead_ms = 0
    flow(cluster, 20)
    assert cluster.has_converged(cluster.members)
    address = address_of(MEMBERS_TABLE, b"a")
    [stamp] = {milliseconds(member.rows(SYSTEM)[address].winner.timestamp) for member in cluster.members.values()}
    assert stamp < cluster.now_ms + MINUTE_MS


def test_what_was_written_ahead_is_taken_by_all_once_the_clock_is_right(cluster: Cluster) -> None:
    write_ahead(cluster, Operation(ROW, b"first"))
    cluster.write("a", Operation(ROW, b"second"), Operation(OTHER, b"value", ttl_ms=60_000))
    flow(cluster)
    assert ROW not in cluster.members["b"].rows()
    cluster.members["a"].clock_ahead_ms = 0
    flow(cluster, 15)
    for member in cluster.members.values():
        assert member.rows()[ROW].winner.value == b"second"
        expires_ms = member.rows()[OTHER].winner.expires_ms
        assert expires_ms is not None
        assert expires_ms < cluster.now_ms + 61_000
    assert cluster.has_converged(cluster.members)
    assert "writes_stamped_again" in cluster.members["a"].events()
    assert cluster.status("a").tally.writes_stamped_again == 2
    cluster.write("a", Operation(ROW, b"third"))
    flow(cluster)
    assert cluster.members["b"].rows()[ROW].winner.value == b"third"


def test_a_write_stays_above_what_it_replaced(cluster: Cluster) -> None:
    cluster.members["b"].clock_ahead_ms = 9 * MINUTE_MS
    cluster.write("b", Operation(ROW, b"replaced"))
    cluster.members["b"].clock_ahead_ms = 0
    flow(cluster)
    write_ahead(cluster, Operation(ROW, b"value"))
    flow(cluster)
    cluster.members["a"].clock_ahead_ms = 0
    flow(cluster, 15)
    assert {member.rows()[ROW].winner.value for member in cluster.members.values()} == {b"value"}
    assert cluster.has_converged(cluster.members)


def test_what_another_member_holds_waits_for_its_time(cluster: Cluster) -> None:
    cluster.members["b"].clock_ahead_ms = AHEAD_MS
    write_ahead(cluster, Operation(ROW, b"value"))
    for _ in range(10):
        cluster.flow()
    assert ROW in cluster.members["b"].rows()
    for name in ("a", "b"):
        cluster.members[name].clock_ahead_ms = 0
    flow(cluster, 30)
    assert milliseconds(cluster.members["a"].rows()[ROW].winner.timestamp) > cluster.now_ms + 15 * MINUTE_MS
    assert ROW not in cluster.members["c"].rows()
    cluster.now_ms += AHEAD_MS
    flow(cluster, 15)
    assert cluster.has_converged(cluster.members)


def test_nothing_is_stamped_again_before_every_member_has_answered(cluster: Cluster) -> None:
    write_ahead(cluster, Operation(ROW, b"value"))
    storage = cluster.members["c"].storage
    cluster.crash("c")
    flow(cluster)
    cluster.members["a"].clock_ahead_ms = 0
    flow(cluster, 30)
    assert "writes_stamped_again" not in cluster.members["a"].events()
    cluster.start("c", storage)
    cluster.introduce("a", "b", "c")
    flow(cluster, 60)
    assert cluster.members["c"].rows()[ROW].winner.value == b"value"
    assert cluster.has_converged(cluster.members)


def test_nothing_is_stamped_again_while_the_record_of_a_member_that_may_hold_it_is_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ahead(cluster, Operation(ROW, b"value"))
    monkeypatch.setattr(Membership, "lists_all", False)
    flow(cluster)
    cluster.members["a"].clock_ahead_ms = 0
    flow(cluster, 15)
    assert "writes_stamped_again" not in cluster.members["a"].events()
    monkeypatch.undo()
    flow(cluster, 15)
    assert "writes_stamped_again" in cluster.members["a"].events()


def test_clocks_that_were_ahead_together_and_are_set_back_hold_up_no_later_write(cluster: Cluster) -> None:
    cluster.now_ms += AHEAD_MS
    cluster.write("a", Operation(ROW, b"ahead"))
    flow(cluster)
    cluster.now_ms -= AHEAD_MS
    flow(cluster)
    cluster.write("b", Operation(ROW, b"after"))
    cluster.write("b", Operation(OTHER, b"other"))
    flow(cluster)
    assert {member.rows()[ROW].winner.value for member in cluster.members.values()} == {b"after"}
    assert cluster.has_converged(cluster.members)
    assert milliseconds(cluster.members["c"].rows()[OTHER].winner.timestamp) <= cluster.now_ms
