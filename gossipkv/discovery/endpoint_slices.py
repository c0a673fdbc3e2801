"""The EndpointSlices of one Service, and what they say of a cluster.

A Service has any number of slices, each of one address family, and an endpoint may stand in two of them while it is
moved. All of them count, whether the pod behind is ready or terminating or neither: members find each other before they
are ready, and a member that is slow to end is still a member.

The slices name every member that exists only if every endpoint has a name and this member's own is among them. Where
its own is missing, the slices are behind, or are not those of its cluster: no one may be thought gone for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from gossipkv.discovery.base import Found

GOSSIP_PORT_NAME = "gossip"


class SliceError(ValueError):
    """This is no EndpointSlice."""


class Endpoint(NamedTuple):
    url: str
    member: str | None
    zone: str | None


class EndpointSlices:
    def __init__(self, member: str, gossip_port: int) -> None:
        self._member = member
        self._gossip_port = gossip_port
        """Where a slice names no port for gossip."""
        self._slices: dict[str, tuple[Endpoint, ...]] = {}

    def replace_all(self, items: list[Any]) -> None:
        """Take a complete list. Raises SliceError, having changed nothing."""
        self._slices = dict(self._parsed(item) for item in items)

    def put(self, item: Any) -> bool:
        """Take a new or changed slice; returns whether it says anything new. Raises SliceError."""
        name, endpoints = self._parsed(item)
        is_new = self._slices.get(name) != endpoints
        self._slices[name] = endpoints
        return is_new

    def remove(self, item: Any) -> bool:
        """Drop a slice; returns whether it was known. Raises SliceError."""
        name, _ = self._parsed(item)
        return self._slices.pop(name, None) is not None

    def found(self) -> Found:
        endpoints = [endpoint for slice_ in self._slices.values() for endpoint in slice_]
        names = {endpoint.member for endpoint in endpoints}
        zones = {endpoint.zone for endpoint in endpoints if endpoint.member == self._member and endpoint.zone}
        is_complete = None not in names and self._member in names
        return Found(
            endpoints=tuple(sorted({endpoint.url for endpoint in endpoints if endpoint.member != self._member})),
            members=frozenset(name for name in names if name is not None) if is_complete else None,
            zone=min(zones, default=None),
        )

    def _parsed(self, item: Any) -> tuple[str, tuple[Endpoint, ...]]:
        try:
            name = item["metadata"]["name"]
            if not isinstance(name, str):
                raise TypeError
            return name, tuple(sorted(self._endpoints(item), key=repr))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SliceError(f"not an EndpointSlice: {type(error).__name__}") from error

    def _endpoints(self, item: dict[str, Any]) -> Iterator[Endpoint]:
        port = self._port(item.get("ports") or [])
        for endpoint in item.get("endpoints") or []:
            member, zone = _member_of(endpoint), endpoint.get("zone")
            for address in endpoint["addresses"] or []:
                host = f"[{address}]" if ":" in address else address
                yield Endpoint(f"http://{host}:{port}", member, None if zone is None else str(zone))

    def _port(self, ports: list[dict[str, Any]]) -> int:
        named = [port.get("port") for port in ports if port.get("name") == GOSSIP_PORT_NAME]
        return int(named[0] or self._gossip_port) if named else self._gossip_port


def _member_of(endpoint: dict[str, Any]) -> str | None:
    """A member is named for its pod; what has none may have a host name."""
    target = endpoint.get("targetRef") or {}
    name = target.get("name") if target.get("kind") == "Pod" else None
    found = name or endpoint.get("hostname")
    return None if found is None else str(found)
