"""The addresses behind a DNS name, such as that of a headless Service."""

from __future__ import annotations

import asyncio
import socket

from gossipkv.discovery.base import Discovery, DiscoveryError, FoundMembers
from gossipkv.discovery.interval import Interval


class DnsDiscovery(Discovery):
    """A discovery that looks up all IPv4 and IPv6 addresses of a name. Every member listens on the same gossip port."""

    def __init__(self, name: str, gossip_port: int, interval_seconds: float = 5.0) -> None:
        self._name = name
        self._gossip_port = gossip_port
        self._interval = Interval(interval_seconds)

    async def find(self) -> FoundMembers:
        """Look the name up, after the interval except the first time. Raises DiscoveryError."""
        await self._interval.wait()
        return FoundMembers(await self.look_up())

    async def look_up(self) -> tuple[str, ...]:
        """Look the name up without a pause, and return the gossip URLs. Raises DiscoveryError."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._name, self._gossip_port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise DiscoveryError(f"looking up {self._name}: {error}") from error
        hosts = {str(address[0]) for _, _, _, _, address in found}
        return tuple(f"http://{_bracketed(host)}:{self._gossip_port}" for host in sorted(hosts))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
