"""The shape of one run, drawn from its seed: small and large clusters, messages, tables and bounds in all mixtures."""

from __future__ import annotations

import random
from dataclasses import dataclass

from gossipkv.transport.memory import FaultRates

SAFETY_MS = 3_000
EXCHANGE_TIMEOUT_MS = 150
RETRY_MS_MAX = 800


@dataclass(frozen=True, slots=True)
class Scenario:
    members: int
    is_chain: bool
    """Each member reaches only its neighbours, so that all others know of its writes from third parties."""
    joining: int
    """How many more may join during the safety phase."""
    tables: int
    keys: int
    prefilled_rows: int
    """Written at the start, so that a few missing ones are a small share of all."""
    value_bytes_max: int
    write_interval_ms: int
    fault_interval_ms: int
    gossip_interval_ms: int
    audit_interval_ms: int
    clock_skew_ms_max: int
    fanout: int
    part_bytes: int
    commit_ms_max: int
    rates: FaultRates

    @classmethod
    def drawn(cls, rng: random.Random) -> Scenario:
        prefilled = rng.choice((0, 30, 80, 160, 160))
        return cls(
            members=rng.choice((2, 3, 3, 4)),
            is_chain=rng.random() < 0.4,
            joining=rng.choice((0, 1, 1)),
            tables=rng.choice((1, 2)),
            keys=rng.choice((3, 3, 8, 20)),
            prefilled_rows=prefilled,
            value_bytes_max=rng.choice((0, 20, 100)),
            write_interval_ms=rng.choice((15, 40, 80)),
            fault_interval_ms=rng.choice((60, 120, 200)),
            gossip_interval_ms=rng.choice((80, 150, 300)),
            audit_interval_ms=rng.choice((400, 1_500, 60_000)),
            clock_skew_ms_max=rng.choice((300, 600)),
            fanout=rng.choice((0, 0, 1, 2)),
            part_bytes=rng.choice((60, 200, 200, 800, 512 * 1024)) if prefilled < 160 else rng.choice((200, 400)),
            commit_ms_max=rng.choice((2, 10, 30)),
            rates=FaultRates(
                drop=rng.choice((0.0, 0.02, 0.15)),
                duplicate=rng.choice((0.0, 0.05, 0.2)),
                delay=rng.choice((0.1, 0.3)),
                reorder=rng.choice((0.0, 0.1)),
                delay_ms_min=1,
                delay_ms_max=rng.choice((20, 60)),
            ),
        )
