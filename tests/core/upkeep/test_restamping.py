"""What the answers of other members say about rows that are to be stamped again."""

from __future__ import annotations

import pytest

from gossipkv.core.membership.clocks import Compared
from gossipkv.core.membership.exchanges import Outgoing
from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.clock import milliseconds, timestamp_at
from gossipkv.core.model.lacking import LackedRow
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import (
    Delta,
    Envelope,
    LargeRow,
    Message,
    Outline,
    Position,
    RefusedRow,
    RowCopy,
    WalkRows,
)
from gossipkv.core.upkeep.restamping import Asking, Inquiry, Restamper
from tests.core.cluster import Cluster
from tests.core.test_replica import settled

A, B, C = (address_of("table", name) for name in (b"a", b"b", b"c"))
OWN, PEER = 1, 7
OLD, NEW = Dot(PEER, 1), Dot(OWN, 5)
NO_ROWS = WalkRows(USER, (), None)


class Question:
    """A question of one member to a peer, about three rows."""

    def __init__(self) -> None:
        self.restamper: Restamper = Cluster().start("a").driver.replica._restamper
        dots = {address: frozenset([Dot(OWN, number)]) for number, address in ((4, A), (5, B), (6, C))}
        self.inquiry = Inquiry(USER, dots, {}, 0)
        peer = Peer("memory://b", "b")
        self.asking = Asking(peer, PEER, self.inquiry)
        self.exchanges = self.restamper._exchanges
        self.exchange = self.exchanges.begin(Outgoing(self.restamper, self.asking, peer.endpoint, ()))

    def answered(self, *messages: Message, member: str = "b", replica: int = PEER) -> Inquiry:
        self.exchanges.end(self.exchange)
        self.restamper.answered(self.asking, Envelope("test", member, replica, 0, 0, messages))
        return self.inquiry


def test_a_peer_without_the_rows_leaves_all_of_them_to_be_stamped() -> None:
    inquiry = Question().answered(NO_ROWS)
    assert (inquiry.held, inquiry.above, inquiry.answered) == (set(), {}, {"b": PEER})


def test_a_row_that_covers_the_write_is_held_and_an_older_one_is_only_to_be_outranked() -> None:
    rows = (
        RowCopy(A, StoredRow((Version(OLD, 30, b"older"),), Context({PEER: 1}))),
        RowCopy(B, StoredRow((Version(OLD, 90, b"later"),), Context({PEER: 1, OWN: 5}))),
    )
    inquiry = Question().answered(WalkRows(USER, rows, None))
    assert (inquiry.held, inquiry.above) == ({B}, {A: 30, B: 90})


def test_large_rows_count_like_others() -> None:
    large = (
        LargeRow(A, (Outline(OLD, 30, 9_000, 0, None, None),), Context({PEER: 1})),
        LargeRow(B, (Outline(OLD, 90, 9_000, 0, None, None),), Context({PEER: 1, OWN: 5})),
    )
    inquiry = Question().answered(WalkRows(USER, (), None, large))
    assert (inquiry.held, inquiry.above) == ({B}, {A: 30, B: 90})


def test_a_row_that_the_peer_lacks_may_be_held() -> None:
    lacking = Delta(USER, {}, (), lacking=(LackedRow(C, Context({OWN: 6})),))
    assert Question().answered(lacking, NO_ROWS).held == {C}
    elsewhere = Delta(SYSTEM, {}, (), lacking=(LackedRow(C, Context({OWN: 6})),))
    assert Question().answered(elsewhere, NO_ROWS).held == set()


@pytest.mark.parametrize(("address", "held"), [(B, {B}), (None, {A, B, C})])
def test_a_row_that_cannot_be_read_may_be_held(address: bytes | None, held: set[bytes]) -> None:
    refused = RefusedRow((OWN,), "undecodable", address)
    assert Question().answered(WalkRows(USER, (), None, refused=(refused,))).held == held


def test_rows_that_did_not_fit_the_answer_may_be_held() -> None:
    assert Question().answered(WalkRows(USER, (), Position(1, b""))).held == {B, C}


@pytest.mark.parametrize(
    ("messages", "member", "replica"),
    [((NO_ROWS,), "c", PEER), ((NO_ROWS,), "b", PEER + 1), ((WalkRows(SYSTEM, (), None),), "b", PEER), ((), "b", PEER)],
)
def test_nothing_else_is_an_answer(messages: tuple[Message, ...], member: str, replica: int) -> None:
    assert Question().answered(*messages, member=member, replica=replica).answered == {}


def answering(member: str, replica: int | None) -> Peer:
    return Peer(f"memory://{member}", member, replica=replica, has_answered=True)


def test_members_that_answer_are_asked_until_they_have_under_the_replica_that_they_are() -> None:
    question = Question()
    restamper, inquiry = question.restamper, question.inquiry
    let_go, silent, failing = answering("d", 4), Peer("memory://e", "e", replica=5), answering("f", 6)
    let_go.is_let_go, failing.failures = True, 1
    peers = [answering("b", PEER), answering("c", 3), let_go, silent, failing, answering("g", None)]
    restamper._ask(inquiry, peers)
    assert [asking.peer.member for asking in restamper._due] == ["c"], "b is being asked"
    restamper._due.clear()
    question.answered(NO_ROWS)
    restamper._ask(inquiry, peers[:1])
    assert restamper._due == [], "b has answered"
    peers[0].replica = PEER + 1
    restamper._ask(inquiry, peers[:1])
    assert [asking.replica for asking in restamper._due] == [PEER + 1], "as another replica it has not"


@pytest.mark.parametrize("other", ["held", "written", "later", None])
def test_a_row_is_stamped_again_only_if_no_one_holds_it_and_it_is_what_it_was(other: str | None) -> None:
    cluster = Cluster()
    member = cluster.start("a", clock_skew_ms_max=1_000, message_life_ms=1_000)
    replica = member.driver.replica
    ahead_ms = 60_000
    member.clock_ahead_ms = ahead_ms
    cluster.write("a", Operation(A, b"ahead"))
    member.clock_ahead_ms = 0
    row = member.rows()[A]
    inquiry = Inquiry(USER, {A: frozenset([row.winner.dot])}, {A: row.context}, cluster.now_ms)
    if other == "held":
        inquiry.held.add(A)
    elif other == "written":
        cluster.write("a", Operation(A, b"again"))
    elif other == "later":
        inquiry.above[A] = timestamp_at(cluster.now_ms + 2_000)
    transaction = member.storage.begin()
    is_restamped = replica._restamper._conclude(transaction, replica.shards[USER], inquiry, cluster.now_ms)
    stamped = transaction.row(USER, A)
    transaction.abort()
    assert stamped is not None
    assert is_restamped is (other is None)
    if is_restamped:
        assert milliseconds(stamped.winner.timestamp) <= cluster.now_ms + 1
        assert (stamped.winner.value, stamped.context.covers(row.winner.dot)) == (b"ahead", True)


def test_nothing_is_stamped_again_while_the_clock_of_a_member_is_not_known() -> None:
    cluster = settled(Cluster(), "a", "b", clock_skew_ms_max=1_000, message_life_ms=1_000)
    member = cluster.members["a"]
    replica = member.driver.replica
    member.clock_ahead_ms = 60_000
    cluster.write("a", Operation(A, b"ahead"))
    member.clock_ahead_ms = 0
    row = member.rows()[A]
    inquiry = Inquiry(USER, {A: frozenset([row.winner.dot])}, {A: row.context}, cluster.now_ms)
    for is_known in (False, True):
        replica._clocks._peers = {"b": Compared(0, cluster.now_ms)} if is_known else {}
        transaction = member.storage.begin()
        is_stamped = replica._restamper._conclude(transaction, replica.shards[USER], inquiry, cluster.now_ms)
        transaction.abort()
        assert is_stamped is is_known
