"""Where the node's addresses lie, and the cable between it and the machine.

Each cluster takes one /16 that the machine has no route into, and a pair of virtual interfaces: the machine's end is
named after the cluster, the node's end becomes its eth0. The name is drawn by lot, so that a cluster which died and is
cleared away late is not mistaken for the one that has its addresses now. One route over the cable lets the machine
reach the node, its pods and its Services; in the other direction pods reach the machine's end of the cable and nothing
beyond it.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

from tests.kubernetes.cluster.processes import ClusterError, run

_CLUSTERS_MAX = 16
_SECOND_BYTE_MIN = 200
_IP_TIMEOUT_S = 10.0
NAME_PREFIX = "gkvtest"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The network of one cluster. `number` tells clusters that run on one machine apart."""

    number: int
    name: str
    """Of the interface and of the control groups."""

    @property
    def range(self) -> str:
        return f"{self._prefix}.0.0/16"

    @property
    def machine(self) -> str:
        return f"{self._prefix}.0.1"

    @property
    def node(self) -> str:
        return f"{self._prefix}.0.2"

    @property
    def pods(self) -> str:
        return f"{self._prefix}.64.0/24"

    @property
    def services(self) -> str:
        return f"{self._prefix}.128.0/24"

    @property
    def api_service(self) -> str:
        """Kubernetes gives its own API the first address of the range."""
        return f"{self._prefix}.128.1"

    @property
    def dns_service(self) -> str:
        return f"{self._prefix}.128.10"

    @property
    def api_server_url(self) -> str:
        return f"https://{self.node}:6443"

    @property
    def _prefix(self) -> str:
        return f"10.{_SECOND_BYTE_MIN + self.number}"


def connect() -> Addresses:
    """Takes the first free number by creating its interfaces. Raises ClusterError when all are taken.

    Callers on one machine take turns; who comes second sees the interfaces of the first.
    """
    taken = {route["dst"].split(".")[1] for route in _routes() if route["dst"].startswith("10.")}
    names = _interfaces()
    for number in range(_CLUSTERS_MAX):
        prefix = f"{NAME_PREFIX}{number}-"
        if str(_SECOND_BYTE_MIN + number) in taken or any(name.startswith(prefix) for name in names):
            continue
        addresses = Addresses(number, f"{prefix}{secrets.token_hex(2)}")
        _ip("link", "add", addresses.name, "type", "veth", "peer", "name", _far_end(addresses))
        return addresses
    raise ClusterError(
        f"{_CLUSTERS_MAX} test clusters run already; end one with `python -m tests.kubernetes.cluster down`"
    )


def plug(addresses: Addresses, node_pid: int) -> None:
    """Gives the far end of the cable to the node and the near end its address and route."""
    _ip("link", "set", _far_end(addresses), "netns", str(node_pid), "name", "eth0")
    _ip("address", "add", f"{addresses.machine}/30", "dev", addresses.name)
    _ip("link", "set", addresses.name, "up")
    _ip("route", "add", addresses.range, "via", addresses.node, "dev", addresses.name)


def disconnect(addresses: Addresses) -> None:
    """The far end and the route go with the near end. Nothing happens when there is none."""
    if addresses.name in _interfaces():
        _ip("link", "delete", addresses.name)


def _far_end(addresses: Addresses) -> str:
    """As it is called until the node has it."""
    return addresses.name.replace(NAME_PREFIX, f"{NAME_PREFIX[:3]}node")


def _interfaces() -> set[str]:
    return {link["ifname"] for link in json.loads(_ip("-json", "link", "show"))}


def _routes() -> list[dict[str, str]]:
    routes: list[dict[str, str]] = json.loads(_ip("-json", "route", "show", "table", "all"))
    return [route for route in routes if "dst" in route]


def _ip(*arguments: str) -> str:
    return run(["ip", *arguments], _IP_TIMEOUT_S)
