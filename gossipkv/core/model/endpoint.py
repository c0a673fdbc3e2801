"""What an endpoint may be: `scheme://host:port`, and nothing else.

Endpoints come from records that anyone who reaches the gossip port can write, and from discovery. A member sends
requests to them, so a path, a query or a user name would let a stranger choose the request. Endpoints in memory, which
never leave the process, need no port.
"""

from __future__ import annotations

import re

ENDPOINT_REFUSED = "its endpoint is not scheme://host:port"
"""Why an endpoint is refused, for the log."""

_ENDPOINT = re.compile(
    r"(?:(?!memory:)[a-z][a-z0-9+.-]{0,31}://(?:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,252})|"
    r"(?P<address>\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,32})?\])):(?P<port>[1-9][0-9]{0,4})|"
    r"memory://(?P<memory>[A-Za-z0-9._-]{1,253})(?::[1-9][0-9]{0,4})?)",
    re.ASCII,
)
_PORT_MAX = 65_535


def is_endpoint(text: str) -> bool:
    found = _ENDPOINT.fullmatch(text)
    return found is not None and int(found["port"] or 1) <= _PORT_MAX


def host_of(endpoint: str) -> str:
    """The host of an endpoint, in small letters; empty if it is none."""
    found = _ENDPOINT.fullmatch(endpoint)
    return "" if found is None else (found["name"] or found["address"] or found["memory"]).lower()
