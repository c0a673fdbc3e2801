"""How much goes into one message and one envelope."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gossipkv.codec import encode
from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.model.collected import Collected, Proof
from gossipkv.core.model.lacking import LackedRow
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol import parcel
from gossipkv.core.protocol.envelope_room import ENVELOPE_BYTES_MAX, EnvelopeRoom, bytes_of
from gossipkv.core.protocol.messages import (
    Covered,
    Delta,
    Envelope,
    LeafEntry,
    LeafVersion,
    Message,
    Offer,
    Ping,
    Pull,
    Range,
    RowCopy,
    State,
    ValuePart,
    WalkEntries,
    WalkFetch,
    WalkFetchRows,
    WalkList,
    WalkNodes,
    WalkRoot,
    WalkRows,
    WalkSums,
)
from gossipkv.core.protocol.parcel import Parcel, is_carriable, outline_bytes, outlined, row_bytes
from gossipkv.core.protocol.rumours import Life, Rumour
from tests.core.disks import at

USR = "usr"
ADDRESS = at("k" * 90)
LAST = 2**64 - 1


def many(count: int) -> Context:
    """A context of entries that take the most room."""
    return Context({LAST - number: SEQUENCE_MAX for number in range(count)})


def ids(count: int) -> frozenset[int]:
    return frozenset(many(count))


def rows(count: int) -> tuple[LackedRow, ...]:
    return tuple(LackedRow(ADDRESS, Context()) for _ in range(count))


def proof(marks: int = 0, listed: int = 0, known: int = 0) -> Proof:
    return Proof(many(marks), ids(listed), ids(known))


EXACT: dict[str, Callable[[int], Message]] = {
    "state, context": lambda n: State(USR, many(n)),
    "state, lacking": lambda n: State(USR, Context(), lacking=many(n)),
    "state, lineage": lambda n: State(USR, Context(), (), tuple(ids(n))),
    "state, marks": lambda n: State(USR, Context(), (proof(n),)),
    "state, listed": lambda n: State(USR, Context(), (proof(0, n),)),
    "state, known": lambda n: State(USR, Context(), (proof(0, 0, n),)),
    "covered": lambda n: Covered(USR, many(n)),
    "covered, lacking": lambda n: Covered(USR, Context(), many(n)),
    "pull": lambda n: Pull(USR, many(n)),
    "pull, lacking": lambda n: Pull(USR, Context(), None, many(n)),
    "delta, ranges": lambda n: Delta(USR, {o: Range(s - 1, s) for o, s in many(n).items()}, ()),
    "delta, a lacking row": lambda n: Delta(USR, {}, (), lacking=(LackedRow(ADDRESS, many(n)),)),
    "delta, a row": lambda n: Delta(USR, {}, (RowCopy(ADDRESS, StoredRow((Version(Dot(1, 1), 1, None),), many(n))),)),
    "root, context": lambda n: WalkRoot(USR, many(n), (), Collected(), ()),
    "root, nodes": lambda n: WalkRoot(USR, Context(), ((LAST, LAST),) * n, Collected(), ()),
    "root, lineage": lambda n: WalkRoot(USR, Context(), (), Collected((), 0, tuple(ids(n))), ()),
    "root, marks": lambda n: WalkRoot(USR, Context(), (), Collected((proof(n),)), ()),
    "root, a lacking row": lambda n: WalkRoot(USR, Context(), (), Collected(), (LackedRow(ADDRESS, many(n)),)),
    "nodes": lambda n: WalkNodes(USR, (7,) * n),
    "sums": lambda n: WalkSums(USR, (), bytes(n)),
    "sums, nodes": lambda n: WalkSums(USR, (7,) * n, b""),
    "list": lambda n: WalkList(USR, (65_535,) * n, b""),
    "fetch": lambda n: WalkFetch(USR, (65_535,) * n, b""),
    "entries, versions": lambda n: WalkEntries(
        USR, (LeafEntry(ADDRESS, (LeafVersion(Dot(LAST, SEQUENCE_MAX), LAST),) * n),), None
    ),
    "value": lambda n: ValuePart(USR, ADDRESS, Dot(1, 1), 0, bytes(n)),
}

BOUNDED: dict[str, Callable[[int], Message]] = {
    "state, proofs": lambda n: State(USR, Context(), (proof(),) * n),
    "delta, lacking rows": lambda n: Delta(USR, {}, (), lacking=rows(n)),
    "root, lacking rows": lambda n: WalkRoot(USR, Context(), (), Collected(), rows(n)),
    "root, proofs": lambda n: WalkRoot(USR, Context(), (), Collected((proof(),) * n), ()),
    "entries": lambda n: WalkEntries(USR, (LeafEntry(ADDRESS, ()),) * n, None),
    "fetch rows": lambda n: WalkFetchRows(USR, (ADDRESS,) * n),
    "ping": lambda n: Ping((Rumour("m" * 255, "suspect", Life(2**62 - 1, 2**62 - 1), "a" * 255),) * n),
}
"""Parts whose size varies by a few bytes."""


def growth(made: Callable[[int], Message]) -> tuple[int, int]:
    """How much a hundred more parts take in a frame, and how much is reserved for them."""
    taken = [len(encode(Envelope("test", "a", 1, 1, 0, (made(count),)))) for count in (300, 400)]
    reserved = [bytes_of(made(count)) for count in (300, 400)]
    return taken[1] - taken[0], reserved[1] - reserved[0]


@pytest.mark.parametrize("made", EXACT.values(), ids=EXACT.keys())
def test_what_is_reserved_for_a_part_is_what_it_takes(made: Callable[[int], Message]) -> None:
    taken, reserved = growth(made)
    assert taken == reserved


@pytest.mark.parametrize("made", BOUNDED.values(), ids=BOUNDED.keys())
def test_what_is_reserved_for_a_part_is_hardly_more_than_it_takes(made: Callable[[int], Message]) -> None:
    taken, reserved = growth(made)
    assert taken <= reserved <= taken + 3_000


def test_rows_and_outlines_count_in_every_message_that_holds_some() -> None:
    copy = RowCopy(ADDRESS, StoredRow((Version(Dot(1, 1), 1, bytes(70)),), Context({1: 1})))
    large = outlined(*copy)
    empty = bytes_of(Offer(USR))
    both = row_bytes(copy) + 2 * outline_bytes(large)
    assert bytes_of(Delta(USR, {}, (copy,), large=(large, large))) == empty + both
    assert bytes_of(WalkRows(USR, (copy,), None, (large, large))) == empty + both
    part = ValuePart(USR, ADDRESS, Dot(1, 1), 0, b"", (copy,), (large, large))
    assert bytes_of(part) == empty + both


def test_an_envelope_takes_messages_while_all_of_them_fit() -> None:
    room = EnvelopeRoom()
    size = bytes_of(Offer(USR))
    assert room.takes([Offer(USR)] * 2)
    assert room.bytes_left == ENVELOPE_BYTES_MAX - 2 * size
    assert room.takes([])
    room.bytes_left = 3 * size - 1
    assert not room.takes([Offer(USR)] * 3)
    assert room.bytes_left == 3 * size - 1
    room.bytes_left = 3 * size
    assert room.takes([Offer(USR)] * 3)
    assert room.bytes_left == 0


# Rows in one message.


def copy_of(size: int, key: str = "a") -> RowCopy:
    """A row that takes this many bytes."""
    small = RowCopy(at(key), StoredRow((Version(Dot(1, 1), 1, b""),), Context({1: 1})))
    value = bytes(size - row_bytes(small))
    return RowCopy(at(key), StoredRow((Version(Dot(1, 1), 1, value),), Context({1: 1})))


def test_the_size_of_a_row_is_that_of_its_address_its_context_and_its_versions() -> None:
    one = RowCopy(at("a"), StoredRow((Version(Dot(1, 1), 1, None),), Context({1: 1})))
    base = row_bytes(one)
    assert row_bytes(RowCopy(at("abc"), one.row)) == base + 2
    assert row_bytes(RowCopy(at("a"), StoredRow(one.row.versions, Context({1: 1, 2: 1})))) == base + 16
    assert row_bytes(RowCopy(at("a"), StoredRow((Version(Dot(1, 1), 1, b"abc"),), Context({1: 1})))) == base + 3
    two = StoredRow((*one.row.versions, *one.row.versions), Context({1: 1}))
    assert row_bytes(RowCopy(at("a"), two)) == base + parcel._VERSION_BYTES
    assert outline_bytes(outlined(*one)) == base + parcel._VERSION_BYTES
    assert outline_bytes(outlined(at("a"), two)) == base + 3 * parcel._VERSION_BYTES
    assert outline_bytes(outlined(at("ab"), StoredRow(two.versions, Context({1: 1, 2: 1})))) == (
        base + 3 * parcel._VERSION_BYTES + 17
    )


def test_a_parcel_takes_what_fits_and_its_first_row_whatever_that_takes() -> None:
    found = Parcel(300)
    assert found.add(*copy_of(200, "a"))
    assert not found.add(*copy_of(101, "b"))
    assert found.add(*copy_of(100, "b"))
    assert list(found.rows) == [at("a"), at("b")]
    assert Parcel(10).add(*copy_of(200))


def test_a_row_above_the_size_of_a_whole_one_is_named_and_counts_with_its_values() -> None:
    found = Parcel(1_000, 200)
    assert found.add(*copy_of(200, "a"))
    assert found.add(*copy_of(201, "b"))
    assert [copy.address for copy in found.copies()] == [at("a")]
    assert [large.address for large in found.large()] == [at("b")]
    assert not found.add(*copy_of(600, "c"))
    assert found.add(*copy_of(599, "c"))
    assert [large.address for large in found.large()] == [at("b"), at("c")]


def test_a_row_is_carried_if_its_values_its_outline_and_all_of_it_are_within_their_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = RowCopy(at("a"), StoredRow((Version(Dot(1, 2), 1, bytes(30)), Version(Dot(1, 1), 1, bytes(20))), Context()))
    outline = outline_bytes(outlined(*copy))
    for name, least in (
        ("VALUE_BYTES_MAX", 30),
        ("OUTLINE_BYTES_MAX", outline),
        ("ROW_BYTES_MAX", outline + 50),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(parcel, name, least)
            assert is_carriable(copy)
            patch.setattr(parcel, name, least - 1)
            assert not is_carriable(copy), name
    with_context = RowCopy(copy.address, StoredRow(copy.row.versions, many(3)))
    with monkeypatch.context() as patch:
        patch.setattr(parcel, "OUTLINE_BYTES_MAX", outline + 48)
        assert is_carriable(with_context)
        patch.setattr(parcel, "OUTLINE_BYTES_MAX", outline + 47)
        assert not is_carriable(with_context)


def test_an_outline_names_the_size_and_the_hash_of_each_value_and_neither_of_a_tombstone() -> None:
    versions = (Version(Dot(1, 2), 5, b"value", 9, 3), Version(Dot(1, 1), 4, None))
    found = outlined(at("a"), StoredRow(versions, Context({1: 2})))
    value, tombstone = found.versions
    assert (found.address, found.context) == (at("a"), {1: 2})
    assert (value.dot, value.timestamp, value.size, value.expires_ms, value.siblings_above) == (Dot(1, 2), 5, 5, 9, 3)
    assert value.digest != 0
    assert (tombstone.dot, tombstone.size, tombstone.digest) == (Dot(1, 1), None, 0)
