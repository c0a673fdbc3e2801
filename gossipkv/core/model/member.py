"""The record of a member in `sys.members`: its identity and its endpoints, as JSON, so that any client can read it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.endpoint import is_endpoint

GOSSIP = "gossip"
HTTP = "http"

ALIVE = "alive"
SUSPECT = "suspect"
DEAD = "dead"
LEFT = "left"

INCARNATION_END = 2**62
"""Upper bound of an incarnation. No clock gets there, and messages could not hold a greater one that overrides it."""

PROTOCOLS_MAX = 16
"""Maximum number of endpoints in a record."""

INCARNATION_AHEAD = "its incarnation is further ahead of this member's clock than clock_skew_ms_max allows"
"""The reason for refusing a record or a rumour, for the log."""


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """The value of the row whose key is the member's id."""

    replica: ReplicaId
    incarnation: int
    endpoints: dict[str, str]
    """Endpoint by protocol name. A refused endpoint is empty: the member is listed, but not dialled there."""
    has_left: bool = False
    zone: str | None = None
    version: str = ""
    started: int = 0
    """The incarnation at the start of the process that wrote the record."""
    token: int = 0
    """A random number of that process; 0 in the records of version 0.1.0."""
    born: ReplicaId = 0
    """The replica id at the start of that process."""

    def to_json(self) -> bytes:
        """Return the record as JSON in UTF-8, with sorted keys."""
        return json.dumps(
            {
                "protocols": [{"name": name, "endpoint": url} for name, url in sorted(self.endpoints.items())],
                "replica": f"{self.replica:016x}",
                "incarnation": self.incarnation,
                "started": self.started,
                "process": f"{self.token:016x}",
                "born": f"{self.born:016x}",
                "status": LEFT if self.has_left else ALIVE,
                "zone": self.zone,
                "version": self.version,
            },
            ensure_ascii=False,
            sort_keys=True,
        ).encode()

    @classmethod
    def from_json(cls, value: bytes) -> MemberRecord:
        """Parse a record, and ignore extra fields of newer members. Raises ValueError, and only that, if the text is no
        record."""
        try:
            record = json.loads(value)
            parsed = cls(
                replica=int(record["replica"], 16),
                incarnation=int(record["incarnation"]),
                endpoints=checked({str(entry["name"]): str(entry["endpoint"]) for entry in record["protocols"]}),
                has_left=record["status"] == LEFT,
                zone=None if record.get("zone") is None else str(record["zone"]),
                version=str(record.get("version", "")),
                started=int(record.get("started", 0)),
                token=int(record.get("process", "0"), 16),
                born=int(record.get("born", "0"), 16),
            )
            parsed.to_json()
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"not a member record: {type(error).__name__}") from error
        ids, incarnations = (parsed.replica, parsed.token, parsed.born), (parsed.incarnation, parsed.started)
        if not all(0 <= each < 2**64 for each in ids) or not all(0 <= each < INCARNATION_END for each in incarnations):
            raise ValueError("not a member record: a number is out of range")
        if len(parsed.endpoints) > PROTOCOLS_MAX:
            raise ValueError("not a member record: too many endpoints")
        return parsed


def checked(endpoints: dict[str, str]) -> dict[str, str]:
    """Return the endpoints by protocol, with an empty text in place of each that is not `scheme://host:port`."""
    return {name: endpoint if is_endpoint(endpoint) else "" for name, endpoint in endpoints.items()}
