"""The settings of an embedded member that tests share."""

from __future__ import annotations

from typing import TypedDict


class MemberSettings(TypedDict, total=False):
    gossip_interval_ms: int
    bootstrap_timeout_ms: int
    protocol_period_ms: int
    probe_timeout_ms: int
