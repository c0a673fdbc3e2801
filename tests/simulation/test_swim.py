"""The failure detector alone, in virtual time: crashes are seen within the bound, and no one else is buried."""

from __future__ import annotations

import pytest

from gossipkv.core.options import ReplicaOptions
from gossipkv.simulation.detector.membership_table import tables
from gossipkv.simulation.detector.swim import Arena, Course, detection_bound_ms, failed_probe_share


@pytest.mark.parametrize(("members", "seeds"), [(3, 20), (10, 10), (50, 3), (200, 1)])
def test_a_crash_is_known_to_all_within_the_bound_and_no_one_else_is_taken_for_dead(members: int, seeds: int) -> None:
    bound_ms = detection_bound_ms(members, ReplicaOptions())
    for seed in range(seeds):
        found = Arena(Course(members, bound_ms, crashes=1), seed).run()
        assert len(found.all_dead_ms) == 1, f"seed {seed}: not within {bound_ms} ms"
        assert found.false_deaths == 0


@pytest.mark.parametrize("members", [3, 10, 50])
def test_a_tenth_of_the_frames_lost_kills_no_one(members: int) -> None:
    found = Arena(Course(members, 60_000, loss=0.1), 1).run()
    assert found.suspicions > 0
    assert found.false_deaths <= members // 10


@pytest.mark.parametrize(("members", "loss"), [(3, 0.5), (10, 0.5), (10, 0.25), (50, 0.5)])
def test_whatever_was_lost_all_are_alive_again_when_nothing_is_any_more(members: int, loss: float) -> None:
    found = Arena(Course(members, 60_000, loss=loss), 2).run()
    assert found.suspicions > 0
    assert found.dead_in_the_end == 0


@pytest.mark.parametrize(("members", "paused"), [(3, 1), (3, 2), (10, 1), (10, 4), (50, 5)])
def test_a_paused_member_does_not_declare_the_others_dead(members: int, paused: int) -> None:
    found = Arena(Course(members, 100_000, paused=paused), 3).run()
    assert found.false_deaths == 0
    assert found.dead_in_the_end == 0


@pytest.mark.parametrize("gap_ms", [100, 2_000])
@pytest.mark.parametrize("pause_ms", [700, 1_500, 5_000, 40_000])
def test_pauses_short_or_long_bury_no_one_else(pause_ms: int, gap_ms: int) -> None:
    found = Arena(Course(10, 100_000, paused=3, pause_ms=pause_ms, gap_ms=gap_ms), 4).run()
    assert found.false_deaths == 0
    assert found.dead_in_the_end == 0


@pytest.mark.parametrize(("members", "loss"), [(10, 0.1), (10, 0.25), (50, 0.25)])
def test_as_many_probes_fail_as_the_theory_of_swim_has_it(members: int, loss: float) -> None:
    found = Arena(Course(members, 60_000, loss=loss), 1).run()
    assert found.probes > members * 20
    assert found.probes_failed / found.probes == pytest.approx(
        failed_probe_share(members, loss, ReplicaOptions()), rel=0.4, abs=0.01
    )


def test_a_run_depends_on_its_seed_alone() -> None:
    course = Course(10, 30_000, loss=0.5)
    assert Arena(course, 5).run() == Arena(course, 5).run()
    assert Arena(course, 5).run() != Arena(course, 6).run()


def test_the_tables_have_a_line_per_size_and_fault() -> None:
    lines = "\n".join(tables([3, 10], 1, 0)).splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith(("| 3", "| 10"))] == ["| 3", "| 10"] + [
        "| 3"
    ] * 4 + ["| 10"] * 4
