"""The cluster as this member sees it."""

from __future__ import annotations

from aiohttp import web

from gossipkv.api.answers.json_rows import json_text
from gossipkv.api.problem import ProblemError
from gossipkv.api.requests.target import Parameters, Target, member_of
from gossipkv.member import cluster
from gossipkv.member.node import MemberNode
from gossipkv.rows.view.forgetting import forget

FORGET_PARAMETERS = frozenset({"force"})


class ClusterHandlers:
    def __init__(self, node: MemberNode) -> None:
        self._node = node

    async def get(self, _: web.BaseRequest, __: Target, ___: Parameters) -> web.Response:
        content = cluster.described(await self._node.status(), self._node.descriptors.status())
        return web.Response(body=json_text(content).encode(), headers={"Content-Type": "application/json"})

    async def get_members(self, _: web.BaseRequest, __: Target, ___: Parameters) -> web.Response:
        content = {"items": cluster.all_members(await self._node.status()), "next_cursor": None}
        return web.Response(body=json_text(content).encode(), headers={"Content-Type": "application/json"})

    async def forget_member(self, _: web.BaseRequest, target: Target, parameters: Parameters) -> web.Response:
        force = parameters.get("force", "false")
        if force not in ("true", "false"):
            raise ProblemError("invalid-parameter", "`force` is `true` or `false`", parameter="force")
        await forget(self._node, member_of(target), is_forced=force == "true")
        return web.Response(status=204)
