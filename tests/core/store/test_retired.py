"""Replicas that are gone leave contexts, messages, records and ids, and nothing else changes."""

from __future__ import annotations

import pytest

from gossipkv.core.inputs import Discovered, Forget, Write
from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import NAMESPACES, RETIRED_TABLE, SYSTEM, USER, address_of, table_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.member import ALIVE, DEAD
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.base import Abridged
from gossipkv.core.protocol.messages import Covered, Envelope, RowCopy
from gossipkv.core.store.forgotten import Forgotten
from gossipkv.core.store.retired import Retired, Retirement
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Reader
from gossipkv.core.watch.watch_position import WatchPosition
from gossipkv.core.watch.watching import ResumeState, Tail, standing
from gossipkv.storage.memory import MemoryStorage
from tests.core.cluster import Cluster, Member, endpoint_of

AGE_MS = 5_000
LIVES = 12
"""How often the last member is replaced."""


def at(key: str) -> bytes:
    return address_of("t", key.encode())


def shard_of(member: Member, name: str = SYSTEM) -> Shard:
    return member.driver.replica.shards[name]


def sent_by(member: Member, shard: str) -> Context:
    """The shard's context as the member sends it."""
    replica = member.driver.replica
    [message] = replica._envelope((Covered(shard, shard_of(member, shard).context),), 0).messages
    assert isinstance(message, Covered)
    return message.context


def record_of(member: Member, shard: str) -> int:
    """How many entries the record holds that is written with each commit."""
    record = member.storage.committed(("meta", shard)).values["record"]
    return len(record.context) + len(record.floors)


class Replacements(Cluster):
    """Three members, of which the last loses its disk again and again."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("a", "b", "c"):
            self.begin(name)
        self.introduce("a", "b", "c")
        self.settle()

    def begin(self, name: str, storage: MemoryStorage | None = None) -> Member:
        return self.start(name, storage, tombstone_age_ms_min=AGE_MS, message_life_ms=1_000)

    def replace(self, name: str = "c", storage: MemoryStorage | None = None) -> None:
        """The member's disk is another one from now on."""
        self.crash(name)
        self.now_ms += 1_000
        self.begin(name, storage)
        self.introduce("a", "b", "c")
        self.settle()

    def age(self, seconds: int = 25) -> None:
        """Let time pass."""
        for _ in range(seconds):
            self.now_ms += 1_000
            for name in sorted(self.members):
                self.tick(name)
            while self.flow():
                pass
        self.settle()

    def write_each(self, key: str) -> None:
        for name in sorted(self.members):
            self.write(name, Operation(at(f"{key}-{name}"), b"v"))
        self.settle()


def run_through(cluster: Replacements, lives: int = LIVES) -> None:
    for life in range(lives):
        cluster.write_each(f"life{life}")
        cluster.replace()
    cluster.age()


@pytest.fixture
def cluster() -> Replacements:
    return Replacements()


def test_what_replicas_that_are_gone_have_written_leaves_messages_and_records(cluster: Replacements) -> None:
    run_through(cluster)
    for member in cluster.members.values():
        assert len(shard_of(member).context) >= LIVES
        assert len(shard_of(member, USER).context) >= LIVES
        for shard in NAMESPACES:
            assert len(sent_by(member, shard)) <= 4
            assert record_of(member, shard) <= 8
    assert len({shard_of(member).base.number for member in cluster.members.values()}) == 1
    assert len(cluster.members["b"].rows()) == LIVES * 3


def test_nothing_is_said_of_a_replica_before_its_time(cluster: Replacements) -> None:
    cluster.write_each("k")
    cluster.replace()
    assert not _retired(cluster, "a")
    cluster.age()
    assert len(cluster.members["a"].driver.replica._store.retired.order) == 1


def test_a_member_that_does_not_cover_the_writes_of_a_replica_keeps_it_from_being_retired(
    cluster: Replacements,
) -> None:
    cluster.crash("b")
    cluster.write("c", Operation(at("k"), b"v"))
    for _ in range(5):
        cluster.flow()
    assert at("k") in cluster.members["a"].rows()
    cluster.crash("c")
    cluster.begin("c")
    cluster.introduce("a", "c")
    for _ in range(15):
        cluster.now_ms += 1_000
        cluster.tick("a")
        cluster.tick("c")
        while cluster.flow():
            pass
    assert not _retired(cluster, "a")


def _speak_without_a_record(cluster: Replacements, status: str) -> None:
    """Let a member be heard by all, and known to none by its record."""
    for member in cluster.members.values():
        peer = member.driver.replica._membership.identified(Peer(endpoint_of("d")), "d", 1, cluster.now_ms)
        peer.become_replica(99, 1)
        peer.conversation.learn_context(SYSTEM, Context({99: 1}), Context())
        peer.standing.status = status


def test_a_dead_member_that_has_no_record_keeps_no_one_from_being_retired(cluster: Replacements) -> None:
    gone = cluster.members["c"].replica_id
    cluster.write_each("k")
    cluster.replace()
    _speak_without_a_record(cluster, DEAD)
    cluster.age()
    assert all(gone in shard_of(member).base.settled for member in cluster.members.values())


def test_a_living_member_that_has_no_record_yet_is_waited_for(cluster: Replacements) -> None:
    cluster.write_each("k")
    cluster.replace()
    _speak_without_a_record(cluster, ALIVE)
    cluster.age()
    assert not _retired(cluster, "a")


def test_one_member_retires_and_all_follow(cluster: Replacements) -> None:
    run_through(cluster, 3)
    writers = {row.winner.dot.replica for row in _retired(cluster, "b").values()}
    assert writers == {cluster.members["a"].replica_id}


def test_a_newcomer_comes_to_leave_out_the_same(cluster: Replacements) -> None:
    run_through(cluster)
    cluster.replace("b")
    cluster.age(3)
    assert cluster.members["b"].driver.replica.is_ready
    assert shard_of(cluster.members["b"]).base.number == shard_of(cluster.members["a"]).base.number
    assert shard_of(cluster.members["b"], USER).base.number == shard_of(cluster.members["a"], USER).base.number
    assert len(sent_by(cluster.members["b"], SYSTEM)) <= 5


def test_no_message_to_or_from_a_newcomer_names_those_that_are_gone(
    cluster: Replacements, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_through(cluster)
    named: list[int] = []
    deliver = Cluster.deliver

    def counted(cluster: Cluster, source: str, target: str) -> tuple[Envelope, Envelope | Exception]:
        asked, answer = deliver(cluster, source, target)
        for envelope in (asked, answer):
            assert isinstance(envelope, Envelope)
            for message in envelope.messages:
                named.append(len(getattr(message, "context", ())))
                named.append(len(getattr(message, "ranges", ())))
        return asked, answer

    monkeypatch.setattr(Cluster, "deliver", counted)
    cluster.replace("b")
    assert max(named) <= 6


def test_a_restart_goes_on_from_the_record_that_leaves_them_out(cluster: Replacements) -> None:
    run_through(cluster)
    before = shard_of(cluster.members["a"]).base.number, dict(shard_of(cluster.members["a"]).context)
    storage = cluster.members["a"].storage
    cluster.crash("a")
    cluster.begin("a", storage)
    shard = shard_of(cluster.members["a"])
    assert shard.base.number == before[0]
    assert {o: s for o, s in shard.context.items() if o != cluster.members["a"].replica_id} == {
        o: s for o, s in before[1].items() if o != cluster.members["a"].replica_id
    }
    assert shard.floors.covers_all(shard.base.settled)
    cluster.introduce("a", "b", "c")
    cluster.settle()


def test_a_replica_that_was_retired_and_returns_writes_on(cluster: Replacements) -> None:
    cluster.write_each("k")
    old = cluster.members["c"].storage.snapshot()
    gone = cluster.members["c"].replica_id
    cluster.replace()
    cluster.age()
    cluster.replace("c", old)
    cluster.write("c", Operation(at("after"), b"v"))
    cluster.settle()
    assert cluster.members["c"].replica_id == gone
    assert all(at("after") in member.rows() for member in cluster.members.values())
    assert sent_by(cluster.members["a"], USER)[gone] == shard_of(cluster.members["c"], USER).context[gone]
    cluster.replace()
    cluster.age()
    retired = [each.replica for each in cluster.members["b"].driver.replica._store.retired.order]
    assert retired.count(gone) == 2
    assert gone not in sent_by(cluster.members["a"], USER)


def test_a_volume_from_before_a_retirement_notices_that_it_is_old(cluster: Replacements) -> None:
    old = cluster.members["c"].storage.snapshot()
    gone = cluster.members["c"].replica_id
    cluster.write_each("k")
    cluster.replace()
    cluster.age()
    assert gone in shard_of(cluster.members["a"]).base.settled
    cluster.replace("c", old)
    cluster.age(2)
    assert cluster.members["c"].replica_id != gone
    assert at("k-c") in cluster.members["c"].rows()


def test_members_that_leave_out_different_ones_understand_each_other(cluster: Replacements) -> None:
    run_through(cluster, 4)
    for name in ("a", "b"):
        shard = shard_of(cluster.members[name])
        shard.base = shard.base.of_length(1 if name == "a" else 3)
    assert sent_by(cluster.members["a"], SYSTEM) != sent_by(cluster.members["b"], SYSTEM)
    cluster.write_each("more")
    assert cluster.has_converged(cluster.members)


def test_the_context_of_a_peer_whose_base_is_unknown_vouches_for_nothing(cluster: Replacements) -> None:
    run_through(cluster, 3)
    member = cluster.members["b"]
    replica = member.driver.replica
    peer = replica._membership.member("a")
    assert peer is not None
    peer.conversation.vouched = Context()
    told = {SYSTEM: Abridged({}, 4711), USER: Context({1: 1})}
    known = {name: None if isinstance(context, Abridged) else context for name, context in told.items()}
    replica._gossip.progress.note_vouched(peer, known)
    assert peer.conversation.vouched == {}


def test_rows_that_no_member_has_written_are_passed_over(cluster: Replacements) -> None:
    values: list[tuple[bytes, bytes | None]] = [
        (b"x", b"[]"),
        (b"00000000", b"no"),
        (b"00000001", b"17"),
        (b"00000002", b"[17]"),
        (b"00000003", b'["000000000000000a.1"]'),
        (b"00000004", b'["000000000000000a.1.9999999999999999999"]'),
        (b"00000005", b'["000000000000000a.-1.1"]'),
        (b"00000006", None),
        (b"00000008", b"[" * 100_000),
        (b"00000007", b'{"a": {}}'),
    ]
    for key, value in values:
        cluster.answer_to("a", Write(SYSTEM, (Operation(address_of(RETIRED_TABLE, key), value),)))
    cluster.settle()
    assert all(not member.driver.replica._store.retired.order for member in cluster.members.values())


def test_a_row_that_claims_what_no_one_covers_is_left_out_by_no_one(cluster: Replacements) -> None:
    row = Operation(address_of(RETIRED_TABLE, b"00000001"), b'["000000000000000a.9.9"]')
    cluster.answer_to("a", Write(SYSTEM, (row,)))
    cluster.age()
    for member in cluster.members.values():
        assert len(member.driver.replica._store.retired.order) == 1
        assert shard_of(member).base.length == 0


def test_many_replicas_take_few_rows() -> None:
    retired = Retired()
    for number in range(100):
        for operation in retired.added([Retirement(10 * number + one, {SYSTEM: 1, USER: 2}) for one in range(3)]):
            assert operation.value is not None
            version = Version(Dot(1, number + 1), number, operation.value)
            assert retired.follow([RowCopy(operation.address, StoredRow((version,), Context({1: number + 1})))])
    assert [each.replica for each in retired.order] == [10 * n + one for n in range(100) for one in range(3)]
    assert len(retired._listings) == 10


# Watches


def _tail(member: Member) -> tuple[Reader, Tail]:
    view = member.storage.view()
    return view, Tail(view, USER)


def test_an_id_is_short_and_is_understood_by_all_members(cluster: Replacements) -> None:
    run_through(cluster)
    _, tail = _tail(cluster.members["a"])
    event_id = tail.position.event_id()
    assert len(event_id) < 100
    for name in ("b", "c"):
        view, other = _tail(cluster.members[name])
        position = WatchPosition.of_event(event_id)
        assert position is not None
        assert position.event_id() == event_id
        assert standing(view, USER, position, other) is ResumeState.HELD
        assert position.context == tail.position.context


def test_an_id_from_before_a_retirement_is_understood_after_it(cluster: Replacements) -> None:
    run_through(cluster, 2)
    ids = [_tail(cluster.members["a"])[1].position.event_id()]
    cluster.write_each("more")
    cluster.replace()
    ids.append(_tail(cluster.members["a"])[1].position.event_id())
    cluster.age()
    view, tail = _tail(cluster.members["c"])
    for event_id in ids:
        position = WatchPosition.of_event(event_id)
        assert position is not None
        assert standing(view, USER, position, tail) is ResumeState.HELD


def test_an_id_whose_base_is_unknown_has_to_wait(cluster: Replacements) -> None:
    run_through(cluster, 2)
    event_id = _tail(cluster.members["a"])[1].position.event_id()
    stranger = Replacements()
    view, tail = _tail(stranger.members["a"])
    position = WatchPosition.of_event(event_id)
    assert position is not None
    assert standing(view, USER, position, tail) is ResumeState.AHEAD
    assert position.event_id() == event_id


def test_who_is_forgotten_is_retired_too(cluster: Replacements) -> None:
    cluster.write_each("k")
    gone = cluster.members["c"].replica_id
    cluster.crash("c")
    while cluster.answer_to("a", Forget("c", is_forced=True)) is not Forgotten.DONE:
        cluster.now_ms += 1_000
        cluster.tick("a")
        cluster.flow()
    cluster.age()
    assert gone in shard_of(cluster.members["b"]).base.settled


def test_no_one_is_retired_while_an_address_that_was_found_has_not_answered(cluster: Replacements) -> None:
    """A member that is not listed may be there, and take rows from the one that is gone."""
    cluster.write_each("k")
    gone = cluster.members["c"].replica_id
    known = tuple(map(endpoint_of, ("a", "b", "c")))
    for name in ("a", "b"):
        cluster.run(name, Discovered((*known, endpoint_of("unknown"))))
    cluster.replace()
    for name in ("a", "b"):
        cluster.run(name, Discovered((*known, endpoint_of("unknown"))))
    cluster.age()
    assert gone not in shard_of(cluster.members["b"]).base.settled
    for name in ("a", "b", "c"):
        cluster.run(name, Discovered(known, frozenset(["a", "b", "c"])))
    cluster.age()
    assert gone in shard_of(cluster.members["b"]).base.settled


def _retired(cluster: Cluster, name: str) -> dict[bytes, StoredRow]:
    return {a: row for a, row in cluster.members[name].rows(SYSTEM).items() if table_of(a) == RETIRED_TABLE}


def test_a_replica_whose_first_listing_was_not_committed_is_still_to_be_retired() -> None:
    """The batch that lists it has failed, and storage holds no row of `sys.retired` to learn from."""
    retired = Retired()
    [operation] = retired.added([Retirement(7, {SYSTEM: 1, USER: 2})])
    listing = StoredRow((Version(Dot(1, 1), 1, operation.value),), Context({1: 1}))
    retired.follow([RowCopy(operation.address, listing)])
    assert retired.latest()
    with MemoryStorage().view() as view:
        retired.load(view)
    assert retired.latest() == {}
