"""Admission: checks every input from a caller of the core before any of it is carried out.

An input is admitted if every part of the member can hold it: a message, a record on a volume, an answer. Otherwise
InvalidInputError is raised and nothing has changed, so other inputs of the batch are not affected. Types are compared
exactly, because a subclass may be encoded differently. The codec checks the messages of peers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gossipkv.core.model.address import NAMESPACES
from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.model.clock import TIMESTAMP_MAX
from gossipkv.core.model.row import Seen
from gossipkv.core.model.write import Operation
from gossipkv.core.waits.answers import Receipt
from gossipkv.rows.arguments.copies import copies_of
from gossipkv.rows.arguments.invalid import InvalidInputError, ValueTooLargeError, shown
from gossipkv.rows.arguments.limits import ENDPOINT_BYTES_MAX, LIFE_MS_MAX
from gossipkv.rows.arguments.names import is_address, name_text

REPLICA_MAX = 2**64 - 1
SEEN_ENTRIES_MAX = 16_384
"""Maximum number of entries of a context that a writer hands in; a message carries at most that many."""


def admit_write(shard: object, operations: Sequence[Operation], copies: object, value_bytes_max: int) -> None:
    """Check the operations of a write and its number of copies. Raises InvalidInputError."""
    _admit_shard(shard)
    if type(copies) is not int or copies != 1:
        copies_of("w", copies)
    for operation in operations:
        _admit_operation(operation, value_bytes_max)


def _admit_operation(operation: Operation, value_bytes_max: int) -> None:
    """Check an operation. The most common one, a put without conditions, takes four comparisons."""
    if not isinstance(operation, Operation):
        raise InvalidInputError("operation", f"is an Operation, not {shown(operation)}")
    address, value, if_match, if_absent, seen, ttl_ms = operation
    _admit_address(address)
    if type(value) is bytes:
        if len(value) > value_bytes_max:
            raise ValueTooLargeError(value_bytes_max, len(value))
    elif value is not None:
        raise InvalidInputError("value", f"is bytes, not {shown(value)}")
    if if_match is not None:
        _admit_tags(if_match)
    if if_absent is not False:
        _admit_absence(if_absent, value)
    if seen is not None:
        _admit_seen(seen)
    if ttl_ms is not None:
        _admit_ttl(ttl_ms, value)


def _admit_address(address: object) -> None:
    if type(address) is not bytes or not is_address(address):
        raise InvalidInputError("row", "is not an address: a table name, a zero byte, and 1 to 400 bytes of UTF-8")


def _admit_shard(shard: object) -> None:
    if type(shard) is not str or shard not in NAMESPACES:
        raise InvalidInputError("namespace", f"is one of {', '.join(NAMESPACES)}, not {shown(shard)}")


def _admit_tags(if_match: object) -> None:
    if type(if_match) is not tuple or any(type(tag) is not str for tag in if_match):
        raise InvalidInputError("if_match", "is a tuple of entity tags")


def _admit_absence(if_absent: object, value: bytes | None) -> None:
    if type(if_absent) is not bool:
        raise InvalidInputError("if_absent", f"is True or False, not {shown(if_absent)}")
    if value is None:
        raise InvalidInputError("if_absent", "is for puts: a delete of an absent row would delete nothing")


def _admit_ttl(ttl_ms: object, value: bytes | None) -> None:
    if type(ttl_ms) is not int or not 1 <= ttl_ms <= LIFE_MS_MAX:
        raise InvalidInputError("ttl", f"is 1 to {LIFE_MS_MAX} milliseconds, not {shown(ttl_ms)}")
    if value is None:
        raise InvalidInputError("ttl", "is for puts: a deleted row does not expire")


def _admit_seen(seen: object) -> None:
    problem = "is what an answer about the row gave, unchanged"
    if not isinstance(seen, Seen) or type(seen.context) is not Context or len(seen.context) > SEEN_ENTRIES_MAX:
        raise InvalidInputError("context", problem)
    if not all(_is_dot(*entry) for entry in seen.context.items()):
        raise InvalidInputError("context", problem)
    if type(seen.timestamp) is not int or type(seen.siblings_above) is not int:
        raise InvalidInputError("context", problem)
    if not 0 <= seen.siblings_above <= seen.timestamp <= TIMESTAMP_MAX:
        raise InvalidInputError("context", problem)


def _is_dot(replica: object, sequence: object) -> bool:
    return (
        type(replica) is int and type(sequence) is int and 0 <= replica <= REPLICA_MAX and 1 <= sequence <= SEQUENCE_MAX
    )


def admit_wait(ticket: object, copies: object, receipt: object, handovers: object) -> None:
    """Check a wait for copies of a write. Raises InvalidInputError."""
    admit_ticket(ticket)
    if copies is not None:
        copies_of("w", copies)
    if receipt is not None:
        admit_receipt(receipt)
    if not isinstance(handovers, Mapping):
        raise InvalidInputError("handovers", "are dots by address")
    for address, dot in handovers.items():
        _admit_address(address)
        _admit_dot(dot)


def admit_read(ticket: object, shard: object, address: object, members: object) -> None:
    """Check a read of several members. Raises InvalidInputError."""
    admit_ticket(ticket)
    _admit_shard(shard)
    _admit_address(address)
    copies_of("r", members)


def admit_deadline(deadline_ms: object) -> None:
    """Raises InvalidInputError."""
    if deadline_ms is not None and type(deadline_ms) is not int:
        raise InvalidInputError("deadline_ms", f"is a whole number of milliseconds, not {shown(deadline_ms)}")


def admit_ticket(ticket: object) -> None:
    """Check the number of a wait. Raises InvalidInputError."""
    if type(ticket) is not int:
        raise InvalidInputError("ticket", f"is a number, not {shown(ticket)}")


def admit_receipt(receipt: object) -> None:
    """Check a receipt. Raises InvalidInputError."""
    if not isinstance(receipt, Receipt):
        raise InvalidInputError("receipt", f"is a receipt, not {shown(receipt)}")
    _admit_shard(receipt.shard)
    _admit_dot(receipt.dot)


def _admit_dot(dot: object) -> None:
    if not isinstance(dot, Dot) or not _is_dot(*dot):
        raise InvalidInputError("receipt", "names a write by its replica and its number, from 1")


def admit_member(member: object) -> None:
    """Check the name of a member. Raises InvalidInputError."""
    if type(member) is not str:
        raise InvalidInputError("member", f"is a member's name, not {shown(member)}")


def admit_found(endpoints: object, members: object, zone: object) -> None:
    """Check what a discovery found. Raises InvalidInputError."""
    if type(endpoints) is not tuple:
        raise InvalidInputError("endpoints", f"are a tuple of text, not {shown(endpoints)}")
    for endpoint in endpoints:
        name_text("endpoints", endpoint, ENDPOINT_BYTES_MAX)
    if members is not None:
        if not isinstance(members, frozenset):
            raise InvalidInputError("members", f"are a frozenset of names, not {shown(members)}")
        for member in sorted(members, key=repr):
            name_text("members", member)
    if zone is not None:
        name_text("zone", zone)


def admit_flag(name: str, given: object) -> None:
    """Check that an input is exactly True or False. Raises InvalidInputError."""
    if type(given) is not bool:
        raise InvalidInputError(name, f"is True or False, not {shown(given)}")
