"""The options of a replica that tests set by keyword."""

from __future__ import annotations

from typing import TypedDict


class ReplicaSettings(TypedDict, total=False):
    """Fields of ReplicaOptions, without the member and its endpoints. The type checker refuses others."""

    cluster: str
    zone: str | None
    version: str
    gossip_interval_ms: int
    audit_interval_ms: int
    bootstrap_timeout_ms: int
    retry_ms_max: int
    protocol_period_ms: int
    probe_timeout_ms: int
    indirect_probes: int
    suspicion_multiplier: int
    clock_skew_ms_max: int
    tombstone_age_ms_min: int
    forget_silence_ms: int
    message_life_ms: int
    members_max: int
    context_origins_max: int
    dialled_hosts: str
    fanout: int
    siblings_max: int
    part_bytes: int
    whole_row_bytes_max: int
    value_bytes_max: int
