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
class Conversation:
    """The conversation with one peer. It is about one replica id: `begin_again` drops what was said of the data."""

    # What the peer has said

    contexts: dict[str, Context] = field(default_factory=dict)
    """Per shard, what the peer durably covers, as far as it has said in answers at its own address: anyone can ask in
    its name. Never more than it does cover."""
    lacking: dict[str, Context] = field(default_factory=dict)
    """Per shard, the writes that the peer covers but may lack, as reported by it."""
    covered: Context = field(default_factory=Context)
    """What it covered of `usr` when it knew of no member that is unknown here. So all members to which it had sent rows
    by then are listed here."""
    vouched: Context = field(default_factory=Context)
    """The same, at a time when it also held no row ahead of its context."""
    collected: Collected = NOTHING_COLLECTED
    """Proofs and lineage of its shard `usr`, as last reported."""
    told_proofs: Proofs = ()
    """Of `usr`, as it told them in its last answer; believed or not."""
    told_where_found: bool = False
    """Whether discovery has found the host that answered so."""
    compared: dict[str, int] = field(default_factory=dict)
    """Per shard, this replica's last write at the beginning of the last comparison that found no fault in its names."""
    heard: dict[str, Heard] = field(default_factory=dict)
    has_given: bool = False
    """Whether rows of `usr` were accepted from it, so that it knew of this member when it sent them."""
    is_outdated: bool = False
    """Whether its data may hold deleted rows. Then no rows of `usr` are sent to it or accepted from it, and it is told
    so."""
    is_unreadable: bool = False
    """Whether its last answer could not be read: it may hold rows that are not here."""
    synced_at_ms: dict[str, int] = field(default_factory=dict)
    """Per shard, when a sync with it was last completed."""
    synced_while_ready: set[str] = field(default_factory=set)
    """Shards for which a sync with it was completed while it was ready."""

    # What it is to be sent

    is_sync_due: bool = True
    """Whether a round is due. It is at first: nothing is pushed before a round has shown what the peer covers."""
    fresh: dict[str, set[ReplicaId]] = field(default_factory=dict)
    """Per shard, origins whose writes wait to be pushed."""
    notes: set[str] = field(default_factory=set)
    """Shards for which the peer must be sent what is covered here."""
    offered: set[str] = field(default_factory=set)
    """Shards that it pulls, or was told to pull, and has not caught up with yet: pushes would send rows twice."""
    ahead: dict[str, Context] = field(default_factory=dict)
    """Per shard that it is catching up with, up to where it was sent the newest rows, which claim nothing."""
    pushes: Backoff = field(default_factory=Backoff)
    """The pause of pushes to it, whose rows did not fit there."""

    # What is under way

    asked: Asked = field(default_factory=Asked)
    """The contents of the exchange under way."""
    pulls: dict[str, Pulling] = field(default_factory=dict)
    walks: dict[str, Walk] = field(default_factory=dict)
    asides: dict[str, Fetching] = field(default_factory=dict)
    """Per shard, large rows that it has named outside of pulls and walks, while there are any."""
    fetches: dict[str, Backoff] = field(default_factory=dict)
    """Per shard, the pause of pulls and walks from it, whose rows did not fit here."""

    def begin_again(self) -> None:
        """The peer has other data than before, under another replica id: drop what was known of the old data."""
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
        """Whether rows of the shard that the peer sent recently did not fit here."""
        return shard in self.fetches and self.fetches[shard].is_waiting(now_ms)

    def holds_back(self, shard: str) -> bool:
        """Whether transfers of the shard wait for `sys`: members and settings of tables come before rows. If the rest
        of `sys` fits into one message, nothing waits."""
        if shard == SYSTEM:
            return False
        pulling, walking = self.pulls.get(SYSTEM), self.walks.get(SYSTEM)
        is_pulling = pulling is not None and (pulling.cursor is not None or not pulling.fetching.is_finished)
        return is_pulling or (walking is not None and not walking.is_audit)

    def clock_set_back(self, by_ms: int) -> None:
        """The clock was set back: shorten the pauses accordingly."""
        for backoff in (self.pushes, *self.fetches.values()):
            backoff.clock_set_back(by_ms)

    # What the peer covers

    def holds(self, shard: str, dot: Dot) -> bool:
        """Whether the peer has reported that it durably holds the write, or something that superseded it."""
        context, lacking = self.contexts.get(shard), self.lacking.get(shard)
        return context is not None and context.covers(dot) and not (lacking and lacking.covers(dot))

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
