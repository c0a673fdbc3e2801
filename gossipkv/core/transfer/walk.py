"""Walks: how a replica is brought up to date by comparing fingerprints.

The walker descends the sums of a peer's shard:

1. It compares the sums of 256 nodes, then the sums of the leaves in nodes that differ.
2. In a leaf that differs, it compares the list of the peer's rows with its own. It fetches a leaf that is empty here as
   a whole.
3. It fetches the rows that differ and merges them.
4. When every differing leaf has been visited, it covers what the peer covered *at the start*. What the peer learned
   during the walk may lie in leaves visited before.

A walk does not need the journal. So it serves new members, members that were away for long, and repairs. Both sums are
compared: otherwise the context would claim a missed tombstone. An interrupted walk loses nothing: the next one skips
leaves that have become equal.

A walker is *behind* if it does not cover the marks of what the peer has collected. It may hold rows that were deleted
for good (`core/model/collected.py`). What the peer claims to cover and does not hold has been superseded:

- The walker drops that from its own copy of a row when the peer's copy arrives.
- It notes the rows in the visited leaves that the peer does not list. It drops it from them at the end.
- If another peer brings a row meanwhile, the row's leaf is visited again.
- What the walker wrote itself stays.

An audit is a walk over visible sums only, and does not change the context. It finds differences that would go unnoticed
while contexts keep changing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.collected import NOTHING_COLLECTED
from gossipkv.core.model.fingerprint import EMPTY, LEAF_SUMS, LEAVES_PER_NODE, Pair, leaf_of, term_of
from gossipkv.core.model.lacking import LackedRow
from gossipkv.core.model.row import StoredRow
from gossipkv.core.protocol.messages import (
    FetchValue,
    LeafEntry,
    LeafVersion,
    Message,
    Position,
    RowCopy,
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
from gossipkv.core.protocol.parcel import WHOLE_ROW_BYTES_MAX, Parcel
from gossipkv.core.store.shard import Shard
from gossipkv.core.store.storage import Reader
from gossipkv.core.store.store import Authority, Intake
from gossipkv.core.transfer.fetch import Fetching

NODES_PER_MESSAGE = 16
LEAVES_PER_MESSAGE = 4096
ENTRY_BYTES = 28
"""Minimum bytes of a version in a list."""
ADDRESS_BYTES_PER_MESSAGE = 256 * 1024


_NODE_BYTES = LEAF_SUMS.size * LEAVES_PER_NODE

Question = WalkBegin | WalkNodes | WalkList | WalkFetch | WalkFetchRows
"""A question of the walker, except for values of large rows."""


class WalkFaultError(Exception):
    """The error of an answer that does not match the question."""


class Walk:
    """The walker's side of one walk. Send `request` and pass the answer to its method, until `is_finished`."""

    def __init__(self, shard: str, *, is_audit: bool = False, is_repair: bool = False) -> None:
        self.shard = shard
        self.is_audit = is_audit
        self.is_repair = is_repair
        """Whether contexts were equal and fingerprints were not. Then each listed row that differs is fetched, even if
        all its versions are known here: the peer's copy may have replaced what this one still holds."""
        self.claim: Context | None = None
        """What the peer covered at the start; None before its answer."""
        self.intake = Intake()
        """The refused rows of the whole walk."""
        self.collected = NOTHING_COLLECTED
        """What the peer had collected at the start."""
        self.lacking: tuple[LackedRow, ...] = ()
        """Rows that the peer lacked at the start."""
        self.is_behind = False
        """Whether the walker did not cover, at the start, the marks of what the peer had collected."""
        self.emptied: list[int] = []
        """Leaves in which the peer holds nothing and the walker does; only if the walker is behind."""
        self.absent: set[bytes] = set()
        """Rows of the walker that the peer has not listed beside others; only if the walker is behind."""
        self._arrived: set[int] = set()
        """Leaves into which other peers have brought what the claim covers; only if the walker is behind."""
        self.rows_received = 0
        self.nodes_left = 0
        self._nodes: list[int] = []
        self._to_list: list[int] = []
        self._to_fetch: list[int] = []
        self._after = b""
        self._rows: list[bytes] = []
        self.fetching = Fetching()
        """The large row of the last answer."""
        self._asked: Question | None = None

    @property
    def is_finished(self) -> bool:
        """Whether every differing leaf has been visited and every large row fetched."""
        is_all_asked = not (self._nodes or self._to_list or self._to_fetch or self._rows or self._arrived)
        return self.claim is not None and is_all_asked and self.fetching.is_finished

    def seal(self) -> Context:
        """Return what the walker covers after the walk; nothing more than before if a row was refused. That row may
        have superseded a write of any origin, because rows lose the context entries that every member covers."""
        assert self.claim is not None, "a finished walk has a claim"
        return Context() if self.intake.refused else self.claim

    def request(self) -> Question | FetchValue:
        """Return the next question; it may be repeated after a failure."""
        if self.fetching.asked is not None:
            return self.fetching.asked
        asked: Question
        if self.claim is None:
            asked = WalkBegin(self.shard)
        elif self._rows:
            asked = WalkFetchRows(self.shard, self._rows_to_ask())
        elif self._to_fetch:
            asked = WalkFetch(self.shard, tuple(self._to_fetch[:LEAVES_PER_MESSAGE]), self._after)
        elif self._to_list:
            asked = WalkList(self.shard, tuple(self._to_list[:LEAVES_PER_MESSAGE]), self._after)
        elif not self._nodes:
            self._to_list, self._arrived = sorted(self._arrived), set()
            asked = WalkList(self.shard, tuple(self._to_list[:LEAVES_PER_MESSAGE]), b"")
        else:
            asked = WalkNodes(self.shard, tuple(self._nodes[:NODES_PER_MESSAGE]))
        self._asked = asked
        return asked

    def _rows_to_ask(self) -> tuple[bytes, ...]:
        """Return as many of the rows as one question names."""
        asked, room = [], ADDRESS_BYTES_PER_MESSAGE
        for address in self._rows:
            room -= len(address) + 3
            if room < 0:
                break
            asked.append(address)
        return tuple(asked)

    def _answered(self, *kinds: type) -> Question:
        """Return the question that an answer is for; each question has one answer. Raises WalkFaultError."""
        asked, self._asked = self._asked, None
        if asked is None or not isinstance(asked, kinds):
            raise WalkFaultError("an answer that was not asked for")
        return asked

    def take_root(self, shard: Shard, root: WalkRoot) -> None:
        """Compare the sums of all nodes. Raises WalkFaultError if they were not asked for."""
        self._answered(WalkBegin)
        self.claim = root.context
        self.collected = root.collected
        self.lacking = root.lacking
        self.is_behind = not self.is_audit and not shard.context.covers_all(root.collected.marks)
        ours = shard.fingerprint.nodes()
        self._nodes = [node for node, sums in enumerate(root.nodes) if self._differ(sums, ours[node])]
        self.nodes_left = len(self._nodes)

    def take_sums(self, shard: Shard, answer: WalkSums) -> None:
        """Compare the sums of leaves. Raises WalkFaultError if they are not those asked for."""
        if self._answered(WalkNodes) != WalkNodes(self.shard, answer.nodes):
            raise WalkFaultError("sums of nodes that were not asked for")
        for place, node in enumerate(answer.nodes):
            ours = LEAF_SUMS.iter_unpack(shard.fingerprint.leaves_of(node))
            theirs = LEAF_SUMS.iter_unpack(answer.leaves[place * _NODE_BYTES : (place + 1) * _NODE_BYTES])
            for offset, (our, their) in enumerate(zip(ours, theirs, strict=True)):
                if their != our and self._differ(their, our):
                    self._visit(node * LEAVES_PER_NODE + offset, our, their)
        del self._nodes[: len(answer.nodes)]
        self.nodes_left = len(self._nodes)

    def _differ(self, theirs: Pair, ours: Pair) -> bool:
        """Return whether the sums differ; an audit compares visible versions alone."""
        return theirs[0] != ours[0] if self.is_audit else theirs != ours

    def _visit(self, leaf: int, ours: Pair, theirs: Pair) -> None:
        """Fetch a leaf that is empty here as a whole; skip one that is empty there."""
        if theirs == EMPTY:
            if self.is_behind:
                self.emptied.append(leaf)
            return
        if ours == EMPTY:
            self._to_fetch.append(leaf)
        else:
            self._to_list.append(leaf)

    def take_entries(self, reader: Reader, answer: WalkEntries) -> None:
        """Compare listed rows with those held here. Raises WalkFaultError if the list was not asked for or makes no
        progress."""
        asked = self._answered(WalkList)
        assert isinstance(asked, WalkList), "it has been checked"
        if self.is_behind:
            self._note_absent(reader, asked, answer)
        for address, versions in answer.entries:
            row = reader.row(self.shard, address)
            if row is None or not all(_is_known(address, row, version) for version in versions):
                self._rows.append(address)
                continue
            dots = {each.dot for each in versions}
            if self.is_behind and any(v.dot not in dots and self._claims(v.dot) for v in row.versions):
                self._rows.append(address)
                continue
            if self.is_repair and {each.dot for each in versions} != {each.dot for each in row.versions}:
                self._rows.append(address)
        self._proceed(self._to_list, len(asked.leaves), answer.resume)

    @property
    def authority(self) -> Authority | None:
        """The peer, if the walker is behind it; otherwise None."""
        if not self.is_behind or self.claim is None:
            return None
        return Authority(self.claim, frozenset([lacked.address for lacked in self.lacking]))

    def _claims(self, dot: Dot) -> bool:
        return self.claim is not None and self.claim.covers(dot)

    def _note_absent(self, reader: Reader, asked: WalkList, answer: WalkEntries) -> None:
        """Note which rows here the peer does not list, as far as the answer goes."""
        listed = {entry.address for entry in answer.entries}
        resume = answer.resume or Position(len(asked.leaves), b"")
        for place, leaf in enumerate(asked.leaves[: resume.place + 1]):
            for address in reader.leaf(self.shard, leaf, asked.after if place == 0 else b""):
                if place == resume.place and address > resume.after:
                    break
                if address not in listed:
                    self.absent.add(address)

    def note_arrivals(self, changed: Iterable[RowCopy]) -> None:
        """Note rows that changed, but not through this walk. What the claim covers of them may have been superseded."""
        if self.is_behind:
            for address, row in changed:
                if any(self._claims(version.dot) for version in row.versions):
                    self._arrived.add(leaf_of(address))

    def take_rows(self, answer: WalkRows, intake: Intake) -> None:
        """Note rows that have been taken in, and a large one to be fetched. Raises WalkFaultError if they were not
        asked for or make no progress."""
        self.fetching.want(answer.large)
        self.intake.refused += intake.refused
        self.rows_received += len(answer.rows) + len(answer.large)
        asked = self._answered(WalkFetch, WalkFetchRows)
        if isinstance(asked, WalkFetch):
            self._proceed(self._to_fetch, len(asked.leaves), answer.resume)
        elif isinstance(asked, WalkFetchRows):
            served = len(asked.addresses) if answer.resume is None else answer.resume.place
            if not 0 < served <= len(asked.addresses):
                raise WalkFaultError("an answer without progress")
            del self._rows[:served]

    def _proceed(self, leaves: list[int], asked: int, resume: Position | None) -> None:
        """Remove the leaves that were served from the list of those to visit."""
        if resume is None:
            del leaves[:asked]
            self._after = b""
            return
        if resume.place >= asked or (resume.place == 0 and resume.after <= self._after):
            raise WalkFaultError("an answer without progress")
        del leaves[: resume.place]
        self._after = resume.after


def _is_known(address: bytes, row: StoredRow, theirs: LeafVersion) -> bool:
    """Return whether the row has the version or has replaced it. A dot names one write, unless two processes ran on
    copies of one volume. So the contents under the dot must be equal too."""
    for version in row.versions:
        if version.dot == theirs.dot:
            return term_of(address, version) == theirs.term
    return row.context.covers(theirs.dot)


def serve(
    reader: Reader,
    shard: Shard,
    question: Question,
    part_bytes: int,
    whole_row_bytes_max: int = WHOLE_ROW_BYTES_MAX,
) -> Message:
    """Answer a walker from the current state."""
    match question:
        case WalkBegin():
            # Rows that cannot be read are covered and not listed. Without proofs, no walker takes them for superseded.
            collected = shard.collected._replace(proofs=()) if shard.quarantined else shard.collected
            return WalkRoot(
                shard.name,
                Context(shard.shown),
                tuple(shard.fingerprint.nodes()),
                collected,
                shard.lacked_rows(),
            )
        case WalkNodes(nodes=nodes):
            return WalkSums(shard.name, nodes, b"".join(map(shard.fingerprint.leaves_of, nodes)))
        case WalkList(leaves=asked, after=after):
            return _list(reader, shard, asked, after, part_bytes)
        case WalkFetch(leaves=asked, after=after):
            parcel = Parcel(part_bytes, whole_row_bytes_max)
            resume = _visit_leaves(reader, shard, asked, after, parcel.add)
            return WalkRows(shard.name, parcel.copies(), resume, parcel.large())
        case WalkFetchRows(addresses=addresses):
            return _fetch_rows(reader, shard, addresses, Parcel(part_bytes, whole_row_bytes_max))


def _list(reader: Reader, shard: Shard, leaves: tuple[int, ...], after: bytes, part_bytes: int) -> WalkEntries:
    entries: list[LeafEntry] = []
    room = part_bytes

    def add(address: bytes, row: StoredRow) -> bool:
        nonlocal room
        room -= len(address) + ENTRY_BYTES * len(row.versions)
        if entries and room < 0:
            return False
        listed = [LeafVersion(version.dot, term_of(address, version)) for version in row.versions]
        entries.append(LeafEntry(address, tuple(listed)))
        return True

    resume = _visit_leaves(reader, shard, leaves, after, add)
    return WalkEntries(shard.name, tuple(entries), resume)


def _visit_leaves(
    reader: Reader, shard: Shard, leaves: tuple[int, ...], after: bytes, add: Callable[[bytes, StoredRow], bool]
) -> Position | None:
    """Pass each row of the leaves to `add` until it has no room; return where that was, or None at the end."""
    for place, leaf in enumerate(leaves):
        start = after if place == 0 else b""
        for address, row in _leaf_rows(reader, shard, leaf, start):
            if not add(address, row):
                return Position(place, start)
            start = address
    return None


def _leaf_rows(reader: Reader, shard: Shard, leaf: int, after: bytes) -> Iterator[tuple[bytes, StoredRow]]:
    for address in reader.leaf(shard.name, leaf, after):
        row = reader.row(shard.name, address)
        assert row is not None, "a leaf lists a row that is not there"
        yield address, row


def _fetch_rows(reader: Reader, shard: Shard, addresses: tuple[bytes, ...], parcel: Parcel) -> WalkRows:
    for place, address in enumerate(addresses):
        row = reader.row(shard.name, address)
        if row is not None and not parcel.add(address, row):
            return WalkRows(shard.name, parcel.copies(), Position(place, b""), parcel.large())
    return WalkRows(shard.name, parcel.copies(), None, parcel.large())
