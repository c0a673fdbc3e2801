"""Reads of several members: who is asked, who counts, and who is sent the row afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossipkv.core.effects import Effects, Send
from gossipkv.core.inputs import Answered, Failed, Leave, Read, Received, Withdraw
from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Delta, Envelope
from gossipkv.core.waits.answers import Found, Resolved
from tests.core.cluster import Cluster, sent
from tests.core.transfer.test_large_rows import deliver, directs

ROW = address_of("table", b"row")


@pytest.fixture
def cluster() -> Cluster:
    """Three members that hold a row, of which a alone has heard that it was written again."""
    cluster = Cluster()
    for name in ("a", "b", "c"):
        cluster.start(name)
    cluster.introduce("a", "b", "c")
    cluster.write("a", Operation(ROW, b"old"))
    cluster.settle()
    cluster.write("a", Operation(ROW, b"new"))
    cluster.members["a"].outbox.clear()
    return cluster


def read(cluster: Cluster, name: str, members: int) -> list[Resolved]:
    """Begin a read; returns what it comes to, which is filled in later."""
    member = cluster.members[name]
    resolved: list[Resolved] = []
    keep = member.keep

    def keeping(effects: Effects) -> None:
        resolved.extend(effects.resolved)
        keep(effects)

    vars(member)["keep"] = keeping
    cluster.run(name, Read(1, USER, ROW, members))
    return resolved


def asked(cluster: Cluster, name: str) -> dict[str, Send[Envelope]]:
    """The direct exchanges of a member under way, by the peer."""
    return {send.endpoint.removeprefix("memory://"): send for send in directs(cluster.members[name])}


def found_in(resolved: list[Resolved]) -> tuple[bytes | None, set[str], int]:
    """The value, the other members that it was read from, and the number of copies."""
    [(_, found, is_cut, is_late)] = resolved
    assert isinstance(found, Found)
    assert not is_cut
    assert not is_late
    assert found.row is not None
    return found.row.winner.value, set(found.answered), found.copies


def peer_of(cluster: Cluster, name: str, other: str) -> Peer:
    return next(peer for peer in cluster.members[name].driver.replica.peers if peer.member == other)


def test_all_are_asked_and_the_first_answer_suffices_for_a_read_of_two(cluster: Cluster) -> None:
    resolved = read(cluster, "b", 2)
    assert sorted(asked(cluster, "b")) == ["a", "c"]
    deliver(cluster, "b", asked(cluster, "b")["a"])
    assert found_in(resolved) == (b"new", {"a"}, 2)


def test_a_read_of_three_waits_for_both_others(cluster: Cluster) -> None:
    resolved = read(cluster, "b", 3)
    deliver(cluster, "b", asked(cluster, "b")["c"])
    assert resolved == []
    deliver(cluster, "b", asked(cluster, "b")["a"])
    assert found_in(resolved) == (b"new", {"a", "c"}, 3)


def test_whoever_is_behind_is_sent_the_row_even_by_a_late_answer_and_no_one_else_is(cluster: Cluster) -> None:
    read(cluster, "b", 2)
    late = asked(cluster, "b")["c"]
    deliver(cluster, "b", asked(cluster, "b")["a"])
    assert asked(cluster, "b") == {"c": late}
    deliver(cluster, "b", late)
    [repair] = asked(cluster, "b").values()
    assert isinstance(repair.content.messages[0], Delta)
    deliver(cluster, "b", repair)
    assert cluster.members["c"].rows()[ROW].winner.value == b"new"
    assert cluster.members["b"].driver.replica.tally.reads_repaired == 1


def test_a_member_whose_data_are_outdated_is_not_asked(cluster: Cluster) -> None:
    peer_of(cluster, "b", "a").conversation.is_outdated = True
    read(cluster, "b", 2)
    assert sorted(asked(cluster, "b")) == ["c"]


def test_a_member_that_fails_to_answer_is_asked_again_at_the_next_tick_and_not_before(cluster: Cluster) -> None:
    read(cluster, "b", 3)
    deliver(cluster, "b", asked(cluster, "b")["c"])
    failing = asked(cluster, "b")["a"]
    cluster.members["b"].outbox.remove(failing)
    cluster.tick("b")
    assert asked(cluster, "b") == {}, "it is under way"
    cluster.run("b", Failed(failing.exchange, "lost"))
    cluster.tick("b")
    assert sorted(asked(cluster, "b")) == ["a"]


def test_an_answer_of_another_replica_under_the_name_does_not_count(cluster: Cluster) -> None:
    resolved = read(cluster, "b", 2)
    send = asked(cluster, "b")["a"]
    answer = cluster.answer_to("a", Received(sent(send.content)))
    assert isinstance(answer, Envelope)
    cluster.run("b", Answered(send.exchange, replace(answer, replica=99, incarnation=answer.incarnation + 1)))
    assert resolved == []


def test_a_member_that_leaves_tells_how_its_reads_stand(cluster: Cluster) -> None:
    resolved = read(cluster, "b", 2)
    cluster.run("b", Leave())
    assert resolved == [Resolved(1, Found(None, {}, 1), is_cut=True)]


def test_a_read_whose_client_has_gone_is_never_answered(cluster: Cluster) -> None:
    resolved = read(cluster, "b", 3)
    deliver(cluster, "b", asked(cluster, "b")["c"])
    cluster.run("b", Withdraw(1))
    deliver(cluster, "b", asked(cluster, "b")["a"])
    assert resolved == []
