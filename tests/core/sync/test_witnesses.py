"""Which proofs of collected tombstones a replica believes, and which it takes over."""

from __future__ import annotations

import pytest

from gossipkv.core.membership.membership import Membership
from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import Context
from gossipkv.core.model.collected import Proof
from gossipkv.core.sync.witnesses import Witnesses
from tests.core.cluster import Cluster

PROOF = Proof(Context({1: 1}), frozenset([1, 2, 3]), frozenset([1, 2, 3]))
OTHER = Proof(Context({2: 900}), frozenset([1, 2]), frozenset([1, 2]))


class Judging:
    """Member a, which hears of proofs from b; c and d are the others."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cluster = Cluster()
        for name in ("a", "b", "c", "d"):
            cluster.start(name)
        cluster.introduce("a", "b", "c", "d")
        cluster.settle()
        replica = cluster.members["a"].driver.replica
        self.witnesses: Witnesses = replica._gossip.witnesses
        self.b, self.c, self.d = (next(peer for peer in replica.peers if peer.member == name) for name in "bcd")
        for peer in (self.b, self.c, self.d):
            peer.has_answered = peer.is_ready = True
        self.vouched: set[str] = set()
        monkeypatch.setattr(Membership, "is_vouched", lambda _, peer: peer.member in self.vouched)
        monkeypatch.setattr(type(self.witnesses._store), "is_outdated", lambda *asked: PROOF in asked[-1])

    def convicts(self, *proofs: Proof, is_found: bool = False) -> bool:
        return bool(self.witnesses.convicts(USER, self.b, proofs, is_found=is_found))

    def confirm(self, peer: Peer, *, where_found: bool = False) -> None:
        """Let a peer have said the same."""
        peer.conversation.told_proofs, peer.conversation.told_where_found = (PROOF,), where_found


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch) -> Judging:
    return Judging(monkeypatch)


def test_a_proof_from_a_host_that_discovery_found_is_believed_by_itself(judging: Judging) -> None:
    assert judging.convicts(PROOF, is_found=True)
    assert not judging.convicts(OTHER, is_found=True), "the data are not outdated by it"
    judging.b.record = None
    assert not judging.convicts(PROOF, is_found=True), "its bringer is not listed"


def test_a_proof_from_another_host_is_believed_once_another_member_that_answers_and_is_ready_says_the_same(
    judging: Judging,
) -> None:
    assert not judging.convicts(PROOF)
    judging.confirm(judging.b)
    assert not judging.convicts(PROOF), "its bringer is no witness of its own"
    judging.confirm(judging.c)
    assert judging.convicts(PROOF)
    judging.c.is_ready = False
    assert not judging.convicts(PROOF)
    judging.c.is_ready, judging.c.failures = True, 1
    assert not judging.convicts(PROOF)


def test_if_discovery_has_found_others_only_what_they_said_from_there_counts(judging: Judging) -> None:
    judging.confirm(judging.c)
    judging.vouched = {"c"}
    assert not judging.convicts(PROOF)
    judging.confirm(judging.c, where_found=True)
    assert judging.convicts(PROOF)


def test_after_a_start_nothing_is_believed_before_all_others_were_tried_or_the_time_is_up(judging: Judging) -> None:
    judging.confirm(judging.c)
    judging.c.has_answered, judging.c.failures = False, 0
    assert not judging.convicts(PROOF)
    judging.c.has_answered, judging.c.failures = True, 0
    assert judging.convicts(PROOF)
    judging.witnesses._left_ms = 0
    judging.c.has_answered = False
    assert not judging.convicts(PROOF), "it does not answer"


def test_a_clock_that_is_set_takes_little_of_the_wait(judging: Judging) -> None:
    witnesses = judging.witnesses
    left_ms, now_ms = witnesses._left_ms, witnesses._ticked_ms
    assert left_ms > 1_000
    witnesses.tick(now_ms + 10)
    assert witnesses._left_ms == left_ms - 10
    witnesses.tick(now_ms - 10**9)
    assert witnesses._left_ms == left_ms - 10
    witnesses.tick(now_ms + 10**9)
    assert left_ms // 2 < witnesses._left_ms < left_ms - 10


def test_a_proof_is_taken_over_from_a_host_that_was_found_or_if_all_others_cover_it(judging: Judging) -> None:
    for peer in (judging.c, judging.d):
        peer.conversation.contexts[USER] = Context({1: 1, 2: 900})
    assert judging.witnesses.adoptable(USER, judging.b, (PROOF, OTHER)) == (PROOF, OTHER)
    judging.c.conversation.contexts[USER] = Context({2: 900})
    assert judging.witnesses.adoptable(USER, judging.b, (PROOF, OTHER)) == (OTHER,)
    judging.d.conversation.contexts[USER] = Context({1: 1})
    assert judging.witnesses.adoptable(USER, judging.b, (PROOF, OTHER)) == (), "c covers one, and d the other"
    judging.vouched = {"b"}
    assert judging.witnesses.adoptable(USER, judging.b, (PROOF, OTHER)) == (PROOF, OTHER)
    judging.b.record = None
    assert judging.witnesses.adoptable(USER, judging.b, (PROOF, OTHER)) == ()


def test_a_proof_that_is_not_believed_is_counted_each_time_and_logged_once_per_bringer(judging: Judging) -> None:
    for peer in (judging.b, judging.b, judging.c):
        judging.witnesses.doubt(USER, peer)
    assert judging.witnesses._tally.proofs_refused == 3
    assert [notice.fields["peer"] for notice in judging.witnesses._outbox.take()] == ["b", "c"]
