"""What a node needs of discovery: endpoints to try, again and again, for as long as it runs.

Discovery supplies addresses and nothing else. It runs for ever, an outage of it removes no member, and finding no one
is no error.
"""

from __future__ import annotations

from typing import Protocol


class DiscoveryError(Exception):
    """Nothing could be learned this time."""


class Discovery(Protocol):
    @property
    def interval_seconds(self) -> float:
        """How long to wait between two looks."""
        ...

    async def find(self) -> tuple[str, ...]:
        """Gossip URLs at which members may be reached, this one's own perhaps among them. Raises DiscoveryError."""
        ...
