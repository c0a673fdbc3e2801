"""The network between simulated hosts, with the faults of the in-memory network in virtual time.

Endpoints are addresses: a member may move to another one, and a later member may get an address that was given up.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from gossipkv.simulation.world.host import Host
from gossipkv.simulation.world.timeline import Timeline
from gossipkv.transport.memory import NO_FAULTS, FaultRates, NetworkFaults

LATENCY_MS_MAX = 3


class Network:
    """The addresses of all hosts, and the ways between them."""

    def __init__(self, timeline: Timeline, rng: random.Random, rates: FaultRates, *, is_chain: bool) -> None:
        self.faults = NetworkFaults(rng, rates)
        self._timeline = timeline
        self._rng = rng
        self._is_chain = is_chain
        self._hosts: dict[str, Host] = {}
        self._free: list[str] = []
        self._endpoints = 0
        self.strangers: dict[str, Callable[[bytes], bytes | None]] = {}
        """The functions that answer at addresses that belong to no member, by address."""
        self._isolated: set[str] = set()
        """The endpoints that stay isolated, even when partitions heal."""

    def lease(self) -> str:
        """Return a free endpoint: one that was given back, if there is any."""
        if self._free:
            return self._free.pop(0)
        self._endpoints += 1
        return f"http://10.0.0.{self._endpoints}:7081"

    def give_back(self, endpoint: str) -> None:
        """Free the endpoint of a host that has moved away."""
        del self._hosts[endpoint]
        self._free.append(endpoint)

    def attach(self, host: Host) -> None:
        """Let the host be reached at its present endpoint."""
        self._hosts[host.endpoint] = host

    def host_at(self, endpoint: str) -> Host | None:
        """Return the host at an endpoint, up or down; None if there is none."""
        return self._hosts.get(endpoint)

    def endpoints(self) -> list[str]:
        """Return the endpoints of all hosts, up or down, in order."""
        return sorted(self._hosts)

    def carry(self, source: str, destination: str, arrive: Callable[[], None]) -> None:
        """Deliver a frame: once, late, twice or never. `arrive` is called for each copy."""
        if source in self._isolated or destination in self._isolated:
            self.faults.fired["isolation"] += 1
            return
        if self._is_chain and not self._are_neighbours(source, destination):
            self.faults.fired["chain"] += 1
            return
        for delay_ms in self.faults.plan(source, destination):
            self._timeline.after(delay_ms + self._rng.randint(1, LATENCY_MS_MAX), arrive)

    def isolate(self, endpoint: str) -> None:
        """Lose all frames from and to an endpoint, until `rejoin` or `calm`."""
        self._isolated.add(endpoint)

    def rejoin(self, endpoint: str) -> None:
        """End the isolation of an endpoint."""
        self._isolated.discard(endpoint)

    def _are_neighbours(self, source: str, destination: str) -> bool:
        one, other = self._hosts.get(source), self._hosts.get(destination)
        return one is None or other is None or abs(one.place - other.place) <= 1

    def calm(self) -> None:
        """End all faults."""
        self._is_chain = False
        self._isolated.clear()
        self.faults.rates = NO_FAULTS
        self.faults.heal()
