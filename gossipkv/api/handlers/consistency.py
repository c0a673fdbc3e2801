"""The consistency of a request: `w`, `write_wait` and `r` in the query, receipts in the path."""

from __future__ import annotations

from typing import NamedTuple

from aiohttp import web

from gossipkv.api.answers.json_rows import json_text
from gossipkv.api.requests.target import Parameters, Target
from gossipkv.member.node import MemberNode
from gossipkv.rows.arguments.copies import copies_in
from gossipkv.rows.arguments.durations import wait_ms_of
from gossipkv.rows.view.receipts import covered, receipt_in, receipt_wait

WRITE_PARAMETERS = frozenset({"w", "write_wait"})
READ_PARAMETERS = frozenset({"r"})
RECEIPT_PARAMETERS = frozenset({"wait", "timeout"})


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
    return Wanted(
        copies, wait_ms_of("write_wait", parameters["write_wait"]) / 1_000 if "write_wait" in parameters else None
    )


class ReceiptHandlers:
    def __init__(self, node: MemberNode) -> None:
        self._node = node

    async def get(self, _: web.BaseRequest, target: Target, parameters: Parameters) -> web.Response:
        """The members that have a write. Answers 200 even if the wait ended early."""
        receipt = receipt_in(target.row)
        wait = receipt_wait(parameters.get("wait"), parameters.get("timeout"), "timeout")
        content = covered(await self._node.receipt(receipt, wait.copies, wait.seconds), wait.copies)
        return web.Response(body=json_text(content).encode(), headers={"Content-Type": "application/json"})
