"""A volume that was set back to an old copy: its replica id has writes elsewhere that it does not know of."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from gossipkv.codec import Limits, decode, encode
from gossipkv.core.effects import Send
from gossipkv.core.inputs import Answer, Answered, Discovered, Failed, Input, Received, Tick, Write
from gossipkv.core.model.address import SYSTEM, USER, address_of
from gossipkv.core.model.causality import Dot
from gossipkv.core.model.row import Conflicts, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.protocol.names import Names
from gossipkv.core.store import store
from gossipkv.core.store.tables import TableSettings, settings_address
from gossipkv.member.group_commit import GroupCommit
from gossipkv.storage.memory import MemoryStorage
from tests.core.disks import Disk, at

SIBLINGS = Conflicts.SIBLINGS
LIMITS = Limits()


class Member:
    def __init__(self, name: str, storage: MemoryStorage, now_ms: int) -> None:
        self.name = name
        self.storage = storage
        self.now_ms = now_ms
        options = ReplicaOptions(member=name, endpoints={"gossip": f"memory://{name}"})
        self.group_commit, effects = GroupCommit.open(storage, options, random.Random(f"{name}{now_ms}"), now_ms)
        self.sends: list[Send[Envelope]] = effects.sends

    @property
    def replica_id(self) -> int:
        return self.group_commit.replica.identity.replica

    def take(self, happened: Input) -> Answer | Exception:
        self.now_ms += 500
        batch = self.group_commit.run([happened], self.now_ms)
        self.sends += batch.effects.sends
        return batch.outcomes[0]

    def put(self, row: bytes, value: bytes) -> None:
        self.take(Write(USER, (Operation(address_of("t", row), value),)))

    def rows(self) -> dict[bytes, bytes | None]:
        with self.storage.view() as view:
            return {address: row.winner.value for address, row in view.rows(USER, b"", b"\xff")}


def converse(members: dict[str, Member], rounds: int = 40, unable: Sequence[str] = ()) -> None:
    """Let time pass and every exchange succeed, but for those that the unable begin."""
    for _ in range(rounds):
        for member in members.values():
            member.take(Tick())
            sends, member.sends = member.sends, []
            for send in sends:
                if member.name in unable:
                    member.take(Failed(send.exchange, "connection refused"))
                    continue
                answer = members[send.endpoint.removeprefix("memory://")].take(
                    Received(decode(encode(send.content), LIMITS))
                )
                assert isinstance(answer, Envelope), answer
                member.take(Answered(send.exchange, decode(encode(answer), LIMITS)))


def test_a_replica_restored_from_an_old_copy_becomes_a_new_one_and_no_write_is_lost() -> None:
    a, b = Member("a", MemoryStorage(), 1_000_000), Member("b", MemoryStorage(), 1_000_000)
    a.take(Discovered(("memory://b",)))
    for row in (b"1", b"2", b"3"):
        a.put(row, b"old")
    converse({"a": a, "b": b})
    backup, before = a.storage.snapshot(), a.replica_id
    for row in (b"3", b"4", b"5"):
        a.put(row, b"after the backup")
    converse({"a": a, "b": b})
    assert b.rows() == a.rows()

    a.storage.restore(backup)
    a = Member("a", a.storage, b.now_ms)
    for row in (b"2", b"6"):
        a.put(row, b"after the restore")
    converse({"a": a, "b": b})

    assert a.replica_id != before
    assert a.rows() == b.rows()
    assert {row.partition(b"\0")[2]: value for row, value in a.rows().items()} == {
        b"1": b"old",
        b"2": b"after the restore",
        b"3": b"after the backup",
        b"4": b"after the backup",
        b"5": b"after the backup",
        b"6": b"after the restore",
    }
    assert b.group_commit.replica.tally.anomalies.total() == 0


def test_the_new_id_outlives_a_restart_and_a_third_member_converges_with_both() -> None:
    a, b = Member("a", MemoryStorage(), 1_000_000), Member("b", MemoryStorage(), 1_000_000)
    a.take(Discovered(("memory://b",)))
    a.put(b"1", b"old")
    converse({"a": a, "b": b})
    backup = a.storage.snapshot()
    a.put(b"1", b"lost on a")
    converse({"a": a, "b": b})
    a.storage.restore(backup)
    a = Member("a", a.storage, b.now_ms)
    a.put(b"2", b"new")
    converse({"a": a, "b": b})
    renewed = a.replica_id

    a = Member("a", a.storage, b.now_ms)
    c = Member("c", MemoryStorage(), b.now_ms)
    c.take(Discovered(("memory://a",)))
    converse({"a": a, "b": b, "c": c}, rounds=80)

    assert a.replica_id == renewed
    assert a.rows() == b.rows() == c.rows() == {b"t\x001": b"lost on a", b"t\x002": b"new"}


def set_back(member: Member, backup: MemoryStorage, now_ms: int) -> Member:
    """The member on the old copy, started again."""
    member.storage.restore(backup)
    return restarted(member, now_ms)


def restarted(member: Member, now_ms: int) -> Member:
    member.storage.crash()
    return Member(member.name, member.storage, now_ms)


@pytest.mark.parametrize("starts", [1, 3])
@pytest.mark.parametrize("puts", [1, 4, 9])
def test_an_old_copy_that_wrote_alone_loses_nothing_however_much_it_wrote_and_often_it_started(
    starts: int, puts: int
) -> None:
    """As many as the others know under the same names, fewer, or more."""
    a, b = Member("a", MemoryStorage(), 1_000_000), Member("b", MemoryStorage(), 1_000_000)
    a.take(Discovered(("memory://b",)))
    a.put(b"0", b"old")
    converse({"a": a, "b": b})
    backup, before = a.storage.snapshot(), a.replica_id
    for number in range(4):
        a.put(b"%d" % number, b"lost here")
    converse({"a": a, "b": b})
    b.put(b"3", b"replaced by b")
    a = set_back(a, backup, b.now_ms)
    for number in range(puts):
        a.put(b"%d" % number, b"written alone")
        if number % 2 and starts > 1:
            starts -= 1
            a = restarted(a, a.now_ms)
    a = restarted(a, a.now_ms) if starts > 1 else a
    a.take(Discovered(("memory://b",)))
    b.now_ms = a.now_ms
    converse({"a": a, "b": b})

    assert a.replica_id != before
    assert a.rows() == b.rows()
    expected = {b"t\0%d" % number: b"written alone" for number in range(puts)}
    left = {b"t\0%d" % number: b"replaced by b" if number == 3 else b"lost here" for number in range(4)}
    assert a.rows() == left | expected


def test_a_renewal_keeps_timestamps_so_that_no_later_write_of_others_is_lost() -> None:
    a, b = Member("a", MemoryStorage(), 1_000_000), Member("b", MemoryStorage(), 1_000_000)
    a.take(Discovered(("memory://b",)))
    a.put(b"other", b"")
    converse({"a": a, "b": b})
    backup = a.storage.snapshot()
    a.put(b"other", b"lost here")
    converse({"a": a, "b": b})
    a = set_back(a, backup, b.now_ms)
    a.put(b"k", b"earlier")
    b.now_ms = a.now_ms + 1_000
    b.put(b"k", b"later")
    a.now_ms = b.now_ms + 1_000
    a.take(Discovered(("memory://b",)))
    converse({"a": a, "b": b})
    assert a.rows()[b"t\0k"] == b.rows()[b"t\0k"] == b"later"


def test_what_a_renewed_row_replaced_among_siblings_does_not_come_back() -> None:
    disk, other = Disk(1), Disk(2)
    for each in (disk, other):
        with each.committing() as transaction:
            each.store.write(
                transaction, SYSTEM, Operation(settings_address("table"), TableSettings(SIBLINGS).to_json()), 1
            )
    disk.put("k", b"replaced")
    disk.put("another", b"")
    other.take_in(disk.copies())
    disk.shard.note_certain(2)
    disk.do(Operation(at("k"), b"new", seen=disk.rows()[at("k")].seen))
    stamp = disk.rows()[at("k")].winner.timestamp
    with disk.committing() as transaction:
        disk.store.renew(transaction, 9)
    other.take_in(disk.copies())
    for each in (disk, other):
        assert each.rows()[at("k")].versions == (Version(Dot(9, 1), stamp, b"new", None, 0),)
    assert (1, 2, at("another")) in disk.journal()
    assert disk.shard.context == {1: 2, 9: 1}


def test_a_renewal_takes_a_few_names_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RENAMED_AT_ONCE", 3)
    disk = Disk(1)
    for number in range(10):
        disk.put(f"k{number}", b"%d" % number)
    disk.shard.note_certain(0)
    disk.shard.names = Names(10, 0)
    with disk.committing() as transaction:
        disk.store.renew(transaction, 9)
    assert {row.winner.dot for row in disk.rows().values()} == {Dot(9, number) for number in range(1, 11)}
    assert disk.shard.context == {9: 10}
    disk.load()
    assert (disk.shard.told, disk.shard.certain) == (10, 0)


def test_until_it_has_compared_a_member_tells_no_one_of_what_it_wrote_since_its_start() -> None:
    a, b = Member("a", MemoryStorage(), 1_000_000), Member("b", MemoryStorage(), 1_000_000)
    a.take(Discovered(("memory://b",)))
    a.put(b"1", b"")
    converse({"a": a, "b": b})
    told = a.group_commit.replica.shards[USER].context[a.replica_id]
    a = restarted(a, b.now_ms)
    a.put(b"2", b"")
    shard = a.group_commit.replica.shards[USER]
    assert shard.shown[a.replica_id] == told == shard.context[a.replica_id] - 1
    before = a.replica_id
    converse({"a": a, "b": b})
    assert shard.shown == shard.context
    assert a.replica_id == before
    assert a.rows() == b.rows()
    assert shard.certain == shard.last_own


def test_a_member_that_is_reached_and_reaches_no_one_tells_what_it_wrote_since_its_start() -> None:
    a, b = Member("a", MemoryStorage(), 1_000_000), Member("b", MemoryStorage(), 1_000_000)
    a.take(Discovered(("memory://b",)))
    a.put(b"1", b"")
    converse({"a": a, "b": b})
    a = restarted(a, b.now_ms)
    a.put(b"2", b"")
    converse({"a": a, "b": b}, unable=["a"], rounds=6)
    assert a.rows() == b.rows()
