"""Carries frames between endpoints, with the faults of the in-memory network in virtual time.

Endpoints are addresses: a member may move to another one, and a later member may get an address that was given up.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from gossipkv.simulation.host import Host
from gossipkv.simulation.timeline import Timeline
from gossipkv.transport.memory import NO_FAULTS, FaultRates, NetworkFaults

LATENCY_MS_MAX = 3


class Network:
    def __init__(self, timeline: Timeline, rng: random.Random, rates: FaultRates, *, is_chain: bool) -> None:
        self.faults = NetworkFaults(rng, rates)
        self._timeline = timeline
        self._rng = rng
        self._is_chain = is_chain
        self._hosts: dict[str, Host] = {}
        self._free: list[str] = []
        self._endpoints = 0
        self.strangers: dict[str, Callable[[bytes], bytes | None]] = {}
        """What answers at addresses that are no member's."""
        self._isolated: set[str] = set()
        """Endpoints that stay isolated, even when partitions heal."""

    def lease(self) -> str:
        """A free endpoint; one that was given back, if there is any."""
        if self._free:
            return self._free.pop(0)
        self._endpoints += 1
        return f"http://10.0.0.{self._endpoints}:7081"

    def give_back(self, endpoint: str) -> None:
        del self._hosts[endpoint]
        self._free.append(endpoint)

    def attach(self, host: Host) -> None:
        self._hosts[host.endpoint] = host

    def host_at(self, endpoint: str) -> Host | None:
        return self._hosts.get(endpoint)

    def endpoints(self) -> list[str]:
        """The endpoints of all hosts, up or down."""
        return sorted(self._hosts)

    def carry(self, source: str, destination: str, arrive: Callable[[], None]) -> None:
        """Deliver a frame: once, late, twice or never."""
        if source in self._isolated or destination in self._isolated:
            self.faults.fired["isolation"] += 1
            return
        if self._is_chain and not self._are_neighbours(source, destination):
            self.faults.fired["chain"] += 1
            return
        for delay_ms in self.faults.plan(source, destination):
            self._timeline.after(delay_ms + self._rng.randint(1, LATENCY_MS_MAX), arrive)

    def isolate(self, endpoint: str) -> None:
        self._isolated.add(endpoint)

    def rejoin(self, endpoint: str) -> None:
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
