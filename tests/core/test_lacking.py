"""A row that cannot be taken in holds back itself and no other."""

from __future__ import annotations

from collections.abc import Collection
from typing import Unpack

import pytest

from gossipkv.codec import decode, encode
from gossipkv.core.inputs import Await, Discovered, Write
from gossipkv.core.model import lacking
from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.lacking import RECALLS_PER_ROUND, Lack, held_below, lack_of
from gossipkv.core.model.write import Operation, StoredWrite
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.waits.answers import Receipt
from gossipkv.core.waits.direct_exchanges import Direct, Recall
from gossipkv.simulation.world.refusal import refusing
from tests.core import cluster as joined_by_hand
from tests.core.cluster import LIMITS, Cluster, endpoint_of
from tests.core.replica_settings import ReplicaSettings

BAD = address_of("t", b"bad")


class Refusing:
    """Rows from these senders at these addresses are refused wherever they arrive."""

    def __init__(self) -> None:
        self.senders: Collection[str] = ()
        self.addresses: Collection[bytes] = (BAD,)

    def sent(self, envelope: Envelope) -> Envelope:
        arrived = decode(encode(envelope), LIMITS)
        return refusing(arrived, self.addresses) if envelope.member in self.senders else arrived


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Refusing:
    refused = Refusing()
    monkeypatch.setattr(joined_by_hand, "sent", refused.sent)
    return refused


def joined(*names: str, **settings: Unpack[ReplicaSettings]) -> Cluster:
    cluster = Cluster()
    for name in names:
        cluster.start(name, **settings)
    cluster.introduce(*names)
    cluster.settle()
    return cluster


def put(cluster: Cluster, name: str, address: bytes, value: bytes = b"v") -> StoredWrite:
    [result] = cluster.results(name, Operation(address, value))
    assert isinstance(result, StoredWrite)
    return result


def run(cluster: Cluster, rounds: int = 8) -> None:
    for _ in range(rounds):
        while cluster.flow():
            pass
        cluster.now_ms += 1_300
        for name in sorted(cluster.members):
            cluster.tick(name)
    while cluster.flow():
        pass


def lacking_of(cluster: Cluster, name: str) -> list[bytes]:
    with cluster.members[name].storage.view() as view:
        durable = list(view.lacking(USER))
    assert durable == list(cluster.members[name].driver.replica.shards[USER].lacking)
    return durable


def test_what_comes_with_and_after_a_refused_row_is_taken_in_and_covered(refused: Refusing) -> None:
    cluster = joined("a", "b")
    refused.senders = ("a",)
    put(cluster, "a", address_of("t", b"before"))
    put(cluster, "a", BAD)
    put(cluster, "a", address_of("t", b"with it"))
    run(cluster)
    later = put(cluster, "a", address_of("t", b"later"))
    run(cluster)
    a, b = cluster.members["a"], cluster.members["b"]
    assert {key.partition(b"\0")[2] for key in b.rows()} == {b"before", b"with it", b"later"}
    assert b.context() == a.context()
    assert lacking_of(cluster, "b") == [BAD]
    assert a.driver.replica.coverage(Receipt(USER, later.dot)).copies == 2
    noted = [notice for notice in b.notices if notice.event == "row_lacking"]
    assert [notice.fields["row"] for notice in noted] == ["bad"], "it is said once"
    assert noted[0].fields["peer"] == "a"
    assert not a.driver.replica.tally.anomalies
    assert not b.driver.replica.tally.anomalies


def test_a_lacking_row_is_asked_for_again_until_it_comes(refused: Refusing) -> None:
    cluster = joined("a", "b")
    refused.senders = ("a",)
    put(cluster, "a", BAD)
    run(cluster)
    assert lacking_of(cluster, "b") == [BAD]
    refused.senders = ()
    cluster.settle()
    run(cluster, 3)
    b = cluster.members["b"]
    assert lacking_of(cluster, "b") == []
    assert b.rows()[BAD].winner.value == b"v"
    assert b.events().count("row_no_longer_lacking") == 1


def test_a_large_row_that_was_lacking_is_fetched(refused: Refusing) -> None:
    cluster = joined("a", "b", whole_row_bytes_max=500)
    refused.senders = ("a",)
    put(cluster, "a", BAD, bytes(3_000))
    run(cluster)
    assert lacking_of(cluster, "b") == [BAD]
    refused.senders = ()
    run(cluster)
    assert lacking_of(cluster, "b") == []
    assert cluster.members["b"].rows()[BAD].winner.value == bytes(3_000)


def test_a_copy_that_may_be_missing_counts_for_no_receipt(refused: Refusing) -> None:
    cluster = joined("a", "b")
    refused.senders = ("a",)
    receipt = Receipt(USER, put(cluster, "a", BAD).dot)
    cluster.run("a", Await(1, 2, receipt))
    run(cluster)
    a, b = cluster.members["a"].driver.replica, cluster.members["b"].driver.replica
    assert a.coverage(receipt).copies == 1
    assert not {holder.member: holder.has_it for holder in b.coverage(receipt).holders}["b"]
    refused.senders = ()
    run(cluster)
    assert a.coverage(receipt).copies == b.coverage(receipt).copies == 2


@pytest.mark.parametrize("part_bytes", [300, 512 * 1024], ids=["in parts", "at once"])
def test_whoever_gets_a_range_from_a_member_that_lacks_a_row_lacks_it_too_until_another_gives_it(
    refused: Refusing, part_bytes: int
) -> None:
    cluster = joined("a", "b", part_bytes=part_bytes)
    refused.senders = ("a",)
    put(cluster, "a", BAD)
    for number in range(20):
        put(cluster, "a", address_of("t", b"%d" % number))
    run(cluster)
    storage = cluster.members["a"].storage
    cluster.crash("a")
    cluster.start("c", part_bytes=part_bytes)
    cluster.introduce("b", "c")
    run(cluster)
    b, c = cluster.members["b"], cluster.members["c"]
    assert c.context() == b.context()
    assert lacking_of(cluster, "c") == [BAD]
    refused.senders = ()
    cluster.start("a", storage, part_bytes=part_bytes)
    cluster.introduce("a", "b", "c")
    run(cluster, 20)
    assert lacking_of(cluster, "b") == lacking_of(cluster, "c") == []
    assert BAD in b.rows()
    assert BAD in c.rows()


def test_a_new_member_that_cannot_take_in_one_row_walks_and_is_ready_with_all_others(refused: Refusing) -> None:
    cluster = joined("a")
    put(cluster, "a", BAD)
    for number in range(20):
        put(cluster, "a", address_of("t", b"%d" % number))
    refused.senders = ("a",)
    cluster.start("b")
    cluster.introduce("a", "b")
    run(cluster)
    b = cluster.members["b"]
    assert len(b.rows()) == 20
    assert b.context() == cluster.members["a"].context()
    assert b.driver.replica.is_ready
    assert lacking_of(cluster, "b") == [BAD]
    refused.senders = ()
    cluster.settle()
    run(cluster, 3)
    assert lacking_of(cluster, "b") == []


def test_what_is_lacking_outlives_the_process_and_a_failed_batch_notes_nothing(refused: Refusing) -> None:
    cluster = joined("a", "b")
    refused.senders = ("a",)
    put(cluster, "a", BAD)
    run(cluster)
    storage = cluster.members["b"].storage
    cluster.crash("b")
    cluster.start("b", storage)
    cluster.introduce("a", "b")
    assert lacking_of(cluster, "b") == [BAD]
    run(cluster)
    assert lacking_of(cluster, "b") == [BAD]


def test_a_row_that_went_with_the_disk_of_its_writer_is_lacking_no_longer(refused: Refusing) -> None:
    cluster = joined("a", "b", "c")
    refused.senders = ("a",)
    put(cluster, "a", BAD)
    run(cluster)
    assert lacking_of(cluster, "b") == lacking_of(cluster, "c") == [BAD]
    cluster.crash("a")
    run(cluster)
    assert lacking_of(cluster, "b") == [BAD], "a member that is down may have it"
    refused.senders = ()
    cluster.start("a")
    cluster.introduce("a", "b", "c")
    run(cluster, 20)
    assert [lacking_of(cluster, name) for name in "abc"] == [[], [], []]
    assert BAD not in cluster.members["b"].rows()
    put(cluster, "b", BAD, b"again")
    cluster.settle()


def test_no_tombstone_goes_while_a_member_lacks_a_row_and_status_names_it(refused: Refusing) -> None:
    cluster = joined("a", "b", tombstone_age_ms_min=1, message_life_ms=100)
    refused.senders = ("a",)
    put(cluster, "a", BAD)
    put(cluster, "a", address_of("t", b"gone"))
    cluster.answer_to("a", Write(USER, (Operation(address_of("t", b"gone"), None),)))
    run(cluster, 30)
    for name in ("a", "b"):
        assert cluster.status(name).totals[USER].tombstones == 1
        assert "b" in cluster.status(name).collection_blocked_by
    refused.senders = ()
    run(cluster, 30)
    assert [cluster.status(name).totals[USER].tombstones for name in ("a", "b")] == [0, 0]


def test_more_rows_than_can_be_noted_hold_back_their_origins(
    refused: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossipkv.core.store.shard.LACKING_ROWS_MAX", 2)
    cluster = joined("a", "b")
    before = cluster.members["b"].context()
    refused.addresses = [address_of("t", b"bad%d" % number) for number in range(3)]
    refused.senders = ("a",)
    cluster.write("a", *(Operation(address, b"v") for address in refused.addresses))
    run(cluster)
    b = cluster.members["b"]
    assert len(lacking_of(cluster, "b")) <= 2
    assert b.context() == before
    refused.senders = ()
    run(cluster, 20)
    assert lacking_of(cluster, "b") == []
    assert len(b.rows()) == 3


def test_what_was_covered_before_is_never_lacking() -> None:
    assert lack_of({1: 5, 2: 3}.items(), Context({1: 5, 2: 9}), "x") is None
    lack = lack_of({1: 7, 2: 3}.items(), Context({1: 5, 2: 9}), "x")
    assert lack == Lack(Context({1: 7}), Context({1: 5}), "x")
    assert held_below(Context({1: 9, 2: 9}), {BAD: lack}) == Context({1: 5, 2: 9})
    assert held_below(Context({1: 9}), {BAD: Lack(Context({1: 3}), Context(), "x")}) == Context()


def test_the_least_that_was_covered_counts_of_what_is_lacking_twice() -> None:
    first = Lack(Context({1: 7, 2: 4}), Context({1: 5, 2: 1}), "x")
    second = Lack(Context({1: 9, 3: 6}), Context({1: 8, 3: 2}), "y")
    assert first.joined(second) == Lack(Context({1: 9, 2: 4, 3: 6}), Context({1: 5, 2: 1, 3: 2}), "x")
    assert Dot(1, 6).sequence <= lacking.through_of({BAD: first})[1]


def test_more_lacking_rows_than_are_asked_for_in_one_round_are_asked_for_in_turn() -> None:
    cluster = joined("a", "b")
    b = cluster.members["b"].driver.replica
    through = {address_of("t", b"%d" % number): Context({1: number + 1}) for number in range(2 * RECALLS_PER_ROUND + 3)}
    for address, context in through.items():
        b.shards[USER].lacking[address] = Lack(context, Context(), "undecodable")
    asked = set()
    for _ in range(6):
        b._direct.recall(b.shards, (), cluster.now_ms)
        recalls = [direct.purpose for direct in b._direct._due if isinstance(direct.purpose, Recall)]
        assert len(recalls) == len(b._direct._due) <= RECALLS_PER_ROUND
        assert all(recall.through == through[recall.address] for recall in recalls)
        asked |= {recall.address for recall in recalls}
        b._direct._due.clear()
    assert asked == set(through)
    b._direct.recall(b.shards, (), cluster.now_ms)
    begun = len(b._direct._due)
    b._direct.recall(b.shards, (), cluster.now_ms)
    addresses = [direct.purpose.address for direct in b._direct._due if isinstance(direct.purpose, Recall)]
    assert len(addresses) == len(set(addresses)) > begun, "what is under way is not asked for twice"


def test_a_lacking_row_is_asked_for_first_at_a_member_that_covers_it_and_then_at_all_others() -> None:
    cluster = joined("a", "b", "c", "d")
    b = cluster.members["b"].driver.replica
    holder = next(peer for peer in b.peers if peer.member == "c")
    holder.conversation.contexts[USER] = Context({99: 5})
    b.shards[USER].lacking[BAD] = Lack(Context({99: 5}), Context(), "undecodable")

    def asked() -> Direct:
        b._direct.recall(b.shards, (), cluster.now_ms)
        [direct] = b._direct._due
        b._direct._due.clear()
        return direct

    for _ in range(3):
        direct = asked()
        assert isinstance(direct.purpose, Recall)
        assert (direct.peer.member, direct.purpose.is_enough) == ("c", True)
    holder.conversation.lacking[USER] = Context({99: 5})
    others = [asked() for _ in range(6)]
    assert {direct.peer.member for direct in others} == {"a", "c", "d"}
    assert not any(isinstance(direct.purpose, Recall) and direct.purpose.is_enough for direct in others)


@pytest.mark.parametrize("listed", [(), ("c",)], ids=["alone", "beside another member"])
def test_the_record_of_a_member_that_no_one_else_knows_is_not_given_up(
    refused: Refusing, listed: tuple[str, ...]
) -> None:
    """Its member has found this one, and is not found here yet."""
    cluster = joined("a", *listed, message_life_ms=30_000)
    if not listed:
        cluster.introduce("a")
    record = address_of(MEMBERS_TABLE, b"b")
    refused.senders, refused.addresses = ("b",), (record,)
    cluster.start("b", message_life_ms=30_000)
    cluster.run("b", Discovered((endpoint_of("a"),)))
    cluster.deliver("b", "a")
    for _ in range(10):
        cluster.now_ms += 1_000
        cluster.tick("b")
        if cluster.waiting("b", "a") is not None:
            cluster.deliver("b", "a")
    a = cluster.members["a"].driver.replica
    assert record in a.shards[SYSTEM].lacking
    cluster.crash("b")
    for _ in range(12):
        run_alone(cluster)
    assert record in a.shards[SYSTEM].lacking, "its member may be found yet"
    for _ in range(20):
        run_alone(cluster)
    assert record not in a.shards[SYSTEM].lacking, "its member is gone"


def run_alone(cluster: Cluster) -> None:
    """A second passes, and those that run answer each other."""
    cluster.now_ms += 1_000
    for name in sorted(cluster.members):
        cluster.tick(name)
    while cluster.flow():
        pass


def test_who_has_been_asked_is_forgotten_with_the_row_and_when_more_may_be_missing() -> None:
    cluster = joined("a", "b")
    b = cluster.members["b"].driver.replica
    [peer] = b.peers
    assert peer.replica is not None
    b._direct.recall(b.shards, (), cluster.now_ms)
    for lack in (None, Lack(Context({99: 6}), Context(), "undecodable")):
        recall = Recall(USER, BAD, Context({99: 5}), is_enough=False)
        b._direct._heard[USER, BAD] = (recall.through, {7})
        if lack is not None:
            b.shards[USER].lacking[BAD] = lack
        b._direct._recalled(Direct(peer, peer.replica, recall), recall)
        assert b._direct._heard == {}
