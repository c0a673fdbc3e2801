"""One shard of one replica: its rows, and everything that is derived from them.

Rows change only in `store` and `remove`. In the same transaction, they also update

- the journal: for every entry `(origin, sequence)` of a row's context, `journal[(origin, sequence)] = address`, and no
  other entries. A row that is overwritten takes its entry with it to the new sequence. Two rows can have one dot only
  through processes on copies of one volume. Then the journal names the later row, and the floor rises to the dot;
- the index of expiries, with an entry for each time at which a value of a row expires;
- the index of tombstones, with an entry for each deleted row, by time of deletion;
- the fingerprint table and the counts per table.

The context obeys I2: it advances over a range of an origin's writes only when the rows of the whole range are held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from gossipkv.core.model.address import SYSTEM, is_address, is_table_name
from gossipkv.core.model.causality import HASH_END, Context, Dot, ReplicaId, entry_hash
from gossipkv.core.model.collected import NOTHING_COLLECTED, Collected, Proof, Proofs
from gossipkv.core.model.fingerprint import PAGE_BYTES, PAGES, FingerprintTable, leaf_of
from gossipkv.core.model.lacking import (
    LACKING_ORIGINS_MAX,
    LACKING_ROWS_MAX,
    UNREADABLE,
    Lack,
    LackedRow,
    Lacking,
    through_of,
    unnamed,
)
from gossipkv.core.model.row import StoredRow, without_retired, without_stable
from gossipkv.core.protocol.base import NO_BASE, Base
from gossipkv.core.protocol.messages import Digest
from gossipkv.core.protocol.names import Names
from gossipkv.core.store.storage import (
    DAMAGE_REMEDY,
    EXPIRIES,
    FIRST_DEADLINE,
    TOMBSTONES,
    Counts,
    Deadline,
    Quarantined,
    Reader,
    ShardRecord,
    StorageError,
    Transaction,
)
from gossipkv.rows.arguments.limits import TIME_MS_MAX


class Collision(NamedTuple):
    """Two rows with one dot: two processes have run on copies of one volume."""

    dot: Dot
    one: bytes
    other: bytes
    """Each is the address of a row."""


AHEAD_ENTRIES_MAX = 1_000
"""Maximum number of journal entries above the context that `is_ahead` examines, per origin."""


class Shard:
    """The state of a shard that one replica keeps in memory; rows and journal stay in storage."""

    def __init__(self, name: str, context: Context, floors: Context, tables: dict[str, Counts]) -> None:
        self.name = name
        self.context = context
        self.floors = floors
        self.base = NO_BASE
        """What messages and records omit from contexts of this shard."""
        self._base_changed = False
        self._entries: int | None = None
        """The number of entries that messages name; None until it is counted again."""
        self.proofs_fit: Callable[[Proofs], bool] = _fit_always
        """Whether a message can hold these proofs."""
        self._hashed: tuple[Collected, int] | None = None
        self._context_hash = context.digest()
        self._hashed_at: dict[ReplicaId, int] = {}
        """The value in the hash of each entry that has changed since the hash was last asked for."""
        self.stable = Context()
        """What every member covers, as far as this one knows. Rows may drop entries up to there."""
        self.fingerprint = FingerprintTable()
        self._counts = {table.encode(): list(counts) for table, counts in tables.items()}
        self.rows = sum(counts.rows for counts in tables.values())
        """The number of visible rows in all tables."""
        self._changed_tables: set[bytes] = set()
        self._record_changed = False
        self.collected = NOTHING_COLLECTED
        self._collected_changed = False
        self.quarantined: dict[bytes, Quarantined] = {}
        """Rows that cannot be read, by address. They count in nothing that is derived from rows."""
        self.replaced: list[bytes] = []
        """Addresses of quarantined rows that have been replaced since the last save of the store."""
        self.given_up: set[bytes] = set()
        """Addresses of quarantined rows that are no longer lacking: since the process began, no listed member has had a
        copy."""
        self.lacking: Lacking = {}
        """Rows that are not held although the context covers them. Only the methods below change it."""
        self.lacking_through = Context()
        """The context up to which writes may be missing."""
        self._lacking_changed = False
        self.changed: dict[bytes, StoredRow] | None = None
        """Rows stored since changes were last taken, as they now stand; None while nobody watches."""
        self.has_dropped = False
        """Whether rows have been dropped without an event for watchers since changes were last taken."""
        self.replica: ReplicaId | None = None
        """The id of this replica."""
        self.names: Names | None = None
        """See `core/protocol/names.py`; None until it is known which replica this is."""
        self.tells_all = False
        """Whether others may hear of all writes of this replica."""
        self.collisions: list[Collision] = []
        """The collisions found since they were last taken."""

    @classmethod
    def load(cls, reader: Reader, name: str) -> Shard:
        """Return the shard as it is stored, without its base. Raises StorageError if a page of the fingerprint is
        damaged."""
        record = reader.shard_record(name) or ShardRecord(Context(), Context())
        shard = cls(name, Context(record.context), Context(record.floors), reader.table_counts(name))
        shard.collected = _collected(reader, name)
        if record.told is not None and record.certain is not None:
            shard.names = Names(record.told, record.certain)
        shard.lacking = reader.lacking(name)
        shard.lacking_through = through_of(shard.lacking)
        for page, content in reader.pages(name):
            if page >= PAGES or len(content) != PAGE_BYTES:
                raise StorageError(f"a page of the fingerprint of {name} cannot be decoded{DAMAGE_REMEDY}")
            shard.fingerprint.load_page(page, content)
        shard.quarantined = dict(reader.quarantined(name))
        return shard

    def belong_to(self, replica: ReplicaId, *, tells_all: bool) -> None:
        """Use the stored names as this replica's. Data of format 3 have none: then others may know of all that is here,
        and no name is in doubt."""
        self.replica = replica
        if self.names is None:
            self.names = Names(self.last_own, self.last_own)
        if tells_all:
            self.tell_all()

    def tell_all(self) -> None:
        """Let others hear of all writes of this replica from now on. This is stored with the batch in which they may
        first hear of them."""
        self._record_changed |= self.last_own > self.told
        self.tells_all = True

    def be_renewed(self, replica: ReplicaId) -> None:
        """Continue under a new id that no other replica has."""
        self.replica, self.names, self.tells_all = replica, Names(0, 0), True
        self._record_changed = True

    @property
    def last_own(self) -> int:
        """The sequence of this replica's last write; 0 if there is none."""
        return 0 if self.replica is None else self.context.get(self.replica, 0)

    @property
    def told(self) -> int:
        """The last write of this replica that others may have heard of from it."""
        return self.last_own if self.tells_all or self.names is None else self.names.told

    @property
    def certain(self) -> int:
        """The last write of this replica whose name is not in doubt."""
        return self.last_own if self.names is None else self.names.certain

    def note_certain(self, sequence: int) -> None:
        """Record that names up to this one are not in doubt. The record is stored with its next change. If it is lost
        until then, a renewal gives up more names than necessary."""
        assert self.names is not None, "a shard belongs to a replica before it is compared"
        self.names = self.names._replace(certain=max(sequence, self.names.certain))

    @property
    def shown(self) -> Context:
        """The context that others are told."""
        told = self.told
        if self.replica is None or self.last_own <= told:
            return self.context
        shown = Context(self.context)
        del shown[self.replica]
        if told:
            shown[self.replica] = told
        return shown

    @property
    def totals(self) -> Counts:
        """The counts over all tables."""
        return Counts(*map(sum, zip(*self._counts.values(), strict=True))) if self._counts else Counts()

    @property
    def tables(self) -> dict[str, Counts]:
        """The counts of each table that holds anything."""
        return {table.decode(): Counts(*counts) for table, counts in self._counts.items()}

    def next_dot(self, replica: ReplicaId) -> Dot:
        """Return the name of this replica's next write. The context is durable with the rows, so a committed sequence
        is never given out again (I3)."""
        return Dot(replica, self.context.get(replica, 0) + 1)

    def advance(self, origin: ReplicaId, through: int) -> None:
        """Cover an origin's writes up to `through`. The caller holds them all, or what superseded them."""
        covered = self.context.get(origin, 0)
        if through > covered:
            self._note(origin, covered)
            self.context[origin] = through
            if self._entries is not None:
                self._entries += covered <= self.base.settled.get(origin, 0) < through

    def has_entry(self, origin: ReplicaId) -> bool:
        """Return whether messages about the context name this origin."""
        return self.context.get(origin, 0) > self.base.settled.get(origin, 0)

    @property
    def entries(self) -> int:
        """The number of origins that messages about the context name."""
        if self._entries is None:
            self._entries = len(self.unsettled())
        return self._entries

    def withdraw(self, origin: ReplicaId, through: int) -> None:
        """Cover this origin's writes only up to `through`: the later names here stand for other writes elsewhere. Rows
        that were written again have taken earlier entries out of the journal, so the floor rises to `through`."""
        self._note(origin, self.context.pop(origin, 0))
        self._entries = None
        if through:
            self.context[origin] = through
            self.floors[origin] = max(through, self.floors.get(origin, 0))
        self.rest_on(self.base.within(self.context))

    def _note(self, origin: ReplicaId, before: int) -> None:
        """Note that an entry of the context changes from this sequence."""
        self._hashed_at.setdefault(origin, before)
        self._record_changed = True

    def rest_on(self, base: Base) -> None:
        """Omit what this base omits; the context covers it. The journal then serves no peer that lacks it."""
        former, self.base = self.base, base
        self._entries = None
        if base.number == former.number:
            return
        self.floors.advance(base.settled)
        self._record_changed = self._base_changed = True

    def unsettled(self) -> list[ReplicaId]:
        """Return the replicas that the context names beside its base."""
        return [origin for origin, _ in self.context.excess(self.base.settled)]

    def load_base(self, base: Base) -> None:
        """Take the base of the stored record."""
        self.base = base
        self._entries = None

    def adopt(self, context: Context) -> None:
        """Cover what a walked peer covered. The journal has no entries for rows that were equal already. It cannot
        serve peers below this context, so the floor rises to it."""
        for origin, sequence in context.items():
            if sequence > self.context.get(origin, 0):
                self.advance(origin, sequence)
                self.floors[origin] = max(self.floors.get(origin, 0), sequence)

    def store(self, transaction: Transaction, address: bytes, old: StoredRow | None, new: StoredRow) -> None:
        """Store a row in place of its old copy."""
        new = self._without_retired(old, self._without_stable(new))
        self._move_journal(transaction, address, old, new)
        leaf = self.fingerprint.replace(address, old.versions if old else (), new.versions)
        self._count(address, old, new)
        self._move_deadlines(transaction, address, old, new)
        transaction.put_row(self.name, address, new, leaf, is_new=old is None)
        if self.quarantined and self.quarantined.pop(address, None) is not None:
            # Only a peer can say whether the row is still lacking: the new copy may be older than the lost one.
            self.given_up.discard(address)
            transaction.release(self.name, address)
            self.replaced.append(address)
        if self.changed is not None:
            self.changed[address] = new

    def remove(self, transaction: Transaction, address: bytes, old: StoredRow) -> None:
        """Remove a row and everything derived from it. The journal can no longer serve a peer that does not cover what
        the row covered."""
        for origin, sequence in old.context.items():
            transaction.delete_journal(self.name, origin, sequence, address)
        self._raise_floors(old.context)
        leaf = self.fingerprint.replace(address, old.versions, ())
        self._count(address, old, None)
        self._move_deadlines(transaction, address, old, None)
        transaction.delete_row(self.name, address, leaf)

    def drop(self, transaction: Transaction, address: bytes, old: StoredRow, kept: StoredRow | None) -> None:
        """Keep only this part of a row: the rest was deleted for good elsewhere. Watchers may have been told of the
        deletion."""
        self.has_dropped = True
        if kept is not None:
            self.store(transaction, address, old, StoredRow(kept.versions, old.context))
            return
        self.remove(transaction, address, old)
        if self.changed is not None:
            self.changed.pop(address, None)

    def drop_entry(self, transaction: Transaction, address: bytes, row: StoredRow, origin: ReplicaId) -> None:
        """Remove an origin from a row's context: every member holds what has superseded its writes."""
        context = Context(row.context)
        del context[origin]
        self._raise_floors(Context({origin: row.context[origin]}))
        self.store(transaction, address, row, StoredRow(row.versions, context))

    def quarantine(self, transaction: Transaction, found: Mapping[bytes, str]) -> None:
        """Remove unreadable rows from everything that is derived from rows, and note that they are lacking. `found` has
        the reason for each.

        What each row covered is read from the journal, which has an entry for all of it. So this costs a scan of the
        journal and of the tables concerned. Raises UnreadableRowError if another row cannot be read.
        """
        contexts = self._journalled(transaction, found)
        self._drop_deadlines(transaction, found)
        for address in sorted(found):
            held = Quarantined(found[address], contexts[address])
            for origin, sequence in held.context.items():
                transaction.delete_journal(self.name, origin, sequence, address)
            transaction.quarantine(self.name, address, leaf_of(address), held)
            self.quarantined[address] = held
        for leaf in sorted({leaf_of(address) for address in found}):
            self._sum_again(transaction, leaf)
        for table in sorted({address.partition(b"\0")[0] for address in found}):
            self._count_again(transaction, table)
        self.note_unreadable(found)

    def _journalled(self, transaction: Transaction, found: Mapping[bytes, str]) -> dict[bytes, Context]:
        contexts = {address: Context() for address in found}
        for origin in sorted(transaction.journal_heads(self.name)):
            for entry in transaction.journal(self.name, origin, 0):
                if entry.address in contexts:
                    contexts[entry.address][origin] = entry.sequence
        return contexts

    def _drop_deadlines(self, transaction: Transaction, found: Mapping[bytes, str]) -> None:
        for index in (EXPIRIES, TOMBSTONES):
            entries = transaction.deadlines(self.name, index, FIRST_DEADLINE, TIME_MS_MAX)
            for deadline in [entry for entry in entries if entry.address in found]:
                transaction.delete_deadline(self.name, index, deadline)

    def _sum_again(self, transaction: Transaction, leaf: int) -> None:
        table = FingerprintTable()
        for address in list(transaction.leaf(self.name, leaf)):
            row = transaction.row(self.name, address)
            if row is not None:
                table.replace(address, (), row.versions)
        self.fingerprint.set_leaf(leaf, table.leaf(leaf))

    def _count_again(self, transaction: Transaction, table: bytes) -> None:
        if not is_table_name(table.decode(errors="replace")):
            return
        counts = self._counts[table] = [0, 0, 0]
        for address, row in transaction.rows(self.name, table + b"\0", table + b"\1"):
            _weigh(counts, len(address) - len(table) - 1, row, 1)
        self._changed_tables.add(table)

    def note_collection(self, proof: Proof, timestamp: int, settled: Context) -> None:
        """Note that tombstones have been collected; see `Collected.extended`."""
        self._keep_collected(self.collected.extended(proof, timestamp, settled, self.proofs_fit))

    def note_timestamp(self, timestamp: int) -> None:
        """Outrank, from now on, tombstones that others have collected."""
        self._keep_collected(self.collected._replace(timestamp=max(timestamp, self.collected.timestamp)))

    def adopt_proofs(self, proofs: Proofs) -> None:
        """Adopt those proofs of a peer that are covered here and fit into a message."""
        self._keep_collected(self.collected.adopting(proofs, self.context, self.proofs_fit))

    def inherit(self, replicas: Iterable[ReplicaId], own: ReplicaId) -> None:
        """Note that the data descend from these replicas as well."""
        self._keep_collected(self.collected.inheriting(replicas, own))

    def _keep_collected(self, collected: Collected) -> None:
        if collected != self.collected:
            self.collected = collected
            self._collected_changed = True

    def _raise_floors(self, context: Context) -> None:
        if not self.floors.covers_all(context):
            self.floors.advance(context)
            self._record_changed = True

    def _without_stable(self, row: StoredRow) -> StoredRow:
        if not self.stable or len(row.context) == 1:
            return row
        kept = without_stable(row, self.stable)
        self._raise_floors(Context({o: sequence for o, sequence in row.context.items() if o not in kept.context}))
        return kept

    def _without_retired(self, old: StoredRow | None, new: StoredRow) -> StoredRow:
        return without_retired(old, new, self.base.settled, self.stable) if len(new.context) > 1 else new

    def _move_journal(self, transaction: Transaction, address: bytes, old: StoredRow | None, new: StoredRow) -> None:
        before = old.context if old else Context()
        for origin, sequence in before.items():
            if new.context.get(origin) != sequence:
                transaction.delete_journal(self.name, origin, sequence, address)
        for origin, sequence in new.context.items():
            if before.get(origin) != sequence:
                other = transaction.put_journal(self.name, origin, sequence, address)
                if other is not None and not any(version.dot == (origin, sequence) for version in new.versions):
                    # Here the entry only says what was replaced. In the other row it names a version, so that row keeps
                    # it.
                    transaction.put_journal(self.name, origin, sequence, other)
                    self._raise_floors(Context({origin: sequence}))
                elif other is not None:
                    # The journal no longer has an entry for the other row, and must not serve peers that lack it.
                    self._raise_floors(Context({origin: sequence}))
                    self.collisions.append(Collision(Dot(origin, sequence), other, address))

    def _move_deadlines(
        self, transaction: Transaction, address: bytes, old: StoredRow | None, new: StoredRow | None
    ) -> None:
        before = _deadlines(old) if old else _NO_DEADLINES
        after = _deadlines(new) if new else _NO_DEADLINES
        if before != after:
            for index, at_ms in sorted(before - after):
                transaction.delete_deadline(self.name, index, Deadline(at_ms, address))
            for index, at_ms in sorted(after - before):
                transaction.put_deadline(self.name, index, Deadline(at_ms, address))

    def _count(self, address: bytes, old: StoredRow | None, new: StoredRow | None) -> None:
        table = address[: address.index(0)]
        counts = self._counts.get(table)
        if counts is None:
            counts = self._counts[table] = [0, 0, 0]
        key_bytes = len(address) - len(table) - 1
        before = counts[0]
        if old is not None:
            _weigh(counts, key_bytes, old, -1)
        if new is not None:
            _weigh(counts, key_bytes, new, 1)
        self.rows += counts[0] - before
        self._changed_tables.add(table)

    def note_lack(self, address: bytes, lack: Lack) -> bool:
        """Note that a row is lacking; return whether there was room for it."""
        held = self.lacking.get(address)
        if held is None and len(self.lacking) >= LACKING_ROWS_MAX:
            return False
        if len(self.lacking_through.keys() | lack.through.keys()) > LACKING_ORIGINS_MAX:
            return False
        self._set_lacking(self.lacking | {address: held.joined(lack) if held else lack})
        return True

    def note_unreadable(self, addresses: Iterable[bytes]) -> None:
        """Note that quarantined rows are lacking. A row without a valid address is not noted: no message can name it,
        so no member can send it."""
        lacking = dict(self.lacking)
        for address in sorted(addresses):
            covered = self.quarantined[address].context
            if covered and is_address(address):
                lack = Lack(Context(covered), Context(), UNREADABLE)
                lacking[address] = lacking[address].joined(lack) if address in lacking else lack
                self.given_up.discard(address)
        if lacking != self.lacking:
            self._set_lacking(lacking)

    def give_up(self, address: bytes) -> None:
        """Note that no member has a copy of a quarantined row: no disk holds what is missing of it."""
        self.given_up.add(address)
        self.clear_lack(address)

    def clear_lack(self, address: bytes) -> None:
        """Note that nothing of the row is missing any longer."""
        self._set_lacking({a: lack for a, lack in self.lacking.items() if a != address})

    def _set_lacking(self, lacking: Lacking) -> None:
        self.lacking = lacking
        self.lacking_through = through_of(lacking)
        self._lacking_changed = True

    def holds(self, dot: Dot) -> bool:
        """Return whether the write, or what superseded it, is certainly here."""
        return self.context.covers(dot) and not self.lacking_through.covers(dot)

    def is_whole(self, address: bytes) -> bool:
        """Return whether this copy of a row can be read and misses nothing. True for a row that never existed."""
        return address not in self.lacking and address not in self.quarantined

    def missing_of(self, address: bytes) -> Context:
        """Return the context up to which writes to a row may be missing; empty if it is whole."""
        lack, unreadable = self.lacking.get(address), self.quarantined.get(address)
        through = Context() if lack is None else lack.through
        return through if unreadable is None else through.joined(unreadable.context)

    def lacked_rows(self) -> tuple[LackedRow, ...]:
        """Return the lacking rows that a message names: the first LACKING_ROWS_MAX."""
        return tuple([LackedRow(a, lack.through) for a, lack in islice(self.lacking.items(), LACKING_ROWS_MAX)])

    @property
    def unnamed(self) -> Context:
        """The context up to which writes may be missing from rows that no message names."""
        if len(self.lacking) <= LACKING_ROWS_MAX:
            return Context()
        return unnamed(self.lacking_through, self.lacked_rows())

    def save(self, transaction: Transaction) -> None:
        """Write what has changed since the last save, in the transaction of the rows that it describes."""
        if self._base_changed:
            transaction.put_settled(self.name, self.base.settled)
            self._base_changed = False
        if self._record_changed:
            if self.names is not None:
                self.names = self.names._replace(told=self.told)
            transaction.put_shard_record(self.name, self.record())
            self._record_changed = False
        if self._collected_changed:
            transaction.put_collected(self.name, self.collected)
            self._collected_changed = False
        if self._lacking_changed:
            transaction.put_lacking(self.name, self.lacking)
            self._lacking_changed = False
        for table in sorted(self._changed_tables):
            counts = self._counts[table]
            transaction.put_table_counts(self.name, table.decode(), Counts(*counts))
            if not any(counts):
                del self._counts[table]
        self._changed_tables.clear()
        for page, content in self.fingerprint.take_dirty_pages():
            transaction.put_page(self.name, page, content)

    def _proofs_hash(self) -> int:
        """Return the hash of the proofs. It is computed once per value, because it covers every replica that has ever
        existed."""
        if self._hashed is None or self._hashed[0] is not self.collected:
            self._hashed = self.collected, self.collected.digest()
        return self._hashed[1]

    def _shown_hash(self) -> int:
        """Return the hash of the context that others are told."""
        # Entries change far more often than the hash is asked for, so the hash is brought up to date only here.
        for origin, before in self._hashed_at.items():
            self._context_hash += entry_hash(origin, self.context.get(origin, 0)) - entry_hash(origin, before)
        self._context_hash %= HASH_END
        self._hashed_at.clear()
        told, last = self.told, self.last_own
        if self.replica is None or last <= told:
            return self._context_hash
        return (self._context_hash + entry_hash(self.replica, told) - entry_hash(self.replica, last)) % HASH_END

    def record(self) -> ShardRecord:
        """Return the record to be stored; it omits what is settled."""
        settled = self.base.settled
        return ShardRecord(_above(self.context, settled), _above(self.floors, settled), *(self.names or ()))

    def digest(self, reader: Reader) -> Digest:
        """Return the summary that others compare with theirs."""
        totals = self.totals
        return Digest(
            self.name,
            self._shown_hash(),
            self.fingerprint.root.visible,
            totals.rows,
            totals.tombstones,
            self.is_ahead(reader),
            self._proofs_hash(),
            self.last_own > self.told,
            bool(self.lacking),
        )

    def is_ahead(self, reader: Reader) -> bool:
        """Return whether versions are held whose dots the context, as others are told it, does not cover yet. An entry
        of a row's context that names no held version does not count: it may stay permanently."""
        if self.last_own > self.told:
            return True
        ahead = Context(reader.journal_heads(self.name)).missing_from(self.context)
        return any(self._holds_ahead(reader, origin) for origin in ahead)

    def _holds_ahead(self, reader: Reader, origin: ReplicaId) -> bool:
        """Return whether a version of this origin runs ahead. If there are many entries, assume that one does."""
        entries = reader.journal(self.name, origin, self.context.get(origin, 0))
        for number, entry in enumerate(entries):
            row = reader.row(self.name, entry.address)
            if number >= AHEAD_ENTRIES_MAX or row is None:
                return True
            if any(version.dot == (origin, entry.sequence) for version in row.versions):
                return True
        return False


def _fit_always(_: Proofs) -> bool:
    return True


def _collected(reader: Reader, name: str) -> Collected:
    """Return what is stored. A proof of version 0.1.0 does not say which replicas its collector knew. Then all that are
    known now count."""
    collected = reader.collected(name) or NOTHING_COLLECTED
    if any(not proof.known for proof in collected.proofs):
        record = reader.shard_record(SYSTEM)
        known = frozenset(record.context if record is not None else ())
        proofs = tuple([proof if proof.known else Proof(proof.marks, known, known) for proof in collected.proofs])
        return collected._replace(proofs=proofs)
    return collected


def _above(context: Context, settled: Context) -> Context:
    """Return the entries that are not settled."""
    if not settled:
        return context
    return Context({origin: sequence for origin, sequence in context.items() if sequence > settled.get(origin, 0)})


_NO_DEADLINES: frozenset[tuple[str, int]] = frozenset()


def _deadlines(row: StoredRow) -> frozenset[tuple[str, int]]:
    """Return the row's entries in the indexes by time: when its values expire, or since when it has been deleted."""
    if not row.is_visible:
        return frozenset([(TOMBSTONES, row.deleted_ms)])
    for version in row.versions:
        if version.expires_ms is not None and version.value is not None:
            return frozenset(
                (EXPIRIES, v.expires_ms) for v in row.versions if v.expires_ms is not None and v.value is not None
            )
    return _NO_DEADLINES


def _weigh(counts: list[int], key_bytes: int, row: StoredRow, sign: int) -> None:
    """Add a row to the counts of its table, or take it away."""
    if row.is_visible:
        counts[0] += sign
        counts[2] += sign * (key_bytes + row.value_bytes)
    else:
        counts[1] += sign
