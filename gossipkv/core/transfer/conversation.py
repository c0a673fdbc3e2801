"""What one peer has said of its data, and what is under way between it and this member."""

from __future__ import annotations

from dataclasses import dataclass, field

from gossipkv.core.model.address import SYSTEM
from gossipkv.core.model.backoff import Backoff
from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.collected import NOTHING_COLLECTED, Collected, Proofs
from gossipkv.core.protocol.messages import Digest
from gossipkv.core.transfer.fetch import Fetching
from gossipkv.core.transfer.pull import Pulling
from gossipkv.core.transfer.walk import Walk

ENTRIES_MAX = 1_000_000
"""Maximum number of entries known of a peer's context before less is remembered. It is bounded because a stranger may
name ever more replicas."""


@dataclass(slots=True)
class LastDigest:
    """A peer's own figures of a shard, as it last reported them."""

    digest: Digest
    at_ms: int


@dataclass(slots=True)
class InFlight:
    """The transfers that an exchange belongs to. Its answer counts only for these. A pull may have been abandoned and
    followed by another pull, for which the answer means nothing."""

    contexts: dict[str, Context] = field(default_factory=dict)
    """The context that each digest was made from, per shard."""
    pulls: dict[str, Pulling] = field(default_factory=dict)
    walks: dict[str, Walk] = field(default_factory=dict)
    has_values: bool = False
    """Whether the exchange pushed rows of `usr` with values."""


@dataclass(slots=True)
class Conversation:
    """The conversation with one peer. It is about one replica id: `begin_again` drops what was said of the data."""

    # What the peer has said

    contexts: dict[str, Context] = field(default_factory=dict)
    """What the peer durably covers, per shard, according to answers at its own address: anyone can ask in its name.
    Never more than it does cover."""
    lacking: dict[str, Context] = field(default_factory=dict)
    """The context up to which the peer covers writes that it may lack, per shard, as it reported."""
    covered: Context = field(default_factory=Context)
    """What the peer covered of `usr` while it knew of no member that is unknown here. So all members to which it had
    sent rows by then are listed here."""
    vouched: Context = field(default_factory=Context)
    """The same, while the peer also held no row ahead of its context."""
    collected: Collected = NOTHING_COLLECTED
    """Proofs and lineage of the peer's shard `usr`, as it last reported them."""
    told_proofs: Proofs = ()
    """The proofs of `usr` in the peer's last answer, believed or not."""
    told_where_found: bool = False
    """Whether that answer came from a host that discovery has found."""
    compared: dict[str, int] = field(default_factory=dict)
    """This replica's last write, per shard, at the beginning of the last comparison that found no fault in its
    names."""
    heard: dict[str, LastDigest] = field(default_factory=dict)
    has_given: bool = False
    """Whether rows of `usr` were accepted from the peer, so that it knew of this member when it sent them."""
    is_outdated: bool = False
    """Whether the peer's data may hold deleted rows. Then no rows of `usr` are sent to it or accepted from it, and it
    is told why."""
    is_unreadable: bool = False
    """Whether the peer's last answer could not be read: it may hold rows that are not here."""
    synced_at_ms: dict[str, int] = field(default_factory=dict)
    """When a sync with the peer was last completed, per shard."""
    synced_while_ready: set[str] = field(default_factory=set)
    """Shards for which a sync with the peer was completed while it was ready."""

    # What the peer is to be sent

    is_sync_due: bool = True
    """Whether a round is due. At first one is: nothing is pushed before a round has shown what the peer covers."""
    fresh: dict[str, set[ReplicaId]] = field(default_factory=dict)
    """Origins whose writes wait to be pushed, per shard."""
    notes: set[str] = field(default_factory=set)
    """Shards for which the peer must be sent what is covered here."""
    offered: set[str] = field(default_factory=set)
    """Shards that the peer pulls, or was told to pull, and has not caught up with yet: pushes would send rows twice."""
    ahead: dict[str, Context] = field(default_factory=dict)
    """The context up to which the peer was sent the newest rows, for shards that it is catching up with. These rows
    claim nothing."""
    pushes: Backoff = field(default_factory=Backoff)
    """The pause of pushes to the peer after rows did not fit there."""

    # What is under way

    asked: InFlight = field(default_factory=InFlight)
    """The transfers and rows of the exchange under way."""
    pulls: dict[str, Pulling] = field(default_factory=dict)
    walks: dict[str, Walk] = field(default_factory=dict)
    asides: dict[str, Fetching] = field(default_factory=dict)
    """Large rows that the peer has named outside of pulls and walks, per shard, while there are any."""
    fetches: dict[str, Backoff] = field(default_factory=dict)
    """The pause of pulls and walks from the peer after rows did not fit here, per shard."""

    def begin_again(self) -> None:
        """Drop what was known of the peer's data: it has other data now, under another replica id."""
        self.contexts.clear()
        self.lacking.clear()
        self.covered, self.vouched = Context(), Context()
        self.collected, self.told_proofs = NOTHING_COLLECTED, ()
        self.compared.clear()
        self.heard.clear()
        self.has_given = self.is_outdated = False
        self.is_sync_due = True
        self.offered.clear()
        self.ahead.clear()
        self.pushes = Backoff()
        self.fetches.clear()
        self.abandon_transfers()

    def abandon(self, shard: str) -> None:
        """Give up the transfers of one shard."""
        self.pulls.pop(shard, None)
        self.walks.pop(shard, None)
        self.asides.pop(shard, None)

    def abandon_transfers(self) -> None:
        """Give up every pull, walk and fetch of large rows from the peer."""
        self.pulls.clear()
        self.walks.clear()
        self.asides.clear()

    def fetches_wait(self, shard: str, now_ms: int) -> bool:
        """Return whether rows of the shard that the peer sent recently did not fit here."""
        return shard in self.fetches and self.fetches[shard].is_waiting(now_ms)

    def holds_back(self, shard: str) -> bool:
        """Return whether transfers of the shard wait for `sys`: members and settings of tables come before rows. If the
        rest of `sys` fits into one message, nothing waits."""
        if shard == SYSTEM:
            return False
        pulling, walking = self.pulls.get(SYSTEM), self.walks.get(SYSTEM)
        is_pulling = pulling is not None and (pulling.cursor is not None or not pulling.fetching.is_finished)
        return is_pulling or (walking is not None and not walking.is_audit)

    def clock_set_back(self, by_ms: int) -> None:
        """Shorten the pauses by the step that the clock was set back."""
        for backoff in (self.pushes, *self.fetches.values()):
            backoff.clock_set_back(by_ms)

    # What the peer covers

    def holds(self, shard: str, dot: Dot) -> bool:
        """Return whether the peer has reported that it durably holds the write, or something that superseded it."""
        context, lacking = self.contexts.get(shard), self.lacking.get(shard)
        return context is not None and context.covers(dot) and not (lacking and lacking.covers(dot))

    def replace_context(self, shard: str, context: Context, lacking: Context) -> None:
        """Note a report of everything that the peer covers. It is believed even if it is less than was known before:
        what is known of a peer may safely be too little, never too much."""
        self.contexts[shard] = Context(context)
        self.lacking[shard] = lacking
        self.offered.discard(shard)

    def learn_lacking(self, shard: str, lacking: Context) -> None:
        """Note writes that something said in the peer's name calls missing, so that they are asked for again. It is
        safe to think that the peer lacks too much; its own answer corrects that."""
        if lacking:
            self.lacking[shard] = self.lacking.get(shard, Context()).joined(lacking)

    def learn_context(self, shard: str, context: Context, lacking: Context) -> None:
        """Note a report that the peer durably covers this and perhaps more, and may lack `lacking` of it.

        The report may name less than the peer is known to cover: it is old, or about some origins only. Then the
        lacking writes in it are added to those known before, because a row that the peer held may have become
        unreadable.
        """
        known = self.contexts.get(shard)
        if known is None or context.covers_all(known):
            self.lacking[shard] = lacking
        else:
            self.lacking[shard] = self.lacking.get(shard, Context()).joined(lacking)
        if known is None:
            self.contexts[shard] = Context(context)
        elif len(known) > ENTRIES_MAX:
            # It is safe to know less of the peer.
            self.contexts[shard] = Context(context)
        elif not known.covers_all(context):
            known.advance(context)
        else:
            return
        self.offered.discard(shard)
