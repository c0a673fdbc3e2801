"""The command `simulate --membership`: tables that show how the failure detector does in clusters of several sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from gossipkv.core.options import ReplicaOptions
from gossipkv.simulation.detector.swim import (
    Arena,
    Course,
    Findings,
    detection_bound_ms,
    failed_probe_share,
    first_detection_ms,
)

SIZES = (3, 10, 50, 200)
LOSSES = (0.1, 0.25, 0.5)
PAUSED_SHARE = 10
"""One member in this many is paused repeatedly; at least one member is."""
LARGE = 100
"""Clusters of at least this many members get fewer and shorter runs."""


def tables(sizes: Sequence[int], runs: int, first_seed: int) -> Iterator[str]:
    """Yield lines of Markdown as they are computed. Each figure takes `runs` runs: a quarter of that in large clusters,
    and five times as many for detection, which is quick."""
    yield (
        "| members | crashes | first sees it, median | of SWIM | all know, median | all know, longest | bound |"
        "\n|---|---|---|---|---|---|---|"
    )
    for members in sizes:
        yield _detection(members, _runs(members, 5 * runs), first_seed)
    yield ""
    yield (
        "| members | fault | member-minutes | probes that failed | of SWIM | suspected | taken for dead "
        "| most at one member | dead 2 min later |\n|---|---|---|---|---|---|---|---|---|"
    )
    for members in sizes:
        duration_ms = 60_000 if members >= LARGE else 120_000
        for loss in LOSSES:
            course = Course(members, duration_ms, loss=loss)
            yield _false(f"{loss:.0%} loss", course, _runs(members, runs), first_seed)
        paused = Course(members, duration_ms, paused=max(1, members // PAUSED_SHARE))
        yield _false(f"{paused.paused} paused", paused, _runs(members, runs), first_seed)


def _runs(members: int, runs: int) -> int:
    return max(1, runs // 4) if members >= LARGE else runs


def _detection(members: int, runs: int, first_seed: int) -> str:
    found = [Arena(Course(members, 60_000, crashes=1), first_seed + run).run() for run in range(runs)]
    first = [ms for one in found for ms in one.first_dead_ms]
    everyone = [ms for one in found for ms in one.all_dead_ms]
    expected_ms = first_detection_ms(members, ReplicaOptions())
    bound_ms = detection_bound_ms(members, ReplicaOptions())
    times_ms = (median(first), expected_ms, median(everyone), max(everyone), bound_ms)
    cells = (members, len(everyone), *(f"{ms / 1000:.1f} s" for ms in times_ms))
    return "| " + " | ".join(map(str, cells)) + " |"


def _false(fault: str, course: Course, runs: int, first_seed: int) -> str:
    found: list[Findings] = [Arena(course, first_seed + run).run() for run in range(runs)]
    minutes = (course.members - course.paused) * course.duration_ms * runs // 60_000
    cells = (
        course.members,
        fault,
        minutes,
        f"{sum(one.probes_failed for one in found) / sum(one.probes for one in found):.1%}",
        f"{failed_probe_share(course.members, course.loss, ReplicaOptions()):.1%}" if course.loss else "",
        sum(one.suspicions for one in found),
        sum(one.false_deaths for one in found),
        max(one.dead_most for one in found),
        sum(one.dead_in_the_end for one in found),
    )
    return "| " + " | ".join(map(str, cells)) + " |"
