"""What a node needs of discovery: endpoints to try, again and again, for as long as it runs.

Discovery supplies addresses, and where its source knows all members that exist, their names. It runs for ever, an
outage of it removes no member, and finding no one is no error. It keeps its own pace: whoever asks need not wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class DiscoveryError(Exception):
    """Nothing could be learned this time."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of others at one moment."""

    endpoints: tuple[str, ...]
    """Gossip URLs at which members may be reached, this one's own perhaps among them."""
    members: frozenset[str] | None = None
    """The names of all members that exist, this one's included; None where the source cannot tell."""
    zone: str | None = None
    """The failure domain of this member, where the source tells."""
    failure: str = ""
    """Why the source proper could not be asked; the endpoints are then second best."""


class Discovery(Protocol):
    async def find(self) -> Found:
        """The first call answers as soon as it can; each later one waits as is right for its source, after a failure
        too. Raises DiscoveryError."""
        ...

    async def close(self) -> None:
        """Let go of connections, where there are any. Nothing is asked after that."""
        return
