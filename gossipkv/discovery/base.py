"""The interface of discovery: a node asks it for endpoints repeatedly, as long as the node runs.

Discovery supplies addresses, and also the names of all existing members if its source knows them. It never ends. An
outage of discovery removes no member, and finding no other member is not an error. Discovery sets its own pace, so
callers need not pause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class DiscoveryError(Exception):
    """The error of a source that could not be asked this time."""


@dataclass(frozen=True, slots=True)
class FoundMembers:
    """The state of other members, as far as a source knows it at one time."""

    endpoints: tuple[str, ...]
    """The gossip URLs at which members may be reached; they may include this member's own."""
    members: frozenset[str] | None = None
    """The names of all existing members, including this one; None if the source does not know."""
    zone: str | None = None
    """The failure domain of this member, if the source knows it."""
    failure: str = ""
    """The reason why the primary source could not be asked, if any; the endpoints are then those of the fallback."""


class Discovery(Protocol):
    """A source of members' endpoints."""

    async def find(self) -> FoundMembers:
        """Return what the source knows. The first call returns as soon as possible. Each later call first waits as its
        source requires, also after a failure. Raises DiscoveryError."""
        ...

    async def close(self) -> None:
        """Close connections. No other method is called after that."""
        return
