"""What a member knows of one other member, and what it owes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gossipkv.core.address import SYSTEM
from gossipkv.core.backoff import Backoff
from gossipkv.core.causality import Context, Dot, ReplicaId
from gossipkv.core.collected import NOTHING_COLLECTED, Collected
from gossipkv.core.fetch import Fetching
from gossipkv.core.member import ALIVE, LEFT, SUSPECT, MemberRecord
from gossipkv.core.messages import Digest
from gossipkv.core.pull import Pulling
from gossipkv.core.room import Room
from gossipkv.core.standing import Standing
from gossipkv.core.walk import Walk


@dataclass(slots=True)
class Heard:
    """A peer's own figures of a shard, as it last gave them."""

    digest: Digest
    at_ms: int


@dataclass(slots=True)
class Asked:
    """What an exchange asked on behalf of. An answer counts for that alone: a pull that was given up meanwhile may
    have been followed by another, which the answer says nothing about."""

    contexts: dict[str, Context] = field(default_factory=dict)
    """Per shard, what the digest was made of."""
    pulls: dict[str, Pulling] = field(default_factory=dict)
    walks: dict[str, Walk] = field(default_factory=dict)
    has_values: bool = False
    """Whether it pushed rows of the users with values."""


@dataclass(slots=True)
class Peer:
    """One other member; known by its endpoint alone until it has answered."""

    endpoint: str
    member: str | None = None
    record: MemberRecord | None = None
    record_dot: Dot | None = None
    """The write that the record came with."""
    standing: Standing = field(default_factory=Standing)
    """Whether it is alive, as the failure detector has it; a contact is taken to be."""
    replica: ReplicaId | None = None
    """Of the data that `contexts` speaks of."""
    incarnation: int = 0
    """The greatest heard of; decides between two replica ids under one name."""
    last_heard: int = 0
    """The last exchange that had been begun here when this replica was last heard from."""
    contexts: dict[str, Context] = field(default_factory=dict)
    """Per shard, what the peer durably covers, as far as it has said. Never more than it does."""
    collected: Collected = NOTHING_COLLECTED
    """Proofs and lineage of its users' shard, as it last told them."""
    has_given: bool = False
    """Whether rows of the users have been taken from it: so it knew of this member when it gave them."""
    is_outdated: bool = False
    """Its data may hold what was deleted: it is given no rows of the users, none are taken from it, and it is told."""
    compared: dict[str, int] = field(default_factory=dict)
    """Per shard, this replica's last write when the two last began to compare and nothing was wrong with its names."""
    lacking: dict[str, Context] = field(default_factory=dict)
    """Per shard, what the peer has said that it may lack of what it covers."""
    covered: Context = field(default_factory=Context)
    """What it covered of the users' shard when it knew of no member that is unknown here: whomever it had given rows
    by then is listed here."""
    vouched: Context = field(default_factory=Context)
    """The same, as of when it held no row ahead of its context either."""
    exchange: int | None = None
    """The exchange under way with it: at most one."""
    failures: int = 0
    """Exchanges that failed since the last one that did not."""
    retry_at_ms: int = 0
    has_answered: bool = False
    is_let_go: bool = False
    """It is known not to exist any more, whatever its record says: nothing is begun with it."""

    is_sync_due: bool = True
    """Nothing is pushed to a peer before its context is known, and a round is how to learn it."""
    fresh: dict[str, set[ReplicaId]] = field(default_factory=dict)
    """Per shard, origins of which writes wait to be pushed."""
    offered: set[str] = field(default_factory=set)
    """Shards that it pulls, or was told to, and has not caught up with since: pushes would bring rows twice."""
    ahead: dict[str, Context] = field(default_factory=dict)
    """Per shard that it catches up with, up to where it has been sent the newest rows, which claim nothing."""
    notes: set[str] = field(default_factory=set)
    """Shards of which the peer must be told what is covered here."""
    pulls: dict[str, Pulling] = field(default_factory=dict)
    walks: dict[str, Walk] = field(default_factory=dict)
    asides: dict[str, Fetching] = field(default_factory=dict)
    """Per shard, large rows that it has named outside of pulls and walks, while there are any."""

    asked: Asked = field(default_factory=lambda: Asked())
    """What the exchange under way speaks of."""
    heard: dict[str, Heard] = field(default_factory=dict)
    synced_at_ms: dict[str, int] = field(default_factory=dict)
    """Per shard, when a sync with it was last completed."""
    is_ready: bool = False
    """Whether it last said that it has been brought up to date since it started."""
    is_informed: bool = False
    """Whether it last said that it knows the settings of tables from others."""
    synced_while_ready: set[str] = field(default_factory=set)
    """Shards of which a sync with it was completed while it was."""
    clock_ahead_ms: int = 0
    room: Room = Room.AMPLE
    """What it last said of its storage."""
    fetches: dict[str, Backoff] = field(default_factory=dict)
    """Per shard, pulls and walks from it wait: what they brought did not fit here."""
    pushes: Backoff = field(default_factory=Backoff)
    """Pushes to it wait: what they brought did not fit there."""

    @property
    def status(self) -> str:
        return LEFT if self.is_let_go else self.standing.status

    @property
    def zone(self) -> str | None:
        return self.record.zone if self.record is not None else None

    @property
    def is_living(self) -> bool:
        """A suspect counts as alive until its suspicion has run out: most are refuted."""
        return self.status in (ALIVE, SUSPECT)

    @property
    def is_answering(self) -> bool:
        return self.has_answered and self.failures == 0 and self.is_living

    def is_idle(self, now_ms: int) -> bool:
        """Whether an exchange with it may begin."""
        return not self.is_let_go and self.exchange is None and now_ms >= self.retry_at_ms

    def takes_values(self, now_ms: int) -> bool:
        """Whether to send it rows with values: it has said that it has room, and it has not refused any just now."""
        return self.room < Room.SPENT and not self.pushes.is_waiting(now_ms)

    def learn_room(self, room: Room) -> None:
        """It has said how much room it has. That one input did not fit says nothing about others."""
        if room is not Room.NONE:
            self.room = room

    def fetches_wait(self, shard: str, now_ms: int) -> bool:
        """Whether what it last sent of the shard did not fit here, just now."""
        return shard in self.fetches and self.fetches[shard].is_waiting(now_ms)

    def clock_set_back(self, by_ms: int) -> None:
        """The clock was set back: what waits does not wait longer for that."""
        self.retry_at_ms -= by_ms
        for backoff in (self.pushes, *self.fetches.values()):
            backoff.clock_set_back(by_ms)

    def holds_back(self, shard: str) -> bool:
        """Whether transfers of the shard wait: who the members are, and how tables are kept, comes before rows. What
        of `sys` fits into one message keeps nothing waiting."""
        if shard == SYSTEM:
            return False
        pulling, walking = self.pulls.get(SYSTEM), self.walks.get(SYSTEM)
        is_pulling = pulling is not None and (pulling.cursor is not None or not pulling.fetching.is_finished)
        return is_pulling or (walking is not None and not walking.is_audit)

    def replace_context(self, shard: str, context: Context, lacking: Context) -> None:
        """The peer has answered with all that it covers. Less than it was thought to cover is believed as well: what
        is known of a peer may safely be too little, never too much."""
        self.contexts[shard] = Context(context)
        self.lacking[shard] = lacking
        self.offered.discard(shard)

    def learn_context(self, shard: str, context: Context, lacking: Context) -> None:
        """The peer has said that it durably covers this, and perhaps more, and all that it may lack. If it names less
        than it is known to cover, its word may be an old one, or be about some origins alone: what it was known to lack
        stands, and what it says now is added, for a row that it held may have become unreadable."""
        known = self.contexts.get(shard)
        if known is None or context.covers_all(known):
            self.lacking[shard] = lacking
        else:
            self.lacking[shard] = self.lacking.get(shard, Context()).joined(lacking)
        if known is None:
            self.contexts[shard] = Context(context)
        elif not known.covers_all(context):
            known.advance(context)
        else:
            return
        self.offered.discard(shard)

    def become_replica(self, replica: ReplicaId, incarnation: int) -> None:
        """Hear that the peer runs as this incarnation. If it holds other data now, under another replica id, forget
        what was known of the data."""
        if incarnation < self.incarnation:
            return
        self.incarnation = incarnation
        if replica == self.replica:
            return
        self.replica = replica
        self.contexts.clear()
        self.compared.clear()
        self.lacking.clear()
        self.covered, self.vouched = Context(), Context()
        self.collected = NOTHING_COLLECTED
        self.has_given = self.is_outdated = False
        self.heard.clear()
        self.offered.clear()
        self.ahead.clear()
        self.abandon_transfers()
        self.is_sync_due = True
        self.room = Room.AMPLE
        self.fetches.clear()
        self.pushes = Backoff()

    def holds(self, shard: str, dot: Dot) -> bool:
        """Whether it has said that it durably holds the write, or what superseded it."""
        context, lacking = self.contexts.get(shard), self.lacking.get(shard)
        return context is not None and context.covers(dot) and not (lacking and lacking.covers(dot))

    def abandon_transfers(self) -> None:
        self.pulls.clear()
        self.walks.clear()
        self.asides.clear()
