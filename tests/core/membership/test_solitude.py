"""When a member is alone, and when it is not."""

from __future__ import annotations

import pytest

from gossipkv.core.inputs import Discovered, Inspect, Leave
from gossipkv.core.membership.solitude import SILENT_INTERVALS
from gossipkv.core.model.address import address_of
from gossipkv.core.model.write import Operation
from tests.core.cluster import Cluster, endpoint_of

ROW = address_of("table", b"row")
SILENCE_MS = SILENT_INTERVALS * 1_000


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    for name in ("a", "b"):
        cluster.start(name)
    cluster.introduce("a", "b")
    cluster.settle()
    return cluster


def alone_ms(cluster: Cluster, name: str) -> int | None:
    """What a member says of itself, at once in its effects and its status."""
    snapshot = cluster.run(name, Inspect()).effects.snapshot
    assert snapshot is not None
    since_ms = snapshot.alone_since_ms
    alone_ms = cluster.status(name).alone_ms
    assert alone_ms == (None if since_ms is None else cluster.now_ms - since_ms)
    return alone_ms


def lose_all(cluster: Cluster, name: str, seconds: int) -> None:
    """Let time pass in which nothing that the member sends arrives."""
    for _ in range(seconds):
        cluster.now_ms += 1_000
        cluster.tick(name)
        for send in list(cluster.members[name].outbox):
            cluster.drop(name, send.endpoint.removeprefix("memory://"))


def test_members_that_talk_are_not_alone(cluster: Cluster) -> None:
    assert (alone_ms(cluster, "a"), alone_ms(cluster, "b")) == (None, None)


def test_a_member_that_knows_of_no_one_is_not_alone() -> None:
    cluster = Cluster()
    cluster.start("a")
    cluster.run("a", Discovered((endpoint_of("a"),)))
    cluster.now_ms += 60_000
    cluster.tick("a")
    assert alone_ms(cluster, "a") is None


def test_a_member_that_starts_is_alone_until_its_first_sync(cluster: Cluster) -> None:
    storage = cluster.members["a"].storage
    cluster.crash("a")
    cluster.start("a", storage)
    assert alone_ms(cluster, "a") == 0
    cluster.now_ms += 1_500
    assert alone_ms(cluster, "a") == 1_500
    cluster.introduce("a", "b")
    cluster.settle()
    assert alone_ms(cluster, "a") is None
    assert "alone" not in cluster.members["a"].events()


def test_a_member_whose_others_fall_silent_is_alone_after_some_intervals(cluster: Cluster) -> None:
    cluster.crash("b")
    lose_all(cluster, "a", SILENT_INTERVALS - 1)
    assert alone_ms(cluster, "a") is None
    lose_all(cluster, "a", 1)
    assert alone_ms(cluster, "a") == SILENCE_MS
    lose_all(cluster, "a", 20)
    assert alone_ms(cluster, "a") == SILENCE_MS + 20_000
    assert cluster.members["a"].events().count("alone") == 1
    cluster.start("b")
    cluster.introduce("a", "b")
    cluster.now_ms += 30_000
    cluster.settle()
    assert alone_ms(cluster, "a") is None
    cluster.tick("a")
    assert cluster.members["a"].events().count("no_longer_alone") == 1


def test_to_be_asked_is_to_be_in_touch(cluster: Cluster) -> None:
    for _ in range(2 * SILENT_INTERVALS):
        lose_all(cluster, "a", 1)
        cluster.tick("b")
        while cluster.waiting("b", "a"):
            cluster.deliver("b", "a")
    assert alone_ms(cluster, "a") is None


def test_a_member_whose_others_have_left_is_alone_only_while_discovery_finds_them(cluster: Cluster) -> None:
    cluster.answer_to("b", Leave())
    cluster.settle()
    cluster.crash("b")
    lose_all(cluster, "a", SILENT_INTERVALS)
    assert alone_ms(cluster, "a") is not None
    cluster.run("a", Discovered((endpoint_of("a"),)))
    assert alone_ms(cluster, "a") is None


def test_an_empty_member_that_discovery_tells_of_others_is_alone() -> None:
    cluster = Cluster()
    cluster.start("a")
    cluster.run("a", Discovered((endpoint_of("a"), endpoint_of("b"))))
    lose_all(cluster, "a", 30)
    assert cluster.members["a"].driver.replica.is_ready
    assert alone_ms(cluster, "a") == 30_000


def test_a_clock_that_is_set_back_puts_nothing_off(cluster: Cluster) -> None:
    cluster.now_ms -= 60_000
    cluster.tick("a")
    lose_all(cluster, "a", SILENT_INTERVALS)
    assert alone_ms(cluster, "a") is not None


def test_a_clock_that_is_put_forward_is_no_silence_to_log(cluster: Cluster) -> None:
    cluster.now_ms += 20 * 60_000
    cluster.tick("a")
    assert alone_ms(cluster, "a") is not None, "what it answers may be old after a pause"
    cluster.settle()
    assert alone_ms(cluster, "a") is None
    assert "alone" not in cluster.members["a"].events()
    cluster.crash("b")
    cluster.now_ms += 20 * 60_000
    lose_all(cluster, "a", SILENT_INTERVALS + 1)
    assert cluster.members["a"].events().count("alone") == 1


def test_a_member_that_has_met_no_one_does_not_take_itself_for_all_members() -> None:
    cluster = Cluster()
    cluster.start("a", tombstone_age_ms_min=1_000, message_life_ms=1_000, clock_skew_ms_max=100)
    cluster.run("a", Discovered((endpoint_of("a"), endpoint_of("b"))))
    cluster.write("a", Operation(ROW, b"value"))
    cluster.write("a", Operation(ROW, None))
    lose_all(cluster, "a", 30)
    assert ROW in cluster.members["a"].rows(), "a member that is not known yet may need the tombstone"
    cluster.run("a", Discovered((endpoint_of("a"),)))
    lose_all(cluster, "a", 30)
    assert ROW not in cluster.members["a"].rows(), "there is no one else"
