"""The answers to clients that wait: who has a write, how many members answer, and what a read of several found."""

from __future__ import annotations

import re
from typing import NamedTuple

from gossipkv.core.model.address import NAMESPACES
from gossipkv.core.model.causality import SEQUENCE_MAX, Dot, ReplicaId
from gossipkv.core.model.member import LEFT
from gossipkv.core.model.row import StoredRow

_RECEIPT = re.compile(r"([a-z]+)\.([0-9a-f]{16})\.([1-9][0-9]{0,18})")


class Receipt(NamedTuple):
    """The name of one write, for clients. For a batch, the last write stands for all."""

    shard: str
    dot: Dot

    def __str__(self) -> str:
        return "%s.%016x.%d" % (self.shard, *self.dot)  # noqa: UP031 (every answer to a write has one)

    @classmethod
    def parsed(cls, text: str) -> Receipt:
        """Raises ValueError."""
        match = _RECEIPT.fullmatch(text)
        if match is None or match[1] not in NAMESPACES or int(match[3]) > SEQUENCE_MAX:
            raise ValueError("a receipt is a namespace, 16 hex digits and a number, joined by dots")
        return cls(match[1], Dot(int(match[2], 16), int(match[3])))


class Holder(NamedTuple):
    """One member, and whether it is known to have a write durably."""

    member: str
    status: str
    is_self: bool
    replica: ReplicaId | None
    has_it: bool


class Coverage(NamedTuple):
    """The members that have a write, as far as is known here."""

    receipt: Receipt
    holders: tuple[Holder, ...]
    """All members known, by name."""

    @property
    def copies(self) -> int:
        """Durable copies at members that have not left."""
        return sum(holder.has_it for holder in self.holders if holder.status != LEFT)

    @property
    def members(self) -> int:
        """The members that have not left."""
        return sum(holder.status != LEFT for holder in self.holders)


class Reach(NamedTuple):
    """The number of members that have not left, and how many of them are alive; both include this one."""

    members: int
    answering: int


class Found(NamedTuple):
    """The result of a read of several members."""

    row: StoredRow | None
    """The merged row."""
    answered: dict[str, ReplicaId]
    """The other members whose copies are in it."""
    copies: int
    """The number of members whose copies are in it, including this one unless it may lack a part of the row."""


class Resolved(NamedTuple):
    """The end of a wait. Unless it was fulfilled, the outcome is its state at the end."""

    ticket: int
    outcome: Coverage | Reach | Found
    is_cut: bool = False
    """Whether it ended because the member leaves or sets its data aside."""
    is_late: bool = False
    """Whether it ended because its deadline had passed."""
