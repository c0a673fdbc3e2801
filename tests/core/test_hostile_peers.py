"""What peers, or rows that they spread, may not do to a replica, whatever they say."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from gossipkv.core.effects import Arrival, Send
from gossipkv.core.inputs import Answered, Await, Discovered, Failed, Forget, Received, Write
from gossipkv.core.model.address import FORGOTTEN_TABLE, MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.clock import timestamp_at
from gossipkv.core.model.collected import PROOF_IDS_MAX, PROOFS_IDS_MAX, PROOFS_MAX, Proof
from gossipkv.core.model.endpoint import host_of, is_endpoint
from gossipkv.core.model.lacking import LackedRow
from gossipkv.core.model.member import INCARNATION_END, LEFT, SUSPECT, MemberRecord
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.tally import Notice
from gossipkv.core.model.write import Operation, StoredWrite
from gossipkv.core.protocol.messages import (
    Covered,
    Delta,
    Digest,
    Envelope,
    Message,
    Offer,
    Ping,
    Position,
    Pull,
    Range,
    RowCopy,
    State,
    WalkFetch,
    WalkFetchRows,
    WalkRows,
)
from gossipkv.core.protocol.rumours import Life, Rumour
from gossipkv.core.store.forgotten import Forgotten
from gossipkv.core.store.storage import StorageFullError
from gossipkv.core.store.store import Intake
from gossipkv.core.transfer.walk import WalkFaultError
from gossipkv.core.waits.answers import Receipt
from gossipkv.member.metrics import Metrics
from tests.core.cluster import START_MS, Cluster, Member, sent
from tests.core.disks import at
from tests.core.test_replica import overwrite_record, own_record, settle_after_a_tick, settled
from tests.core.transfer.test_walk import asking
from tests.core.upkeep.test_collection import live

INFINITE = b'{"replica":"1","incarnation":1e999,"protocols":[],"status":"alive"}'
HUGE = b'{"replica":"1","incarnation":1180591620717411303424,"protocols":[],"status":"alive"}'


def test_the_last_part_of_a_pull_that_was_given_up_does_not_end_the_next_one() -> None:
    cluster = settled(Cluster(), "a", "b", "c", part_bytes=100, audit_interval_ms=10**9)
    a, b = cluster.members["a"], cluster.members["b"]
    for number in range(20):
        cluster.write("a", Operation(at(f"row{number:02}"), b"old"))
    cluster.settle()
    cluster.write("a", Operation(at("row00"), b"new"))
    cluster.drop("a", "b")
    cluster.write("c", Operation(at("row01"), b"new"))
    cluster.drop("c", "b")
    cluster.deliver("c", "a")
    while not (send := cluster.waiting("b", "a")):
        cluster.now_ms += 1_000
        cluster.tick("b")
        if cluster.waiting("b", "c"):
            cluster.drop("b", "c")
    while not any(isinstance(message, Pull) and message.cursor for message in send.content.messages):
        cluster.deliver("b", "a")
        send = cluster.waiting("b", "a")
        assert send is not None
    # The last part is under way. Origin a has been read to its end; now a writes again.
    cluster.write("a", Operation(at("row05"), b"newer"))
    b.outbox.remove(send)
    last = cluster.answer_to("a", Received(sent(send.content)))
    assert isinstance(last, Envelope)
    # A batch of b fails, so its pull is given up; an offer starts another one before the answer arrives.
    b.storage.fail_next_commit(StorageFullError("no room"))
    cluster.run("b", Write(USER, (Operation(at("x"), b""),)))
    offer = Envelope("test", "a", 1, own_record(a).incarnation, cluster.now_ms, (Offer(USER),))
    cluster.answer_to("b", Received(offer))
    cluster.answer_to("b", Answered(send.exchange, sent(last)))
    for address, row in a.rows().items():
        if Context(b.context()).covers(row.winner.dot):
            assert b.rows()[address].winner.rank >= row.winner.rank, (address, b.context())


@pytest.mark.parametrize("garbage", [INFINITE, b"[" * 100_000, HUGE])
def test_garbage_is_a_value_error(garbage: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        MemberRecord.from_json(garbage)


def test_a_poisonous_member_record_does_not_end_replication() -> None:
    cluster = settled(Cluster(), "a", "b")
    cluster.answer_to("b", Write(SYSTEM, (Operation(address_of(MEMBERS_TABLE, b"c"), INFINITE),)))
    cluster.settle()


def test_a_member_does_not_outdo_a_record_into_an_incarnation_that_no_frame_holds() -> None:
    cluster = settled(Cluster(), "a", "b")
    overwrite_record(cluster, "b", "a", MemberRecord(77, 2**63 - 1, {"gossip": "memory://elsewhere"}))
    settle_after_a_tick(cluster, "a")


def test_the_answer_to_a_fetch_counts_once() -> None:
    _, walk = asking(WalkFetch)
    walk.take_rows(WalkRows(USER, (), None), Intake())
    with pytest.raises(WalkFaultError):
        walk.take_rows(WalkRows(USER, (), None), Intake())


def test_an_answer_cannot_serve_more_rows_than_were_asked_for() -> None:
    _, walk = asking(WalkFetchRows)
    with pytest.raises(WalkFaultError):
        walk.take_rows(WalkRows(USER, (), Position(10**6, b"")), Intake())


# Endpoints


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://10.0.0.9:80/admin/delete?all=yes&x=",
        "http://10.0.0.9:80?x",
        "http://10.0.0.9:80#x",
        "http://user:password@10.0.0.9:80",
        "http://10.0.0.9",
        "http://10.0.0.9:0",
        "http://10.0.0.9:65536",
        "http://10.0.0.9:080",
        "http://10.0.0.9:80 ",
        "http://a\nb:80",
        "http://a\x1b]0;x:80",
        "http://" + "a" * 254 + ":80",
        "http://[::1:80",
        "//10.0.0.9:80",
        "10.0.0.9:80",
        "",
    ],
)
def test_a_member_is_not_dialled_at_what_is_no_endpoint(endpoint: str) -> None:
    cluster = settled(Cluster(), "a", "b")
    plant_record(cluster, "x", MemberRecord(99, START_MS, {"gossip": endpoint, "http": endpoint}))
    live(cluster, 5)
    assert {send.endpoint for send in sent_by(cluster)} == {"memory://a", "memory://b"}
    [listed] = [member for member in cluster.status("b").members if member.member == "x"]
    assert listed.endpoints == {}
    if endpoint:
        assert [n.fields["peer"] for n in notices(cluster, "b", "member_refused")] == ["x"]
        assert cluster.status("b").tally.records_refused == {"endpoint": 1}


@pytest.mark.parametrize("endpoint", ["http://10.0.0.9:80", "https://kv-0.kv_x.svc:1", "http://[fd00::1%eth0]:65535"])
def test_an_endpoint_is_a_scheme_a_host_and_a_port(endpoint: str) -> None:
    assert is_endpoint(endpoint)
    assert host_of(endpoint)


def test_what_discovery_finds_is_dialled_only_if_it_is_an_endpoint() -> None:
    cluster = settled(Cluster(), "a", "b")
    for _ in range(3):
        cluster.run("a", Discovered(("http://10.0.0.9:80/x", "memory://b")))
    live(cluster, 3)
    assert {send.endpoint for send in sent_by(cluster)} == {"memory://a", "memory://b"}
    assert len(notices(cluster, "a", "member_refused")) == 1
    assert cluster.status("a").tally.records_refused == {"endpoint": 3}


def test_where_discovery_knows_all_members_a_host_that_it_has_not_found_is_not_dialled() -> None:
    cluster = settled(Cluster(), "a", "b")
    for name in ("a", "b"):
        cluster.run(name, Discovered(("memory://a", "memory://b"), frozenset({"a", "b", "x"})))
    plant_record(cluster, "x", MemberRecord(99, START_MS, {"gossip": "http://10.0.0.9:80"}))
    live(cluster, 10)
    assert {send.endpoint for send in sent_by(cluster)} == {"memory://a", "memory://b"}
    assert len(notices(cluster, "b", "member_not_dialled")) == 1
    cluster.run("b", Discovered(("http://10.0.0.9:7081", "memory://a"), frozenset({"a", "b", "x"})))
    assert "http://10.0.0.9:80" in {send.endpoint for send in cluster.members["b"].outbox}


def test_one_that_does_not_exist_and_may_not_be_dialled_stays_let_go_whatever_its_record_says() -> None:
    cluster = settled(Cluster(), "a", "b")
    for name in ("a", "b"):
        cluster.run(name, Discovered(("memory://a", "memory://b"), frozenset({"a", "b"})))
    for incarnation in (START_MS, START_MS + 1):
        plant_record(cluster, "x", MemberRecord(99, incarnation, {"gossip": "http://10.0.0.9:80"}))
        live(cluster, 3)
    assert {member.member: member.status for member in cluster.status("b").members}["x"] == LEFT


def test_nothing_is_fetched_of_one_that_may_not_be_dialled() -> None:
    cluster = settled(Cluster(), "a", "b")
    for name in ("a", "b"):
        cluster.run(name, Discovered(("memory://a", "memory://b"), frozenset({"a", "b", "x"})))
    plant_record(cluster, "x", MemberRecord(99, cluster.now_ms, {"gossip": "http://10.0.0.9:80"}))
    live(cluster, 3)
    offer = Envelope("test", "x", 99, cluster.now_ms, cluster.now_ms, (Offer(SYSTEM), Offer(USER)))
    cluster.run("b", Received(offer))
    cluster.write("a", Operation(at("k"), b"v"))
    live(cluster, 5)
    assert at("k") in cluster.members["b"].rows()
    assert not cluster.members["b"].driver.replica._gossip.progress.is_transferring(SYSTEM)


@pytest.mark.parametrize(("dialled_hosts", "is_dialled"), [("auto", True), ("recorded", True), ("discovered", False)])
def test_where_discovery_knows_seeds_alone_records_are_dialled_unless_a_setting_says_otherwise(
    dialled_hosts: str, is_dialled: bool
) -> None:
    cluster = settled(Cluster(), "a", "b", dialled_hosts=dialled_hosts)
    plant_record(cluster, "x", MemberRecord(99, START_MS, {"gossip": "memory://elsewhere"}))
    live(cluster, 3)
    assert ("memory://elsewhere" in {send.endpoint for send in sent_by(cluster)}) is is_dialled


@pytest.mark.parametrize("is_found", [False, True])
def test_an_answer_in_the_name_of_a_member_that_is_reached_elsewhere_counts_only_from_a_host_that_is_found(
    is_found: bool,
) -> None:
    cluster = settled(Cluster(), "a", "b")
    a, b = cluster.members["a"], cluster.members["b"]
    plant_record(cluster, "x", MemberRecord(STRANGER, START_MS, {"gossip": "memory://elsewhere"}))
    cluster.run("a", Discovered(("memory://b", "memory://elsewhere") if is_found else ("memory://b",)))
    [written] = cluster.results("a", Operation(at("row"), b"value"), copies=2)
    assert isinstance(written, StoredWrite)
    cluster.run("a", Await(1, 2, Receipt(USER, written.dot)))
    dialled = cluster.waiting("a", "elsewhere")
    assert dialled is not None
    a.outbox.remove(dialled)
    claim = Covered(USER, Context({a.replica_id: written.dot.sequence}))
    answer = Envelope("test", "b", b.replica_id, own_record(b).incarnation, cluster.now_ms, (claim,))
    cluster.run("a", Answered(dialled.exchange, sent(answer)))
    assert [wait.ticket for wait in a.resolved] == ([1] if is_found else [])
    cluster.settle()
    assert at("row") in b.rows()
    assert [wait.ticket for wait in a.resolved] == [1], "what b says at its own address counts"


def test_a_member_whose_record_is_given_another_endpoint_or_said_to_have_left_writes_it_again() -> None:
    cluster = settled(Cluster(), "a", "b", "c")
    for change in ({"endpoints": {"gossip": "memory://c"}}, {"has_left": True}):
        record = full_record(cluster.members["a"])
        plant_record(cluster, "a", replace(record, **change))
        live(cluster, 5)
        for member in cluster.members.values():
            stands = MemberRecord.from_json(member.rows(SYSTEM)[address_of(MEMBERS_TABLE, b"a")].winner.value or b"")
            assert (stands.endpoints, stands.has_left) == (record.endpoints, False)
            assert stands.incarnation > record.incarnation
        assert {member.status for member in cluster.status("b").members} == {"alive"}


# Incarnations, and the words of the failure detector


def test_a_record_ahead_of_the_clock_is_refused_and_the_member_outdoes_it_with_one_that_all_can_read() -> None:
    cluster = settled(Cluster(), "a", "b")
    for incarnation in (INCARNATION_END - 1, cluster.now_ms + 700_000):
        plant_record(cluster, "a", MemberRecord(77, incarnation, {"gossip": "memory://b"}))
        live(cluster, 3)
        for member in cluster.members.values():
            stands = own_record(member, "a")
            assert stands.replica == 1
            assert stands.incarnation < cluster.now_ms + 600_000
    assert cluster.status("b").tally.records_refused == {"incarnation": 2}
    assert len(notices(cluster, "b", "member_refused")) == 1
    cluster.settle()
    a = cluster.members["a"]
    cluster.crash("a")
    assert own_record(cluster.start("a", a.storage)).incarnation < cluster.now_ms + 600_000
    cluster.settle()


def test_nothing_that_rests_on_all_members_goes_on_while_a_record_is_refused() -> None:
    cluster = settled(Cluster(), "a", "b")
    ahead_ms = cluster.now_ms + 605_000
    plant_record(cluster, "x", MemberRecord(99, ahead_ms, {"gossip": "memory://x"}))
    cluster.settle()
    for member in cluster.members.values():
        assert not member.driver.replica._membership.lists_all
    live(cluster, 10)
    for name, member in cluster.members.items():
        assert member.driver.replica._membership.lists_all
        assert "x" in {each.member for each in cluster.status(name).members}


def test_a_ping_that_says_all_have_left_does_not_stop_replication() -> None:
    cluster = settled(Cluster(), "a", "b", "c", protocol_period_ms=1_000)
    for target in "abc":
        others = [name for name in "abc" if name != target]
        left = [Rumour(name, LEFT, Life(own_record(cluster.members[name]).incarnation, 0)) for name in others]
        tell(cluster, target, Ping(tuple(left)))
    live(cluster, 3)
    for name in "abc":
        assert {member.status for member in cluster.status(name).members} == {"alive"}
    cluster.write("a", Operation(at("row"), b"value"))
    live(cluster, 3)
    assert all(at("row") in member.rows() for member in cluster.members.values())


def test_a_suspicion_with_the_greatest_number_of_refutations_leaves_a_member_that_all_can_read() -> None:
    cluster = settled(Cluster(), "a", "b", protocol_period_ms=1_000)
    start = own_record(cluster.members["a"]).incarnation
    rumour = Rumour("a", SUSPECT, Life(start, INCARNATION_END - 1), "x")
    tell(cluster, "a", Ping((rumour,)))
    live(cluster, 5)
    assert {member.status for member in cluster.status("b").members} == {"alive"}


# The number of members


def test_the_number_of_members_is_bounded_and_those_that_answer_are_listed_all_the_same() -> None:
    cluster = settled(Cluster(), "a", "b", members_max=8)
    for number in range(50):
        plant_record(cluster, f"x{number:02}", MemberRecord(100 + number, START_MS, {"gossip": f"memory://x{number}"}))
    live(cluster, 3)
    for name in ("a", "b"):
        assert len(cluster.status(name).members) == 9
        assert len(notices(cluster, name, "member_refused")) == 1
    assert cluster.status("b").tally.records_refused == {"too_many": 43}
    cluster.start("c", members_max=8)
    cluster.introduce("a", "b", "c")
    cluster.write("c", Operation(at("row"), b"value"))
    live(cluster, 30)
    for name in ("a", "b"):
        assert at("row") in cluster.members[name].rows()
    assert cluster.answer_to("a", Forget("x40")) is Forgotten.DONE


def test_the_number_of_members_with_series_of_their_own_is_bounded() -> None:
    cluster = settled(Cluster(), "a", "z")
    for number in range(50):
        plant_record(cluster, f"x{number:02}", MemberRecord(100 + number, START_MS, {"gossip": "memory://x"}))
    metrics = Metrics()
    metrics.peers_max = 3
    text = metrics.render(cluster.status("a")).decode()
    assert set(re.findall(r'gossipkv_peer_clock_ahead_seconds{peer="(\w+)"}', text)) == {"x00", "x01", "z"}
    assert "gossipkv_members_without_series 48.0" in text
    assert 'gossipkv_members{status="alive"} 52.0' in text
    metrics.observe_arrivals([Arrival(f"x{number}", 0) for number in range(50)], 0)
    origins = re.findall(
        r'replication_delay_seconds_count{origin="(\w+)"}', metrics.render(cluster.status("a")).decode()
    )
    assert origins == ["x0", "x1", "x2", "other"]


# Contexts


def claims(first: int, count: int) -> Delta:
    """Ranges of invented replicas, without rows."""
    return Delta(SYSTEM, {2**32 + number: Range(0, 1) for number in range(first, first + count)}, ())


def test_invented_origins_leave_members_that_others_understand_and_no_member_is_ready_alone() -> None:
    cluster = settled(Cluster(), "a", "b", "c")
    cluster.write("a", Operation(at("row"), b"value"))
    cluster.settle()
    for name in "abc":
        tell(cluster, name, claims(0, 10_000))
        tell(cluster, name, claims(10_000, 10_000))
        assert cluster.status(name).context_entries[SYSTEM] == 8_192
        assert cluster.status(name).tally.origins_refused[SYSTEM] > 10_000
        assert len(notices(cluster, name, "context_full")) == 1
    a, b = cluster.members["a"].storage, cluster.members["b"].storage
    for name in "abc":
        cluster.crash(name)
    cluster.start("c")
    cluster.start("a", a)
    cluster.start("b", b)
    cluster.introduce("a", "b", "c")
    live(cluster, 15)
    for member in cluster.members.values():
        assert member.driver.replica.is_ready
        assert at("row") in member.rows()
    # The writes of a new member are covered, though its replica is one more.
    cluster.write("c", Operation(at("other"), b"value"))
    live(cluster, 5)
    for member in cluster.members.values():
        assert at("other") in member.rows()
        assert member.context(USER)[cluster.members["c"].replica_id] == 1


def test_a_walk_covers_no_more_origins_than_a_context_may_name() -> None:
    cluster = settled(Cluster(), "a", context_origins_max=100)
    tell(cluster, "a", claims(0, 90))
    cluster.start("b", context_origins_max=64)
    cluster.introduce("a", "b")
    live(cluster, 10)
    assert cluster.members["b"].driver.replica.is_ready
    assert 64 <= cluster.status("b").context_entries[SYSTEM] <= 66
    assert cluster.members["a"].replica_id in cluster.members["b"].context(SYSTEM)


def test_a_row_that_names_more_replicas_than_a_context_may_is_refused() -> None:
    cluster = settled(Cluster(), "a", context_origins_max=64)
    version = Version(Dot(STRANGER, 1), timestamp_at(cluster.now_ms), b"value", None)
    names = Context({STRANGER: 1} | {2**32 + number: 1 for number in range(64)})
    tell(cluster, "a", Delta(SYSTEM, {STRANGER: Range(0, 1)}, (RowCopy(at("row"), StoredRow((version,), names)),)))
    assert at("row") not in cluster.members["a"].rows(SYSTEM)
    assert cluster.status("a").tally.rows_refused == {"too_many_origins": 1}
    assert STRANGER not in cluster.members["a"].context(SYSTEM)


def test_rows_that_a_stranger_lacks_leave_a_member_that_others_understand() -> None:
    cluster = settled(Cluster(), "a", "b")
    for number in range(4):
        through = Context({2**33 + 10_000 * number + origin: 1 for origin in range(10_000)})
        lacked = LackedRow(at(f"row{number}"), through)
        tell(cluster, "a", Delta(SYSTEM, {STRANGER: Range(number, number + 1)}, (), lacking=(lacked,)))
    live(cluster, 3)
    assert cluster.status("b").tally.rounds["in_sync"] + cluster.status("b").tally.rounds["delta"] > 0


def test_a_member_whose_peer_cannot_be_read_is_not_ready_with_a_stranger_alone() -> None:
    cluster = Cluster()
    for name in ("a", "b", "x"):
        cluster.start(name, bootstrap_timeout_ms=10_000 if name == "a" else 10**9)
    cluster.introduce("a", "b", "x")
    for _ in range(20):
        cluster.now_ms += 1_000
        cluster.tick("a")
        while cluster.waiting("a", "x") or cluster.waiting("a", "b"):
            if cluster.waiting("a", "x"):
                cluster.deliver("a", "x")
            if send := cluster.waiting("a", "b"):
                cluster.members["a"].outbox.remove(send)
                cluster.run("a", Failed(send.exchange, "the answer cannot be read", was_answered=True))
    assert not cluster.members["a"].driver.replica.is_ready


# Proofs of collected tombstones


def outdating(cluster: Cluster, name: str) -> State:
    """A state by which the data of this member lack a write of another one, whose deletion was forgotten."""
    other = next(member for member in cluster.members.values() if member.name != name)
    replicas = frozenset([cluster.members[name].replica_id, STRANGER])
    marks = Context({other.replica_id: 1_000})
    return State(USER, marks, (Proof(marks, replicas, replicas),))


def answer_as_stranger(cluster: Cluster, name: str, state: State) -> None:
    """Answer what a member asks the stranger."""
    if send := cluster.waiting(name, "x"):
        cluster.members[name].outbox.remove(send)
        digest = Digest(USER, 1, 2, 0, 0, is_ahead=False, proofs_hash=3)
        answer = Envelope("test", "x", STRANGER, START_MS, cluster.now_ms, (digest, state))
        cluster.run(name, Answered(send.exchange, sent(answer)))


def test_a_member_that_restarts_does_not_believe_the_proof_of_an_invented_member() -> None:
    cluster = settled(Cluster(), "a", "b", "c")
    cluster.write("a", Operation(at("row"), b"value"))
    live(cluster, 5)
    plant_record(cluster, "x", MemberRecord(STRANGER, START_MS, {"gossip": "memory://x"}))
    storage = cluster.members["c"].storage
    cluster.crash("c")
    returned = cluster.start("c", storage)
    for _ in range(30):
        cluster.now_ms += 1_000
        for name in "abc":
            cluster.tick(name)
        # The stranger is the first to answer.
        for name in "abc":
            answer_as_stranger(cluster, name, outdating(cluster, name))
        for _ in range(50):
            cluster.flow()
            for name in "abc":
                answer_as_stranger(cluster, name, outdating(cluster, name))
    assert not any(member.is_fenced for member in cluster.members.values())
    assert len(notices(cluster, "c", "proof_not_believed")) == 1
    assert cluster.status("c").tally.proofs_refused > 0
    assert returned.driver.replica.shards[USER].collected.proofs == ()
    cluster.write("c", Operation(at("other"), b"value"))
    live(cluster, 5)
    assert all(at("other") in member.rows() for member in cluster.members.values())


def test_a_member_does_not_believe_a_proof_that_is_brought_in_the_name_of_another() -> None:
    cluster = settled(Cluster(), "a", "b")
    live(cluster, 15)
    for _ in range(3):
        for name, other in (("a", "b"), ("b", "a")):
            spoken_for = cluster.members[other]
            tell(cluster, name, outdating(cluster, name), member=other, replica=spoken_for.replica_id)
        live(cluster, 3)
    assert not any(member.is_fenced for member in cluster.members.values())


def test_proofs_of_a_stranger_leave_a_member_that_others_understand() -> None:
    cluster = settled(Cluster(), "a", "b")
    plant_record(cluster, "x", MemberRecord(STRANGER, START_MS, {"gossip": "memory://x"}))
    live(cluster, 2)
    covered = Context(cluster.members["a"].context(USER))
    for number in range(PROOFS_MAX + 4):
        known = frozenset(range(10**6 * number, 10**6 * number + 5_000)) | {STRANGER}
        proof = Proof(covered, frozenset({STRANGER}), known)
        cluster.now_ms += 60_000
        cluster.tick("a")
        answer_as_stranger(cluster, "a", State(USER, Context({STRANGER: 1_000}), (proof,)))
    held = cluster.members["a"].driver.replica.shards[USER].collected.proofs
    assert sum(len(proof.known) for proof in held) <= PROOFS_IDS_MAX
    assert max(len(proof.known) for proof in held) <= PROOF_IDS_MAX
    cluster.settle()


# Rows that say who is forgotten


def forgotten_rows(*replicas: int) -> list[tuple[bytes, bytes | None]]:
    return [(address_of(FORGOTTEN_TABLE, b"%016x" % replica), b"{}") for replica in replicas]


@pytest.mark.parametrize("seconds", [0, 5, 30])
@pytest.mark.parametrize("named", ["abc", "ab", "a"])
def test_rows_that_members_are_forgotten_do_not_take_the_data_of_all(named: str, seconds: int) -> None:
    cluster = settled(Cluster(), "a", "b", "c")
    cluster.write("a", Operation(at("row"), b"value"))
    cluster.settle()
    live(cluster, seconds)
    plant(cluster, *forgotten_rows(*[cluster.members[name].replica_id for name in named]))
    live(cluster, 40)
    fenced = {name for name, member in cluster.members.items() if member.is_fenced}
    assert len(fenced) < 3
    if named == "abc" or seconds == 30:
        assert fenced == set()
        for name in "abc":
            assert {member.status for member in cluster.status(name).members} == {"alive"}
            assert len(cluster.status(name).members) == 3
            assert cluster.status(name).tally.forgettings_refused > 0
        cluster.write("b", Operation(at("other"), b"value"))
        live(cluster, 5)
        assert all({at("row"), at("other")} <= member.rows().keys() for member in cluster.members.values())
        # It outlives a restart of all.
        storages = {name: cluster.members[name].storage for name in "abc"}
        for name in "abc":
            cluster.crash(name)
        for name in "abc":
            cluster.start(name, storages[name])
        live(cluster, 20)
        assert not any(member.is_fenced for member in cluster.members.values())
        cluster.settle()


STRANGER = 0xBAD
"""The replica id of someone who reaches the gossip port."""


def plant(cluster: Cluster, *rows: tuple[bytes, bytes | None]) -> None:
    """Let a stranger hand rows of `sys` to every member, as frames."""
    planted = max(member.context(SYSTEM).get(STRANGER, 0) for member in cluster.members.values())
    copies = []
    for sequence, (address, value) in enumerate(rows, planted + 1):
        version = Version(Dot(STRANGER, sequence), timestamp_at(cluster.now_ms + 1) + sequence, value, None)
        copies.append(RowCopy(address, StoredRow((version,), Context({STRANGER: sequence}))))
    delta = Delta(SYSTEM, {STRANGER: Range(planted, planted + len(rows))}, tuple(copies))
    for name in sorted(cluster.members):
        tell(cluster, name, delta)


def tell(cluster: Cluster, name: str, *messages: Message, member: str = "x", replica: int = STRANGER) -> Envelope:
    """What a member answers to a frame of a stranger, who says to be any member."""
    asked = Envelope("test", member, replica, cluster.now_ms, cluster.now_ms, messages)
    answer = cluster.answer_to(name, Received(sent(asked)))
    assert isinstance(answer, Envelope)
    return sent(answer)


def plant_record(cluster: Cluster, name: str, record: MemberRecord) -> None:
    plant(cluster, (address_of(MEMBERS_TABLE, name.encode()), record.to_json()))


def full_record(member: Member) -> MemberRecord:
    address = address_of(MEMBERS_TABLE, member.name.encode())
    return MemberRecord.from_json(member.rows(SYSTEM)[address].winner.value or b"")


def sent_by(cluster: Cluster) -> list[Send[Envelope]]:
    """All that was sent since the members were settled."""
    return [send for member in cluster.members.values() for send in member.sent]


def notices(cluster: Cluster, name: str, event: str) -> list[Notice]:
    return [notice for notice in cluster.members[name].notices if notice.event == event]
