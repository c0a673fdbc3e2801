"""The cluster as this member sees it. Figures of other members are what it last heard, with their age."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gossipkv.api.answers.json_rows import json_text
from gossipkv.api.problem import ProblemError
from gossipkv.api.requests.target import Parameters, Target, member_of
from gossipkv.core.status import MemberStatus, ShardStatus, TwinSighting
from gossipkv.core.store.forgotten import Forgotten
from gossipkv.member.descriptors import DescriptorStatus
from gossipkv.member.node import MemberNode

FORGET_PARAMETERS = frozenset({"force"})


class ClusterHandlers:
    def __init__(self, node: MemberNode) -> None:
        self._node = node

    async def get(self, _: web.BaseRequest, __: Target, ___: Parameters) -> web.Response:
        status = await self._node.status()
        content = {
            "cluster": status.identity.cluster,
            "member": status.identity.member,
            "ready": status.is_ready,
            "alone_seconds": _seconds(status.alone_ms),
            "members": [described(member) for member in status.members],
            "transfers": status.transfers,
            "clock": {
                "ahead_seconds": _seconds(status.clock.ahead_ms),
                "off": status.clock.is_off,
                "compared_with": status.clock.compared,
            },
            "refusing": list(status.refusing),
            "unreached": list(status.unreached),
            "descriptors": _descriptors(self._node.descriptors.status()),
            "storage": {
                "room": status.room.room,
                "since_seconds": status.room.since_ms / 1000,
                "used_bytes": status.room.used_bytes,
                "capacity_bytes": status.room.capacity_bytes,
                "short_of_room": list(status.room.crowded),
                "waiting": list(status.room.waiting),
            },
            "lacking": [
                {"namespace": row.shard, "table": row.table, "row": row.key, "reason": row.reason}
                for row in status.lacking
            ],
            "collection": {
                "blocked_by": list(status.collection_blocked_by),
                "collected": status.tally.tombstones_collected,
            },
            "unreadable": {
                "rows": sum(status.unreadable_rows.values()),
                "items": [row._asdict() for row in status.unreadable],
            },
        }
        return web.Response(body=json_text(content).encode(), headers={"Content-Type": "application/json"})

    async def get_members(self, _: web.BaseRequest, __: Target, ___: Parameters) -> web.Response:
        status = await self._node.status()
        content = {"items": [described(member) for member in status.members], "next_cursor": None}
        return web.Response(body=json_text(content).encode(), headers={"Content-Type": "application/json"})

    async def forget_member(self, _: web.BaseRequest, target: Target, parameters: Parameters) -> web.Response:
        force = parameters.get("force", "false")
        if force not in ("true", "false"):
            raise ProblemError("invalid-parameter", "`force` is `true` or `false`", parameter="force")
        forgotten = await self._node.forget(member_of(target), is_forced=force == "true")
        if forgotten is Forgotten.DONE:
            return web.Response(status=204)
        raise ProblemError(_NOT_FORGOTTEN[forgotten], forgotten.value)


_NOT_FORGOTTEN = {
    Forgotten.UNKNOWN: "member-not-found",
    Forgotten.ITSELF: "own-member",
    Forgotten.ANSWERS: "member-answers",
    Forgotten.LISTED: "member-listed",
    Forgotten.HEARD: "member-heard",
}


def described(member: MemberStatus) -> dict[str, Any]:
    return {
        "member": member.member,
        "status": member.status,
        "self": member.is_self,
        "replica": None if member.replica is None else f"{member.replica:016x}",
        "incarnation": member.incarnation,
        "refutations": member.refutations,
        "status_seconds": member.status_since_ms / 1000,
        "protocols": [{"name": name, "endpoint": url} for name, url in sorted(member.endpoints.items())],
        "zone": member.zone,
        "version": member.version,
        "failures": member.failures,
        "runs_twice": None if member.sighting is None else _seen(member.sighting),
        "clock_ahead_seconds": member.clock_ahead_ms / 1000,
        "shards": {name: _shard(shard) for name, shard in sorted(member.shards.items())},
    }


def _descriptors(status: DescriptorStatus) -> dict[str, Any]:
    return {"open": status.open, "limit": status.limit, "short_seconds": status.short_seconds}


def _seen(seen: TwinSighting) -> dict[str, Any]:
    processes = [
        {"replica": f"{process.replica:016x}", "endpoint": process.endpoint, "incarnation": process.started}
        for process in (seen.older, seen.younger)
    ]
    return {
        "processes": processes,
        "copies_of_one_volume": seen.are_twins,
        "seconds": seen.known_ms / 1000,
        "remedy": seen.remedy,
    }


def _shard(shard: ShardStatus) -> dict[str, Any]:
    return {
        "rows": shard.rows,
        "tombstones": shard.tombstones,
        "fingerprint": f"{shard.fingerprint:016x}",
        "rows_behind": shard.rows_behind,
        "last_sync_seconds": _seconds(shard.last_sync_ms),
        "heard_seconds": _seconds(shard.heard_ms),
    }


def _seconds(duration_ms: int | None) -> float | None:
    return None if duration_ms is None else duration_ms / 1000
