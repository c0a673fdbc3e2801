"""Replicas that were forgotten, in `sys.forgotten`: one row for each, named by its id, for good.

A member that is gone keeps tombstones from being collected until someone forgets it. From then on nothing waits for the
replica that it had, so that it may hold rows whose deletion no one remembers: it is given nothing and taken nothing
from. Should it come back, it finds itself listed here, sets its data aside and joins as a new replica. A record of the
member that names the forgotten replica counts for nothing, whenever it was written.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable

from gossipkv.core.address import FORGOTTEN_TABLE, SYSTEM, address_of, key_of, table_of
from gossipkv.core.causality import ReplicaId
from gossipkv.core.messages import RowCopy
from gossipkv.core.storage import Reader
from gossipkv.core.write import Operation

_REPLICA = re.compile(rb"[0-9a-f]{16}")


class Forgotten(enum.Enum):
    """What became of the request to forget a member; text for the client that asked."""

    DONE = "done"
    UNKNOWN = "no member has this name"
    ITSELF = "a member does not forget itself: ask another one"
    ANSWERS = "the member answers: stop it first"


def forgetting(replica: ReplicaId, member: str) -> Operation:
    """What to write of a replica that is to be forgotten."""
    return Operation(
        address_of(FORGOTTEN_TABLE, b"%016x" % replica), json.dumps({"member": member}, ensure_ascii=False).encode()
    )


def forgotten_in(copies: Iterable[RowCopy]) -> list[ReplicaId]:
    """The replicas that rows of the shard `sys` say to be forgotten."""
    return _named_by([address for address, _ in copies if table_of(address) == FORGOTTEN_TABLE])


def _named_by(addresses: Iterable[bytes]) -> list[ReplicaId]:
    # One row that no member has written so must stop no one.
    keys = [key_of(address) for address in addresses]
    return [int(key, 16) for key in keys if _REPLICA.fullmatch(key)]


def all_forgotten(reader: Reader) -> list[ReplicaId]:
    prefix = address_of(FORGOTTEN_TABLE, b"")
    end = prefix[:-1] + b"\1"
    # The key says it all: a row that cannot be read must not bring a replica back.
    unreadable = [address for address, _ in reader.quarantined(SYSTEM, prefix, end)]
    return forgotten_in(RowCopy(*row) for row in reader.rows(SYSTEM, prefix, end)) + _named_by(unreadable)
