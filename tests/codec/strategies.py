"""Envelopes of every shape that the types allow."""

from __future__ import annotations

from hypothesis import strategies as st

from gossipkv.core.model.address import NAMESPACES, address_of
from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.model.clock import TIMESTAMP_MAX
from gossipkv.core.model.collected import LINEAGE_MAX, Collected, Proof
from gossipkv.core.model.fingerprint import LEAF_SUMS, LEAVES, LEAVES_PER_NODE, NODES, Sums
from gossipkv.core.model.lacking import LackedRow
from gossipkv.core.model.member import INCARNATION_END
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol import messages as m
from gossipkv.core.protocol.base import Abridged, AbridgedIds
from gossipkv.core.protocol.parcel import VALUE_BYTES_MAX, outlined
from gossipkv.core.protocol.rumours import RUMOURS_PER_MESSAGE_MAX, STATUSES, Life, Rumour

integers_64 = st.integers(0, 2**64 - 1)
counts = st.integers(0, 2**63 - 1)
sequences = st.integers(1, SEQUENCE_MAX)
shards = st.sampled_from(NAMESPACES)
tables = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100).map(str.encode)
addresses = st.builds(address_of, tables, keys)
starts = st.just(b"") | addresses
contexts = st.dictionaries(integers_64, sequences, max_size=4).map(Context)
sent_contexts = contexts | st.builds(Abridged, contexts, st.integers(1, 2**64 - 1))
dots = st.builds(Dot, integers_64, sequences)
sums = st.builds(Sums, integers_64, integers_64)
nodes = st.lists(st.integers(0, NODES - 1), max_size=3).map(tuple)
leaves = st.lists(st.integers(0, LEAVES - 1), max_size=5).map(tuple)
cursors = st.none() | st.builds(m.Cursor, integers_64, st.integers(0, SEQUENCE_MAX))
positions = st.none() | st.builds(m.Position, counts, starts)
_timestamps = st.integers(1, TIMESTAMP_MAX)


def _beside(version: Version, share: int | None) -> Version:
    return version if share is None else version._replace(siblings_above=version.timestamp * share // 10)


versions = st.builds(
    _beside,
    st.builds(Version, dots, _timestamps, st.none() | st.binary(max_size=100), st.none() | counts, st.none()),
    st.none() | st.integers(0, 9),
)


def _ordered(found: list[Version], seen: Context) -> StoredRow:
    ordered = tuple(sorted(found, key=lambda version: (version.rank, version.dot), reverse=True))
    context = Context(seen)
    for version in ordered:
        context.advance({version.dot.replica: version.dot.sequence})
    return StoredRow(ordered, context)


rows = st.builds(_ordered, st.lists(versions, min_size=1, max_size=3, unique_by=lambda version: version.dot), contexts)
row_copies = st.lists(st.builds(m.RowCopy, addresses, rows), max_size=3).map(tuple)


def _outlined(copy: m.RowCopy, size: int) -> m.LargeRow:
    large = outlined(*copy)
    return large._replace(
        versions=tuple([each if each.size is None else each._replace(size=size) for each in large.versions])
    )


large_rows = st.lists(
    st.builds(_outlined, st.builds(m.RowCopy, addresses, rows), st.integers(0, VALUE_BYTES_MAX)), max_size=3
).map(tuple)

lacked_rows = st.lists(st.builds(LackedRow, addresses, contexts), max_size=3).map(tuple)


@st.composite
def _ranges(draw: st.DrawFn) -> m.Range:
    through = draw(sequences)
    return m.Range(draw(st.integers(0, through)), through)


@st.composite
def _walk_sums(draw: st.DrawFn) -> m.WalkSums:
    asked = draw(nodes)
    few = b"".join([LEAF_SUMS.pack(*each) for each in draw(st.lists(sums, min_size=1, max_size=3))])
    length = LEAF_SUMS.size * LEAVES_PER_NODE * len(asked)
    return m.WalkSums(draw(shards), asked, (few * length)[:length])


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
lives = st.builds(Life, st.integers(0, INCARNATION_END - 1), st.integers(0, INCARNATION_END - 1))
rumours = st.lists(
    st.builds(Rumour, names, st.sampled_from(STATUSES), lives, st.just("") | names),
    max_size=RUMOURS_PER_MESSAGE_MAX + 2,
).map(tuple)
replicas = st.frozensets(integers_64, max_size=3)
replicas |= st.builds(
    AbridgedIds, replicas, st.integers(1, 2**64 - 1), st.lists(st.integers(0, 2**32 - 1), max_size=4).map(tuple)
)
proofs = st.lists(st.builds(Proof, sent_contexts, replicas, replicas), max_size=3).map(tuple)
lineages = st.lists(integers_64, max_size=LINEAGE_MAX).map(tuple)
leaf_versions = st.builds(m.LeafVersion, dots, st.integers(0, 2**64 - 1))
entries = st.builds(m.LeafEntry, addresses, st.lists(leaf_versions, min_size=1, max_size=3).map(tuple))
of_type: dict[type[m.Message], st.SearchStrategy[m.Message]] = {
    m.Digest: st.builds(
        m.Digest,
        shards,
        integers_64,
        integers_64,
        counts,
        counts,
        st.booleans(),
        integers_64,
        st.booleans(),
        st.booleans(),
    ),
    m.State: st.builds(m.State, shards, sent_contexts, proofs, lineages, contexts),
    m.Covered: st.builds(m.Covered, shards, sent_contexts, contexts),
    m.Pull: st.builds(m.Pull, shards, sent_contexts, cursors, contexts),
    m.Delta: st.builds(
        m.Delta,
        shards,
        st.dictionaries(integers_64, _ranges(), max_size=3),
        row_copies,
        cursors,
        large_rows,
        lacked_rows,
        base=integers_64,
    ),
    m.Offer: st.builds(m.Offer, shards),
    m.TooFar: st.builds(m.TooFar, shards),
    m.Unlisted: st.builds(m.Unlisted, shards),
    m.WalkBegin: st.builds(m.WalkBegin, shards),
    m.WalkRoot: st.builds(
        m.WalkRoot,
        shards,
        sent_contexts,
        sums.map(lambda found: (found,) * NODES),
        st.builds(Collected, proofs, integers_64, lineages),
        lacked_rows,
    ),
    m.WalkNodes: st.builds(m.WalkNodes, shards, nodes),
    m.WalkSums: _walk_sums(),
    m.WalkList: st.builds(m.WalkList, shards, leaves, starts),
    m.WalkEntries: st.builds(m.WalkEntries, shards, st.lists(entries, max_size=3).map(tuple), positions),
    m.WalkFetch: st.builds(m.WalkFetch, shards, leaves, starts),
    m.WalkFetchRows: st.builds(m.WalkFetchRows, shards, st.lists(addresses, max_size=3).map(tuple)),
    m.WalkRows: st.builds(m.WalkRows, shards, row_copies, positions, large_rows, base=integers_64),
    m.FetchValue: st.builds(m.FetchValue, shards, addresses, dots, integers_64, counts),
    m.ValuePart: st.builds(
        m.ValuePart, shards, addresses, dots, counts, st.binary(max_size=100), row_copies, large_rows, base=integers_64
    ),
    m.Ping: st.builds(m.Ping, rumours),
    m.PingRequest: st.builds(m.PingRequest, names, rumours),
    m.Ack: st.builds(m.Ack, names, rumours),
}


def envelopes_of(found: st.SearchStrategy[m.Message]) -> st.SearchStrategy[m.Envelope]:
    return st.builds(
        m.Envelope,
        names,
        names,
        integers_64,
        counts,
        counts,
        st.lists(found, max_size=3).map(tuple),
        st.booleans(),
        counts,
        integers_64,
        integers_64,
        st.just("") | st.just("http://10.0.0.1:7081"),
        st.booleans(),
    )


envelopes = envelopes_of(st.one_of(*of_type.values()))
