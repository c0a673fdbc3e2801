"""A volume that was set back to an old copy: its replica id has writes elsewhere that it does not know of."""

from __future__ import annotations

import random

from gossipkv.codec import Limits, decode, encode
from gossipkv.core.address import USER, address_of
from gossipkv.core.effects import Send
from gossipkv.core.inputs import Answer, Answered, Discovered, Input, Received, Tick, Write
from gossipkv.core.messages import Envelope
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.write import Operation
from gossipkv.group_commit import GroupCommit
from gossipkv.storage.memory import MemoryStorage

LIMITS = Limits()


class Member:
    def __init__(self, name: str, storage: MemoryStorage, now_ms: int) -> None:
        self.storage = storage
        self.now_ms = now_ms
        options = ReplicaOptions(member=name, endpoints={"gossip": name})
        self.group_commit, effects = GroupCommit.open(storage, options, random.Random(f"{name}{now_ms}"), now_ms)
        self.sends: list[Send] = effects.sends

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


def converse(members: dict[str, Member], rounds: int = 40) -> None:
    """Let time pass and every exchange succeed."""
    for _ in range(rounds):
        for member in members.values():
            member.take(Tick())
            sends, member.sends = member.sends, []
            for send in sends:
                answer = members[send.endpoint].take(Received(decode(encode(send.envelope), LIMITS)))
                assert isinstance(answer, Envelope), answer
                member.take(Answered(send.exchange, decode(encode(answer), LIMITS)))


def test_a_replica_restored_from_an_old_copy_becomes_a_new_one_and_no_write_is_lost() -> None:
    a, b = Member("a", MemoryStorage(), 1_000_000), Member("b", MemoryStorage(), 1_000_000)
    a.take(Discovered(("b",)))
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
    a.take(Discovered(("b",)))
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
    c.take(Discovered(("a",)))
    converse({"a": a, "b": b, "c": c}, rounds=80)

    assert a.replica_id == renewed
    assert a.rows() == b.rows() == c.rows() == {b"t\x001": b"lost on a", b"t\x002": b"new"}
