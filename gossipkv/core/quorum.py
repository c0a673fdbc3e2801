"""Direct exchanges about single rows, beside the peers' agendas: reads of several members, and rows handed over.

A read asks every other member at once; as soon as so many have answered as were asked for, the merge of what they and
this member hold is the answer. Asking all costs a few small messages and spares the wait for one that is slow. What
answers bring is taken in like any other row, so the answer is durable here before it is given. Whoever turns out to be
behind, a late one included, gets the merged row at once. A member whose row is refused here (clock skew) has not
answered: its copy is not in the merge.

A row handed over travels as a Delta without ranges: it is merged, and claims nothing. The same envelope asks for the
row, and the answer, which leaves the peer after its commit, tells whether the copy stands. What one message does not
hold goes in several, one after the other.

A peer that fails a direct exchange is not held to have failed: ordinary rounds judge that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gossipkv.core.causality import Dot, ReplicaId
from gossipkv.core.effects import Tally
from gossipkv.core.gossip import Outgoing
from gossipkv.core.member import LEFT
from gossipkv.core.membership import Membership
from gossipkv.core.messages import Delta, Envelope, Message, RowCopy, WalkFetchRows, WalkRows
from gossipkv.core.peer import Peer
from gossipkv.core.pull import Parcel
from gossipkv.core.resolution import Resolved
from gossipkv.core.row import Row
from gossipkv.core.storage import Reader, Transaction
from gossipkv.core.store import Intake

MayExchange = Callable[[Peer | None, str], bool]

TakeIn = Callable[[Transaction, WalkRows, int], Intake]


@dataclass(slots=True, eq=False)
class Reading:
    """A read of several members under way."""

    shard: str
    address: bytes
    members: int
    """How many are asked, this one included."""
    answered: dict[str, ReplicaId] = field(default_factory=dict)
    is_over: bool = False


class Found(NamedTuple):
    """What a read of several members came to."""

    row: Row | None
    """The merge of what they hold."""
    answered: dict[str, ReplicaId]
    """The other members whose copies are in it."""


class Handover(NamedTuple):
    """Rows of a write for a member that is behind, those that it is not known to have yet."""

    shard: str
    rows: Mapping[bytes, Dot]
    handed: dict[str, ReplicaId]
    """Where to note a member that has them."""


class Repair(NamedTuple):
    """A merged row for a member that was behind."""

    shard: str
    address: bytes


Purpose = Reading | Handover | Repair


@dataclass(slots=True, eq=False)
class Direct:
    """One exchange, with the replica that it was meant for."""

    peer: Peer
    replica: ReplicaId
    purpose: Purpose


class Comparison(NamedTuple):
    """What a peer answered a read with, until it is known what it should have."""

    peer: Peer
    reading: Reading
    row: Row | None


class Quorum:
    def __init__(
        self, membership: Membership, take_in: TakeIn, tally: Tally, part_bytes: int, may_exchange: MayExchange
    ) -> None:
        self.exchanges: dict[int, Direct] = {}
        """Under way, by number."""
        self._membership = membership
        self._take_in = take_in
        self._tally = tally
        self._part_bytes = part_bytes
        self._may_exchange = may_exchange
        self._readings: dict[int, Reading] = {}
        self._resolved: dict[int, Reading] = {}
        """Those of the last batch, which may yet fail to commit."""
        self._due: list[Direct] = []
        self._comparisons: list[Comparison] = []

    # What is wanted

    def read(self, ticket: int, reading: Reading) -> None:
        self._readings[ticket] = reading
        self._ask(reading)

    def withdraw(self, ticket: int) -> Reading | None:
        reading = self._readings.pop(ticket, None)
        if reading is not None:
            reading.is_over = True
            self._resolved[ticket] = reading
        return reading

    def hand_over(self, peer: Peer, handover: Handover) -> None:
        """To a peer that is not being handed these rows already."""
        is_under_way = any(
            direct.peer is peer and isinstance(direct.purpose, Handover) and direct.purpose.handed is handover.handed
            for direct in [*self._due, *self.exchanges.values()]
        )
        if not is_under_way:
            self._begin(peer, handover)

    def tick(self) -> None:
        """Ask again whoever has failed to answer a read."""
        for reading in self._readings.values():
            self._ask(reading)

    def _ask(self, reading: Reading) -> None:
        asked = {id(d.peer) for d in [*self._due, *self.exchanges.values()] if d.purpose is reading}
        for peer in self._membership.members():
            if peer.status != LEFT and peer.member not in reading.answered and id(peer) not in asked:
                self._begin(peer, reading)

    def _begin(self, peer: Peer, purpose: Purpose) -> None:
        if peer.replica is not None and self._may_exchange(peer, purpose.shard):
            self._due.append(Direct(peer, peer.replica, purpose))

    # Exchanges

    def compose(self, reader: Reader, next_exchange: Callable[[], int]) -> list[Outgoing]:
        """The exchanges to begin."""
        due, self._due = self._due, []
        prepared = [(direct, self._messages(reader, direct.purpose)) for direct in due]
        outgoing = []
        for direct, messages in prepared:
            if messages:
                exchange = next_exchange()
                self.exchanges[exchange] = direct
                outgoing.append(Outgoing(exchange, direct.peer.endpoint, messages))
        return outgoing

    def _messages(self, reader: Reader, purpose: Purpose) -> tuple[Message, ...]:
        match purpose:
            case Reading(shard=shard, address=address):
                return (WalkFetchRows(shard, (address,)),)
            case Repair(shard=shard, address=address):
                return (Delta(shard, {}, tuple(_copies(reader, shard, [address]))),)
            case Handover(shard=shard, rows=rows):
                parcel = Parcel(self._part_bytes)
                for copy in _copies(reader, shard, rows):
                    if not parcel.add(*copy):
                        break
                return (Delta(shard, {}, parcel.copies()), WalkFetchRows(shard, tuple(parcel.rows)))

    def answered(self, transaction: Transaction, exchange: int, envelope: Envelope, now_ms: int) -> None:
        direct = self.exchanges.pop(exchange)
        peer, purpose = direct.peer, direct.purpose
        if (envelope.member, envelope.replica) != (peer.member, direct.replica) or isinstance(purpose, Repair):
            return
        for message in envelope.messages:
            if isinstance(message, WalkRows) and message.shard == purpose.shard:
                self._take_rows(transaction, direct, message, now_ms)

    def _take_rows(self, transaction: Transaction, direct: Direct, message: WalkRows, now_ms: int) -> None:
        rows = dict(message.rows)
        intake = self._take_in(transaction, message, now_ms)
        peer, purpose = direct.peer, direct.purpose
        assert peer.member is not None, "only members are asked"
        if isinstance(purpose, Handover):
            left = {a: dot for a, dot in purpose.rows.items() if a not in rows or not rows[a].context.covers(dot)}
            if not left:
                purpose.handed[peer.member] = direct.replica
            elif len(left) < len(purpose.rows):
                self._begin(peer, purpose._replace(rows=left))
        elif isinstance(purpose, Reading) and not intake.refused:
            purpose.answered[peer.member] = direct.replica
            self._comparisons.append(Comparison(peer, purpose, rows.get(purpose.address)))

    def failed(self, exchange: int) -> None:
        del self.exchanges[exchange]

    def note_committed(self) -> None:
        """Nothing of the batch can be taken back any longer."""
        self._resolved.clear()

    def forget_batch(self, exchanges: Sequence[int]) -> None:
        """The batch in which these began or ended was not committed. What answers have brought was in it: all are
        asked again."""
        for exchange in exchanges:
            self.exchanges.pop(exchange, None)
        self._due.clear()
        self._comparisons.clear()
        self._readings |= self._resolved
        self._resolved = {}
        for reading in self._readings.values():
            reading.answered.clear()
            reading.is_over = False

    def resolve(self, reader: Reader, *, is_ending: bool) -> list[Resolved]:
        """Reads that enough members have answered, once the batch is committed. All of them if this member
        `is_ending`."""
        resolved = []
        for ticket, reading in list(self._readings.items()):
            is_answered = len(reading.answered) + 1 >= reading.members
            if is_answered or is_ending:
                row = reader.row(reading.shard, reading.address) if is_answered else None
                resolved.append(Resolved(ticket, Found(row, dict(reading.answered)), is_cut=not is_answered))
                reading.is_over = True
                self._resolved[ticket] = self._readings.pop(ticket)
        self._repair(reader)
        return resolved

    def _repair(self, reader: Reader) -> None:
        """Give the merged row to those that a read which is over has found behind."""
        kept = []
        for comparison in self._comparisons:
            peer, reading, theirs = comparison
            if not reading.is_over:
                kept.append(comparison)
                continue
            ours = reader.row(reading.shard, reading.address)
            if ours is not None and (theirs is None or not ours.has_same_versions(theirs)):
                self._begin(peer, Repair(reading.shard, reading.address))
                self._tally.reads_repaired += 1
        self._comparisons = kept


def _copies(reader: Reader, shard: str, addresses: Iterable[bytes]) -> Iterator[RowCopy]:
    for address in addresses:
        row = reader.row(shard, address)
        if row is not None:
            yield RowCopy(address, row)
