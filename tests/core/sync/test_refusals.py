"""Rows that are refused: one line when it begins, one when it ends, and what the status says meanwhile."""

from __future__ import annotations

from gossipkv.core.options import ReplicaOptions
from gossipkv.core.sync.refusals import QUIET_INTERVALS, RowRefusals

OPTIONS = ReplicaOptions()
QUIET_MS = QUIET_INTERVALS * OPTIONS.gossip_interval_ms + OPTIONS.retry_ms_max


def test_refusals_are_logged_once_per_reason_and_again_when_they_have_ended() -> None:
    refusals = RowRefusals(OPTIONS, 0)
    assert refusals.tick({}, 0) == []
    [begun] = refusals.tick({"clock_skew": 3}, 1_000)
    assert (begun.event, begun.fields["reason"], begun.is_warning) == ("rows_refused", "clock_skew", True)
    assert "clock" in str(begun.fields["remedy"])
    assert refusals.tick({"clock_skew": 9}, 2_000) == []
    assert refusals.reasons == ("clock_skew",)
    [other] = refusals.tick({"clock_skew": 9, "undecodable": 1}, 3_000)
    assert other.fields["reason"] == "undecodable"
    assert refusals.tick({"clock_skew": 9, "undecodable": 2}, 1_999 + QUIET_MS) == []
    [ended] = refusals.tick({"clock_skew": 9, "undecodable": 2}, 2_000 + QUIET_MS)
    assert (ended.event, ended.fields, ended.is_warning) == ("rows_no_longer_refused", {"reason": "clock_skew"}, True)
    assert refusals.reasons == ("undecodable",)


def test_rows_without_room_are_reported_elsewhere() -> None:
    assert RowRefusals(OPTIONS, 0).tick({"no_room": 1}, 0) == []


def test_a_clock_that_is_set_back_does_not_put_the_end_off() -> None:
    refusals = RowRefusals(OPTIONS, 10**9)
    refusals.tick({"clock_skew": 1}, 10**9)
    assert refusals.tick({"clock_skew": 1}, 0) == []
    assert len(refusals.tick({"clock_skew": 1}, QUIET_MS)) == 1
