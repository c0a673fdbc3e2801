"""The EndpointSlices of one Service, and the members that they show.

A Service has any number of slices, each of one address family. An endpoint may be in two of them while it is moved.
All endpoints count, whether their pods are ready, terminating or neither. Members find each other before they are
ready, and a member that is slow to stop is still a member.

The slices list all existing members only if every endpoint has a name and this member's own is among them. If its own
name is missing, the slices are stale or belong to another cluster. Then they do not show that a member is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from gossipkv.discovery.base import FoundMembers

GOSSIP_PORT_NAME = "gossip"


class SliceError(ValueError):
    """The error for an object that is not an EndpointSlice."""


class SliceEndpoint(NamedTuple):
    """An address of a member. `member` and `zone` are None if the slice does not tell them."""

    url: str
    member: str | None
    zone: str | None


class EndpointSlices:
    """The slices of one Service, by name, as last listed or watched."""

    def __init__(self, member: str, gossip_port: int) -> None:
        self._member = member
        self._gossip_port = gossip_port
        """The gossip port of slices that name none."""
        self._slices: dict[str, tuple[SliceEndpoint, ...]] = {}

    def replace_all(self, items: list[Any]) -> None:
        """Replace all slices by a complete list. Raises SliceError; then nothing has changed."""
        self._slices = dict(self._parsed(item) for item in items)

    def put(self, item: Any) -> bool:
        """Store a new or changed slice. Returns whether anything has changed. Raises SliceError."""
        name, endpoints = self._parsed(item)
        is_new = self._slices.get(name) != endpoints
        self._slices[name] = endpoints
        return is_new

    def remove(self, item: Any) -> bool:
        """Drop a slice. Returns whether the slice was known. Raises SliceError."""
        name, _ = self._parsed(item)
        return self._slices.pop(name, None) is not None

    def found(self) -> FoundMembers:
        """Return what the slices show. The names of members are given only if the slices list all of them."""
        endpoints = [endpoint for slice_ in self._slices.values() for endpoint in slice_]
        names = {endpoint.member for endpoint in endpoints}
        zones = {endpoint.zone for endpoint in endpoints if endpoint.member == self._member and endpoint.zone}
        is_complete = None not in names and self._member in names
        return FoundMembers(
            endpoints=tuple(sorted({endpoint.url for endpoint in endpoints if endpoint.member != self._member})),
            members=frozenset(name for name in names if name is not None) if is_complete else None,
            zone=min(zones, default=None),
        )

    def _parsed(self, item: Any) -> tuple[str, tuple[SliceEndpoint, ...]]:
        try:
            name = item["metadata"]["name"]
            if not isinstance(name, str):
                raise TypeError
            return name, tuple(sorted(self._endpoints(item), key=repr))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SliceError(f"not an EndpointSlice: {type(error).__name__}") from error

    def _endpoints(self, item: dict[str, Any]) -> Iterator[SliceEndpoint]:
        port = self._port(item.get("ports") or [])
        for endpoint in item.get("endpoints") or []:
            member, zone = _member_of(endpoint), endpoint.get("zone")
            for address in endpoint["addresses"] or []:
                host = f"[{address}]" if ":" in address else address
                yield SliceEndpoint(f"http://{host}:{port}", member, None if zone is None else str(zone))

    def _port(self, ports: list[dict[str, Any]]) -> int:
        named = [port.get("port") for port in ports if port.get("name") == GOSSIP_PORT_NAME]
        return int(named[0] or self._gossip_port) if named else self._gossip_port


def _member_of(endpoint: dict[str, Any]) -> str | None:
    """Return the name of a member: the name of its pod, otherwise its host name, otherwise None."""
    target = endpoint.get("targetRef") or {}
    name = target.get("name") if target.get("kind") == "Pod" else None
    found = name or endpoint.get("hostname")
    return None if found is None else str(found)
