"""The cluster as a member sees it, for its clients. Figures of other members are what it last heard, with their age."""

from __future__ import annotations

from typing import Any

from gossipkv.core.status import MemberStatus, ReplicaStatus, ShardStatus, TwinSighting
from gossipkv.member.descriptors import DescriptorStatus


def described(status: ReplicaStatus, descriptors: DescriptorStatus) -> dict[str, Any]:
    """The state of the cluster, for `/v1/cluster`."""
    return {
        "cluster": status.identity.cluster,
        "member": status.identity.member,
        "ready": status.is_ready,
        "alone_seconds": _seconds(status.alone_ms),
        "members": all_members(status),
        "transfers": status.transfers,
        "clock": {
            "ahead_seconds": _seconds(status.clock.ahead_ms),
            "off": status.clock.is_off,
            "compared_with": status.clock.compared,
        },
        "refusing": list(status.refusing),
        "unreached": list(status.unreached),
        "descriptors": _described_descriptors(descriptors),
        "storage": {
            "room": status.room.room,
            "since_seconds": status.room.since_ms / 1000,
            "used_bytes": status.room.used_bytes,
            "capacity_bytes": status.room.capacity_bytes,
            "short_of_room": list(status.room.crowded),
            "waiting": list(status.room.waiting),
        },
        "lacking": [
            {"namespace": row.shard, "table": row.table, "row": row.key, "reason": row.reason} for row in status.lacking
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


def all_members(status: ReplicaStatus) -> list[dict[str, Any]]:
    """The members alone."""
    return [_described_member(member) for member in status.members]


def _described_member(member: MemberStatus) -> dict[str, Any]:
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


def _described_descriptors(status: DescriptorStatus) -> dict[str, Any]:
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
