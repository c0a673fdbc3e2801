"""What an endpoint may be: `scheme://host:port`, and nothing more.

Endpoints come from discovery, and from records that anyone who reaches the gossip port can write. A member sends
requests to them, so a path, a query or a user name would let a stranger choose the request. Endpoints in memory never
leave the process, so they need no port.
"""

from __future__ import annotations

import re

ENDPOINT_REFUSED = "its endpoint is not scheme://host:port"
"""The reason for refusing an endpoint, for the log."""

_ENDPOINT = re.compile(
    r"(?:(?!memory:)[a-z][a-z0-9+.-]{0,31}://(?:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,252})|"
    r"(?P<address>\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,32})?\])):(?P<port>[1-9][0-9]{0,4})|"
    r"memory://(?P<memory>[A-Za-z0-9._-]{1,253})(?::[1-9][0-9]{0,4})?)",
    re.ASCII,
)
_PORT_MAX = 65_535


def is_endpoint(text: str) -> bool:
    """Return whether a text is `scheme://host:port` with a port up to 65,535."""
    found = _ENDPOINT.fullmatch(text)
    return found is not None and int(found["port"] or 1) <= _PORT_MAX


def host_of(endpoint: str) -> str:
    """Return the host of an endpoint in lower case; empty if the text is no endpoint."""
    found = _ENDPOINT.fullmatch(endpoint)
    return "" if found is None else (found["name"] or found["address"] or found["memory"]).lower()
