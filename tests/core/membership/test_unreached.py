"""A peer that is not reached: one warning when it begins and one when it ends, however it ends, and the status."""

from __future__ import annotations

import pytest

from gossipkv.core.inputs import Discovered, Forget
from tests.core.cluster import Cluster, endpoint_of


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    for name in ("a", "b"):
        cluster.start(name)
    cluster.introduce("a", "b")
    cluster.settle()
    return cluster


def pass_time(cluster: Cluster, seconds: int = 10) -> None:
    """Let time pass; nothing that is sent to a member that does not run arrives."""
    for _ in range(seconds):
        cluster.now_ms += 1_000
        for name in sorted(cluster.members):
            cluster.tick(name)
            for send in list(cluster.members[name].outbox):
                target = send.endpoint.removeprefix("memory://")
                if target not in cluster.members:
                    cluster.drop(name, target)
        while cluster.flow():
            pass


def told(cluster: Cluster) -> list[tuple[str, object]]:
    """The warnings of a, with the peer."""
    return [(notice.event, notice.fields.get("peer")) for notice in cluster.members["a"].notices if notice.is_warning]


def test_a_member_that_starts_again_is_logged_as_reached_though_it_spoke_first(cluster: Cluster) -> None:
    storage = cluster.members["b"].storage
    cluster.crash("b")
    pass_time(cluster, 3)
    assert told(cluster) == [("member_not_reached", "b")]
    cluster.start("b", storage)
    cluster.run("b", Discovered((endpoint_of("a"),)))
    cluster.tick("b")
    while cluster.waiting("b", "a"):
        cluster.deliver("b", "a")
    pass_time(cluster)
    assert told(cluster) == [("member_not_reached", "b"), ("member_reached", "b")]


def test_an_endpoint_is_logged_as_reached_once_it_is_known_whose_it_is(cluster: Cluster) -> None:
    cluster.run("a", Discovered((endpoint_of("b"), endpoint_of("c"))))
    pass_time(cluster)
    begun = ("member_not_reached", endpoint_of("c"))
    assert told(cluster) == [begun]
    [notice] = [notice for notice in cluster.members["a"].notices if notice.event == "member_not_reached"]
    assert (notice.fields["endpoint"], notice.fields["status"]) == (endpoint_of("c"), "unknown")
    assert "out of discovery" in str(notice.fields["remedy"])
    assert cluster.status("a").unreached == (endpoint_of("c"),)
    cluster.start("c")
    pass_time(cluster, 40)
    assert told(cluster) == [begun, ("member_reached", "c")]
    assert cluster.status("a").unreached == ()


def test_an_endpoint_that_is_no_longer_found_ends_it(cluster: Cluster) -> None:
    everyone = frozenset({"a", "b", "c"})
    cluster.run("a", Discovered((endpoint_of("b"), endpoint_of("c")), everyone))
    pass_time(cluster)
    cluster.run("a", Discovered((endpoint_of("b"),), everyone - {"c"}))
    assert told(cluster) == [("member_not_reached", endpoint_of("c")), ("member_let_go", endpoint_of("c"))]
    assert cluster.status("a").unreached == ()


def test_that_a_member_is_let_go_ends_it(cluster: Cluster) -> None:
    cluster.crash("b")
    pass_time(cluster, 3)
    cluster.run("a", Discovered((), frozenset({"a"})))
    assert told(cluster) == [("member_not_reached", "b"), ("member_let_go", "b")]


def test_that_a_member_is_forgotten_ends_it(cluster: Cluster) -> None:
    cluster.crash("b")
    pass_time(cluster, 3)
    cluster.run("a", Forget("b", is_forced=True))
    assert told(cluster) == [("member_not_reached", "b"), ("member_forgotten", "b")]
