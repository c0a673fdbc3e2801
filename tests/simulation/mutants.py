"""Deliberate faults in the core, the driver and the use of storage: what the simulation is there to catch.

Each is a small patch that plays one mistake. With it stands the checker that must object, all others being silent: so
every checker is seen to bite by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple
from unittest.mock import patch

import xxhash

from gossipkv.core import replica as replica_module
from gossipkv.core.membership.exchanges import Exchanges
from gossipkv.core.membership.membership import Membership
from gossipkv.core.membership.namesakes import Namesakes
from gossipkv.core.membership.peer import Peer
from gossipkv.core.membership.suspicion import Suspicion
from gossipkv.core.membership.swim import Swim
from gossipkv.core.model import fingerprint, row
from gossipkv.core.model.address import USER
from gossipkv.core.model.backoff import Backoff
from gossipkv.core.model.causality import Context, ReplicaId
from gossipkv.core.model.collected import Proof, Proofs
from gossipkv.core.model.fingerprint import FingerprintTable, leaf_of
from gossipkv.core.model.member import ALIVE, DEAD, LEFT
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.base import Abridged, Base
from gossipkv.core.protocol.messages import Covered, Cursor, Delta, Message, OfShard, Pull, Range, RefusedRow, WalkRows
from gossipkv.core.protocol.rumours import Life, Rumour
from gossipkv.core.replica import Replica
from gossipkv.core.store import shard as shard_module
from gossipkv.core.store import store
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import FIRST_DEADLINE, TOMBSTONES, JournalEntry, Reader, StorageError, Transaction
from gossipkv.core.store.store import Intake, Store
from gossipkv.core.sync.gossip import Gossip
from gossipkv.core.sync.witnesses import Witnesses
from gossipkv.core.transfer import newest_first, pull, walk
from gossipkv.core.transfer.conversation import Conversation
from gossipkv.core.transfer.fetch import Fetching
from gossipkv.core.transfer.walk import Walk
from gossipkv.core.upkeep.adoption import Adopter
from gossipkv.core.upkeep.collection import Collector
from gossipkv.core.upkeep.expiry import Expirer
from gossipkv.core.upkeep.restamping import Inquiry, Restamper
from gossipkv.core.upkeep.retirement import Retirer
from gossipkv.core.waits import receipts
from gossipkv.core.waits.answers import Receipt
from gossipkv.core.waits.direct_exchanges import DirectExchanges
from gossipkv.core.waits.receipts import Receipts
from gossipkv.core.watch import watching
from gossipkv.core.watch.watch_position import WatchPosition
from gossipkv.core.watch.watching import CatchUp, WatchEvent
from gossipkv.member.batches import Decoded, Job, encoded, published
from gossipkv.member.group_commit import Batch, GroupCommit, PreparedBatch
from gossipkv.simulation.scenarios.aims import Aim
from gossipkv.simulation.scenarios.scenario import Emphasis
from gossipkv.simulation.world.process import Process


class Mutant(NamedTuple):
    fault: str
    target: object
    attribute: str
    replacement: Any
    checker: str
    emphasis: Emphasis | None = None
    """The situation in which the mistake matters, where the mixture of all seldom brings it about."""
    frequent_faults: tuple[str, ...] = ()
    """The faults that bring it about, where that is enough."""
    seeds: tuple[int, ...] = ()
    """Where more than two things have to coincide: a seed in which they do."""
    aim: Aim | None = None
    """The aim that meets the situation, if it takes one."""

    def planted(self) -> Any:
        return patch.object(self.target, self.attribute, self.replacement)


# Twins


def _term_of_the_dot(address: bytes, version: Version) -> int:
    return xxhash.xxh3_64_intdigest(address + b"%d %d" % version.dot)


# Merge


def _merge_by_arrival(ours: StoredRow, theirs: StoredRow) -> StoredRow:
    return StoredRow(theirs.versions, ours.context.joined(theirs.context))


def _merge_to_the_least(ours: StoredRow, theirs: StoredRow) -> StoredRow:
    least = min(*ours.versions, *theirs.versions, key=lambda version: version.rank)
    return StoredRow((least,), ours.context.joined(theirs.context))


def _merge_without_tombstones(ours: StoredRow, theirs: StoredRow) -> StoredRow:
    merged = row.merge(ours, theirs)
    return StoredRow(ours.versions, merged.context) if theirs.winner.value is None else merged


def _replace_everything(current: StoredRow | None, version: Version, seen: Any) -> StoredRow:
    return row.written(current, version)


def _replace_nothing(current: StoredRow | None, version: Version, seen: Any) -> StoredRow:
    return row.written_beside(current, version, None)


def _written_as_last(current: StoredRow | None, version: Version, seen: Any) -> StoredRow:
    kept = row.written_for_any_table(current, version, seen)
    return StoredRow((kept.winner._replace(siblings_above=None),), kept.context)


def _merge_to_the_last(ours: StoredRow, theirs: StoredRow) -> StoredRow:
    merged = row.merge(ours, theirs)
    return StoredRow(merged.versions[:1], merged.context)


def _expire_without_a_trace(current: StoredRow, dot: Any, now_ms: int) -> StoredRow:
    """A tombstone that ranks below what it replaces."""
    gone = row.expired(current, dot, now_ms)
    return StoredRow(
        tuple(version._replace(timestamp=0) for version in gone.versions), Context({dot.replica: dot.sequence})
    )


# Contexts

_take = pull.Pulling.take
_seal = Walk.seal
_finish_walk = Gossip._finish_walk
_fill = pull._fill
_leaf_rows = walk._leaf_rows
_serve_recent = newest_first.serve


def _cover_each_part(pulling: pull.Pulling, part: Delta, intake: Intake) -> dict[ReplicaId, Range] | None:
    """Take a prefix of the journal for all of it, up to where it ends."""
    ranges = _take(pulling, part, intake)
    if part.cursor is None:
        return ranges
    origin, reached = part.cursor
    after, through = part.ranges[origin]
    return {origin: Range(after, min(reached, through))} if reached > after else None


def _claim_the_last_part(pulling: pull.Pulling, part: Delta, intake: Intake) -> dict[ReplicaId, Range] | None:
    pulling.ranges = None
    return _take(pulling, part, intake)


def _begin_behind_the_newest(reader: Any, shard: Shard, asked: Any, *bytes_max: int) -> Any:
    """Take the newest rows for the beginning of the journal."""
    parts = _serve_recent(reader, shard, asked, *bytes_max)
    match parts:
        case (Delta(ranges=ranges, cursor=Cursor(origin=origin)) as part,) if asked.cursor is None:
            return (replace(part, cursor=Cursor(origin, ranges[origin].through)),)
    return parts


def _claim_the_newest(reader: Any, shard: Shard, asked: Any, *bytes_max: int) -> Any:
    """Let the newest rows stand for all that is lacking."""
    parts = _serve_recent(reader, shard, asked, *bytes_max)
    return (replace(parts[0], cursor=None),) if isinstance(parts[0], Delta) and asked.cursor is None else parts


def _is_finished_amid_a_value(fetching: Fetching) -> bool:
    """Take the first fragment of a value for all of it."""
    return not fetching._wanted or bool(fetching._part)


def _seal_over_refused_rows(finished: Walk) -> Context:
    assert finished.claim is not None
    return finished.claim


def _seal_with_the_end(gossip: Gossip, transaction: Any, peer: Peer, shard_name: str, now_ms: int) -> None:
    finished = peer.conversation.walks[shard_name]
    if finished.claim is not None:
        finished.claim = finished.claim.joined(peer.conversation.contexts.get(shard_name, Context()))
    _finish_walk(gossip, transaction, peer, shard_name, now_ms)


def _adopt_without_floors(shard: Shard, context: Context) -> None:
    for origin, sequence in context.items():
        shard.advance(origin, sequence)


def _drop_stable_without_floors(shard: Shard, new: StoredRow) -> StoredRow:
    return row.without_stable(new, shard.stable)


class _JournalUpTo:
    """A reader whose journal ends where the context does."""

    def __init__(self, reader: Any, ranges: dict[ReplicaId, Range]) -> None:
        self._reader = reader
        self._ranges = ranges
        self.row = reader.row

    def journal(self, shard: str, origin: ReplicaId, after: int) -> Iterator[JournalEntry]:
        for entry in self._reader.journal(shard, origin, after):
            if entry.sequence <= self._ranges[origin].through:
                yield entry


def _fill_up_to_the_context(reader: Any, shard: Shard, parcel: Any, ranges: Any, cursor: Any) -> Any:
    return _fill(_JournalUpTo(reader, ranges), shard, parcel, ranges, cursor)  # type: ignore[arg-type]


def _visible_leaf_rows(reader: Any, shard: Shard, leaf: int, after: bytes) -> Iterator[tuple[bytes, StoredRow]]:
    return (found for found in _leaf_rows(reader, shard, leaf, after) if found[1].is_visible)


def _differ_in_visible_rows(finished: Walk, theirs: Any, ours: Any) -> bool:
    return bool(theirs[0] != ours[0])


# What is derived from rows

_replace = FingerprintTable.replace
_take_dirty_pages = FingerprintTable.take_dirty_pages
_move_journal = Shard._move_journal
_load = Store.load


def _replace_with_values_only(table: FingerprintTable, address: bytes, old: Any, new: tuple[Version, ...]) -> int:
    if new[0].value is None:
        return leaf_of(address)
    return _replace(table, address, old, new)


def _forget_a_page(table: FingerprintTable) -> list[tuple[int, bytes]]:
    return _take_dirty_pages(table)[:-1]


def _lose_journal_of_old_rows(
    shard: Shard, transaction: Any, address: bytes, old: StoredRow | None, new: StoredRow
) -> None:
    kept = StoredRow(new.versions, Context()) if old is not None else new
    _move_journal(shard, transaction, address, old, kept)


def _load_and_forget_a_sequence(loaded: Store, reader: Any) -> None:
    _load(loaded, reader)
    for shard in loaded.shards.values():
        if shard.context.get(loaded.replica, 0) > 1:
            shard.context[loaded.replica] -= 1


# The driver

_await_commit = Process._await_commit
_commit = GroupCommit._commit


def _send_before_commit(process: Process, prepared: PreparedBatch, taken: Decoded) -> None:
    sends, _ = encoded(prepared.batch.effects.sends, process._encode)
    process._carry_out(sends)
    prepared.batch.effects.sends.clear()
    _await_commit(process, prepared, taken)


def _answer_before_commit(process: Process, prepared: PreparedBatch, taken: Decoded) -> None:
    if list(prepared.inputs) != taken.inputs:
        _await_commit(process, prepared, taken)
        return
    for job, outcome in published(taken, prepared.batch, process._encode).outcomes:
        process.driver.conclude(job, outcome)
    told = [Job(job.payload, None) for job in taken.jobs]
    _await_commit(process, prepared, Decoded(told, taken.inputs, []))


def _take_failure_for_success(driver: GroupCommit, prepared: PreparedBatch) -> Batch:
    try:
        return _commit(driver, prepared)
    except StorageError:
        batch: Batch = prepared.batch
        return batch


def _keep_exchanges(exchanges: Exchanges, numbers: Any) -> None:
    """Leave all of them under way."""


# Knowledge of others


def _keep_contexts(peer: Peer, replica: ReplicaId, incarnation: int) -> None:
    peer.incarnation = max(incarnation, peer.incarnation)
    peer.replica = replica


_failed = Membership.failed
_discovered = Membership.discovered


def _let_go_of_the_silent(membership: Membership, peer: Peer, now_ms: int) -> None:
    _failed(membership, peer, now_ms)
    if peer.member is not None and peer.failures >= 3:
        membership._let_go(peer)


def _discover_endpoints_alone(membership: Membership, endpoints: Any, existing: Any = None) -> None:
    _discovered(membership, endpoints, None)


_become = Swim._become


def _keep_the_suspicion(swim: Swim, member: str, status: str, life: Life) -> None:
    suspicion = swim.standings[member].suspicion
    _become(swim, member, status, life)
    if status == ALIVE:
        swim.standings[member].suspicion = suspicion


def _bury_for_good(swim: Swim, member: str, status: str, life: Life) -> None:
    if (swim.standings[member].status, status) != (DEAD, ALIVE):
        _become(swim, member, status, life)


def _never(*_: Any, **__: Any) -> Any:
    return None


def _note_nothing(_: Store, __: str, intake: Intake, *___: Any) -> list[bytes]:
    intake.refused = []
    return []


def _as_refused(_: Fetching, refused: Iterable[RefusedRow]) -> list[RefusedRow]:
    return list(refused)


def _nothing(*_: Any, **__: Any) -> tuple[Any, ...]:
    return ()


def _false(*_: Any, **__: Any) -> bool:
    return False


# Copies and reads of several members

_take_rows = DirectExchanges._take_rows


def _has_if_it_answers(peer: Peer, receipt: Receipt, handed: Any) -> bool:
    return peer.is_answering


def _take_as_given(*arguments: Any) -> Any:
    return arguments[4]


def _note_without_merging(quorum: DirectExchanges, transaction: Any, direct: Any, message: Any, now_ms: int) -> None:
    _take_rows(quorum, transaction, direct, WalkRows(message.shard, (), None), now_ms)


_resolved = Replica._resolved


def _go_on_waiting(replica: Replica, reader: Reader, now_ms: int, *, is_fenced: bool) -> Any:
    shards = replica._store.shards
    readings = replica._direct.resolve(reader, shards, now_ms, is_ending=False)
    return replica._receipts.resolve(now_ms, is_ending=False) + readings


def _go_on_waiting_when_fenced(replica: Replica, reader: Reader, now_ms: int, *, is_fenced: bool) -> Any:
    wait = _go_on_waiting if is_fenced else _resolved
    return wait(replica, reader, now_ms, is_fenced=is_fenced)


# Watches

_watch_page = CatchUp.page
_is_due = CatchUp._is_due


def _true(*_: Any, **__: Any) -> bool:
    return True


def _read_above_the_lowest_entry(reading: CatchUp, reader: Reader, shard: str) -> list[WatchEvent]:
    if reading._ends is None:
        for origin in reader.journal_heads(shard):
            reading._after[origin] = reading._after.get(origin, 0) + 1
    return _watch_page(reading, reader, shard)


def _is_due_when_covered(reading: CatchUp, found: StoredRow, origin: ReplicaId) -> bool:
    covered = WatchPosition(reading._target.context).covers_row(found)
    return covered and _is_due(reading, found, origin)


# Replicas that are gone

_without_retired = row.without_retired


def _leave_out_everything(base: Base, context: Context) -> int:
    return base.length


def _retire_no_one(*_: Any) -> int:
    return 0


class _Everything(dict[ReplicaId, int]):
    def get(self, replica: ReplicaId, default: Any = None) -> Any:
        return 2**63


def _forget_before_all_have_heard(old: StoredRow | None, new: StoredRow, settled: Any, stable: Any) -> StoredRow:
    return _without_retired(old, new, settled, _Everything())


I1 = "I1_successors"
I2 = "I2_contexts"
I3 = "I3_dots"
I4 = "I4_fingerprints"
I5 = "I5_durability"
SIBLINGS = "siblings"
WATCHES = "watches"
OLD_VOLUMES = "old_volumes"

# Tombstones


def _own_context(collector: Collector) -> Context:
    return Context(collector._store.shards[USER].context)


def _sweep_unproved(collector: Collector, transaction: Transaction, now_ms: int, rows_max: int) -> None:
    due = transaction.deadlines(USER, TOMBSTONES, FIRST_DEADLINE, now_ms - collector._age_ms_min)
    for entry in list(islice(due, rows_max)):
        found = transaction.row(USER, entry.address)
        assert found is not None
        collector._store.collect(transaction, USER, entry.address, found)
    collector._swept = None


def _drop_nothing(*_: Any) -> int:
    return 0


def _up_to_the_marks(_: Store, __: Shard, marks: Context) -> Context:
    return marks


def _any(replica: Replica) -> bool:
    return bool(replica._membership._forgotten)


def _take_nothing(self: Restamper, inquiry: Inquiry, answer: WalkRows) -> None:
    """The answers of others are passed over."""


# Strangers

_gossip_answer = Gossip._answer


def _believe_requests(
    gossip: Gossip, transaction: Transaction, peer: Peer | None, message: OfShard, now_ms: int
) -> list[Message]:
    if peer is not None and isinstance(message, Covered | Pull) and not isinstance(message.context, Abridged):
        peer.conversation.learn_context(message.shard, message.context, message.lacking)
    return _gossip_answer(gossip, transaction, peer, message, now_ms)


def _convicted_by_anyone(witnesses: Witnesses, shard_name: str, peer: Peer, proofs: Proofs, **_: Any) -> bool:
    return witnesses._store.is_outdated(shard_name, proofs)


def _take_left_for_its_own_word(swim: Swim, rumour: Rumour) -> bool:
    if rumour.status in (ALIVE, LEFT) or rumour.life < swim.life:
        return False
    swim._refute(Life(rumour.life.start, rumour.life.refutations + 1))
    return True


MUTANTS = (
    Mutant("the context advances past a refused row", Intake, "holds_back", _false, I2),
    Mutant("a walk is sealed over a refused row", Walk, "seal", _seal_over_refused_rows, I2),
    Mutant("a row that is overwritten loses its journal entry", Shard, "_move_journal", _lose_journal_of_old_rows, I2),
    Mutant("the journal misses entries", Shard, "_move_journal", _lose_journal_of_old_rows, "journal"),
    Mutant("rows merge by order of arrival", store, "merge", _merge_by_arrival, I1),
    Mutant("the least version wins, for readers", store, "merge", _merge_to_the_least, "reads", Emphasis.NEWCOMERS),
    Mutant(
        "the least version wins, in the end",
        store,
        "merge",
        _merge_to_the_least,
        "acknowledged_writes",
        Emphasis.NEWCOMERS,
        # Members never agree, so a run is long; this one is among the short ones.
        seeds=(8, *range(1, 60)),
    ),
    Mutant("a tombstone is dropped on merge", store, "merge", _merge_without_tombstones, I2),
    Mutant("a sequence is used again after a crash", Store, "load", _load_and_forget_a_sequence, I3),
    Mutant("envelopes leave before the commit", Process, "_await_commit", _send_before_commit, I5),
    Mutant("answers leave before the commit", Process, "_await_commit", _answer_before_commit, I5),
    Mutant(
        "writes are acknowledged before the commit",
        Process,
        "_await_commit",
        _answer_before_commit,
        "acknowledged_writes",
    ),
    Mutant("a failed commit counts as done", GroupCommit, "_commit", _take_failure_for_success, "acknowledged_writes"),
    Mutant("the fingerprint ignores deletes", FingerprintTable, "replace", _replace_with_values_only, I4),
    Mutant("a page of the fingerprint is not stored", FingerprintTable, "take_dirty_pages", _forget_a_page, I4),
    Mutant("a walk is sealed with the context at its end", Gossip, "_finish_walk", _seal_with_the_end, I2),
    Mutant("a prefix of the journal counts as all of it", pull.Pulling, "take", _cover_each_part, I2, Emphasis.PARTS),
    Mutant("the last part's claim counts", pull.Pulling, "take", _claim_the_last_part, I2, Emphasis.PARTS),
    Mutant(
        "the newest rows are the journal's first", newest_first, "serve", _begin_behind_the_newest, I2, Emphasis.PARTS
    ),
    Mutant("the newest rows count as all", newest_first, "serve", _claim_the_newest, I2, Emphasis.PARTS),
    Mutant("what runs ahead of the context is not sent", pull, "_fill", _fill_up_to_the_context, I2, Emphasis.HEARSAY),
    Mutant("a walk leaves out tombstones", walk, "_leaf_rows", _visible_leaf_rows, I2),
    Mutant("a walk compares visible sums alone", Walk, "_differ", _differ_in_visible_rows, I2),
    Mutant(
        "adopting a context does not raise floors",
        Shard,
        "adopt",
        _adopt_without_floors,
        I2,
        Emphasis.NEWCOMERS,
    ),
    Mutant(
        "dropping stable entries does not raise floors",
        Shard,
        "_without_stable",
        _drop_stable_without_floors,
        I2,
        Emphasis.NEWCOMERS,
    ),
    Mutant(
        "a lost disk leaves its peer's context known",
        Peer,
        "become_replica",
        _keep_contexts,
        "peer_contexts",
        Emphasis.NEWCOMERS,
    ),
    Mutant("rows ahead of the context are not told of", Shard, "is_ahead", _false, "anomalies"),
    Mutant("exchanges of a failed batch stay open", Exchanges, "forget", _keep_exchanges, "bounds"),
    Mutant("no rounds are begun", Membership, "sync_partner", _never, "rounds", Emphasis.NEWCOMERS),
    Mutant(
        "a clock set back stops the rounds",
        Gossip,
        "_follow_clock",
        _never,
        "rounds",
        seeds=(64,),
        aim=Aim.CLOCKS,
    ),
    Mutant("a silent member is let go", Membership, "failed", _let_go_of_the_silent, "letting_go"),
    Mutant(
        "a member that was let go is never taken back",
        Membership,
        "_take_back",
        _never,
        "letting_go",
        Emphasis.REPLACED,
    ),
    Mutant(
        "a member that is gone is clung to",
        Membership,
        "discovered",
        _discover_endpoints_alone,
        "letting_go",
        frequent_faults=("join", "lose_disk"),
    ),
    Mutant("a suspicion runs out at once", Suspicion, "ends_ms", property(lambda _: 0), "living"),
    Mutant("a refuted suspicion kills", Swim, "_become", _keep_the_suspicion, "living"),
    Mutant("a live member stays dead", Swim, "_become", _bury_for_good, "living"),
    Mutant("whoever answers is taken to have a write", receipts, "_has", _has_if_it_answers, "receipts"),
    Mutant("a member that leaves forgets who waits", Replica, "_resolved", _go_on_waiting, "waits"),
    Mutant(
        "a member that is fenced forgets who waits",
        Replica,
        "_resolved",
        _go_on_waiting_when_fenced,
        "waits",
        Emphasis.FORGOTTEN,
    ),
    Mutant(
        "a batch that fails takes waits along",
        Receipts,
        "forget_batch",
        _never,
        "waits",
        frequent_faults=("fail_commit",),
    ),
    Mutant("a deadline passes", receipts, "is_late", _false, "waits"),
    Mutant(
        "a deadline passes while a batch fails", Replica, "lapse", _nothing, "waits", frequent_faults=("stay_full",)
    ),
    Mutant(
        "a clock that is set back puts deadlines off",
        replica_module,
        "set_back",
        _never,
        "waits",
        frequent_faults=("jump_back",),
    ),
    Mutant(
        "a read leaves out what others answer", DirectExchanges, "_take_rows", _note_without_merging, "quorum_reads"
    ),
    Mutant(
        "a copy that lacks a part counts in a read",
        Shard,
        "is_whole",
        _true,
        "quorum_reads",
        Emphasis.UNREADABLE,
        ("spoil_row",),
        (67,),
    ),
    Mutant(
        "a write replaces siblings that its writer has not seen", store, "written_beside", _replace_everything, SIBLINGS
    ),
    Mutant("a context is passed over", store, "written_beside", _replace_nothing, SIBLINGS),
    Mutant("merge keeps one of several siblings", store, "merge", _merge_to_the_last, SIBLINGS),
    Mutant(
        "a member alone writes as if no table kept siblings",
        store,
        "written_for_any_table",
        _written_as_last,
        SIBLINGS,
        Emphasis.ALONE,
    ),
    Mutant("nothing ever expires", Expirer, "tick", _never, "expiry"),
    Mutant("an expired row can come back", store, "expired", _expire_without_a_trace, "expiry"),
    Mutant("a tombstone goes before everyone has heard of it", Collector, "_stable", _own_context, "collection"),
    Mutant("a tombstone goes as soon as it is old, without a proof", Collector, "_sweep", _sweep_unproved, "deleted"),
    Mutant("no tombstone ever goes", Collector, "_sweep", _never, "collection"),
    Mutant("what runs ahead of a lost disk is never adopted", Adopter, "_look", _false, "collection"),
    Mutant("a filled member takes over no proofs", Shard, "adopt_proofs", _never, OLD_VOLUMES, Emphasis.HANDED_DOWN),
    Mutant("no volume is too old", Proof, "finds_outdated", _false, OLD_VOLUMES, Emphasis.HANDED_DOWN),
    Mutant("contexts that name unknown writes are taken", Store, "_seen_here", _take_as_given, "seen"),
    Mutant(
        "data that came from an old volume count as new", Shard, "inherit", _never, OLD_VOLUMES, Emphasis.HANDED_DOWN
    ),
    Mutant(
        "a newcomer keeps what it took from an old volume",
        Store,
        "drop_superseded",
        _drop_nothing,
        OLD_VOLUMES,
        Emphasis.INTERRUPTED,
    ),
    Mutant(
        "what is covered and not held comes back from a newcomer",
        Store,
        "_superseded",
        _up_to_the_marks,
        OLD_VOLUMES,
        Emphasis.INTERRUPTED,
    ),
    Mutant("names in doubt are kept", Gossip, "speaks_of_unknown_names", _false, OLD_VOLUMES, Emphasis.OLD_VOLUMES),
    Mutant("whoever hears of a forgotten member sets its data aside", Replica, "_obeys_forgetting", _any, "collection"),
    Mutant(
        "what is asked in a member's name is its word",
        Gossip,
        "_answer",
        _believe_requests,
        "receipts",
        Emphasis.STRANGERS,
    ),
    Mutant(
        "anyone can say that data are outdated",
        Witnesses,
        "convicts",
        _convicted_by_anyone,
        "collection",
        Emphasis.STRANGERS,
    ),
    Mutant(
        "no member refutes that it has left",
        Swim,
        "_defend",
        _take_left_for_its_own_word,
        "convergence",
        Emphasis.STRANGERS,
    ),
    Mutant("a member whose clock is off takes writes", Replica, "check_clock", _never, "clocks", Emphasis.CLOCKS),
    Mutant("a start in the future is believed", Swim, "is_ahead", _false, "codec", Emphasis.STRANGERS),
    Mutant("a watch goes on where what was told has not come yet", watching, "_is_superseded", _true, WATCHES),
    Mutant(
        "a watch that goes on skips the rows ahead of the context", CatchUp, "_is_due", _is_due_when_covered, WATCHES
    ),
    Mutant("a watch that goes on skips an entry", CatchUp, "page", _read_above_the_lowest_entry, WATCHES),
    Mutant("ids do not name the rows ahead of the context", WatchPosition, "_put_dots", _never, WATCHES),
    Mutant("a pause for want of room ends with any answer", Backoff, "is_waiting", _false, "room", Emphasis.FULL),
    Mutant("a fingerprint knows dots alone", fingerprint, "term_of", _term_of_the_dot, "I4_fingerprints"),
    Mutant("a second process is not noticed", Namesakes, "_see", _never, "twins", Emphasis.TWINS),
    Mutant(
        "a fetch that is interrupted counts as done",
        Fetching,
        "is_finished",
        property(_is_finished_amid_a_value),
        I2,
        Emphasis.LARGE_ROWS,
    ),
    Mutant(
        "a claim is taken without the large rows", Fetching, "is_finished", property(_true), I2, Emphasis.LARGE_ROWS
    ),
    Mutant("a row that is refused is not noted as lacking", Store, "note_lacking", _note_nothing, I2, Emphasis.REFUSED),
    Mutant(
        "no one is told which rows a member lacks",
        Shard,
        "lacked_rows",
        _nothing,
        I2,
        Emphasis.REFUSED,
    ),
    Mutant(
        "tombstones are collected while the record of a member is lacking",
        Store,
        "records_lacking",
        property(_nothing),
        "collection",
        aim=Aim.STARVED,
        seeds=(111, 215),
    ),
    Mutant(
        "the record of a member that no one else knows is given up",
        DirectExchanges,
        "_lists_all",
        _true,
        I2,
        aim=Aim.STARVED,
        seeds=(9,),
    ),
    Mutant("a row in quarantine is not lacking", Shard, "note_unreadable", _never, I2, Emphasis.UNREADABLE),
    Mutant(
        "a context leaves out what it does not cover",
        Base,
        "_covered_by",
        _leave_out_everything,
        I2,
        Emphasis.REPLACEMENTS,
    ),
    Mutant("what was stamped ahead is not stamped again", Restamper, "_look", _never, "convergence", Emphasis.CLOCKS),
    Mutant(
        "no one is asked before a write is stamped again",
        Restamper,
        "_take",
        _take_nothing,
        "acknowledged_writes",
        Emphasis.CLOCKS,
    ),
    Mutant("no replica is ever retired", Retirer, "tick", _retire_no_one, "retirements"),
    Mutant(
        "a row forgets a superseded sibling that others hold",
        shard_module,
        "without_retired",
        _forget_before_all_have_heard,
        SIBLINGS,
        Emphasis.RETIRED,
    ),
    Mutant(
        "transfers are never given up",
        Conversation,
        "abandon_transfers",
        _never,
        "convergence",
        frequent_faults=("lose_disk", "crash"),
    ),
)
