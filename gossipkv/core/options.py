"""The options of the core; every number with its unit."""

from __future__ import annotations

from dataclasses import dataclass, field

from gossipkv.core.protocol.parcel import WHOLE_ROW_BYTES_MAX
from gossipkv.rows.arguments.invalid import InvalidInputError, shown
from gossipkv.rows.arguments.limits import ENDPOINT_BYTES_MAX, VALUE_BYTES_MAX_DEFAULT
from gossipkv.rows.arguments.names import name_text

AUTO, DISCOVERED, RECORDED = DIALLED_HOSTS = ("auto", "discovered", "recorded")


@dataclass(frozen=True, slots=True)
class ReplicaOptions:
    """The options of one replica. Times are in milliseconds, sizes in bytes."""

    cluster: str = "gossipkv"
    member: str = "gossipkv-0"
    endpoints: dict[str, str] = field(default_factory=dict)
    """The endpoints of this member, by protocol name."""
    zone: str | None = None
    version: str = ""
    gossip_interval_ms: int = 1_000
    """Mean interval between sync rounds that this member begins."""
    audit_interval_ms: int = 60_000
    """Interval between audits."""
    bootstrap_timeout_ms: int = 10_000
    """A member that has had no answer for this long is ready on its own."""
    retry_ms_max: int = 30_000
    """Maximum pause before a failing peer is tried again."""
    protocol_period_ms: int = 1_000
    """Interval between probes that this member begins."""
    probe_timeout_ms: int = 500
    """Time without an answer after which other members are asked to ping the member; less than a protocol period."""
    indirect_probes: int = 3
    """Number of other members asked."""
    suspicion_multiplier: int = 4
    """The shortest suspicion of n members is this times log10(n + 1) protocol periods."""
    clock_skew_ms_max: int = 600_000
    """Maximum time by which a row may be stamped ahead of the local clock; rows further ahead are refused."""
    tombstone_age_ms_min: int = 3_600_000
    """Minimum age of a tombstone that is collected; above the clock skew allowed."""
    forget_silence_ms: int = 600_000
    """A member that was heard within this time is forgotten only if an operator insists. Other members believe that it
    is forgotten once they have not heard it for this long."""
    message_life_ms: int = 60_000
    """Maximum time between sending and arrival of a message."""
    members_max: int = 1_000
    """Maximum number of other members; the records of further ones are refused."""
    context_origins_max: int = 8_192
    """Number of replicas that messages may name, per shard. Beyond it, only writes of members are accepted. Together
    with `members_max` it must stay well below what a message holds (`codec/limits.py`)."""
    dialled_hosts: str = AUTO
    """Which hosts in the records of members are dialled; see `core/membership/membership.py`."""
    fanout: int = 0
    """Number of members that a write is pushed to directly. 0: all of them in a small cluster; in a large one, a number
    that reaches all with high probability."""
    siblings_max: int = 64
    """Maximum number of siblings that a write may leave in a row; a write that would leave more is refused."""
    part_bytes: int = 512 * 1024
    """Maximum bytes of rows in one message, unless a single row is larger."""
    whole_row_bytes_max: int = WHOLE_ROW_BYTES_MAX
    """Maximum size of a row that is sent in one piece. A larger row is sent as an outline, and its values in fragments
    of this size."""
    value_bytes_max: int = VALUE_BYTES_MAX_DEFAULT
    """Maximum size of a value in a write; others would refuse a larger one."""

    def __post_init__(self) -> None:
        """Check the options. Raises InvalidInputError for what no message, record or clock can hold."""
        name_text("cluster", self.cluster)
        name_text("member", self.member)
        if self.zone is not None:
            name_text("zone", self.zone)
        if self.version != "":
            name_text("version", self.version)
        if not isinstance(self.endpoints, dict):
            raise InvalidInputError("endpoints", f"are addresses by protocol, not {shown(self.endpoints)}")
        for protocol, endpoint in self.endpoints.items():
            name_text("endpoints", protocol)
            name_text("endpoints", endpoint, ENDPOINT_BYTES_MAX)
        if self.dialled_hosts not in DIALLED_HOSTS:
            raise InvalidInputError("dialled_hosts", f"is one of {', '.join(DIALLED_HOSTS)}")
        for name in _NUMBERS:
            number = getattr(self, name)
            if type(number) is not int or not 0 <= number <= _NUMBER_MAX:
                raise InvalidInputError(name, f"is a whole number from 0, not {shown(number)}")


_NUMBER_MAX = 2**53
_NUMBERS = tuple(name for name, kind in ReplicaOptions.__annotations__.items() if kind == "int")
