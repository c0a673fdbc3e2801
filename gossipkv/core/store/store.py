"""The data of one replica: its shards, local writes into them, and rows taken in from others.

A step happens inside a storage transaction and sees the steps before it. Until the transaction has been committed,
nothing of it may leave the node.
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
    Row,
    Seen,
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
    Written,
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

ORIGINS_MAX = 8_192

RENAMED_AT_ONCE = 1_000
"""Journal entries that a renewal holds in memory."""

CONTINUED_MS_MAX = 1_000
"""How much later than the copy here a version may be stamped that is stamped too far ahead of the clock."""

COLLISIONS_MAX = 10_000
"""Collisions of dots that are remembered as logged."""


@dataclass(slots=True)
class Intake:
    """What became of rows that arrived."""

    changed: list[RowCopy] = field(default_factory=list)
    """Rows as they now stand, of those that changed."""
    refused: list[RefusedRow] = field(default_factory=list)
    has_written: bool = False
    """Whether rows came under dots of this replica that it has given to other writes, and were written again."""

    @property
    def lacked_room(self) -> bool:
        return any(row.reason == NO_ROOM for row in self.refused)

    def holds_back(self, origin: ReplicaId) -> bool:
        """Whether a refused row keeps the context from advancing over this origin's range."""
        return any(row.origins is None or origin in row.origins for row in self.refused)


class Authority(NamedTuple):
    """A peer whose marks the replica that walks it does not cover (`core/walk.py`). Versions that the peer covers and
    does not hold have been superseded."""

    claim: Context
    """What the peer covers."""
    lacking: frozenset[bytes]
    """The addresses of rows of which it may not hold all that it covers."""


class Store:
    """Shards by name, under one replica id and one clock."""

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
        """The replicas that the other members run as: their writes are covered whatever the bound on contexts."""
        self._told_full: set[str] = set()
        """Shards of which it has been logged that their context names as many replicas as it may."""
        self.room = Room.AMPLE
        """Of the storage, as of this transaction."""
        self.shards: dict[str, Shard] = {}
        self._is_watched = False
        self.tables = Tables()
        self.retired = Retired()
        self._bases_heard: dict[str, int] = {}
        """Per shard, what a peer has last left out."""
        self.outbox = outbox or Outbox()
        self._siblings_max = siblings_max
        self._tally = tally or Tally()
        self._telling: set[str] = set()
        """The shards of which others may hear of all writes of this replica."""
        self._is_loaded = False
        self._collisions: set[tuple[str, Dot, bytes]] = set()
        """By shard, dot and address: those that the log has been told of."""
        self._own_records = frozenset([address_of(MEMBERS_TABLE, own_member.encode())])
        self.sequences_at_start: dict[str, int] = {}
        """Per shard, this replica's last write before the process began."""
        self.knows_settings = False
        """Whether the settings of tables have been learned from others since the process began. Until then a table
        without settings here may keep siblings elsewhere."""
        self.has_met_others = False
        """Whether rows of `sys` had come from another replica when the process began."""
        self._clock = HybridClock(clock_skew_ms_max)
        self._clock_skew_ms_max = clock_skew_ms_max

    def load(self, reader: Reader) -> None:
        """Take the shards' state from storage, in place of what is in memory: at start, and after a failed commit.
        What is known to be stable, or to be held by no one, outlives it: that is knowledge of others."""
        stable = {name: shard.stable for name, shard in self.shards.items()}
        given_up = {name: shard.given_up for name, shard in self.shards.items()}
        self.shards = {name: Shard.load(reader, name) for name in NAMESPACES}
        self.tables.load(reader)
        self.retired.load(reader)
        for name, shard in self.shards.items():
            shard.load_base(stored_base(reader, name, self.retired))
        # What told of the settings may have been in the batch that failed. The next sync tells it again.
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
            # Those that an earlier version has quarantined are not noted, nor are those given up before the start.
            shard.note_unreadable(shard.quarantined.keys() - shard.lacking.keys() - shard.given_up)
        self.watch(is_watched=self._is_watched)

    def watch(self, *, is_watched: bool) -> None:
        """Collect changes from now on, or no longer."""
        self._is_watched = is_watched
        for shard in self.shards.values():
            if not is_watched:
                shard.changed = None
            elif shard.changed is None:
                # Who was watching already is still to be told of this batch.
                shard.changed = {}

    def take_changes(self, revision: int) -> list[Changes]:
        """What has changed since they were last taken, and how far each shard's context has come."""
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
        """Others may hear of all writes of this replica in the shard from now on: it has compared with one of them and
        found nothing wrong, or its id is new."""
        if shard_name not in self._telling:
            self._telling.add(shard_name)
            if shard_name in self.shards:
                self.shards[shard_name].tell_all()

    def misnames(self, reader: Reader, message: Delta | WalkRows | ValuePart) -> bool:
        """Whether a row that arrives names a write of this replica that it has made at another address or not at all:
        the name is in doubt, and the row here knows nothing of it. The replica may have told others of the name itself,
        after a first comparison with a member that did not know better."""
        shard, own = self.shards[message.shard], self.replica
        # A row forgets entries that every member covers, and is forgotten with its tombstone: floors tell up to where.
        settled = max(shard.certain, shard.floors.get(own, 0), shard.stable.get(own, 0))
        for address, row in message.rows:
            sequence = row.context.get(own, 0)
            if sequence > settled and address not in shard.quarantined and address not in shard.lacking:
                current = reader.row(message.shard, address)
                if current is None or current.context.get(own, 0) < sequence:
                    return True
        return False

    def renew(self, transaction: Transaction, replica: ReplicaId) -> None:
        """Go on under another replica id: others know of writes under the present one that are not here, so the data
        are an old copy, or another process runs on a copy of them. Names above the certain ones (`core/names.py`) may
        stand for other writes elsewhere. What bears them here is written again under the new id, as it was: with a new
        timestamp an old value would win over a later one that someone else was told is stored."""
        renounced, self.replica = self.replica, replica
        self.shards[USER].inherit([renounced], replica)
        for name, shard in self.shards.items():
            # Every listed member covered the marks when this replica did. Were such a name given up, no one would ever
            # cover the marks again, and all that is filled from here would be found outdated.
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

    def _renamed(self, shard: Shard, current: Row, renounced: ReplicaId, certain: int) -> Row:
        """The row with versions of its own for those of the renounced replica above the certain names.

        A row that keeps siblings goes on covering the certain names of the renounced replica: it may have replaced one
        of them, which must not come back beside what replaced it. Others do without: what was replaced is outranked.
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
        return Row(resolved(versions), context)

    def write(self, transaction: Transaction, shard_name: str, operation: Operation, now_ms: int) -> Result:
        """Put or delete one row. Every write makes a new version, one that repeats the value too: were it swallowed,
        an older concurrent write elsewhere could win over it. A delete of an absent row is a write for the same
        reason."""
        shard = self.shards[shard_name]
        address = operation.address
        current = transaction.row(shard_name, address)
        lost = shard.quarantined.get(address) if shard.quarantined else None
        if lost is not None and (operation.if_match is not None or operation.if_absent):
            return Declined(UNREADABLE, None, 0)
        table = address[: address.index(0)]
        keeps_siblings = shard_name == USER and table in self.tables.with_siblings
        if operation.seen is not None:
            # Before the condition: a member that is behind cannot tell whether it holds.
            seen = self._seen_here(shard, address, current, operation.seen, now_ms)
            if isinstance(seen, Declined):
                return seen
            operation = operation._replace(seen=seen)
        existed = current is not None and _is_found(current, now_ms, keeps_siblings=keeps_siblings)
        if not _condition_holds(operation, current, exists=existed):
            return NotMatched(current.etag if current is not None and existed else None)
        # What replaces an unreadable row must outrank what no one here can know: then the last write wins.
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
        return Written(dot, row.etag, existed, row)

    def _seen_here(self, shard: Shard, address: bytes, current: Row | None, seen: Seen, now_ms: int) -> Seen | Declined:
        """The part of what a writer has read that may enter the row; declined if it names writes not known here.

        A context comes from a client, and may be forged. Counterexample: it names the next write of another member.
        That write, acknowledged there, would be superseded at every member that has this row, and the copies of the
        row would contradict each other for good. So each write that it names must be covered here. Of those, only what
        the copy here covers, or what every member covers, enters the row.

        A row that is lacking or unreadable is the exception: its writes are covered here and not known, so what is
        covered is taken as it was given.
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
        current: Row | None,
        now_ms: int,
        *,
        existed: bool,
    ) -> Result:
        """A write in a table that keeps siblings."""
        seen = operation.seen
        if seen is None and current is not None and (operation.names_versions or not existed):
            # The writer names what is here; and where there is nothing to read, nothing is there to be kept.
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
        return Written(version.dot, row.etag, existed, row)

    def expire(self, transaction: Transaction, shard_name: str, address: bytes, now_ms: int) -> None:
        """Turn what has expired in a row, which is something, into a tombstone."""
        shard = self.shards[shard_name]
        current = transaction.row(shard_name, address)
        assert current is not None, "the index of expiries names a row that is not there"
        dot = shard.next_dot(self.replica)
        self._store_own(transaction, shard, address, current, expired(current, dot, now_ms), dot)

    def adopt(self, transaction: Transaction, shard_name: str, address: bytes, origin: ReplicaId) -> None:
        """Write the versions of an origin that is gone again, under names of this replica; see `core/adoption.py`."""
        shard = self.shards[shard_name]
        current = transaction.row(shard_name, address)
        assert current is not None, "a row is adopted that is not there"
        context = Context(current.context)
        versions = []
        for version in current.versions:
            if version.dot.replica == origin:
                # Just above what it replaces, and as little as can be: a client's later write must outrank it.
                above = version.timestamp + (self.replica < origin)
                version = version._replace(dot=shard.next_dot(self.replica), timestamp=above)
                shard.advance(*version.dot)
                context.advance({version.dot.replica: version.dot.sequence})
            versions.append(version)
        shard.store(transaction, address, current, Row(resolved(versions), context))

    def restamp(
        self, transaction: Transaction, shard_name: str, address: bytes, dots: frozenset[Dot], above: int, now_ms: int
    ) -> None:
        """Write versions of this replica again with timestamps of the present, above this one and above the row's other
        versions; see `core/restamping.py`."""
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
        shard.store(transaction, address, current, Row(resolved(kept), context))

    def _store_own(
        self, transaction: Transaction, shard: Shard, address: bytes, current: Row | None, row: Row, dot: Dot
    ) -> None:
        """Store a row with this replica's next write, which has this dot, in it."""
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
        """Merge rows that arrived. A row that is refused changes nothing and disturbs no other. `base`: what their
        sender leaves out. `is_repair`: they come from a walk of a replica that covers this one's marks, so a value
        among them has not been deleted. `is_behind`: their sender is not known to cover this one's marks, so a version
        among them that is covered and not held here may have been deleted for good. `authority`: the sender, if what it
        covers and does not hold is to be dropped."""
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
            if shard.base.number and current is not None and current.keeps_siblings:
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
                # Every member that takes it in has to name them all.
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
        """Up to where versions that are not held have been superseded here. Under names of this replica above the marks
        another process on a copy of the volume may have written."""
        covered = Context(shard.context)
        covered.pop(self.replica, None)
        return covered.joined(marks)

    def _yields(self, shard: Shard, address: bytes, authority: Authority) -> bool:
        """Whether the peer's word on this row counts: neither side may lack anything of it."""
        return address not in shard.lacking and address not in authority.lacking

    def drop_superseded(
        self, transaction: Transaction, shard_name: str, addresses: Iterable[bytes], authority: Authority
    ) -> int:
        """Drop what a peer covers of the rows at these addresses, which it does not hold. What this replica wrote
        stays. Returns how many rows have changed."""
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
        current: Row | None,
        merged: Row,
        pairs: list[tuple[Version, Version]],
    ) -> Row | None:
        """The row with fresh dots for the versions that stand under a dot of this replica and are not the write that it
        has given the dot to; None if there are none. Another process has run on a copy of this volume. Its write was
        acknowledged, and so was the one here: both are written again as they were, the timestamps too, in a row that
        covers the dot, so that no copy under the old name wins over them. A member's own record is left alone: the
        member announces itself again (`Replica`). A write that the unreadable row here covered comes back as it was; so
        does a tombstone that was collected here."""
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
        return Row(resolved(named), context)

    def _note_collision(self, shard_name: str, dot: Dot, address: bytes) -> None:
        """Count and log it once: its copies go on arriving until all members have the row that puts it right."""
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

    def _has_room_for(self, shard_name: str, row: Row) -> bool:
        """Whether a row that came in may be stored. What deletes, and what is the members' own, is stored as long as
        anything is: it makes room, or needs little."""
        if self.room is Room.NONE:
            return False
        return self.room < Room.SPENT or shard_name == SYSTEM or not row.is_visible

    def _follow(self, changed: Iterable[RowCopy]) -> None:
        """Learn from rows of `sys` as they now stand."""
        changed = list(changed)
        self.tables.follow(changed)
        if self.retired.follow(changed):
            for name, shard in self.shards.items():
                shard.rest_on(self.retired.base(name, shard.base))

    def settle(self, all_hold: Callable[[str, Dot], bool]) -> None:
        """Leave out of what is said and stored those retired replicas that every listed member knows to be retired, or
        that a peer leaves out. `all_hold`: whether every listed member holds a write."""
        for name, shard in self.shards.items():
            length = self.retired.settled_length(name, shard.base, shard.context, all_hold)
            if length > shard.base.length:
                shard.rest_on(shard.base.of_length(length))
            self._leave_out_as_heard(shard)

    def abridged(self, shard_name: str, context: Context) -> Context:
        """A context as it is sent."""
        return self.shards[shard_name].base.abridged(context)

    def abridged_proofs(self, shard_name: str, proofs: Proofs) -> Proofs:
        """Proofs as they are sent. All retired replicas have written in `sys`, so its base names their ids."""
        ids = self.shards[SYSTEM].base.abridged_ids
        return tuple(
            [Proof(self.abridged(shard_name, marks), ids(listed), ids(known)) for marks, listed, known in proofs]
        )

    def resolved_proofs(self, shard_name: str, proofs: Proofs) -> Proofs:
        """Proofs as they were meant. One that cannot be completed proves nothing here."""
        ids = self.shards[SYSTEM].base.resolved_ids
        found = []
        for proof in proofs:
            marks, listed, known = self.resolved(shard_name, proof.marks), ids(proof.listed), ids(proof.known)
            if not isinstance(marks, Abridged) and listed is not None and known is not None:
                found.append(Proof(marks, listed, known))
        return tuple(found)

    def base_number(self, shard_name: str) -> int:
        return self.shards[shard_name].base.number

    def resolved(self, shard_name: str, context: Context) -> Context:
        """A context as it was meant; as it was sent if its base is not recognised."""
        shard = self.shards[shard_name]
        if isinstance(context, Abridged):
            self._bases_heard[shard_name] = context.base
            self._leave_out_as_heard(shard)
        return shard.base.resolved(context)

    def _leave_out_as_heard(self, shard: Shard) -> None:
        """Leave out what a peer leaves out, if that is more, and is recognised and covered here."""
        length = shard.base.length_of(self._bases_heard.get(shard.name, 0))
        if length is not None and length > shard.base.length:
            longer = shard.base.of_length(length)
            if longer.within(shard.context) is longer:
                shard.rest_on(longer)

    def _count_conflicts(self, shard_name: str, address: bytes, current: Row, arrived: Row, merged: Row) -> None:
        if losers := lost(current, arrived, merged):
            self._tally.count_conflicts(shard_name, table_of(address), losers)
        if len(merged.versions) > self._siblings_max >= len(current.versions):
            # Members accept writes apart from each other, so a merge may hold up to `siblings_max` of each.
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
        """Before a range or a claim is covered: note the rows that were refused, and those that the sender lacks, as
        lacking; they hold back nothing then. Returns those that were not lacking before. With a claim, of which any
        write may have been superseded by a row that was refused: a row does not name what every member covers.

        A copy that is held here does not show that nothing is missing, whatever its context covers. Counterexample: a's
        row cannot be read, and a put takes its place, which names all that was lost and may rank lower; b pulls.
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
        """Advance the context over the ranges whose rows have all been taken in; returns the origins it advanced
        for. A range is all or nothing: it counts only from an `after` that the context covers."""
        shard = self.shards[shard_name]
        advanced = []
        for origin, (after, through) in ranges.items():
            covered = shard.context.get(origin, 0)
            if after <= covered < through and not held_back.holds_back(origin) and self._admits(shard, origin):
                shard.advance(origin, through)
                advanced.append(origin)
        return advanced

    def adopt_claim(self, shard_name: str, claim: Context) -> None:
        """Cover what a walked peer covered, but for origins for which there is no room in the context."""
        shard = self.shards[shard_name]
        for origin in sorted(claim):
            if claim[origin] > shard.context.get(origin, 0) and self._admits(shard, origin):
                shard.adopt(Context({origin: claim[origin]}))

    def has_room_for(self, shard: Shard, origins: Iterable[ReplicaId]) -> bool:
        """Whether the context may name one of these origins. Messages hold a bounded number of entries: a member whose
        context had more could not be understood. A member's own writes, and those of other members, always count."""
        if shard.entries < self._origins_max:
            return True
        members = {self.replica, *self.members()}
        return any(origin in members or shard.has_entry(origin) for origin in origins)

    def _admits(self, shard: Shard, origin: ReplicaId) -> bool:
        """Like `has_room_for`; counts and logs what is refused."""
        if self.has_room_for(shard, (origin,)):
            return True
        self._tally.origins_refused[shard.name] += 1
        if shard.name not in self._told_full:
            self._told_full.add(shard.name)
            fields: dict[str, object] = {"namespace": shard.name, "origins": shard.entries, "reason": _CONTEXT_FULL}
            self.outbox.say(Notice("context_full", fields, is_warning=True))
        return False

    def _proofs_fit(self, shard: Shard, proofs: Proofs) -> bool:
        """Whether messages can hold the proofs."""
        total = 0
        settled, base = self.shards[SYSTEM].base.settled.keys(), shard.base.settled.keys()
        for marks, listed, known in proofs:
            counts = [len(marks.keys() - base), len(listed - settled), len(known - settled)]
            if max(counts) > PROOF_IDS_MAX:
                return False
            total += sum(counts)
        return total <= PROOFS_IDS_MAX

    def save(self, transaction: Transaction) -> None:
        for name, shard in self.shards.items():
            shard.save(transaction)
            for address in shard.replaced:
                fields: dict[str, object] = {"namespace": name, "table": table_of(address)}
                self.outbox.say(Notice("unreadable_row_replaced", {**fields, "row": key_of(address).decode()}))
            shard.replaced.clear()

    def collect(self, transaction: Transaction, shard_name: str, address: bytes, row: Row) -> None:
        """Forget a tombstone. The proof is noted by `note_collection` of the shard, in the same transaction."""
        assert not row.is_visible, "only tombstones are collected"
        self.shards[shard_name].remove(transaction, address, row)
        self._tally.tombstones_collected += 1

    def is_outdated(self, shard_name: str, proofs: Proofs) -> bool:
        """Whether rows here may be deleted for good elsewhere, by a replica with these proofs."""
        shard = self.shards[shard_name]
        return is_outdated(proofs, self.replica, shard.collected.lineage, shard.context)

    def set_stable(self, shard_name: str, contexts: list[Context]) -> None:
        """Learn what every member covers: the least of their contexts."""
        first, *others = contexts
        self.shards[shard_name].stable = Context(
            {origin: min([sequence, *(other.get(origin, 0) for other in others)]) for origin, sequence in first.items()}
        )


_CONTEXT_FULL = (
    "writes of more replicas than context_origins_max are known; those of others that are not members are not covered"
)


def _continues(current: Row | None, winner: Version, latest_ms: int) -> bool:
    """Whether a version that is stamped too far ahead replaces one here that is stamped about as far ahead, so that it
    makes nothing worse. Counterexample without this rule: the clocks of all members were ahead together and are set
    back; every write to a row written before must be stamped above it, and would be refused until real time has caught
    up. The step is small, so that a faulty sender does not move a row far ahead."""
    if current is None or milliseconds(current.winner.timestamp) <= latest_ms:
        return False
    return winner.timestamp <= current.winner.timestamp + timestamp_at(CONTINUED_MS_MAX)


def _text(address: bytes) -> str:
    """The key of a row, for the log."""
    return key_of(address).decode()


def _in_place_of(lost: Quarantined | None, row: Row) -> Row:
    """The row that replaces an unreadable one, everywhere: it covers all that the other covered."""
    return row if lost is None else Row(row.versions, row.context.joined(lost.context))


def _is_found(current: Row, now_ms: int, *, keeps_siblings: bool) -> bool:
    """Whether a reader finds the row. Where the last write wins, a row may still hold what was written beside it."""
    return current.is_visible_at(now_ms) if keeps_siblings else current.winner.is_visible_at(now_ms)


def _condition_holds(operation: Operation, current: Row | None, *, exists: bool) -> bool:
    if operation.if_absent and exists:
        return False
    if operation.if_match is None:
        return True
    if current is None or not exists:
        return False
    return "*" in operation.if_match or current.etag in operation.if_match


def _only_makes_less(current: Row | None, row: Row) -> bool:
    """Whether a row that merges have left too large has fewer versions and bytes after a write."""
    return current is not None and all(
        after < before for after, before in zip(_measures(row), _measures(current), strict=True)
    )


def _measures(row: Row) -> tuple[int, int]:
    return len(row.versions), sum([len(version.value or b"") for version in row.versions])


def _expiry(operation: Operation, now_ms: int) -> int | None:
    return None if operation.ttl_ms is None else now_ms + operation.ttl_ms
