"""Direct exchanges about single rows, in addition to the peers' agendas: reads of several members, and hand-overs.

A read asks every other member at once. As soon as the requested number of members have answered, the answer is the
merge of their copies and this member's. Asking all costs a few small messages, and avoids waiting for a slow one. Rows
in the answers are taken in like any other row, so the result is durable here before it is returned. A member found to
be behind, even by a late answer, is sent the merged row at once. A member whose row is refused here (clock skew) does
not count as having answered, because its copy is not in the merge. Nor does a member that lacks the row.
Counterexample: a and b have acknowledged a write, and b's copy becomes unreadable; a read of b and c would find
nothing, though two of three were asked.

A large row is fetched before its peer counts as having answered. One large row at a time is fetched for all reads
(`core/transfer/fetch.py`).

A hand-over sends a row as a Delta without ranges: it is merged, and claims nothing. The same envelope asks for the row.
The answer leaves the peer after its commit, and so shows whether the copy is durable. Rows that do not fit one message
are sent in several, one after the other. A large row is only named, and the peer fetches it; the peer is asked again
until it reports that the copy is durable.

A failed direct exchange does not count against the peer: only ordinary rounds judge peers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gossipkv.core.membership.exchanges import Exchanges, Outgoing
from gossipkv.core.membership.membership import Membership
from gossipkv.core.membership.peer import MayExchange, Peer
from gossipkv.core.model.address import key_of
from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.lacking import RECALLS_PER_ROUND
from gossipkv.core.model.member import LEFT
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.tally import Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Delta, Envelope, Message, RefusedRow, ValuePart, WalkFetchRows, WalkRows
from gossipkv.core.protocol.parcel import Parcel
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Reader, Transaction
from gossipkv.core.store.store import Intake
from gossipkv.core.transfer.fetch import Fetching
from gossipkv.core.waits.answers import Found, Resolved
from gossipkv.core.waits.deadline import is_late


class Taking(Protocol):
    """How rows that arrive are taken in."""

    def take_in(self, transaction: Transaction, message: WalkRows, now_ms: int, peer: Peer) -> Intake: ...

    def take_large(
        self, transaction: Transaction, shard_name: str, fetching: Fetching, now_ms: int, peer: Peer
    ) -> list[RefusedRow]: ...

    def take_value(
        self, transaction: Transaction, part: ValuePart, fetching: Fetching, now_ms: int, peer: Peer
    ) -> list[RefusedRow]: ...

    def recalled(self, shard_name: str, address: bytes, peer: Peer | None) -> None: ...


@dataclass(slots=True, eq=False)
class Reading:
    """A read of several members under way."""

    shard: str
    address: bytes
    members: int
    """The number of members to read from, including this one."""
    deadline_ms: int | None = None
    """See Await."""
    answered: dict[str, ReplicaId] = field(default_factory=dict)
    is_over: bool = False

    def found(self, shards: Mapping[str, Shard]) -> Found:
        """How it stands."""
        is_own_whole = shards[self.shard].is_whole(self.address)
        return Found(None, dict(self.answered), len(self.answered) + is_own_whole)


class Handover(NamedTuple):
    """The rows of a write that a member is not known to have yet."""

    shard: str
    rows: Mapping[bytes, Dot]
    handed: dict[str, ReplicaId]
    """Where to note a member that has them."""


class Repair(NamedTuple):
    """A merged row to send to a member that was behind."""

    shard: str
    address: bytes


class Recall(NamedTuple):
    """A row that is lacking here, asked for at a member."""

    shard: str
    address: bytes
    through: Context
    is_enough: bool
    """Whether the member holds all that may be missing of the row, or what superseded it."""


Purpose = Reading | Handover | Repair | Recall

Dots = tuple[Dot, ...]


@dataclass(slots=True, eq=False)
class Direct:
    """One exchange, with the replica that it was meant for."""

    peer: Peer
    replica: ReplicaId
    purpose: Purpose
    fetching: Fetching | None = None
    """The large row that is being fetched for a read."""
    dots: Dots | None = None
    """Of the versions of that row at the peer."""


class Comparison(NamedTuple):
    """What a peer answered a read with, until it is known what it should have."""

    peer: Peer
    reading: Reading
    dots: Dots | None
    """Of the versions of its row."""


class DirectExchanges:
    """The direct exchanges of one replica, and the reads of several members that wait for them."""

    def __init__(
        self,
        membership: Membership,
        exchanges: Exchanges,
        taking: Taking,
        tally: Tally,
        options: ReplicaOptions,
        may_exchange: MayExchange,
    ) -> None:
        self._exchanges = exchanges
        self._membership = membership
        self._taking = taking
        self._tally = tally
        self._options = options
        self._may_exchange = may_exchange
        self._recalls = 0
        self._now_ms = 0
        """The time of the last round."""
        self._records_lacking: dict[bytes, int] = {}
        """Since when records of members have been lacking, by address."""
        self._heard: dict[tuple[str, bytes], tuple[Context, set[ReplicaId]]] = {}
        """Lacking rows, up to where, and the replicas whose copies have been taken in since."""
        self._shards: Mapping[str, Shard] = {}
        self._readings: dict[int, Reading] = {}
        self._resolved: dict[int, Reading] = {}
        """Those of the last batch, which may yet fail to commit."""
        self._due: list[Direct] = []
        self._comparisons: list[Comparison] = []

    # What is wanted

    def read(self, ticket: int, reading: Reading) -> None:
        """Begin a read of several members. `resolve` ends it under its ticket."""
        self._readings[ticket] = reading
        self._ask(reading)

    def withdraw(self, ticket: int) -> None:
        """Track a read no longer."""
        reading = self._readings.pop(ticket, None)
        if reading is not None:
            reading.is_over = True
            self._resolved[ticket] = reading

    @property
    def readings(self) -> Iterable[Reading]:
        """The reads under way."""
        return self._readings.values()

    def hand_over(self, peer: Peer, handover: Handover) -> None:
        """Hand rows to a peer, unless these are already being handed to it."""
        is_under_way = any(
            direct.peer is peer and isinstance(direct.purpose, Handover) and direct.purpose.handed is handover.handed
            for direct in self._open()
        )
        if not is_under_way:
            self._begin(peer, handover)

    def tick(self) -> None:
        """Ask the members again that have failed to answer a read."""
        for reading in self._readings.values():
            self._ask(reading)

    def _ask(self, reading: Reading) -> None:
        asked = {id(d.peer) for d in self._open() if d.purpose is reading}
        for peer in self._membership.members():
            if peer.status != LEFT and peer.member not in reading.answered and id(peer) not in asked:
                self._begin(peer, reading)

    def recall(self, shards: Mapping[str, Shard], records_lacking: Iterable[bytes], now_ms: int) -> None:
        """Ask for lacking rows again: due once per round, each time from another peer. `records_lacking` are those of
        `sys.members`."""
        self._shards = shards
        self._recalls += 1
        self._follow_records(records_lacking, now_ms)
        purposes = [direct.purpose for direct in self._open()]
        asked = {(each.shard, each.address) for each in purposes if isinstance(each, Recall)}
        for name, shard in shards.items():
            addresses = sorted(shard.lacking)
            for place in range(min(RECALLS_PER_ROUND, len(addresses))):
                address = addresses[(self._recalls * RECALLS_PER_ROUND + place) % len(addresses)]
                through = shard.lacking[address].through
                if (name, address) not in asked:
                    self._recall(name, address, through)

    def _recall(self, shard: str, address: bytes, through: Context) -> None:
        """Ask a member that holds everything that may be missing; if there is none, ask all members in turn."""
        peers = [peer for peer in self._membership.members() if peer.is_answering and peer.status != LEFT]
        _, heard = self._heard.get((shard, address), (through, set()))
        unheard = [peer for peer in peers if peer.replica not in heard]
        # Who covers the row and has said even so that it lacks it is not asked again before the others.
        certain = [
            peer for peer in unheard if all(peer.conversation.holds(shard, Dot(*entry)) for entry in through.items())
        ]
        candidates = certain or unheard or peers
        if candidates:
            peer = candidates[self._recalls % len(candidates)]
            self._begin(peer, Recall(shard, address, through, is_enough=bool(certain)))
        elif (
            self._membership.has_looked
            and not self._membership.present()
            and not self._membership.knows_of_others()
            and self._lists_all(set())
        ):
            # No member is listed, and discovery finds none.
            self._taking.recalled(shard, address, None)

    def _follow_records(self, records: Iterable[bytes], now_ms: int) -> None:
        """Note which records of members are lacking, and since when. A clock that is set back begins the time again."""
        self._now_ms = now_ms
        since = {address: self._records_lacking.get(address, now_ms) for address in records}
        self._records_lacking = {address: min(began_ms, now_ms) for address, began_ms in since.items()}

    def _lists_all(self, heard: set[ReplicaId]) -> bool:
        """Return whether every member that may hold a lacking row is listed, or is among these replicas.

        A member whose record is lacking here is not listed, and may exist. Counterexample: a member pushes its record
        to another one, which cannot take it in, and whose discovery has not found the member yet. No other member has
        the record. If the answers of those that are listed were enough to give it up, it would count as covered, and
        the member would not be listed here before it writes its record again.

        A member that exists is found, or sends its record again. So this ends when it has not happened for longer than
        members take to believe that another one is gone, and than a message may be under way.
        """
        wait_ms = max(self._options.forget_silence_ms, self._options.message_life_ms)
        return all(
            self._now_ms - since_ms >= wait_ms or self._has_answered(key_of(address), heard)
            for address, since_ms in self._records_lacking.items()
        )

    def _has_answered(self, key: bytes, heard: set[ReplicaId]) -> bool:
        """Return whether this record is of a member that is among these replicas, or of this member."""
        member = key.decode(errors="replace")
        peer = self._membership.member(member)
        return member == self._options.member or (peer is not None and peer.replica in heard)

    def _begin(self, peer: Peer, purpose: Purpose, fetching: Fetching | None = None, dots: Dots | None = None) -> None:
        if peer.replica is not None and self._may_exchange(peer, purpose.shard):
            self._due.append(Direct(peer, peer.replica, purpose, fetching, dots))

    # Exchanges

    def _open(self) -> list[Direct]:
        """The exchanges under way, and those that are about to begin."""
        return [*self._due, *self._exchanges.of(self).values()]

    def compose(self, reader: Reader) -> list[Outgoing]:
        """The exchanges to begin."""
        due, self._due = self._due, []
        prepared = [(direct, self._messages(reader, direct)) for direct in due]
        return [Outgoing(self, direct, direct.peer.endpoint, messages) for direct, messages in prepared if messages]

    def began(self, direct: Direct, exchange: int) -> None:
        """The exchange has begun."""

    def _messages(self, reader: Reader, direct: Direct) -> tuple[Message, ...]:
        if direct.fetching is not None:
            return (direct.fetching.asked,) if direct.fetching.asked is not None else ()
        match direct.purpose:
            case Reading(shard=shard, address=address) | Recall(shard=shard, address=address):
                return (WalkFetchRows(shard, (address,)),)
            case Repair(shard=shard, address=address):
                return (self._delta(reader, shard, [address]),)
            case Handover(shard=shard, rows=rows):
                delta = self._delta(reader, shard, rows)
                addresses = [copy.address for copy in delta.rows] + [large.address for large in delta.large]
                return (delta, WalkFetchRows(shard, tuple(addresses)))

    def _delta(self, reader: Reader, shard: str, addresses: Iterable[bytes]) -> Delta:
        """As many of the rows as one message holds; it claims nothing."""
        parcel = Parcel(self._options.part_bytes, self._options.whole_row_bytes_max)
        for address in addresses:
            row = reader.row(shard, address)
            if row is not None and not parcel.add(address, row):
                break
        return Delta(shard, {}, parcel.copies(), None, parcel.large())

    def answered(self, transaction: Transaction, direct: Direct, envelope: Envelope, now_ms: int) -> None:
        """Take the answer to a direct exchange."""
        peer, purpose = direct.peer, direct.purpose
        if (envelope.member, envelope.replica) != (peer.member, direct.replica) or isinstance(purpose, Repair):
            return
        if isinstance(purpose, Reading | Recall) and _lacks(envelope, purpose.address):
            if isinstance(purpose, Reading):
                return
            direct.purpose = purpose = purpose._replace(is_enough=False)
        for message in envelope.messages:
            if isinstance(message, WalkRows) and message.shard == purpose.shard and direct.fetching is None:
                self._take_rows(transaction, direct, message, now_ms)
            elif isinstance(message, ValuePart) and message.shard == purpose.shard and direct.fetching is not None:
                refused = self._taking.take_value(transaction, message, direct.fetching, now_ms, peer)
                if not refused:
                    self._go_on_reading(direct, direct.fetching, direct.dots)

    def _take_rows(self, transaction: Transaction, direct: Direct, message: WalkRows, now_ms: int) -> None:
        intake = self._taking.take_in(transaction, message, now_ms, direct.peer)
        purpose = direct.purpose
        if isinstance(purpose, Handover):
            contexts = {copy.address: copy.row.context for copy in message.rows}
            contexts |= {large.address: large.context for large in message.large}
            left = {a: dot for a, dot in purpose.rows.items() if a not in contexts or not contexts[a].covers(dot)}
            if not left:
                purpose.handed[_name_of(direct.peer)] = direct.replica
            elif len(left) < len(purpose.rows):
                self._begin(direct.peer, purpose._replace(rows=left))
        elif isinstance(purpose, Reading | Recall) and not intake.refused:
            dots = {copy.address: _dots_of(copy.row) for copy in message.rows}
            dots |= {large.address: tuple([each.dot for each in large.versions]) for large in message.large}
            fetching = Fetching()
            fetching.want([large for large in message.large if large.address == purpose.address])
            if not self._taking.take_large(transaction, purpose.shard, fetching, now_ms, direct.peer):
                self._go_on_reading(direct, fetching, dots.get(purpose.address))

    def _go_on_reading(self, direct: Direct, fetching: Fetching, dots: Dots | None) -> None:
        """Count the peer as having answered if all of its row has been merged; otherwise fetch the next fragment. One
        large row is fetched at a time, and other reads ask again at the next tick."""
        purpose = direct.purpose
        assert isinstance(purpose, Reading | Recall), "large rows are fetched for reads"
        if not fetching.is_finished:
            others = [each.fetching for each in self._open()]
            is_over = isinstance(purpose, Reading) and purpose.is_over
            if not is_over and all(other is None for other in others):
                self._begin(direct.peer, purpose, fetching, dots)
        elif isinstance(purpose, Recall):
            self._recalled(direct, purpose)
        else:
            purpose.answered[_name_of(direct.peer)] = direct.replica
            self._comparisons.append(Comparison(direct.peer, purpose, dots))

    def _recalled(self, direct: Direct, recall: Recall) -> None:
        """The peer's copy, if it has one, has been taken in. A write that no listed member holds was lost with a disk,
        unless a member that is not listed here may be at an address that was found and has not answered."""
        key = (recall.shard, recall.address)
        lack = self._shards[recall.shard].lacking.get(recall.address)
        if lack is None or lack.through != recall.through:
            # More writes may be missing now than when the row was asked for.
            self._heard.pop(key, None)
            return
        through, heard = self._heard.get(key, (recall.through, set()))
        heard = heard if through == recall.through else set()
        heard.add(direct.replica)
        self._heard[key] = (recall.through, heard)
        # A member whose own record is lacking here counts as well.
        present = {peer.replica if peer.record is None else peer.record.replica for peer in self._membership.present()}
        are_all_heard = present <= heard and not self._membership.has_unknown_contacts and self._lists_all(heard)
        if recall.is_enough or are_all_heard:
            del self._heard[key]
            self._taking.recalled(recall.shard, recall.address, direct.peer)

    def failed(self, direct: Direct, reason: str, now_ms: int, *, was_answered: bool) -> None:
        """The exchange has failed: a read asks again at the next tick."""

    def forget(self, direct: Direct) -> None:
        """The exchange is not under way."""

    def note_committed(self) -> None:
        """The batch is durable."""
        self._resolved.clear()

    def forget_batch(self) -> None:
        """The batch was not committed. It held the rows of the answers, so all are asked again."""
        self._due.clear()
        self._heard.clear()
        self._comparisons.clear()
        self._readings |= self._resolved
        self._resolved = {}
        for reading in self._readings.values():
            reading.answered.clear()
            reading.is_over = False

    def resolve(self, reader: Reader, shards: Mapping[str, Shard], now_ms: int, *, is_ending: bool) -> list[Resolved]:
        """The reads that are over once the batch is committed; all reads if this member `is_ending`."""
        resolved = []
        for ticket, reading in list(self._readings.items()):
            found = reading.found(shards)
            is_answered = found.copies >= reading.members
            if is_answered or is_ending or is_late(reading, now_ms):
                if is_answered:
                    found = found._replace(row=reader.row(reading.shard, reading.address))
                is_cut = is_ending and not is_answered
                resolved.append(Resolved(ticket, found, is_cut=is_cut, is_late=not (is_answered or is_cut)))
                reading.is_over = True
                self._resolved[ticket] = self._readings.pop(ticket)
        self._repair(reader)
        return resolved

    def lapse(self, shards: Mapping[str, Shard], now_ms: int) -> list[Resolved]:
        """End the reads whose deadline has passed, although the batch has failed."""
        late = [ticket for ticket, reading in self._readings.items() if is_late(reading, now_ms)]
        resolved = []
        for ticket in late:
            reading = self._readings.pop(ticket)
            reading.is_over = True
            resolved.append(Resolved(ticket, reading.found(shards), is_late=True))
        return resolved

    def _repair(self, reader: Reader) -> None:
        """Send the merged row to the members that a finished read found to be behind."""
        kept = []
        for comparison in self._comparisons:
            peer, reading, theirs = comparison
            if not reading.is_over:
                kept.append(comparison)
                continue
            ours = reader.row(reading.shard, reading.address)
            if ours is not None and theirs != _dots_of(ours):
                self._begin(peer, Repair(reading.shard, reading.address))
                self._tally.reads_repaired += 1
        self._comparisons = kept


def _lacks(envelope: Envelope, address: bytes) -> bool:
    """Whether the sender says that it lacks the row, so that its answer is not all that it has acknowledged."""
    told = [message.lacking for message in envelope.messages if isinstance(message, Delta)]
    return any(lacked.address == address for rows in told for lacked in rows)


def _dots_of(row: StoredRow) -> Dots:
    return tuple([version.dot for version in row.versions])


def _name_of(peer: Peer) -> str:
    assert peer.member is not None, "only members are asked"
    return peer.member
