"""Forgotten replicas, in `sys.forgotten`: one permanent row for each, with the replica id as its key.

A member that is gone blocks the collection of tombstones until an operator forgets it. From then on nothing waits for
its replica. So the replica may hold rows whose deletion no member remembers, and no rows are sent to it or accepted
from it. If it comes back, it finds itself listed here, sets its data aside and joins as a new replica. A member record
that names a forgotten replica is ignored, no matter when it was written.

A member that is forgotten by mistake also sets its data aside, so a mere restart must not be enough. Unless an operator
insists, a member is forgotten only if discovery does not list it, and if it has been silent for a while. The silence
counts here, and at the members from which this one hears of it. A member that answers is never forgotten.

Anyone who reaches the gossip port can write such rows. Rows about all replicas would make all members set their data
aside. But a member is forgotten only while it is silent, so a row about a member that speaks is false:

- A member believes a row about a peer only once it has itself not heard the peer for `forget_silence_ms`.
  Counterexample to believing the row once the peer fails: a is down for a moment. The others stop waiting for it, and
  drop from their rows what all remaining members cover. a returns, finds that all members are named, and denies it. A
  version that was replaced meanwhile is back.
- A member that has been in touch with others for some time deletes a row about itself, and writes its record again.
- A member that has just started obeys, but only if another member answers that is not named here and never was. So rows
  about all members move none of them. Counterexample to ignoring that a row was deleted: all have just started, the
  first deletes its row, and all others obey theirs.

A deleted row counts for nothing. It does not help an old volume either. The proofs of collected tombstones know
forgotten replicas (`core/model/collected.py`), and judge a volume under any name.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable

from gossipkv.core.model.address import FORGOTTEN_TABLE, SYSTEM, address_of, key_of, table_of
from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import RowCopy
from gossipkv.core.store.storage import Reader

_REPLICA = re.compile(rb"[0-9a-f]{16}")


class Forgotten(enum.Enum):
    """The result of a request to forget a member, as a text for the client."""

    DONE = "done"
    UNKNOWN = "the list of members does not have this name"
    ITSELF = "ask another one"
    ANSWERS = "stop it first"
    LISTED = (
        "take it out of discovery first (scale down, or change `peers`), or force it if the member is gone for good"
    )
    HEARD = (
        "a member is forgotten once it has been silent for 10 minutes: wait until then, or force it if the member is "
        "gone for good"
    )


def forgetting(replica: ReplicaId, member: str) -> Operation:
    """Return the operation that records a replica as forgotten."""
    return Operation(
        address_of(FORGOTTEN_TABLE, b"%016x" % replica), json.dumps({"member": member}, ensure_ascii=False).encode()
    )


def withdrawal(replica: ReplicaId) -> Operation:
    """Return the operation by which a replica that is not gone deletes the row about itself."""
    return Operation(address_of(FORGOTTEN_TABLE, b"%016x" % replica), None)


def forgotten_in(copies: Iterable[RowCopy]) -> list[ReplicaId]:
    """Return the replicas that are forgotten according to these rows of the shard `sys`."""
    return _named_by([address for address, row in copies if table_of(address) == FORGOTTEN_TABLE and row.is_visible])


def withdrawn_in(copies: Iterable[RowCopy]) -> list[ReplicaId]:
    """Return the replicas that are no longer forgotten according to these rows of the shard `sys`."""
    tombstones = [a for a, row in copies if table_of(a) == FORGOTTEN_TABLE and not row.is_visible]
    return _named_by(tombstones)


def _named_by(addresses: Iterable[bytes]) -> list[ReplicaId]:
    # A row whose key is no replica id was written by no member. It must not stop replication.
    keys = [key_of(address) for address in addresses]
    return [int(key, 16) for key in keys if _REPLICA.fullmatch(key)]


def all_withdrawn(reader: Reader) -> list[ReplicaId]:
    """Return the replicas whose stored rows have been deleted."""
    prefix = address_of(FORGOTTEN_TABLE, b"")
    return withdrawn_in(RowCopy(*row) for row in reader.rows(SYSTEM, prefix, prefix[:-1] + b"\1"))


def all_forgotten(reader: Reader) -> list[ReplicaId]:
    """Return the replicas that stored rows call forgotten. A row that cannot be read counts."""
    prefix = address_of(FORGOTTEN_TABLE, b"")
    end = prefix[:-1] + b"\1"
    # The key is sufficient: an unreadable row must not bring a replica back.
    unreadable = [address for address, _ in reader.quarantined(SYSTEM, prefix, end)]
    return forgotten_in(RowCopy(*row) for row in reader.rows(SYSTEM, prefix, end)) + _named_by(unreadable)
