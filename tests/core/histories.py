"""Histories of one row: writes on several copies with merges between them. Every copy is one that can come to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import strategies as st

from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import (
    Conflicts,
    StoredRow,
    Version,
    expired,
    merge,
    written,
    written_beside,
    written_for_any_table,
)

REPLICAS = 3


class Copy(NamedTuple):
    """A copy of the row at some moment, and the writes it knows of."""

    row: StoredRow
    known: frozenset[Dot]


@dataclass
class History:
    kinds: tuple[Conflicts | None, ...]
    """What the table is set to as writers know it: all the same, or changing; None: they do not know."""
    current: list[Copy | None] = field(default_factory=lambda: [None] * REPLICAS)
    copies: list[Copy] = field(default_factory=list)
    """Every copy there ever was: what may still be in flight, and what a writer may have read."""
    writes: dict[Dot, Version] = field(default_factory=dict)
    replaced: dict[Dot, frozenset[Dot]] = field(default_factory=dict)
    """Per write, the writes that its writer had seen."""

    def write(self, place: int, clock: int, value: bytes | None, expires_ms: int | None, kind: int, read: int) -> None:
        """`read`: which copy the writer has read; the one it writes to, or none, for a small or great number."""
        copy = self.current[place]
        dot = Dot(place + 1, 1 + sum(known.replica == place + 1 for known in self.writes))
        above = copy.row.winner.timestamp if copy else 0
        known = copy.known if copy else frozenset()
        if self.kinds[kind % len(self.kinds)] is Conflicts.LAST_WRITE_WINS:
            version = Version(dot, max(clock, above + 1), value, expires_ms)
            self.replaced[dot] = known
            row = written(copy.row if copy else None, version)
        elif self.kinds[kind % len(self.kinds)] is None:
            source = self.copies[read % len(self.copies)] if self.copies and read < 6 else None
            seen = source.row.seen if source else None
            version = Version(dot, max(clock, above + 1, seen.timestamp + 1 if seen else 0), value, expires_ms)
            known |= source.known if source else frozenset()
            self.replaced[dot] = known
            row = written_for_any_table(copy.row if copy else None, version, seen)
            version = row.winner
        else:
            source = self.copies[read % len(self.copies)] if self.copies and read < 12 else copy if read < 16 else None
            seen = source.row.seen if source else None
            above = max(above, seen.timestamp if seen else 0)
            version = Version(dot, max(clock, above + 1), value, expires_ms, seen.siblings_above if seen else 0)
            self.replaced[dot] = source.known if source else frozenset()
            known |= self.replaced[dot]
            row = written_beside(copy.row if copy else None, version, seen)
        self.writes[dot] = version
        self._keep(place, Copy(row, known | {dot}))

    def expire(self, place: int, now_ms: int) -> None:
        copy = self.current[place]
        due = [v for v in copy.row.versions if v.value is not None and not v.is_visible_at(now_ms)] if copy else []
        if copy is None or not due:
            return
        dot = Dot(place + 1, 1 + sum(known.replica == place + 1 for known in self.writes))
        row = expired(copy.row, dot, now_ms)
        self.writes[dot] = next(version for version in row.versions if version.dot == dot)
        self.replaced[dot] = frozenset(version.dot for version in due)
        self._keep(place, Copy(row, copy.known | {dot}))

    def send(self, source: int, target: int) -> None:
        sent, held = self.current[source], self.current[target]
        if sent is None:
            return
        if held is None:
            self._keep(target, sent)
        else:
            self._keep(target, Copy(merge(held.row, sent.row), held.known | sent.known))

    def _keep(self, place: int, copy: Copy) -> None:
        self.current[place] = copy
        self.copies.append(copy)

    def maximal(self, known: frozenset[Dot]) -> frozenset[Dot]:
        """The writes that no other of these has replaced."""
        return known - {old for dot in known for old in self.replaced[dot]}

    def covered_by_all(self) -> Context:
        """What every copy covers that a member holds now."""
        contexts = [copy.row.context if copy else Context() for copy in self.current]
        return Context({r: min(context.get(r, 0) for context in contexts) for r in range(1, REPLICAS + 1)})


_PLACES = st.integers(0, REPLICAS - 1)
_WRITES = st.tuples(
    _PLACES,
    st.integers(1, 9),
    st.none() | st.sampled_from([b"", b"value"]),
    st.none() | st.integers(1, 9),
    st.integers(0, 5),
    st.integers(0, 20),
)
_EXPIRIES = st.tuples(_PLACES, st.integers(1, 9), st.just("expire"))
_STEPS = st.lists(_WRITES | st.tuples(_PLACES, _PLACES) | _EXPIRIES, min_size=1, max_size=16)


@st.composite
def histories(draw: st.DrawFn, *kinds: Conflicts | None) -> History:
    """Histories with at least one copy; clocks are few, so that timestamps collide."""
    history = History(kinds)
    history.write(*draw(_WRITES))
    for step in draw(_STEPS):
        if len(step) == 2:
            history.send(*step)
        elif len(step) == 3:
            history.expire(step[0], step[1])
        else:
            history.write(*step)
    return history
