"""Receipts: who has a write."""

from __future__ import annotations

from typing import Any, NamedTuple

from gossipkv.core.waits.answers import Coverage, Receipt
from gossipkv.rows.arguments.copies import waited_for
from gossipkv.rows.arguments.durations import wait_ms_of
from gossipkv.rows.arguments.invalid import InvalidInputError, shown
from gossipkv.rows.errors import ErrorKind, RequestError

_WAIT_SECONDS_DEFAULT = 5.0


class ReceiptWait(NamedTuple):
    copies: int | None
    """The members that must have the write; None: all."""
    seconds: float


def receipt_in(text: object) -> Receipt:
    """Raises RequestError, InvalidInputError."""
    if not isinstance(text, str):
        raise InvalidInputError("receipt", f"is text as an answer gave it, unchanged, not {shown(text)}")
    try:
        return Receipt.parsed(text)
    except ValueError as error:
        raise RequestError(str(error), kind=ErrorKind.INVALID_RECEIPT) from None


def receipt_wait(wait: object, within: object, name: str = "within") -> ReceiptWait:
    """`wait` is a number of members, `all`, or None, which waits for nothing. `name` is what the caller calls `within`.
    Raises InvalidInputError."""
    seconds = _WAIT_SECONDS_DEFAULT if within is None else wait_ms_of(name, within) / 1_000
    if wait is None:
        return ReceiptWait(None, 0)
    return ReceiptWait(waited_for(wait), seconds)


def covered(coverage: Coverage, copies: int | None) -> dict[str, Any]:
    """The members that have a write. `complete`: whether this many, by default all, have it."""
    return {
        "receipt": str(coverage.receipt),
        "copies": coverage.copies,
        "complete": coverage.copies >= (coverage.members if copies is None else copies),
        "members": [
            {"member": holder.member, "status": holder.status, "self": holder.is_self, "has_it": holder.has_it}
            for holder in coverage.holders
        ],
    }
