"""In a table that keeps siblings a row holds exactly the writes that no write known to the copy has seen.

What a writer had seen is computed from its request alone: the context that it gave; without one nothing, or, where the
member had nothing to read, what was there.
"""

from __future__ import annotations

from collections import defaultdict

from gossipkv.core.address import table_of
from gossipkv.core.causality import Context, Dot
from gossipkv.core.row import Row
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.client import BESIDE
from gossipkv.simulation.disk import Commit
from gossipkv.simulation.history import History


class Siblings(Checker):
    name = "siblings"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._seen: dict[bytes, dict[Dot, frozenset[Dot]]] = defaultdict(dict)
        """Per row, what the writer of each write had seen."""

    def committed(self, commit: Commit) -> None:
        stood = dict(commit.before)
        for shard, address, row in commit.puts:
            if table_of(address) == BESIDE:
                self._check(commit.disk.member, address, stood[shard, address], row)
            stood[shard, address] = row

    def _check(self, member: str, address: bytes, before: Row | None, row: Row) -> None:
        writes = self._seen[address]
        found = {version.dot for version in row.versions}
        fresh = [version for version in row.versions if version.dot not in writes]
        if not fresh:
            self.require(found == _maximal(writes, row.context), member, "holds", row, "at", address)
            return
        (written,) = fresh
        # Deletes have no values to tell them apart: one of those that were asked for must explain the row. First comes
        # the one that explains its context, too: another may claim to have seen writes that this copy does not know of.
        given = self.history.contexts_given[address, written.value]
        contexts = [self._context_of(before, context) for context in given]
        for seen in sorted(contexts, key=lambda seen: _context_after(before, seen, written.dot) != row.context):
            writes[written.dot] = _covered(writes, seen)
            if found == _maximal(writes, row.context):
                break
        self.require(found == _maximal(writes, row.context), member, "wrote", written, "and holds", row, "at", address)

    def _context_of(self, before: Row | None, given: Context | None) -> Context:
        if given is not None:
            return given
        return before.context if before is not None and not before.is_visible else Context()


def _covered(writes: dict[Dot, frozenset[Dot]], context: Context) -> frozenset[Dot]:
    return frozenset(dot for dot in writes if context.covers(dot))


def _context_after(before: Row | None, seen: Context, dot: Dot) -> Context:
    context = seen.joined(before.context) if before is not None else Context(seen)
    context.advance({dot.replica: dot.sequence})
    return context


def _maximal(writes: dict[Dot, frozenset[Dot]], context: Context) -> set[Dot]:
    known = {dot for dot in writes if context.covers(dot)}
    return known - {old for dot in known for old in writes[dot] if old != dot}
