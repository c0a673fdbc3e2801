"""The consistency of a request: `w`, `write_wait` and `r` in the query, receipts in the path."""

from __future__ import annotations

from typing import Any, NamedTuple

from aiohttp import web

from gossipkv.api.json_rows import json_text
from gossipkv.api.problem import ProblemError
from gossipkv.api.target import Parameters, Target
from gossipkv.consistency import TooFewCopiesError
from gossipkv.core.waits.answers import Coverage, Receipt
from gossipkv.node import Node
from gossipkv.rows.copies import copies_in
from gossipkv.rows.durations import wait_ms_of

WRITE_PARAMETERS = frozenset({"w", "write_wait"})
READ_PARAMETERS = frozenset({"r"})
RECEIPT_PARAMETERS = frozenset({"wait", "timeout"})
RECEIPT_HEADER = "Gossipkv-Receipt"

RECEIPT_TIMEOUT_SECONDS = 5.0
"""The default timeout of a wait for a receipt."""


class Wanted(NamedTuple):
    """Of a write."""

    copies: int
    wait_seconds: float | None
    """None: the default in the member's settings."""


def wanted_of(parameters: Parameters, copies_default: int) -> Wanted:
    """The copies that a write asks for."""
    if not parameters:
        return Wanted(copies_default, None)
    copies = copies_in("w", parameters["w"]) if "w" in parameters else copies_default
    return Wanted(copies, _wait_seconds("write_wait", parameters["write_wait"]) if "write_wait" in parameters else None)


def _wait_seconds(name: str, text: str) -> float:
    return wait_ms_of(name, text) / 1_000


def problem_of_copies(error: TooFewCopiesError) -> ProblemError:
    """The problem of a write that is stored here, but on too few members in time."""
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
        """The members that have a write. Answers 200 even if the wait ended early."""
        try:
            receipt = Receipt.parsed(target.row)
        except ValueError as error:
            raise ProblemError("invalid-receipt", str(error)) from None
        wait = parameters.get("wait")
        copies = None if wait in (None, "all") else copies_in("wait", wait or "")
        seconds = (
            _wait_seconds("timeout", parameters["timeout"]) if "timeout" in parameters else RECEIPT_TIMEOUT_SECONDS
        )
        coverage = await self._node.receipt(receipt, copies, 0 if wait is None else seconds)
        content = described(coverage, coverage.members if copies is None else copies)
        return web.Response(body=json_text(content).encode(), headers={"Content-Type": "application/json"})


def described(coverage: Coverage, wanted: int) -> dict[str, Any]:
    """The JSON of a receipt. `complete`: whether the requested number of members, by default all, have the write."""
    return {
        "receipt": str(coverage.receipt),
        "copies": coverage.copies,
        "complete": coverage.copies >= wanted,
        "members": [
            {"member": holder.member, "status": holder.status, "self": holder.is_self, "has_it": holder.has_it}
            for holder in coverage.holders
        ],
    }
