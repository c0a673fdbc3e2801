"""Histories of one row: writes on several copies with merges between them. Every copy is one that can come to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import strategies as st

from gossipkv.core.causality import Context, Dot
from gossipkv.core.row import Conflicts, Row, Version, merge, written

REPLICAS = 3


class Copy(NamedTuple):
    """A copy of the row at some moment, and the writes it knows of."""

    row: Row
    known: frozenset[Dot]


@dataclass
class History:
    conflicts: Conflicts
    current: list[Copy | None] = field(default_factory=lambda: [None] * REPLICAS)
    copies: list[Copy] = field(default_factory=list)
    """Every copy there ever was: what may still be in flight."""
    writes: dict[Dot, Version] = field(default_factory=dict)
    replaced: dict[Dot, frozenset[Dot]] = field(default_factory=dict)
    """Per write, the writes that its copy knew of."""

    def write(self, place: int, clock: int, value: bytes | None, expires_ms: int | None) -> None:
        copy = self.current[place]
        replica = place + 1
        dot = Dot(replica, 1 + sum(known.replica == replica for known in self.writes))
        above = max((version.timestamp for version in copy.row.versions), default=0) if copy else 0
        version = Version(dot, max(clock, above + 1), value, expires_ms)
        self.writes[dot] = version
        self.replaced[dot] = copy.known if copy else frozenset()
        self._keep(place, Copy(written(copy.row if copy else None, version), self.replaced[dot] | {dot}))

    def send(self, source: int, target: int) -> None:
        sent, held = self.current[source], self.current[target]
        if sent is None:
            return
        if held is None:
            self._keep(target, sent)
        else:
            self._keep(target, Copy(merge(held.row, sent.row, self.conflicts), held.known | sent.known))

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
    _PLACES, st.integers(1, 9), st.none() | st.sampled_from([b"", b"value"]), st.none() | st.integers(1, 9)
)
_STEPS = st.lists(_WRITES | st.tuples(_PLACES, _PLACES), min_size=1, max_size=16)


@st.composite
def histories(draw: st.DrawFn, conflicts: Conflicts) -> History:
    """Histories with at least one copy; clocks are few, so that timestamps collide."""
    history = History(conflicts)
    history.write(*draw(_WRITES))
    for step in draw(_STEPS):
        if len(step) == 2:
            history.send(*step)
        else:
            history.write(*step)
    return history
