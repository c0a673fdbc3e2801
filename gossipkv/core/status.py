"""The status of a replica, and what it has heard of other members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from gossipkv.core.membership.clocks import ClockStatus
from gossipkv.core.membership.membership import Membership
from gossipkv.core.membership.namesakes import ProcessIdentity, Sighting
from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import key_of, table_of
from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.member import ALIVE, GOSSIP
from gossipkv.core.model.tally import Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.store.quarantine import UnreadableRow, shown_all
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.shortage import RoomStatus
from gossipkv.core.store.storage import Counts, Identity
from gossipkv.core.store.store import Store


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """The figures of one shard at one member."""

    rows: int
    tombstones: int
    fingerprint: int
    rows_behind: int
    """Writes known here that the member is not known to cover. For this member: writes that it knows of from others'
    contexts and does not cover yet. A row that is written several times counts each time."""
    last_sync_ms: int | None
    """The time since the last completed sync with the member; None before the first."""
    heard_ms: int | None
    """The age of these figures; None if there are none yet."""


class TwinSighting(NamedTuple):
    """Two processes that run under one member's name."""

    older: ProcessIdentity
    younger: ProcessIdentity
    are_twins: bool
    known_ms: int
    """The time for which it has been known."""
    remedy: str


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """The status of one member, as far as this one knows."""

    member: str
    status: str
    is_self: bool
    replica: ReplicaId | None
    incarnation: int | None
    endpoints: dict[str, str]
    zone: str | None
    version: str
    failures: int
    clock_ahead_ms: int
    """How far its wall clock was ahead of this one's when it was last heard; travel time makes it less."""
    shards: dict[str, ShardStatus]
    refutations: int = 0
    """The number of its refutations in this life, as far as this member knows."""
    status_since_ms: int = 0
    """The time for which it has had this status here."""
    is_unvouched: bool = False
    """Whether it is not dialled where its record says, because discovery has not found that host."""
    sighting: TwinSighting | None = None
    """The two processes that run under its name; None if there is one."""


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """The status of this replica."""

    identity: Identity
    is_ready: bool
    has_pushed_everything: bool
    """Whether every member that answers is known to cover everything that was written here."""
    members: tuple[MemberStatus, ...]
    """All known members, including this one, by name."""
    tables: dict[str, dict[str, Counts]]
    """The counts per shard and table."""
    totals: dict[str, Counts]
    """The counts per shard."""
    collection_blocked_by: tuple[str, ...]
    """Members that are not known to have heard of a tombstone that is old enough to be collected."""
    lacking: tuple[LackingRow, ...]
    """Rows that this replica knows to exist and does not hold, except those in quarantine."""
    transfers: dict[str, str]
    """A line on the progress of a pull or walk, per shard with one."""
    tally: Tally
    room: RoomStatus
    clock: ClockStatus
    refusing: tuple[str, ...]
    """The reasons for which rows of others are refused at present, apart from a lack of room."""
    unreadable: tuple[UnreadableRow, ...] = ()
    """Rows in quarantine, up to a bound."""
    unreadable_rows: dict[str, int] = field(default_factory=dict)
    """The number of rows in quarantine, per shard."""
    alone_ms: int | None = None
    """The time for which no other member has been heard; None while it is not alone."""
    unreached: tuple[str, ...] = ()
    """Endpoints that discovery gave and where no member has answered yet."""
    context_entries: dict[str, int] = field(default_factory=dict)
    """The number of replicas that messages about a shard's context name, per shard."""


class LackingRow(NamedTuple):
    """A row that is lacking, with the reason."""

    shard: str
    table: str
    key: str
    reason: str


class Described(Protocol):
    """What the status needs from the replica itself."""

    identity: Identity
    options: ReplicaOptions
    tally: Tally
    is_ready: bool
    zone: str | None

    @property
    def refutations(self) -> int:
        """The number of this member's refutations in this life."""
        ...

    @property
    def started_ms(self) -> int:
        """The wall clock at which the process began."""
        ...

    @property
    def sightings(self) -> Mapping[str, Sighting]:
        """The members whose name two processes use, with these processes."""
        ...

    def alone_ms(self, now_ms: int) -> int | None:
        """Return for how long no other member has been heard; None while the member is not alone."""
        ...

    @property
    def clock(self) -> ClockStatus:
        """The report on this member's clock."""
        ...

    @property
    def refusing(self) -> tuple[str, ...]:
        """The reasons for which rows of others are refused at present."""
        ...


def describe(
    replica: Described,
    store: Store,
    membership: Membership,
    blockers: list[str],
    room: RoomStatus,
    now_ms: int,
) -> ReplicaStatus:
    """Return the status of a replica. `blockers` are the members that block the collection of tombstones."""
    identity, options = replica.identity, replica.options
    own = MemberStatus(
        member=identity.member,
        status=ALIVE,
        is_self=True,
        replica=identity.replica,
        incarnation=identity.incarnation,
        endpoints=dict(options.endpoints),
        zone=replica.zone,
        version=options.version,
        failures=0,
        clock_ahead_ms=0,
        shards={name: _own_shard(shard, membership, now_ms) for name, shard in store.shards.items()},
        refutations=replica.refutations,
        status_since_ms=max(0, now_ms - replica.started_ms),
        sighting=_seen(replica, identity.member, now_ms),
    )
    others = [
        replace(_describe_peer(peer, store, now_ms), sighting=_seen(replica, peer.member or "", now_ms))
        for peer in membership.members()
    ]
    return ReplicaStatus(
        identity=identity,
        is_ready=replica.is_ready,
        has_pushed_everything=_has_pushed_everything(identity, store, membership),
        members=tuple(sorted([own, *others], key=lambda member: member.member)),
        tables={name: dict(shard.tables) for name, shard in store.shards.items()},
        totals={name: shard.totals for name, shard in store.shards.items()},
        collection_blocked_by=tuple(blockers),
        lacking=tuple(_lacking(store)),
        transfers=dict(_transfers(membership)),
        tally=replica.tally.copy(),
        unreadable=shown_all(store.shards),
        unreadable_rows={name: len(shard.quarantined) for name, shard in store.shards.items()},
        alone_ms=replica.alone_ms(now_ms),
        room=room,
        unreached=membership.unreached(),
        context_entries={name: shard.entries for name, shard in store.shards.items()},
        clock=replica.clock,
        refusing=replica.refusing,
    )


def _seen(replica: Described, member: str, now_ms: int) -> TwinSighting | None:
    sighting = replica.sightings.get(member)
    if sighting is None:
        return None
    known_ms = max(0, now_ms - sighting.since_ms)
    return TwinSighting(sighting.older, sighting.younger, sighting.are_twins, known_ms, sighting.remedy(member))


def _lacking(store: Store) -> Iterator[LackingRow]:
    for name, shard in store.shards.items():
        # A row in quarantine is named as such.
        for address in sorted(shard.lacking.keys() - shard.quarantined.keys()):
            yield LackingRow(name, table_of(address), key_of(address).decode(), shard.lacking[address].reason)


def _has_pushed_everything(identity: Identity, store: Store, membership: Membership) -> bool:
    return all(
        shard.context.get(identity.replica, 0)
        <= peer.conversation.contexts.get(name, Context()).get(identity.replica, 0)
        for name, shard in store.shards.items()
        for peer in membership.members()
        if peer.is_answering
    )


def _own_shard(shard: Shard, membership: Membership, now_ms: int) -> ShardStatus:
    heard_of = Context()
    synced_at_ms = None
    for peer in membership.members():
        heard_of.advance(peer.conversation.contexts.get(shard.name, Context()))
        at_ms = peer.conversation.synced_at_ms.get(shard.name)
        if at_ms is not None:
            synced_at_ms = max(at_ms, synced_at_ms or at_ms)
    totals = shard.totals
    return ShardStatus(
        rows=totals.rows,
        tombstones=totals.tombstones,
        fingerprint=shard.fingerprint.root.visible,
        rows_behind=heard_of.excess_over(shard.context),
        last_sync_ms=None if synced_at_ms is None else max(0, now_ms - synced_at_ms),
        heard_ms=0,
    )


def _describe_peer(peer: Peer, store: Store, now_ms: int) -> MemberStatus:
    record = peer.record
    return MemberStatus(
        member=peer.member or peer.endpoint,
        status=peer.status,
        is_self=False,
        replica=peer.replica,
        incarnation=peer.incarnation or None,
        endpoints={n: each for n, each in record.endpoints.items() if each} if record else {GOSSIP: peer.endpoint},
        zone=record.zone if record else None,
        version=record.version if record else "",
        failures=peer.failures,
        clock_ahead_ms=peer.clock_ahead_ms,
        shards={name: _peer_shard(peer, shard, now_ms) for name, shard in store.shards.items()},
        refutations=peer.standing.life.refutations,
        status_since_ms=max(0, now_ms - peer.standing.since_ms),
        is_unvouched=peer.is_unvouched,
    )


def _peer_shard(peer: Peer, shard: Shard, now_ms: int) -> ShardStatus:
    heard = peer.conversation.heard.get(shard.name)
    synced_at_ms = peer.conversation.synced_at_ms.get(shard.name)
    return ShardStatus(
        rows=heard.digest.rows if heard else 0,
        tombstones=heard.digest.tombstones if heard else 0,
        fingerprint=heard.digest.fingerprint if heard else 0,
        rows_behind=shard.context.excess_over(peer.conversation.contexts.get(shard.name, {})),
        last_sync_ms=None if synced_at_ms is None else max(0, now_ms - synced_at_ms),
        heard_ms=None if heard is None else max(0, now_ms - heard.at_ms),
    )


def _transfers(membership: Membership) -> Iterator[tuple[str, str]]:
    for peer in membership.members():
        for name in peer.conversation.pulls:
            yield name, f"pulling from {peer.member}"
        for name, walk in peer.conversation.walks.items():
            kind = "auditing" if walk.is_audit else "walking"
            yield name, f"{kind} {peer.member}: {walk.rows_received} rows, {walk.nodes_left} of 256 nodes left"
