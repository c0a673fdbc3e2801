"""The two-level fingerprint table.

The fingerprint of a set of row versions is the sum, modulo 2^64, of one *term* per version. A term is a hash of the
address and of everything that the version holds, its value included. So equal fingerprints mean equal contents, even if
two processes have given one dot to two writes. The sum does not depend on order, and follows each write in constant
time.

Rows fall into 256 x 256 leaves by the hash of their address. A leaf, a node (256 leaves) and the root each carry two
sums: one over visible versions and one over tombstones. Two members that compare sums level by level find the leaves
that differ without looking at a row.

Sums are persisted in pages of 64 leaves, 1 KiB each. That is small enough for a write to cost one page, and few enough
pages for a start to read all at once.

Source: Merkle, "A Digital Signature Based on a Conventional Encryption Function", 1987, with the sum of Bellare,
Micciancio, "A New Paradigm for Collision-Free Hashing: Incrementality at Reduced Cost", 1997 (here against accidents,
not against attackers).
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable
from typing import NamedTuple

import xxhash

from gossipkv.core.model.row import Version

NODES = 256
LEAVES_PER_NODE = 256
LEAVES = NODES * LEAVES_PER_NODE
LEAVES_PER_PAGE = 64
PAGES = LEAVES // LEAVES_PER_PAGE
PAGE_BYTES = 16 * LEAVES_PER_PAGE

_MASK = 2**64 - 1
_HEAD = struct.Struct(">BQQQ").pack
_LONG_HEAD = struct.Struct(">BQQQQQ").pack
_IS_VALUE, _HAS_EXPIRY, _KEEPS_SIBLINGS = 1, 2, 4
_SWAPS_BYTES = sys.byteorder == "big"

LEAF_SUMS = struct.Struct(">QQ")
"""The sums of one leaf, as `FingerprintTable.leaves_of` returns those of 256."""


class Sums(NamedTuple):
    """The two sums over one set of rows."""

    visible: int
    tombstones: int


EMPTY = Sums(0, 0)

Pair = tuple[int, int]
"""Visible and tombstone sums in bulk: a plain tuple is cheaper to create than `Sums`."""

_hash = xxhash.xxh3_64_intdigest


def leaf_of(address: bytes) -> int:
    """Return the leaf that a row belongs to, 0 to 65,535; its node is `leaf >> 8`."""
    return _hash(address) >> 48


def term_of(address: bytes, version: Version) -> int:
    """Return the term of one version of a row.

    The hash of everything but the value seeds the hash of the value, so no value is copied. The first byte says which
    fields follow, so no two versions are hashed from the same bytes.
    """
    (replica, sequence), timestamp, value, expires_ms, siblings_above = version
    if expires_ms is None and siblings_above is None:
        head = _HEAD(value is not None, replica, sequence, timestamp)
    else:
        kind = _IS_VALUE * (value is not None)
        kind |= _HAS_EXPIRY * (expires_ms is not None) | _KEEPS_SIBLINGS * (siblings_above is not None)
        head = _LONG_HEAD(kind, replica, sequence, timestamp, expires_ms or 0, siblings_above or 0)
    seed = _hash(head + address)
    return seed if value is None else _hash(value, seed)


class FingerprintTable:
    """The sums of one shard; `replace` keeps them in step with its rows."""

    __slots__ = ("_dirty", "_leaves", "_nodes", "_root")

    def __init__(self) -> None:
        # Visible and tombstone sums alternate: leaf i has its sums at 2i and 2i + 1, and so have nodes.
        self._leaves = array("Q", bytes(16 * LEAVES))
        self._nodes = array("Q", bytes(16 * NODES))
        self._root = [0, 0]
        self._dirty: set[int] = set()

    @property
    def root(self) -> Sums:
        """The sums over all rows."""
        return Sums(*self._root)

    def node(self, node: int) -> Sums:
        """Return the sums of one node, 0 to 255."""
        return Sums(self._nodes[2 * node], self._nodes[2 * node + 1])

    def leaf(self, leaf: int) -> Sums:
        """Return the sums of one leaf, 0 to 65,535."""
        return Sums(self._leaves[2 * leaf], self._leaves[2 * leaf + 1])

    def nodes(self) -> list[Pair]:
        """Return the sums of all 256 nodes."""
        return list(zip(self._nodes[::2], self._nodes[1::2], strict=True))

    def leaves_of(self, node: int) -> bytes:
        """Return the sums of the 256 leaves of a node: for each leaf both sums, as 64-bit big-endian numbers."""
        first = 2 * LEAVES_PER_NODE * node
        sums = self._leaves[first : first + 2 * LEAVES_PER_NODE]
        if not _SWAPS_BYTES:
            sums.byteswap()
        return sums.tobytes()

    def replace(self, address: bytes, old: Iterable[Version], new: Iterable[Version]) -> int:
        """Follow one row from its old versions to its new ones, and return its leaf."""
        leaf = leaf_of(address)
        visible = tombstones = 0
        for version in new:
            if version.value is None:
                tombstones += term_of(address, version)
            else:
                visible += term_of(address, version)
        for version in old:
            if version.value is None:
                tombstones -= term_of(address, version)
            else:
                visible -= term_of(address, version)
        for which, amount in ((0, visible), (1, tombstones)):
            if amount:
                leaves, nodes, root = self._leaves, self._nodes, self._root
                place = 2 * leaf + which
                leaves[place] = (leaves[place] + amount) & _MASK
                place = 2 * (leaf >> 8) + which
                nodes[place] = (nodes[place] + amount) & _MASK
                root[which] = (root[which] + amount) & _MASK
        self._dirty.add(leaf // LEAVES_PER_PAGE)
        return leaf

    def set_leaf(self, leaf: int, sums: Sums) -> None:
        """Give a leaf the sums of the rows that it still has."""
        held = self.leaf(leaf)
        for which in (0, 1):
            amount = sums[which] - held[which]
            self._leaves[2 * leaf + which] = sums[which]
            place = 2 * (leaf >> 8) + which
            self._nodes[place] = (self._nodes[place] + amount) & _MASK
            self._root[which] = (self._root[which] + amount) & _MASK
        self._dirty.add(leaf // LEAVES_PER_PAGE)

    def take_dirty_pages(self) -> list[tuple[int, bytes]]:
        """Return `(page, bytes)` of the pages that changed since the last call, in order of page."""
        pages = [(page, self._page(page)) for page in sorted(self._dirty)]
        self._dirty.clear()
        return pages

    def _page(self, page: int) -> bytes:
        first = 2 * LEAVES_PER_PAGE * page
        sums = self._leaves[first : first + 2 * LEAVES_PER_PAGE]
        if _SWAPS_BYTES:
            sums.byteswap()
        return sums.tobytes()

    def load_page(self, page: int, stored: bytes) -> None:
        """Load a page as `take_dirty_pages` returned it, into a table in which that page is still empty."""
        sums = array("Q", stored)
        if _SWAPS_BYTES:
            sums.byteswap()
        first = 2 * LEAVES_PER_PAGE * page
        self._leaves[first : first + 2 * LEAVES_PER_PAGE] = sums
        node = page * LEAVES_PER_PAGE // LEAVES_PER_NODE
        for which in (0, 1):
            total = sum(sums[which::2])
            self._nodes[2 * node + which] = (self._nodes[2 * node + which] + total) & _MASK
            self._root[which] = (self._root[which] + total) & _MASK
