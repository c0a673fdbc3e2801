"""The bounds of one port."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gossipkv.intake.bound import Bound, Refusals

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class PortLimits:
    """The settings of a port. `name` is the prefix of their names."""

    name: str = "http"
    connections_max: int = 1_024
    connections_per_address_max: int = 256
    head_timeout_seconds: float = 10.0
    """The time for a request's headers, from the opening of the connection or from their first byte."""
    answer_timeout_seconds: float = 30.0
    """A client that reads less than `connection.ANSWER_BYTES_PER_SECOND_MIN` for this long is cut off."""
    keepalive_timeout_seconds: float = 75.0
    bodies_bytes_max: int = 24 * _MIB
    answers_bytes_max: int = 32 * _MIB


class PortBounds:
    """The bounds of what a port holds now, named by their settings."""

    def __init__(self, limits: PortLimits) -> None:
        name = limits.name
        self.limits = limits
        self.connections = Bound(
            f"{name}_connections_max",
            limits.connections_max,
            f"find out which clients open so many connections, or raise {name}_connections_max",
        )
        self.per_address = Bound(
            f"{name}_connections_per_address_max",
            limits.connections_per_address_max,
            f"raise {name}_connections_per_address_max if many clients share an address, as behind a proxy; otherwise "
            "look at the client at the address",
        )
        self.bodies = Bound(
            f"{name}_bodies_bytes_max",
            limits.bodies_bytes_max,
            f"send fewer or smaller requests at once, or raise {name}_bodies_bytes_max and the memory limit",
        )
        self.answers = Bound(
            f"{name}_answers_bytes_max",
            limits.answers_bytes_max,
            f"read answers faster, ask for smaller pages, or raise {name}_answers_bytes_max and the memory limit",
        )
        self.slow_heads = Refusals(f"{name}_head_timeout", "look for clients that open connections and send no request")
        self.slow_readers = Refusals(f"{name}_answer_timeout", "look for clients that do not read their answers")
        self.large_heads = Refusals(f"{name}_head_too_large", "send headers of at most 64 KiB in all")
        self.not_accepted = Refusals(
            f"{name}_not_accepted",
            f"raise the limit of open files of this process (ulimit -n), or lower {name}_connections_max",
        )

    @property
    def bounds(self) -> Iterable[Bound]:
        """All bounds, for the metrics."""
        return self.connections, self.per_address, self.bodies, self.answers

    @property
    def cuts(self) -> Iterable[Refusals]:
        """The causes for which connections are ended or kept waiting."""
        return self.slow_heads, self.slow_readers, self.large_heads, self.not_accepted
