"""Anti-entropy: decides what to send to each peer, and what to conclude from what a peer sends.

*Agendas.* Each peer has an agenda: what is to be pushed, offered, pulled, walked or compared. When no exchange with the
peer is under way, its agenda goes out as one envelope. Whatever comes up meanwhile waits for the next envelope. So
batches grow with load, and no queue builds up: an agenda holds origins and cursors, never rows.

*Entry points.* `tick` begins sync rounds. `compose` turns agendas into envelopes. `receive` answers an envelope of an
exchange that a peer began. `answered` and `failed` end an exchange that was begun here.

*A sync round* with one peer, per shard:

1. Both sides exchange digests. If context hashes and fingerprints are equal, the shard is in sync.
2. Otherwise the peer answers with its whole context too. What the peer lacks is pushed. What this replica lacks is
   pulled.
3. If the peer's journal cannot serve the pull, or a walk is cheaper, a walk follows.
4. If contexts are equal and fingerprints are not, a walk repairs the difference. Without rows ahead of a context this
   is an anomaly, which is counted.

*What is known of a peer's context* may be too little, never too much. Pushes start from it, so that the peer can cover
what it is sent. If it is not known, a sync round comes first. If the peer is too far behind for one message, it is
offered a pull.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from gossipkv.core.membership.exchanges import Exchanges, Outgoing
from gossipkv.core.membership.membership import Membership
from gossipkv.core.membership.peer import Peer
from gossipkv.core.model.address import SYSTEM, USER, key_of, table_of
from gossipkv.core.model.backoff import Backoff
from gossipkv.core.model.causality import Context
from gossipkv.core.model.clock import timestamp_at
from gossipkv.core.model.collected import Collected, is_outdated
from gossipkv.core.model.lacking import LACKING_ROWS_MAX, RECALLS_PER_ROUND, LackedRow, unnamed
from gossipkv.core.model.member import ALIVE
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.room import Room
from gossipkv.core.model.tally import FINGERPRINTS_DIFFER, Notice, Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.base import Abridged
from gossipkv.core.protocol.envelope_room import EnvelopeRoom
from gossipkv.core.protocol.messages import (
    Ack,
    Covered,
    Delta,
    Digest,
    Envelope,
    FetchValue,
    Message,
    Offer,
    OfShard,
    Ping,
    PingRequest,
    Pull,
    RefusedRow,
    RowCopy,
    State,
    TooFar,
    Unlisted,
    ValuePart,
    WalkBegin,
    WalkEntries,
    WalkFetch,
    WalkFetchRows,
    WalkList,
    WalkNodes,
    WalkRoot,
    WalkRows,
    WalkSums,
)
from gossipkv.core.protocol.names import latest_names
from gossipkv.core.protocol.parcel import MEBIBYTE
from gossipkv.core.store.retired import last_writes
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.shortage import Wait
from gossipkv.core.store.storage import Reader, Transaction
from gossipkv.core.store.store import Intake, Store
from gossipkv.core.sync.progress import Progress
from gossipkv.core.sync.pushes import Pushes
from gossipkv.core.sync.witnesses import Witnesses
from gossipkv.core.transfer import fetch, newest_first, pull, walk
from gossipkv.core.transfer.conversation import InFlight, LastDigest
from gossipkv.core.transfer.fetch import Fetching

Transfer = TypeVar("Transfer", pull.Pulling, walk.Walk)

_ASKS_FOR_ROWS = Pull | WalkList | WalkFetch | WalkFetchRows | FetchValue

ASIDE_ROWS_MAX = 16
"""Maximum number of large rows of one peer that wait to be fetched outside of transfers."""

_RANGES_BYTES_MAX = 3 * MEBIBYTE // 8
"""The bytes reserved for everything that a message holds besides rows."""


UNPROVEN_AT_ONCE = 16
"""Maximum number of exchanges under way with peers that have never answered."""


class Gossip:
    """The conversations of one replica with all its peers."""

    def __init__(
        self,
        options: ReplicaOptions,
        store: Store,
        membership: Membership,
        tally: Tally,
        outbox: Outbox,
        rng: random.Random,
        now_ms: int,
        exchanges: Exchanges,
        learn: Callable[[list[RowCopy]], None],
        runs_twice: Callable[[str], bool],
    ) -> None:
        self._runs_twice = runs_twice
        """Whether two processes run under a member's name."""
        self._learn = learn
        """Called at once with rows of `sys` that came in changed: they decide which members are listed."""
        self._options = options
        self._push_bytes_max = max(options.part_bytes, options.whole_row_bytes_max) + _RANGES_BYTES_MAX
        """The bytes that a push may take."""
        self._store = store
        self._membership = membership
        self._tally = tally
        self.progress = Progress(store, membership)
        self.witnesses = Witnesses(store, membership, options, tally, outbox, now_ms)
        self._pushes = Pushes(store, membership, self.progress, tally, options)
        self._rng = rng
        self._exchanges = exchanges
        self._ticked_ms = now_ms
        self._next_round_ms = now_ms
        self._next_audit_ms = now_ms + options.audit_interval_ms
        self._outbox = outbox
        self._written: set[str] = set()
        """Shards written to since `compose` was last called."""
        self.is_outdated = False
        """Whether others have collected tombstones that this replica has not heard of."""
        self.changed: dict[str, list[RowCopy]] = {}
        """Rows that came in changed since they were last taken, per shard."""

    # Outgoing

    def wrote(self, shard_name: str) -> None:
        """Note that rows have been written here, so that they are pushed."""
        self._written.add(shard_name)

    def tick(self, now_ms: int) -> bool:
        """Begin a sync round if it is due, and an audit now and then. Return whether it is time for a round."""
        if now_ms < self._ticked_ms:
            self._follow_clock(self._ticked_ms - now_ms)
        self._ticked_ms = now_ms
        self.witnesses.tick(now_ms)
        if now_ms < self._next_round_ms:
            return False
        self._next_round_ms = now_ms + round(self._options.gossip_interval_ms * self._rng.uniform(0.75, 1.25))
        self.progress.learn_stable()
        self.progress.learn_certain()
        peer = self._membership.sync_partner(now_ms)
        if peer is None:
            return True
        peer.conversation.is_sync_due = True
        if now_ms >= self._next_audit_ms and peer.has_answered:
            self._next_audit_ms = now_ms + self._options.audit_interval_ms
            for shard_name in self._store.shards:
                if self._may_fetch(peer, shard_name):
                    peer.conversation.walks[shard_name] = walk.Walk(shard_name, is_audit=True)
        return True

    def _follow_clock(self, set_back_ms: int) -> None:
        """Move due times by the step that the clock was set back, so that nothing waits until the clock has caught
        up."""
        self._next_round_ms -= set_back_ms
        self._next_audit_ms -= set_back_ms
        for peer in self._membership.peers():
            peer.clock_set_back(set_back_ms)

    def compose(self, reader: Reader, now_ms: int) -> list[Outgoing]:
        """Return the envelopes to send now."""
        for shard_name in sorted(self._written):
            self._pushes.freshen(shard_name, [self._store.replica], self._membership.push_targets())
        self._written.clear()
        agendas = [(peer, self._agenda(reader, peer, now_ms)) for peer in self._addressed(now_ms)]
        return [Outgoing(self, peer, peer.endpoint, messages) for peer, messages in agendas if messages]

    def began(self, peer: Peer, exchange: int) -> None:
        """Note the exchange in which the peer is sent its agenda."""
        peer.exchange = exchange

    def _addressed(self, now_ms: int) -> list[Peer]:
        """Return the peers to which something may be sent now. Only a few of those that have never answered are among
        them at a time: anyone can invent a thousand."""
        idle = [peer for peer in self._membership.peers() if peer.is_idle(now_ms)]
        proven = [peer for peer in idle if peer.has_answered]
        unproven = [peer for peer in idle if not peer.has_answered]
        under_way = sum(not peer.has_answered for peer in self._exchanges.of(self).values())
        count = min(len(unproven), max(0, UNPROVEN_AT_ONCE - under_way))
        return proven + (unproven if count == len(unproven) else self._rng.sample(unproven, count))

    def _agenda(self, reader: Reader, peer: Peer, now_ms: int) -> tuple[Message, ...]:
        """Return what goes to the peer now. What finds no room stays on the agenda for the next envelope."""
        conversation = peer.conversation
        messages: list[Message] = []
        room = EnvelopeRoom()
        conversation.asked = InFlight()
        digests = [shard.digest(reader) for shard in self._store.shards.values()] if conversation.is_sync_due else []
        room.takes(digests)
        for name, shard in self._store.shards.items():
            if conversation.fresh.get(name) and room.bytes_left >= self._push_bytes_max:
                pushed = self._pushes.push(reader, peer, name, now_ms)
                room.takes(pushed)
                messages += pushed
            covered = Covered(name, Context(shard.shown), shard.lacking_through)
            if name in conversation.notes and room.takes([covered]):
                conversation.notes.discard(name)
                messages.append(covered)
            if not conversation.holds_back(name):
                messages += self._questions(peer, name, room)
        conversation.is_sync_due = conversation.is_sync_due and not digests
        for digest in digests:
            conversation.asked.contexts[digest.shard] = Context(self._store.shards[digest.shard].shown)
        messages += digests
        if digests and conversation.is_outdated and room.takes([state := self._state(self._store.shards[USER])]):
            messages.append(state)
        return tuple(messages)

    def _state(self, shard: Shard, *, has_same_proofs: bool = False) -> State:
        collected = shard.collected
        return State(
            shard.name,
            Context(shard.shown),
            () if has_same_proofs else collected.proofs,
            collected.lineage,
            shard.lacking_through,
        )

    def _questions(self, peer: Peer, name: str, room: EnvelopeRoom) -> list[Message]:
        """Return the questions to the peer of transfers under way."""
        conversation = peer.conversation
        messages: list[Message] = []
        pulling, walking = conversation.pulls.get(name), conversation.walks.get(name)
        aside = conversation.asides.get(name)
        if pulling is not None:
            question = pulling.request(name, self._store.shards[name].lacking_through)
            if room.takes([question]):
                conversation.asked.pulls[name] = pulling
                messages.append(question)
        if walking is not None and room.takes([walking.request()]):
            conversation.asked.walks[name] = walking
            messages.append(walking.request())
        asked = aside.asked if aside is not None and self._is_first_aside(peer, name) else None
        if asked is not None and asked not in messages and room.takes([asked]):
            messages.append(asked)
        return messages

    def _is_first_aside(self, peer: Peer, shard_name: str) -> bool:
        """Return whether it is the peer's turn. Large rows that are named outside of transfers are fetched from one
        peer at a time."""
        peers = self._membership.peers()
        return next(other for other in peers if shard_name in other.conversation.asides and not other.is_let_go) is peer

    def _may_fetch(self, peer: Peer, shard_name: str) -> bool:
        # If a peer may not be dialled, a transfer would never end, and no other could begin.
        if not peer.endpoint or peer.conversation.fetches_wait(shard_name, self._ticked_ms):
            return False
        return self.progress.may_exchange(peer, shard_name) and not self.progress.is_transferring(shard_name)

    def on_their_way(self) -> int:
        """Return the number of acknowledged writes of the users that are not known to be at all living members. These
        are the writes that this replica lacks. For each living member, the largest number of this replica's own writes
        that one of them lacks is added."""
        shard, own = self._store.shards[USER], self._store.replica
        living = [
            peer for peer in self._membership.members() if peer.is_living and self.progress.may_exchange(peer, USER)
        ]
        heard_of, ahead = Context(), 0
        for peer in living:
            context = peer.conversation.contexts.get(USER, Context())
            heard_of.advance(context)
            ahead = max(ahead, shard.context.get(own, 0) - context.get(own, 0))
        return heard_of.excess_over(shard.context) + ahead * len(living)

    def waits(self) -> list[Wait]:
        """Return the waits for rows that are not exchanged at present for want of room."""
        found = []
        for peer in self._membership.members():
            name = peer.member or peer.endpoint
            found += [Wait(name, shard, is_here=True) for shard in sorted(peer.conversation.fetches)]
            if peer.conversation.pushes.failures:
                found.append(Wait(name, USER, is_here=False))
        return found

    def note_too_big(self, answers: Sequence[Envelope], now_ms: int) -> None:
        """Note that the storage failed for want of room in a batch with these answers. It may have failed on the rows
        in them, or on the context that was to cover them."""
        for envelope in answers:
            peer = self._membership.member(envelope.member)
            for message in envelope.messages:
                if peer is None:
                    continue
                # A fragment may complete a large row, which is then stored. Even an answer without new rows may
                # complete a claim.
                if isinstance(message, ValuePart | Delta | WalkRows | WalkEntries):
                    self._did_not_fit(peer, message.shard, now_ms)

    def _did_not_fit(self, peer: Peer, shard_name: str, now_ms: int) -> None:
        first_ms, max_ms = self._options.gossip_interval_ms, self._options.retry_ms_max
        peer.conversation.fetches.setdefault(shard_name, Backoff()).failed(now_ms, first_ms, max_ms, self._rng)

    def _start_pull(self, peer: Peer, shard_name: str) -> None:
        if self._may_fetch(peer, shard_name):
            peer.conversation.pulls[shard_name] = pull.Pulling(Context(self._store.shards[shard_name].context))

    def _start_walk(self, peer: Peer, shard_name: str, *, is_repair: bool = False) -> None:
        if self._may_fetch(peer, shard_name):
            peer.conversation.walks[shard_name] = walk.Walk(shard_name, is_repair=is_repair)
            self._tally.rounds["walk"] += 1
            self._note("walk_started", peer, shard=shard_name)

    # Exchanges that others begin

    def receive(self, transaction: Transaction, envelope: Envelope, now_ms: int) -> list[Message]:
        """Return the answers to an envelope that a peer has sent."""
        self.witnesses.tick(now_ms)
        peer = self._membership.member(envelope.member)
        if peer is not None and self._is_the_other_process(peer, envelope):
            peer = None
        if peer is not None:
            peer.become_replica(envelope.replica, envelope.incarnation)
            peer.clock_ahead_ms = envelope.now_ms - now_ms
            if peer.replica != envelope.replica:
                peer = None
            else:
                peer.is_ready, peer.is_informed = envelope.is_ready, envelope.is_informed
                peer.learn_room(envelope.room)
                peer.last_heard = self._exchanges.last
                self._membership.heard_from(peer, now_ms)
        questions = [message for message in envelope.messages if not isinstance(message, Ping | PingRequest | Ack)]
        # Messages that bring or compare come before those that ask for rows: rows take the room that is left.
        questions.sort(key=lambda message: isinstance(message, _ASKS_FOR_ROWS))
        answers: list[Message] = []
        room = EnvelopeRoom()
        for message in questions:
            if isinstance(message, _ASKS_FOR_ROWS) and room.bytes_left < self._options.part_bytes + _RANGES_BYTES_MAX:
                continue
            answer = self._answer(transaction, peer, message, now_ms)
            if room.takes(answer):
                answers += answer
        return answers

    def _is_the_other_process(self, peer: Peer, envelope: Envelope) -> bool:
        """Return whether two processes run under the peer's name and this is not the one in `sys.members`.

        If both counted as the peer, each message would discard what is known of it and under way with it. The two
        processes overwrite each other's record from time to time, so each has its turn.
        """
        record = peer.record
        return self._runs_twice(envelope.member) and record is not None and record.replica != envelope.replica

    def _answer(self, transaction: Transaction, peer: Peer | None, message: OfShard, now_ms: int) -> list[Message]:
        shard = self._store.shards[message.shard]
        is_about_rows = not isinstance(message, Digest | State | Covered | Offer)
        if is_about_rows and not self.progress.may_exchange(peer, shard.name):
            return [Unlisted(shard.name)]
        match message:
            case Digest():
                return self._compare(transaction, peer, message, now_ms)
            case Pull(context=Abridged()):
                # This replica does not know all that the context covers. A pull would bring it again; a walk skips it.
                if peer is not None:
                    peer.conversation.learn_lacking(shard.name, message.lacking)
                return [TooFar(shard.name)]
            case Pull():
                if peer is not None:
                    peer.conversation.learn_lacking(shard.name, message.lacking)
                    peer.conversation.offered.add(shard.name)
                    if message.cursor is None:
                        peer.conversation.ahead[shard.name] = Context(shard.context)
                options = self._options
                parts = newest_first.serve(transaction, shard, message, options.part_bytes, options.whole_row_bytes_max)
                self._tally.rows_sent += sum(len(part.rows) for part in parts if isinstance(part, Delta))
                return [*_what_is_missing(shard), *parts]
            case Delta():
                intake = self.take_in(transaction, message, now_ms, peer)
                self._set_aside(transaction, peer, message, now_ms)
                # A push names no large row. If this does, the rows of its ranges are not complete.
                ranges = {} if message.large else message.ranges
                if ranges:
                    self._note_lacking(peer, shard.name, intake, message.lacking)
                advanced = self._store.cover(shard.name, ranges, intake)
                if peer is not None:
                    peer.conversation.has_given |= bool(advanced) and shard.name == USER
                self._pushes.forward(shard.name, advanced)
                covered = {o: shard.context[o] for o in message.ranges if o in shard.context}
                return [Covered(shard.name, Context(covered), shard.lacking_through)]
            case WalkBegin() | WalkNodes() | WalkList() | WalkFetch() | WalkFetchRows():
                if not isinstance(message, WalkBegin | WalkNodes):
                    self._store.tell(shard.name)
                options = self._options
                served = walk.serve(transaction, shard, message, options.part_bytes, options.whole_row_bytes_max)
                self._tally.rows_sent += len(served.rows) if isinstance(served, WalkRows) else 0
                asked = message.addresses if isinstance(message, WalkFetchRows) else ()
                return [*_what_is_missing(shard, asked), served]
            case FetchValue():
                self._store.tell(shard.name)
                whole_row_bytes_max = self._options.whole_row_bytes_max
                value = fetch.serve(transaction, message, whole_row_bytes_max, whole_row_bytes_max)
                return [*_what_is_missing(shard), value]
            case State() if peer is not None:
                # Anyone can ask in the peer's name, so only its own answer counts.
                peer.conversation.is_sync_due = True
            case Covered() if peer is not None:
                peer.conversation.learn_lacking(shard.name, message.lacking)
                peer.conversation.is_sync_due |= not peer.conversation.contexts.get(shard.name, Context()).covers_all(
                    message.context
                )
            case Offer() if peer is not None:
                self._start_pull(peer, shard.name)
            case _:
                pass
        return []

    def _compare(self, reader: Reader, peer: Peer | None, theirs: Digest, now_ms: int) -> list[Message]:
        """Answer a digest: with a digest alone if the shard is in sync, otherwise with the state too."""
        shard = self._store.shards[theirs.shard]
        ours = shard.digest(reader)
        if peer is not None:
            peer.conversation.heard[shard.name] = LastDigest(theirs, now_ms)
        is_in_sync = (ours.context_hash, ours.fingerprint) == (theirs.context_hash, theirs.fingerprint)
        # A member that lacks rows says so in its state.
        is_in_sync &= not (ours.is_lacking or theirs.is_lacking)
        if is_in_sync:
            self._store.tell(shard.name)
        has_same_proofs = ours.proofs_hash == theirs.proofs_hash
        return [ours] if is_in_sync and has_same_proofs else [ours, self._state(shard, has_same_proofs=has_same_proofs)]

    def take_in(
        self,
        transaction: Transaction,
        message: Delta | WalkRows | ValuePart,
        now_ms: int,
        peer: Peer | None,
        walking: walk.Walk | None = None,
    ) -> Intake:
        """Merge rows that a peer has sent, and return what became of them. `walking` is the walk that brought them;
        None if none did."""
        shard = self._store.shards[message.shard]
        claim = None if walking is None else walking.claim
        covered = peer.conversation.contexts.get(shard.name) if claim is None and peer is not None else claim
        is_behind = covered is None or not covered.covers_all(shard.collected.marks)
        intake = self._store.take_in(
            transaction,
            shard.name,
            message.rows,
            now_ms,
            base=message.base,
            is_repair=claim is not None and not is_behind,
            is_behind=is_behind,
            authority=None if walking is None else walking.authority,
        )
        for other in self._membership.peers():
            under_way = other.conversation.walks.get(shard.name)
            if under_way is not None and under_way is not walking:
                under_way.note_arrivals(intake.changed)
        intake.refused += message.refused
        for row in intake.refused:
            self._tally.rows_refused[row.reason] += 1
        self._tally.rows_received += len(message.rows)
        self.changed.setdefault(message.shard, []).extend(intake.changed)
        if intake.has_written:
            self.wrote(message.shard)
        if message.shard == SYSTEM:
            self._learn(intake.changed)
        return intake

    # Large rows

    def take_large(
        self,
        transaction: Transaction,
        shard_name: str,
        fetching: Fetching,
        now_ms: int,
        peer: Peer | None,
        walking: walk.Walk | None = None,
    ) -> list[RefusedRow]:
        """Merge the large rows that have been fetched completely; return those that are refused."""
        refused: list[RefusedRow] = []
        while (copy := fetching.assembled(transaction, shard_name)) is not None:
            whole = WalkRows(shard_name, (copy,), None)
            refused += self.take_in(transaction, whole, now_ms, peer, walking).refused
        return fetching.refusing(refused)

    def take_value(
        self,
        transaction: Transaction,
        part: ValuePart,
        fetching: Fetching,
        now_ms: int,
        peer: Peer | None,
        walking: walk.Walk | None = None,
    ) -> list[RefusedRow]:
        """Note a fragment, if it was asked for; return the rows that are refused."""
        refused = fetching.take(part)
        if refused is None:
            return []
        for row in refused:
            self._tally.rows_refused[row.reason] += 1
        refused += self.take_in(transaction, part, now_ms, peer, walking).refused
        return fetching.refusing(refused) + self.take_large(transaction, part.shard, fetching, now_ms, peer, walking)

    # Rows that are lacking

    def _note_lacking(
        self,
        peer: Peer | None,
        shard_name: str,
        intake: Intake,
        told: tuple[LackedRow, ...],
        claim: Context | None = None,
    ) -> None:
        for address in self._store.note_lacking(shard_name, intake, told, claim):
            self._tell_of_lack("row_lacking", shard_name, address, peer)

    def recalled(self, shard_name: str, address: bytes, peer: Peer | None) -> None:
        """Note that a row is no longer lacking: a peer's copy of it has been taken in. `peer` is None if no peer can
        have a copy. A row that is still in quarantine then has no readable copy anywhere."""
        shard = self._store.shards[shard_name]
        if address in shard.quarantined:
            self._tell_of_lack("unreadable_row_held_by_no_one", shard_name, address, peer)
            shard.give_up(address)
        else:
            self._tell_of_lack("row_no_longer_lacking", shard_name, address, peer)
            shard.clear_lack(address)

    def _tell_of_lack(self, event: str, shard_name: str, address: bytes, peer: Peer | None) -> None:
        fields: dict[str, object] = {"namespace": shard_name, "table": table_of(address)}
        fields["row"] = key_of(address).decode()
        fields["reason"] = self._store.shards[shard_name].lacking[address].reason
        fields["peer"] = "unknown" if peer is None else peer.member or peer.endpoint
        self._outbox.say(Notice(event, fields, is_warning=True))

    def _set_aside(self, transaction: Transaction, peer: Peer | None, message: Delta, now_ms: int) -> None:
        """Fetch large rows that a peer has named unasked: those of a hand-over, a repair, or the newest ones before a
        walk. They claim nothing, so they may be skipped if too many come at once, or while fetches wait."""
        if peer is None or not message.large or peer.conversation.fetches_wait(message.shard, now_ms):
            return
        aside = peer.conversation.asides.setdefault(message.shard, Fetching())
        if len(aside) < ASIDE_ROWS_MAX:
            aside.want(message.large[:ASIDE_ROWS_MAX])
            self.take_large(transaction, message.shard, aside, now_ms, peer)
        if aside.is_finished:
            peer.conversation.asides.pop(message.shard, None)

    # Exchanges begun here

    def answered(self, transaction: Transaction, exchange: int, dialled: Peer, envelope: Envelope, now_ms: int) -> None:
        """Take the answer to an exchange that was begun with a peer: identify the peer, then note what it covers and
        take in what it sends. An answer in the name of another process or of earlier data changes nothing."""
        dialled.exchange = None
        asked, dialled.conversation.asked = dialled.conversation.asked, InFlight()
        if not dialled.endpoint:
            # Meanwhile discovery has reported that no member is there.
            return
        is_found = self._membership.is_vouched(dialled)
        peer = self._membership.identified(dialled, envelope.member, envelope.incarnation, now_ms)
        if peer.endpoint != dialled.endpoint and not is_found:
            # The answer is in the name of a member that is reached elsewhere. Discovery has not found its host.
            peer.conversation.is_sync_due = True
            return
        if self._is_the_other_process(peer, envelope):
            self._membership.dial_as_recorded(peer)
            return
        if envelope.replica == self._store.replica:
            return
        if exchange > peer.last_heard:
            # The peer answers now, so it is what it says, even if its incarnation is lower: its clock may have been set
            # back and its disk lost.
            peer.incarnation = min(peer.incarnation, envelope.incarnation)
            self._membership.replaced(peer)
        peer.become_replica(envelope.replica, envelope.incarnation)
        if peer.replica != envelope.replica:
            # The answer is from before the member lost its disk. It must not count for what the member covers now.
            return
        peer.last_heard = self._exchanges.last
        peer.is_ready, peer.is_informed = envelope.is_ready, envelope.is_informed
        self._judge_pushed(peer, asked, envelope.room, now_ms)
        peer.clock_ahead_ms = envelope.now_ms - now_ms
        self._succeeded(peer)
        self._take_comparison(transaction, peer, envelope, asked.contexts, now_ms, is_found=is_found)
        for message in envelope.messages:
            if isinstance(message, Ping | PingRequest | Ack):
                continue
            try:
                self._take_answer(transaction, peer, message, asked, now_ms)
            except walk.WalkFaultError as fault:
                peer.conversation.walks.pop(message.shard, None)
                self._note("walk_abandoned", peer, shard=message.shard, reason=str(fault))

    def _judge_pushed(self, peer: Peer, asked: InFlight, room: Room, now_ms: int) -> None:
        """Learn from an answer whether the pushed rows have found room at the peer."""
        peer.learn_room(room)
        if not asked.has_values:
            return
        if room < Room.SPENT:
            peer.conversation.pushes.succeeded()
        else:
            peer.conversation.pushes.failed(
                now_ms, self._options.gossip_interval_ms, self._options.retry_ms_max, self._rng
            )

    def _take_comparison(
        self,
        reader: Reader,
        peer: Peer,
        envelope: Envelope,
        asked: dict[str, Context],
        now_ms: int,
        *,
        is_found: bool,
    ) -> None:
        """Conclude from the digests, and from the states that came with those that differ, what either side lacks of
        each shard."""
        states = {message.shard: message for message in envelope.messages if isinstance(message, State)}
        digests = [message for message in envelope.messages if isinstance(message, Digest)]
        told = {d.shard: states[d.shard].context if d.shard in states else asked.get(d.shard) for d in digests}
        # A peer that covers more of `sys` than it is known to may know of members that are unknown here.
        told = {name: None if isinstance(context, Abridged) else context for name, context in told.items()}
        for digest in digests:
            peer.conversation.heard[digest.shard] = LastDigest(digest, now_ms)
            self._store.tell(digest.shard)
            if digest.shard in states:
                self._reconcile(reader, peer, digest, states[digest.shard], now_ms, is_found=is_found)
            elif digest.shard in asked:
                if not digest.is_ahead:
                    # Both hold the same contents, so they mean the same by each name. Equal contexts are not enough:
                    # the peer may cover as many other writes. Rows ahead of a context are not compared.
                    self._note_compared(peer, digest.shard, asked[digest.shard])
                peer.conversation.learn_context(digest.shard, asked[digest.shard], Context())
                self._caught_up(peer, digest.shard, now_ms)
        if digests and not states:
            self._tally.rounds["in_sync"] += 1
        is_ahead = any(digest.shard == USER and digest.is_ahead for digest in digests)
        self.progress.note_vouched(peer, told, is_ahead=is_ahead)

    def _reconcile(
        self, reader: Reader, peer: Peer, theirs: Digest, state: State, now_ms: int, *, is_found: bool
    ) -> None:
        """Compare the peer's whole context with this replica's: push what the peer lacks, and pull what is lacking
        here."""
        conversation = peer.conversation
        shard, context = self._store.shards[theirs.shard], state.context
        if isinstance(context, Abridged):
            # Until `sys` says which replicas are retired, it is not known what either side lacks.
            conversation.replace_context(shard.name, context, state.lacking)
            if shard.name == SYSTEM:
                self._start_walk(peer, shard.name)
            return
        if shard.name == USER:
            conversation.told_proofs, conversation.told_where_found = state.proofs, is_found
        is_sound = self._judge_own_data(peer, state, is_found=is_found)
        self._judge_data_of(peer, state)
        if self.is_outdated or not is_sound or (conversation.is_outdated and shard.name == USER):
            return
        conversation.replace_context(shard.name, context, state.lacking)
        if shard.name == USER:
            adoptable = self.witnesses.adoptable(USER, peer, state.proofs)
            conversation.collected = Collected(adoptable, 0, state.lineage)
            # Members collect at different times, when all others already cover the marks.
            shard.adopt_proofs(adoptable)
        they_lack = shard.context.missing_from(context)
        if they_lack:
            self._pushes.freshen(shard.name, they_lack, [peer])
        missing = context.missing_from(shard.context)
        if theirs.is_withholding or (missing and self._store.has_room_for(shard, missing)):
            # A member that withholds writes waits for the context in a pull: it may be unable to reach others itself.
            self._start_pull(peer, shard.name)
            return
        self._tally.rounds["delta"] += 1
        self._caught_up(peer, shard.name, now_ms)
        if not they_lack and theirs.fingerprint != shard.fingerprint.root.visible:
            self._repair(reader, peer, theirs)

    def _judge_own_data(self, peer: Peer, state: State, *, is_found: bool) -> bool:
        """Find out whether this replica may hold rows that the peer knows to be deleted. Return False if the peer says
        so and is not believed."""
        if self.is_outdated or not self._store.is_outdated(state.shard, state.proofs):
            return True
        if self.witnesses.convicts(state.shard, peer, state.proofs, is_found=is_found):
            self.is_outdated = True
            peer.conversation.learn_context(state.shard, state.context, state.lacking)
            self._note_lasting("data_are_outdated", peer, shard=state.shard)
            return True
        if not is_found:
            self._membership.look_again(peer)
        if self.progress.may_exchange(peer, USER):
            self.witnesses.doubt(state.shard, peer)
        return False

    def _judge_data_of(self, peer: Peer, state: State) -> None:
        """Find out whether the peer may hold rows that are known here to be deleted. The next round tells it."""
        conversation = peer.conversation
        if state.shard != USER or peer.replica is None:
            return
        was_outdated = conversation.is_outdated
        proofs = self._store.shards[USER].collected.proofs
        conversation.is_outdated = is_outdated(proofs, peer.replica, state.lineage, state.context)
        if conversation.is_outdated and not was_outdated:
            conversation.abandon(USER)
            conversation.is_sync_due = True
            self._note_lasting("member_data_are_outdated", peer, consequence="none of its rows are taken")

    def _repair(self, reader: Reader, peer: Peer, theirs: Digest) -> None:
        """Begin a walk because contexts are equal and fingerprints are not.

        Rows that run ahead of a context explain the difference; without any, it is an anomaly. Either way a walk brings
        what is missing here, and the peer's own walk brings what is missing there.
        """
        shard = self._store.shards[theirs.shard]
        if shard.lacking or peer.conversation.lacking.get(shard.name):
            # What is missing is known, and is asked for again. If many rows cannot be read, a walk brings them sooner.
            if len(shard.quarantined.keys() & shard.lacking.keys()) > RECALLS_PER_ROUND:
                self._start_walk(peer, shard.name, is_repair=True)
            return
        if not theirs.is_ahead and not shard.is_ahead(reader):
            self._tally.anomalies[FINGERPRINTS_DIFFER] += 1
            self._note("contexts_equal_fingerprints_differ", peer, shard=shard.name)
        self._start_walk(peer, shard.name, is_repair=True)

    def _take_answer(
        self, transaction: Transaction, peer: Peer, message: OfShard, asked: InFlight, now_ms: int
    ) -> None:
        conversation = peer.conversation
        shard = self._store.shards[message.shard]
        if isinstance(message, Delta | WalkRows | ValuePart) and not self.progress.may_exchange(peer, shard.name):
            return
        pulling = _same(conversation.pulls.get(shard.name), asked.pulls.get(shard.name))
        walking = _same(conversation.walks.get(shard.name), asked.walks.get(shard.name))
        match message:
            case Covered():
                conversation.learn_context(shard.name, message.context, message.lacking)
            case Delta():
                self._take_part(transaction, peer, message, pulling, now_ms)
            case TooFar() if pulling is not None:
                del conversation.pulls[shard.name]
                self._start_walk(peer, shard.name)
            case Unlisted():
                conversation.abandon(shard.name)
            case WalkRoot() if walking is not None:
                walking.take_root(shard, message)
            case WalkSums() if walking is not None:
                walking.take_sums(shard, message)
            case WalkEntries() if walking is not None:
                walking.take_entries(transaction, message)
            case WalkRows() if walking is not None:
                walking.take_rows(message, self.take_in(transaction, message, now_ms, peer, walking))
                walking.intake.refused += self.take_large(
                    transaction, shard.name, walking.fetching, now_ms, peer, walking
                )
            case ValuePart():
                self._take_value(transaction, peer, message, pulling, walking, now_ms)
            case _:
                pass
        if walking is not None and walking.is_finished and conversation.walks.get(shard.name) is walking:
            untold = unnamed(conversation.lacking.get(shard.name, Context()), walking.lacking)
            if not shard.context.covers_all(untold):
                walking.claim = Context()
            elif not walking.is_audit:
                self._note_lacking(peer, shard.name, walking.intake, walking.lacking, walking.claim)
            self._finish_walk(transaction, peer, shard.name, now_ms)

    def _take_part(
        self, transaction: Transaction, peer: Peer, part: Delta, pulling: pull.Pulling | None, now_ms: int
    ) -> None:
        intake = self.take_in(transaction, part, now_ms, peer)
        if pulling is None or peer.conversation.pulls.get(part.shard) is not pulling:
            # The pull was given up, perhaps because of what these same rows said of the peer.
            self._set_aside(transaction, peer, part, now_ms)
            return
        pulling.claim = pulling.take(part, intake)
        pulling.fetching.want(part.large)
        pulling.intake.refused += self.take_large(transaction, part.shard, pulling.fetching, now_ms, peer)
        self._conclude_pull(peer, part.shard, pulling, now_ms)

    def _take_value(
        self,
        transaction: Transaction,
        peer: Peer,
        part: ValuePart,
        pulling: pull.Pulling | None,
        walking: walk.Walk | None,
        now_ms: int,
    ) -> None:
        """Give a fragment to the transfer that asked for it."""
        shard_name = part.shard
        if walking is not None:
            walking.intake.refused += self.take_value(transaction, part, walking.fetching, now_ms, peer, walking)
        aside = peer.conversation.asides.get(shard_name)
        if aside is not None:
            self.take_value(transaction, part, aside, now_ms, peer)
            if aside.is_finished:
                # The row may have been about the peer. Then all that was under way with it has been given up already.
                peer.conversation.asides.pop(shard_name, None)
        if pulling is not None:
            pulling.intake.refused += self.take_value(transaction, part, pulling.fetching, now_ms, peer)
            self._conclude_pull(peer, shard_name, pulling, now_ms)

    def _conclude_pull(self, peer: Peer, shard_name: str, pulling: pull.Pulling, now_ms: int) -> None:
        """Cover what the pull claims once all of it is here. A range is left out if the peer may have come to lack a
        row in it that it has not named."""
        conversation = peer.conversation
        if conversation.pulls.get(shard_name) is not pulling or pulling.claim is None or not pulling.is_finished:
            return
        del conversation.pulls[shard_name]
        self._note_lacking(peer, shard_name, pulling.intake, pulling.lacking)
        untold = unnamed(conversation.lacking.get(shard_name, Context()), pulling.lacking)
        claim = {origin: claimed for origin, claimed in pulling.claim.items() if claimed.after >= untold.get(origin, 0)}
        advanced = self._store.cover(shard_name, claim, pulling.intake)
        self._pushes.forward(shard_name, advanced)
        self._tally.rounds["delta"] += 1
        self._transferred(peer, shard_name, pulling.intake, now_ms)

    def _finish_walk(self, transaction: Transaction, peer: Peer, shard_name: str, now_ms: int) -> None:
        finished = peer.conversation.walks.pop(shard_name)
        if finished.is_audit:
            self._judge_fetched(peer, shard_name, finished.intake, now_ms)
            if finished.rows_received:
                self._note("audit_found_rows", peer, shard=shard_name, rows=finished.rows_received)
            return
        shard = self._store.shards[shard_name]
        self._store.adopt_claim(shard_name, self._store.resolved(shard_name, finished.seal()))
        self._drop_superseded(transaction, peer, finished)
        self._store.settle(self._membership.all_hold)
        # Clamp: a peer's timestamp far in the future must not drag the writes made here into the future.
        latest = timestamp_at(now_ms + self._options.clock_skew_ms_max)
        shard.note_timestamp(min(finished.collected.timestamp, latest))
        adoptable = self.witnesses.adoptable(shard_name, peer, finished.collected.proofs)
        peer.conversation.collected = finished.collected._replace(proofs=adoptable)
        self._note("walk_finished", peer, shard=shard_name, rows=finished.rows_received)
        self._transferred(peer, shard_name, finished.intake, now_ms)

    def _drop_superseded(self, transaction: Transaction, peer: Peer, finished: walk.Walk) -> None:
        """Drop what the peer covers and does not hold, after a walk that began behind what the peer had collected."""
        authority = finished.authority
        if authority is None or finished.intake.refused:
            return
        addresses = set(finished.absent)
        for leaf in finished.emptied:
            addresses.update(transaction.leaf(finished.shard, leaf))
        authority = authority._replace(claim=self._store.resolved(finished.shard, authority.claim))
        dropped = self._store.drop_superseded(transaction, finished.shard, sorted(addresses), authority)
        if dropped:
            self._note("superseded_rows_dropped", peer, shard=finished.shard, rows=dropped)

    def _judge_fetched(self, peer: Peer, shard_name: str, intake: Intake, now_ms: int) -> bool:
        """Learn at the end of a transfer whether all that it brought has found room here; return whether it has."""
        if intake.lacked_room:
            self._did_not_fit(peer, shard_name, now_ms)
        else:
            peer.conversation.fetches.pop(shard_name, None)
        return not intake.lacked_room

    def _transferred(self, peer: Peer, shard_name: str, intake: Intake, now_ms: int) -> None:
        """Note that a transfer has ended; not completely if a row was refused."""
        conversation = peer.conversation
        conversation.notes.add(shard_name)
        conversation.has_given |= shard_name == USER
        if not self._judge_fetched(peer, shard_name, intake, now_ms):
            # What did not fit is still missing, so this is no sync.
            return
        if shard_name == SYSTEM:
            # Rows of the users may have waited until both members know each other.
            conversation.is_sync_due = True
        if not intake.refused:
            self._caught_up(peer, shard_name, now_ms)
        else:
            self._synced(peer, shard_name, now_ms)

    def _caught_up(self, peer: Peer, shard_name: str, now_ms: int) -> None:
        """Note that everything the peer covered a moment ago is covered here: the data are now as old as the peer's."""
        conversation = peer.conversation
        if shard_name == USER and peer.replica is not None:
            shard = self._store.shards[USER]
            shard.adopt_proofs(conversation.collected.proofs)
            # A source that lacks rows gives less than it has collected. Counterexample to inheriting from it even so: a
            # newcomer fills itself from the source, and is outdated by the source's own proofs.
            if conversation.has_given and shard.context.covers_all(conversation.collected.marks):
                shard.inherit((*conversation.collected.lineage, peer.replica), self._store.replica)
        self._synced(peer, shard_name, now_ms)

    def _synced(self, peer: Peer, shard_name: str, now_ms: int) -> None:
        conversation = peer.conversation
        conversation.synced_at_ms[shard_name] = now_ms
        conversation.fetches.pop(shard_name, None)
        if peer.is_ready:
            conversation.synced_while_ready.add(shard_name)
        if shard_name == SYSTEM and self.progress.learns_settings_from(peer):
            self._store.knows_settings = True

    def _succeeded(self, peer: Peer) -> None:
        """Note that the peer has answered in a way that can be read."""
        was_heard = peer.has_answered
        peer.conversation.is_unreadable = False
        self._membership.succeeded(peer)
        if peer.is_told_unreached or not was_heard:
            is_end, peer.is_told_unreached = peer.is_told_unreached, False
            self._note_lasting("member_reached", peer, is_warning=is_end, endpoint=peer.endpoint, status=ALIVE)

    def failed(self, peer: Peer, reason: str, now_ms: int, *, was_answered: bool = False) -> None:
        """Note that the exchange with the peer has failed. `was_answered` says that there was an answer, which could
        not be read."""
        peer.exchange = None
        peer.conversation.is_unreadable = was_answered
        if peer.conversation.asked.contexts:
            self._tally.rounds["failed"] += 1
        peer.conversation.asked = InFlight()
        self._membership.failed(peer, now_ms)
        if not peer.is_told_unreached and not peer.is_let_go:
            peer.is_told_unreached = True
            self._note_lasting(
                "member_not_reached",
                peer,
                endpoint=peer.endpoint,
                status="unknown" if peer.member is None else peer.status,
                reason=reason,
                consequence="this member tries it again, less often each time",
                remedy=_CONTACT_REMEDY if peer.member is None else _REMEDY,
            )

    def forget(self, peer: Peer) -> None:
        """Drop the exchange with the peer, which began or ended in a batch that was not committed."""
        peer.exchange = None
        peer.conversation.asked = InFlight()

    def forget_batch(self) -> None:
        """Take back a batch that was not committed: give up transfers that relied on its rows."""
        for peer in self._membership.peers():
            peer.conversation.abandon_transfers()
            peer.conversation.is_sync_due = True
        self._written.clear()
        self.changed.clear()

    def speaks_of_unknown_names(self, reader: Reader, envelope: Envelope) -> bool:
        """Return whether the envelope names writes of this replica that others cannot have heard of from it.

        Ask this before anything of the envelope counts. Because of such a name, the writes here may seem to be known,
        or replaced.
        """
        latest = latest_names(envelope, self._store.replica)
        if any(sequence > self._store.shards[name].told for name, sequence in latest.items()):
            return True
        for message in envelope.messages:
            if isinstance(message, Delta | WalkRows | ValuePart) and self._store.misnames(reader, message):
                return True
            if isinstance(message, Delta | WalkRows) and message.shard == SYSTEM:
                listed = last_writes(message.rows, self._store.replica)
                if any(sequence > self._store.shards[name].told for name, sequence in listed.items()):
                    return True
        for message in envelope.messages:
            # A context that could not be completed may omit this replica, so it proves nothing about its names.
            if isinstance(message, State | Pull) and not isinstance(message.context, Abridged):
                self._store.tell(message.shard)
        return False

    def _note_compared(self, peer: Peer, shard_name: str, asked: Context) -> None:
        """Note that a comparison that began with this context found no fault in the names of this replica."""
        own = asked.get(self._store.replica, 0)
        peer.conversation.compared[shard_name] = max(own, peer.conversation.compared.get(shard_name, 0))

    def _note(self, event: str, peer: Peer, **fields: object) -> None:
        self._outbox.say(Notice(event, {"peer": peer.member or peer.endpoint, **fields}))

    def _note_lasting(self, event: str, peer: Peer, *, is_warning: bool = True, **fields: object) -> None:
        notice = Notice(event, {"peer": peer.member or peer.endpoint, **fields}, is_warning=is_warning)
        self._outbox.say_lasting(notice)


_REMEDY = "see whether it runs, and whether its gossip port can be reached from here; if it is gone for good: " + (
    "gossipkv members forget MEMBER"
)
_CONTACT_REMEDY = (
    "start a member there, see whether its gossip port can be reached from here, or take the endpoint out of discovery"
)


def _what_is_missing(shard: Shard, asked: Sequence[bytes] = ()) -> list[Message]:
    """Return what goes with the answer to a question for rows.

    - What may be missing here by now, for a transfer that began when nothing was.
    - Which of the rows asked for are not whole. Otherwise a reader would take them to be absent.

    A row that cannot be read is named until something has replaced it. Counterexample: there are two copies. One is on
    a lost disk; the other cannot be read and is given up. A read of two members finds no such row, and says so.
    """
    told: list[Message] = []
    if shard.lacking:
        told.append(Covered(shard.name, Context(shard.shown), shard.lacking_through))
    lacked = [LackedRow(each, shard.missing_of(each)) for each in asked if not shard.is_whole(each)]
    if lacked:
        told.append(Delta(shard.name, {}, (), lacking=tuple(lacked[:LACKING_ROWS_MAX])))
    return told


def _same(current: Transfer | None, asked: Transfer | None) -> Transfer | None:
    """Return the transfer that was asked for, if it is still the one under way; otherwise None."""
    return current if current is asked else None
