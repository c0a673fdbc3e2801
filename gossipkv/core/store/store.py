"""The data of one replica: its shards, the writes made here, and the rows taken in from others.

- `write` makes a new version of one row. Its timestamp is above everything that it replaces.
- `take_in` merges rows from others. A row that is refused changes nothing, and holds back only itself.
- `cover` advances a shard's context over ranges whose rows have all been taken in (I2).
- `renew` continues under a new replica id when names of the present one are in doubt (`core/protocol/names.py`).
- `load` returns to what is stored, at start and after a batch that failed.

Each step runs inside a storage transaction and sees the steps before it. Nothing of a step may leave the node until the
transaction has been committed. `Shard` keeps everything that is derived from rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import NamedTuple

from gossipkv.core.model.address import MEMBERS_TABLE, NAMESPACES, SYSTEM, USER, address_of, key_of, table_of
from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.clock import HybridClock, milliseconds, timestamp_at
from gossipkv.core.model.collected import PROOF_IDS_MAX, PROOFS_IDS_MAX, Proof, Proofs, is_outdated
from gossipkv.core.model.lacking import CLOCK_SKEW, ELSEWHERE, TOO_MANY_ORIGINS, LackedRow, held_below, lack_of
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.room import NO_ROOM, Room
from gossipkv.core.model.row import (
    InconsistentRowError,
    Seen,
    StoredRow,
    Version,
    collisions,
    expired,
    known_part,
    lost,
    merge,
    resolved,
    superseding,
    without_collected,
    without_settled,
    without_superseded,
    written,
    written_beside,
    written_for_any_table,
)
from gossipkv.core.model.tally import DOT_COLLISION, Notice, Tally
from gossipkv.core.model.write import (
    CONTEXT_AHEAD,
    CONTEXT_REQUIRED,
    CONTEXT_UNKNOWN,
    ROW_TOO_LARGE,
    TOO_MANY_SIBLINGS,
    UNREADABLE,
    Declined,
    NotMatched,
    Operation,
    Result,
    StoredWrite,
)
from gossipkv.core.protocol.base import Abridged
from gossipkv.core.protocol.messages import Delta, Range, RefusedRow, RowCopy, ValuePart, WalkRows
from gossipkv.core.protocol.parcel import is_carriable
from gossipkv.core.store.changes import Changes
from gossipkv.core.store.retired import Retired, stored_base
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Quarantined, Reader, Transaction
from gossipkv.core.store.tables import Tables

SIBLINGS_MAX = 64
"""The default for the maximum number of siblings that a write may leave in a row."""

ORIGINS_MAX = 8_192
"""The default for the maximum number of replicas that a context may name."""

RENAMED_AT_ONCE = 1_000
"""Maximum number of journal entries that a renewal holds in memory."""

CONTINUED_MS_MAX = 1_000
"""The greatest step forward of a row that is stamped too far ahead of the clock; see `_continues`."""

COLLISIONS_MAX = 10_000
"""Maximum number of collisions of dots that are remembered as logged."""


@dataclass(slots=True)
class Intake:
    """The result of taking in rows that arrived."""

    changed: list[RowCopy] = field(default_factory=list)
    """The rows that changed, as they now stand."""
    refused: list[RefusedRow] = field(default_factory=list)
    has_written: bool = False
    """Whether rows were written again: they came under dots of this replica that it has given to other writes."""

    @property
    def lacked_room(self) -> bool:
        """Whether any row was refused because there is no room."""
        return any(row.reason == NO_ROOM for row in self.refused)

    def holds_back(self, origin: ReplicaId) -> bool:
        """Return whether a refused row keeps the context from advancing over this origin's range."""
        return any(row.origins is None or origin in row.origins for row in self.refused)


class Authority(NamedTuple):
    """A peer whose word counts in a walk: the walking replica does not cover the peer's marks
    (`core/transfer/walk.py`). Versions that the peer covers and does not hold have been superseded."""

    claim: Context
    """The context that the peer covers."""
    lacking: frozenset[bytes]
    """The addresses of rows that the peer may not hold completely, although it covers them."""


class Store:
    """The shards of one replica by name, under one replica id and one clock."""

    def __init__(
        self,
        replica: ReplicaId,
        clock_skew_ms_max: int,
        siblings_max: int = SIBLINGS_MAX,
        tally: Tally | None = None,
        outbox: Outbox | None = None,
        own_member: str = "",
        origins_max: int = ORIGINS_MAX,
    ) -> None:
        self.replica = replica
        self._origins_max = origins_max
        self.members: Callable[[], Collection[ReplicaId]] = tuple
        """The replicas that the other members run as. Their writes are covered even if the context names the maximum
        number of replicas."""
        self._told_full: set[str] = set()
        """Shards whose full context has been logged."""
        self.room = Room.AMPLE
        """The level of the storage in this transaction."""
        self.shards: dict[str, Shard] = {}
        self._is_watched = False
        self.tables = Tables()
        self.retired = Retired()
        self._bases_heard: dict[str, int] = {}
        """The base that a peer has last omitted, per shard."""
        self.outbox = outbox or Outbox()
        self._siblings_max = siblings_max
        self._tally = tally or Tally()
        self._telling: set[str] = set()
        """Shards in which others may hear of all writes of this replica."""
        self._is_loaded = False
        self._collisions: set[tuple[str, Dot, bytes]] = set()
        """Collisions that have been logged, by shard, dot and address."""
        self._own_records = frozenset([address_of(MEMBERS_TABLE, own_member.encode())])
        self.sequences_at_start: dict[str, int] = {}
        """This replica's last write before the process began, per shard."""
        self.knows_settings = False
        """Whether the settings of tables have been learned from others since the process began. Until then, a table
        without settings here may keep siblings elsewhere."""
        self.has_met_others = False
        """Whether rows of `sys` from another replica were stored when the process began."""
        self._clock = HybridClock(clock_skew_ms_max)
        self._clock_skew_ms_max = clock_skew_ms_max

    def load(self, reader: Reader) -> None:
        """Replace the state in memory by what is stored: at start, and after a failed commit. What is known to be
        stable, or held by no member, is kept: that is knowledge about others."""
        stable = {name: shard.stable for name, shard in self.shards.items()}
        given_up = {name: shard.given_up for name, shard in self.shards.items()}
        self.shards = {name: Shard.load(reader, name) for name in NAMESPACES}
        self.tables.load(reader)
        self.retired.load(reader)
        for name, shard in self.shards.items():
            shard.load_base(stored_base(reader, name, self.retired))
        # The settings may have come with the batch that failed. The next sync brings them again.
        self.knows_settings = False
        if not self._is_loaded:
            self.has_met_others = any(origin != self.replica for origin in self.shards[SYSTEM].context)
            self.sequences_at_start = {name: shard.context.get(self.replica, 0) for name, shard in self.shards.items()}
        if not self._is_loaded and self.replica not in self.shards[SYSTEM].context:
            # The id is new: a replica announces itself with the first transaction.
            self._telling.update(self.shards)
        for shard in self.shards.values():
            shard.proofs_fit = partial(self._proofs_fit, shard)
            shard.belong_to(self.replica, tells_all=shard.name in self._telling)
        self._is_loaded = True
        for name, context in stable.items():
            self.shards[name].stable = context
            self.shards[name].given_up = given_up[name]
        for shard in self.shards.values():
            # Rows that an earlier version has quarantined are not noted yet. Rows given up before the start are noted
            # again.
            shard.note_unreadable(shard.quarantined.keys() - shard.lacking.keys() - shard.given_up)
        self.watch(is_watched=self._is_watched)

    def watch(self, *, is_watched: bool) -> None:
        """Begin or stop collecting changes for watchers."""
        self._is_watched = is_watched
        for shard in self.shards.values():
            if not is_watched:
                shard.changed = None
            elif shard.changed is None:
                # Only if nothing is being collected: existing watchers must still be sent the changes of this batch.
                shard.changed = {}

    def take_changes(self, revision: int) -> list[Changes]:
        """Return what has changed since changes were last taken, and each shard's present context."""
        changes = []
        for name, shard in self.shards.items():
            if shard.changed is not None:
                context = held_below(shard.context, shard.lacking)
                unreadable = frozenset(shard.quarantined) if shard.quarantined else frozenset()
                has_dropped = shard.has_dropped
                changes.append(Changes(name, revision, shard.changed, context, shard.base, unreadable, has_dropped))
                shard.changed = {}
            shard.has_dropped = False
        return changes

    def tell(self, shard_name: str) -> None:
        """Let others hear of all writes of this replica in the shard from now on. Either it has compared with one of
        them and found no fault, or its id is new."""
        if shard_name not in self._telling:
            self._telling.add(shard_name)
            if shard_name in self.shards:
                self.shards[shard_name].tell_all()

    def misnames(self, reader: Reader, message: Delta | WalkRows | ValuePart) -> bool:
        """Return whether an arriving row names a write of this replica that it has made at another address or not at
        all.

        Such a name is in doubt, and the row here knows nothing of it. The replica may have told others of the name
        itself, after a first comparison with a member that did not know better.
        """
        shard, own = self.shards[message.shard], self.replica
        # A row drops entries that every member covers, and goes itself with its tombstone. Floors say up to where.
        settled = max(shard.certain, shard.floors.get(own, 0), shard.stable.get(own, 0))
        for address, row in message.rows:
            sequence = row.context.get(own, 0)
            if sequence > settled and address not in shard.quarantined and address not in shard.lacking:
                current = reader.row(message.shard, address)
                if current is None or current.context.get(own, 0) < sequence:
                    return True
        return False

    def renew(self, transaction: Transaction, replica: ReplicaId) -> None:
        """Continue under another replica id, because others know of writes under the present one that are not here.

        Either the data are an old copy, or another process runs on a copy of them. Names above the certain ones
        (`core/protocol/names.py`) may stand for other writes elsewhere. Versions here with such names are written again
        under the new id, with the same timestamps. Counterexample to new timestamps: an old value wins over a later one
        that was acknowledged elsewhere.
        """
        renounced, self.replica = self.replica, replica
        self.shards[USER].inherit([renounced], replica)
        for name, shard in self.shards.items():
            # Every listed member covered the marks when this replica did, so names up to the marks are kept. If one was
            # given up, no member could ever cover the marks again. Every member filled from here would be outdated.
            certain = max(shard.certain, shard.collected.marks.get(renounced, 0))
            shard.be_renewed(replica)
            after = certain
            while entries := list(islice(transaction.journal(name, renounced, after), RENAMED_AT_ONCE)):
                for entry in entries:
                    current = transaction.row(name, entry.address)
                    assert current is not None, "a journal entry names a row that is not there"
                    renamed = self._renamed(shard, current, renounced, certain)
                    shard.store(transaction, entry.address, current, renamed)
                after = entries[-1].sequence
            shard.withdraw(renounced, certain)
        self._telling.update(self.shards)

    def _renamed(self, shard: Shard, current: StoredRow, renounced: ReplicaId, certain: int) -> StoredRow:
        """Return the row with names of this replica for those versions of the renounced replica that are above the
        certain names.

        A row that keeps siblings still covers the certain names of the renounced replica. It may have replaced one of
        them, which must not come back beside its replacement. Other rows do not need that: what they replaced is
        outranked.
        """
        context = Context({origin: sequence for origin, sequence in current.context.items() if origin != renounced})
        if current.keeps_siblings and certain:
            context[renounced] = certain
        versions = []
        for version in current.versions:
            if version.dot.replica == renounced and version.dot.sequence > certain:
                version = version._replace(dot=shard.next_dot(self.replica))
                shard.advance(*version.dot)
            context.advance({version.dot.replica: version.dot.sequence})
            versions.append(version)
        return StoredRow(resolved(versions), context)

    def write(self, transaction: Transaction, shard_name: str, operation: Operation, now_ms: int) -> Result:
        """Put or delete one row, and return the result.

        Every write makes a new version, even if it repeats the value or deletes an absent row. Counterexample to
        skipping such a write: an older concurrent write elsewhere wins over it.
        """
        shard = self.shards[shard_name]
        address = operation.address
        current = transaction.row(shard_name, address)
        lost = shard.quarantined.get(address) if shard.quarantined else None
        if lost is not None and (operation.if_match is not None or operation.if_absent):
            return Declined(UNREADABLE, None, 0)
        table = address[: address.index(0)]
        keeps_siblings = shard_name == USER and table in self.tables.with_siblings
        if operation.seen is not None:
            # This comes before the condition: a member that is behind cannot tell whether the condition holds.
            seen = self._seen_here(shard, address, current, operation.seen, now_ms)
            if isinstance(seen, Declined):
                return seen
            operation = operation._replace(seen=seen)
        existed = current is not None and _is_found(current, now_ms, keeps_siblings=keeps_siblings)
        if not _condition_holds(operation, current, exists=existed):
            return NotMatched(current.etag if current is not None and existed else None)
        # A write in place of an unreadable row must outrank versions that are not known here, so it is last-write-wins.
        if keeps_siblings and lost is None:
            return self._write_beside(transaction, shard, operation, current, now_ms, existed=existed)
        above = current.winner.timestamp if current is not None else shard.collected.timestamp
        if operation.seen is not None:
            above = max(above, operation.seen.timestamp)
        dot = shard.next_dot(self.replica)
        version = Version(dot, self._clock.next(now_ms, above), operation.value, _expiry(operation, now_ms))
        if lost is not None or shard_name == SYSTEM or self.knows_settings or self.tables.has(table):
            row = _in_place_of(lost, written(current, version))
        else:
            row = written_for_any_table(current, version, operation.seen)
        if not is_carriable(RowCopy(address, row)) and not _only_makes_less(current, row):
            return Declined(ROW_TOO_LARGE, current.etag if current else None, len(current.versions) if current else 0)
        self._store_own(transaction, shard, address, current, row, dot)
        if shard_name == SYSTEM:
            self._follow((RowCopy(address, row),))
        return StoredWrite(dot, row.etag, existed, row)

    def _seen_here(
        self, shard: Shard, address: bytes, current: StoredRow | None, seen: Seen, now_ms: int
    ) -> Seen | Declined:
        """Return the part of what a writer has read that may enter the row, or decline if it names writes not known
        here.

        A context comes from a client, and may be forged. Counterexample to trusting it: it names the next write of
        another member. That write is acknowledged there, and superseded at every member that has this row. The copies
        of the row contradict each other permanently. So each write that the context names must be covered here. Of
        those, only what the copy here covers, or what every member covers, enters the row.

        A row that is lacking or unreadable is the exception. Its writes are covered here but not known, so the part
        that is covered is taken as it was given.
        """
        etag = current.etag if current is not None else None
        if milliseconds(seen.timestamp) > now_ms + self._clock_skew_ms_max:
            return Declined(CONTEXT_AHEAD, etag, 0)
        held = current.context if current is not None else Context()
        if not all(shard.context.covers(dot) or held.covers(dot) for dot in map(Dot._make, seen.context.items())):
            return Declined(CONTEXT_UNKNOWN, etag, 0)
        if address in shard.lacking or address in shard.quarantined:
            return seen
        return known_part(seen, current, shard.collected.marks, shard.collected.timestamp)

    def _write_beside(
        self,
        transaction: Transaction,
        shard: Shard,
        operation: Operation,
        current: StoredRow | None,
        now_ms: int,
        *,
        existed: bool,
    ) -> Result:
        """Write in a table that keeps siblings."""
        seen = operation.seen
        if seen is None and current is not None and (operation.names_versions or not existed):
            # Either the writer names what is here, or a reader finds nothing, so nothing has to be kept.
            seen = current.seen
        if seen is None and operation.value is None and existed:
            assert current is not None
            return Declined(CONTEXT_REQUIRED, current.etag, len(current.versions))
        above = max(current.winner.timestamp if current else shard.collected.timestamp, seen.timestamp if seen else 0)
        version = Version(
            shard.next_dot(self.replica),
            self._clock.next(now_ms, above),
            operation.value,
            _expiry(operation, now_ms),
            seen.siblings_above if seen else 0,
        )
        row = written_beside(current, version, seen)
        if len(row.versions) > max(self._siblings_max, len(current.versions) if current and seen else 0):
            return Declined(TOO_MANY_SIBLINGS, current.etag if current else None, len(row.versions) - 1)
        if not is_carriable(RowCopy(operation.address, row)) and not _only_makes_less(current, row):
            return Declined(ROW_TOO_LARGE, current.etag if current else None, len(row.versions) - 1)
        self._store_own(transaction, shard, operation.address, current, row, version.dot)
        return StoredWrite(version.dot, row.etag, existed, row)

    def expire(self, transaction: Transaction, shard_name: str, address: bytes, now_ms: int) -> None:
        """Turn the expired versions of a row, at least one, into a tombstone."""
        shard = self.shards[shard_name]
        current = transaction.row(shard_name, address)
        assert current is not None, "the index of expiries names a row that is not there"
        dot = shard.next_dot(self.replica)
        self._store_own(transaction, shard, address, current, expired(current, dot, now_ms), dot)

    def adopt(self, transaction: Transaction, shard_name: str, address: bytes, origin: ReplicaId) -> None:
        """Write the versions of an origin that is gone again, under names of this replica; see
        `core/upkeep/adoption.py`."""
        shard = self.shards[shard_name]
        current = transaction.row(shard_name, address)
        assert current is not None, "a row is adopted that is not there"
        context = Context(current.context)
        versions = []
        for version in current.versions:
            if version.dot.replica == origin:
                # Rank just above what it replaces, and no higher: a client's later write must outrank it.
                above = version.timestamp + (self.replica < origin)
                version = version._replace(dot=shard.next_dot(self.replica), timestamp=above)
                shard.advance(*version.dot)
                context.advance({version.dot.replica: version.dot.sequence})
            versions.append(version)
        shard.store(transaction, address, current, StoredRow(resolved(versions), context))

    def restamp(
        self, transaction: Transaction, shard_name: str, address: bytes, dots: frozenset[Dot], above: int, now_ms: int
    ) -> None:
        """Write these versions of this replica again with timestamps of the present; see `core/upkeep/restamping.py`.
        The timestamps are above `above` and above the row's other versions."""
        shard = self.shards[shard_name]
        current = transaction.row(shard_name, address)
        assert current is not None, "a row is stamped again that is not there"
        kept = [version for version in current.versions if version.dot not in dots]
        latest = timestamp_at(now_ms + self._clock_skew_ms_max)
        above = max([above, min(shard.collected.timestamp, latest), *(version.timestamp for version in kept)])
        for version in current.versions:
            if version.siblings_above is not None and version.siblings_above <= latest:
                above = max(above, version.siblings_above)
        below_all = above
        context = Context(current.context)
        # The row is in descending rank, and its versions keep their order.
        for version in reversed(current.versions):
            if version.dot not in dots:
                continue
            siblings_above = version.siblings_above
            above = timestamp = self._clock.next(now_ms, above)
            earlier_ms = milliseconds(version.timestamp) - milliseconds(timestamp)
            version = version._replace(
                dot=shard.next_dot(self.replica),
                timestamp=timestamp,
                expires_ms=None if version.expires_ms is None else max(1, version.expires_ms - earlier_ms),
                siblings_above=None if siblings_above is None else min(siblings_above, below_all),
            )
            shard.advance(*version.dot)
            context.advance({version.dot.replica: version.dot.sequence})
            kept.append(version)
        shard.store(transaction, address, current, StoredRow(resolved(kept), context))

    def _store_own(
        self,
        transaction: Transaction,
        shard: Shard,
        address: bytes,
        current: StoredRow | None,
        row: StoredRow,
        dot: Dot,
    ) -> None:
        """Store a row that contains this replica's next write, which has this dot."""
        shard.store(transaction, address, current, row)
        shard.advance(*dot)

    def take_in(
        self,
        transaction: Transaction,
        shard_name: str,
        copies: Iterable[RowCopy],
        now_ms: int,
        *,
        base: int = 0,
        is_repair: bool = False,
        is_behind: bool = False,
        authority: Authority | None = None,
    ) -> Intake:
        """Merge rows that arrived. A row that is refused changes nothing and does not affect the others.

        - `base`: the base that their sender omits.
        - `is_repair`: they come from a walk of a replica that covers this one's marks. So a value among them has not
          been deleted.
        - `is_behind`: their sender is not known to cover this one's marks. A version that is covered and not held here
          may have been deleted for good, so it is not taken in.
        - `authority`: the sender, if versions that it covers and does not hold are to be dropped.
        """
        shard = self.shards[shard_name]
        marks = shard.collected.marks
        superseded = self._superseded(shard, marks) if marks and is_behind else marks
        settled_there = shard.base.settled_at(base)
        intake = Intake()
        timestamp_max = 0
        for copy in copies:
            address, arrived = copy
            winner = arrived.winner
            latest_ms = now_ms + self._clock_skew_ms_max
            is_ahead = milliseconds(winner.timestamp) > latest_ms
            current = transaction.row(shard_name, address)
            if is_ahead and not _continues(current, winner, latest_ms):
                intake.refused.append(RefusedRow(tuple(arrived.context), CLOCK_SKEW, address, arrived.context))
                continue
            lost = shard.quarantined.get(address) if shard.quarantined else None
            is_lost = lost is not None or address in shard.lacking
            if marks:
                through = marks if is_lost else superseded
                news = without_collected(arrived, current, through, is_repair=is_repair or is_lost)
                if news is None:
                    continue
                arrived = news
            # What the sender omits counts even if nothing is omitted here. Counterexample: a volume was set back to
            # before a replica was retired. It does not cover all writes of the replica yet, and holds a version that
            # all others have superseded. Copies of the row no longer say so, and the version would stand beside them.
            if (settled_there or shard.base.number) and current is not None and current.keeps_siblings:
                news = without_settled(superseding(arrived, current, settled_there), current, shard.base.settled)
                if news is None:
                    continue
                arrived = news
            held = current
            if current is not None and authority is not None and self._yields(shard, address, authority):
                held = without_superseded(current, arrived.versions, authority.claim, self.replica)
            try:
                row = arrived if held is None else merge(held, arrived)
            except InconsistentRowError:
                intake.refused.append(RefusedRow(tuple(arrived.context), "inconsistent", address, arrived.context))
                continue
            if len(row.context) > self._origins_max and row != current:
                # Every member that takes in the row has to name all its origins.
                intake.refused.append(RefusedRow(tuple(arrived.context), TOO_MANY_ORIGINS, address))
                continue
            pairs = collisions(current, arrived) if current is not None else []
            for version, _ in pairs:
                self._note_collision(shard_name, version.dot, address)
            if row != current and not self._has_room_for(shard_name, row):
                intake.refused.append(RefusedRow(tuple(arrived.context), NO_ROOM))
                continue
            own = self._reissued(shard, address, current, row, pairs)
            if own is not None:
                row = own
                intake.has_written = True
            elif current is not None and row == current:
                continue
            if not is_ahead:
                timestamp_max = max(timestamp_max, winner.timestamp)
            if current is not None and not pairs:
                self._count_conflicts(shard_name, address, current, arrived, row)
            shard.store(transaction, address, current, row)
            if current is None or not row.has_same_versions(current):
                intake.changed.append(RowCopy(address, row))
        for dot, one, other in shard.collisions:
            for address in (one, other):
                self._note_collision(shard_name, dot, address)
        shard.collisions.clear()
        self._clock.observe(timestamp_max)
        if shard_name == SYSTEM:
            self._follow(intake.changed)
        return intake

    def _superseded(self, shard: Shard, marks: Context) -> Context:
        """Return the context up to which versions that are not held have been superseded here. For this replica's own
        names it ends at the marks: above, another process on a copy of the volume may have used the names."""
        covered = Context(shard.context)
        covered.pop(self.replica, None)
        return covered.joined(marks)

    def _yields(self, shard: Shard, address: bytes, authority: Authority) -> bool:
        """Return whether the peer's word on this row counts: neither side may lack anything of it."""
        return address not in shard.lacking and address not in authority.lacking

    def drop_superseded(
        self, transaction: Transaction, shard_name: str, addresses: Iterable[bytes], authority: Authority
    ) -> int:
        """Drop what the peer covers and does not hold from the rows at these addresses; return how many rows have
        changed. What this replica wrote stays."""
        shard = self.shards[shard_name]
        dropped = 0
        for address in addresses:
            row = transaction.row(shard_name, address)
            if row is not None and self._yields(shard, address, authority):
                kept = without_superseded(row, (), authority.claim, self.replica)
                if kept is not row:
                    shard.drop(transaction, address, row, kept)
                    dropped += 1
        return dropped

    def _reissued(
        self,
        shard: Shard,
        address: bytes,
        current: StoredRow | None,
        merged: StoredRow,
        pairs: list[tuple[Version, Version]],
    ) -> StoredRow | None:
        """Return the row with fresh dots for versions under a dot of this replica that it has given to another write;
        None if there are none.

        Another process has run on a copy of this volume. Its write was acknowledged, and so was the one here. Both are
        written again with their timestamps, in a row that covers the dot, so no copy under the old name wins over them.
        There are three exceptions:

        - A member's own record is left alone: the member announces itself again (`Replica`).
        - A write that the unreadable row here covered comes back as it was.
        - So does a tombstone that was collected here.
        """
        own = self.replica
        if own not in merged.context or address in self._own_records:
            return None
        lost, lack = shard.quarantined.get(address), shard.lacking.get(address)
        missing = Context() if lost is None else lost.context
        if lack is not None:
            missing = missing.joined(lack.through)
        held = {version.dot for version in current.versions} if current is not None else set()
        doubtful = {version.dot for version, _ in pairs if version.dot.replica == own}
        doubtful |= {
            version.dot
            for version in merged.versions
            if version.dot.replica == own
            and version.dot not in held
            and shard.context.covers(version.dot)
            and not missing.covers(version.dot)
            and not (version.is_tombstone and shard.collected.marks.covers(version.dot))
        }
        if not doubtful:
            return None
        kept = [version for version in merged.versions if version.dot not in doubtful or version.dot not in held]
        kept += [version for pair in pairs for version in pair if version.dot in doubtful]
        context = Context(merged.context)
        versions = resolved(kept)
        if not any(version.dot in doubtful for version in versions):
            return None
        named = []
        for version in versions:
            if version.dot in doubtful:
                self._note_collision(shard.name, version.dot, address)
                version = version._replace(dot=shard.next_dot(own))
                shard.advance(*version.dot)
                context.advance({own: version.dot.sequence})
            named.append(version)
        return StoredRow(resolved(named), context)

    def _note_collision(self, shard_name: str, dot: Dot, address: bytes) -> None:
        """Count and log a collision once: copies of it keep arriving until all members have the row that resolves
        it."""
        collision = (shard_name, dot, address)
        if collision in self._collisions:
            return
        if len(self._collisions) >= COLLISIONS_MAX:
            self._collisions.clear()
        self._collisions.add(collision)
        self._tally.anomalies[DOT_COLLISION] += 1
        self.outbox.say(
            Notice(
                "dot_collision",
                {"namespace": shard_name, "table": table_of(address), "row": _text(address), "dot": str(dot)},
            )
        )

    def _has_room_for(self, shard_name: str, row: StoredRow) -> bool:
        """Return whether a row that came in may be stored. Deletes and rows of `sys` are stored as long as anything is:
        they make room, or need little."""
        if self.room is Room.NONE:
            return False
        return self.room < Room.SPENT or shard_name == SYSTEM or not row.is_visible

    def _follow(self, changed: Iterable[RowCopy]) -> None:
        """Learn from changed rows of `sys`."""
        changed = list(changed)
        self.tables.follow(changed)
        if self.retired.follow(changed):
            for name, shard in self.shards.items():
                shard.rest_on(self.retired.base(name, shard.base))

    def settle(self, all_hold: Callable[[str, Dot], bool]) -> None:
        """Omit the retired replicas that every listed member knows to be retired, or that a peer omits. `all_hold` says
        whether every listed member holds a write."""
        for name, shard in self.shards.items():
            length = self.retired.settled_length(name, shard.base, shard.context, all_hold)
            if length > shard.base.length:
                shard.rest_on(shard.base.of_length(length))
            self._leave_out_as_heard(shard)

    def abridged(self, shard_name: str, context: Context) -> Context:
        """Return a context as it is sent."""
        return self.shards[shard_name].base.abridged(context)

    def abridged_proofs(self, shard_name: str, proofs: Proofs) -> Proofs:
        """Return proofs as they are sent. All retired replicas have written in `sys`, so its base names their ids."""
        ids = self.shards[SYSTEM].base.abridged_ids
        return tuple(
            [Proof(self.abridged(shard_name, marks), ids(listed), ids(known)) for marks, listed, known in proofs]
        )

    def resolved_proofs(self, shard_name: str, proofs: Proofs) -> Proofs:
        """Return proofs as their sender meant them, without those that cannot be completed: they prove nothing here."""
        ids = self.shards[SYSTEM].base.resolved_ids
        found = []
        for proof in proofs:
            marks, listed, known = self.resolved(shard_name, proof.marks), ids(proof.listed), ids(proof.known)
            if not isinstance(marks, Abridged) and listed is not None and known is not None:
                found.append(Proof(marks, listed, known))
        return tuple(found)

    def base_number(self, shard_name: str) -> int:
        """Return the number of what contexts of the shard omit; 0 if they omit nothing."""
        return self.shards[shard_name].base.number

    def resolved(self, shard_name: str, context: Context) -> Context:
        """Return a context as its sender meant it; as it was sent if its base is not recognised."""
        shard = self.shards[shard_name]
        if isinstance(context, Abridged):
            self._bases_heard[shard_name] = context.base
            self._leave_out_as_heard(shard)
        return shard.base.resolved(context)

    def _leave_out_as_heard(self, shard: Shard) -> None:
        """Omit what a peer omits, if that is more, and is recognised and covered here."""
        length = shard.base.length_of(self._bases_heard.get(shard.name, 0))
        if length is not None and length > shard.base.length:
            longer = shard.base.of_length(length)
            if longer.within(shard.context) is longer:
                shard.rest_on(longer)

    def _count_conflicts(
        self, shard_name: str, address: bytes, current: StoredRow, arrived: StoredRow, merged: StoredRow
    ) -> None:
        if losers := lost(current, arrived, merged):
            self._tally.count_conflicts(shard_name, table_of(address), losers)
        if len(merged.versions) > self._siblings_max >= len(current.versions):
            # Members accept writes independently of each other, so a merge may hold up to `siblings_max` of each.
            self._tally.siblings_over_limit += 1
            self.outbox.say(
                Notice(
                    "siblings_over_limit",
                    {"table": table_of(address), "row": _text(address), "siblings": len(merged.versions)},
                )
            )

    def note_lacking(
        self,
        shard_name: str,
        intake: Intake,
        told: Iterable[LackedRow] = (),
        claim: Context | None = None,
    ) -> list[bytes]:
        """Note rows as lacking that were refused or that the sender lacks, and return the addresses that were not
        lacking before.

        Call it before a range or a claim is covered; the noted rows then hold back nothing. With a claim, a refused row
        may have superseded any write that the claim covers, because a row does not name what every member covers.

        That a copy is held here does not show that nothing is missing, whatever its context covers. Counterexample: a's
        row cannot be read. A put takes its place, names all that was lost, and may rank lower. b pulls.
        """
        shard = self.shards[shard_name]
        held_back: list[RefusedRow] = []
        new: list[bytes] = []
        found = [(row, row.address, (claim or row.context or Context()), row.reason) for row in intake.refused]
        for lacked in told:
            row = RefusedRow(tuple(sorted(lacked.through)), ELSEWHERE)
            found.append((row, lacked.address, lacked.through, ELSEWHERE))
        for row, address, through, reason in found:
            if address is None or reason == CLOCK_SKEW or not through:
                held_back.append(row)
                continue
            lack = lack_of(through.items(), shard.context, reason)
            if lack is None:
                continue
            if address not in shard.lacking:
                new.append(address)
            if not shard.note_lack(address, lack):
                held_back.append(row)
                new.remove(address)
        intake.refused = held_back
        return new

    def cover(self, shard_name: str, ranges: dict[ReplicaId, Range], held_back: Intake) -> list[ReplicaId]:
        """Advance the context over the ranges whose rows have all been taken in, and return the origins that it
        advanced for. A range counts only as a whole, and only from an `after` that the context covers."""
        shard = self.shards[shard_name]
        advanced = []
        for origin, (after, through) in ranges.items():
            covered = shard.context.get(origin, 0)
            if after <= covered < through and not held_back.holds_back(origin) and self._admits(shard, origin):
                shard.advance(origin, through)
                advanced.append(origin)
        return advanced

    def adopt_claim(self, shard_name: str, claim: Context) -> None:
        """Cover what a walked peer covered, except origins for which the context has no room."""
        shard = self.shards[shard_name]
        for origin in sorted(claim):
            if claim[origin] > shard.context.get(origin, 0) and self._admits(shard, origin):
                shard.adopt(Context({origin: claim[origin]}))

    def has_room_for(self, shard: Shard, origins: Iterable[ReplicaId]) -> bool:
        """Return whether the context may name one of these origins. Messages hold a bounded number of entries; no
        member could read a larger context. A member's own writes, and those of other members, always count."""
        if shard.entries < self._origins_max:
            return True
        members = {self.replica, *self.members()}
        return any(origin in members or shard.has_entry(origin) for origin in origins)

    def _admits(self, shard: Shard, origin: ReplicaId) -> bool:
        """Return whether the context may name the origin; count and log a refusal."""
        if self.has_room_for(shard, (origin,)):
            return True
        self._tally.origins_refused[shard.name] += 1
        if shard.name not in self._told_full:
            self._told_full.add(shard.name)
            fields: dict[str, object] = {"namespace": shard.name, "origins": shard.entries, "reason": _CONTEXT_FULL}
            self.outbox.say(Notice("context_full", fields, is_warning=True))
        return False

    def _proofs_fit(self, shard: Shard, proofs: Proofs) -> bool:
        """Return whether messages can hold the proofs."""
        total = 0
        settled, base = self.shards[SYSTEM].base.settled.keys(), shard.base.settled.keys()
        for marks, listed, known in proofs:
            counts = [len(marks.keys() - base), len(listed - settled), len(known - settled)]
            if max(counts) > PROOF_IDS_MAX:
                return False
            total += sum(counts)
        return total <= PROOFS_IDS_MAX

    def save(self, transaction: Transaction) -> None:
        """Write what has changed in all shards, in the transaction of the rows."""
        for name, shard in self.shards.items():
            shard.save(transaction)
            for address in shard.replaced:
                fields: dict[str, object] = {"namespace": name, "table": table_of(address)}
                self.outbox.say(Notice("unreadable_row_replaced", {**fields, "row": key_of(address).decode()}))
            shard.replaced.clear()

    def collect(self, transaction: Transaction, shard_name: str, address: bytes, row: StoredRow) -> None:
        """Remove a tombstone. `Shard.note_collection` notes the proof in the same transaction."""
        assert not row.is_visible, "only tombstones are collected"
        self.shards[shard_name].remove(transaction, address, row)
        self._tally.tombstones_collected += 1

    @property
    def records_lacking(self) -> list[bytes]:
        """The addresses of rows of `sys.members` that are lacking. Their members may exist and are not listed."""
        return [address for address in self.shards[SYSTEM].lacking if table_of(address) == MEMBERS_TABLE]

    def is_outdated(self, shard_name: str, proofs: Proofs) -> bool:
        """Return whether these proofs say that rows here may have been deleted for good elsewhere."""
        shard = self.shards[shard_name]
        return is_outdated(proofs, self.replica, shard.collected.lineage, shard.context)

    def set_stable(self, shard_name: str, contexts: list[Context]) -> None:
        """Learn what every member covers: the common part of their contexts, this replica's included."""
        first, *others = contexts
        stable = Context(first)
        for other in others:
            for origin, _ in stable.excess(other):
                stable[origin] = other.get(origin, 0)
        self.shards[shard_name].stable = stable


_CONTEXT_FULL = (
    "the context names context_origins_max replicas; writes of further replicas that are not members are not covered"
)


def _continues(current: StoredRow | None, winner: Version, latest_ms: int) -> bool:
    """Return whether a version stamped too far ahead replaces one here that is stamped about as far ahead, and so makes
    nothing worse.

    Counterexample without this rule: the clocks of all members were ahead together and are set back. Every write to a
    row written before must be stamped above it. It would be refused until real time has caught up. The step is small,
    so a faulty sender cannot move a row far ahead.
    """
    if current is None or milliseconds(current.winner.timestamp) <= latest_ms:
        return False
    return winner.timestamp <= current.winner.timestamp + timestamp_at(CONTINUED_MS_MAX)


def _text(address: bytes) -> str:
    """Return the key of a row, for the log."""
    return key_of(address).decode()


def _in_place_of(lost: Quarantined | None, row: StoredRow) -> StoredRow:
    """Return the row that replaces an unreadable one everywhere: it covers all that the other covered."""
    return row if lost is None else StoredRow(row.versions, row.context.joined(lost.context))


def _is_found(current: StoredRow, now_ms: int, *, keeps_siblings: bool) -> bool:
    """Return whether a reader finds the row. If the last write wins, only the winner counts: the row may still hold
    what was written beside it."""
    return current.is_visible_at(now_ms) if keeps_siblings else current.winner.is_visible_at(now_ms)


def _condition_holds(operation: Operation, current: StoredRow | None, *, exists: bool) -> bool:
    if operation.if_absent and exists:
        return False
    if operation.if_match is None:
        return True
    if current is None or not exists:
        return False
    return "*" in operation.if_match or current.etag in operation.if_match


def _only_makes_less(current: StoredRow | None, row: StoredRow) -> bool:
    """Return whether a write leaves fewer versions and bytes in a row that merges have made too large."""
    return current is not None and all(
        after < before for after, before in zip(_measures(row), _measures(current), strict=True)
    )


def _measures(row: StoredRow) -> tuple[int, int]:
    return len(row.versions), sum([len(version.value or b"") for version in row.versions])


def _expiry(operation: Operation, now_ms: int) -> int | None:
    return None if operation.ttl_ms is None else now_ms + operation.ttl_ms
