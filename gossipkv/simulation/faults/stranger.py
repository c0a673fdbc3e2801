"""A stranger on the network: it is no member, and sends what no member would. It forges rumours, records, incarnations,
contexts, marks and coverage. It uses names that it has invented, and those of members.

The stranger's requests reach members whatever happens to the network. It answers at addresses of its own, if a member
dials them. It invents replicas, but never rows of clients or writes of members. A stranger that can do that can write
anything through the HTTP port as well.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gossipkv.codec import DecodeError, decode, encode
from gossipkv.core.inputs import Received
from gossipkv.core.model.address import FORGOTTEN_TABLE, MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.clock import timestamp_at
from gossipkv.core.model.collected import Proof
from gossipkv.core.model.member import GOSSIP, INCARNATION_END, LEFT, MemberRecord
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.messages import (
    Ack,
    Covered,
    Delta,
    Digest,
    Envelope,
    Message,
    Ping,
    Pull,
    Range,
    RowCopy,
    State,
)
from gossipkv.core.protocol.rumours import STATUSES, Life, Rumour
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.cluster import Cluster
from gossipkv.simulation.scenarios.scenario import Scenario
from gossipkv.simulation.world.host import Host
from gossipkv.simulation.world.process import LIMITS, read_frame

ORIGINS_MAX = 40
"""The maximum number of replicas that one context invents."""
AHEAD = (1, 1_000, 10**9, INCARNATION_END)
"""The amounts by which forged incarnations and numbers of refutations are ahead."""
SEQUENCE_MAX = 2**40
ADDRESSES = 3
REFUSED_ENDPOINTS = ("http://10.0.0.1:7081/admin?x=", "http://user:password@10.0.0.1:80", "\x1b]0;x\x07", "")


class Stranger:
    """A sender of forged messages, and a server at addresses of its own."""

    def __init__(self, rng: random.Random, scenario: Scenario, cluster: Cluster, history: History) -> None:
        self.fired: Counter[str] = Counter()
        self.members: list[str] = []
        """The members that the stranger has invented; operators forget them in the end."""
        self._rng = rng
        self._forges_names = scenario.forges_names
        self._cluster = cluster
        self._history = history
        self._origins: dict[str, ReplicaId] = {}
        """The replica ids of invented members, by name."""
        self._written: Counter[ReplicaId] = Counter()
        self._timestamp = 0
        self._token = rng.getrandbits(63)
        self._ways: dict[str, Callable[[Host, Host], tuple[Envelope, ...]]] = {
            "rumours": self._rumours,
            "contexts": self._contexts,
            "marks": self._marks,
            "incarnations": self._incarnations,
            "joins": self._joins,
            "forgettings": self._forgettings,
            "coverage": self._coverage,
        }
        if self._forges_names:
            # A second process on a copy would write the record of an earlier process again. So the member takes a new
            # replica id.
            self._ways["records"] = self._records
        for number in range(ADDRESSES):
            cluster.network.strangers[f"http://10.9.9.{number}:7081"] = self._answer

    def strike(self) -> bool:
        """Send a forged message to one member, or to all that run. Returns whether any runs."""
        running = self._cluster.running()
        if not running:
            return False
        way = self._rng.choice(list(self._ways))
        about = self._rng.choice(self._cluster.hosts)
        told = running if self._rng.random() < 0.5 else [self._rng.choice(running)]
        self._cluster.trace.line("stranger", f"forges {way} about {about.name} for {[host.name for host in told]}")
        self.fired[f"forged_{way}"] += 1
        for host in told:
            for envelope in self._ways[way](host, about):
                self._send(host, envelope)
        return True

    def _send(self, host: Host, envelope: Envelope) -> None:
        try:
            read = decode(encode(envelope), LIMITS)
        except DecodeError:
            self.fired["forged_frames_refused"] += 1
            return
        if host.process is not None:
            host.process.submit(Received(read))

    def _answer(self, frame: bytes) -> bytes | None:
        """Return the answer to a member that has dialled the stranger; None if it stays silent."""
        running = self._cluster.running()
        if not running or not self.members or self._rng.random() < 0.2:
            return None
        self.fired["forged_answers"] += 1
        asked = read_frame(frame)
        host = self._rng.choice(running)
        name = self._rng.choice(self.members)
        states = {SYSTEM: State(SYSTEM, self._invented()), USER: State(USER, Context(), (self._proof(),))}
        messages: list[Message] = []
        for digest in asked.messages:
            if isinstance(digest, Digest):
                messages += [replace(digest, context_hash=1, fingerprint=2, proofs_hash=3), states[digest.shard]]
        messages.append(Ack(name, tuple(self._rumour(host) for _ in range(3))))
        if any(isinstance(message, Pull) for message in asked.messages):
            messages.append(Delta(USER, {each: Range(0, 1) for each in self._invented()}, ()))
        return encode(self._envelope(host, name, *messages))

    # The names that the stranger uses

    def _name(self) -> str:
        """Return the name of an invented member, which may be new."""
        if not self.members or (len(self.members) < ADDRESSES and self._rng.random() < 0.3):
            self.members.append(f"stranger-{len(self.members)}")
        return self._rng.choice(self.members)

    def _origin(self, name: str) -> ReplicaId:
        if name not in self._origins:
            self._origins[name] = self._rng.getrandbits(63)
            self._history.invented.add(self._origins[name])
        return self._origins[name]

    def _envelope(self, host: Host, name: str, *messages: Message) -> Envelope:
        """Return an envelope in the name of an invented member."""
        now_ms = host.now_ms()
        origin = self._origin(name)
        return Envelope(
            "simulated", name, origin, now_ms, now_ms, messages, True, now_ms, self._token, origin,
            f"http://10.9.9.{self.members.index(name)}:7081",
        )  # fmt: skip

    def _as(self, host: Host, about: Host, *messages: Message) -> Envelope:
        """Return an envelope in the name of a member, with what that member last said of itself."""
        overheard = self._cluster.overheard.get(about.name)
        if overheard is None:
            return self._envelope(host, self._name(), *messages)
        return replace(overheard, messages=messages, now_ms=host.now_ms())

    def _incarnation(self, about: Host) -> int:
        overheard = self._cluster.overheard.get(about.name)
        return overheard.incarnation if overheard is not None else about.now_ms()

    def _from_anyone(self, host: Host, about: Host, *messages: Message) -> Envelope:
        if about is not host and self._rng.random() < 0.5:
            return self._as(host, about, *messages)
        return self._envelope(host, self._name(), *messages)

    # What the stranger says

    def _rumour(self, about: Host) -> Rumour:
        ahead = self._rng.choice((0, *AHEAD))
        life = Life(
            min(self._incarnation(about) + ahead, INCARNATION_END - 1),
            min(self._rng.choice((0, 5, *AHEAD)), INCARNATION_END - 1),
        )
        return Rumour(about.name, self._rng.choice(STATUSES), life, self._rng.choice(self._cluster.hosts).name)

    def _rumours(self, host: Host, about: Host) -> tuple[Envelope, ...]:
        """Spread a rumour about one member; often, spread that all members have left in their present lives."""
        if self._rng.random() < 0.5:
            rumours = [Rumour(other.name, LEFT, Life(self._incarnation(other), 0)) for other in self._cluster.hosts]
        else:
            rumours = [self._rumour(about)]
        return (self._from_anyone(host, about, Ping(tuple(rumours))),)

    def _invented(self) -> Context:
        origins = [self._rng.getrandbits(63) for _ in range(self._rng.randint(1, ORIGINS_MAX))]
        self._history.invented.update(origins)
        return Context({origin: self._rng.randint(1, SEQUENCE_MAX) for origin in origins})

    def _contexts(self, host: Host, about: Host) -> tuple[Envelope, ...]:
        """Name invented origins, as covered by the sender, or as given by it."""
        shard = self._rng.choice((SYSTEM, USER))
        invented = self._invented()
        ranges = {origin: Range(0, sequence) for origin, sequence in invented.items()}
        messages: list[Message] = [Delta(shard, ranges, ()), Covered(shard, invented), State(shard, invented)]
        return (self._from_anyone(host, about, self._rng.choice(messages)),)

    def _proof(self) -> Proof:
        """Return a proof that everything that anyone has written was collected, and perhaps more."""
        marks = Context()
        for other in self._cluster.running():
            assert other.process is not None, "it is up"
            marks.advance(other.process.replica.shards[USER].shown)
        known = frozenset(other.disk.replica for other in self._cluster.hosts)
        return Proof(self._beyond(marks), known, known)

    def _beyond(self, context: Context) -> Context:
        """Return the context; if names are forged, with writes that no member has made."""
        if not self._forges_names:
            return context
        return Context({origin: through + self._rng.choice((0, 1, 1_000)) for origin, through in context.items()})

    def _marks(self, host: Host, about: Host) -> tuple[Envelope, ...]:
        return (self._from_anyone(host, about, State(USER, Context(), (self._proof(),))),)

    def _incarnations(self, host: Host, about: Host) -> tuple[Envelope, ...]:
        """Speak as a member that runs as another replica, or as a later incarnation of the same."""
        if about is host:
            return ()
        forged = self._as(host, about, Ping())
        ahead = self._rng.choice(AHEAD)
        forged = replace(forged, incarnation=min(forged.incarnation + ahead, INCARNATION_END - 1))
        if self._rng.random() < 0.5:
            replica = self._rng.getrandbits(63)
            self._history.invented.add(replica)
            forged = replace(forged, replica=replica, born=replica, token=self._token, started=forged.incarnation)
        return (forged,)

    def _write(self, host: Host, name: str, table: str, key: bytes, value: bytes | None) -> Delta:
        """Return a row of `sys` that is later than all others, as far as members believe such timestamps."""
        origin = self._origin(name)
        self._written[origin] += 1
        dot = Dot(origin, self._written[origin])
        # A row says that it has replaced the stranger's earlier ones. Checkers believe this much.
        drawn = timestamp_at(host.now_ms() + self._rng.randint(-1_000, 300))
        self._timestamp = max(self._timestamp + 1, drawn)
        version = Version(dot, self._timestamp, value)
        row = StoredRow((version,), Context({origin: dot.sequence}))
        return Delta(SYSTEM, {origin: Range(dot.sequence - 1, dot.sequence)}, (RowCopy(address_of(table, key), row),))

    def _joins(self, host: Host, about: Host) -> tuple[Envelope, ...]:
        """Write the record of a member that does not exist, at an address of the stranger's, of a member, or at an
        invalid one."""
        name = self._name()
        endpoint = self._rng.choice(
            (f"http://10.9.9.{self.members.index(name)}:7081", about.endpoint, *REFUSED_ENDPOINTS)
        )
        now_ms = host.now_ms()
        incarnation = now_ms + self._rng.choice((0, 0, *AHEAD))
        record = MemberRecord(
            self._origin(name), min(incarnation, INCARNATION_END - 1), {GOSSIP: endpoint}, version="0"
        )
        write = self._write(host, name, MEMBERS_TABLE, name.encode(), record.to_json())
        return (self._envelope(host, name, write),)

    def _records(self, host: Host, about: Host) -> tuple[Envelope, ...]:
        """Write the record of a member, changed or deleted."""
        held = host.disk.committed_row(SYSTEM, address_of(MEMBERS_TABLE, about.name.encode()))
        name = self._name()
        if held is None or held.winner.value is None or self._rng.random() < 0.1:
            return (self._envelope(host, name, self._write(host, name, MEMBERS_TABLE, about.name.encode(), None)),)
        record = MemberRecord.from_json(held.winner.value)
        endpoint = self._rng.choice((*REFUSED_ENDPOINTS, "http://10.9.9.0:7081", "http://10.9.8.7:1"))
        changes: tuple[dict[str, Any], ...] = (
            {"has_left": True},
            {"endpoints": {GOSSIP: endpoint}},
            {"incarnation": min(record.incarnation + self._rng.choice(AHEAD), INCARNATION_END - 1)},
            {"replica": self._origin(name), "born": self._origin(name)},
            {"token": self._token, "started": min(record.started + self._rng.choice(AHEAD), INCARNATION_END - 1)},
        )
        forged = replace(record, **self._rng.choice(changes))
        write = self._write(host, name, MEMBERS_TABLE, about.name.encode(), forged.to_json())
        return (self._envelope(host, name, write),)

    def _forgettings(self, host: Host, about: Host) -> tuple[Envelope, ...]:
        """Write that one member is forgotten, or that all are."""
        name = self._name()
        about_all = self._rng.random() < 0.5
        hosts = self._cluster.hosts if about_all else [about]
        return tuple(
            self._envelope(
                host,
                name,
                self._write(host, name, FORGOTTEN_TABLE, b"%016x" % other.disk.replica, b'{"member": "x"}'),
            )
            for other in hosts
        )

    def _coverage(self, host: Host, about: Host) -> tuple[Envelope, ...]:
        """Say in the name of a member that it covers all that the receiver covers."""
        if about is host or host.process is None:
            return ()
        shard = host.process.replica.shards[USER]
        context = self._beyond(Context(shard.shown))
        root = shard.fingerprint.root.visible
        messages: list[Message] = [
            Covered(USER, context),
            State(USER, context),
            Pull(USER, context),
            Digest(USER, shard.shown.digest(), root, 0, 0, False, shard.collected.digest()),
        ]
        return (self._as(host, about, self._rng.choice(messages)),)
