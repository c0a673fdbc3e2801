"""What a member knows of one other member, and what it still has to send it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gossipkv.core.address import SYSTEM
from gossipkv.core.backoff import Backoff
from gossipkv.core.causality import Context, Dot, ReplicaId
from gossipkv.core.collected import NOTHING_COLLECTED, Collected, Proofs
from gossipkv.core.fetch import Fetching
from gossipkv.core.member import ALIVE, LEFT, SUSPECT, MemberRecord
from gossipkv.core.messages import Digest
from gossipkv.core.pull import Pulling
from gossipkv.core.room import Room
from gossipkv.core.standing import Standing
from gossipkv.core.walk import Walk

ENTRIES_MAX = 1_000_000
"""Maximum number of entries known of a peer's context before less is remembered. A bound, because a stranger may go on
naming replicas."""


@dataclass(slots=True)
class Heard:
    """A peer's own figures of a shard, as last reported by it."""

    digest: Digest
    at_ms: int


@dataclass(slots=True)
class Asked:
    """The transfers that an exchange belongs to. Its answer counts only for these: a pull may have been abandoned and
    followed by another one, for which the answer means nothing."""

    contexts: dict[str, Context] = field(default_factory=dict)
    """Per shard, the state that the digest was made from."""
    pulls: dict[str, Pulling] = field(default_factory=dict)
    walks: dict[str, Walk] = field(default_factory=dict)
    has_values: bool = False
    """Whether it pushed rows of `usr` with values."""


@dataclass(slots=True)
class Peer:
    """One other member. Until it has answered, only its endpoint is known."""

    endpoint: str
    """Empty: no host of it may be dialled."""
    member: str | None = None
    record: MemberRecord | None = None
    record_dot: Dot | None = None
    """The write that the record came with."""
    standing: Standing = field(default_factory=Standing)
    """Its status according to the failure detector; a contact counts as alive."""
    replica: ReplicaId | None = None
    """The replica id of the data that `contexts` describes."""
    incarnation: int = 0
    """The greatest incarnation heard of; decides between two replica ids under one name."""
    last_heard: int = 0
    """The last exchange that had been begun here when this replica was last heard from."""
    contexts: dict[str, Context] = field(default_factory=dict)
    """Per shard, what the peer durably covers, as far as it has said in answers at its own address: anyone can ask in
    its name. Never more than it does cover."""
    collected: Collected = NOTHING_COLLECTED
    """Proofs and lineage of its shard `usr`, as last reported."""
    told_proofs: Proofs = ()
    """Of `usr`, as it told them in its last answer; believed or not."""
    told_where_found: bool = False
    """Whether discovery has found the host that answered so."""
    has_given: bool = False
    """Whether rows of `usr` were accepted from it, so that it knew of this member when it sent them."""
    is_outdated: bool = False
    """Whether its data may hold deleted rows. Then no rows of `usr` are sent to it or accepted from it, and it is told
    so."""
    compared: dict[str, int] = field(default_factory=dict)
    """Per shard, this replica's last write at the beginning of the last comparison that found no fault in its names."""
    lacking: dict[str, Context] = field(default_factory=dict)
    """Per shard, the writes that the peer covers but may lack, as reported by it."""
    covered: Context = field(default_factory=Context)
    """What it covered of `usr` when it knew of no member that is unknown here. So all members to which it had sent rows
    by then are listed here."""
    vouched: Context = field(default_factory=Context)
    """The same, at a time when it also held no row ahead of its context."""
    exchange: int | None = None
    """The exchange under way with it: at most one."""
    failures: int = 0
    """Number of failed exchanges since the last successful one."""
    retry_at_ms: int = 0
    is_told_unreached: bool = False
    """Whether the log says that it is not reached, and not yet that this has ended. Its failures are forgotten when it
    moves or starts again; what the log says is not."""
    has_answered: bool = False
    is_unreadable: bool = False
    """Whether its last answer could not be read: it may hold rows that are not here."""
    is_unvouched: bool = False
    """Whether its record names a host that discovery has not found, so that it is not dialled there."""
    is_let_go: bool = False
    """Whether it is known not to exist any more, despite its record. No exchange is begun with it then."""

    is_sync_due: bool = True
    """Whether a round is due. It is at first: nothing is pushed before a round has shown what the peer covers."""
    fresh: dict[str, set[ReplicaId]] = field(default_factory=dict)
    """Per shard, origins whose writes wait to be pushed."""
    offered: set[str] = field(default_factory=set)
    """Shards that it pulls, or was told to pull, and has not caught up with yet: pushes would send rows twice."""
    ahead: dict[str, Context] = field(default_factory=dict)
    """Per shard that it is catching up with, up to where it was sent the newest rows, which claim nothing."""
    notes: set[str] = field(default_factory=set)
    """Shards for which the peer must be sent what is covered here."""
    pulls: dict[str, Pulling] = field(default_factory=dict)
    walks: dict[str, Walk] = field(default_factory=dict)
    asides: dict[str, Fetching] = field(default_factory=dict)
    """Per shard, large rows that it has named outside of pulls and walks, while there are any."""

    asked: Asked = field(default_factory=lambda: Asked())
    """The contents of the exchange under way."""
    heard: dict[str, Heard] = field(default_factory=dict)
    synced_at_ms: dict[str, int] = field(default_factory=dict)
    """Per shard, when a sync with it was last completed."""
    is_ready: bool = False
    """Whether it last reported that it has been brought up to date since it started."""
    is_informed: bool = False
    """Whether it last reported that it knows the settings of tables from others."""
    synced_while_ready: set[str] = field(default_factory=set)
    """Shards for which a sync with it was completed while it was ready."""
    clock_ahead_ms: int = 0
    room: Room = Room.AMPLE
    """The room that it last reported."""
    fetches: dict[str, Backoff] = field(default_factory=dict)
    """Per shard, the pause of pulls and walks from it, whose rows did not fit here."""
    pushes: Backoff = field(default_factory=Backoff)
    """The pause of pushes to it, whose rows did not fit there."""

    @property
    def status(self) -> str:
        return LEFT if self.is_let_go else self.standing.status

    @property
    def zone(self) -> str | None:
        return self.record.zone if self.record is not None else None

    @property
    def is_living(self) -> bool:
        """Whether it counts as alive. A suspect does until its suspicion times out, because most suspicions are
        refuted."""
        return self.status in (ALIVE, SUSPECT)

    @property
    def is_answering(self) -> bool:
        return self.has_answered and self.failures == 0 and self.is_living

    def is_idle(self, now_ms: int) -> bool:
        """Whether an exchange with it may begin."""
        return bool(self.endpoint) and not self.is_let_go and self.exchange is None and now_ms >= self.retry_at_ms

    def takes_values(self, now_ms: int) -> bool:
        """Whether to send it rows with values: it has reported room, and has not refused any recently."""
        return self.room < Room.SPENT and not self.pushes.is_waiting(now_ms)

    def learn_room(self, room: Room) -> None:
        """Note the room that it reports. A single input that did not fit means nothing for others."""
        if room is not Room.NONE:
            self.room = room

    def fetches_wait(self, shard: str, now_ms: int) -> bool:
        """Whether rows of the shard that it sent recently did not fit here."""
        return shard in self.fetches and self.fetches[shard].is_waiting(now_ms)

    def clock_set_back(self, by_ms: int) -> None:
        """The clock was set back: shorten the pauses accordingly."""
        self.retry_at_ms -= by_ms
        for backoff in (self.pushes, *self.fetches.values()):
            backoff.clock_set_back(by_ms)

    def holds_back(self, shard: str) -> bool:
        """Whether transfers of the shard wait for `sys`: members and settings of tables come before rows. If the rest
        of `sys` fits into one message, nothing waits."""
        if shard == SYSTEM:
            return False
        pulling, walking = self.pulls.get(SYSTEM), self.walks.get(SYSTEM)
        is_pulling = pulling is not None and (pulling.cursor is not None or not pulling.fetching.is_finished)
        return is_pulling or (walking is not None and not walking.is_audit)

    def replace_context(self, shard: str, context: Context, lacking: Context) -> None:
        """The peer has reported everything that it covers. This is believed even if it is less than was known before:
        what is known of a peer may safely be too little, never too much."""
        self.contexts[shard] = Context(context)
        self.lacking[shard] = lacking
        self.offered.discard(shard)

    def learn_lacking(self, shard: str, lacking: Context) -> None:
        """Something that was said in the peer's name asks for these writes again. To think that it lacks too much is
        safe, and its own answer puts it right."""
        if lacking:
            self.lacking[shard] = self.lacking.get(shard, Context()).joined(lacking)

    def learn_context(self, shard: str, context: Context, lacking: Context) -> None:
        """The peer has reported that it durably covers this, and perhaps more, and all that it may lack of it. If it
        names less than it is known to cover, the report may be an old one, or be about some origins only: what the peer
        was known to lack stands, and what it reports now is added, for a row that it held may have become
        unreadable."""
        known = self.contexts.get(shard)
        if known is None or context.covers_all(known):
            self.lacking[shard] = lacking
        else:
            self.lacking[shard] = self.lacking.get(shard, Context()).joined(lacking)
        if known is None:
            self.contexts[shard] = Context(context)
        elif len(known) > ENTRIES_MAX:
            # To know less of the peer is safe.
            self.contexts[shard] = Context(context)
        elif not known.covers_all(context):
            known.advance(context)
        else:
            return
        self.offered.discard(shard)

    def become_replica(self, replica: ReplicaId, incarnation: int) -> None:
        """Note that the peer runs as this incarnation. If it now has other data, under another replica id, drop what
        was known of the old data."""
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
        self.collected, self.told_proofs = NOTHING_COLLECTED, ()
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
        """Whether it has reported that it durably holds the write, or something that superseded it."""
        context, lacking = self.contexts.get(shard), self.lacking.get(shard)
        return context is not None and context.covers(dot) and not (lacking and lacking.covers(dot))

    def abandon_transfers(self) -> None:
        self.pulls.clear()
        self.walks.clear()
        self.asides.clear()
