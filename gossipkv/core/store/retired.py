"""Retired replicas, in `sys.retired`: replicas that are gone and whose writes all listed members cover, in order.

A retired replica is not forbidden to come back. The list only lets contexts omit it (`core/protocol/base.py`). So a
replica that comes back has an entry again, and is listed again when it is gone again. Each row holds up to
`REPLICAS_PER_ROW` replicas with their last write per shard. The rows are numbered; new replicas are appended to the
last one.

A member omits a replica from what it sends about a shard if it covers what the row lists, and if one of these holds:

- it knows that every listed member has the row, so that all of them recognise the base;
- a member that it hears from omits the replica.

Replicas are omitted in order, so a base stands for the first n of them. If two members add to a row at the same time,
one addition is lost and made again later. Until then, some bases are not recognised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from gossipkv.core.model.address import NAMESPACES, RETIRED_TABLE, SYSTEM, address_of, key_of, table_of
from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot, ReplicaId
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.base import NO_BASE, Base
from gossipkv.core.protocol.messages import RowCopy
from gossipkv.core.store.storage import Reader

REPLICAS_PER_ROW = 32
"""Maximum number of replicas in a row. More replicas make each addition costlier, fewer make more rows for a new member
to fetch."""

REMEMBERED_MAX = 1_024
"""Number of rows that are not parsed again."""
REMEMBERED_BYTES_MAX = 64 * REPLICAS_PER_ROW
"""A row that members write is not larger. Anyone may write a larger one, and it is parsed each time."""

_KEY = re.compile(rb"[0-9a-f]{8}")
_ENTRY = re.compile(r"([0-9a-f]{16})\.([0-9]{1,19})\.([0-9]{1,19})")
"""The replica, and its last write in `sys` and in `usr`."""


class Retirement(NamedTuple):
    """A replica that is gone, with its last writes."""

    replica: ReplicaId
    sequences: dict[str, int]
    """Its last write per shard, which all listed members covered."""


class _Listing(NamedTuple):
    """The content of one row."""

    retirements: tuple[Retirement, ...]
    entries: dict[str, tuple[Dot, ...]]
    """Per shard, the last write of each replica. They are made once: a base holds those of all rows."""
    dot: Dot
    """The write that made the row."""


def _listing_in(row: StoredRow) -> _Listing | None:
    """Return the replicas that a row of `sys.retired` lists; None if no member can have written the row."""
    value = row.winner.value or b""
    listed = _listed(value) if len(value) <= REMEMBERED_BYTES_MAX else _listed.__wrapped__(value)
    return None if listed is None else _Listing(*listed, row.winner.dot)


@lru_cache(REMEMBERED_MAX)
def _listed(value: bytes) -> tuple[tuple[Retirement, ...], dict[str, tuple[Dot, ...]]] | None:
    """Return the replicas that a value lists, and their last writes per shard. Rows come again with each walk."""
    try:
        found = [_ENTRY.fullmatch(entry) for entry in json.loads(value)]
    except (ValueError, TypeError, RecursionError):
        return None
    retirements = [
        Retirement(int(m[1], 16), dict(zip(NAMESPACES, (int(m[2]), int(m[3])), strict=True))) for m in found if m
    ]
    if len(retirements) != len(found) or any(max(each.sequences.values()) > SEQUENCE_MAX for each in retirements):
        return None
    entries = {name: tuple([Dot(each.replica, each.sequences[name]) for each in retirements]) for name in NAMESPACES}
    return tuple(retirements), entries


def last_writes(copies: Iterable[RowCopy], replica: ReplicaId) -> dict[str, int]:
    """Return the last write of a replica per shard, according to rows of `sys.retired`."""
    latest: dict[str, int] = {}
    for address, row in copies:
        listing = _listing_in(row) if table_of(address) == RETIRED_TABLE else None
        for retirement in listing.retirements if listing is not None else ():
            if retirement.replica == replica:
                for name, sequence in retirement.sequences.items():
                    latest[name] = max(sequence, latest.get(name, 0))
    return latest


class Retired:
    """The retired replicas that a member knows of, in order."""

    def __init__(self) -> None:
        self._listings: dict[int, _Listing] = {}
        self.order: list[Retirement] = []
        self._dots: list[Dot] = []
        """The write that each of them was listed with."""
        self._latest: dict[ReplicaId, dict[str, int]] | None = None

    def load(self, reader: Reader) -> None:
        """Replace what is known by what is stored."""
        self._listings, self.order, self._dots, self._latest = {}, [], [], None
        prefix = address_of(RETIRED_TABLE, b"")
        self.follow(RowCopy(*each) for each in reader.rows(SYSTEM, prefix, prefix[:-1] + b"\1"))

    def follow(self, changed: Iterable[RowCopy]) -> bool:
        """Learn from the current rows of `sys`; return whether anything has changed."""
        has_changed = False
        for address, row in changed:
            if table_of(address) == RETIRED_TABLE and _KEY.fullmatch(key_of(address)):
                listing = _listing_in(row)
                if listing is not None:
                    self._listings[int(key_of(address), 16)] = listing
                    has_changed = True
        if has_changed:
            listings = [self._listings[number] for number in sorted(self._listings)]
            self.order = [each for listing in listings for each in listing.retirements]
            self._dots = [listing.dot for listing in listings for _ in listing.retirements]
            self._latest = None
        return has_changed

    def added(self, retirements: Sequence[Retirement]) -> list[Operation]:
        """Return the operations that append these replicas."""
        number = max(self._listings, default=0)
        listed = list(self._listings[number].retirements) if number in self._listings else []
        operations = []
        left = list(retirements)
        while left:
            room = max(0, REPLICAS_PER_ROW - len(listed))
            listed += left[:room]
            del left[:room]
            if room:
                operations.append(_writing(number, listed))
            number, listed = number + 1, []
        return operations

    def latest(self) -> Mapping[ReplicaId, dict[str, int]]:
        """Return, per replica, its last write per shard when it was last retired."""
        if self._latest is None:
            self._latest = {each.replica: each.sequences for each in self.order}
        return self._latest

    def base(self, shard: str, former: Base) -> Base:
        """Return a base with the replicas known now, which omits what the former one omitted."""
        listings = [self._listings[number] for number in sorted(self._listings)]
        return former.of_entries(tuple(chain.from_iterable(listing.entries[shard] for listing in listings)))

    def settled_length(self, shard: str, base: Base, context: Context, all_hold: Callable[[str, Dot], bool]) -> int:
        """Return how many replicas, counted from the first, a context of the shard may omit. `all_hold` says whether
        all members hold a write."""
        length = base.length
        while (
            length < len(self.order)
            and all_hold(SYSTEM, self._dots[length])
            and context.get(self.order[length].replica, 0) >= self.order[length].sequences[shard]
        ):
            length += 1
        return length


def _writing(number: int, listed: Sequence[Retirement]) -> Operation:
    entries = [
        ".".join([f"{each.replica:016x}", *(str(each.sequences[name]) for name in NAMESPACES)]) for each in listed
    ]
    return Operation(address_of(RETIRED_TABLE, b"%08x" % number), json.dumps(entries).encode())


def stored_base(reader: Reader, shard: str, retired: Retired | None = None) -> Base:
    """Return the base of the stored records of a shard."""
    if retired is None:
        retired = Retired()
        retired.load(reader)
    base = retired.base(shard, NO_BASE)
    settled = reader.settled(shard)
    return base.of_length(len(base.entries)).within(settled) if settled else base
