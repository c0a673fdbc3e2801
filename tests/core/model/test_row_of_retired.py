"""Rows that keep siblings forget entries of replicas that are gone, and nothing that was superseded comes back."""

from __future__ import annotations

from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import StoredRow, Version, merge, superseding, without_retired, without_settled

GONE, P, Q = 1, 2, 3
OLD = Version(Dot(GONE, 5), 10, b"old", None, 0)
NEW = Version(Dot(P, 9), 20, b"new", None, 0)
LATER = Version(Dot(Q, 2), 30, b"later", None, 0)

BEFORE = StoredRow((OLD,), Context({GONE: 5}))
KNOWN = StoredRow((NEW,), Context({GONE: 5, P: 9}))
WRITTEN = StoredRow((LATER,), Context({GONE: 5, P: 9, Q: 2}))
SETTLED = Context({GONE: 7})


def test_an_entry_that_names_nothing_goes_when_all_cover_what_the_old_copy_knew() -> None:
    forgotten = without_retired(KNOWN, WRITTEN, SETTLED, {GONE: 5, P: 9})
    assert forgotten == StoredRow((LATER,), Context({P: 9, Q: 2}))


def test_it_stays_while_a_member_may_hold_what_was_superseded() -> None:
    # Q covers the write of the replica that is gone, and not yet the one that superseded it.
    assert without_retired(KNOWN, WRITTEN, SETTLED, {GONE: 5, P: 8}) == WRITTEN
    assert without_retired(BEFORE, KNOWN, SETTLED, {GONE: 5}) == KNOWN


def test_it_stays_if_it_is_news_or_names_a_live_version_or_no_one_is_retired() -> None:
    stable = {GONE: 9, P: 9}
    assert without_retired(None, KNOWN, SETTLED, stable) == KNOWN
    assert without_retired(StoredRow((NEW,), Context({P: 9})), WRITTEN, SETTLED, stable) == WRITTEN
    assert without_retired(KNOWN, WRITTEN, {}, stable) == WRITTEN
    beside = StoredRow((NEW, OLD), Context({GONE: 5, P: 9}))
    assert without_retired(beside, beside, SETTLED, stable) == beside


def test_an_old_volume_learns_from_a_copy_without_the_entry_that_its_version_was_superseded() -> None:
    forgotten = StoredRow((LATER,), Context({P: 9, Q: 2}))
    assert len(merge(BEFORE, forgotten).versions) == 2
    assert merge(BEFORE, superseding(forgotten, BEFORE, SETTLED)).versions == (LATER,)


def test_a_sender_that_does_not_cover_a_write_has_not_superseded_it() -> None:
    newcomer = StoredRow((LATER,), Context({Q: 2}))
    assert merge(BEFORE, superseding(newcomer, BEFORE, {})).versions == (LATER, OLD)
    assert merge(BEFORE, superseding(newcomer, BEFORE, {GONE: 4})).versions == (LATER, OLD)
    first = StoredRow((OLD._replace(dot=Dot(GONE, 1)),), Context({GONE: 1}))
    assert superseding(newcomer, first, {}) == newcomer, "its first write is no exception"


def test_a_member_takes_nothing_in_that_it_covers_and_does_not_hold() -> None:
    forgotten = StoredRow((LATER,), Context({P: 9, Q: 2}))
    assert without_settled(BEFORE, forgotten, SETTLED) is None
    assert without_settled(StoredRow((NEW, OLD), KNOWN.context), forgotten, SETTLED) == StoredRow((NEW,), KNOWN.context)
    assert without_settled(BEFORE, BEFORE, SETTLED) == BEFORE
