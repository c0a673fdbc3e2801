"""`Gossipkv-Alone`: a header on every answer about rows from a member that knows of others and reaches none.

Its value is the whole number of seconds since the member last heard another, or since its process began.
"""

from __future__ import annotations

from gossipkv.member.node import MemberNode

HEADER = "Gossipkv-Alone"


def alone_headers(node: MemberNode) -> dict[str, str]:
    seconds = node.alone_seconds
    return {} if seconds is None else {HEADER: str(seconds)}
