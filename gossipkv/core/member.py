"""The record of a member in `sys.members`: who it is and where it is reached. JSON, so that any client can read it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from gossipkv.core.causality import ReplicaId

GOSSIP = "gossip"
HTTP = "http"

ALIVE = "alive"
SUSPECT = "suspect"
DEAD = "dead"
LEFT = "left"


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """The value of the row whose key is the member's id."""

    replica: ReplicaId
    incarnation: int
    endpoints: dict[str, str]
    """Endpoint by protocol name."""
    has_left: bool = False
    zone: str | None = None
    version: str = ""

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "protocols": [{"name": name, "endpoint": url} for name, url in sorted(self.endpoints.items())],
                "replica": f"{self.replica:016x}",
                "incarnation": self.incarnation,
                "status": LEFT if self.has_left else ALIVE,
                "zone": self.zone,
                "version": self.version,
            },
            ensure_ascii=False,
            sort_keys=True,
        ).encode()

    @classmethod
    def from_json(cls, value: bytes) -> MemberRecord:
        """Raises ValueError for anything that is not such a record: a newer member's extra fields are ignored."""
        try:
            record = json.loads(value)
            return cls(
                replica=int(record["replica"], 16),
                incarnation=int(record["incarnation"]),
                endpoints={str(entry["name"]): str(entry["endpoint"]) for entry in record["protocols"]},
                has_left=record["status"] == LEFT,
                zone=None if record.get("zone") is None else str(record["zone"]),
                version=str(record.get("version", "")),
            )
        except (KeyError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(f"not a member record: {error!r}") from error
