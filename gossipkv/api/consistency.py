"""What a request asks of the cluster: `w`, `write_wait` and `r` in the query, receipts in a path."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from aiohttp import web

from gossipkv.api.json_rows import json_text
from gossipkv.api.problem import ProblemError
from gossipkv.api.target import Parameters, Target
from gossipkv.consistency import TooFewCopiesError
from gossipkv.core.receipts import Coverage, Receipt
from gossipkv.node import Node

WRITE_PARAMETERS = frozenset({"w", "write_wait"})
READ_PARAMETERS = frozenset({"r"})
RECEIPT_PARAMETERS = frozenset({"wait", "timeout"})
RECEIPT_HEADER = "Gossipkv-Receipt"

RECEIPT_TIMEOUT_SECONDS = 5.0
"""Where a receipt is waited for and the query has no timeout."""
DURATION_SECONDS_MAX = 3600

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_COUNT_MAX = 10_000


class Wanted(NamedTuple):
    """Of a write."""

    copies: int
    wait_seconds: float | None
    """None: as long as the member's settings say."""


def wanted_of(parameters: Parameters, copies_default: int) -> Wanted:
    """What a write asks for."""
    if not parameters:
        return Wanted(copies_default, None)
    copies = count_of(parameters["w"], "w") if "w" in parameters else copies_default
    return Wanted(copies, seconds_of(parameters["write_wait"], "write_wait") if "write_wait" in parameters else None)


def count_of(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= _COUNT_MAX):
        raise ProblemError("invalid-parameter", f"`{name}` is a number of members, from 1")
    return int(text)


def seconds_of(text: str, name: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None or (seconds := int(match[1]) * _UNIT_SECONDS[match[2]]) > DURATION_SECONDS_MAX:
        raise ProblemError("invalid-parameter", f"`{name}` is a time such as 500ms, 2s or 1m, at most an hour")
    return seconds


def problem_of_copies(error: TooFewCopiesError) -> ProblemError:
    """Stored here, and too few copies in time."""
    coverage = error.coverage
    return ProblemError(
        "too-few-copies",
        str(error),
        headers={RECEIPT_HEADER: str(coverage.receipt)},
        stored=True,
        copies=coverage.copies,
        receipt=str(coverage.receipt),
    )


class Receipts:
    def __init__(self, node: Node) -> None:
        self._node = node

    async def get(self, _: web.BaseRequest, target: Target, parameters: Parameters) -> web.Response:
        """Who has a write; 200 whether all that was waited for came about or not."""
        try:
            receipt = Receipt.parsed(target.row)
        except ValueError as error:
            raise ProblemError("invalid-receipt", str(error)) from None
        wait = parameters.get("wait")
        copies = None if wait in (None, "all") else count_of(wait or "", "wait")
        seconds = seconds_of(parameters["timeout"], "timeout") if "timeout" in parameters else RECEIPT_TIMEOUT_SECONDS
        coverage = await self._node.receipt(receipt, copies, 0 if wait is None else seconds)
        content = described(coverage, coverage.members if copies is None else copies)
        return web.Response(body=json_text(content).encode(), headers={"Content-Type": "application/json"})


def described(coverage: Coverage, wanted: int) -> dict[str, Any]:
    """`complete`: whether as many members as were waited for have the write; all of them if no one waited."""
    return {
        "receipt": str(coverage.receipt),
        "copies": coverage.copies,
        "complete": coverage.copies >= wanted,
        "members": [
            {"member": holder.member, "status": holder.status, "self": holder.is_self, "has_it": holder.has_it}
            for holder in coverage.holders
        ],
    }
