"""Stamps writes again that were made while this member's clock was too far ahead.

Other members refuse such a write until their clocks are within `clock_skew_ms_max` of its timestamp. Until then they
cover no later write of this replica either. So once the clock is right, this member writes the same versions again,
under new dots and with timestamps of the present.

*Only writes that no other member holds.* Counterexample: b's clock was ahead as well, so b has taken in v, a's write,
stamped at noon. It is ten o'clock. a stamps v again, at ten. At half past ten it acknowledges w, which replaces v. When
b's copy of v reaches a, v outranks w, and the acknowledged write w is lost. Writes that another member holds wait until
real time has caught up.

*Above what the write has replaced.* Counterexample: c holds u, stamped five minutes ahead, which a had read and
replaced by v. Stamped with the present, v would lose against u at c.

So each member that is listed or alive is asked for the row. The write is stamped again once all have answered that they
hold neither the write nor what superseded it. The new timestamp is above every version of the row that any of them
holds. So the order of the writes to a row stays as it was: v outranked each of them before. Several such writes in one
row keep their order among each other. While a member does not answer, nothing is stamped again: it may hold the write.
While a record is refused here, nothing is stamped again either: the clock of that member may have been ahead as well.

*No write that may soon be accepted.* Its timestamp must exceed every clock compared, plus the limit, plus the longest
life of a message. A copy sent earlier may still arrive within that life. One case remains: while such a copy is on its
way, the receiver's clock jumps past the timestamp. Its copy of v comes back, and outranks later writes until its time
has come.

Only writes above what any peer is known to cover are examined, because a peer that covers a write holds it. At a member
whose clock was right, these are the few on their way. The time of expiry is moved with the timestamp, because it was
computed with the same wrong clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from gossipkv.core.membership.clocks import Clocks
from gossipkv.core.membership.exchanges import Exchanges, Outgoing
from gossipkv.core.membership.membership import Membership
from gossipkv.core.membership.peer import MayExchange, Peer
from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.clock import milliseconds
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.tally import Notice, Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Delta, Envelope, WalkFetchRows, WalkRows
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Reader, Transaction
from gossipkv.core.store.store import Store

ROWS_AT_ONCE = 100
"""Maximum number of rows that the others are asked for at a time."""
ENTRIES_PER_LOOK = 500
"""Maximum number of journal entries that one look examines."""


class VersionReport(NamedTuple):
    """A version of a row, as a peer reports it."""

    dot: Dot
    timestamp: int


@dataclass(slots=True, eq=False)
class Inquiry:
    """A question to all other members about rows of one shard."""

    shard: str
    dots: dict[bytes, frozenset[Dot]]
    """Per address, the versions to be stamped again, in the order of their timestamps."""
    contexts: dict[bytes, Context]
    """What each row covered when the question was asked."""
    asked_ms: int
    answered: dict[str, ReplicaId] = field(default_factory=dict)
    """The replica that has answered, by member."""
    held: set[bytes] = field(default_factory=set)
    """Rows that another member holds, or may hold."""
    above: dict[bytes, int] = field(default_factory=dict)
    """The greatest timestamp of what others hold in a row, by address."""


class Asking(NamedTuple):
    """An exchange in which one peer is asked."""

    peer: Peer
    replica: ReplicaId
    inquiry: Inquiry


class Restamper:
    """The restamping of one replica."""

    def __init__(
        self,
        store: Store,
        membership: Membership,
        exchanges: Exchanges,
        clocks: Clocks,
        tally: Tally,
        outbox: Outbox,
        options: ReplicaOptions,
        may_exchange: MayExchange,
    ) -> None:
        self._outbox = outbox
        self._store = store
        self._membership = membership
        self._exchanges = exchanges
        self._clocks = clocks
        self._tally = tally
        self._skew_ms_max = options.clock_skew_ms_max
        self._life_ms = options.message_life_ms
        self._may_exchange = may_exchange
        self._inquiries: dict[str, Inquiry] = {}
        """The inquiry under way, per shard."""
        self._reached: dict[str, int] = {}
        """The sequence that the last look has reached, per shard."""
        self._due: list[Asking] = []

    def tick(self, transaction: Transaction, now_ms: int, *, is_round: bool) -> list[str]:
        """Continue; return the shards in which rows were written. Looks for writes once per round."""
        if self._clocks.is_off:
            self._inquiries.clear()
            return []
        written = []
        for name, shard in self._store.shards.items():
            inquiry = self._inquiries.get(name)
            if inquiry is not None and not 0 <= now_ms - inquiry.asked_ms <= self._life_ms:
                del self._inquiries[name]
                inquiry = None
            if inquiry is None and is_round:
                inquiry = self._look(transaction, shard, now_ms)
            if inquiry is None:
                continue
            peers = self._membership.present()
            if self._is_answered_by_all(inquiry, peers):
                del self._inquiries[name]
                if self._conclude(transaction, shard, inquiry, now_ms):
                    written.append(name)
            else:
                self._ask(inquiry, peers)
        return written

    # What to ask for

    def _look(self, reader: Reader, shard: Shard, now_ms: int) -> Inquiry | None:
        """Begin an inquiry about writes that no peer covers and that are stamped too far ahead; return None if there
        are none."""
        peers = self._membership.present()
        if not peers or not self._membership.lists_all or not shard.tells_all or shard.lacking:
            return None
        latest_ms = self._acceptable_ms(peers, now_ms)
        if latest_ms is None or not all(self._may_exchange(peer, shard.name) for peer in peers):
            return None
        own = self._store.replica
        covered = max(peer.conversation.contexts.get(shard.name, Context()).get(own, 0) for peer in peers)
        after = max(covered, self._reached.get(shard.name, 0))
        entries = list(islice(reader.journal(shard.name, own, after), ENTRIES_PER_LOOK))
        self._reached[shard.name] = entries[-1].sequence if len(entries) == ENTRIES_PER_LOOK else 0
        found: list[tuple[int, bytes, StoredRow]] = []
        for address in dict.fromkeys(entry.address for entry in entries):
            row = reader.row(shard.name, address)
            if row is not None and self._is_to_be_stamped(row, latest_ms):
                found.append((row.winner.timestamp, address, row))
        if not found:
            return None
        chosen = sorted(found)[:ROWS_AT_ONCE]
        dots = {address: self._dots_ahead(row, latest_ms) for _, address, row in chosen}
        contexts = {address: row.context for _, address, row in chosen}
        self._inquiries[shard.name] = inquiry = Inquiry(shard.name, dots, contexts, now_ms)
        return inquiry

    def _acceptable_ms(self, peers: Sequence[Peer], now_ms: int) -> int | None:
        """Return the latest time of a timestamp that any peer may be about to accept; None while not all clocks are
        known."""
        compared = [self._clocks.compared(peer.member or "") for peer in peers]
        if not all(compared):
            return None
        ahead_ms = max([0, *(each.ahead_ms for each in compared if each is not None)])
        return now_ms + ahead_ms + self._skew_ms_max + self._life_ms

    def _dots_ahead(self, row: StoredRow, latest_ms: int) -> frozenset[Dot]:
        return frozenset(version.dot for version in row.versions if milliseconds(version.timestamp) > latest_ms)

    def _is_to_be_stamped(self, row: StoredRow, latest_ms: int) -> bool:
        """Return whether versions are too far ahead, and all of them are this replica's. A version of another replica
        is held by that replica, or was lost with it and is adopted."""
        ahead = self._dots_ahead(row, latest_ms)
        return bool(ahead) and all(dot.replica == self._store.replica for dot in ahead)

    # Exchanges

    def _is_answered_by_all(self, inquiry: Inquiry, peers: Sequence[Peer]) -> bool:
        return (bool(peers) and self._membership.lists_all) and all(
            peer.replica is not None
            and inquiry.answered.get(peer.member or "") == peer.replica
            and (peer.record is None or peer.record.replica == peer.replica)
            for peer in peers
        )

    def _ask(self, inquiry: Inquiry, peers: Sequence[Peer]) -> None:
        asked = {each.peer.member for each in self._exchanges.of(self).values() if each.inquiry.shard == inquiry.shard}
        for peer in peers:
            is_open = peer.member not in asked and inquiry.answered.get(peer.member or "") != peer.replica
            if is_open and peer.replica is not None and not peer.is_let_go and peer.is_answering:
                self._due.append(Asking(peer, peer.replica, inquiry))

    def compose(self) -> list[Outgoing]:
        """Return the exchanges to begin."""
        due, self._due = self._due, []
        return [
            Outgoing(self, asking, asking.peer.endpoint, (WalkFetchRows(inquiry.shard, tuple(inquiry.dots)),))
            for asking in due
            for inquiry in [asking.inquiry]
        ]

    def began(self, asking: Asking, exchange: int) -> None:
        """Do nothing: a question needs no note of its exchange."""

    def answered(self, asking: Asking, envelope: Envelope) -> None:
        """Take the answer to a question. An answer of another process or replica does not count."""
        peer, replica, inquiry = asking
        if (envelope.member, envelope.replica) != (peer.member, replica):
            return
        for message in envelope.messages:
            if isinstance(message, Delta) and message.shard == inquiry.shard:
                # The peer lacks these rows, so it cannot say whether it would hold the write.
                inquiry.held.update(row.address for row in message.lacking)
        for message in envelope.messages:
            if isinstance(message, WalkRows) and message.shard == inquiry.shard:
                self._take(inquiry, message)
                inquiry.answered[envelope.member] = replica

    def _take(self, inquiry: Inquiry, answer: WalkRows) -> None:
        reports = [
            (copy.address, copy.row.context, [VersionReport(each.dot, each.timestamp) for each in copy.row.versions])
            for copy in answer.rows
        ]
        reports += [
            (large.address, large.context, [VersionReport(each.dot, each.timestamp) for each in large.versions])
            for large in answer.large
        ]
        for address, context, found in reports:
            dots = inquiry.dots.get(address, frozenset())
            if any(context.covers(dot) for dot in dots):
                inquiry.held.add(address)
            inquiry.above[address] = max([inquiry.above.get(address, 0), *(each.timestamp for each in found)])
        # A refused row is one that the peer holds and that could not be read here.
        inquiry.held.update(row.address for row in answer.refused if row.address is not None)
        if any(row.address is None for row in answer.refused):
            inquiry.held.update(inquiry.dots)
        if answer.resume is not None:
            # The rest did not fit. The next inquiry asks for it.
            inquiry.held.update(list(inquiry.dots)[answer.resume.place :])

    def failed(self, asking: Asking, reason: str, now_ms: int, *, was_answered: bool) -> None:
        """Note that a question has failed, so that the peer is asked again."""

    def forget(self, asking: Asking) -> None:
        """Do nothing: `forget_batch` drops the inquiry of the question."""

    def forget_batch(self) -> None:
        """Drop every inquiry, because the batch was not committed."""
        self._due.clear()
        self._inquiries.clear()

    # Conclusions

    def _conclude(self, transaction: Transaction, shard: Shard, inquiry: Inquiry, now_ms: int) -> bool:
        """Stamp the rows again that no other member holds, in the order of their timestamps; return whether there were
        any."""
        latest_ms = self._acceptable_ms(self._membership.present(), now_ms)
        if latest_ms is None:
            return False
        restamped = 0
        for address, dots in inquiry.dots.items():
            above = inquiry.above.get(address, 0)
            row = transaction.row(shard.name, address)
            if row is None or address in inquiry.held or row.context != inquiry.contexts[address]:
                continue
            if self._dots_ahead(row, latest_ms) != dots or milliseconds(above) > latest_ms - self._life_ms:
                continue
            self._store.restamp(transaction, shard.name, address, dots, above, now_ms)
            self._tally.writes_stamped_again += len(dots)
            restamped += 1
        if restamped:
            fields = {"shard": shard.name, "rows": restamped, "reason": "they were written while the clock was ahead"}
            self._outbox.say(Notice("writes_stamped_again", fields))
        return restamped > 0
