"""Real replicas over storage in memory, joined by hand: frames go through the codec, and only when told to."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Unpack

from gossipkv.codec import Limits, decode, encode
from gossipkv.core.effects import Effects, Send
from gossipkv.core.inputs import Answer, Answered, Discovered, Failed, Input, Inspect, Received, Tick, Write
from gossipkv.core.model.address import NAMESPACES, USER
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.tally import Notice
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.status import ReplicaStatus
from gossipkv.core.store.changes import Changes
from gossipkv.core.store.fence import Fence
from gossipkv.core.store.storage import Identity, Storage
from gossipkv.core.waits.answers import Resolved
from gossipkv.member.group_commit import Batch, GroupCommit
from gossipkv.storage.memory import MemoryStorage
from tests.core.replica_settings import ReplicaSettings

START_MS = 1_700_000_000_000
LIMITS = Limits()

NO_PROBES_MS = 10**12
"""A protocol period that does not end: probes would stand between the exchanges that a test is about."""


def endpoint_of(name: str) -> str:
    return f"memory://{name}"


def sent(envelope: Envelope) -> Envelope:
    """What arrives of an envelope at the other end."""
    return decode(encode(envelope), LIMITS)


@dataclass
class Member:
    name: str
    options: ReplicaOptions
    disk: Storage
    driver: GroupCommit
    outbox: list[Send[Envelope]] = field(default_factory=list)
    sent: list[Send[Envelope]] = field(default_factory=list)
    """All that it has ever sent."""
    notices: list[Notice] = field(default_factory=list)
    changes: list[Changes] = field(default_factory=list)
    """While someone watches."""
    resolved: list[Resolved] = field(default_factory=list)
    """The waits that have ended."""
    clock_ahead_ms: int = 0
    is_fenced: bool = False
    fence: Fence | None = None

    @property
    def storage(self) -> MemoryStorage:
        """Its disk, which all tests but those on LMDB keep in memory."""
        assert isinstance(self.disk, MemoryStorage)
        return self.disk

    @property
    def replica_id(self) -> int:
        return self.driver.replica.identity.replica

    def keep(self, effects: Effects) -> None:
        self.outbox += effects.sends
        self.sent += effects.sends
        self.is_fenced |= effects.is_fenced
        self.fence = self.fence or (effects.snapshot.fence if effects.snapshot else None)
        self.notices += effects.notices
        self.changes += effects.changes
        self.resolved += effects.resolved

    def rows(self, shard: str = USER) -> dict[bytes, StoredRow]:
        with self.disk.view() as view:
            return dict(view.rows(shard, b"", b"\xff"))

    def context(self, shard: str = USER) -> dict[int, int]:
        """What it durably covers."""
        with self.disk.view() as view:
            record = view.shard_record(shard)
        return {} if record is None else dict(record.context)

    def events(self) -> list[str]:
        return [notice.event for notice in self.notices]


class Cluster:
    """Members by name, one clock, and the envelopes between them."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.members: dict[str, Member] = {}
        self.names: dict[int, str] = {}
        """Members by replica id. The first data of the first member is replica 1, and so on."""
        self.second_endpoints: dict[str, str] = {}
        """Endpoints at which a member answers besides its own, with its name."""

    def start(self, name: str, storage: Storage | None = None, **settings: Unpack[ReplicaSettings]) -> Member:
        """Start a member; on new storage as a new replica, under the next small id."""
        defaults: ReplicaSettings = {
            "cluster": "test",
            "protocol_period_ms": NO_PROBES_MS,
            "forget_silence_ms": 0,
        }
        options = ReplicaOptions(member=name, endpoints={"gossip": endpoint_of(name)}, **(defaults | settings))
        if storage is None:
            storage = MemoryStorage()
            transaction = storage.begin()
            transaction.put_identity(Identity(options.cluster, name, len(self.names) + 1, 0))
            transaction.commit()
        driver, effects = GroupCommit.open(storage, options, random.Random(name), self.now_ms)
        member = Member(name, options, storage, driver)
        member.keep(effects)
        self.members[name] = member
        self.names[member.replica_id] = name
        return member

    def crash(self, name: str) -> None:
        """The process is gone, and all that it had not committed."""
        self.members.pop(name).storage.crash()

    def run(self, name: str, *inputs: Input) -> Batch:
        member = self.members[name]
        batch = member.driver.run(inputs, self.now_ms + member.clock_ahead_ms)
        member.keep(batch.effects)
        return batch

    def answer_to(self, name: str, happened: Input) -> Answer:
        """The outcome of one input, which must not be an error."""
        [outcome] = self.run(name, happened).outcomes
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def write(self, name: str, *operations: Operation) -> None:
        self.answer_to(name, Write(USER, operations))

    def results(self, name: str, *operations: Operation, copies: int = 1) -> list[Result]:
        """Write, and return what came of each operation."""
        results = self.answer_to(name, Write(USER, operations, copies))
        assert isinstance(results, list)
        return results

    def tick(self, name: str) -> None:
        self.run(name, Tick())

    def status(self, name: str) -> ReplicaStatus:
        status = self.answer_to(name, Inspect())
        assert isinstance(status, ReplicaStatus)
        return status

    def introduce(self, *names: str) -> None:
        """Let each discover all."""
        for name in names:
            self.run(name, Discovered(tuple(endpoint_of(other) for other in names)))

    def member_at(self, endpoint: str) -> str:
        """The name of the member that answers at an endpoint."""
        return self.second_endpoints.get(endpoint) or endpoint.removeprefix("memory://")

    def waiting(self, source: str, target: str) -> Send[Envelope] | None:
        """The exchange under way from one to the other; a ping only where there is nothing else."""
        sends = [send for send in self.members[source].outbox if self.member_at(send.endpoint) == target]
        sends.sort(key=lambda send: send.exchange < 0)
        return sends[0] if sends else None

    def deliver(self, source: str, target: str) -> tuple[Envelope, Envelope | Exception]:
        """Carry an exchange out, there and back; returns what was asked and what came of it."""
        send = self._take(source, target)
        asked = sent(send.content)
        [outcome] = self.run(target, Received(asked)).outcomes
        if isinstance(outcome, Envelope):
            answer = sent(outcome)
            self.run(source, Answered(send.exchange, answer))
            return asked, answer
        assert isinstance(outcome, Exception)
        self.run(source, Failed(send.exchange, str(outcome)))
        return asked, outcome

    def drop(self, source: str, target: str) -> Envelope:
        """Lose an exchange before it arrives."""
        send = self._take(source, target)
        self.run(source, Failed(send.exchange, "dropped"))
        return send.content

    def _take(self, source: str, target: str) -> Send[Envelope]:
        send = self.waiting(source, target)
        assert send is not None, f"nothing is under way from {source} to {target}"
        self.members[source].outbox.remove(send)
        return send

    def flow(self) -> bool:
        """Carry out what is under way once; returns whether anything was. Who is fenced has stopped."""
        moved = False
        running = [name for name in sorted(self.members) if not self.members[name].is_fenced]
        for source in running:
            for send in list(self.members[source].outbox):
                target = self.member_at(send.endpoint)
                moved = True
                if target in running:
                    self.deliver(source, target)
                else:
                    self.drop(source, target)
        return moved

    def settle(self, rounds_max: int = 60) -> None:
        """Let time pass and messages flow until all members hold and cover the same, and nothing is under way."""
        for _ in range(rounds_max):
            for _ in range(200):
                if not self.flow():
                    break
            if self.has_converged(self.members):
                return
            self.now_ms += 1_000
            for name in sorted(self.members):
                self.tick(name)
        raise AssertionError("the members do not converge")

    def has_converged(self, names: Sequence[str] | dict[str, Member]) -> bool:
        """Whether they hold the same versions, cover the same, know of one another and have nothing more to say."""
        members = [self.members[name] for name in names]
        states = [
            [
                (member.context(shard), {a: row.versions for a, row in member.rows(shard).items()})
                for shard in NAMESPACES
            ]
            for member in members
        ]
        return all(state == states[0] for state in states) and not any(member.outbox for member in members)
