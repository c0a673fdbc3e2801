from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipkv.core.model.causality import Context, Dot

CONTEXTS = st.dictionaries(st.integers(0, 4), st.integers(0, 6)).map(Context)


def dots(context: Context) -> set[Dot]:
    return {Dot(replica, sequence) for replica, last in context.items() for sequence in range(1, last + 1)}


@given(CONTEXTS, st.integers(0, 4), st.integers(1, 7))
def test_a_context_covers_every_write_up_to_its_entry(context: Context, replica: int, sequence: int) -> None:
    assert context.covers(Dot(replica, sequence)) == (Dot(replica, sequence) in dots(context))


@given(CONTEXTS, CONTEXTS)
def test_the_joined_context_covers_what_either_covers(one: Context, other: Context) -> None:
    before = Context(one)
    joined = one.joined(other)
    assert dots(joined) == dots(one) | dots(other)
    assert one == before
    one.advance(other)
    assert one == joined


@given(CONTEXTS, CONTEXTS)
def test_a_context_covers_all_of_another_when_none_of_its_writes_is_missing(one: Context, other: Context) -> None:
    assert one.covers_all(other) == (dots(other) <= dots(one))
    assert one.excess_over(other) == len(dots(one) - dots(other))
    assert one.missing_from(other) == sorted({dot.replica for dot in dots(one) - dots(other)})


@given(CONTEXTS, CONTEXTS)
def test_digests_are_equal_for_contexts_that_cover_the_same(one: Context, other: Context) -> None:
    assert (one.digest() == other.digest()) == (dots(one) == dots(other))
    assert Context(reversed(one.items())).digest() == one.digest()


def test_a_dot_reads_as_hexadecimal() -> None:
    assert str(Dot(0xAB, 31)) == "00000000000000ab-1f"
