"""Aims: shapes of a run in which one situation, which the mixture of all seldom brings about, is met again and again.

Unlike an emphasis, an aim is never drawn. So a new aim leaves the runs of all seeds as they are.
"""

from __future__ import annotations

import random
from dataclasses import replace
from enum import Enum

from gossipkv.simulation.scenarios.scenario import Scenario


class Aim(Enum):
    COLLECTED = "collected"
    """Tombstones are collected as early as possible, and messages arrive late."""
    WRITTEN_AGAIN = "written-again"
    """Rows are written at one member as soon as another one has collected their tombstone."""
    STARVED = "starved"
    """One member after the other cannot take in any row of the members' table."""
    SLOW_PULLER = "slow-puller"
    """One member is so slow that rows are deleted and collected while it pulls or walks."""
    OLD_DISKS = "old-disks"
    """Disks are put back that lack the last few writes of their member."""
    CLOCKS = "clocks"
    """Clocks jump far ahead and back, within what others tolerate and beyond it."""
    LEFT_ALONE = "left-alone"
    """Rows are written once and then left, while members crash and lose their disks."""
    MANY_PARTS = "many-parts"
    """Messages are so small that each transfer takes many parts, and each value many fragments."""
    SINGLE = "single"
    """One member alone."""
    PAIR = "pair"
    """Two members."""


def aimed(aim: Aim, rng: random.Random) -> Scenario:
    """A scenario with this aim."""
    mixture = Scenario.mixed(rng)
    short = replace(mixture, members=3, is_chain=False, joining=0, keys=3, tables=1, prefilled_rows=0)
    match aim:
        case Aim.COLLECTED:
            return replace(
                _quickly_collecting(short),
                keys=60,
                write_interval_ms=15,
                rates=replace(mixture.rates, drop=0.02, duplicate=0.2, delay=0.4, reorder=0.2, delay_ms_max=60),
            )
        case Aim.WRITTEN_AGAIN:
            return replace(_quickly_collecting(short), write_interval_ms=80, keys=8)
        case Aim.STARVED:
            # A batch takes all that waits: the first contacts of three members have to coincide. A lacking record of a
            # member is given up after `forget_silence_ms`, which no partition may outlast.
            return replace(
                short,
                write_interval_ms=40,
                fault_interval_ms=300,
                tombstone_age_ms_min=1,
                forget_silence_ms=10_000,
                batch_inputs_max=256,
            )
        case Aim.SLOW_PULLER:
            return replace(
                _quickly_collecting(short), keys=20, prefilled_rows=80, part_bytes=200, write_interval_ms=15, fanout=0
            )
        case Aim.OLD_DISKS:
            return replace(
                short, write_interval_ms=20, fault_interval_ms=400, keys=8, lists_members=False, are_set_back=True
            )
        case Aim.CLOCKS:
            return replace(short, keys=8, fault_interval_ms=60, frequent_faults=("jump_forward", "jump_back"))
        case Aim.LEFT_ALONE:
            return replace(
                short,
                keys=2_000,
                write_interval_ms=20,
                fault_interval_ms=120,
                part_bytes=200,
                frequent_faults=("crash", "lose_disk"),
            )
        case Aim.MANY_PARTS:
            return replace(
                mixture, keys=20, prefilled_rows=80, value_bytes_max=300, part_bytes=150, whole_row_bytes_max=120,
                frequent_faults=("lose_disk", "pause"),
            )  # fmt: skip
        case Aim.SINGLE:
            return replace(mixture, members=1, is_chain=False, joining=0)
        case Aim.PAIR:
            return replace(short, members=2, keys=8, fault_interval_ms=60, gossip_interval_ms=80)


def _quickly_collecting(scenario: Scenario) -> Scenario:
    """Members compare often and nothing holds them up for long, so that tombstones are collected all the time."""
    return replace(
        scenario,
        fault_interval_ms=400,
        gossip_interval_ms=60,
        commit_ms_max=2,
        tombstone_age_ms_min=1,
        clock_skew_ms_max=300,
        lists_members=False,
    )
