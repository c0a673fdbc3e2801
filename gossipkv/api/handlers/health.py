"""Endpoints for probes and Prometheus. Probes are answered from memory, without waiting for the storage."""

from __future__ import annotations

from aiohttp import web

from gossipkv.api.problem import ProblemError
from gossipkv.api.requests.target import Parameters, Target
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode


class Health:
    def __init__(self, node: MemberNode, metrics: Metrics) -> None:
        self._node = node
        self._metrics = metrics

    async def live(self, _: web.BaseRequest, __: Target, ___: Parameters) -> web.Response:
        if not self._node.is_live:
            raise ProblemError("not-live", "a loop of the member has ended, or its storage does not move")
        return web.Response(text="live\n")

    async def ready(self, _: web.BaseRequest, __: Target, ___: Parameters) -> web.Response:
        if not self._node.is_ready:
            raise ProblemError(
                "not-ready", "the member is stopping, or has not yet synced with another since it started"
            )
        return web.Response(text="ready\n")

    async def metrics(self, _: web.BaseRequest, __: Target, ___: Parameters) -> web.Response:
        body = self._metrics.render(await self._node.status())
        return web.Response(body=body, headers={"Content-Type": self._metrics.CONTENT_TYPE})
