"""One member's replica of the store: the entry to the core.

The driver opens a storage transaction, hands the waiting inputs to `write`, `receive`, `answered`, `failed`, `tick` and
the rest one after the other, calls `finish`, commits, and only then carries out the effects and passes on the answers.
If a step or the commit fails it aborts and calls `reload`, and nothing of the batch has happened.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from gossipkv.core.effects import Arrival, Effects, Send
from gossipkv.core.membership.clocks import Clocks, ClockStatus
from gossipkv.core.membership.exchanges import Exchanges
from gossipkv.core.membership.membership import AHEAD, ENDPOINT, TOO_MANY
from gossipkv.core.membership.namesakes import Namesakes, ProcessIdentity, Sighting
from gossipkv.core.membership.peer import Peer
from gossipkv.core.membership.probing import Probing
from gossipkv.core.membership.solitude import Solitude
from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, USER, address_of, key_of, table_of
from gossipkv.core.model.backoff import Backoff
from gossipkv.core.model.causality import Context
from gossipkv.core.model.clock import milliseconds
from gossipkv.core.model.endpoint import ENDPOINT_REFUSED, is_endpoint
from gossipkv.core.model.member import GOSSIP, INCARNATION_AHEAD, INCARNATION_END, MemberRecord, checked
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.room import CATCHING_UP, NO_ROOM, Allowance, Room, Usage
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.tally import Notice, Tally
from gossipkv.core.model.write import Declined, Operation, Result
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Envelope, Message, RowCopy, with_base, with_contexts
from gossipkv.core.status import ReplicaStatus, describe
from gossipkv.core.store.fence import FORGOTTEN, OUTDATED, Fence
from gossipkv.core.store.forgotten import (
    Forgotten,
    all_forgotten,
    all_withdrawn,
    forgetting,
    forgotten_in,
    withdrawal,
    withdrawn_in,
)
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.shortage import Shortage
from gossipkv.core.store.snapshot import ReplicaSnapshot
from gossipkv.core.store.storage import Identity, Reader, StorageError, Transaction
from gossipkv.core.store.store import Store
from gossipkv.core.sync.gossip import Gossip
from gossipkv.core.sync.refusals import RowRefusals
from gossipkv.core.upkeep.adoption import Adopter
from gossipkv.core.upkeep.collection import Collector
from gossipkv.core.upkeep.expiry import Expirer
from gossipkv.core.upkeep.restamping import Asking, Restamper
from gossipkv.core.upkeep.retirement import Retirer
from gossipkv.core.waits.answers import Coverage, Reach, Receipt, Resolved
from gossipkv.core.waits.deadline import earliest, set_back
from gossipkv.core.waits.direct_exchanges import Direct, DirectExchanges, Reading
from gossipkv.core.waits.receipts import Receipts, Waiting

TURN_INTERVALS = 10
"""Gossip intervals for which the record of another process that runs under this name is left to stand."""

RECORDS_NAMED_MAX = 100
"""Log at most this many members by name whose records are refused."""

_DENIED = "a row in sys.forgotten says that this member is gone; it is in touch with others, and deletes the row"
_TOO_MANY = "there are members_max members already; gossipkv members forget MEMBER makes room"
_REFUSED_REMEDY = (
    "if it is a member, set its clock and its endpoints right; if no such member exists: gossipkv members forget MEMBER"
)
_WHY_REFUSED = {AHEAD: INCARNATION_AHEAD, TOO_MANY: _TOO_MANY, ENDPOINT: ENDPOINT_REFUSED}

REFUSED_SENDERS_MAX = 100
"""Maximum number of refused senders that are named in the log."""


class RefusedEnvelopeError(Exception):
    """An envelope that this member does not answer; `reason` labels a metric."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Replica:
    """See the module's text for the order of calls."""

    def __init__(self, options: ReplicaOptions, rng: random.Random, identity: Identity, now_ms: int) -> None:
        self.options = options
        self.identity = identity
        self.tally = Tally()
        self._outbox = Outbox()
        self.is_ready = False
        self.zone = options.zone
        self._rng = rng
        self._started_ms = now_ms
        self._looked_ms = now_ms
        """When it was last looked which waits are late."""
        self._started = identity.incarnation
        self._token = rng.getrandbits(63) + 1
        self._own_address = address_of(MEMBERS_TABLE, options.member.encode())
        self._born = identity.replica
        self._has_left = False
        self._must_refute = False
        self._has_announced = False
        self._read_of_twin: ProcessIdentity | None = None
        """Another process with this one's replica id has written its record over this one's."""
        self._store = Store(
            identity.replica,
            options.clock_skew_ms_max,
            options.siblings_max,
            self.tally,
            self._outbox,
            options.member,
            options.context_origins_max,
        )
        self._probing = Probing(options, self.tally, rng, self._outbox, identity.incarnation, now_ms)
        self._membership = self._probing.membership
        self._store.members = self._membership.recorded
        self._namesakes = Namesakes(options, self._process(), self._outbox, now_ms)
        self._exchanges = Exchanges()
        self._gossip = Gossip(
            options,
            self._store,
            self._membership,
            self.tally,
            self._outbox,
            rng,
            now_ms,
            self._exchanges,
            self._follow_members,
            self._namesakes.run_as,
        )
        may_hand_over = self._gossip.progress.may_hand_over
        self._direct = DirectExchanges(
            self._membership, self._exchanges, self._gossip, self.tally, options, may_hand_over
        )
        self._outdone_ms: int | None = None
        """When the record of another process that runs under this name was first seen in place of this one's."""
        self._outdone_by = 0
        """The process whose record was last outdone here."""
        self._receipts = Receipts(options.member, self._store, self._membership, self._direct)
        self._expirer = Expirer(self._store, self._membership, options.member)
        self._retirer = Retirer(self._store, self._membership, options)
        self._collector = Collector(self._store, self._membership, options)
        self._adopter = Adopter(self._store, self._membership, self._outbox, options)
        self._conflicts: Mapping[tuple[str, str], int] = MappingProxyType({})
        """As the last snapshot has them."""
        self._solitude = Solitude(self._membership, options.gossip_interval_ms, now_ms)
        self._must_relearn = False
        """Whether the records of members that were forgotten count again."""
        self._was_in_touch = False
        """Whether it has been in touch with others for some time, as of the last tick."""
        self._clocks = Clocks(options.clock_skew_ms_max, options.gossip_interval_ms, self._outbox, now_ms)
        self._restamper = Restamper(
            self._store,
            self._membership,
            self._exchanges,
            self._clocks,
            self.tally,
            self._outbox,
            options,
            may_hand_over,
        )
        self._refusals = RowRefusals(options, now_ms)
        self._allowance = Allowance()
        self._shortage = Shortage(now_ms)
        self._promised: bool | None = None
        """Whether rows on their way take the room that is left; None until the transaction has to know."""
        self._is_crowded: bool | None = None
        """Whether another member is short of room; None until the transaction has to know."""
        self._upkeep = Backoff()
        """Expiry and collection wait: what they write did not fit."""
        self._refused: set[tuple[str, str, int]] = set()
        """Senders of whom the log has been told that they are refused."""
        self._named: set[tuple[str, str]] = set()
        """Members, with the reason, of which the log has been told that their records are refused."""

    @classmethod
    def open(cls, transaction: Transaction, options: ReplicaOptions, rng: random.Random, now_ms: int) -> Replica:
        """Start from what the storage holds, as the next incarnation, and say so in `sys.members`. To be followed by
        `finish` and a commit. Raises StorageError if the data belongs to another member or cluster."""
        identity = _next_identity(transaction.identity(), options, rng, now_ms)
        transaction.put_identity(identity)
        replica = cls(options, rng, identity, now_ms)
        replica._store.load(transaction)
        replica._load_members(transaction)
        replica._announce(transaction, now_ms)
        return replica

    # Inputs

    def allow(self, allowance: Allowance, usage: Usage) -> None:
        """Say what the transaction that begins may do, and what the storage uses."""
        self._allowance = allowance
        self._promised = self._is_crowded = None
        self._store.room = allowance.room
        self._shortage.usage = usage

    def ask(self, transaction: Transaction, shard: str, operations: Sequence[Operation], now_ms: int) -> list[Result]:
        """Like `write`, for clients: what there is no room for is declined."""
        results = [
            self._lack_of_room_for(transaction, shard, operation)
            or self._store.write(transaction, shard, operation, now_ms)
            for operation in operations
        ]
        self._gossip.wrote(shard)
        return results

    def write(self, transaction: Transaction, shard: str, operations: Sequence[Operation], now_ms: int) -> list[Result]:
        """Put and delete rows, in order; one result each."""
        results = [self._store.write(transaction, shard, operation, now_ms) for operation in operations]
        self._gossip.wrote(shard)
        return results

    def reach(self) -> Reach:
        """How many members there are, and how many of them answer."""
        return self._receipts.reach()

    def wait(self, ticket: int, waiting: Waiting, now_ms: int) -> None:
        """Wait for copies or for members; over when the effects of a batch name the ticket, or by `withdraw`."""
        self._follow_clock(now_ms)
        self._receipts.wait(ticket, waiting)

    def read(self, ticket: int, reading: Reading, now_ms: int) -> None:
        """Read a row at several members; over like a wait."""
        self._follow_clock(now_ms)
        self._direct.read(ticket, reading)

    def withdraw(self, ticket: int) -> None:
        """Wait no longer under this ticket."""
        self._direct.withdraw(ticket)
        self._receipts.withdraw(ticket)

    def coverage(self, receipt: Receipt) -> Coverage:
        """Who is known to have a write."""
        return self._receipts.coverage(receipt)

    def receive(self, transaction: Transaction, envelope: Envelope, now_ms: int) -> Envelope:
        """Answer an exchange that another member began. Raises RefusedEnvelopeError."""
        self._check_cluster(envelope)
        self._namesakes.asked(envelope.member, _process_of(envelope), self._exchanges.last)
        self._part_from_twin(transaction, envelope, now_ms)
        self._check_name(envelope)
        if envelope.replica == self.identity.replica:
            return self._envelope((), now_ms)
        self._solitude.heard(now_ms)
        envelope = self._completed(envelope)
        if self._gossip.speaks_of_unknown_names(transaction, envelope):
            self._renew(transaction, now_ms)
        self._probing.advance(now_ms)
        answers = self._gossip.receive(transaction, envelope, now_ms) + self._probing.receive(envelope)
        return self._envelope(tuple(answers), now_ms)

    def answered(self, transaction: Transaction, exchange: int, envelope: Envelope, now_ms: int) -> None:
        """An exchange that this member began has been answered."""
        try:
            self._check_cluster(envelope)
            if exchange > 0:
                self._namesakes.answered(envelope.member, _process_of(envelope), exchange, self._exchanges.last)
                self._part_from_twin(transaction, envelope, now_ms)
            self._check_name(envelope)
            self._check_process(envelope)
        except RefusedEnvelopeError as error:
            self.failed(exchange, str(error), now_ms)
            return
        if envelope.replica != self.identity.replica:
            self._solitude.heard(now_ms)
            self._clocks.answered(exchange, envelope.member, envelope.now_ms, now_ms)
        else:
            self._clocks.ended([exchange])
        envelope = self._completed(envelope)
        if self._gossip.speaks_of_unknown_names(transaction, envelope):
            self._renew(transaction, now_ms)
        self._probing.advance(now_ms)
        begun = self._exchanges.end(exchange)
        if begun is None:
            return
        if begun.owner is self._probing:
            self._probing.answered(begun.subject, envelope, now_ms)
        elif begun.owner is self._direct:
            self._direct.answered(transaction, begun.subject, envelope, now_ms)
        elif begun.owner is self._restamper:
            self._restamper.answered(begun.subject, envelope)
        else:
            self._gossip.answered(transaction, exchange, begun.subject, envelope, now_ms)

    def failed(self, exchange: int, reason: str, now_ms: int, *, was_answered: bool = False) -> None:
        """An exchange that this member began has come to nothing, or may have. `was_answered`: by a member, in a way
        that cannot be read."""
        self._clocks.ended([exchange])
        self._probing.advance(now_ms)
        begun = self._exchanges.end(exchange)
        if begun is not None:
            begun.owner.failed(begun.subject, reason, now_ms, was_answered=was_answered)
        if begun is None or begun.owner is self._gossip:
            self._membership.has_been_answered |= was_answered

    def discovered(
        self,
        transaction: Transaction,
        endpoints: Iterable[str],
        members: frozenset[str] | None,
        zone: str | None,
        now_ms: int,
    ) -> None:
        """Endpoints that others may be reached at; those that are no longer among them are not forgotten. Where all
        members that exist are known, others are let go. The zone found is this member's, unless it was given one."""
        found = tuple(endpoints)
        self._membership.discovered([endpoint for endpoint in found if is_endpoint(endpoint)], members)
        for endpoint in found:
            if not is_endpoint(endpoint):
                self._refuse_record(f"discovery: {endpoint!a:.100}", ENDPOINT)
        if self.options.zone is None and zone is not None and zone != self.zone:
            self.zone = self._membership.zone = zone
            self._announce(transaction, now_ms)

    def tick(self, transaction: Transaction, now_ms: int) -> None:
        """Let time pass: due several times per gossip interval."""
        self._namesakes.advance(now_ms)
        self._follow_twin(transaction, now_ms)
        is_unreadable = self._own_address in self._store.shards[SYSTEM].quarantined
        if (self._must_refute or is_unreadable) and self._may_refute(now_ms):
            self._must_refute = False
            self._refute(transaction, now_ms)
        self._clocks.tick(now_ms)
        self._probing.tick(now_ms)
        if self._probing.swim.is_ahead(self.identity.incarnation) and self._is_clock_confirmed():
            self._step_back(transaction, now_ms)
        if self._allowance.room < Room.NONE and not self._upkeep.is_waiting(now_ms):
            self._keep_up(transaction, now_ms)
        is_round = self._gossip.tick(now_ms)
        if is_round:
            self._direct.recall(self._store.shards, self._store.records_lacking, now_ms)
            self._look_at_refused(transaction)
            self._membership.judge_again()
        if self._must_relearn:
            self._learn_records(transaction)
        self._was_in_touch = self._solitude.has_been_in_touch(now_ms)
        if self._was_in_touch and self._membership.is_forgotten(self.identity.replica):
            self._deny_forgetting(transaction, now_ms)
        if self._allowance.room < Room.NONE:
            for shard in self._restamper.tick(transaction, now_ms, is_round=is_round):
                self._gossip.wrote(shard)
        self._receipts.tick()
        self._direct.tick()
        self._outbox.say_lasting(*self._solitude.tick(now_ms), *self._refusals.tick(self.tally.rows_refused, now_ms))
        self._started_ms = min(self._started_ms, now_ms)

    def _keep_up(self, transaction: Transaction, now_ms: int) -> None:
        collected = self.tally.tombstones_collected
        expired = self._expirer.tick(transaction, now_ms, self._allowance.rows_max)
        if expired:
            self._gossip.wrote(USER)
        if self._solitude.knows_members and self._membership.lists_all and not self._store.records_lacking:
            # What rests on "all members" would rest on fewer otherwise. Counterexample without the last condition: a
            # member cannot take in the record of another one, covers it, and does not list its member. It collects a
            # tombstone that this member has not heard of, and fences it by the proof.
            self._collector.tick(transaction, now_ms, self._allowance.rows_max)
            for shard in self._adopter.tick(transaction, now_ms):
                self._gossip.wrote(shard)
            if self._retirer.tick(transaction, self.identity.incarnation, now_ms):
                self._gossip.wrote(SYSTEM)
        self._store.settle(self._membership.all_hold)
        if expired or self.tally.tombstones_collected > collected:
            self._upkeep.succeeded()

    def leave(self, transaction: Transaction, now_ms: int) -> None:
        """Say in `sys.members` that this member goes of its own will. It comes back by starting again. All that wait
        here are told how it stands, with this batch or, if they come later, with theirs."""
        self._has_left = True
        self._probing.swim.leave(True)
        self._announce(transaction, now_ms)

    def forget(self, transaction: Transaction, member: str, now_ms: int, *, is_forced: bool = False) -> Forgotten:
        """Remove a member that is gone for good from `sys.members`: nothing waits for it any more."""
        if member == self.options.member:
            return Forgotten.ITSELF
        peer = self._membership.member(member)
        address = address_of(MEMBERS_TABLE, member.encode())
        found = peer.record if peer is not None else None
        if found is None and member in self._membership.refused:
            found = _record_in(transaction.row(SYSTEM, address))
        if found is None:
            return Forgotten.UNKNOWN
        if peer is not None and peer.is_answering:
            return Forgotten.ANSWERS
        if peer is not None and not is_forced:
            if self._membership.is_found(peer):
                return Forgotten.LISTED
            silence_ms = self._probing.swim.silence_ms(member)
            if peer.is_living or silence_ms < self.options.forget_silence_ms:
                return Forgotten.HEARD
        replica = found.replica
        self.write(transaction, SYSTEM, [forgetting(replica, member), Operation(address, None)], now_ms)
        self._membership.refused.pop(member, None)
        self._membership.forget(replica)
        return Forgotten.DONE

    def watch(self, *, is_watched: bool) -> None:
        """Say in the effects what changes from here on, or no longer."""
        self._store.watch(is_watched=is_watched)

    def finish(self, transaction: Transaction, now_ms: int) -> Effects:
        """End a batch: save what the transaction must hold besides rows, and say what to do after the commit."""
        changed, self._gossip.changed = self._gossip.changed, {}
        self._judge_readiness(now_ms)
        is_fenced = self._gossip.is_outdated or self._obeys_forgetting()
        if self._allowance.room < Room.NONE:
            waits = self._gossip.waits()
            self._outbox.say(*self._shortage.tell(self._allowance.room, self._crowded(), waits, now_ms))
        # Saving may fail for want of room, and composing on a row that cannot be read. Exchanges begin after both: the
        # driver must hear of each that has begun.
        self._store.save(transaction)
        resolved = self._resolved(transaction, now_ms, is_fenced=is_fenced)
        outgoing = self._gossip.compose(transaction, now_ms) + self._direct.compose(transaction)
        outgoing += self._restamper.compose() + self._probing.compose()
        envelopes = [self._envelope(each.messages, now_ms) for each in outgoing]
        changes = self._store.take_changes(transaction.revision())
        snapshot = self._snapshot(now_ms, is_fenced=is_fenced)
        sends = [
            Send(self._exchanges.begin(each), each.endpoint, envelope, each.timeout_ms)
            for each, envelope in zip(outgoing, envelopes, strict=True)
        ]
        for send in sends:
            self._clocks.began(send.exchange, now_ms)
        arrivals, notices = self._arrivals(changed), self._outbox.take()
        return Effects(sends, notices, arrivals, resolved, changes, is_fenced, self.deadline_ms, snapshot)

    def _obeys_forgetting(self) -> bool:
        """Whether this replica is to be forgotten, as far as that is believed: see `core/store/forgotten.py`."""
        if not self._membership.is_forgotten(self.identity.replica) or self._was_in_touch:
            return False
        answering = [peer.record for peer in self._membership.members() if peer.is_answering]
        return any(
            record is not None and not self._membership.is_called_forgotten(record.replica) for record in answering
        )

    def _deny_forgetting(self, transaction: Transaction, now_ms: int) -> None:
        """Others hear this member and say that it is forgotten: delete the row, and write the record that went with
        it again."""
        replica = self.identity.replica
        self._membership.remember(replica)
        self.tally.forgettings_refused += 1
        self._outbox.say(Notice("forgetting_denied", {"reason": _DENIED}, is_warning=True))
        self.write(transaction, SYSTEM, [withdrawal(replica)], now_ms)
        self._refute(transaction, now_ms)

    def _resolved(self, reader: Reader, now_ms: int, *, is_fenced: bool) -> list[Resolved]:
        """Waits that are over: none goes on at a member that leaves, or that is about to set its data aside."""
        is_ending = self._has_left or is_fenced
        self._receipts.is_outdated = is_fenced
        self._follow_clock(now_ms)
        return self._receipts.resolve(now_ms, is_ending=is_ending) + self._direct.resolve(
            reader, self._store.shards, now_ms, is_ending=is_ending
        )

    def lapse(self, now_ms: int) -> list[Resolved]:
        """After `reload`: end the waits whose deadline has passed. Nothing of them is on disk, so they end although the
        batch has failed."""
        self._follow_clock(now_ms)
        return self._receipts.lapse(now_ms) + self._direct.lapse(self._store.shards, now_ms)

    @property
    def deadline_ms(self) -> int | None:
        """The earliest deadline of a wait; None if no wait has one."""
        return earliest([*self._receipts.waits, *self._direct.readings])

    def _follow_clock(self, now_ms: int) -> None:
        if now_ms < self._looked_ms:
            set_back([*self._receipts.waits, *self._direct.readings], self._looked_ms - now_ms)
        self._looked_ms = now_ms

    def _fence(self) -> Fence:
        """Why, and what is known of others' copies."""
        covered = {name: Context() for name in self._store.shards}
        for peer in self._membership.peers():
            for name, context in peer.conversation.contexts.items():
                covered[name].advance(context)
        is_forgotten = self._membership.is_forgotten(self.identity.replica)
        at_start = self._store.sequences_at_start
        in_doubt = {name: max(shard.certain, at_start[name]) for name, shard in self._store.shards.items()}
        return Fence(FORGOTTEN if is_forgotten else OUTDATED, covered, in_doubt if self._gossip.is_outdated else {})

    def _snapshot(self, now_ms: int, *, is_fenced: bool) -> ReplicaSnapshot:
        if self.tally.has_new_conflicts:
            self._conflicts = MappingProxyType(dict(self.tally.conflicts))
            self.tally.has_new_conflicts = False
        return ReplicaSnapshot(
            self.identity,
            self.is_ready,
            is_fenced,
            self.zone,
            self._store.tables.settings,
            self._conflicts,
            self._solitude.since_ms(now_ms),
            self._fence() if is_fenced else None,
        )

    def reload(self, reader: Reader, durable: ReplicaSnapshot, exchanges: Sequence[int]) -> None:
        """Return to what is committed, of which `durable` is the snapshot: the batch in which these exchanges began or
        ended has not happened. Durable state is read again. Conversations and waits go on from there: what they took
        from the batch is dropped. What is known of others survives: which of them are alive, and how clocks differ."""
        self._outbox.forget_batch()
        self._load(reader, durable)
        self._exchanges.forget(exchanges)
        self._clocks.ended(exchanges)
        for part in (self._gossip, self._probing, self._direct, self._restamper, self._receipts):
            part.forget_batch()
        self._shortage.retract()
        self._load_members(reader)

    def _load(self, reader: Reader, durable: ReplicaSnapshot) -> None:
        identity = reader.identity()
        assert identity is not None, "a replica writes its identity before anything else"
        self.identity = identity
        self.is_ready = durable.is_ready
        self._conflicts = durable.conflicts
        self.tally.conflicts = Counter(durable.conflicts)
        self.tally.has_new_conflicts = False
        self._store.replica = identity.replica
        self._store.load(reader)
        self._namesakes.be_renewed(identity.replica)

    def note_committed(self) -> None:
        """The batch is durable."""
        self._receipts.note_committed()
        self._direct.note_committed()
        self._outbox.note_told()
        self._shortage.note_told()

    def take_lasting_notices(self) -> list[Notice]:
        """What has been concluded of other members by what was heard, and not from the storage: it holds although the
        batch has failed, and a member whose storage takes nothing must not be silent about it."""
        notices = self._outbox.take_lasting()
        self._outbox.note_told()
        return notices

    def note_too_big(self, answers: Sequence[Envelope], now_ms: int, *, has_ticked: bool) -> None:
        """After `reload`: the storage has failed for want of room, and these answers may be why; or the upkeep of the
        tick that was in the batch."""
        self._gossip.note_too_big(answers, now_ms)
        if has_ticked:
            self._upkeep.failed(now_ms, self.options.gossip_interval_ms, self.options.retry_ms_max, self._rng)

    # Questions

    @property
    def knows_settings(self) -> bool:
        """Whether it has learned the settings of tables from others since it started."""
        return self._store.knows_settings

    @property
    def shards(self) -> dict[str, Shard]:
        """By name; not to be changed."""
        return self._store.shards

    @property
    def direct_exchanges(self) -> dict[int, Direct | Asking]:
        """Those beside the peers' agendas, by number; not to be changed."""
        return self._exchanges.of(self._direct, self._restamper)

    @property
    def peers(self) -> list[Peer]:
        """All others, contacts included; not to be changed."""
        return list(self._membership.peers())

    def status(self, now_ms: int) -> ReplicaStatus:
        shortage = self._shortage.status(self._crowded(), self._gossip.waits(), now_ms)
        return describe(self, self._store, self._membership, self._collector.blockers(), shortage, now_ms)

    def alone_ms(self, now_ms: int) -> int | None:
        """For how long no other member has been heard; None while it is not alone."""
        since_ms = self._solitude.since_ms(now_ms)
        return None if since_ms is None else now_ms - since_ms

    def check_clock(self) -> None:
        """Raises OwnClockOffError if this member takes no writes because its clock is off."""
        self._clocks.check()

    @property
    def clock(self) -> ClockStatus:
        return self._clocks.status()

    @property
    def refusing(self) -> tuple[str, ...]:
        """The reasons for which it refuses rows of others at present, apart from a lack of room."""
        return self._refusals.reasons

    @property
    def refutations(self) -> int:
        """How often it has refuted words against it since it started."""
        return self._probing.swim.life.refutations

    @property
    def started_ms(self) -> int:
        return self._started_ms

    @property
    def sightings(self) -> dict[str, Sighting]:
        """By member, of those under whose name two processes run; not to be changed."""
        return self._namesakes.sightings

    # The replica's own row, and those of others

    def _load_members(self, reader: Reader) -> None:
        self._membership.load_forgotten(all_forgotten(reader), all_withdrawn(reader))
        self._learn_records(reader)

    def _learn_records(self, reader: Reader) -> None:
        self._must_relearn = False
        prefix = address_of(MEMBERS_TABLE, b"")
        for address, row in reader.rows(SYSTEM, prefix, prefix[:-1] + b"\1"):
            self._learn_member(address, row)

    def _follow_members(self, changed: list[RowCopy]) -> None:
        for replica in forgotten_in(changed):
            if not self._membership.hear_forgotten(replica):
                self.tally.forgettings_refused += 1
                if len(self._named) < RECORDS_NAMED_MAX and ("forgotten", str(replica)) not in self._named:
                    self._named.add(("forgotten", str(replica)))
                    name = self._membership.names().get(replica, "unknown")
                    fields: dict[str, object] = {"peer": name, "reason": "it answers this member"}
                    self._outbox.say(Notice("forgetting_not_believed", fields, is_warning=True))
        for replica in withdrawn_in(changed):
            self._must_relearn |= self._membership.remember(replica)
        for address, row in changed:
            if table_of(address) == MEMBERS_TABLE:
                self._learn_member(address, row)

    def _look_at_refused(self, reader: Reader) -> None:
        """Learn from records that were refused, if they are acceptable by now, and from those of members that have
        answered and were not listed for want of room."""
        unlisted = [peer.member for peer in self._membership.members() if peer.record is None and peer.has_answered]
        for member in sorted({*self._membership.refused, *[name for name in unlisted if name is not None]}):
            address = address_of(MEMBERS_TABLE, member.encode())
            row = reader.row(SYSTEM, address)
            if row is not None and row.winner.value is not None:
                self._learn_member(address, row, is_again=True)
            else:
                self._membership.refused.pop(member, None)

    def _refuse_record(self, member: str, reason: str) -> None:
        """Count it, and say it once per member; once for all members that are too many."""
        self.tally.records_refused[reason] += 1
        named = (reason, "" if reason == TOO_MANY else member)
        if named not in self._named and len(self._named) < RECORDS_NAMED_MAX:
            self._named.add(named)
            fields: dict[str, object] = {"peer": member, "reason": _WHY_REFUSED[reason], "remedy": _REFUSED_REMEDY}
            self._outbox.say(Notice("member_refused", fields, is_warning=True))

    def _learn_member(self, address: bytes, row: StoredRow, *, is_again: bool = False) -> None:
        value = row.winner.value
        member = key_of(address).decode()
        if value is None:
            self._must_refute |= member == self.options.member
            self._membership.refused.pop(member, None)
            return
        try:
            record = MemberRecord.from_json(value)
        except ValueError as error:
            self._outbox.say(Notice("member_record_unreadable", {"peer": member, "reason": str(error)}))
            self._must_refute |= member == self.options.member
            return
        if member == self.options.member:
            ours = self.identity
            self._must_refute = (
                record.replica != ours.replica
                or record.incarnation > ours.incarnation
                or (record.token not in (0, self._token) and record.started >= self._started)
                or (record.token == self._token and self._is_forged(record))
            )
            process = _process_in(record)
            if self._has_announced and self._namesakes.is_twin(process):
                self._read_of_twin = process
            self._namesakes.read(process)
            if (record.replica, record.incarnation) == (ours.replica, ours.incarnation):
                # Of a word to leave, or of a zone found, whose commit failed nothing is left.
                # That it has left stands only if it has said so itself.
                self._has_left &= record.has_left
                self.zone = self._membership.zone = record.zone
                self._probing.swim.leave(self._has_left)
            return
        if "" in record.endpoints.values() and not is_again:
            self._refuse_record(member, ENDPOINT)
        if (reason := self._membership.refusal_of(member, record)) is not None:
            if not is_again:
                self._refuse_record(member, reason)
        elif self._membership.learn_record(member, record, row.winner.dot):
            self._outbox.say(Notice("member_joined", {"peer": member, "endpoints": record.endpoints}))

    def _is_forged(self, record: MemberRecord) -> bool:
        """Whether a record that bears this process's token says what the process has not said."""
        return record.endpoints != checked(self.options.endpoints) or (record.has_left and not self._has_left)

    def _is_clock_confirmed(self) -> bool:
        """Whether a member that answers has about the same time. Otherwise it may be this clock that is wrong now."""
        skew_ms = self.options.clock_skew_ms_max
        return any(peer.is_answering and abs(peer.clock_ahead_ms) <= skew_ms for peer in self._membership.members())

    def _step_back(self, transaction: Transaction, now_ms: int) -> None:
        """The clock ran ahead when this member took its incarnation, which others refuse: take one of now."""
        self.identity = self.identity._replace(incarnation=now_ms)
        transaction.put_identity(self.identity)
        self._probing.swim.step_back(now_ms)
        self._announce(transaction, now_ms)

    def _announce(self, transaction: Transaction, now_ms: int) -> None:
        self._probing.swim.begin_life(self.identity.incarnation)
        record = MemberRecord(
            self.identity.replica,
            self.identity.incarnation,
            self.options.endpoints,
            self._has_left,
            self.zone,
            self.options.version,
            self._started,
            self._token,
            self._born,
        )
        self._has_announced = True
        self.write(transaction, SYSTEM, [Operation(self._own_address, record.to_json())], now_ms)

    def _renew(self, transaction: Transaction, now_ms: int) -> None:
        """The volume was set back to an old copy, or another process runs on a copy of it, and a sequence must never be
        used twice: be a new replica. To be called at any time in a batch, for the record of the member is written with
        it: what is then made of messages counts for the new replica."""
        renounced = self.identity.replica
        self.identity = self.identity._replace(
            replica=self._rng.getrandbits(64), incarnation=max(self.identity.incarnation + 1, now_ms)
        )
        transaction.put_identity(self.identity)
        self._store.renew(transaction, self.identity.replica)
        self._namesakes.be_renewed(self.identity.replica)
        self._read_of_twin = None
        self._outbox.say(
            Notice(
                "data_are_an_old_copy",
                {"renounced": f"{renounced:016x}", "replica": f"{self.identity.replica:016x}"},
            )
        )
        self._announce(transaction, now_ms)

    def _refute(self, transaction: Transaction, now_ms: int) -> None:
        """Another record stands under this member's name, or none that can be read: outdo it. If a process that still
        runs has written it, both will say so, once per tick at most."""
        row = transaction.row(SYSTEM, self._own_address)
        ours = self.identity
        theirs = _record_in(row)
        if theirs is not None and self._probing.swim.is_ahead(theirs.incarnation):
            # No one believes it, and no message could hold what outdoes the greatest.
            theirs = replace(theirs, incarnation=0)
        self.identity = ours._replace(incarnation=max(theirs.incarnation if theirs else 0, ours.incarnation) + 1)
        transaction.put_identity(self.identity)
        self._outdone_ms = None
        if theirs is not None and theirs.token == self._outdone_by:
            self._namesakes.outdone(_process_in(theirs))
        self._outdone_by = theirs.token if theirs is not None else 0
        if self.options.member not in self._namesakes.sightings:
            by = "a member that was told to forget this one"
            if theirs is not None:
                by = f"replica {theirs.replica:016x}"
            elif row is None or row.is_visible:
                by = "something that cannot be read"
            self._outbox.say(Notice("own_record_outdone", {"by": by}))
        self._announce(transaction, now_ms)

    def _may_refute(self, now_ms: int) -> bool:
        """At once, unless another process runs under this name: then its record stands for some time, so that each has
        its turn in which others take it for the member, and bring it rows and take rows from it."""
        if self.options.member not in self._namesakes.sightings:
            return True
        if self._outdone_ms is None or self._outdone_ms > now_ms:
            self._outdone_ms = now_ms
        return now_ms - self._outdone_ms >= TURN_INTERVALS * self.options.gossip_interval_ms

    # Other processes under this member's name

    def _process(self) -> ProcessIdentity:
        return ProcessIdentity(
            self._started, self._token, self.identity.replica, self.options.endpoints.get(GOSSIP, ""), self._born
        )

    def _part_from_twin(self, transaction: Transaction, envelope: Envelope, now_ms: int) -> None:
        """Take a new replica id if another process that has this one's runs, and this is the younger: it knows what it
        has written since they parted. The older goes on as it is."""
        process = _process_of(envelope)
        if (
            envelope.member == self.options.member
            and self._namesakes.is_twin(process)
            and self.options.member in self._namesakes.sightings
            and process.age < self._namesakes.own.age
        ):
            self._renew(transaction, now_ms)

    def _follow_twin(self, transaction: Transaction, now_ms: int) -> None:
        """A record that was written over this one's, by a process with this one's replica id. An older one has seen
        this one's record by then, so it runs."""
        twin, self._read_of_twin = self._read_of_twin, None
        if twin is not None and self._namesakes.is_twin(twin) and twin.age < self._namesakes.own.age:
            self._namesakes.outdone(twin)
            self._renew(transaction, now_ms)

    # Envelopes

    def _envelope(self, messages: tuple[Message, ...], now_ms: int) -> Envelope:
        return Envelope(
            self.identity.cluster,
            self.identity.member,
            self.identity.replica,
            self.identity.incarnation,
            now_ms,
            tuple([self._as_sent(message) for message in messages]),
            self.is_ready,
            self._started,
            self._token,
            self._born,
            self.options.endpoints.get(GOSSIP, ""),
            self._store.knows_settings or self._store.has_met_others,
            self._allowance.room,
        )

    def _as_sent(self, message: Message) -> Message:
        store = self._store
        return with_base(with_contexts(message, store.abridged, store.abridged_proofs), store.base_number)

    def _completed(self, envelope: Envelope) -> Envelope:
        """The envelope as its sender meant it, as far as that is known here."""
        store = self._store
        messages = [with_contexts(each, store.resolved, store.resolved_proofs) for each in envelope.messages]
        return replace(envelope, messages=tuple(messages))

    def _check_cluster(self, envelope: Envelope) -> None:
        ours = self.identity
        if envelope.cluster != ours.cluster:
            self._refuse(
                envelope, "other_cluster", f"this is cluster {ours.cluster!r}, the sender is of {envelope.cluster!r}"
            )

    def _check_name(self, envelope: Envelope) -> None:
        ours = self.identity
        if envelope.member == ours.member and envelope.replica != ours.replica:
            self._refuse(
                envelope, "name_taken", f"another running member is named {ours.member!r}: give each its own name"
            )

    def _check_process(self, envelope: Envelope) -> None:
        """Of what answers: a twin must not be taken for this member itself, reached at its own address."""
        if envelope.member == self.options.member and self._namesakes.is_twin(_process_of(envelope)):
            self._refuse(envelope, "name_taken", f"another process runs on a copy of the data of {envelope.member!r}")

    def _refuse(self, envelope: Envelope, reason: str, detail: str) -> None:
        """Count it, and say it once per sender: it goes on sending."""
        self.tally.envelopes_refused[reason] += 1
        sender = (reason, envelope.cluster, envelope.replica)
        if sender not in self._refused and len(self._refused) < REFUSED_SENDERS_MAX:
            self._refused.add(sender)
            fields = {"peer": envelope.member, "reason": detail}
            self._outbox.say_lasting(Notice("envelope_refused", {**fields}, is_warning=True))
        raise RefusedEnvelopeError(reason, detail)

    # Room

    def _crowded(self) -> list[str]:
        """The members that are short of room, as far as is known here, by name; this one is not among them."""
        peers = self._membership.members()
        return [peer.member for peer in peers if peer.member and peer.is_living and peer.room > Room.AMPLE]

    def _lack_of_room_for(self, reader: Reader, shard: str, operation: Operation) -> Declined | None:
        """The refusal of a client's operation: a put at any member as soon as one of them is short of room, for all
        hold all rows; a delete only where it would leave a tombstone of a row that is not here."""
        if shard == SYSTEM:
            return None
        room, reason = self._allowance.room, NO_ROOM
        if operation.value is None:
            is_refused = room >= Room.SPENT and reader.row(shard, operation.address) is None
        else:
            is_refused = room >= Room.SCARCE or self._are_others_crowded()
            if not is_refused and self._is_promised():
                is_refused, reason = True, CATCHING_UP
        self.tally.puts_refused += is_refused
        return Declined(reason, None, 0) if is_refused else None

    def _are_others_crowded(self) -> bool:
        if self._is_crowded is None:
            self._is_crowded = bool(self._crowded())
        return self._is_crowded

    def _is_promised(self) -> bool:
        """Whether rows that members have acknowledged, and that are still on their way, take the room that is left."""
        if self._promised is None:
            spare, usage = self._allowance.spare_bytes, self._shortage.usage
            rows = sum(self._store.shards[USER].totals[:2])
            is_near = spare < usage.capacity_bytes // 2
            self._promised = is_near and self._gossip.on_their_way() * usage.bytes_per_row(rows) > spare
        return self._promised

    def lack_of_room(self) -> str:
        """Why puts are refused, and what to do."""
        return self._shortage.reason(self._allowance.room, self._crowded())

    # Conclusions

    def _judge_readiness(self, now_ms: int) -> None:
        """Ready after one sync with a member that is ready; never unready again. Where none is, as when all start at
        once, after a sync with everyone there is, or when no more can be had for long enough. If others answer, not
        before its clock has been compared: it would acknowledge writes that they refuse."""
        if self.is_ready or (self._membership.has_been_answered and not self._clocks.has_compared):
            return
        waited = now_ms - self._started_ms >= self.options.bootstrap_timeout_ms
        if self._gossip.progress.is_brought_up_to_date() or (waited and self._gossip.progress.can_expect_nothing()):
            self.is_ready = True
            self._outbox.say(Notice("ready", {"alone": not self._membership.has_been_answered}))

    def _arrivals(self, changed: dict[str, list[RowCopy]]) -> list[Arrival]:
        """Versions written since this process began: older ones tell of its absence, not of replication,
        and the tombstone of an expiry is stamped as what it replaced."""
        names = self._membership.names()
        arrivals = [
            Arrival(names.get(row.winner.dot.replica, "unknown"), milliseconds(row.winner.timestamp))
            for copies in changed.values()
            for _, row in copies
            if not row.winner.is_tombstone or row.winner.expires_ms is None
        ]
        return [arrival for arrival in arrivals if arrival.written_ms >= self._started_ms]


def _record_in(row: StoredRow | None) -> MemberRecord | None:
    """What a row of `sys.members` says of its member; None where it says nothing that can be read."""
    if row is None or row.winner.value is None:
        return None
    try:
        return MemberRecord.from_json(row.winner.value)
    except ValueError:
        return None


def _process_of(envelope: Envelope) -> ProcessIdentity:
    return ProcessIdentity(envelope.started, envelope.token, envelope.replica, envelope.endpoint, envelope.born)


def _process_in(record: MemberRecord) -> ProcessIdentity:
    return ProcessIdentity(record.started, record.token, record.replica, record.endpoints.get(GOSSIP, ""), record.born)


def _next_identity(stored: Identity | None, options: ReplicaOptions, rng: random.Random, now_ms: int) -> Identity:
    """Incarnations are at least the time of their start, so that they grow even when the disk was lost."""
    if stored is None:
        return Identity(options.cluster, options.member, rng.getrandbits(64), now_ms)
    if (stored.cluster, stored.member) != (options.cluster, options.member):
        raise StorageError(
            f"the data directory belongs to member {stored.member!r} of cluster {stored.cluster!r}, not to "
            f"{options.member!r} of {options.cluster!r}: choose another directory or the same names"
        )
    incarnation = max(stored.incarnation + 1, now_ms)
    # Version 0.1.0 could be made to take one that no message can hold.
    return stored._replace(incarnation=incarnation if incarnation < INCARNATION_END else now_ms)
