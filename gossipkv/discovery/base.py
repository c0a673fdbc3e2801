"""The interface of discovery: a node asks it for endpoints repeatedly, as long as it runs.

Discovery supplies addresses, and also the names of all existing members if its source knows them. It never ends, an
outage of it removes no member, and finding no other member is not an error. It sets its own pace, so callers need not
pause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class DiscoveryError(Exception):
    """The source could not be asked this time."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of other members at one time."""

    endpoints: tuple[str, ...]
    """Gossip URLs at which members may be reached; may include this member's own."""
    members: frozenset[str] | None = None
    """The names of all existing members, including this one; None if the source does not know."""
    zone: str | None = None
    """The failure domain of this member, if the source knows it."""
    failure: str = ""
    """Why the primary source could not be asked; the endpoints are then those of the fallback."""


class Discovery(Protocol):
    async def find(self) -> Found:
        """The first call returns as soon as possible. Each later call first waits as is appropriate for its source,
        also after a failure. Raises DiscoveryError."""
        ...

    async def close(self) -> None:
        """Close connections. No other method is called after that."""
        return
